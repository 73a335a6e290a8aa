"""Dead time of click detectors, against detectors simulated click by click."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click_scans import CLOCK_HZ, pulsed

from qdchar.analysis.detection.dead_time_model import (
    CorrectedCounts,
    blinking_clicks,
    click_probability,
    clicks_per_pulse,
    clicks_variance,
    corrected_counts,
    corrected_counts_continuous,
    fano,
    fano_continuous,
)
from qdchar.errors import InconclusiveError
from qdchar.raw_data import About, Scan


def _count_pulsed(rng: np.random.Generator, p: float, blind: int, pulses: int, runs: int):
    """Clicks in a number of pulses: each waits for `blind` pulses and then a geometric number."""
    gaps = blind + rng.geometric(p, size=(runs, int(1.5 * pulses / (blind + 1 / p)) + 200))
    # the first click comes without a click before it
    times = np.cumsum(gaps, axis=1) - blind
    assert np.all(times[:, -1] > pulses)
    return np.sum(times <= pulses, axis=1)


@pytest.mark.parametrize(("p", "blind"), [(0.356, 2), (0.9, 4), (0.05, 0), (1e-3, 2)])
def test_mean_and_variance_of_clicks(p: float, blind: int) -> None:
    rng = np.random.default_rng(1)
    pulses, runs = 4000, 4000
    clicks = _count_pulsed(rng, p, blind, pulses, runs)
    variance = float(clicks_variance(p, blind, pulses))
    # the mean to four standard errors; an edge effect of less than a click comes on top
    expected = pulses * float(clicks_per_pulse(p, blind))
    assert abs(clicks.mean() - expected) < 4 * np.sqrt(variance / runs) + 0.5
    # a variance from 4000 runs is known to 2.2 %; and to the edges, one in the number of clicks
    assert clicks.var() == pytest.approx(variance, rel=4 * 0.022, abs=0.3)


def test_inverse_is_exact() -> None:
    p = np.linspace(0.0, 1.0, 101)
    for blind in (0, 1, 2, 7):
        assert click_probability(clicks_per_pulse(p, blind), blind) == pytest.approx(p, abs=1e-12)


def test_clicks_of_a_source_that_blinks_before_light_that_does_not() -> None:
    rng = np.random.default_rng(8)
    pulses, runs, blind, q = 4000, 1000, 2, 0.6
    on, off = 0.4, 0.1
    clicks = [_count_pulsed(rng, p, blind, pulses, runs).mean() for p in (on, off)]
    seen = (q * clicks[0] + (1 - q) * clicks[1]) / pulses
    expected = float(blinking_clicks(np.array(on), np.array(off), blind, q, blind / q))
    assert float(click_probability(seen, blind / q)) == pytest.approx(expected, rel=0.005)
    # with nothing in the dark, or always on, it is the average itself
    dark = np.zeros(3)
    p = np.array([0.01, 0.3, 0.9])
    assert blinking_clicks(p, dark, blind, q, blind / q) == pytest.approx(q * p)
    assert blinking_clicks(p, p / 2, blind, 1.0, blind) == pytest.approx(p)


def test_continuous_formula_is_wrong_for_a_pulsed_source() -> None:
    """A mean of 0.712 photons, 0.356 detected per arm and photon, 30 ns: 7.7 % too much."""
    rate = float(clicks_per_pulse(0.712 * 0.356, 2)) * CLOCK_HZ
    continuous = rate / (1 - rate * 30e-9) / CLOCK_HZ
    assert continuous / (0.712 * 0.356) == pytest.approx(1.077, abs=0.001)


def test_live_counts_and_their_noise() -> None:
    """The sum of both detectors, corrected: its mean, and its variance as `fano` has it."""
    rng = np.random.default_rng(2)
    p_a, p_b, blind, points = 0.30, 0.10, 2, 20_000
    scan = pulsed(
        rng,
        "voltage_V",
        np.zeros(points),
        (np.full(points, p_a), np.full(points, p_b)),
        1e-4,
        blind,
    )
    pulses = scan.dwell_s * CLOCK_HZ
    light = corrected_counts(scan, CLOCK_HZ, blind)
    mean = (p_a + p_b) * pulses[0]
    assert light.share == pytest.approx((0.75, 0.25), abs=2e-3)
    # the correction is not linear: it adds m p (1 - p) counts, less than one, per detector
    bias = sum(blind * p * (1 - p) for p in (p_a, p_b))
    assert light.counts.mean() - mean == pytest.approx(bias, abs=4 * np.sqrt(mean / points))
    expected = mean * fano(np.full(1, mean), light, pulses[:1], blind)[0]
    assert light.counts.var() == pytest.approx(expected, rel=0.04)  # four standard errors


def test_continuous_light_and_its_noise() -> None:
    rng = np.random.default_rng(3)
    rate, dead, dwell, runs = 4e6, 30e-9, 2e-3, 3000
    waits = dead + rng.exponential(1 / rate, size=(runs, int(1.2 * dwell * rate)))
    times = np.cumsum(waits, axis=1) - dead
    clicks = np.sum(times <= dwell, axis=1)
    table = np.stack([clicks, clicks[::-1]], axis=1)
    scan = Scan(
        About("test"), "voltage_V", np.zeros(runs), table, np.full(runs, dwell), Path("x.csv")
    )
    light = corrected_counts_continuous(scan, dead)
    assert light.counts.mean() == pytest.approx(2 * rate * dwell, rel=1e-3)
    noise = fano_continuous(np.full(1, 2 * rate * dwell), light, np.full(1, dwell), dead)[0]
    assert light.counts.var() == pytest.approx(2 * rate * dwell * noise, rel=0.11)


def test_one_detector_alone() -> None:
    light = CorrectedCounts(np.array([10.0]), (1.0, 0.0))
    assert fano(np.array([10.0]), light, np.array([100.0]), 2) == pytest.approx(0.9 * 1.2)


def test_more_clicks_than_possible_are_refused() -> None:
    with pytest.raises(InconclusiveError, match=r"more than a detector that is dead for 2 pulses"):
        click_probability(0.4, 2)
    table = np.array([[40_000_000, 0]])
    scan = Scan(About("t"), "voltage_V", np.zeros(1), table, np.ones(1), Path("x.csv"))
    with pytest.raises(InconclusiveError, match="dead time"):
        corrected_counts_continuous(scan, 30e-9)
    dark = Scan(About("t"), "voltage_V", np.zeros(1), 0 * table, np.ones(1), Path("x.csv"))
    with pytest.raises(InconclusiveError, match="no clicks"):
        corrected_counts(dark, CLOCK_HZ, 2)
