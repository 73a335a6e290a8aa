"""Random numbers for the kernels of the sampler: fast, from one state.

A 64-bit state (splitmix64) gives uniform bits; exponential and normal numbers come from tabulated
quantiles. After a change here or in the tuples of `unpulsed_sampler`, delete the compiled kernels
in ``__pycache__``: numba looks only at the file of the kernel itself.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]

_BINS = 4096
_TAIL = 64

# Quantiles at the edges of equally probable bins. Within a bin the density is taken as constant,
# with an error of 1 % at most, because numbers in the outermost 64 bins are drawn exactly.
_EDGES: Array = np.arange(_BINS + 1) / _BINS
_EXPONENTIAL: Array = -np.log1p(-np.minimum(_EDGES, 1.0 - 0.5 / _BINS))
_NORMAL: Array = ndtri(np.clip(_EDGES, 0.5 / _BINS, 1.0 - 0.5 / _BINS))
_EXPONENTIAL_TAIL = float(_EXPONENTIAL[_BINS - _TAIL])
_NORMAL_TAIL = float(_NORMAL[_BINS - _TAIL])

GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S20, _S27, _S30, _S31, _S32, _S52 = (np.uint64(n) for n in (11, 20, 27, 30, 31, 32, 52))
_MASK_12, _MASK_20 = np.uint64(0xFFF), np.uint64(0xFFFFF)

compiled = nb.njit(cache=True, nogil=True)
inlined = nb.njit(cache=True, nogil=True, inline="always")


@inlined
def random_bits(state: np.uint64) -> np.uint64:
    """Return 64 random bits for a state (splitmix64); the next state is larger by `GAMMA`."""
    z = state
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@inlined
def uniform(bits: np.uint64) -> float:
    """Return a number between 0 and 1, neither included."""
    return (np.float64(bits >> _S11) + 0.5) * 2.0**-53


@compiled
def _exponential_tail(bits: np.uint64) -> float:
    """Return an exponential number beyond the table."""
    return _EXPONENTIAL_TAIL - math.log(uniform(random_bits(bits + GAMMA)))


@compiled
def _normal_tail(bits: np.uint64) -> float:
    """Return a normal number beyond the table (Marsaglia 1964)."""
    state = bits
    while True:
        x = -math.log(uniform(random_bits(state + GAMMA))) / _NORMAL_TAIL
        state += GAMMA + GAMMA
        if -2.0 * math.log(uniform(random_bits(state))) > x * x:
            return _NORMAL_TAIL + x


@inlined
def exponential(bits: np.uint64) -> float:
    """Return a number of unit exponential distribution from the low half of random bits."""
    j = np.int64((bits >> _S20) & _MASK_12)
    if j >= _BINS - _TAIL:
        return _exponential_tail(bits)
    low, high = float(_EXPONENTIAL[j]), float(_EXPONENTIAL[j + 1])
    return low + (high - low) * (float(bits & _MASK_20) * 2.0**-20)


@inlined
def normal(bits: np.uint64) -> float:
    """Return a number of unit normal distribution from the high half of random bits."""
    j = np.int64(bits >> _S52)
    if j >= _BINS - _TAIL:
        return _normal_tail(bits)
    if j < _TAIL:
        return -_normal_tail(bits)
    low, high = float(_NORMAL[j]), float(_NORMAL[j + 1])
    return low + (high - low) * (float((bits >> _S32) & _MASK_20) * 2.0**-20)


@compiled
def fill_alias_tables(weights: Array, threshold: Array, other: NDArray[np.int64]) -> None:
    """Fill Vose's alias tables for weights that sum to one; thresholds are between 0 and 1."""
    n = len(weights)
    scaled = weights * n
    small, large = np.empty(n, np.int64), np.empty(n, np.int64)
    n_small = n_large = 0
    for j in range(n):
        other[j] = j
        threshold[j] = 1.0
        if scaled[j] < 1.0:
            small[n_small] = j
            n_small += 1
        else:
            large[n_large] = j
            n_large += 1
    while n_small > 0 and n_large > 0:
        n_small -= 1
        s, g = small[n_small], large[n_large - 1]
        threshold[s] = scaled[s]
        other[s] = g
        scaled[g] -= 1.0 - scaled[s]
        if scaled[g] < 1.0:
            n_large -= 1
            small[n_small] = g
            n_small += 1
