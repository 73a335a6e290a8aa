"""Checks of arguments: values from a station file, and set points before anything moves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from qdchar.errors import RefusedError, UsageError

_ROUNDING = 1e-9
"""Rounding error of a scan's last point, e.g. 60.00000000000001; smaller than any digit sent."""


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


def pair(
    key: str, value: object, example: str, *, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """Take two numbers within ``[low, high]``. Raises UsageError that names the key."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise UsageError(f"{key} = {value!r}: two numbers are needed, {example}")
    first, second = (number(key, v, low=low, high=high) for v in value)
    return first, second


def table(key: str, value: object, example: str, names: Sequence[str] = ()) -> Mapping[str, object]:
    """Take a table that is not empty, its keys among `names` if there are any.

    Raises
    ------
    UsageError
        Names the key.
    """
    if not isinstance(value, Mapping) or not value:
        raise UsageError(f"{key} = {value!r}: a table is needed, e.g. {example}")
    for name in value:
        if names and name not in names:
            raise UsageError(f"{key}.{name}: unknown; possible are {', '.join(names)}")
    return value


def require_known(instrument: str, what: str, value: str, known: Sequence[str]) -> None:
    """Refuse a name that the station file does not define. Raises UsageError."""
    if value not in known:
        raise UsageError(
            f"{instrument}: {what} {value!r} was asked for, but the {what}s are "
            f"{', '.join(known)}; nothing was changed. Check the station file"
        )


def interval(
    key: str, value: object, *, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """Take two ascending numbers within ``[low, high]``. Raises UsageError that names the key."""
    lowest, highest = pair(key, value, "[lowest, highest]", low=low, high=high)
    if lowest >= highest:
        raise UsageError(f"{key} = {value!r}: the first number must be below the second")
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
            f"{what}: {outside[0]:g} {unit} was asked for, but {key} allows {low:g} to {high:g} "
            f"{unit}{count}; nothing was moved"
        )
