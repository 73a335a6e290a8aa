"""Variants of the computation of published numbers, and a published number beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..link_parameters import LinkParameters
from ..single_photon.finite_key import Accounting, SinglePhotonPhase
from ..single_photon.rate import best_single_photon_key

Floats = NDArray[np.float64]

_N, _G2 = 0.292, 0.00698


@dataclass(frozen=True)
class Variant:
    """One way to compute what the paper leaves open."""

    name: str
    accounting: Accounting
    phase: SinglePhotonPhase
    receiver: Literal["passive", "active"]

    def at(self, given: LinkParameters) -> LinkParameters:
        """Return the same parameters with this variant's receiver."""
        return replace(given, active=self.receiver == "active")

    def rate(self, given: LinkParameters, n: ArrayLike = _N, g2: ArrayLike = _G2) -> Floats:
        """Best rate of a source; by default the paper's."""
        return best_single_photon_key(n, g2, self.at(given), self.phase, self.accounting).rate


VARIANTS = (
    Variant("alice, BB84, passive", "alice", "eb", "passive"),
    Variant("joint, BB84, passive", "joint", "eb", "passive"),
    Variant("joint, 3 states, passive", "joint", "lt", "passive"),
    Variant("joint, 3 states (each), passive", "joint", "lt-each", "passive"),
    Variant("alice, BB84, active", "alice", "eb", "active"),
)


@dataclass(frozen=True)
class Reproduction:
    """A published number and what the variants give.

    Attributes
    ----------
    quantity, unit
        What it is.
    published
        The printed value.
    source
        Publication.
    computed
        Pairs of a variant's name and its value; None where the variant has none.
    """

    quantity: str
    unit: str
    published: float
    source: str
    computed: tuple[tuple[str, float | None], ...]

    def deviation(self, value: float | None) -> float | None:
        """Difference to the published value: in dB for a ratio or loss in dB, else relative."""
        if value is None:
            return None
        if self.unit == "dB":
            return value - self.published
        return value / self.published - 1

    @property
    def closest(self) -> tuple[str, float | None]:
        """Variant that comes closest, and its deviation."""
        found = [(name, self.deviation(value)) for name, value in self.computed]
        return min(found, key=lambda pair: math.inf if pair[1] is None else abs(pair[1]))

    @property
    def reproduced(self) -> bool:
        """Whether a variant comes within 5 % (0.25 dB)."""
        deviation = self.closest[1]
        return deviation is not None and abs(deviation) < (0.25 if self.unit == "dB" else 0.05)
