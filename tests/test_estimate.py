from __future__ import annotations

import numpy as np
import pytest

from qdchar.estimate import (
    Contribution,
    Estimate,
    Uncertain,
    budgets_of_fit,
    covariance,
    draw,
    merge,
    propagate,
)


def _estimate(value: float, *budget: Contribution) -> Uncertain:
    return Uncertain(value, budget)


def test_a_shared_certificate_drops_out_of_a_ratio() -> None:
    shared = Contribution("certificate", 0.05, "B")
    after = _estimate(0.3, Contribution("counts 1", 0.001), Contribution("c", 0.015, "B"))
    before = _estimate(0.6, Contribution("c", 0.030, "B"))
    ratio = propagate([(after, 1 / 0.6), (before, -0.3 / 0.36)])
    by_source = {c.source: c.u for c in ratio}
    assert by_source["c"] == pytest.approx(0.0, abs=1e-15)
    assert by_source["counts 1"] == pytest.approx(0.001 / 0.6)
    assert shared.u > 0


def test_covariance_follows_from_shared_sources() -> None:
    a = _estimate(1.0, Contribution("x", 0.3), Contribution("y", 0.4))
    b = _estimate(1.0, Contribution("x", -0.2))
    assert covariance([a, b]) == pytest.approx(np.array([[0.25, -0.06], [-0.06, 0.04]]))


def test_budgets_of_a_fit_give_its_covariance_back() -> None:
    rng = np.random.default_rng(7)
    half = rng.normal(size=(4, 4)) * np.array([1e-12, 1.0, 1e9, 1e3])[:, None]
    cov = half @ half.T
    names = ("a", "b", "c", "d")
    budgets = budgets_of_fit("fit", names, cov)
    estimates = [Uncertain(0.0, budgets[n]) for n in names]
    scale = np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    assert covariance(estimates) / scale == pytest.approx(cov / scale, abs=1e-12)


def test_propagation_agrees_with_monte_carlo() -> None:
    """p2 = g n^2/2 with n and g sharing an error, against a direct simulation."""
    n = _estimate(0.29, Contribution("c", 0.007), Contribution("n counts", 0.002))
    g = _estimate(0.007, Contribution("c", 0.0001), Contribution("g counts", 0.0003))
    budget = propagate([(n, g.value * n.value), (g, n.value**2 / 2)])
    rng = np.random.default_rng(3)
    c, n1, g1 = rng.normal(size=(3, 400_000))
    p2 = (0.007 + 0.0001 * c + 0.0003 * g1) * (0.29 + 0.007 * c + 0.002 * n1) ** 2 / 2
    u = np.sqrt(sum(x.u**2 for x in budget))
    # 400 000 draws fix a standard deviation to 0.11 %; second order adds a little
    assert u == pytest.approx(p2.std(), rel=0.006)


def test_contributions_of_one_source_add_with_their_signs() -> None:
    merged = merge([Contribution("s", 0.3), Contribution("s", -0.1), Contribution("t", 0.2)])
    assert {c.source: c.u for c in merged} == pytest.approx({"s": 0.2, "t": 0.2})


def test_what_repetition_shows_is_of_type_a_alone() -> None:
    parts = (Contribution("a", 3.0), Contribution("b", -4.0), Contribution("c", 12.0, "B"))
    estimate = _estimate(1.0, *parts)
    assert (estimate.u_statistical, estimate.u) == (5.0, 13.0)


def test_drawn_values_have_the_covariance_of_their_sources() -> None:
    a = _estimate(7.0, Contribution("x", 0.3), Contribution("y", 0.4))
    b = _estimate(-2.0, Contribution("x", -0.2))
    drawn = draw([a, b], 200_000, np.random.default_rng(5))
    # 200 000 draws fix means to 0.2 % and variances to 0.3 % of a standard deviation and variance
    assert drawn.mean(axis=1) == pytest.approx([7.0, -2.0], abs=0.005)
    assert np.cov(drawn) == pytest.approx(
        np.array([[0.25, -0.06], [-0.06, 0.04]]), rel=0.02, abs=1e-3
    )


def test_no_nan_leaves() -> None:
    with pytest.raises(ValueError, match="not finite"):
        _estimate(float("nan"))
    with pytest.raises(ValueError, match="not positive semidefinite"):
        budgets_of_fit("fit", ("a", "b"), [[1.0, 2.0], [2.0, 1.0]])


def test_a_certificate_stays_of_type_b_in_what_is_computed_from_it() -> None:
    gain = Estimate(
        name="power_meter_gain",
        value=1.2,
        method="",
        budget=(Contribution("certificate", 0.02, "B"), Contribution("readings", 0.01)),
    )
    assert propagate([(gain, 3.0)]) == (
        Contribution("certificate", 0.06, "B"),
        Contribution("readings", 0.03, "A"),
    )
