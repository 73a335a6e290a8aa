from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import InconclusiveError
from qdchar.tags import TagArrays, cross_correlation, measure_delay_and_period, open_tags
from qdchar.tags.timing.delay import comb_of, locate_zero_peak

HBT = "200213_HH400_T3_80MHz_HBT.ptu"


def hbt_stream(
    seed: int, *, g2: float, delay: int, n: int = 400_000, period: float = 13_135.4
) -> TagArrays:
    """Exponential photons of 500 ps lifetime, 25 ps jitter, on two detectors without dead time."""
    rng = np.random.default_rng(seed)
    mean = 0.1
    photons = rng.choice(
        3, size=n, p=[1 - mean + g2 * mean**2 / 2, mean - g2 * mean**2, g2 * mean**2 / 2]
    )
    pulse = np.repeat(np.arange(n), photons)
    arm = rng.integers(0, 2, len(pulse))
    time = (
        pulse * period
        + rng.exponential(500, len(pulse))
        + rng.normal(0, 25, len(pulse))
        + delay * arm
    )
    order = np.argsort(time)
    return TagArrays(np.floor(time[order]), arm[order])


def test_real_file_has_its_known_delay_period_and_peaks(hbt_data: Path) -> None:
    source = open_tags(hbt_data / HBT)
    found = measure_delay_and_period(source, 0, 1)
    assert found.delay_ps == pytest.approx(23_900, abs=100)
    assert found.period_ps == pytest.approx(12_495.5, abs=0.1)
    assert found.zero_area == 1
    assert found.mean_side_area == pytest.approx(376.0, abs=0.05)
    assert (found.method, found.period_method) == ("measured", "given")
    assert found.chance < 1e-100
    histogram = cross_correlation(source, 0, 1, bin_ps=16, range_ps=156_000)
    assert histogram.counts.sum() == 8_997
    alone = locate_zero_peak(histogram)
    assert alone.period_method == "measured"
    assert abs(alone.period_ps - 12_495.52) < 3 * alone.u_period_ps
    assert alone.delay_ps == pytest.approx(found.delay_ps, abs=5 * alone.u_delay_ps)


def test_real_qutag_file(hbt_data: Path) -> None:
    found = measure_delay_and_period(
        open_tags(hbt_data / "19_qutag_80MHz_HBT_sync_filtered.qutag"), 1, 2
    )
    assert found.zero_area == 0
    assert found.mean_side_area == pytest.approx(45.7, abs=0.1)
    assert 1_000 < found.pairs < 1_200


@pytest.mark.parametrize("delay", [0, 24_000, -61_000])
def test_delay_and_period_are_found_within_their_uncertainty(delay: int) -> None:
    pulls = []
    for seed in range(12):
        found = measure_delay_and_period(hbt_stream(seed, g2=0.1, delay=delay), 0, 1)
        assert found.method == found.period_method == "measured"
        pulls.append(
            (
                (found.delay_ps - delay) / found.u_delay_ps,
                (found.period_ps - 13_135.4) / found.u_period_ps,
            )
        )
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 4 / np.sqrt(12))
    assert np.all(np.std(pulls, axis=0) < 1.6)


def test_no_peak_is_taken_for_zero_unless_it_is_significantly_low() -> None:
    laser = hbt_stream(1, g2=1.0, delay=0)
    with pytest.raises(InconclusiveError, match="no peak is significantly low"):
        measure_delay_and_period(laser, 0, 1)
    given = measure_delay_and_period(laser, 0, 1, delay_ps=0)
    assert given.method == "given"
    assert given.zero_area == pytest.approx(
        given.mean_side_area, abs=5 * np.sqrt(given.mean_side_area)
    )


def test_wrong_guesses_are_refused() -> None:
    source = hbt_stream(2, g2=0.1, delay=0)
    with pytest.raises(InconclusiveError, match="between two peaks"):
        measure_delay_and_period(source, 0, 1, delay_ps=6_500)
    with pytest.raises(InconclusiveError, match="not of the given period"):
        measure_delay_and_period(source, 0, 1, period_ps=10_000)
    with pytest.raises(InconclusiveError, match="are these the two detectors"):
        measure_delay_and_period(source, 0, 7)
    with pytest.raises(InconclusiveError, match="take a range"):
        measure_delay_and_period(source, 0, 1, range_ps=20_000)
    noise = np.sort(np.random.default_rng(3).integers(0, 10**10, 60_000))
    with pytest.raises(InconclusiveError, match="no peaks"):
        measure_delay_and_period(
            TagArrays(noise, np.random.default_rng(4).integers(0, 2, len(noise))), 0, 1
        )


@pytest.mark.parametrize("pairs", [0, 7])
def test_delays_that_all_have_as_many_pairs_show_no_period(pairs: int) -> None:
    source = TagArrays(np.arange(4) * 10_000, np.array([0, 1, 0, 1]))
    found = cross_correlation(source, 0, 1, bin_ps=100, range_ps=40_000)
    flat = replace(found, counts=np.full_like(found.counts, pairs))
    with pytest.raises(InconclusiveError, match="show no peaks: all delays have as many"):
        comb_of(flat)
