"""The Toeplitz hash against the matrix written out."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from qdchar.errors import UsageError
from qdchar.exchange.hashing import seed_bytes, toeplitz_hash


@pytest.mark.parametrize(
    ("n", "m", "part"),
    [(1, 1, 16), (40, 7, 16), (7, 40, 16), (100, 61, 32), (64, 64, 64), (333, 200, 1 << 20)],
)
def test_it_is_the_product_with_a_toeplitz_matrix(n: int, m: int, part: int) -> None:
    rng = np.random.default_rng([n, m])
    key = rng.integers(0, 2, n, dtype=np.uint8)
    seed = rng.integers(0, 256, seed_bytes(n, m), dtype=np.uint8)
    bits = np.unpackbits(seed)
    matrix = np.array([[bits[i - j + n - 1] for j in range(n)] for i in range(m)], dtype=int)
    expected = (matrix @ key.astype(int)) % 2
    assert np.array_equal(toeplitz_hash(key, m, seed, part), expected)


def test_parts_of_any_length_give_the_same_hash_of_a_long_key() -> None:
    rng = np.random.default_rng(3)
    key = rng.integers(0, 2, 70_001, dtype=np.uint8)
    seed = rng.integers(0, 256, seed_bytes(70_001, 30_007), dtype=np.uint8)
    whole = toeplitz_hash(key, 30_007, seed)
    assert np.array_equal(toeplitz_hash(key, 30_007, seed, 4096), whole)
    # two of its bits by hand, at the ends
    bits = np.unpackbits(seed)
    for i in (0, 30_006):
        row = bits[i : i + 70_001][::-1]
        assert whole[i] == np.count_nonzero(row & key) % 2


def test_different_keys_have_the_same_hash_for_one_seed_in_two_to_the_m() -> None:
    """All seeds and all differences of a small hash: exactly universal."""
    n, m = 4, 3
    seeds = [np.packbits(np.array(bits, np.uint8)) for bits in product((0, 1), repeat=n + m - 1)]
    for key in list(product((0, 1), repeat=n))[1:]:
        difference = np.array(key, np.uint8)
        equal = sum(not toeplitz_hash(difference, m, seed).any() for seed in seeds)
        assert equal == len(seeds) // 2**m


def test_a_short_seed_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 107"):
        toeplitz_hash(np.ones(100, np.uint8), 8, np.zeros(13, np.uint8))
