"""Trends over runs: what is steady is flagged as often as chance says, what moved is found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from qdchar.estimate import Contribution, Estimate
from qdchar.trends import FLAGGED, find_trend, u_of_run

START = datetime(2026, 3, 1, tzinfo=UTC)


def times(n: int) -> list[datetime]:
    return [START + timedelta(days=2 * k) for k in range(n)]


def test_three_points_on_a_line_by_hand() -> None:
    """Values 1, 2, 3 every 2 days with u = 0.1: slope 0.5 per day, u = 0.1/sqrt(8)."""
    trend = find_trend("lifetime", "s", times(3), [1.0, 2.0, 3.0], [0.1, 0.1, 0.1])
    assert trend.drift == pytest.approx(0.5)
    assert trend.drift_u == pytest.approx(0.1 / np.sqrt(8.0))
    assert trend.drift_p is not None
    assert trend.drift_p < 1e-40  # 14 standard uncertainties
    # chi2 = 2/0.01 = 200 for 2 degrees of freedom: exp(-100)
    assert trend.scatter_p == pytest.approx(np.exp(-100.0), rel=1e-6)
    assert "drift" in trend.flags


def test_two_runs_are_a_difference() -> None:
    trend = find_trend("g2_zero", "1", times(2), [0.010, 0.013], [0.0006, 0.0008])
    assert trend.step == pytest.approx(0.003)
    assert trend.step_u == pytest.approx(0.001)
    assert trend.step_p == pytest.approx(0.0027, rel=0.01)  # 3 sigma
    assert trend.drift is None
    assert trend.flags == ()
    assert find_trend("g2_zero", "1", times(1), [0.01], [0.001]).step is None


def test_a_step_is_found_where_it_is() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(0.0, 1.0, 12)
    y[7:] += 6.0
    trend = find_trend("x", "1", times(12), y.tolist(), [1.0] * 12)
    assert trend.step_at == times(12)[7]
    assert trend.step is not None
    assert trend.step_u is not None
    assert abs(trend.step - 6.0) < 4.0 * trend.step_u
    assert "step" in trend.flags


@pytest.mark.parametrize("scatter", [1.0, 3.0])
def test_a_steady_quantity_is_rarely_said_to_drift(scatter: float) -> None:
    """Also where it scatters by three times its uncertainty: that is scatter, and no drift."""
    rng = np.random.default_rng(11)
    p = np.array(
        [
            (trend.scatter_p, trend.drift_p, trend.step_p)
            for _ in range(400)
            for trend in [
                find_trend("x", "1", times(9), rng.normal(0.0, scatter, 9).tolist(), [1.0] * 9)
            ]
        ]
    )
    # of 400 trials 20 are below 5 %, with a standard deviation of 4.4; the step's p is no less
    assert np.count_nonzero(p[:, 1] < 0.05) < 20 + 4 * 4.4
    assert np.count_nonzero(p[:, 2] < 0.05) < 20 + 4 * 4.4
    if scatter == 1.0:
        assert np.count_nonzero(p[:, 0] < 0.05) < 20 + 4 * 4.4
        assert np.count_nonzero(p < FLAGGED) <= 6
    else:
        assert np.mean(p[:, 0] < FLAGGED) > 0.9


def test_what_all_runs_share_is_no_scatter() -> None:
    budget = (
        Contribution("calibration detector_efficiency", 0.4, "B"),
        Contribution("shared calibration power meter", 0.5, "B"),
        Contribution("assumed etalon_mode", 0.6, "B"),
        Contribution("counting", 0.03),
        Contribution("switching to after", 0.04, "B"),
    )
    e = Estimate(name="collection_efficiency", value=0.7, method="", budget=budget)
    assert u_of_run(e) == pytest.approx(0.05)
