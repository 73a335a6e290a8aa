"""Toeplitz hashes: verification that two keys are equal, and privacy amplification.

Bit i of the hash is the parity of seed[i - j + n - 1] key[j] over all j. With a random seed two
keys that differ have the same hash of m bits with probability 2^-m, whatever they are. The seed
may be public, once the key is fixed.

The parities are those of a convolution. It is computed in parts of fixed length by Fourier
transforms, so that the memory does not grow with the key. Each sum is an integer, and is
rounded to it: a deviation that could change the integer is an error.

References
----------
H. Krawczyk, Crypto 1994, https://doi.org/10.1007/3-540-48658-5_15.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from qdchar.errors import UsageError

Bits = NDArray[np.uint8]

PART_BITS = 1 << 20
"""Bits of key and of hash that one transform takes: 16 MB."""

_TOGETHER = 4
"""Parts of the hash that are computed at the same time, in about 250 MB of memory:
they share transforms."""

_LEAST_PART = 1 << 12

_SAFE = 0.1
"""Largest distance of a sum from an integer; rounding errors are below 1e-6."""


def seed_bytes(key_bits: int, hash_bits: int) -> int:
    """Bytes of a random seed for a hash."""
    return (key_bits + hash_bits + 6) // 8


def toeplitz_hash(
    key: Bits, hash_bits: int, seed: NDArray[np.uint8], part: int = PART_BITS
) -> Bits:
    """Hash a key.

    Parameters
    ----------
    key
        0 and 1, shape (n,).
    hash_bits
        Length of the hash, m.
    seed
        n + m - 1 random bits, eight in a byte, first bit highest.
    part
        Bits that one transform takes, a power of two.

    Returns
    -------
    ndarray
        0 and 1, shape (m,).

    Raises
    ------
    UsageError
        The seed is too short.
    """
    n = len(key)
    if 8 * len(seed) < n + hash_bits - 1:
        raise UsageError(
            f"hash: a seed of {8 * len(seed)} bits for {n} bits of key and {hash_bits} of hash: "
            f"at least {n + hash_bits - 1}"
        )
    if n == 0 or hash_bits == 0:
        return np.zeros(hash_bits, np.uint8)
    size = min(part, max(_LEAST_PART, 1 << (hash_bits - 1).bit_length()))

    # The next part of the key needs the same transforms but one. The new one is asked for first:
    # the cache has one place more, so that it does not remove one that is needed next.
    @lru_cache(maxsize=_TOGETHER + 1)
    def transformed_seed(parts: int) -> NDArray[np.complex128]:
        """Transform the seed between a part of the key and a part of the hash, `parts` later."""
        window = _seed_bits(seed, (parts - 1) * size + n, 2 * size - 1)
        return np.asarray(rfft(window, 2 * size))

    hashed = np.empty(hash_bits, np.uint8)
    hash_parts = -(-hash_bits // size)
    for first in range(0, hash_parts, _TOGETHER):
        group = range(first, min(first + _TOGETHER, hash_parts))
        totals = np.zeros((len(group), size + 1), np.complex128)
        for j in range(-(-n // size)):
            key_part = rfft(key[j * size : (j + 1) * size].astype(np.float64), 2 * size)
            for total, i in zip(totals, group, strict=True):
                total += transformed_seed(i - j) * key_part
        for total, i in zip(totals, group, strict=True):
            wanted = hashed[i * size : (i + 1) * size]
            sums = irfft(total, 2 * size)[size - 1 : size - 1 + len(wanted)]
            whole = np.rint(sums)
            if np.abs(sums - whole).max() > _SAFE:
                raise ArithmeticError("rounding errors of the Fourier transform are too large")
            wanted[:] = whole.astype(np.int64) & 1
    return hashed


def _seed_bits(seed: NDArray[np.uint8], first: int, count: int) -> NDArray[np.float64]:
    """Bits [first, first + count) of a seed; 0 outside of it, where they meet no bit of the key."""
    bits = np.zeros(count)
    begin, end = max(first, 0), min(first + count, 8 * len(seed))
    if end > begin:
        unpacked = np.unpackbits(seed[begin // 8 : (end + 7) // 8])
        bits[begin - first : end - first] = unpacked[begin % 8 : begin % 8 + end - begin]
    return bits
