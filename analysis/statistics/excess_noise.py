"""Excess noise: the brightness fluctuates from point to point by more than counting noise.

Its size is estimated from the scan itself. It is independent from point to point; a drift is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from qdchar.errors import InconclusiveError
from qdchar.estimate import Uncertain

from .likelihood import FitParameter, FitResult, Values, minimise_reweighted

Array = NDArray[np.float64]

_MIN_NOISE = 1e-5
"""Lower end of the search for the relative excess noise; counting noise is always larger."""
_MOST_ROUNDS = 30
_NOISE_TOLERANCE = 0.01
"""Relative change of the noise from one fit to the next at which it is found."""
_MIN_SIGNIFICANCE = 5.0
"""Standard uncertainties that a signal needs: the highest of some 1e4 noisy points stays below."""
_MIN_P_VALUE = 0.1
"""Probability of the chi2 below which counting noise alone is not taken for all of the scatter. A
scan of 170 points with a third more variance than by counting is below it in 9 of 10 cases; at 1 %
half of such scans would keep uncertainties that are 15 % too small."""


def fit_with_excess_noise(
    label: str,
    free: Mapping[str, FitParameter],
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values, float], Array],
    constraints: Mapping[str, Uncertain] | None = None,
) -> tuple[FitResult, float]:
    """Fit as `minimise_reweighted`, and include excess noise where the data show it.

    A dot that blinks, or a cavity that vibrates, changes the brightness from point to point by a
    relative amount, in addition to counting noise. Where the scatter is larger than counting noise
    makes it by chance in 10 % of scans, this amount is chosen such that the minimum equals the
    degrees of freedom [1]_. Bright points, which are affected most, then have less weight. One
    factor for all errors (the Birge ratio) would leave their weights too high.

    Parameters
    ----------
    label, free, residuals, constraints
        As for `minimise_reweighted`: the residuals of several sets of values are asked for at once.
    weights
        Function of the values and of the relative excess noise, which is to be added as a
        variance ``(noise * counts)^2``.

    Returns
    -------
    FitResult
        The fit.
    float
        Excess noise: relative standard deviation of the brightness from point to point; 0 if it is
        not significant.

    References
    ----------
    .. [1] R. C. Paule, J. Mandel, J. Res. Natl. Bur. Stand. 87, 377 (1982),
       doi:10.6028/jres.087.022
    """

    def fit(noise: float, start: Mapping[str, FitParameter]) -> FitResult:
        return minimise_reweighted(
            label, start, residuals, lambda v: weights(v, noise), constraints
        )

    counting_only = fit(0.0, free)
    if counting_only.p_value >= _MIN_P_VALUE:
        return counting_only, 0.0
    solution, tried, before = counting_only, -math.inf, None
    for _ in range(_MOST_ROUNDS):
        wanted = math.log(_noise_of(solution, residuals, weights))
        off = wanted - tried
        if abs(off) < _NOISE_TOLERANCE:
            if tried == 0.0:
                raise InconclusiveError(
                    f"{label}: the points scatter by more than the brightness itself. Is the "
                    "source blinking slowly, or the light path unstable? Count longer per point"
                )
            return solution, math.exp(tried)
        following = wanted
        if before is not None and abs(off) < abs(before[1]):
            # the distance falls in proportion to that from the root
            following = tried - off * (tried - before[0]) / (off - before[1])
        if math.isfinite(tried):
            before = tried, off
        tried = min(max(following, math.log(_MIN_NOISE)), 0.0)
        near = {n: replace(f, start=solution[n]) for n, f in free.items()}
        solution = fit(math.exp(tried), near)
    raise InconclusiveError(
        f"{label}: the fit and the scatter about it do not settle: the data determine neither. "
        "Look at the scan, and count longer per point"
    )


def _noise_of(
    solution: FitResult,
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values, float], Array],
) -> float:
    """Return the relative excess noise with which the minimum of a fit equals its dof; at most 1.

    A fit by counting noise alone is drawn to the brightest points, so that the others scatter about
    it by more than about a fit with noise.
    """
    v = solution.as_dict()
    pulls = sum(((v[n] - e.value) / e.u) ** 2 for n, e in solution.constraints.items())

    def excess(log_noise: float) -> float:
        scatter = residuals(v, weights(v, math.exp(log_noise)))
        return (float(scatter @ scatter) + pulls) / solution.dof - 1.0

    low, high = math.log(_MIN_NOISE), 0.0
    if excess(high) > 0.0:
        return 1.0
    if excess(low) <= 0.0:
        return _MIN_NOISE
    return math.exp(float(optimize.brentq(excess, low, high, xtol=0.1 * _NOISE_TOLERANCE)))


def significance_problem(label: str, significance: float) -> tuple[str, ...]:
    """Report a fitted signal that is not significant.

    Parameters
    ----------
    label
        Name of the fit.
    significance
        Square root of what the signal takes off the minimum, with the weights of points without a
        signal. Excess noise is relative: where there is no light, it is none. Relative to the
        uncertainty of its own height, a signal that blinks would be less significant the brighter
        it is.
    """
    if significance > _MIN_SIGNIFICANCE:
        return ()
    return (
        f"{label}: the signal is {significance:.1f} standard uncertainties high; noise alone can "
        f"reach {_MIN_SIGNIFICANCE:g}. Is there light? Count longer",
    )
