"""Ctrl-C, SIGTERM and a hang-up: unwind once, and do not break off what must be finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
_SIGNALS = tuple(s for s in (signal.SIGINT, signal.SIGTERM, _HANG_UP) if s is not None)


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; like KeyboardInterrupt, so that `with` and `finally` run."""


def _unwind(number: int, _frame: FrameType | None) -> None:
    for s in _SIGNALS:
        signal.signal(s, signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def unwind_on_signals() -> None:
    """Let the first Ctrl-C, SIGTERM or SIGHUP unwind the program, and ignore those that follow.

    Plain Python would run neither `with` nor `finally` on SIGTERM or on SIGHUP, which comes when
    the terminal is closed or a connection drops, and a second Ctrl-C would break off the ramp to
    safety that the first one started. Under ``nohup``, SIGHUP stays ignored. For a program that
    ends after it unwound; a library takes `signals_unwind`.
    """
    for s in _SIGNALS:
        if not (s is _HANG_UP and signal.getsignal(s) is signal.SIG_IGN):
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
            signal.signal(s, previous)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGINT, SIGTERM and SIGHUP back until the block has ended, then deliver them.

    For what must not be broken off, such as a ramp to safety. Signals reach the main thread alone,
    so in any other thread there is nothing to hold back. Blocks nest: a held signal is delivered
    by the outermost one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)

    before = {s: signal.signal(s, hold) for s in _SIGNALS}
    try:
        yield
    finally:
        for s, previous in before.items():
            signal.signal(s, signal.SIG_DFL if previous is None else previous)
        for number in dict.fromkeys(held):
            signal.raise_signal(number)
