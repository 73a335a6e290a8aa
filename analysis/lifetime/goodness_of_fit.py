"""Goodness of a reconvolution whose response is itself a histogram with counting noise.

A bin of the response that came out high by chance lifts the model for a whole decay time. Such
waves are no misfit, and neighbouring residuals share them, so that they must neither be taken for
further decays nor be treated as an independent variance of each bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from ..models.decay import Array
from ..statistics.likelihood import FitResult, deviance_residuals

_MIN_GROUP_COUNTS = 25.0
"""Least expected counts of a group of bins: with fewer, chi-square does not hold."""
_MAX_BLOCKS = 256
"""Into about so many blocks of counts, and no longer ones, the response is divided."""


@dataclass(frozen=True)
class Goodness:
    """How well a model describes a decay, the response free within its counting noise.

    Attributes
    ----------
    chi2, dof
        Chi-square of groups of bins and its degrees of freedom.
    bins
        First bin of each group, shape (g,).
    counts, expected
        Per group, shape (g,).
    residuals
        Deviance residuals per group with the best response within its noise, shape (g,).
    """

    chi2: float
    dof: int
    bins: NDArray[np.int64]
    counts: Array
    expected: Array
    residuals: Array

    @property
    def p_value(self) -> float:
        """Probability of a chi-square at least this high if the model is right."""
        return float(stats.chi2.sf(self.chi2, self.dof)) if self.dof > 0 else 1.0


def goodness_of_fit(
    solution: FitResult,
    decay: Array,
    expected: Array,
    slopes: Array,
    response: Array,
    kernel: Array,
) -> Goodness:
    """Return the goodness of a fit to a decay with a measured response.

    Parameters
    ----------
    solution
        The fit; its given nuisances count as data.
    decay, expected
        Counts and the model's, shape (n,).
    slopes
        Derivatives of the model with respect to the parameters, shape (p, n).
    response
        Counts of the response over one period, shape (m,), m >= n.
    kernel
        What one more count in the response's first bin would add to the model, shape (m,).

    Notes
    -----
    ``chi2 = min_b |r + B b + J d|^2 + |b|^2``: each block of the response may move by b standard
    deviations of its Poisson counts, the parameters by d; the profile likelihood of Barlow and
    Beeston [1]_ to first order. Blocks have about equal counts, or are short against the period
    where there are few.

    References
    ----------
    .. [1] R. Barlow, C. Beeston, Comput. Phys. Commun. 77, 219 (1993),
       doi:10.1016/0010-4655(93)90005-W
    """
    bins = _groups(expected)
    y, m = np.add.reduceat(decay, bins), np.add.reduceat(expected, bins)
    root = np.sqrt(m)
    size = np.array([solution.u(n) for n in solution.names])
    moved = np.add.reduceat(slopes * size[:, np.newaxis], bins, axis=1).T / root[:, np.newaxis]
    waves = _waves(response, kernel, bins, len(decay)) / root[:, np.newaxis]
    # the given nuisances are data of their own
    pulls = [(solution[n] - e.value) / e.u for n, e in solution.constraints.items()]
    rows = [size * (np.array(solution.names) == n) / e.u for n, e in solution.constraints.items()]
    own = deviance_residuals(y, m)
    residuals = np.concatenate([own, pulls])
    moved = np.concatenate([moved, np.reshape(rows, (len(rows), len(size)))])
    waves = np.concatenate([waves, np.zeros((len(rows), waves.shape[1]))])
    # the waves first, which their own noise holds; a parameter may be all but undetermined
    within = linalg.cho_factor(waves.T @ waves + np.eye(waves.shape[1]))
    left = moved - waves @ linalg.cho_solve(within, waves.T @ moved)
    step = np.linalg.lstsq(left.T @ moved, left.T @ residuals)[0]
    rest = residuals - moved @ step
    lift = linalg.cho_solve(within, waves.T @ rest)
    rest -= waves @ lift
    return Goodness(
        chi2=float(rest @ rest + lift @ lift),
        dof=len(residuals) - len(size),
        bins=bins,
        counts=y,
        expected=m,
        residuals=rest[: len(own)],
    )


def _waves(response: Array, kernel: Array, bins: NDArray[np.int64], n_bins: int) -> Array:
    """Return what one sigma of each block of the response adds to each group, shape (g, k)."""
    spectrum = np.fft.rfft(kernel)

    def behind(histogram: Array) -> Array:
        whole = np.fft.irfft(np.fft.rfft(histogram) * spectrum, len(histogram))
        return np.asarray(np.add.reduceat(whole[:n_bins], bins), dtype=np.float64)

    total = response.sum()
    # the sum of the response is no matter: the counts of the decay are free
    mean = behind(response) / total
    waves = []
    for first, last in _blocks(response):
        block = np.zeros(len(response))
        block[first:last] = response[first:last]
        n = float(block.sum())
        if n > 0:
            waves.append((behind(block) / n - mean) * np.sqrt(n))
    return np.stack(waves, axis=1)


def _blocks(response: Array) -> list[tuple[int, int]]:
    """First bin and the one after the last, of each block."""
    enough, longest = response.sum() / _MAX_BLOCKS, max(len(response) // _MAX_BLOCKS, 1)
    ends, held, first = [0], 0.0, 0
    for i, count in enumerate(response, start=1):
        held += count
        if held >= enough or i - first >= longest or i == len(response):
            ends.append(i)
            held, first = 0.0, i
    return list(pairwise(ends))


def _groups(expected: Array) -> NDArray[np.int64]:
    """First bin of each group of neighbours that expect enough counts together."""
    starts, held = [0], 0.0
    for i, count in enumerate(expected):
        if held >= _MIN_GROUP_COUNTS:
            starts.append(i)
            held = 0.0
        held += count
    if held < _MIN_GROUP_COUNTS and len(starts) > 1:
        starts.pop()
    return np.array(starts, dtype=np.int64)
