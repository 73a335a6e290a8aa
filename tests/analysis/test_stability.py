"""Slices of constant light with a known drift and a known fluctuation, drawn from the formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from click_scans import CLOCK_HZ, coverage, given, pulsed, uncertain

from qdchar.analysis import stability
from qdchar.errors import InconclusiveError, RecordError
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.raw_data import Scan

DEAD_PULSES, DARK_HZ, DWELL_S = 2, 5e4, 0.2


def _slices(
    rng: np.random.Generator,
    drift: float = 0.0,
    fluctuation: float = 0.0,
    brightness: float = 0.3,
    slices: int = 50,
) -> Scan:
    """Slices whose brightness changes by `drift` per second about the middle of the recording."""
    start = DWELL_S * np.arange(slices)
    middle = start + DWELL_S / 2
    light = 1.0 + drift * (middle - middle.mean()) + fluctuation * rng.standard_normal(slices)
    p = brightness / 2 * light + DARK_HZ / 2 / CLOCK_HZ
    return pulsed(rng, "time_s", start, (1.1 * p, 0.9 * p), DWELL_S, DEAD_PULSES)


def _analyse(scan: Scan, **more) -> Result:
    return stability.analyse(
        scan,
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=DEAD_PULSES,
        dark_count_rate=given("dark_count_rate", DARK_HZ, 50.0),
        **more,
    )


@pytest.mark.parametrize(
    ("drift", "fluctuation", "brightness"), [(-2e-4, 2e-3, 0.3), (1e-3, 4e-3, 0.003)]
)
def test_intervals_cover(drift: float, fluctuation: float, brightness: float) -> None:
    rng = np.random.default_rng(11)
    truth = {"brightness_drift": drift, "brightness_fluctuation": fluctuation}

    def run() -> dict[str, Estimate]:
        scan = _slices(rng, drift, fluctuation, brightness)
        return {e.name: e for e in _analyse(scan).estimates}

    for name, (mean, sd, at_68, at_95) in coverage(run, truth, 400).items():
        # 400 runs: mean to 0.05, sd to 0.035, coverages to 0.023 and 0.011; three of each. The
        # fluctuation's pulls are those of a chi, skewed by 1/sqrt(2 * 48) of their width
        assert abs(mean) < 0.25, name
        assert 0.85 < sd < 1.15, name
        assert 0.61 < at_68 < 0.76, name
        assert 0.917 < at_95 < 0.983, name


def test_a_quiet_source_has_an_interval_from_zero() -> None:
    rng = np.random.default_rng(12)
    excluded = 0
    for _ in range(200):
        found = _analyse(_slices(rng))["brightness_fluctuation"]
        assert found.interval_95 is not None
        low, high = found.interval_95
        excluded += low > 0.0
        # c = sqrt(F/n) = 4.9e-4 of 4.57e6 live counts a slice, F = 1.105: even where the slices
        # scatter little, the limit is c sqrt(48/30.75 - 1), 30.75 the 2.5 % quantile of chi2(48)
        assert 3.6e-4 < high < 1.2e-3
    assert excluded < 200 * 0.025 + 3 * 2.2  # 2.5 % on that side, three standard deviations


def test_counting_noise_is_that_of_the_formula() -> None:
    # without dead time: u of a slope is sqrt(12/N)/T for N counts evenly over the time T
    rng = np.random.default_rng(13)
    start = DWELL_S * np.arange(400)
    p = np.full(400, 1e-3)
    scan = pulsed(rng, "time_s", start, (p, p), DWELL_S, 0)
    dark = given("dark_count_rate", 0.0, 0.0)
    found = stability.analyse(scan, clock_rate_Hz=CLOCK_HZ, dead_pulses=0, dark_count_rate=dark)
    counts = 2e-3 * CLOCK_HZ * 80.0
    (counting,) = (
        c.u for c in found["brightness_drift"].budget if c.source == "counting noise, test.csv"
    )
    assert counting == pytest.approx(np.sqrt(12.0 / counts) / 80.0, rel=2e-3)  # 1e-3 from p


def test_dark_counts_are_not_part_of_the_brightness() -> None:
    # half of the clicks are dark: the source's own drift is twice that of the clicks
    drift = 2e-2
    scan = _slices(np.random.default_rng(14), drift, brightness=DARK_HZ / CLOCK_HZ)
    found = _analyse(scan)["brightness_drift"]
    assert found.value == pytest.approx(drift, abs=3 * found.u)
    assert found.u < 0.1 * drift
    dark = {c.source: c.u for c in found.budget}["dark_count_rate certificate"]
    assert dark == pytest.approx(drift * 50.0 / DARK_HZ, rel=0.2)


def test_significance_is_stated() -> None:
    rng = np.random.default_rng(15)
    for estimate in _analyse(_slices(rng)).estimates:
        assert "; not significant" in estimate.method
    for estimate in _analyse(_slices(rng, -1e-3, 2e-3)).estimates:
        assert "; significant" in estimate.method


@pytest.mark.parametrize("law", ["even", "creep"])
def test_the_drift_of_the_cavity_is_removed(law: str) -> None:
    """A Lorentzian cavity that moves by 0.15 of its width, evenly or with the logarithm of time."""
    drift, moved = -1e-3, 0.15
    scan = _slices(np.random.default_rng(16), drift)
    away = (scan.x + DWELL_S / 2) / 10.0
    x = moved * (away if law == "even" else np.log1p(9.0 * away) / np.log(10.0))
    clicks = np.rint(scan.clicks / (1.0 + 4.0 * x**2)[:, None]).astype(np.int64)
    drifted = replace(scan, clicks=clicks)
    found = _analyse(drifted, end_detuning=uncertain("re-lock", moved, 0.01))["brightness_drift"]
    assert found.interval_68 is not None
    assert found.interval_68[0] < drift < found.interval_68[1]
    assert found.u < 0.8 * 4.0 * moved**2 / 10.0
    blind = _analyse(drifted)["brightness_drift"]
    assert blind.value < drift - 10.0 * blind.u


def test_a_jump_is_no_fluctuation() -> None:
    scan = _slices(np.random.default_rng(17))
    clicks = scan.clicks.copy()
    clicks[20:30] = np.rint(0.97 * clicks[20:30])
    assert "neighbouring points deviate alike" in _analyse(replace(scan, clicks=clicks)).problems[0]
    assert not _analyse(scan).problems


def test_what_cannot_be_said_is_not() -> None:
    scan = _slices(np.random.default_rng(18))
    with pytest.raises(RecordError, match="time_s"):
        _analyse(replace(scan, x_name="power_W"))
    with pytest.raises(InconclusiveError, match="at least 10"):
        _analyse(_slices(np.random.default_rng(18), slices=9))
    with pytest.raises(InconclusiveError, match="too little light"):
        _analyse(_slices(np.random.default_rng(18), brightness=1e-7))
