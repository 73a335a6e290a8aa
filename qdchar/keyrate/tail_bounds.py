"""Binary entropy and the tail bounds of finite statistics.

Every count is a float, and a bound of an empty sample is a number: nothing here warns, floors a
count or returns NaN for counts of zero or more.

References
----------
H.-L. Yin et al., Sci. Rep. 10, 14312 (2020), https://doi.org/10.1038/s41598-020-71107-6.
C. C. W. Lim et al., Phys. Rev. A 89, 022307 (2014), https://doi.org/10.1103/PhysRevA.89.022307.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# below this the entropy is 0 to machine precision, and its logarithm stays finite
_TINY = 1e-300


def binary_entropy(x: ArrayLike) -> Floats:
    """Binary entropy h(x) [bit], with h = 1 for x >= 1/2 (an error rate beyond a coin's).

    Parameters
    ----------
    x
        Error rate, any shape, 0 or more.
    """
    p = np.clip(np.asarray(x, dtype=np.float64), _TINY, 0.5)
    entropy = -p * np.log2(p) - (1 - p) * np.log1p(-p) / np.log(2)
    return np.asarray(np.where(p <= _TINY, 0.0, entropy))


def observed_upper(expected: ArrayLike, eps: ArrayLike) -> Floats:
    """Upper bound of an observed count from its expectation (Yin 2020, Chernoff).

    Parameters
    ----------
    expected
        Expected count, 0 or more.
    eps
        Failure probability.
    """
    x, b = np.asarray(expected, dtype=np.float64), -np.log(eps)
    return np.asarray(x + b / 2 + np.sqrt(2 * b * x + b**2 / 4))


def observed_lower(expected: ArrayLike, eps: ArrayLike) -> Floats:
    """Lower bound of an observed count from its expectation (Yin 2020, Chernoff)."""
    x, b = np.asarray(expected, dtype=np.float64), -np.log(eps)
    return np.asarray(np.maximum(0.0, x - np.sqrt(2 * b * x)))


def expected_upper(observed: ArrayLike, eps: ArrayLike) -> Floats:
    """Upper bound of an expectation from the observed count (Yin 2020, Chernoff)."""
    x, b = np.asarray(observed, dtype=np.float64), -np.log(eps)
    return np.asarray(x + b + np.sqrt(2 * b * x + b**2))


def expected_lower(observed: ArrayLike, eps: ArrayLike) -> Floats:
    """Lower bound of an expectation from the observed count (Yin 2020, Chernoff)."""
    x, b = np.asarray(observed, dtype=np.float64), -np.log(eps)
    return np.asarray(np.maximum(0.0, x - b / 2 - np.sqrt(2 * b * x + b**2 / 4)))


def sampling_deviation(
    key: ArrayLike, test: ArrayLike, rate: ArrayLike, eps: ArrayLike, *, tail: bool = False
) -> Floats:
    """Bound what an error rate can rise by from a test sample to the key (Yin 2020).

    Random sampling without replacement. The published bound makes the probability of the single
    outcome at its edge equal to `eps`; the probability of all outcomes beyond the edge, which a
    proof needs, is larger by about (test errors)^(1/2) / 6: a factor of 2 at 500 errors. With
    `tail` the prefactor that makes the difference is left out, and the tail is at most `eps`.

    Parameters
    ----------
    key
        Size of the key sample, unseen.
    test
        Size of the test sample.
    rate
        Error rate of the test sample. Fewer than one error counts as one: the bound is not
        defined at a rate of zero.
    eps
        Failure probability.
    tail
        Bound the tail and not the single outcome.

    Returns
    -------
    ndarray
        The deviation gamma; 1/2, which leaves no key, where either sample holds less than one
        pulse.
    """
    n, k, observed, eps = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (key, test, rate, eps))
    )
    empty = (n < 1) | (k <= 2)
    n, k = np.where(empty, 1.0, n), np.where(empty, 4.0, k)
    lam = np.clip(observed, 1 / k, 0.5)
    total = n + k
    share = np.maximum(n, k) / total
    spread = 4 * lam * (1 - lam)
    g = -2 * np.log(eps)
    if not tail:
        g = g + np.log(2 * total / (np.pi * n * k * spread))
    g = np.maximum(g, 0.0) * total / (n * k)
    skew = (1 - 2 * lam) * share * g
    gamma = (skew + np.sqrt((share * g) ** 2 + spread * g)) / (2 + 2 * share**2 * g)
    return np.asarray(np.where(empty, 0.5, gamma))
