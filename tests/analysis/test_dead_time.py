from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pulsed_light import PERIOD_PS, SYNC, A, B, Light, record

from qdchar.analysis import dead_time
from qdchar.analysis.detection.dead_time_model import click_probability
from qdchar.analysis.detection.detector_recovery import (
    detector_recoveries,
    recovery_from_gaps,
    veto_pulses,
)
from qdchar.errors import InconclusiveError
from qdchar.estimate import Estimate
from qdchar.raw_data import About, TagRun
from qdchar.tags import TagWriter

BRIGHT = Light()


def gaps_of(hazard: np.ndarray, clicks: int) -> np.ndarray:
    """Expected gaps of a renewal process with the given hazard at 1, 2, ... pulses."""
    surviving = np.concatenate([[1.0], np.cumprod(1.0 - hazard)[:-1]])
    return np.concatenate([[0], np.rint(clicks * surviving * hazard)]).astype(np.int64)


@pytest.mark.parametrize(
    ("dead_ns", "blind"), [(0.0, 0), (9.0, 0), (15.0, 1), (30.0, 2), (45.0, 3), (60.0, 4)]
)
def test_dead_time_lies_between_two_pulses(tmp_path: Path, dead_ns: float, blind: int) -> None:
    rng = np.random.default_rng(3)
    run = record(tmp_path, "run", rng, 200_000, replace(BRIGHT, dead_ps=1e3 * dead_ns))
    result = dead_time.analyse(run)
    found = result["dead_time"]
    period = PERIOD_PS * 1e-12
    assert found.value == pytest.approx((blind + 0.5) * period, rel=1e-6)
    assert found.u == pytest.approx(period / np.sqrt(12), rel=1e-6)
    assert found.interval_95 is not None
    low, high = found.interval_95
    assert low <= max(dead_ns * 1e-9, 0.025 * period)  # a dead time of 0 is at the very edge
    assert dead_ns * 1e-9 <= high
    assert not result.problems


