"""How numbers are printed for people: value(uncertainty) with an SI prefix."""

from __future__ import annotations

import math

from qdchar.estimate import Estimate

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_TAKES_PREFIX = ("s", "Hz", "W", "m", "V", "m/V", "Hz/m", "cps")
_DIGITS_WITHOUT_U = 4
"""Significant digits of a number that has no uncertainty of its own."""
_MOST_DIGITS = 7
"""Significant digits of a value for people, at most: nobody reads a clock to one part in 10^11."""


def concise(value: float, u: float, *, digits: int = 2) -> str:
    """Write a value with its uncertainty in the last digits.

    Parameters
    ----------
    value, u
        In the same unit. Where u is 0, four significant digits are written.
    digits
        Significant digits of the uncertainty.

    Raises
    ------
    ValueError
        If a number is not finite, or u is negative.

    Examples
    --------
    >>> concise(0.7121, 0.0178)
    '0.712(18)'
    >>> concise(1.30139e-3, 1.2e-4)
    '1.30(12)e-3'
    >>> concise(75.83, 0.0)
    '75.83'
    >>> concise(0.00705901, 0.0)
    '7.059e-3'
    """
    if not (math.isfinite(value) and math.isfinite(u)) or u < 0:
        raise ValueError(f"cannot print {value} +- {u}: not a finite value with u of 0 or more")
    exponent = _exponent(max(abs(value), u))
    tail = f"e{exponent}" if exponent else ""
    value, u = value / 10.0**exponent, u / 10.0**exponent
    if u == 0:
        return f"{_rounded(value)}{tail}"
    decimals = _decimals(u, digits)
    if decimals <= 0:
        scale = 10.0**-decimals
        return f"{round(value / scale) * scale:.0f}({round(u / scale) * scale:.0f}){tail}"
    return f"{value:.{decimals}f}({round(u * 10.0**decimals)}){tail}"


def prefixed(value: float, unit: str) -> tuple[float, str]:
    """Return the factor by which to divide, and the unit with its SI prefix."""
    if unit not in _TAKES_PREFIX or value == 0:
        return 1.0, "" if unit == "1" else unit
    power = 3 * math.floor(math.log10(abs(value)) / 3)
    power = max(min(power, 12), -15)
    return 10.0**power, _PREFIXES[power] + unit


def text(estimate: Estimate) -> str:
    """Write an estimate with its unit, e.g. ``75.80(45) ps``.

    Where its uncertainty is below the last of `_MOST_DIGITS` digits, these digits are written
    without it, e.g. ``76.13000 MHz``.
    """
    scale, unit = _scale(estimate)
    value, u = estimate.value / scale, estimate.u / scale
    if 0 < u < (last := _last_place(value)):
        places = max(0, -round(math.log10(last)))
        return f"{value:.{places}f} {unit}".rstrip()
    return f"{concise(value, u)} {unit}".rstrip()


def number_text(value: float, unit: str) -> str:
    """Write a number without uncertainty with its unit, e.g. ``14.6 dB`` or ``884.5 nm``."""
    scale, prefixed_unit = prefixed(value, unit)
    return f"{concise(value / scale, 0.0)} {prefixed_unit}".rstrip()


def interval_text(estimate: Estimate, interval: tuple[float, float]) -> str:
    """Write an interval of an estimate in the unit of `text`, e.g. ``[74.90, 76.70] ps``.

    A quarter of its width, the standard uncertainty if it is a normal 95 % interval, decides on the
    digits.
    """
    scale, unit = _scale(estimate)
    low, high = (end / scale for end in interval)
    exponent = _exponent(max(abs(low), abs(high)))
    tail = f"e{exponent}" if exponent else ""
    low, high = low / 10.0**exponent, high / 10.0**exponent
    if high > low:
        decimals = max(_decimals(0.25 * (high - low), 2), 0)
        ends = [f"{end:.{decimals}f}" for end in (low, high)]
    else:
        ends = [_rounded(low), _rounded(high)]
    return f"[{', '.join(ends)}]{tail} {unit}".rstrip()


def _scale(estimate: Estimate) -> tuple[float, str]:
    """Prefix by the larger one of value and uncertainty: a value may be 0 within its error."""
    return prefixed(max(abs(estimate.value), estimate.u), estimate.unit)


def _last_place(value: float) -> float:
    """Place of the last digit of a value for people; 0 for values that are written with a power."""
    if abs(value) < 1e-2:
        return 0.0
    return 10.0 ** (math.floor(math.log10(abs(value))) - _MOST_DIGITS + 1)


def _exponent(largest: float) -> int:
    """Power of ten to take out of numbers: none from 0.01 on."""
    return math.floor(math.log10(largest)) if 0 < largest < 1e-2 else 0


def _decimals(u: float, digits: int) -> int:
    """Decimal places that show so many digits of an uncertainty."""
    decimals = digits - 1 - math.floor(math.log10(u))
    if round(u, decimals) >= 10.0 ** (digits - decimals):  # 0.0996 rounds to 0.100, three digits
        decimals -= 1
    return decimals


def _rounded(value: float) -> str:
    """Write a number without uncertainty, never with an exponent."""
    if value == 0:
        return "0"
    decimals = _DIGITS_WITHOUT_U - 1 - math.floor(math.log10(abs(value)))
    digits = f"{round(value, decimals):.{max(decimals, 0)}f}"
    return digits.rstrip("0").rstrip(".") if decimals > 0 else digits


def age_text(hours: float) -> str:
    """Return an age as a person reads it.

    Examples
    --------
    >>> age_text(0.25), age_text(3.24)
    ('15 min', '3.2 h')
    """
    return f"{60.0 * hours:.0f} min" if hours < 1.0 else f"{hours:.1f} h"
