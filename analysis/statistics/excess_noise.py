"""Brightness noise from point to point of a scan: found from the scan itself, told from drift."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Uncertain

from .likelihood import Free, Solution, Values, minimise_reweighted

Array = NDArray[np.float64]

_SMALLEST = 1e-5
_STANDS_OUT = 5.0


def minimise_scattering(
    label: str,
    free: Mapping[str, Free],
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values, float], Array],
    given: Mapping[str, Uncertain] | None = None,
) -> tuple[Solution, float]:
    """Minimise as `minimise_reweighted`, with the light's own noise where the data show some.

    A dot that blinks, or a cavity that vibrates, makes the brightness of each point differ by a
    relative amount beyond counting noise. Where the scatter is significantly (1 %) larger than
    counting allows, that amount is chosen such that the minimum equals its degrees of freedom
    [1]_: bright points, which suffer most, then weigh less. Stretching all errors alike would keep
    their weights too high.

    Parameters
    ----------
    label, free, residuals, given
        As for `minimise_reweighted`.
    weights
        Function of the values and of the relative noise of the brightness, to be added as a
        variance ``(noise * counts)^2``.

    Returns
    -------
    Solution
        The fit.
    float
        Relative standard deviation of the brightness from point to point; 0 if none shows.

    References
    ----------
    .. [1] R. C. Paule, J. Mandel, J. Res. Natl. Bur. Stand. 87, 377 (1982),
       doi:10.6028/jres.087.022
    """

    def fit(noise: float, start: Mapping[str, Free]) -> Solution:
        return minimise_reweighted(label, start, residuals, lambda v: weights(v, noise), given)

    quiet = fit(0.0, free)
    if quiet.p_value >= 0.01:
        return quiet, 0.0
    solution = quiet

    def excess(log_noise: float) -> float:
        nonlocal solution
        near = {n: replace(f, start=solution[n]) for n, f in free.items()}
        solution = fit(math.exp(log_noise), near)
        return solution.minimum / solution.dof - 1.0

    # where the noise dominates, the minimum goes with its inverse square: walk to the root
    inner, outer = math.log(_SMALLEST), math.log(_SMALLEST * 10.0)
    above = excess(outer)
    while above > 0.0:
        inner, outer = outer, outer + max(0.5 * math.log1p(above), 0.3)
        if inner > 0.0:
            raise InconclusiveError(
                f"{label}: the points scatter by more than the brightness itself; is the source "
                "blinking slowly, or the light path unstable? Count longer per point"
            )
        above = excess(outer)
    if excess(inner) > 0.0:
        outer = float(optimize.brentq(excess, inner, outer, xtol=0.03))
    noise = math.exp(outer)
    excess(outer)
    return solution, noise


def faint_problem(label: str, solution: Solution, height: str) -> tuple[str, ...]:
    """Say so if what was fitted does not stand out: the highest of many points of noise does not.

    Parameters
    ----------
    label
        Name of the fit.
    solution
        The fit.
    height
        Parameter that is zero where there is nothing.
    """
    if solution[height] > _STANDS_OUT * solution.u(height):
        return ()
    return (
        f"{label}: what was fitted stands out by {solution[height] / solution.u(height):.1f} "
        f"standard uncertainties, less than the {_STANDS_OUT:g} that noise does not reach; is "
        "there light? Count longer",
    )


def drift_problem(label: str, noise: float, residuals: Array) -> tuple[str, ...]:
    """Say so if the residuals of a scan follow each other, as in a drift or with a wrong model.

    Parameters
    ----------
    label
        Name of the fit.
    noise
        From `minimise_scattering`; nothing is said where it is 0.
    residuals
        Of one scan, in the order measured, shape (n,).

    Notes
    -----
    The correlation of neighbours has a standard deviation of 1/sqrt(n) if there is none. Noise
    that is independent from point to point is in the errors already; a drift is not.
    """
    centred = residuals - residuals.mean()
    power = float(centred @ centred)
    if noise == 0.0 or power == 0.0:
        return ()
    correlation = float(centred[1:] @ centred[:-1]) / power
    if stats.norm.sf(correlation * math.sqrt(len(residuals))) > 1e-4:
        return ()
    return (
        f"{label}: the brightness is off by {noise:.1%} rms, and neighbouring points alike "
        f"(correlation {correlation:.2f}): it drifted or jumped during the scan, or the model does "
        "not fit; look at the residuals, hold the cavity and repeat",
    )
