"""Uncertainty of a fitted quantity near a bound, where the covariance does not describe it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from qdchar.estimate import Contribution, Uncertain, propagate

from .likelihood import FitResult
from .profile import DELTA_68, DELTA_95, profile


@dataclass(frozen=True)
class BoundedUncertainty:
    """Uncertainty of a quantity near a bound: its budget and profile-likelihood intervals."""

    budget: tuple[Contribution, ...]
    interval_68: tuple[float, float]
    interval_95: tuple[float, float]

    def with_scale(self, value: float, scale: Uncertain) -> BoundedUncertainty:
        """Return the uncertainty of the quantity times a scale factor from elsewhere.

        Parameters
        ----------
        value
            The quantity.
        scale
            The factor; its uncertainty widens the intervals in quadrature.
        """
        own = Uncertain(value, self.budget)

        def moved(interval: tuple[float, float], k: float) -> tuple[float, float]:
            low, high = (scale.value * (end - value) for end in interval)
            other = k * value * scale.u
            best = scale.value * value
            return best - math.hypot(low, other), best + math.hypot(high, other)

        return BoundedUncertainty(
            budget=propagate([(own, scale.value), (scale, value)]),
            interval_68=moved(self.interval_68, 1.0),
            interval_95=moved(self.interval_95, math.sqrt(DELTA_95)),
        )


def bounded_uncertainty(
    solution: FitResult,
    value: float,
    sensitivity: Mapping[str, float],
    minimum_at: Callable[[float], float],
    low: float = -math.inf,
) -> BoundedUncertainty:
    """Return the uncertainty of a quantity derived from a fit with a parameter near a bound.

    Parameters
    ----------
    solution
        The fit.
    value
        The quantity at the minimum.
    sensitivity
        Its derivative with respect to each parameter. It determines the error sources that the
        quantity shares with others; their size is scaled to half the width of the 68 % interval.
    minimum_at
        Minimum of the fit with the quantity fixed to a value, see `FitResult.profile_minimum`.
    low
        Lowest value possible.
    """
    budget = solution.budget(sensitivity)
    u = math.sqrt(sum(c.u**2 for c in budget))
    # Far from a parabola, u can have any size: begin nearby, and let the search expand.
    step = min(u, max(abs(value), 1e-3 * u))
    interval_68, interval_95 = (
        profile(
            solution.label,
            minimum_at,
            best=value,
            step=step,
            minimum=solution.minimum,
            delta=delta * solution.birge_ratio**2,
            low=low,
        )
        for delta in (DELTA_68, DELTA_95)
    )
    factor = (interval_68[1] - interval_68[0]) / 2.0 / u
    return BoundedUncertainty(
        tuple(c.times(factor) for c in budget),
        interval_68,
        interval_95,
    )
