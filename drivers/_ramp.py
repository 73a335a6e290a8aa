"""Voltages of piezos: their limits, and ramps in small steps at a slew."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from ._arguments import refuse_outside

STEP_V = 0.5
"""A larger jump can slip a slip-stick stage [V]."""


class LimitedVoltage:
    """The limits of a voltage axis, see `qdchar.roles.VoltageAxis`."""

    _limits_V: tuple[float, float]

    @property
    def _name(self) -> str:
        raise NotImplementedError

    @property
    def limits_V(self) -> tuple[float, float]:
        """Lowest and highest voltage allowed [V]."""
        return self._limits_V

    def check(self, *voltages_V: float) -> None:
        """Refuse a whole scan before its first point. Raises RefusedError."""
        refuse_outside(self._name, "V", self._limits_V, "limits_V", voltages_V)


def ramp(
    start_V: float, target_V: float, slew_V_per_s: float, write: Callable[[float], None]
) -> None:
    """Go from one voltage to another in steps of at most `STEP_V`, no faster than the slew.

    The wait comes after each step, so that a scan of many small steps keeps to the slew, too.
    """
    steps = math.ceil(abs(target_V - start_V) / STEP_V - 1e-9)
    for k in range(1, steps + 1):
        point = target_V if k == steps else start_V + (target_V - start_V) * k / steps
        written = time.monotonic()
        write(point)
        wait = abs(target_V - start_V) / steps / slew_V_per_s
        time.sleep(max(0.0, written + wait - time.monotonic()))
