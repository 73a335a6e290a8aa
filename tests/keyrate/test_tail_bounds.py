from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom, poisson

from qdchar.keyrate import tail_bounds


def test_check_values(checks: dict[str, Any]) -> None:
    given = checks["bounds"]
    values = {
        "obs_upper_1e4_1e10": tail_bounds.observed_upper(1e4, 1e-10),
        "obs_lower_1e4_1e10": tail_bounds.observed_lower(1e4, 1e-10),
        "exp_upper_1e4_1e10": tail_bounds.expected_upper(1e4, 1e-10),
        "exp_lower_1e4_1e10": tail_bounds.expected_lower(1e4, 1e-10),
        "obs_upper_0": tail_bounds.observed_upper(0, 1e-10),
        "exp_upper_0": tail_bounds.expected_upper(0, 1e-10),
        "exp_lower_10": tail_bounds.expected_lower(10, 1e-10),
        "gamma_9e7_1e6_003_1e10": tail_bounds.sampling_deviation(9e7, 1e6, 0.03, 1e-10),
        "gamma_1e6_1e4_001_1e10": tail_bounds.sampling_deviation(1e6, 1e4, 0.01, 1e-10),
    }
    for name, value in values.items():
        assert value == pytest.approx(given[name], rel=given["rtol"], abs=0), name
    for x, h in given["h2"].items():
        assert tail_bounds.binary_entropy(float(x)) == pytest.approx(h, rel=given["rtol"])


@pytest.mark.parametrize("expected", [0.0, 0.5, 3.0, 30.0, 1e4])
@pytest.mark.parametrize("eps", [1e-3, 1e-10])
def test_bounds_of_an_observed_count_hold_for_poisson_counts(expected: float, eps: float) -> None:
    upper = tail_bounds.observed_upper(expected, eps)
    lower = tail_bounds.observed_lower(expected, eps)
    assert poisson.sf(np.ceil(upper) - 1, expected) <= eps
    assert lower == 0 or poisson.cdf(np.floor(lower), expected) <= eps


@pytest.mark.parametrize("expected", [0.5, 3.0, 30.0, 1e4])
@pytest.mark.parametrize("eps", [1e-2, 1e-6])
def test_bounds_of_an_expectation_hold_for_poisson_counts(expected: float, eps: float) -> None:
    counts = np.arange(0, int(expected + 20 * np.sqrt(expected) + 60))
    chance = poisson.pmf(counts, expected)
    assert chance[tail_bounds.expected_upper(counts, eps) < expected].sum() <= eps
    assert chance[tail_bounds.expected_lower(counts, eps) > expected].sum() <= eps


def test_upper_bound_of_an_expectation_inverts_the_lower_bound_of_a_count() -> None:
    x = np.array([50.0, 1e3, 1e8])
    assert tail_bounds.observed_lower(tail_bounds.expected_upper(x, 1e-10), 1e-10) == pytest.approx(
        x
    )


@pytest.mark.parametrize(
    ("key", "test", "eps"),
    [(3000, 1000, 1e-3), (1000, 3000, 1e-3), (30_000, 10_000, 1e-4), (300_000, 10_000, 1e-6)],
)
def test_sampling_bound_against_the_hypergeometric_distribution(
    key: int, test: int, eps: float
) -> None:
    """Summed over all test outcomes: how often the key's error rate exceeds test rate + gamma."""
    for share in (0.001, 0.003, 0.01, 0.05, 0.25, 0.4):
        errors = int(share * (key + test))
        seen = np.arange(0, min(errors, test) + 1)
        chance = hypergeom.pmf(seen, key + test, errors, test)
        in_key = (errors - seen) / key
        for tail, allowed in ((True, 1.0), (False, 1 + np.sqrt(share * test) / 4)):
            gamma = tail_bounds.sampling_deviation(key, test, seen / test, eps, tail=tail)
            exceeds = in_key > seen / test + gamma
            assert chance[exceeds].sum() <= allowed * eps


def test_empty_samples_leave_no_key() -> None:
    assert np.all(
        tail_bounds.sampling_deviation([0, 1e6, 1e6, 0.5], [1e6, 0, 1, 0.5], 0.0, 1e-10) == 0.5
    )


def test_entropy_at_its_edges() -> None:
    x = np.array([0.0, 1e-320, 1e-18, 0.5, 0.7, 1.0])
    h = tail_bounds.binary_entropy(x)
    assert np.all(np.isfinite(h))
    assert h[0] == 0.0
    assert h[2] == pytest.approx(1e-18 * (np.log2(1e18) + 1 / np.log(2)), rel=1e-12)
    assert np.all(h[3:] == 1.0)
