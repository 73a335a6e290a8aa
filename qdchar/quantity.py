"""One definition of a quantity: name, unit, symbol, words and meaning."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Quantity:
    """One definition.

    Attributes
    ----------
    name
        Code name, as in JSON: lower case, digits and underscores.
    unit
        SI unit; "1" for a pure number.
    symbol
        What a formula or a table column calls it, e.g. ``"T1"``.
    words
        What a person reads, e.g. ``"mean photon number <n>"``.
    definition
        What the number is, in one line.
    low, high
        What is possible, in its unit. A measured value may lie beyond by its uncertainty.

    Raises
    ------
    ValueError
        If the name is not of that form, or a text is empty.
    """

    name: str
    unit: str
    symbol: str
    words: str
    definition: str
    low: float = field(default=-math.inf, compare=False)
    high: float = field(default=math.inf, compare=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(
                f"quantity {self.name!r}: a name is lower-case letters, digits and underscores"
            )
        for text in ("unit", "symbol", "words", "definition"):
            if not getattr(self, text):
                raise ValueError(f"quantity {self.name}: its {text} is empty")
