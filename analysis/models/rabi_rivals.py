"""Rivals of the plain model of a Rabi scan: what else changes its counts with the pump power."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from qdchar.estimate import Uncertain

from ..statistics.likelihood import FitParameter, FitResult, Values
from .meter_zero import zero_prior
from .rabi_rotation import brightest

Array = NDArray[np.float64]

MOST_RENORMALISED = 0.3
"""Largest relative change of the pulse area per pi power that is considered."""
EXPONENTS = 0.5, 4.0
"""Range of the exponent of another dephasing."""


@dataclass(frozen=True)
class Rival:
    """A further parameter of a rival model, from where it is fitted, and what is known of it."""

    words: str
    name: str
    starts: tuple[FitParameter, ...]
    prior: Uncertain | None = None

    @property
    def directions(self) -> list[Values]:
        """Small changes of the parameter up and down, as far as it may go there."""
        base = _RIGHT.get(self.name, 0.0)
        steps = (base + sign * 0.01 * f.scale for f in self.starts for sign in (1.0, -1.0))
        first = self.starts[0]
        return [{self.name: x} for x in steps if first.low <= x <= first.high]


_RIGHT = {"exponent": 2.0}
"""Values that leave the model as it is, where that is not 0."""


def rivals_of(plain: FitResult, top: float) -> tuple[Rival, ...]:
    """Return the rivals of a fit to a scan up to a power [W]."""
    of_zero = zero_prior(top)
    least = -min(MOST_RENORMALISED, 0.3 * plain["pi_power"] / top)
    low, high = EXPONENTS
    bright = plain["amplitude"]
    return (
        Rival("meter zero", "zero", (FitParameter(0.0, of_zero.u, high=0.9 * top),), of_zero),
        Rival(
            "renormalised area",
            "renormalised",
            tuple(
                FitParameter(r, 0.01, least, MOST_RENORMALISED) for r in (0.01, 0.1, 0.5 * least)
            ),
        ),
        Rival("changing brightness", "change", (FitParameter(-0.02, 0.02, -0.9, 0.9),)),
        Rival("constant light", "constant", (FitParameter(0.01 * bright, bright, low=0.0),)),
        Rival(
            "another dephasing",
            "exponent",
            tuple(FitParameter(s, 0.5, low, high) for s in (1.2, 3.0)),
        ),
    )


def renormalised(power: Array, v: Values) -> Array:
    """Return the power that would make the same pulse area without renormalisation."""
    if "renormalised" not in v:
        return power
    r = v["renormalised"]
    area = np.maximum((1.0 + r * power / v["pi_power"]) / (1.0 + r), 0.0)
    return np.asarray(power * area**2, dtype=np.float64)


def brightest_of(v: Values) -> float:
    """Return P_max/P_pi of a model, whose pulse area may be renormalised by r per pi power."""
    plain, r = brightest(v["damping"], v.get("exponent", 2.0)), v.get("renormalised", 0.0)
    if r == 0.0:
        return plain
    # area over that of the pi pulse, in a = sqrt(P/P_pi): (a + r a^3)/(1 + r)
    area = (1.0 + r) * math.sqrt(plain)
    root = optimize.brentq(
        lambda a: a + r * a**3 - area, math.sqrt(0.3 * plain), math.sqrt(2.0), xtol=1e-12
    )
    return float(root) ** 2
