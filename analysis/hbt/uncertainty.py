"""How far off a g2(0) may be that rests on few coincidences: intervals, and a limit from above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qdchar.estimate import Contribution

from ..statistics.intervals import (
    K_95,
    LEVEL_68,
    LEVEL_95,
    Interval,
    exact_interval,
    jeffreys,
    scaled_interval,
    upper_limit,
    widen,
)

K_ONE_SIDED_95 = 1.644854
"""Standard normal deviate that is exceeded in 5 % of cases."""


@dataclass(frozen=True)
class G2Uncertainty:
    """Uncertainty of one g2(0).

    Attributes
    ----------
    budget
        Contributions to the standard uncertainty.
    interval_68, interval_95
        Central intervals; they may end at 0, which g2 cannot be below.
    upper_95
        One-sided limit: a true value above it would give so low a result in at most 5 % of cases.
    """

    budget: tuple[Contribution, ...]
    interval_68: Interval
    interval_95: Interval
    upper_95: float


def g2_uncertainty(
    value: float,
    per_coincidence: float,
    count: int,
    background: float,
    u_blocks: float,
    other_contributions: Sequence[Contribution],
    label: str,
) -> G2Uncertainty:
    """Put the uncertainty of a g2(0) together.

    Parameters
    ----------
    value, per_coincidence
        g2(0), and by how much one more coincidence raises it.
    count, background
        Coincidences at zero, and how many of them are expected not to be the light's.
    u_blocks
        Standard uncertainty from the scatter of time blocks.
    other_contributions
        What else is uncertain, independent of the coincidences.
    label
        Name of the run in the budget.

    Notes
    -----
    Poisson intervals do not see drift and blinking, the blocks do, but not the skewness of a few
    counts: where the blocks scatter more, the Poisson intervals are stretched to their scatter.

    The intervals are exact: at no mean do they cover less than they say, as Jeffreys' do (93 % for
    95 % at 5 counts). These say how far counts scatter, and make the standard uncertainty.
    """
    ends = [exact_interval(count, level, background) for level in (LEVEL_68, LEVEL_95)]
    poisson_68, poisson_95 = ((per_coincidence * a, per_coincidence * b) for a, b in ends)
    likely = jeffreys(count, LEVEL_68, background)
    u_poisson = 0.5 * per_coincidence * (likely[1] - likely[0])
    larger = max(1.0, u_blocks / u_poisson)
    u_other = math.sqrt(sum(c.u**2 for c in other_contributions))

    def interval(poisson: Interval, k: float) -> Interval:
        low, high = widen(value, scaled_interval(value, poisson, larger), k, u_other)
        return max(low, 0.0), high

    limit = per_coincidence * upper_limit(count, LEVEL_95, background)
    _, upper = widen(value, scaled_interval(value, (value, limit), larger), K_ONE_SIDED_95, u_other)
    return G2Uncertainty(
        (Contribution(f"coincidences, {label}", larger * u_poisson), *other_contributions),
        interval(poisson_68, 1.0),
        interval(poisson_95, K_95),
        upper,
    )
