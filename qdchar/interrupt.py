"""Ctrl-C, SIGTERM, SIGHUP and SIGQUIT: unwind once, and do not break off what must be finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)  # Windows lacks the last two
)


class Terminated(BaseException):
    """SIGTERM, SIGHUP or SIGQUIT arrived; it unwinds so that `with` and `finally` run.

    Parameters
    ----------
    number
        The signal's number.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """Exit code as a shell gives it: 128 and the signal's number."""
        return 128 + self.number

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.number).name}"


INTERRUPTS = (KeyboardInterrupt, Terminated)
"""What the operator ends a program with. Anything else, of whatever base class, is an error of what
raised it: a lab's own driver may raise SystemExit, CancelledError or a class of its own."""


def _unwind(number: int, _frame: FrameType | None) -> None:
    for s in _SIGNALS:
        signal.signal(s, signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)


def _is_left_alone(s: int) -> bool:
    """Tell whether a signal stays ignored: `nohup` starts a program with SIGHUP ignored."""
    kept = ("SIGHUP", "SIGQUIT")
    return signal.Signals(s).name in kept and signal.getsignal(s) == signal.SIG_IGN


def unwind_on_signals() -> None:
    """Let the first of these signals unwind the program, and ignore those that follow.

    Plain Python would run neither `with` nor `finally` on SIGTERM, SIGHUP or SIGQUIT, and a second
    Ctrl-C would break off the ramp to safety that the first one started. SIGHUP and SIGQUIT stay
    ignored where they are. For a program that ends after it unwound; a library takes
    `signals_unwind`.
    """
    for s in _SIGNALS:
        if not _is_left_alone(s):
            signal.signal(s, _unwind)


@contextmanager
def signals_unwind() -> Iterator[None]:
    """Do as `unwind_on_signals` for a while, unless that is in force already."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is _unwind:
        yield
        return
    before = {s: signal.getsignal(s) for s in _SIGNALS}
    unwind_on_signals()
    try:
        yield
    finally:
        for s, previous in before.items():
            signal.signal(s, signal.SIG_DFL if previous is None else previous)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold these signals back until the block has ended, then deliver them.

    For what must not be broken off, such as a ramp to safety. Signals reach the main thread alone,
    so in any other thread there is nothing to hold back. Blocks nest: a held signal is delivered
    by the outermost one. A signal that is ignored stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    before = {s: signal.signal(s, hold) for s in _SIGNALS if signal.getsignal(s) != signal.SIG_IGN}
    try:
        yield
    finally:
        for s, previous in before.items():
            signal.signal(s, signal.SIG_DFL if previous is None else previous)
        for number in dict.fromkeys(held):
            signal.raise_signal(number)
