from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from qdchar.keyrate import ideal

LOSSES = [0.0, 0.17, 5.0, 10.0, 14.6, 20.0, 30.0, 40.0]


def test_check_values(checks: dict[str, Any]) -> None:
    rtol = checks["ideal"]["rtol"]
    for row in checks["ideal"]["rows"]:
        eta = row["eta"]
        assert ideal.coherent_rate(eta) == pytest.approx(row["R_wcp"], rel=rtol)
        assert ideal.minimum_mean(0.0, eta) == pytest.approx(row["min_n_g0"], rel=rtol)
        assert ideal.maximum_g2(1.0, eta) == pytest.approx(row["max_g2_n1"], rel=rtol)
        for n, g2 in row["max_g2_at_n"].items():
            assert ideal.maximum_g2(float(n), eta) == pytest.approx(g2, rel=rtol)
        for g2, n in row["min_n_at_g2"].items():
            expected = np.inf if n is None else n
            assert ideal.minimum_mean(float(g2), eta) == pytest.approx(expected, rel=rtol)
        rates = {
            "R_sps_n0292": ideal.single_photon_rate(0.292, 0.00698, eta),
            "R_sps_n071": ideal.single_photon_rate(0.712, 0.0205, eta),
            "R_sps_n071_noatt": ideal.single_photon_rate(0.712, 0.0205, eta, attenuate=False),
        }
        for name, rate in rates.items():
            assert rate == pytest.approx(row[name], rel=rtol), name


@pytest.mark.parametrize("loss", LOSSES)
def test_the_boundaries_are_where_the_rates_are_equal(loss: float) -> None:
    """Closed forms against root finding on the rates themselves, to 1e-9."""
    eta = 10 ** (-loss / 10)
    for n in (0.4, 0.6, 1.0):
        g2 = float(ideal.maximum_g2(n, eta))
        root = brentq(
            lambda g, n=n: ideal.single_photon_rate(n, g, eta) / eta - 1 / np.e, 0, 2, xtol=1e-15
        )
        assert g2 == pytest.approx(root, rel=1e-9)
    for g2 in (0.0, 1e-5, 5e-5):
        root = brentq(
            lambda n, g2=g2: (n * eta - g2 * n**2 * (1 + eta**2) / 2) / eta - 1 / np.e,
            0,
            1,
            xtol=1e-15,
        )
        assert ideal.minimum_mean(g2, eta) == pytest.approx(root, rel=1e-9)


def test_pre_attenuation_is_the_best_mean() -> None:
    means = np.logspace(-5, 0, 200_001)
    for eta in (1.0, 0.1, 1e-3):
        best = ideal.single_photon_rate(means, 0.3, eta, attenuate=False).argmax()
        used = min(1.0, float(ideal.optimum_mean(0.3, eta)))
        assert used == pytest.approx(means[best], rel=1e-4)  # the grid's step is 6e-5


def test_attenuation_threshold_is_where_the_optimum_meets_the_source() -> None:
    n, g2 = 0.712, 0.0205
    eta = float(ideal.attenuation_threshold(n, g2))
    assert ideal.optimum_mean(g2, eta) == pytest.approx(n, rel=1e-12)
    assert ideal.attenuation_threshold(1.0, 0.0) == 0.0
    assert ideal.attenuation_threshold(1.0, 0.5) == 1.0
    assert ideal.attenuation_threshold(1.0, 0.6) == np.inf
    # the textbook root (1 - sqrt(1 - 4 g2 n)) / (2 g2 n) has lost all digits here
    assert ideal.attenuation_threshold(1e-3, 1e-9) == pytest.approx(1e-12, rel=1e-12)


def test_the_rate_is_a_lower_bound_for_other_photon_statistics() -> None:
    """Thermal, Poisson and a three-photon source: gain - P(N >= 2) is never below the formula."""
    k = np.arange(60)
    for eta in (1.0, 0.3, 0.01):
        for p in (
            0.4**k / (1.4 ** (k + 1)),
            np.exp(-0.3) * 0.3**k / np.cumprod(np.maximum(k, 1)).astype(float),
            np.where(k == 0, 0.7, np.where(k == 1, 0.25, np.where(k == 3, 0.05, 0.0))),
        ):
            n = float(p @ k)
            g2 = float(p @ (k * (k - 1))) / n**2
            true = p @ (1 - (1 - eta) ** k) - p[2:].sum()
            claimed = ideal.single_photon_rate(n, g2, eta, attenuate=False)
            assert claimed <= max(true, 0.0) + 1e-12
