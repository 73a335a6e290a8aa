from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pulsed_light import PERIOD_PS, SYNC, A, B, Light, record, tags
from scipy import stats

from qdchar.analysis import hbt
from qdchar.analysis.hbt.expected_peaks import expected_areas
from qdchar.analysis.hbt.g2_live_gated import _g2, double_click_bias
from qdchar.analysis.statistics.intervals import (
    exact_interval,
    exact_ratio,
    garwood,
    jeffreys,
    jeffreys_ratio,
    upper_limit,
)
from qdchar.estimate import Contribution, Estimate, Uncertain
from qdchar.raw_data import About, TagRun
from qdchar.tags import TagWriter

SOURCE = Light()
RUNS = 100
DARKS = Estimate(
    name="dark_count_rate",
    value=43.0,
    method="given",
    budget=(Contribution("dark counts", 1.0, "B"),),
)


def g2(run: TagRun, **options: object) -> Estimate:
    return hbt.analyse(run, **{"dark_count_rate": DARKS, **options})["g2_zero_source"]


def covered(estimates: list[Estimate], truth: float) -> tuple[float, float]:
    inside = [
        [low <= truth <= high for low, high in (e.interval_68 or (0, 0), e.interval_95 or (0, 0))]
        for e in estimates
    ]
    return tuple(np.mean(inside, axis=0))


@pytest.mark.parametrize("dead_ns", [0.0, 15.0, 30.0, 60.0])
def test_dead_time_drops_out(tmp_path: Path, dead_ns: float) -> None:
    rng = np.random.default_rng(1)
    light = replace(SOURCE, dead_ps=1e3 * dead_ns, split=0.4)
    value = g2(record(tmp_path, "run", rng, 3_000_000, light))
    assert value.value == pytest.approx(0.0205, abs=3 * value.u)
    assert value.u < 0.06 * 0.0205


def test_equals_a_count_by_hand(tmp_path: Path) -> None:
    # live gating pulse by pulse, in the plainest numpy there is
    pulses = 200_000
    times, channels, _ = tags(np.random.default_rng(2), pulses, SOURCE)
    run = record(tmp_path, "run", np.random.default_rng(2), pulses, SOURCE)
    clicked = np.zeros((2, pulses), bool)
    for row, channel in enumerate((A, B)):
        clicked[row, (times[channels == channel] / PERIOD_PS).astype(int)] = True
    either = clicked.any(axis=0)
    live = np.ones(pulses, bool)
    for back in (1, 2):
        live[back:] &= ~either[:-back]
    live[:2] = False
    a, b = clicked[:, live]
    both = (a & b).sum()
    by_hand = both * live.sum() / a.sum() / b.sum()
    by_hand *= 1 - 0.625 * (0.5 * both / a.sum() + 0.5 * both / b.sum())  # photons together
    found = g2(run, dark_count_rate=None)
    assert f"{(a & b).sum()} coincidences" in found.method
    # five blocks of time instead of one, and the pulses at the ends
    assert found.value == pytest.approx(by_hand, rel=2e-3)


@pytest.mark.parametrize("pair", [0.0, 0.004, 0.008], ids=["leakage", "both", "re-excitation"])
def test_photons_that_come_together(pair: float) -> None:
    """Click probabilities by enumeration: one or two photons of the dot, Poissonian leakage."""
    one, leak, to = 0.5, 0.01 if pair < 0.008 else 0.0, np.array([0.55, 0.45])  # as detected
    laser = 1 - np.exp(-leak * to)
    dark = 1 - one - pair + one * (1 - to) + pair * (1 - to) ** 2  # no click from the dot
    p_a, p_b = 1 - (1 - laser) * dark
    neither = (1 - one - pair) * np.prod(1 - laser)
    both = p_a + p_b - 1 + neither
    mean = one + 2 * pair + leak
    true = (2 * pair + 2 * (one + 2 * pair) * leak + leak**2) / mean**2
    table = 1e9 * np.array([[1.0, p_a, p_b, both]])
    excess, u = double_click_bias(table)
    clicks = both / (p_a * p_b)
    assert clicks / true > 1.002
    assert clicks * (1 - excess) / true == pytest.approx(1.0, abs=1.2 * np.sqrt(3) * u)


