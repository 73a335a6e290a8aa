"""Values are checked at the door: what a station file says, and what a scan is about to ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qdchar.errors import RefusedError, UsageError

_ROUNDING = 1e-9
"""Of a scan's last point, ``60.00000000000001``; far below what is written on any wire here."""


def number(key: str, value: object, *, low: float = -math.inf, high: float = math.inf) -> float:
    """Take a finite number within ``[low, high]``. Raises UsageError that names the key."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{key} = {value!r}: a number is needed")
    if not low <= value <= high:
        raise UsageError(f"{key} = {value!r}: {low:g} to {high:g} is allowed")
    return float(value)


def positive(key: str, value: object, *, high: float = math.inf) -> float:
    """Take a finite number above zero. Raises UsageError that names the key."""
    taken = number(key, value, high=high)
    if taken <= 0:
        raise UsageError(f"{key} = {value!r}: a number above 0 is needed")
    return taken


def whole(key: str, value: object, *, low: int, high: int) -> int:
    """Take a whole number within ``[low, high]``. Raises UsageError that names the key."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UsageError(f"{key} = {value!r}: a whole number from {low} to {high} is needed")
    return value


def interval(
    key: str, value: object, *, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """Take two ascending numbers within ``[low, high]``. Raises UsageError that names the key."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise UsageError(f"{key} = {value!r}: two numbers are needed, [lowest, highest]")
    lowest, highest = (number(key, v, low=low, high=high) for v in value)
    if lowest >= highest:
        raise UsageError(f"{key} = {value!r}: the first number has to be below the second")
    return lowest, highest


def refuse_outside(
    what: str, unit: str, limits: tuple[float, float], key: str, values: Sequence[float]
) -> None:
    """Refuse values outside of the limits, before anything moves. Raises RefusedError."""
    low, high = limits
    outside = [v for v in values if not low - _ROUNDING <= v <= high + _ROUNDING]  # NaN too
    if outside:
        count = f" ({len(outside)} of {len(values)} values are outside)" if len(values) > 1 else ""
        raise RefusedError(
            f"{what}: {outside[0]:g} {unit} was asked, but {key} allows {low:g} to {high:g} "
            f"{unit}{count}; nothing was moved"
        )
