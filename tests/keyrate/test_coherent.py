from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import poisson

from qdchar.keyrate.decoy.coherent import (
    best_infinite_decoy,
    coherent_gain,
    infinite_decoy_rate,
    yield_and_error,
)
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.link import Link

PAPERS_DARK_COUNTS = {"dark_count_rate": 0.0, "background_count_rate": 43.0}


def conditions(loss_dB: Any, **link: Any) -> LinkParameters:
    """Conditions of the check values: dark counts divide between the bases like light."""
    return LinkParameters.from_link(Link.model_validate(PAPERS_DARK_COUNTS | link), loss_dB)


def test_gain_is_the_sum_over_photon_numbers() -> None:
    given = conditions(7.0)
    k = np.arange(60)
    clicks, errors = yield_and_error(k, given)
    gain, wrong = coherent_gain(0.7, given)
    assert gain == pytest.approx(poisson.pmf(k, 0.7) @ clicks, rel=1e-12)
    assert wrong == pytest.approx(poisson.pmf(k, 0.7) @ errors, rel=1e-12)


def test_without_errors_it_is_the_ideal_rate() -> None:
    """eta / e at mean 1, times Bob's share: for small eta, where the gain is linear."""
    clean = conditions([30.0, 40.0], misalignment=0.0, background_count_rate=0.0)
    rate, mean = best_infinite_decoy(clean)
    assert rate == pytest.approx(0.9 * clean.eta / np.e, rel=2e-9)
    assert mean == pytest.approx([1.0, 1.0], rel=1e-3)


def test_published_values() -> None:
    """An independent computation, three digits, pB = 0.9."""
    losses = [0, 10, 14.6, 20, 25, 30, 35, 40]
    published = [6.50e-2, 5.99e-3, 2.06e-3, 5.94e-4, 1.87e-4, 5.90e-5, 1.84e-5, 5.54e-6]
    rate, _ = best_infinite_decoy(conditions(losses))
    assert rate == pytest.approx(published, rel=5e-3)  # rounding to three digits


def test_another_program() -> None:
    """TNO's qkd_key_rate 2.0.4, by validation/keyrate_tno.py, at no error-correction loss."""
    given = conditions(
        [0.0, 10.0, 20.0, 30.0, 40.0], error_correction_efficiency=1.0, receiver="active"
    )
    rate, _ = best_infinite_decoy(given)
    theirs = [0.0787752421, 0.00735109938, 0.000729400959, 7.25318744e-05, 6.90342027e-06]
    # where double clicks matter, TNO assigns them at random and this model counts them as
    # photons: 0.3 % at no loss; at 40 dB its optimiser stops 0.006 % short
    assert rate[0] == pytest.approx(theirs[0], rel=4e-3)
    assert rate[1:] == pytest.approx(theirs[1:], rel=1e-4)
    assert rate[2:4] == pytest.approx(theirs[2:4], rel=1e-6)


def test_optimum_beats_a_dense_grid_and_edges_are_zero() -> None:
    given = conditions([0.0, 20.0, 45.0, 80.0])
    rate, _ = best_infinite_decoy(given)
    grid = infinite_decoy_rate(np.logspace(-4, 0.4, 4000)[:, None], given).max(axis=0)
    assert np.all(rate >= grid * (1 - 1e-9))
    assert rate[-1] == 0