@pytest.mark.parametrize(
    ("light", "pulses"),
    [
        (SOURCE, 150_000),
        (replace(SOURCE, mean_photons=0.292, g2=0.00698), 300_000),
        (replace(SOURCE, mean_photons=0.05), 800_000),
    ],
    ids=["fibre", "transmitter output", "5 coincidences"],
)
def test_intervals_cover(tmp_path: Path, light: Light, pulses: int) -> None:
    rng = np.random.default_rng(3)
    results = [
        hbt.analyse(record(tmp_path, f"run{i}", rng, pulses, light), dark_count_rate=DARKS)
        for i in range(RUNS)
    ]
    estimates = [r["g2_zero_source"] for r in results]
    in_68, in_95 = covered(estimates, light.g2)
    # 3 standard deviations of a binomial of 100 trials
    assert 0.54 < in_68 < 0.85
    assert in_95 > 0.88
    below = np.mean([light.g2 <= r["g2_zero_source_upper"].value for r in results])
    assert below > 0.885
    mean = np.mean([e.value for e in estimates])
    assert mean == pytest.approx(light.g2, abs=3 * np.std([e.value for e in estimates]) / 10)


def test_blinking_gives_the_time_average(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    light = replace(SOURCE, mean_photons=0.534, on_fraction=0.75, blink_pulses=1000.0)
    results = [
        hbt.analyse(record(tmp_path, f"run{i}", rng, 400_000, light), dark_count_rate=DARKS)
        for i in range(40)
    ]
    found = [r["g2_zero_source"] for r in results]
    values = np.array([e.value for e in found])
    # live gating alone gives 0.028 here, and the g2 of the on-state is 0.0154
    assert values.mean() == pytest.approx(0.0205, abs=3 * values.std() / np.sqrt(40))
    in_68, in_95 = covered(found, 0.0205)
    assert in_68 > 0.5
    assert in_95 > 0.85
    assert all("on-fraction" in e.method for e in found)
    on = [r["g2_zero_source_on"] for r in results]
    values = np.array([e.value for e in on])
    assert values.mean() == pytest.approx(0.75 * 0.0205, abs=3 * values.std() / np.sqrt(40))
    in_68, in_95 = covered(on, 0.75 * 0.0205)
    assert in_68 > 0.5
    assert in_95 > 0.85
    b = [r["blinking_amplitude"] for r in results]
    pulls = [(e.value - 1 / 3) / e.u for e in b]
    assert abs(np.mean(pulls)) < 3 / np.sqrt(40) + 0.2  # runs of 400 blinking times bias it a bit
    assert np.std(pulls) < 1.5


@pytest.mark.parametrize(
    ("plane", "name"),
    [("fibre", "blinking_amplitude"), ("transmitter output", "blinking_amplitude_sent")],
)
def test_the_plane_names_the_blinking_amplitude(tmp_path: Path, plane: str, name: str) -> None:
    """They differ where laser leaks: it does not blink, and the transmitter filters it."""
    run = record(tmp_path, "run", np.random.default_rng(3), 60_000, Light())
    found = [e.name for e in hbt.analyse(run, name="g2_zero", plane=plane).estimates]
    assert [n for n in found if "blinking" in n] == [name]


def test_leaked_laser_does_not_blink_and_weighs_more_under_dead_time(tmp_path: Path) -> None:
    """Without g2 of the dot all pairs are made with the laser: the whole of what is half added."""
    rng = np.random.default_rng(41)
    laser = 0.03
    light = replace(
        SOURCE,
        mean_photons=0.534,
        g2=0.0,
        background_per_pulse=laser,
        on_fraction=0.75,
        blink_pulses=400.0,
    )
    truth = (0.534 / (0.534 + laser)) ** 2 / 3.0
    found = [
        hbt.analyse(record(tmp_path, f"run{i}", rng, 400_000, light))["blinking_amplitude"]
        for i in range(25)
    ]
    doubts = [next(c.u for c in e.budget if "leaked laser" in c.source) for e in found]
    half = np.sqrt(3.0) * np.array(doubts)
    values = np.array([e.value for e in found])
    error = 3.0 * values.std() / 5.0
    assert np.mean(values + half) == pytest.approx(truth, abs=error)
    assert np.mean(values - half) < truth - error


def test_steady_light_does_not_blink(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    run = record(tmp_path, "run", rng, 3_000_000, replace(SOURCE, drift=0.05))
    result = hbt.analyse(run)
    b = result["blinking_amplitude"]
    assert abs(b.value) < 3 * b.u
    assert "g2_zero_source_on" not in [e.name for e in result.estimates]
    assert b.u < 5e-4


def test_coincidences_with_dark_counts_are_removed(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    light = replace(SOURCE, mean_photons=0.02, dark_hz=20_000.0)
    darks = replace(DARKS, value=20_000.0, budget=(Contribution("dark counts", 100.0, "B"),))
    found, raw = [], []
    for i in range(RUNS):
        run = record(tmp_path, f"run{i}", rng, 300_000, light)
        found.append(g2(run, dark_count_rate=darks))
        if i < 30:
            raw.append(g2(run, dark_count_rate=None))
    values = np.array([e.value for e in found])
    assert values.mean() == pytest.approx(0.0205, abs=3 * values.std() / np.sqrt(RUNS))
    # (1 + d)^2 g2 + 2 d + d^2 with d dark counts a photon count, over (1 + d)^2
    d = 20_000 * PERIOD_PS * 1e-12 / (0.02 * 0.712)
    with_darks = 1 - (1 - 0.0205) / (1 + d) ** 2
    assert np.mean([e.value for e in raw]) == pytest.approx(with_darks, rel=0.3)
    in_68, in_95 = covered(found, 0.0205)
    assert in_68 > 0.54
    assert in_95 > 0.88
    # a value below zero is reported as it is; an interval ends at zero
    assert values.min() < 0
    assert all(e.interval_95 is not None and e.interval_95[0] >= 0 for e in found)


def test_chance_coincidences_with_other_clicks_are_taken_off_by_count() -> None:
    """A million live pulses; of 30 000 and 20 000 clicks 1000 and 3000 are not the light's."""
    halves = np.array([[5e5, 15_000.0, 10_000.0, 350.0]] * 2)
    others = np.array([1e-3, 3e-3])
    # 1000 x 17 000, 29 000 x 3000 and 1000 x 3000 over a million meet by chance
    light = 700.0 - 17.0 - 87.0 - 3.0
    assert _g2(halves, others) == pytest.approx(light * 1e6 / (29_000 * 17_000), rel=1e-9)


def test_half_of_the_dark_counts_is_on_each_detector(tmp_path: Path) -> None:
    """What an error of their rate does to g2: -(1/p_A + 1/p_B) (1 - g2) for half of it on each."""
    darks = replace(DARKS, budget=(Contribution("dark counts", 2000.0, "B"),))
    light = replace(SOURCE, mean_photons=0.3, split=0.4, dead_ps=0.0)
    run = record(tmp_path, "run", np.random.default_rng(16), 300_000, light)
    found = g2(run, dark_count_rate=darks)
    half = 0.5 * 2000.0 * PERIOD_PS * 1e-12
    detected = 0.3 * light.efficiency
    expected = -half * (1 / (0.4 * detected) + 1 / (0.6 * detected)) * (1 - found.value)
    assert {c.source: c.u for c in found.budget}["dark counts"] == pytest.approx(expected, rel=0.03)


def test_off_resonance_g2_was_too_low(tmp_path: Path) -> None:
    """By 4 %, known to 1 %: a slower source is excited twice less often in one pulse."""
    correction = Estimate(
        name="g2_detuning_correction",
        value=0.04,
        method="",
        budget=(Contribution("detuning", 0.01, "B"),),
    )
    run = record(tmp_path, "run", np.random.default_rng(15), 300_000, SOURCE)
    was, now = g2(run), g2(run, detuning_correction=correction)
    assert now.value == pytest.approx(1.04 * was.value, rel=1e-12)
    part = {c.source: c.u for c in now.budget}["detuning"]
    assert part == pytest.approx(0.01 * was.value, rel=1e-9)
    assert was.interval_95 is not None
    assert now.interval_95 is not None
    assert now.interval_95[1] > 1.04 * was.interval_95[1]


def test_no_coincidence_is_an_upper_limit(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    light = replace(SOURCE, g2=0.0, dark_hz=0.0, dead_ps=0.0)
    run = record(tmp_path, "run", rng, 300_000, light)
    result = hbt.analyse(run)
    found, upper = result["g2_zero_source"], result["g2_zero_source_upper"]
    assert found.value == 0.0
    # Clopper's and Pearson's limit at no count is 2.996
    assert upper.value == pytest.approx(2.996 / (300_000 * 0.2535**2), rel=0.03)
    assert upper.u == 0.0
    assert found.interval_95 is not None
    assert found.interval_95[0] == 0.0
    # Garwood's limit at no count is 3.689, over the coincidences of independent light
    assert found.interval_95[1] == pytest.approx(3.689 / (300_000 * 0.2535**2), rel=0.03)


def test_leakage_is_part_of_it(tmp_path: Path) -> None:
    # Poissonian light in addition: g2 = (g0 + 2x + x^2)/(1 + x)^2
    rng = np.random.default_rng(8)
    light = replace(SOURCE, mean_photons=0.5, g2=0.005, background_per_pulse=0.05, dead_ps=0.0)
    found = g2(record(tmp_path, "run", rng, 3_000_000, light))
    assert found.value == pytest.approx((0.005 + 0.2 + 0.01) / 1.21, abs=3 * found.u)


def test_measured_background_is_removed(tmp_path: Path) -> None:
    # a leak of a tenth of the light, of which each detector's clicks are known to 1 %
    rng = np.random.default_rng(14)
    light = replace(
        SOURCE, mean_photons=0.2, g2=0.005, background_per_pulse=0.02, split=0.4, dead_ps=15_000.0
    )
    per_s = 0.02 * light.efficiency / (PERIOD_PS * 1e-12)
    rates = tuple(
        Uncertain(s * per_s, (Contribution(n, 0.01 * s * per_s),))
        for n, s in (("leak A", 0.4), ("leak B", 0.6))
    )
    results = [
        hbt.analyse(
            record(tmp_path, f"run{i}", rng, 200_000, light),
            dark_count_rate=DARKS,
            background_rates=rates,
        )
        for i in range(60)
    ]
    raw, own = ([r[n] for r in results] for n in ("g2_zero_source", "g2_zero_source_corrected"))
    values = np.array([e.value for e in own])
    assert values.mean() == pytest.approx(0.005, abs=3 * values.std() / np.sqrt(60))
    in_68, in_95 = covered(own, 0.005)
    assert in_68 > 0.5
    assert in_95 > 0.87
    # (g0 + 2x + x^2)/(1 + x)^2, and d(g0)/dx = -2 (1 - g2) (1 + x); with the
    # clicks of both as they are, x moves by (1 + x) times what the background does
    assert np.mean([e.value for e in raw]) == pytest.approx((0.005 + 0.21) / 1.21, rel=0.02)
    budget = {c.source: c.u for c in own[0].budget}
    expected = -2 * (1 - 0.215 / 1.21) * 1.1**2 * 0.1 * 0.01
    assert budget["leak A"] + budget["leak B"] == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("lifetime_ps", "spilt"), [(75.8, 0.0), (1_500.0, 1.5e-3)])
def test_the_window_says_what_it_captures(tmp_path: Path, lifetime_ps: float, spilt: float) -> None:
    rng = np.random.default_rng(15)
    light = replace(SOURCE, lifetime_ps=lifetime_ps)
    run = record(tmp_path, "run", rng, 1_000_000, light)
    found = float(g2(run).method.split("at least ")[1].split(" %")[0]) / 100
    # later than 3/4 of a period: exp(-0.75 T/T1), and the limit is up to twice as far
    assert 1 - 2.2 * spilt - 1e-4 < found <= 1 - spilt


@pytest.mark.parametrize("background", [0.0, 0.5, 3.0, 10.0])
@pytest.mark.parametrize("signal", [0.0, 0.3, 1.0, 6.0, 40.0])
def test_upper_limit_never_covers_less(signal: float, background: float) -> None:
    counts = np.arange(400)
    limits = np.array([upper_limit(int(k), 0.95, background) for k in counts])
    assert np.all(limits > 0.0)
    # summed over all outcomes; a limit that was equal to the signal would be above it
    weight = stats.poisson.pmf(counts, signal + background)
    assert np.sum(weight * (limits >= signal)) >= 0.95


@pytest.mark.parametrize("delay_ns", [-5.0, 3.0, 20.0])
def test_electronic_delay(tmp_path: Path, delay_ns: float) -> None:
    rng = np.random.default_rng(9)
    run = record(tmp_path, "run", rng, 1_000_000, replace(SOURCE, delay_b_ps=1e3 * delay_ns))
    found = hbt.analyse(run, delay_s=delay_ns * 1e-9)
    assert found["g2_zero_source"].value == pytest.approx(0.0205, abs=0.003)
    assert not found.problems
    guessed = hbt.analyse(run)
    if abs(delay_ns) < PERIOD_PS / 2000:
        assert guessed["g2_zero_source"].value == found["g2_zero_source"].value
    else:
        assert "electronic delay" in guessed.problems[0]


@pytest.mark.parametrize("periods", [0, 1, -2])
def test_a_delay_that_jumps_by_whole_periods_in_the_recording_is_named(
    tmp_path: Path, periods: int
) -> None:
    rng = np.random.default_rng(12)
    times, channels, span = tags(rng, 1_000_000, replace(SOURCE, dead_ps=20e3))
    times = times + np.where((channels == B) & (times > span / 2), round(periods * PERIOD_PS), 0)
    order = np.argsort(times, kind="stable")
    times, channels = times[order], channels[order]
    kept = (times >= 0) & (times < span)
    with TagWriter(tmp_path / "jump.h5", resolution_ps=1.0) as writer:
        writer.append(times[kept], channels[kept], covered_until_ps=span)
    run = TagRun(About("test"), tmp_path / "jump.h5", A, B, SYNC, 1000, span * 1e-12)
    problems = [p for p in hbt.analyse(run).problems if "jump by whole pulse periods" in p]
    assert len(problems) == (periods != 0)
    assert all(f"the peak at {periods:+d} pulses has 5" in p for p in problems)


def test_jackknife_sees_what_counting_does_not(tmp_path: Path) -> None:
    # g2 that wanders: half of the run with ten times the pairs
    rng = np.random.default_rng(10)
    halves = [tags(rng, 500_000, replace(SOURCE, g2=g)) for g in (0.004, 0.04)]
    file = tmp_path / "wander.h5"
    with TagWriter(file, resolution_ps=1.0) as writer:
        start = 0
        for times, channels, _ in halves:
            writer.append(times + start, channels)
            start += round(500_000 * PERIOD_PS)
    found = g2(TagRun(About("test"), file, A, B, 7, 1000, 2 * 500_000 * PERIOD_PS * 1e-12))
    counting = 0.022 / np.sqrt(1e6 / 2 * 0.2535**2 * 0.022)
    assert found.u > 2 * counting


@pytest.mark.parametrize(
    ("mean", "lowest"), [(0.5, 0.97), (2.0, 0.95), (5.0, 0.92), (20.0, 0.93), (100.0, 0.94)]
)
def test_jeffreys_covers(mean: float, lowest: float) -> None:
    # summed over all outcomes; sqrt(N) errors cover 0.39, 0.87, 0.86, 0.94 at the first four
    counts = np.arange(400)
    inside = [low <= mean <= high for low, high in (jeffreys(int(k), 0.95) for k in counts)]
    assert np.sum(stats.poisson.pmf(counts, mean) * inside) > lowest


@pytest.mark.parametrize("background", [0.5, 3.0, 10.0])
@pytest.mark.parametrize("signal", [0.0, 1.0, 6.0, 40.0])
def test_jeffreys_above_a_background_covers(signal: float, background: float) -> None:
    counts = np.arange(400)
    intervals = [jeffreys(int(k), 0.95, background) for k in counts]
    assert all(0.0 <= low < high for low, high in intervals)
    inside = [low <= signal <= high for low, high in intervals]
    assert np.sum(stats.poisson.pmf(counts, signal + background) * inside) > 0.91


def test_jeffreys_without_background_is_the_textbook_interval() -> None:
    assert jeffreys(5, 0.95) == pytest.approx(tuple(stats.gamma.ppf([0.025, 0.975], 5.5)))
    # one in zero peak, 8271 in 22 side peaks: as good as Poisson
    low, high = jeffreys_ratio(1, 8271, 0.95)
    assert (low * 8271, high * 8271) == pytest.approx(jeffreys(1, 0.95), rel=1e-3)


@pytest.mark.parametrize("background", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("signal", [0.1, 1.0, 3.0, 5.0, 5.5, 20.0])
@pytest.mark.parametrize("level", [0.6827, 0.95])
def test_exact_intervals_never_cover_less(signal: float, background: float, level: float) -> None:
    counts = np.arange(200)
    intervals = [exact_interval(int(k), level, background) for k in counts]
    inside = [low <= signal <= high for low, high in intervals]
    assert np.sum(stats.poisson.pmf(counts, signal + background) * inside) >= level


@pytest.mark.parametrize("count", [0, 1, 8])
def test_exact_share_is_the_exact_count_where_the_other_is_large(count: int) -> None:
    low, high = exact_ratio(count, 100_000, 0.95)
    assert (low * 1e5, high * 1e5) == pytest.approx(garwood(count, 0.95), rel=1e-3)


@pytest.mark.parametrize("dead_ns", [0.0, 15.0, 30.0, 60.0])
def test_raw_peaks_are_those_expected_with_dead_time(tmp_path: Path, dead_ns: float) -> None:
    rng = np.random.default_rng(11)
    light = replace(SOURCE, dead_ps=1e3 * dead_ns, split=0.4)
    (fit,) = hbt.analyse(record(tmp_path, "run", rng, 2_000_000, light)).fits
    # given the singles, pairs of bright light scatter less than Poisson: (1 - R_A)(1 - R_B)
    assert 0.4 < fit.minimum / fit.dof < 1.4


def test_dead_time_lifts_the_near_peaks_as_published_simulations_say() -> None:
    p = 0.253
    one, two = (
        expected_areas(p, p, 0.0205 * p**2, np.zeros(m), np.zeros(m), 20)[20:] for m in (1, 2)
    )
    assert one[1] == pytest.approx(1.25, abs=0.005)
    assert two[1:4] == pytest.approx([1.20, 1.20, 0.90], abs=0.005)
    # singles normalisation without gating: 10 % low
    assert two[0] / 0.0205 == pytest.approx(0.90, abs=0.005)
    assert two[20] == pytest.approx(1.0, abs=1e-5)


def test_expected_peaks_against_a_pulse_by_pulse_simulation() -> None:
    # gradual recovery, two unlike detectors
    rng = np.random.default_rng(12)
    recovery_a, recovery_b = np.array([0.0, 0.4]), np.array([0.0, 0.0, 0.7])
    p_a, p_b, p_both, pulses = 0.4, 0.2, 0.01, 400_000
    since = [99, 99]
    clicks = np.zeros((2, pulses), bool)
    draws = rng.random((pulses, 3))
    for i in range(pulses):
        u, v, w = draws[i]
        photon = (
            (True, True) if u < p_both
            else (True, False) if u < p_a
            else (False, True) if u < p_a + p_b - p_both
            else (False, False)
        )  # fmt: skip
        for d, (recovery, chance) in enumerate(((recovery_a, v), (recovery_b, w))):
            live = 1.0 if since[d] > len(recovery) else recovery[since[d] - 1]
            clicks[d, i] = photon[d] and chance < live
            since[d] = 1 if clicks[d, i] else since[d] + 1
    a, b = clicks
    areas = expected_areas(p_a, p_b, p_both, recovery_a, recovery_b, 6)
    for lag in range(-6, 7):
        pairs = np.sum(a[6:-6] & b[6 + lag : pulses - 6 + lag])
        expected = areas[6 + lag] * a.mean() * b.mean() * (pulses - 12)
        assert pairs == pytest.approx(expected, abs=5 * np.sqrt(expected) + 1)


def test_run_that_knows_its_channels(tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    times, channels, span = tags(rng, 600_000, SOURCE)
    wiring = {"channel_a": A, "channel_b": B, "channel_sync": 7, "sync_divider": 1000}
    with TagWriter(tmp_path / "own.h5", resolution_ps=1.0, attributes=wiring) as writer:
        writer.append(times, channels, covered_until_ps=span)
    found = hbt.analyse_file(tmp_path / "own.h5")
    assert "live gating" in found["g2_zero"].method
    assert found["g2_zero"].value == pytest.approx(0.0205, abs=3 * found["g2_zero"].u)
    period = found["pulse_period"]
    assert period.value == pytest.approx(PERIOD_PS * 1e-12, abs=4 * period.u)
