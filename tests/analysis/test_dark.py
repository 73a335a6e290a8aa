from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy import stats

from qdchar.analysis import dark
from qdchar.analysis.statistics.intervals import LEVEL_68, garwood
from qdchar.errors import InconclusiveError
from qdchar.raw_data import About, Scan


def scan(clicks: ArrayLike, dwell_s: float = 1.0) -> Scan:
    table = np.asarray(clicks, dtype=np.int64)
    n = len(table)
    return Scan(
        About("dark"),
        "time_s",
        dwell_s * np.arange(n),
        table,
        np.full(n, dwell_s),
        Path("dark.csv"),
    )


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390)],
)
def test_garwood_limits_are_the_tabulated_ones(count: int, low: float, high: float) -> None:
    # 95 % limits of a Poisson mean as printed in any table, e.g. Johnson and Kotz
    assert garwood(count, 0.95) == pytest.approx((low, high), abs=6e-4)


@pytest.mark.parametrize("mean", [0.3, 2.0, 7.3, 40.0])
def test_garwood_covers_at_least_its_level(mean: float) -> None:
    # summed over all outcomes, not sampled
    counts = np.arange(200)
    covered = [low <= mean <= high for low, high in (garwood(int(k), 0.95) for k in counts)]
    assert np.sum(stats.poisson.pmf(counts, mean) * covered) >= 0.95


def test_rate_is_the_total_of_both_detectors() -> None:
    result = dark.analyse(scan([[20, 23], [25, 18]], dwell_s=2.0))
    rate = result["dark_count_rate"]
    assert rate.value == 86 / 4.0
    assert rate.interval_68 is not None
    low, high = (x / 4.0 for x in garwood(86, LEVEL_68))
    assert rate.interval_68 == pytest.approx((low, high))
    assert rate.u == pytest.approx((high - low) / 2)
    assert not result.problems


def test_no_count_gives_an_upper_limit() -> None:
    rate = dark.analyse(scan([[0, 0], [0, 0]]))["dark_count_rate"]
    assert rate.value == 0.0
    assert rate.interval_95 == pytest.approx((0.0, 3.689 / 2), abs=1e-3)


def test_stray_light_is_noticed_and_widens_the_error() -> None:
    rng = np.random.default_rng(4)
    quiet = rng.poisson(22.0, (20, 2))
    flicker = quiet + rng.poisson(np.where(np.arange(20) % 5 == 0, 60.0, 0.0))[:, None]
    assert not dark.analyse(scan(quiet)).problems
    result = dark.analyse(scan(flicker))
    assert "stray light" in result.problems[0]
    assert result["dark_count_rate"].u > 2 * np.sqrt(flicker.sum()) / 20


def test_intervals_cover() -> None:
    rng = np.random.default_rng(1)
    inside = np.zeros(2)
    runs = 400
    for _ in range(runs):
        rate = dark.analyse(scan(rng.poisson(21.5, (20, 2))))["dark_count_rate"]
        assert rate.interval_68 is not None
        assert rate.interval_95 is not None
        for i, (low, high) in enumerate((rate.interval_68, rate.interval_95)):
            inside[i] += low <= 43.0 <= high
    # 3 standard deviations of a binomial with 400 trials; exact intervals may cover a little more
    assert 0.61 < inside[0] / runs < 0.76
    assert inside[1] / runs > 0.917


def test_no_time_is_no_measurement() -> None:
    with pytest.raises(InconclusiveError, match="counting time is zero"):
        dark.analyse(scan([[0, 0]], dwell_s=0.0))
