"""Propagation of distributions by Monte Carlo, and a test of the linear law against it.

JCGM 101:2008 (GUM-S1): adaptive number of trials by 7.9, comparison with the linear law of
uncertainty propagation by 8.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.estimate import Estimate, Uncertain, draw

from .intervals import K_95, LEVEL_68, Interval

Array = NDArray[np.float64]

_BATCH = 20_000
_MAX_BATCHES = 500
_MIN_ACCEPTED = 0.01
"""Least share of trials within the bounds; with fewer the inputs contradict their bounds."""


@dataclass(frozen=True)
class Distribution:
    """Distribution of a quantity as found by Monte Carlo.

    Attributes
    ----------
    mean, u
        Mean and standard deviation of the trials.
    interval_68, interval_95
        Probabilistically symmetric coverage intervals.
    above_zero
        Share of the trials above zero.
    trials
        Number of trials.
    tolerance
        Numerical tolerance of mean, u and the ends of the 95 % interval; kept in 95 of 100 runs.
    """

    mean: float
    u: float
    interval_68: Interval
    interval_95: Interval
    above_zero: float
    trials: int
    tolerance: float


def numerical_tolerance(u: float, digits: int) -> float:
    """Return half a unit of the last of so many significant digits of u (GUM-S1 7.9.2).

    Examples
    --------
    >>> numerical_tolerance(0.0754, 1), round(numerical_tolerance(0.0754, 2), 6)
    (0.005, 0.0005)
    """
    if not u > 0.0:
        raise ValueError("a tolerance needs an uncertainty above zero")
    # with u rounded to its digits, 0.0996 has become 1.0e-1
    last = int(f"{u:.{digits - 1}e}".partition("e")[2]) - (digits - 1)
    return 0.5 * 10.0**last


def monte_carlo(
    function: Callable[[Sequence[Array]], Array],
    inputs: Sequence[Uncertain],
    rng: np.random.Generator,
    *,
    bounds: Sequence[Interval] | None = None,
    digits: int = 2,
) -> Distribution:
    """Propagate the distributions of estimates through a function, with their shared errors.

    Parameters
    ----------
    function
        Takes an array of trials for each input, and returns an array of results.
    inputs
        Estimates; each error source of their budgets is normal, and the same in all that have it.
    rng
        Random numbers.
    bounds
        Known bounds of each input, e.g. ``(0, 1)`` for a transmission; trials beyond them are
        impossible and are drawn again.
    digits
        Significant digits of u to which the result is to be stable.

    Raises
    ------
    InconclusiveError
        If hardly any trial is within the bounds, or no number of trials makes the result stable
        (its variance is infinite: a ratio whose denominator can vanish).

    Notes
    -----
    Batches of 20 000 trials are added until twice the standard error of their means, standard
    deviations and ends of the 95 % interval is below the numerical tolerance of u (GUM-S1 7.9.4).
    """
    limits = np.array(bounds if bounds is not None else [(-np.inf, np.inf)] * len(inputs))

    def batch() -> Array:
        kept: list[Array] = []
        found = 0
        for drawn in range(1, math.ceil(1.0 / _MIN_ACCEPTED) + 1):
            x = draw(inputs, _BATCH, rng)
            inside = np.all((x >= limits[:, :1]) & (x <= limits[:, 1:]), axis=0)
            kept.append(x[:, inside])
            found += int(inside.sum())
            if found < _MIN_ACCEPTED * drawn * _BATCH:
                break
            if found >= _BATCH:
                trials = np.concatenate(kept, axis=1)[:, :_BATCH]
                return np.asarray(function(list(trials)), dtype=np.float64)
        values = ", ".join(f"{e.value:.4g} +- {e.u:.2g}" for e in inputs)
        raise InconclusiveError(
            f"Monte Carlo: the inputs {values} lie outside their bounds; check the values"
        )

    batches: list[Array] = []
    ends: list[tuple[float, float, float, float]] = []
    for _ in range(_MAX_BATCHES):
        y = batch()
        batches.append(y)
        ends.append((float(y.mean()), float(y.std()), *_central(y, 0.95)))
        if len(batches) < 2:
            continue
        tolerance = numerical_tolerance(float(np.mean(ends, axis=0)[1]), digits)
        error = np.std(ends, axis=0, ddof=1) / math.sqrt(len(ends))
        if np.all(2.0 * error <= tolerance):
            everything = np.concatenate(batches)
            return Distribution(
                mean=float(everything.mean()),
                u=float(everything.std(ddof=1)),
                interval_68=_central(everything, LEVEL_68),
                interval_95=_central(everything, 0.95),
                above_zero=float(np.mean(everything > 0.0)),
                trials=len(everything),
                tolerance=tolerance,
            )
    raise InconclusiveError(
        f"Monte Carlo: not stable in {digits} digits of u after {_MAX_BATCHES * _BATCH} trials; "
        "does a denominator come near zero?"
    )


def linear_law_is_adequate(
    estimate: Uncertain, distribution: Distribution, digits: int = 1
) -> bool:
    """Whether value +- 1.96 u agrees with the 95 % interval of Monte Carlo (GUM-S1 8.1).

    Parameters
    ----------
    estimate
        With the budget of the linear law of propagation.
    digits
        Both ends have to agree within the numerical tolerance of so many digits of u: with one,
        5 % to 50 % of u.
    """
    low, high = distribution.interval_95
    tolerance = numerical_tolerance(estimate.u, digits)
    below = abs(estimate.value - K_95 * estimate.u - low)
    above = abs(estimate.value + K_95 * estimate.u - high)
    return bool(below <= tolerance and above <= tolerance)


def with_monte_carlo_intervals(estimate: Estimate, distribution: Distribution) -> Estimate:
    """Return an estimate, with the intervals of Monte Carlo where its linear budget is inadequate.

    The budget keeps its proportions, and so its correlation with other estimates. It is scaled to
    the standard deviation of the trials.
    """
    if linear_law_is_adequate(estimate, distribution):
        return estimate
    factor = distribution.u / estimate.u
    return replace(
        estimate,
        method=(
            f"{estimate.method}; Monte Carlo (GUM-S1, {distribution.trials} trials), because the "
            "linear law differs from its 95 % interval"
        ),
        budget=tuple(c.times(factor) for c in estimate.budget),
        interval_68=distribution.interval_68,
        interval_95=distribution.interval_95,
    )


def _central(y: Array, level: float) -> Interval:
    low, high = np.quantile(y, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
