"""g2(0) of tag files from elsewhere: any rate and delay, peaks that overlap, slow blinking."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qdchar.analysis import hbt
from qdchar.analysis.hbt.g2_comb_fit import analyse_histogram
from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Uncertain
from qdchar.tags import TagWriter
from qdchar.tags.formats.delay_histogram import DelayHistogram

Times = NDArray[np.float64]


def write(
    path: Path, a: Times, b: Times, span_ps: float, sync_period_ps: float | None = None
) -> Path:
    times = np.concatenate([a, b])
    channels = np.repeat(np.array([0, 1], np.uint8), [len(a), len(b)])
    keep = (times >= 0) & (times < span_ps)
    ticks = np.floor(times[keep]).astype(np.int64)
    order = np.argsort(ticks, kind="stable")
    with TagWriter(path, resolution_ps=1.0, sync_period_ps=sync_period_ps) as writer:
        writer.append(ticks[order], channels[keep][order], covered_until_ps=int(span_ps))
    return path


def clicks(
    rng: np.random.Generator,
    pulses: int,
    *,
    period_ps: float,
    g2: float,
    p: float,
    lifetime_ps: float,
    delay_ps: float = 0.0,
    on: NDArray[np.bool_] | None = None,
) -> tuple[Times, Times]:
    """Clicks of two detectors: each clicks with probability p, both with g2 p**2."""
    both = g2 * p**2
    draw = rng.random(pulses)
    if on is not None:
        draw[~on] = 1.0
    on_a, on_b = draw < p, (draw < both) | ((draw >= p) & (draw < 2 * p - both))
    a, b = (
        period_ps * k + 1_000.0 + rng.exponential(lifetime_ps, len(k))
        for k in (np.flatnonzero(on_a), np.flatnonzero(on_b))
    )
    return a, b + delay_ps


@pytest.mark.parametrize(
    ("period_ps", "delay_ps", "lifetime_ps", "pulses", "p"),
    [
        (70_000.0, 0.0, 700.0, 2_000_000, 0.02),
        (130_000.0, -90_000.0, 700.0, 2_000_000, 0.02),
        (830_000.0, 2_300.0, 900.0, 1_000_000, 0.03),
        (9_700_000.0, 40_000.0, 900.0, 400_000, 0.05),
        (12_900.0, 331_000.0, 500.0, 4_000_000, 0.015),
        (12_900.0, -870_000_000.0, 500.0, 4_000_000, 0.015),
        (520.0, 3_100.0, 40.0, 2_500_000, 0.01),
    ],
)
def test_any_pulse_rate_and_delay(
    tmp_path: Path,
    period_ps: float,
    delay_ps: float,
    lifetime_ps: float,
    pulses: int,
    p: float,
) -> None:
    rng = np.random.default_rng(31)
    a, b = clicks(
        rng, pulses, period_ps=period_ps, g2=0.15, p=p, lifetime_ps=lifetime_ps, delay_ps=delay_ps
    )
    file = write(tmp_path / "tags.h5", a, b, pulses * period_ps)
    result = hbt.analyse_file(file)
    assert result["pulse_period"].value == pytest.approx(1e-12 * period_ps, rel=1e-4)
    assert result["electronic_delay"].value == pytest.approx(1e-12 * delay_ps, abs=50e-12)
    g2 = result["g2_zero"]
    assert g2.value == pytest.approx(0.15, abs=3.0 * g2.u)
    assert g2.u < 0.03
    assert not result.problems
    # and where period and delay are known beforehand
    told = hbt.analyse_file(file, period_s=1e-12 * period_ps, delay_s=1e-12 * delay_ps)
    assert told["g2_zero"].value == pytest.approx(g2.value, abs=0.3 * g2.u)


def test_given_delay_does_not_hide_a_fraction_of_the_period(tmp_path: Path) -> None:
    # of 80 ns, 150 ns to each side show 40 ns: every second peak is empty
    rng = np.random.default_rng(32)
    a, b = clicks(rng, 2_000_000, period_ps=80_000.0, g2=0.15, p=0.02, lifetime_ps=500.0)
    result = hbt.analyse_file(write(tmp_path / "t.h5", a, b, 1.6e11), delay_s=0.0)
    assert result["pulse_period"].value == pytest.approx(80e-9, rel=1e-4)
    assert result["g2_zero"].value == pytest.approx(0.15, abs=3 * result["g2_zero"].u)


@pytest.mark.parametrize("lifetime_ps", [1_300.0, 2_300.0])
def test_peaks_that_overlap(tmp_path: Path, lifetime_ps: float) -> None:
    period, pulses = 12_500.0, 10_000_000
    rng = np.random.default_rng(33)
    a, b = clicks(
        rng, pulses, period_ps=period, g2=0.03, p=0.025, lifetime_ps=lifetime_ps, delay_ps=5_000.0
    )
    result = hbt.analyse_file(write(tmp_path / "tags.h5", a, b, pulses * period))
    g2 = result["g2_zero"]
    assert g2.value == pytest.approx(0.03, abs=3.0 * g2.u)
    assert g2.u < 0.01
    assert "overlap" in g2.method
    assert not result.problems


def test_blinking_slower_than_a_time_block(tmp_path: Path) -> None:
    # 40 blocks of 50 ms; the source goes off and on every 150 ms or so
    period, pulses, p = 100_000.0, 20_000_000, 0.004
    rng = np.random.default_rng(34)
    switches = np.cumsum(rng.exponential(1.5e6, 40))
    on = np.searchsorted(switches, np.arange(pulses)) % 2 == 0
    a, b = clicks(rng, pulses, period_ps=period, g2=0.1, p=p, lifetime_ps=500.0, on=on)
    result = hbt.analyse_file(write(tmp_path / "tags.h5", a, b, pulses * period))
    share = float(on.mean())
    averaged, b = result["g2_zero_time_averaged"], result["blinking_amplitude"]
    # all of it: <n(n-1)>/<n>^2 over the run, as a key rate needs it
    assert averaged.value == pytest.approx(0.1 / share, abs=3 * 0.1 / share / 0.1**0.5 * 0.05)
    assert b.value == pytest.approx(1 / share - 1, rel=0.05)
    assert "slower than 0.2 s hardly" in b.method


def test_dead_time_shorter_than_a_period_raises_no_alarm(tmp_path: Path) -> None:
    period, pulses = 1_000_000.0, 300_000
    rng = np.random.default_rng(35)
    a, b = clicks(rng, pulses, period_ps=period, g2=0.1, p=0.1, lifetime_ps=500.0)
    result = hbt.analyse_file(write(tmp_path / "tags.h5", a, b, pulses * period))
    assert not result.problems


def test_cross_talk_outside_of_the_window_is_told_but_no_problem(tmp_path: Path) -> None:
    period, pulses = 12_500.0, 4_000_000
    rng = np.random.default_rng(36)
    a, b = clicks(rng, pulses, period_ps=period, g2=0.03, p=0.015, lifetime_ps=300.0)
    talk = a[rng.random(len(a)) < 0.003] + 3_100.0 + rng.normal(0.0, 60.0)
    file = write(tmp_path / "tags.h5", a, np.concatenate([b, talk]), pulses * period)
    assert "cross-talk" in hbt.analyse_file(file).problems[0]
    result = hbt.analyse_file(file, window_s=1.5e-9)
    assert not result.problems
    assert "cross-talk" in result["g2_zero"].method
    assert result["g2_zero"].value == pytest.approx(0.03, abs=3 * result["g2_zero"].u)


CASES = {
    "overlap.ptu": ({}, 0.010),
    "overlap.txt": ({}, 0.010),
    "hole.txt": ({}, 0.016),
    "rep10MHz.ptu": ({}, 0.1227),
    "rep1MHz.ptu": ({}, 0.1101),
    "delay200ns.ptu": ({}, 0.0802),
    "crosstalk.ptu": ({"window_s": 1e-9}, 0.02),
}


@pytest.mark.parametrize("name", list(CASES))
def test_files_from_independent_samplers(real_data: Path, name: str) -> None:
    file = real_data / "cases" / name
    if not file.exists():
        pytest.skip(f"{file} is not here")
    options, right = CASES[name]
    result = hbt.analyse_file(file, **options)
    assert result["g2_zero"].value == pytest.approx(right, abs=2.5 * result["g2_zero"].u)
    assert not result.problems


def histogram_of(rng: np.random.Generator, in_zero_ps: Times) -> DelayHistogram:
    """Side peaks of 800 pairs every 12.7 ns, and what lies in the zero peak."""
    sides = [
        lag * 12_700.0 + rng.choice([-1, 1], 800) * rng.exponential(450.0, 800)
        for lag in range(-9, 10)
        if lag
    ]
    delays = np.concatenate([*sides, in_zero_ps]) + 3_000.0
    counts, _ = np.histogram(delays, bins=-110_000.0 + 50.0 * np.arange(4_501))
    return DelayHistogram(-110e-9, 50e-12, counts[:, None])


def test_a_hole_in_the_zero_peak_leaves_its_area() -> None:
    # 20 pairs against 800, none of them within 0.6 ns of the middle
    rng = np.random.default_rng(37)
    hole = rng.choice([-1, 1], 20) * rng.uniform(600.0, 1_700.0, 20)
    result = analyse_histogram(histogram_of(rng, hole), "hole")
    g2 = result["g2_zero"]
    assert g2.value == pytest.approx(20 / 800, rel=0.02)
    assert g2.interval_68 is not None
    assert 2 * g2.u == pytest.approx(np.diff(g2.interval_68)[0], rel=0.2)
    assert not result.problems


def test_cross_talk_in_a_histogram_is_no_area() -> None:
    rng = np.random.default_rng(38)
    result = analyse_histogram(histogram_of(rng, 2_900.0 + rng.normal(0.0, 60.0, 30)), "talk")
    assert "cross-talk" in result.problems[0]


def test_broad_cross_talk_on_a_few_pairs_is_no_area() -> None:
    # 50 pairs on either side, 4 widths out, spread over a dozen bins, hide 16 of the light
    rng = np.random.default_rng(41)
    light = rng.choice([-1, 1], 16) * rng.exponential(450.0, 16)
    talk = rng.choice([-1, 1], 100) * rng.normal(1_900.0, 160.0, 100)
    result = analyse_histogram(histogram_of(rng, np.concatenate([light, talk])), "talk")
    assert "cross-talk" in result.problems[0]


@pytest.mark.parametrize("seed", [2, 11])
def test_comb_of_long_decays_finds_its_lowest_minimum(seed: int) -> None:
    # without background the model can become negative, and has a kink there
    rng = np.random.default_rng(seed)
    period, lifetime, pairs, zero = 13_135.0, 2_000.0, 900, 2
    lags = np.repeat(np.arange(-13, 14), np.where(np.arange(-13, 14) == 0, zero, pairs))
    off = rng.choice([-1, 1], len(lags)) * rng.exponential(lifetime, len(lags))
    counts, _ = np.histogram(lags * period + off, bins=-150_000.0 + 100.0 * np.arange(3_001))
    result = analyse_histogram(DelayHistogram(-150e-9, 100e-12, counts[:, None]), "long")
    g2 = result["g2_zero"]
    assert g2.value == pytest.approx(zero / pairs, abs=3.0 * g2.u)
    assert g2.u < 0.012
    assert not result.problems


def test_failed_fit_of_overlapping_peaks_is_no_area(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise InconclusiveError("no minimum")

    monkeypatch.setattr("qdchar.analysis.hbt.g2_peak_areas.overlap", fails)
    rng = np.random.default_rng(33)
    a, b = clicks(rng, 400_000, period_ps=12_500.0, g2=0.03, p=0.05, lifetime_ps=2_300.0)
    result = hbt.analyse_file(write(tmp_path / "tags.h5", a, b, 400_000 * 12_500.0))
    assert any("late photons" in p and "no minimum" in p for p in result.problems)


def test_afterpulses_of_few_clicks_are_taken_off_both_detectors(tmp_path: Path) -> None:
    """2 % a click with traps of 300 ns add 0.04 to g2, of which a short file shows one half."""
    period, pulses = 13_000.0, 400_000
    rng = np.random.default_rng(42)
    sides = clicks(rng, pulses, period_ps=period, g2=0.05, p=0.05, lifetime_ps=500.0)
    again = [t[rng.random(len(t)) < 0.02] for t in sides]
    a, b = (
        np.concatenate([t, more + rng.exponential(300_000.0, len(more))])
        for t, more in zip(sides, again, strict=True)
    )
    result = hbt.analyse_file(write(tmp_path / "tags.h5", a, b, pulses * period))
    g2 = result["g2_zero"]
    assert g2.value == pytest.approx(0.05, abs=2.5 * g2.u)
    assert g2.u < 0.014
    sources = " ".join(c.source for c in g2.budget)
    assert "afterpulses, detector A" in sources
    assert "afterpulses, detector B" in sources
    assert "taken off" in result.problems[0]


def test_uncertainty_of_a_sparse_histogram_is_that_of_its_interval() -> None:
    rng = np.random.default_rng(39)
    few = rng.choice([-1, 1], 3) * rng.exponential(450.0, 3)
    g2 = analyse_histogram(histogram_of(rng, few), "few")["g2_zero"]
    assert g2.interval_68 is not None
    assert 2 * g2.u == pytest.approx(np.diff(g2.interval_68)[0], rel=0.05)
    # three pairs of 800: no less than Poisson leaves
    assert g2.u > 0.7 * 3**0.5 / 800


def _after_dead_time(times: Times, dead_ps: float) -> Times:
    kept, ready = [], 0.0
    for t in times.tolist():
        if t >= ready:
            kept.append(t)
            ready = t + dead_ps
    return np.array(kept)


def test_tags_that_know_their_clock_are_counted_on_live_pulses(tmp_path: Path) -> None:
    """Dead for 3 and 5 of 13 ns pulses, 76 ns late; without the clock it is a problem."""
    rng = np.random.default_rng(33)
    a, b = clicks(rng, 500_000, period_ps=13_000.0, g2=0.12, p=0.06, lifetime_ps=500.0)
    b = _after_dead_time(np.sort(b), 60_000.0) + 76_000.0
    a = _after_dead_time(np.sort(a), 35_000.0)
    span = 500_000 * 13_000.0
    result = hbt.analyse_file(write(tmp_path / "t3.h5", a, b, span, sync_period_ps=13_000.0))
    g2 = result["g2_zero"]
    assert g2.value == pytest.approx(0.12, abs=3 * g2.u)
    assert g2.u < 0.02
    assert "live gating" in g2.method
    assert result["electronic_delay"].value == pytest.approx(76e-9, abs=30e-12)
    assert not result.problems
    without = hbt.analyse_file(write(tmp_path / "t2.h5", a, b, span))
    assert "Record the pulse clock too" in without.problems[0]


@pytest.mark.parametrize("sync_period_ps", [None, 13_000.0])
def test_background_of_given_rates_is_taken_off(
    tmp_path: Path, sync_period_ps: float | None
) -> None:
    """A sixteenth of the clicks of A and a seventh of those of B are steady light."""
    rng = np.random.default_rng(34)
    span = 500_000 * 13_000.0
    a, b = clicks(rng, 500_000, period_ps=13_000.0, g2=0.06, p=0.06, lifetime_ps=500.0)
    a = np.concatenate([a, rng.random(2_000) * span])
    b = np.concatenate([b, rng.random(5_000) * span])
    file = write(tmp_path / "tags.h5", a, b, span, sync_period_ps)
    exact = Uncertain(2_000 / (1e-12 * span)), Uncertain(5_000 / (1e-12 * span))
    result = hbt.analyse_file(file, background_rates=exact)
    left = (30 / 32) * (30 / 35)  # pairs without background
    raw, source = result["g2_zero"], result["g2_zero_corrected"]
    assert raw.value == pytest.approx(1 - left * (1 - 0.06), abs=3 * raw.u)
    assert source.value == pytest.approx(0.06, abs=3 * source.u)
    assert source.u == pytest.approx(raw.u / left, rel=0.02)
    # d g2 / d r_B by the formula of the pairs: (g2 - 1)/left per share of B's light
    rough = (
        exact[0],
        Uncertain(exact[1].value, (Contribution("rate B", 0.1 * exact[1].value, "B"),)),
    )
    lines = hbt.analyse_file(file, background_rates=rough)["g2_zero_corrected"].budget
    (of_rate,) = (c.u for c in lines if c.source == "rate B")
    assert abs(of_rate) == pytest.approx(0.1 * 5 / 30 * (1 - source.value), rel=0.05)
    with pytest.raises(UsageError, match="more than"):
        hbt.analyse_file(file, background_rates=(exact[0], Uncertain(1e9)))


@pytest.mark.parametrize("seed", [51, 52])
def test_no_pair_at_all_beside_peaks_that_hardly_overlap(tmp_path: Path, seed: int) -> None:
    # exp(-6.25) of a side peak is late photons; a fit of heights has no lower limit there
    rng = np.random.default_rng(seed)
    a, b = clicks(rng, 3_000_000, period_ps=12_500.0, g2=0.0, p=0.05, lifetime_ps=1_000.0)
    a, b = (t + rng.normal(0.0, 50.0, len(t)) for t in (a, b))
    result = hbt.analyse_file(write(tmp_path / "t.h5", a, b, 3_000_000 * 12_500.0))
    g2 = result["g2_zero"]
    assert not result.problems
    assert abs(g2.value) < 3.0 * g2.u < 0.004


def test_a_decay_of_half_a_period_leaves_one_low_peak(tmp_path: Path) -> None:
    rng = np.random.default_rng(53)
    a, b = clicks(rng, 4_000_000, period_ps=12_500.0, g2=0.05, p=0.05, lifetime_ps=6_250.0)
    result = hbt.analyse_file(write(tmp_path / "t.h5", a, b, 4_000_000 * 12_500.0))
    g2 = result["g2_zero"]
    assert not result.problems
    assert g2.value == pytest.approx(0.05, abs=3.0 * min(g2.u, 0.05))
    assert abs(result["electronic_delay"].value) < 1e-9


def test_blinking_within_the_range_of_delays(tmp_path: Path) -> None:
    # on and off for 100 ns each: the on-state's peaks die out within the range
    rng = np.random.default_rng(54)
    pulses, period = 6_000_000, 12_500.0
    switches = np.cumsum(rng.exponential(8.0, 2 * pulses // 8))
    on = np.searchsorted(switches, np.arange(pulses)) % 2 == 0
    a, b = clicks(rng, pulses, period_ps=period, g2=0.05, p=0.05, lifetime_ps=800.0, on=on)
    result = hbt.analyse_file(write(tmp_path / "t.h5", a, b, pulses * period))
    g2 = result["g2_zero"]
    assert g2.interval_95 is not None
    assert g2.interval_95[0] < 0.05 < g2.interval_95[1]
    assert "blinking within the range" in g2.method
    averaged = result["g2_zero_time_averaged"]
    assert averaged.value == pytest.approx(0.1, abs=4.0 * averaged.u)
