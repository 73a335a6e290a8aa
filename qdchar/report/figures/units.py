"""What stands on the axes: words, symbols, and units with a prefix."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.estimate import Estimate
from qdchar.notation import prefixed, text

_UNITS = {"1/s": ("cps", 1.0), "ns": ("s", 1e-9), "ps": ("s", 1e-12), "nm": ("m", 1e-9)}
"""Unit on an axis by that of a label, and how many of it one of the label's is."""
_WITHOUT_PREFIX = ("%", "dB", "rad")
_LEAST_PLAIN, _MOST_PLAIN = 1e-2, 1e4
"""Pure numbers between these are written without a power of ten."""
_GREEK = {"pi": r"\pi", "phi": r"\phi", "inf": r"\infty", "kappa": r"\kappa"}


@dataclass(frozen=True)
class Scale:
    """An axis of a figure.

    Attributes
    ----------
    words
        What is drawn, without a unit.
    unit
        With its prefix; a power of ten where a pure number needs one; empty for a pure number.
    factor
        Number on the axis over number in the curve.
    """

    words: str
    unit: str
    factor: float

    @classmethod
    def of(cls, label: str, values: Iterable[ArrayLike]) -> Scale:
        """Choose the prefix by the largest number, so that it is between 1 and 1000.

        Parameters
        ----------
        label
            Of a curve, such as ``"pump power P (W)"``.
        values
            All that is drawn along the axis.
        """
        largest = max(float(np.max(np.abs(v), initial=0.0)) for v in map(np.asarray, values))
        found = re.fullmatch(r"(.*\S)\s*\(([^()]*)\)", label)
        words, unit = found.groups() if found else (label, "")
        if unit in _WITHOUT_PREFIX:
            return cls(words, unit, 1.0)
        unit, factor = _UNITS.get(unit, (unit, 1.0))
        largest *= factor
        if unit in ("", "1"):
            usual = largest == 0.0 or _LEAST_PLAIN <= largest < _MOST_PLAIN
            power = 0 if usual else 3 * math.floor(math.log10(largest) / 3)
            return cls(words, _power_of_ten(power), 10.0**-power)
        step, prefixed_unit = prefixed(largest, unit)
        if unit == "s" and step > 1.0:  # no kiloseconds
            step, prefixed_unit = 1.0, unit
        return cls(words, prefixed_unit, factor / step)

    @property
    def title(self) -> str:
        """Words and unit, as in the header of a table."""
        return f"{self.words} ({self.unit})" if self.unit else self.words

    @property
    def label(self) -> str:
        """As `title`, with a symbol at the end of the words in italics."""
        words = re.sub(r" ([PVtτ])$", r" $\1$", self.words)
        return f"{words} ({self.unit})" if self.unit else words

    def __call__(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return numbers in the unit of the axis."""
        return np.asarray(values, dtype=np.float64) * self.factor


def _power_of_ten(power: int) -> str:
    digits = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{digits}" if power else ""


def math_symbol(symbol: str) -> str:
    r"""Write the symbol of a quantity for a figure.

    Examples
    --------
    >>> math_symbol("P_pi"), math_symbol("g2(0)_s"), math_symbol("<n>")
    ('$P_{\\pi}$', '$g^{(2)}_{\\mathrm{s}}(0)$', '$\\langle n\\rangle$')
    """
    if symbol.startswith("<") and symbol.endswith(">"):
        return rf"$\langle {symbol[1:-1]}\rangle$"
    g2 = re.fullmatch(r"g2\(0\)(?:_(\S+))?", symbol)
    if g2:
        return rf"$g^{{(2)}}{_below(g2.group(1))}(0)$"
    if symbol == "T1":
        return "$T_1$"
    parts = [_one_symbol(part) for part in symbol.replace(", ", "_").split("/")]
    return f"${'/'.join(parts)}$"


def _one_symbol(symbol: str) -> str:
    name, _, index = symbol.partition("_")
    name = _GREEK.get(name, name if len(name) == 1 else rf"\mathrm{{{name}}}")
    return f"{name}{_below(index)}"


def _below(index: str | None) -> str:
    if not index:
        return ""
    return f"_{{{_GREEK[index]}}}" if index in _GREEK else rf"_{{\mathrm{{{index}}}}}"


def written(estimate: Estimate) -> str:
    """Write an estimate with its symbol, with two digits of its uncertainty."""
    number = re.sub(r"^-", "−", without_exponent(text(estimate)))
    return f"{math_symbol(estimate.quantity.symbol)} = {number}"


def without_exponent(number: str) -> str:
    """Write a power of ten as one: ``1.30(12)e-3`` as 1.30(12) × 10⁻³."""
    return re.sub(r"e(-?\d+)", r"$\\times10^{\1}$", number)
