"""Ramps: small steps at a slew, and a way to safety that a second Ctrl-C does not break."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STEP_V = 0.5
"""A larger jump can slip a slip-stick stage [V]."""


def ramp(
    start_V: float, target_V: float, slew_V_per_s: float, write: Callable[[float], None]
) -> None:
    """Go from one voltage to another in steps of at most `STEP_V`, no faster than the slew.

    The wait comes after each step, so that a scan of many small calls keeps to the slew too.
    """
    steps = math.ceil(abs(target_V - start_V) / STEP_V - 1e-9)
    for k in range(1, steps + 1):
        point = target_V if k == steps else start_V + (target_V - start_V) * k / steps
        written = time.monotonic()
        write(point)
        wait = abs(target_V - start_V) / steps / slew_V_per_s
        time.sleep(max(0.0, written + wait - time.monotonic()))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block has ended, then deliver them.

    Signals reach the main thread alone, so in any other thread there is nothing to hold back.
    Blocks nest: a held signal is delivered by the outermost one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, _: FrameType | None) -> None:
        held.append(number)

    before = {number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for caught, handler in before.items():
            signal.signal(caught, signal.SIG_DFL if handler is None else handler)
        for number in dict.fromkeys(held):
            signal.raise_signal(number)
