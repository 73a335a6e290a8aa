"""The fit wrapper against likelihoods computed otherwise, analytic cases and a NIST set."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from qdchar.analysis.statistics.bounded_parameter import bounded_uncertainty
from qdchar.analysis.statistics.intervals import widen
from qdchar.analysis.statistics.likelihood import (
    FitParameter,
    deviance_residuals,
    minimise,
    minimise_reweighted,
    pull_residuals,
)
from qdchar.analysis.statistics.profile import DELTA_95
from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Uncertain, covariance


def test_deviance_is_twice_the_log_likelihood_ratio() -> None:
    counts = np.array([0, 1, 3, 10, 250])
    expected = np.array([0.7, 2.5, 3.0, 7.0, 260.0])
    ratio = stats.poisson.logpmf(counts, np.maximum(counts, 1e-300)) - stats.poisson.logpmf(
        counts, expected
    )
    residuals = deviance_residuals(counts, expected)
    assert residuals**2 == pytest.approx(2 * ratio, abs=1e-12)
    assert list(np.sign(residuals)) == [1, 1, 0, -1, 1]


def test_deviance_keeps_its_digits_at_ten_million_counts() -> None:
    """m = y (1 + 1e-9) at y = 1e7: y ln(y/m) + m - y in doubles would be off by 5e-4 or so."""
    y = 1e7
    assert float(deviance_residuals(y, y * (1 + 1e-9))) == pytest.approx(1e-9 * y**0.5, rel=1e-4)


def test_deviance_of_what_cannot_be() -> None:
    assert np.isfinite(deviance_residuals([3.0], [0.0])).all()
    with pytest.raises(ValueError, match="not negative"):
        deviance_residuals([3.0], [-1.0])
    with pytest.raises(ValueError, match="positive"):
        pull_residuals([1.0], [1.0], [0.0])


def _decay(t: np.ndarray, v) -> np.ndarray:
    return v["height"] * np.exp(-t / v["tau"]) + v["floor"]


def test_fit_is_maximum_likelihood_and_its_covariance_fisher() -> None:
    """Against the log-likelihood of scipy.stats, minimised by another algorithm."""
    rng = np.random.default_rng(1)
    t = np.linspace(0, 5, 80)
    truth = {"height": 12.0, "tau": 1.0, "floor": 0.4}
    counts = rng.poisson(_decay(t, truth))
    free = {n: FitParameter(1.3 * x, x, low=1e-6) for n, x in truth.items()}
    solution = minimise("decay", free, lambda v: deviance_residuals(counts, _decay(t, v)))

    def minus_log(x: np.ndarray) -> float:
        return -float(
            stats.poisson.logpmf(counts, _decay(t, dict(zip(truth, x, strict=True)))).sum()
        )

    other = optimize.minimize(
        minus_log, [12.0, 1.0, 0.4], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10}
    )
    assert solution.values == pytest.approx(other.x, rel=1e-4)
    mean = _decay(t, solution.as_dict())
    slopes = np.stack(
        [
            np.exp(-t / solution["tau"]),
            solution["height"] * t / solution["tau"] ** 2 * np.exp(-t / solution["tau"]),
            np.ones_like(t),
        ]
    )
    # deviance residuals give the expected Fisher information up to the scatter of the data
    fisher = slopes / mean @ slopes.T
    u = np.sqrt(np.diag(np.linalg.inv(fisher)))
    assert [solution.u(n) for n in truth] == pytest.approx(u, rel=0.15)


def test_least_squares_with_root_n_is_biased_and_likelihood_is_not() -> None:
    """75.8 ps from 20 000 photons in bins of 4 ps, 60 times.

    Neyman's sigma = sqrt(max(N, 1)) gives the low counts too much weight: 1.1 ps short, twice the
    statistical error of 0.55 ps. Likelihood is right to its error.
    """
    rng = np.random.default_rng(2)
    edges = np.arange(0, 3420.0, 4.0)
    tau, total = 75.8, 20_000

    def model(v) -> np.ndarray:
        share = np.exp(-edges[:-1] / v["tau"]) - np.exp(-edges[1:] / v["tau"])
        return v["total"] * share + v["floor"]

    found: dict[str, list[float]] = {"likelihood": [], "Neyman": []}
    errors = []
    for _ in range(60):
        counts = rng.poisson(model({"tau": tau, "total": total, "floor": 0.3})).astype(float)
        free = {
            "tau": FitParameter(60, 60, low=1),
            "total": FitParameter(1e4, 1e4),
            "floor": FitParameter(1, 1, low=1e-3),
        }
        fit = minimise("t", free, lambda v, y=counts: deviance_residuals(y, model(v)))
        found["likelihood"].append(fit["tau"])
        errors.append(fit.u("tau"))
        sigma = np.sqrt(np.maximum(counts, 1))
        fit = minimise("t", free, lambda v, y=counts, s=sigma: pull_residuals(y, model(v), s))
        found["Neyman"].append(fit["tau"])
    u = float(np.mean(errors))
    assert u == pytest.approx(0.55, abs=0.03)
    assert np.mean(found["Neyman"]) - tau < -1.5 * u
    assert abs(np.mean(found["likelihood"]) - tau) < 3 * u / 60**0.5
    assert np.std(found["likelihood"]) == pytest.approx(u, rel=0.25)


def test_an_interval_is_widened_by_its_own_number_of_standard_errors() -> None:
    # distances of 2 and 4, and 1.96 times an error of 2, in quadrature
    assert widen(5.0, (3.0, 9.0), 1.96, 2.0) == pytest.approx((5.0 - 4.400727, 5.0 + 5.600571))
    assert widen(5.0, (3.0, 9.0), 1.0, 0.0) == pytest.approx((3.0, 9.0))


def test_profile_interval_of_three_counts() -> None:
    """ln L down by 1/2 around n = 3: 1.58 to 5.08 (where a Gaussian would say 1.27 to 4.73)."""
    fit = minimise(
        "n", {"mu": FitParameter(2.0, 1.0, low=0)}, lambda v: deviance_residuals([3.0], [v["mu"]])
    )
    assert fit["mu"] == pytest.approx(3.0, abs=1e-6)
    assert fit.profile("mu") == pytest.approx((1.58, 5.08), abs=0.02)


def test_profile_ends_at_a_bound() -> None:
    """No count above a known background of 1: mu from 0, and deviance 2 mu = 3.84 at 1.92."""
    fit = minimise(
        "n",
        {"mu": FitParameter(1.0, 1.0, low=0)},
        lambda v: deviance_residuals([0.0], [v["mu"] + 1]),
    )
    low, high = fit.profile("mu", DELTA_95)
    assert (low, high) == (0.0, pytest.approx(1.92, abs=0.02))


def test_given_nuisance_keeps_its_name_and_its_share() -> None:
    """y = a + b with b given: u(a)^2 = u(y)^2 + u(b)^2, covariance of a and b = -u(b)^2."""
    b = Uncertain(3.0, (Contribution("b certificate", 0.4, "B"),))
    y = np.array([10.1, 9.9, 10.3, 9.7])
    free = {"a": FitParameter(1.0, 1.0), "b": FitParameter(3.0, 1.0)}
    fit = minimise("sum", free, lambda v: pull_residuals(y, v["a"] + v["b"], 0.6), {"b": b})
    assert fit["a"] == pytest.approx(7.0)
    budget = {c.source: c for c in fit.budget({"a": 1.0})}
    assert budget["b certificate"].u == pytest.approx(-0.4)
    assert budget["b certificate"].kind == "B"
    assert sum(c.u**2 for c in budget.values()) == pytest.approx(0.3**2 + 0.4**2)
    a = Uncertain(7.0, fit.budget({"a": 1.0}))
    assert covariance([a, b])[0, 1] == pytest.approx(-(0.4**2))
    # a + b is free of the certificate
    total = {c.source: c.u for c in fit.budget({"a": 1.0, "b": 1.0})}
    assert total.pop("b certificate") == pytest.approx(0.0, abs=1e-9)  # numerical derivatives
    assert math.hypot(*total.values()) == pytest.approx(0.3)


def test_weights_from_the_model_are_not_biased() -> None:
    """Variance = mean^2/10: weights from the data pull the mean down by the variance over it."""
    rng = np.random.default_rng(3)
    free = {"mu": FitParameter(50.0, 50.0, low=1.0)}
    ours, naive = [], []
    for _ in range(200):
        y = rng.gamma(10.0, 10.0, size=30)
        fit = minimise_reweighted(
            "gamma",
            free,
            lambda v, fano, y=y: deviance_residuals(y, v["mu"] + np.zeros(30), fano),
            lambda v: np.full(30, v["mu"] / 10),
        )
        ours.append(fit["mu"])
        assert fit.u("mu") == pytest.approx(fit["mu"] / math.sqrt(300), rel=0.2)
        naive.append(np.sum(1 / y) / np.sum(1 / y**2))
    assert abs(np.mean(ours) - 100) < 4 * 100 / math.sqrt(300 * 200)
    assert np.mean(naive) < 85


def test_misfit_shows_in_the_budget_and_good_fits_are_not_shrunk() -> None:
    x = np.arange(12.0)
    free = {"m": FitParameter(1.0, 1.0)}
    wild = minimise("wild", free, lambda v: pull_residuals(5.0 * (-1) ** x, v["m"] + 0 * x, 1.0))
    assert wild.birge_ratio == pytest.approx(math.sqrt(25 * 12 / 11))
    assert "residuals are" in wild.problems[0]
    parts = {c.source: c.u for c in wild.budget({"m": 1.0})}
    assert math.hypot(*parts.values()) == pytest.approx(wild.u("m") * wild.birge_ratio)
    assert parts["wild[0], excess scatter"] > parts["wild[0]"]
    calm = minimise("calm", free, lambda v: pull_residuals(0 * x, v["m"] + 0 * x, 1.0))
    assert (calm.birge_ratio, calm.problems) == (1.0, ())
    assert calm.u("m") == pytest.approx(1 / math.sqrt(12))


def test_spread_at_a_bound_and_under_a_scale() -> None:
    """Amplitude at its bound of 0, seen at -0.5 +- 1: from 0 to where chi2 has risen by 1."""
    fit = minimise(
        "edge", {"g": FitParameter(0.5, 1.0, low=0)}, lambda v: pull_residuals([-0.5], [v["g"]], 1)
    )
    assert fit["g"] == pytest.approx(0.0, abs=1e-9)
    assert fit.near_bound("g")
    near = bounded_uncertainty(
        fit, 0.0, {"g": 1.0}, lambda x: fit.profile_minimum(lambda _: {"g": x}, {}), low=0.0
    )
    # (x + 0.5)^2 - 0.25 = 1
    assert near.interval_68 == (0.0, pytest.approx(math.sqrt(1.25) - 0.5, abs=0.02))
    scaled = near.with_scale(0.0, Uncertain(2.0, (Contribution("scale certificate", 0.1, "B"),)))
    assert scaled.interval_68[1] == pytest.approx(2 * near.interval_68[1])
    assert math.hypot(*(c.u for c in scaled.budget)) == pytest.approx(near.interval_68[1])


def test_failures_are_said_in_plain_words() -> None:
    x = np.arange(5.0)
    two = {"a": FitParameter(1.0, 1.0), "b": FitParameter(1.0, 1.0)}
    with pytest.raises(InconclusiveError, match="do not separate a and b"):
        minimise("sum", two, lambda v: pull_residuals(x, v["a"] + v["b"] + 0 * x, 1.0))
    with pytest.raises(InconclusiveError, match="do not depend on b"):
        minimise("one", two, lambda v: pull_residuals(x, v["a"] + 0 * x, 1.0))
    with pytest.raises(InconclusiveError, match="1 data points cannot determine 2 parameters"):
        minimise("few", two, lambda v: pull_residuals([1.0], [v["a"] * v["b"]], 1.0))
    with pytest.raises(InconclusiveError, match="not finite at its start"):
        minimise("nan", two, lambda v: np.full(5, math.nan) * v["a"])
    flat = minimise("flat", {"a": FitParameter(0.1, 1.0)}, lambda v: np.tanh([v["a"], v["a"]]))
    with pytest.raises(InconclusiveError, match="no limit"):
        flat.profile("a", 4.0)


def test_nist_misra1a() -> None:
    """NIST StRD, nonlinear regression: certified values and standard deviations."""
    y = [10.07, 14.73, 17.94, 23.93, 29.61, 35.18, 40.02, 44.82, 50.76, 55.05, 61.01, 66.40]
    y += [75.47, 81.78]
    x = np.array([77.6, 114.9, 141.1, 190.8, 239.9, 289.0, 332.8, 378.4, 434.8, 477.3, 536.8])
    x = np.append(x, [593.1, 689.1, 760.0])
    sigma = 1.0187876330e-01  # certified residual standard deviation: makes our errors absolute
    fit = minimise(
        "Misra1a",
        {"b1": FitParameter(500.0, 500.0), "b2": FitParameter(1e-4, 1e-4)},
        lambda v: pull_residuals(y, v["b1"] * -np.expm1(-v["b2"] * x), sigma),
    )
    assert fit["b1"] == pytest.approx(2.3894212918e02, rel=1e-7)
    assert fit["b2"] == pytest.approx(5.5015643181e-04, rel=1e-7)
    assert fit.u("b1") == pytest.approx(2.7070075241e00, rel=1e-5)
    assert fit.u("b2") == pytest.approx(7.2668688436e-06, rel=1e-5)
    assert fit.minimum == pytest.approx(12.0, rel=1e-8)
