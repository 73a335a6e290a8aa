"""Does the model describe its data? Tests that a free excess noise cannot satisfy.

Three tests, each with a false alarm in 1 of 10 000 fits of a right model: the deviance of grouped
bins, the number of runs of one sign, and the correlation of neighbouring residuals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.fit import runs_p_value

from .likelihood import deviance_residuals

Array = NDArray[np.float64]

MIN_P_VALUE = 1e-4
"""p-value below which a model does not describe its data."""
MIN_GROUP_COUNTS = 5.0
"""Least expected counts of a group of bins."""


@dataclass(frozen=True)
class GroupedDeviance:
    """Deviance of neighbouring bins joined until enough counts are expected.

    Attributes
    ----------
    deviance, dof
        Poisson deviance and its degrees of freedom.
    mean, variance
        Of the deviance if the model is right.
    residuals
        Signed deviance residuals of the groups, shape (groups,).
    """

    deviance: float
    dof: int
    mean: float
    variance: float
    residuals: Array

    @property
    def p_value(self) -> float:
        """Probability of a deviance at least this high if the model is right.

        Notes
        -----
        A Poisson count of mean 5 has a deviance of mean 1.05 and variance 2.5, not 1 and 2 as
        chi-square has: thousands of such bins would raise an alarm. A multiple of chi-square with
        the right mean and variance is taken.
        """
        if self.dof <= 0:
            return 1.0
        size = self.variance / (2.0 * self.mean)
        return float(stats.chi2.sf(self.deviance / size, self.mean / size))


_LARGE_COUNTS = 100.0
"""Expected counts from which the deviance of a count has the moments of chi-square."""


@cache
def _moments_table() -> tuple[Array, Array, Array]:
    """Return means of Poisson counts, and mean and variance of their deviance."""
    means = np.geomspace(0.05, _LARGE_COUNTS, 120)
    counts = np.arange(300.0)
    first, second = np.empty(len(means)), np.empty(len(means))
    for k, mean in enumerate(means):
        probability = stats.poisson.pmf(counts, mean)
        deviance = deviance_residuals(counts, np.full(len(counts), mean)) ** 2
        first[k] = probability @ deviance
        second[k] = probability @ deviance**2 - first[k] ** 2
    return means, first, second


def group_bins(expected: Array, least: float = MIN_GROUP_COUNTS) -> NDArray[np.int64]:
    """Return the number of the group of each bin: neighbours that expect `least` counts together.

    Parameters
    ----------
    expected
        Shape (n,).
    """
    group, held, number = np.zeros(len(expected), dtype=np.int64), 0.0, 0
    for i, count in enumerate(expected):
        if held >= least:
            held, number = 0.0, number + 1
        group[i] = number
        held += count
    if held < least and number > 0:
        group[group == number] = number - 1
    return group


def grouped_deviance(counts: Array, expected: Array, n_parameters: int) -> GroupedDeviance:
    """Return the deviance of bins joined until at least 5 counts are expected in each group.

    Parameters
    ----------
    counts, expected
        Shape (n,).
    n_parameters
        Number of fitted parameters.
    """
    group = group_bins(expected)
    y, m = np.bincount(group, counts), np.bincount(group, expected)
    residuals = deviance_residuals(y, m)
    means, first, second = _moments_table()
    dof = len(y) - n_parameters
    left = dof / len(y)  # each parameter takes its share
    return GroupedDeviance(
        deviance=float(np.sum(residuals**2)),
        dof=dof,
        mean=left * float(np.sum(np.interp(m, means, first))),
        variance=left * float(np.sum(np.interp(m, means, second))),
        residuals=residuals,
    )


def lag_one(residuals: Array) -> tuple[float, float]:
    """Return the correlation of neighbouring residuals, and its p-value if there is none.

    Notes
    -----
    Without correlation, the coefficient has a standard deviation of 1/sqrt(n).
    """
    centred = residuals - residuals.mean()
    power = float(centred @ centred)
    if power == 0.0:
        return 0.0, 1.0
    correlation = float(centred[1:] @ centred[:-1]) / power
    return correlation, float(stats.norm.sf(correlation * math.sqrt(len(residuals))))


def correlated_problem(label: str, residuals: Array, noise: float = 0.0) -> tuple[str, ...]:
    """Report residuals that are correlated from point to point, as by a drift or a wrong model.

    Parameters
    ----------
    label
        Name of the fit.
    residuals
        Of one scan, in the order measured, shape (n,).
    noise
        Excess noise of the fit, which such residuals may have been taken for.
    """
    correlation, p = lag_one(residuals)
    runs = runs_p_value(residuals)
    if min(p, runs) > MIN_P_VALUE:
        return ()
    size = f" by {noise:.1%} rms" if noise > 0.0 else ""
    return (
        f"{label}: the data deviate from the model{size}, and neighbouring points deviate alike "
        f"(correlation {correlation:.2f}, runs test p = {runs:.1g}). Something drifted or jumped "
        f"during the scan, or the model does not fit: look at the residuals, lock the "
        "cavity again and repeat",
    )
