"""How numbers are printed: value(uncertainty) with an SI prefix."""

from __future__ import annotations

import math

from qdchar.estimate import Estimate

_PREFIXES = {-15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
_TAKES_PREFIX = ("s", "Hz", "W", "m", "V")


def concise(value: float, u: float, *, digits: int = 2) -> str:
    """Write a value with its uncertainty in the last digits.

    Examples
    --------
    >>> concise(0.7121, 0.0178)
    '0.712(18)'
    >>> concise(1.30139e-3, 1.2e-4)
    '1.30(12)e-3'
    >>> concise(75.83, 0.0)
    '75.83'
    """
    if not (math.isfinite(value) and math.isfinite(u)) or u < 0:
        raise ValueError(f"cannot print {value} +- {u}")
    if u == 0:
        return f"{value:.6g}"
    exponent = 0
    if value and abs(value) < 1e-2:
        exponent = math.floor(math.log10(abs(value)))
        value, u = value / 10.0**exponent, u / 10.0**exponent
    decimals = digits - 1 - math.floor(math.log10(u))
    if round(u, decimals) >= 10.0 ** (digits - decimals):  # 0.0996 rounds to 0.100, three digits
        decimals -= 1
    tail = f"e{exponent}" if exponent else ""
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
    """Write an estimate with its unit, e.g. ``75.80(45) ps``."""
    scale, unit = prefixed(estimate.value, estimate.unit)
    return f"{concise(estimate.value / scale, estimate.u / scale)} {unit}".rstrip()