def test_limits_embrace_two_unlike_detectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is dead for two pulses after a click, the other one for four."""
    run = record(tmp_path, "run", np.random.default_rng(4), 100_000, BRIGHT)
    two, four = (
        recovery_from_gaps(
            gaps_of(0.3 * np.concatenate([np.zeros(m), np.ones(60)]), 1_000_000), 1_000_000
        )
        for m in (2, 4)
    )
    period = PERIOD_PS * 1e-12
    for both in ((two, four), (four, two)):
        monkeypatch.setattr(dead_time, "detector_recoveries", lambda _, both=both: both)
        found = dead_time.analyse(run)["dead_time"]
        assert found.value == pytest.approx(3.5 * period, rel=1e-6)
        assert found.u == pytest.approx(3.0 * period / np.sqrt(12), rel=1e-6)


@pytest.mark.parametrize(
    ("dead_s", "on", "pulses"), [(30e-9, 1.0, 2.0), (60e-9, 0.8, 5.0), (10e-9, 0.5, 0.0)]
)
def test_a_dead_time_takes_whole_pulses(dead_s: float, on: float, pulses: float) -> None:
    """At 80 MHz, of 12.5 ns; over the part of the time that the source is on."""
    dead = Estimate(name="dead_time", value=dead_s, method="")
    assert dead_time.dead_pulses(dead, 80e6, on) == pytest.approx(pulses)


@pytest.mark.parametrize("mean", [0.7, 0.03, 0.003])
def test_gate_covers_the_dead_time_at_any_brightness(tmp_path: Path, mean: float) -> None:
    rng = np.random.default_rng(5)
    run = record(tmp_path, "run", rng, 1_000_000, replace(BRIGHT, mean_photons=mean))
    statistics = dead_time.open_run(run).count(veto_pulses=0)
    blind = veto_pulses(statistics)
    assert blind >= 2
    clicked = (statistics.s_a + statistics.s_b).sum() / statistics.n_pulses.sum()
    # a gate longer than needed is only taken where it costs no more than 2 % of the pulses
    assert blind == 2 or blind * clicked < 0.02


def test_blinking_is_not_taken_for_dead_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    blinking = replace(BRIGHT, on_fraction=0.5, mean_photons=0.35, blink_pulses=60.0)
    run = record(tmp_path, "run", rng, 400_000, blinking)
    statistics = dead_time.open_run(run).count(veto_pulses=0)
    assert veto_pulses(statistics) == 2


def test_gradual_recovery_is_measured_and_said() -> None:
    p = 0.3
    back = np.concatenate([[0.0, 0.0, 0.25, 0.8, 0.97], np.ones(59)])
    r = recovery_from_gaps(gaps_of(p * back, 2_000_000), 2_000_000)
    assert r.recovery_pulses == 5
    assert r.relative[:5] == pytest.approx(back[:5], abs=0.01)  # 1 % from 2e6 clicks
    assert r.dead_pulses == pytest.approx(5 - back[:5].sum(), abs=0.02)


@pytest.mark.parametrize(
    ("back", "said"), [([0, 0, 0.93], False), ([0, 0, 0.5], False), ([0, 0.4, 0.8], True)]
)
def test_a_recovery_while_a_pulse_comes_is_reckoned_with(
    tmp_path: Path, back: list[float], said: bool
) -> None:
    """Clicks of a renewal process; the mean gap is 1/p and what the dead pulses add."""
    p, pulses, rng = 0.2, 3_000_000, np.random.default_rng(16)
    hazard = p * np.array(back + [1.0] * 197)
    gap_of = np.cumsum(hazard * np.concatenate([[1.0], np.cumprod(1.0 - hazard)[:-1]]))
    clicks = []
    for channel in (A, B):
        gaps = 1 + np.searchsorted(gap_of, rng.random(pulses // 6))
        at = np.cumsum(gaps)
        at = at[at < pulses]
        clicks.append((at * PERIOD_PS + 2_000.0 + rng.normal(0.0, 30.0, len(at)), channel))
    clicks.append((np.arange(0, pulses, 1000) * PERIOD_PS, SYNC))
    times = np.concatenate([t for t, _ in clicks]).astype(np.int64)
    channels = np.concatenate([np.full(len(t), c, np.uint8) for t, c in clicks])
    order = np.argsort(times, kind="stable")
    span = int(pulses * PERIOD_PS)
    with TagWriter(tmp_path / "run.h5", resolution_ps=1.0) as writer:
        writer.append(times[order], channels[order], covered_until_ps=span)
    run = TagRun(About("test"), tmp_path / "run.h5", A, B, SYNC, 1000, span * 1e-12)
    result = dead_time.analyse(run)
    m = result["dead_pulses"]
    assert m.value == pytest.approx(3.0 - sum(back), abs=0.01)
    assert 0.0 < m.u < 0.02
    assert any("gradually" in problem for problem in result.problems) is said
    rate = (len(clicks[0][0]) + len(clicks[1][0])) / 2 / pulses
    live = rate / (1.0 - dead_time.dead_pulses(result["dead_time"], 76.13e6, 1.0, m) * rate)
    if not said:
        assert live == pytest.approx(p, rel=0.005)


def test_recovery_within_a_pulse_window_is_part_of_a_pulse(tmp_path: Path) -> None:
    # 26.3 ns is two periods and 29 ps: of a long decay, late photons are seen and early ones not
    rng = np.random.default_rng(7)
    run = record(tmp_path, "run", rng, 300_000, replace(BRIGHT, dead_ps=26_300, lifetime_ps=300))
    result = dead_time.analyse(run)
    assert not result.problems
    assert 1.2 < result["dead_pulses"].value < 1.8


def test_too_few_clicks_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    run = record(tmp_path, "run", rng, 200_000, replace(BRIGHT, mean_photons=0.002))
    with pytest.raises(InconclusiveError, match="too few clicks"):
        dead_time.analyse(run)


def test_blind_pulse_lowers_the_rate_as_a_renewal_process_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    run = record(tmp_path, "run", rng, 400_000, replace(BRIGHT, g2=0.0, dark_hz=0.0))
    statistics = dead_time.open_run(run).count(veto_pulses=0)
    a, _ = detector_recoveries(statistics)
    p = 0.712 * 0.712 / 2
    rate = statistics.s_a.sum() / statistics.n_pulses.sum()
    # R = p/(1 + m p), m from the gaps alone; 3 standard deviations of 80 000 clicks
    assert rate == pytest.approx(p / (1 + a.dead_pulses * p), rel=0.01)


def test_clicks_of_a_blinking_source_are_put_right(tmp_path: Path) -> None:
    """On for 60 % of the time: the on-state saturates, and its clicks stand for all the light."""
    rng = np.random.default_rng(11)
    q, on = 0.6, 0.5
    light = replace(BRIGHT, g2=0.0, dark_hz=0.0, on_fraction=q, mean_photons=q * on)
    run = record(tmp_path, "run", rng, 4_000_000, replace(light, blink_pulses=3000.0))
    result = dead_time.analyse(run)
    clock_Hz = 1e12 / PERIOD_PS
    on_time = dead_time.source_on_fraction(result["blinking_amplitude"])
    lost = dead_time.dead_pulses(result["dead_time"], clock_Hz, on_time.value)
    assert lost == pytest.approx(2 / q, rel=0.05)
    assert dead_time.dead_pulses(result["dead_time"], clock_Hz) == 2

    statistics = dead_time.open_run(run).count(veto_pulses=0)
    rate = statistics.s_a.sum() / statistics.n_pulses.sum()
    found, unaware = (float(click_probability(rate, m)) for m in (lost, 2))
    # 1300 times on and off: the time on is known to 2 %
    p = q * on * 0.712 / 2
    assert found == pytest.approx(p, rel=0.05)
    assert unaware < 0.93 * p
