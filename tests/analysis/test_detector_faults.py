"""Afterpulsing and cross-talk are seen in the tags themselves, and not where there are none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pulsed_light
import pytest
from pulsed_light import SYNC, A, B, Light

from qdchar.analysis import hbt
from qdchar.analysis.detection.cross_talk import cross_talk
from qdchar.analysis.hbt.detector_faults import recovered_after, within_a_period
from qdchar.raw_data import About, TagRun
from qdchar.tags import TagWriter
from qdchar.tags.counting.after_clicks import AfterClicks
from qdchar.tags.source import TagArrays, count_in_one_pass

LIGHT = Light(mean_photons=0.15, g2=0.02)


@dataclass(frozen=True)
class Spoilt:
    """Probabilities a click; trap and delay in ps."""

    afterpulse: float = 0.0
    trap_ps: float = 50_000.0
    cross_talk: float = 0.0
    delay_ps: int = 500


def recording(
    folder: Path, light: Light, spoilt: Spoilt, seed: int, pulses: int = 6_000_000
) -> TagRun:
    """Record light on detectors that click again, or make each other click."""
    rng = np.random.default_rng(seed)
    times, channels, span = pulsed_light.tags(rng, pulses, light)
    parts = [(times[channels == SYNC], SYNC)]
    for own, other in ((A, B), (B, A)):
        clicks, theirs = times[channels == own], times[channels == other]
        parents = clicks[rng.random(len(clicks)) < spoilt.afterpulse]
        again = parents + light.dead_ps + rng.exponential(spoilt.trap_ps, len(parents))
        across = theirs[rng.random(len(theirs)) < spoilt.cross_talk] + spoilt.delay_ps
        everything = np.sort(np.concatenate([clicks.astype(np.float64), again, across]))
        parts.append((pulsed_light._detect(everything, light.dead_ps).astype(np.int64), own))
    times = np.concatenate([t for t, _ in parts])
    channels = np.concatenate([np.full(len(t), c, np.uint8) for t, c in parts])
    order = np.argsort(times, kind="stable")
    times, channels = times[order], channels[order]
    inside = (times >= 0) & (times < span)
    file = folder / f"run{seed}.h5"
    with TagWriter(file, resolution_ps=1) as writer:
        writer.append(times[inside], channels[inside], covered_until_ps=span)
    return TagRun(About("test"), file, A, B, SYNC, 1000, span * 1e-12)


@pytest.mark.parametrize(
    ("spoilt", "decay_ns"),
    [(Spoilt(afterpulse=0.01), 53), (Spoilt(afterpulse=0.02, trap_ps=200_000.0), 210)],
)
def test_afterpulses_are_named_and_taken_off(tmp_path: Path, spoilt: Spoilt, decay_ns: int) -> None:
    run = recording(tmp_path, LIGHT, spoilt, 21)
    for result in (hbt.analyse(run), hbt.analyse_file(run.file, channels=(A, B))):
        (problem,) = [p for p in result.problems if "afterpulsing" in p]
        assert "detector A clicks again" in problem
        assert "detector B clicks again" in problem
        assert f"about {decay_ns} ns" in problem
        g2 = result.estimates[0]
        assert g2.value == pytest.approx(0.02, abs=3 * g2.u)
        assert any("afterpulses" in c.source for c in g2.budget)


@pytest.mark.parametrize(
    "light",
    [
        LIGHT,
        Light(),
        Light(mean_photons=0.1, on_fraction=0.6, drift=0.2),
        Light(mean_photons=0.1, lifetime_ps=2_000.0, dark_hz=20_000.0, delay_b_ps=5_000.0),
    ],
)
def test_healthy_detectors_are_not_doubted(tmp_path: Path, light: Light) -> None:
    run = recording(tmp_path, light, Spoilt(), 22, 2_000_000)
    for result in (hbt.analyse(run), hbt.analyse_file(run.file, channels=(A, B))):
        assert not [p for p in result.problems if "afterpuls" in p or "cross-talk" in p]
        assert "afterpulses" not in result.estimates[0].method


def test_cross_talk_is_named(tmp_path: Path) -> None:
    run = recording(tmp_path, LIGHT, Spoilt(cross_talk=1e-3), 23, 3_000_000)
    for result in (hbt.analyse(run), hbt.analyse_file(run.file, channels=(A, B))):
        assert any("cross-talk: at delays of between -0.46" in p for p in result.problems)


def test_a_little_cross_talk_is_taken_off(tmp_path: Path) -> None:
    """The talk of either detector: 1e-4 (1/p_A + 1/p_B) is added to a g2 of 0.02."""
    run = recording(tmp_path, LIGHT, Spoilt(cross_talk=1e-4, delay_ps=2_500), 24, 6_000_000)
    healthy = hbt.analyse(recording(tmp_path, LIGHT, Spoilt(), 25, 6_000_000)).estimates[0]
    result = hbt.analyse(run)
    g2 = result["g2_zero_source"]
    assert not result.problems
    assert "taken off for cross-talk" in g2.method
    assert g2.value == pytest.approx(0.02, abs=3 * g2.u)
    assert g2.u < 1.5 * healthy.u
    assert g2.interval_95 is not None
    assert g2.interval_95[0] < 0.02 < g2.interval_95[1]
    # a limit is one of all pairs
    assert result["g2_zero_source_upper"].value > g2.value + 2.0 * g2.u


@pytest.mark.parametrize(
    ("delay_b_ps", "g2_zero", "is_named"), [(1_500.0, 0.003, False), (2_500.0, 0.002, True)]
)
def test_cross_talk_beyond_the_light_is_as_sure_as_the_light(
    tmp_path: Path, delay_b_ps: float, g2_zero: float, is_named: bool
) -> None:
    """It adds 0.0024 to g2. With B delayed as the talk is, half of it lies under the light.

    Then A's talk comes with B's light of the same pulse, and only B's talk stands apart.
    """
    light = Light(mean_photons=0.15, g2=g2_zero, delay_b_ps=delay_b_ps)
    spoilt = Spoilt(cross_talk=9e-5, delay_ps=2_500)
    result = hbt.analyse(recording(tmp_path, light, spoilt, 26, 6_000_000))
    g2 = result["g2_zero_source"]
    assert any("cross-talk" in p for p in result.problems) is is_named
    assert g2.value == pytest.approx(g2_zero, abs=2.5 * g2.u)
    hidden = [c.u for c in g2.budget if "delays of cross-talk" in c.source]
    assert (hidden[0] > 5e-4) is is_named


@pytest.mark.parametrize(
    ("zero", "found"),
    [
        ((0, 0), False),
        ((20, 0), False),
        ((0, 20), True),  # 3 ns off, where side peaks have nothing
    ],
)
def test_where_the_zero_peak_may_have_pairs(zero: tuple[int, int], found: bool) -> None:
    period, width = 12_500.0, 100.0
    centres = np.arange(-5.5 * period + 0.5 * width, 5.5 * period, width)
    phase = (centres / period + 0.5) % 1.0 - 0.5
    counts = np.where(np.abs(phase * period) < 300.0, 100, 0)
    counts[np.abs(centres) < 0.5 * period] = 0
    counts[np.argmin(np.abs(centres))] = zero[0]
    counts[np.argmin(np.abs(centres - 3_000.0))] = zero[1]
    talk = cross_talk(centres, counts, period, 100_000)
    assert (talk is not None) is found
    if talk is not None:
        assert talk.delays_s == pytest.approx([3e-9], abs=0.1e-9)
        assert talk.share == pytest.approx(2e-4, rel=0.05)


def test_gaps_by_hand() -> None:
    # the first click is on no pulse as yet; b two periods later shows that both were on one; a 1.5
    # periods after b; a again, on a pulse: not counted, because it follows a click between the
    # pulses; b two periods after that one
    times = np.array([0, 2_000, 3_500, 4_000, 6_000])
    channels = np.array([1, 2, 1, 1, 2], np.uint8)
    gaps = AfterClicks(1, 2, 1_000.0)
    count_in_one_pass(TagArrays(times, channels), gaps)
    assert gaps.clicks == (3, 2)
    b_after_a, a_between_after_b = (0, 2, 1, 0), (1, 1, 0, 1)
    assert gaps.counts[b_after_a] == gaps.counts[a_between_after_b] == 1
    assert gaps.counts.sum() == 2


@pytest.mark.parametrize(("dead", "recovered"), [(0, 1), (3, 4)])
def test_a_detector_that_gets_a_tenth_of_the_light_is_not_dead(dead: int, recovered: int) -> None:
    """Most clicks come after one of the brighter detector; only rates a click can be compared."""
    gaps = AfterClicks(0, 1, 1000.0)
    gaps.clicks = 36_000, 4_000
    for last in (0, 1):
        for this in (0, 1):
            gaps.counts[last, 1:, this, 0] = 0.02 * gaps.clicks[last] * gaps.clicks[this] / 20_000
        gaps.counts[last, 1 : 1 + dead, last, 0] = 0
    assert recovered_after(gaps) == recovered


def test_a_delay_of_many_periods_is_not_one_of_gaps() -> None:
    assert within_a_period(200_150.0, 12_500.0) == pytest.approx(150.0)
    assert within_a_period(-7_000.0, 12_500.0) == pytest.approx(5_500.0)
