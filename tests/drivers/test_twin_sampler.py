"""The sampler of the simulated lab against a pulse-by-pulse Monte Carlo and closed forms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from qdchar.drivers.twin.detectors import Light, click_probability, click_table, mean_dead_pulses
from qdchar.drivers.twin.pulse_sampler import PulseSegments
from qdchar.drivers.twin.sampler import TagSampler
from qdchar.drivers.twin.unpulsed_sampler import Hardware

CLOCK_Hz = 76.13e6
PERIOD_ps = 1e12 / CLOCK_Hz
ETA = (0.49 * 0.712, 0.51 * 0.712)


def light(single: float, pair: float, laser: float, lifetime_s: float = 75.8e-12) -> Light:
    values = (single, pair, laser, 0.9, lifetime_s)
    return Light(*(np.array([v]) for v in values))


def hardware(**changes: float | NDArray[np.float64]) -> Hardware:
    given = {
        "period_ps": PERIOD_ps,
        "dead_ps": 30e3,
        "jitter_ps": 25.0,
        "sync_jitter_ps": 5.0,
        "delay_ps": (4000.0, 6500.0),
        "step_ps": 42.0,
        "divider": 1024,
        "switch_off": 0.0,
        "switch_on": 0.0,
        "edges": np.zeros(1),
    }
    return Hardware(**{**given, **changes})  # type: ignore[arg-type]


@dataclass
class Tags:
    times_ps: NDArray[np.int64]
    channels: NDArray[np.uint8]
    duration_ps: int

    def of(self, channel: int) -> NDArray[np.int64]:
        return self.times_ps[self.channels == channel]


def drawn(
    hw: Hardware,
    shining: Light,
    duration_ps: int,
    *,
    seed: int = 1,
    start_ps: int = 12_345,
    chunk: int = 1_500_000,
    steady_Hz: tuple[float, float] = (0.0, 0.0),
    blinks: bool = False,
) -> Tags:
    sampler = TagSampler(hw, CLOCK_Hz, start_ps, duration_ps, seed, starts_off=False)
    tables = np.stack([click_table(shining, *ETA, on) for on in (True, not blinks)], axis=1)
    blocks = []
    while not sampler.done:
        pulses = np.array([min(chunk, sampler.pulses_left)])
        segments = PulseSegments(pulses, tables.reshape(1, 2, 16), shining.lifetime_s, steady_Hz)
        blocks.append(sampler.draw(segments))
    assert blocks[0].start_ps == 0
    assert blocks[-1].stop_ps == duration_ps
    for before, after in pairwise(blocks):
        assert before.stop_ps == after.start_ps
    for block in blocks:
        inside = (block.times_ps >= block.start_ps) & (block.times_ps < block.stop_ps)
        assert inside.all()
    times = np.concatenate([b.times_ps for b in blocks])
    assert np.all(np.diff(times) >= 0)
    return Tags(times, np.concatenate([b.channels for b in blocks]), duration_ps)


def brute_force(
    hw: Hardware, shining: Light, n: int, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Click times of A and B, photon by photon, for n pulses from time zero."""
    single, pair, laser = (float(v[0]) for v in (shining.single, shining.pair, shining.laser))
    u = rng.random(n)
    dots = np.where(u < pair, 2, np.where(u < pair + single, 1, 0))
    dots = rng.binomial(dots, float(shining.passage[0]))
    pulses = [np.repeat(np.arange(n), dots), np.repeat(np.arange(n), rng.poisson(laser, n))]
    arrivals = np.concatenate(pulses) * PERIOD_ps
    n_dot = len(pulses[0])
    arrivals[:n_dot] += rng.exponential(float(shining.lifetime_s[0]) * 1e12, n_dot)
    where = rng.random(len(arrivals))
    a = arrivals[where < ETA[0]]
    b = arrivals[(where >= ETA[0]) & (where < ETA[0] + ETA[1])]
    clicks = []
    for photons, delay in ((a, hw.delay_ps[0]), (b, hw.delay_ps[1])):
        kept, last = [], -1e18
        for t in np.sort(photons).tolist():
            if t - last >= hw.dead_ps:
                kept.append(t)
                last = t
        jitter = rng.normal(0.0, hw.jitter_ps, len(kept))
        clicks.append(np.floor((np.array(kept) + delay + jitter) / 42.0) * 42.0)
    return clicks


def test_bins_of_unlike_width_get_clicks_in_proportion() -> None:
    """Eight bins with widths of 0.6 to 1.4; steady light in pieces that begin at any bin."""
    widths = np.array([1.4, 0.6, 1.1, 0.9, 1.0, 1.25, 0.7, 1.05])
    edges = np.concatenate(([0.0], np.cumsum(widths - 1.0)[:-1]))
    nothing = light(0.0, 0.0, 0.0)
    tags = drawn(
        hardware(edges=edges, dead_ps=0.0),
        nothing,
        10**11,
        steady_Hz=(4e6, 4e6),
        chunk=7_001,
    )
    for channel in (1, 2):
        seen = np.bincount(tags.of(channel) // 42 % 8, minlength=8)
        # 4e5 clicks, 5e4 a bin: 0.45 %
        assert 8.0 * seen / seen.sum() == pytest.approx(widths, abs=0.025)


def pairs(a: NDArray[np.float64], b: NDArray[np.float64], orders: list[int]) -> list[int]:
    """Coincidences of B some pulses after A."""
    in_a, in_b = (np.floor(t / PERIOD_ps + 0.5).astype(np.int64) + 8 for t in (a, b))
    length = int(max(in_a[-1], in_b[-1])) + 9
    hits = np.zeros((2, length), np.bool_)
    hits[0, in_a] = hits[1, in_b] = True
    return [
        int(
            np.count_nonzero(
                hits[0, max(0, -k) : length - max(0, k)] & hits[1, max(0, k) :][: length - abs(k)]
            )
        )
        for k in orders
    ]


@pytest.mark.parametrize("dead_ns", [14.0, 26.3, 30.0])
@pytest.mark.parametrize("lifetime_ps", [75.8, 600.0])
def test_rates_pairs_and_times_as_photon_by_photon(dead_ns: float, lifetime_ps: float) -> None:
    """A long lifetime at a dead time near a period is where the order of arrival matters."""
    hw = hardware(dead_ps=1e3 * dead_ns)
    shining = light(0.66, 0.03, 0.04, 1e-12 * lifetime_ps)
    n = 200_000
    expected = brute_force(hw, shining, n, np.random.default_rng(5))
    tags = drawn(hw, shining, round(20 * n * PERIOD_ps), start_ps=0)
    found = [tags.of(c) for c in (1, 2)]
    pulses = tags.duration_ps / PERIOD_ps
    for d in range(2):
        # clicks of either are sub-Poissonian, so these are more than five standard deviations
        u = np.sqrt(len(expected[d]) / n**2 + len(found[d]) / pulses**2)
        assert len(found[d]) / pulses == pytest.approx(len(expected[d]) / n, abs=5 * u)
    orders = list(range(-4, 5))
    few = pairs(expected[0] - hw.delay_ps[0], expected[1] - hw.delay_ps[1], orders)
    many = pairs(found[0] - hw.delay_ps[0], found[1] - hw.delay_ps[1], orders)
    for k, m in zip(few, many, strict=True):
        u = np.sqrt(k / n**2 + m / pulses**2)
        assert m / pulses == pytest.approx(k / n, abs=4.5 * u)
    for d in range(2):
        # phase after the pulse: same distribution, and the same gaps between clicks
        phase = [(np.asarray(t) + 0.5 * PERIOD_ps) % PERIOD_ps for t in (expected[d], found[d])]
        edges = np.quantile(phase[1], np.linspace(0.0, 1.0, 41))
        rows = np.stack([np.histogram(p, edges)[0] for p in phase])
        assert stats.chi2_contingency(rows[:, rows.sum(axis=0) > 0]).pvalue > 1e-4
        gaps = [np.rint(np.diff(t) / PERIOD_ps) for t in (expected[d], found[d])]
        rows = np.stack([np.histogram(g, np.arange(-0.5, 15.5))[0] for g in gaps])
        assert stats.chi2_contingency(rows[:, rows.sum(axis=0) > 10]).pvalue > 1e-4


@pytest.mark.parametrize("single", [0.7, 0.05, 1e-3])
def test_rates_as_the_closed_form(single: float) -> None:
    """Both ways to skip pulses, looked up and computed."""
    hw, shining = hardware(), light(single, 0.02 * single**2, 0.01 * single)
    tags = drawn(hw, shining, round(2e7 * PERIOD_ps))
    for channel, eta in zip((1, 2), ETA, strict=True):
        p = float(click_probability(shining, eta)[0])
        m = float(mean_dead_pulses(30e-9, CLOCK_Hz, shining.lifetime_s)[0])
        assert m == pytest.approx(2.0)
        u = np.sqrt(2e7 * p * (1 - p) / (1 + m * p) ** 3)
        assert len(tags.of(channel)) == pytest.approx(2e7 * p / (1 + m * p), abs=4.5 * u)


def test_g2_without_dead_time_is_that_of_the_light() -> None:
    shining = light(0.7, 0.005, 0.006)
    tags = drawn(hardware(dead_ps=0.0), shining, round(1e7 * PERIOD_ps))
    a, b = (tags.of(c) - delay for c, delay in ((1, 4000.0), (2, 6500.0)))
    table = click_table(shining, *ETA)[0]
    expected = 1e7 * table[1:, 1:].sum()
    assert pairs(a, b, [0])[0] == pytest.approx(expected, abs=4.5 * np.sqrt(expected))
    # and for weak detectors the coincidences are those of g2 = <n(n-1)>/<n>^2
    weak = click_table(shining, 1e-4, 1e-4)[0]
    mean = 0.9 * (0.7 + 2 * 0.005) + 0.006
    twice = 2 * 0.9**2 * 0.005 + 2 * 0.9 * 0.71 * 0.006 + 0.006**2
    g2 = weak[1:, 1:].sum() / (weak[1:].sum() * weak[:, 1:].sum())
    assert g2 == pytest.approx(twice / mean**2, rel=2e-4)  # threshold: terms in 1e-4 are left


def test_decay_follows_the_exponential_over_four_decades() -> None:
    """Against the exact distribution: exponential, Gaussian jitter, steps of the converter."""
    lifetime, sigma = 300.0, 25.0
    hw = hardware(dead_ps=1e3, jitter_ps=sigma, delay_ps=(4000.0, 4000.0))
    tags = drawn(hw, light(0.5, 0.0, 0.0, 1e-12 * lifetime), round(2e7 * PERIOD_ps), start_ps=0)
    # the converter's step and the period are incommensurate: the phase in a step is even
    grid = np.arange(3700.0, 4000.0 + 9 * lifetime, 42.0)
    decay = stats.exponnorm(lifetime / sigma, loc=4000.0, scale=sigma)
    fine = grid[:, None] + np.linspace(0.0, 42.0, 200, endpoint=False) + 0.105
    share = decay.cdf(fine).mean(axis=1)  # a floored tag below x came before x + (0 .. 42)
    phase = (tags.times_ps % PERIOD_ps)[tags.channels > 0]
    counts, _ = np.histogram(phase, grid)
    expected = len(phase) * np.diff(share)
    keep = expected > 30
    assert expected[keep].max() / expected[keep].min() > 5e3
    chi2 = float(np.sum((counts[keep] - expected[keep]) ** 2 / expected[keep]))
    assert stats.chi2.sf(chi2, int(keep.sum()) - 1) > 1e-3


def test_earlier_of_two_photons_decays_twice_as_fast() -> None:
    hw = hardware(jitter_ps=0.0, delay_ps=(100.0, 100.0))
    tags = drawn(hw, light(0.0, 1e-3, 0.0, 1e-9), 2 * 10**12, start_ps=0)
    table = click_table(light(0.0, 1e-3, 0.0), *ETA)[0]
    share = table[2].sum() / table[1:].sum()
    phase = tags.of(1) % PERIOD_ps + 21.0 - 100.0
    expected = 1000.0 * ((1 - share) + 0.5 * share)
    assert phase.mean() == pytest.approx(expected, abs=4.5 * 1000.0 / np.sqrt(len(phase)))


def test_clock_stays_exact_for_hours() -> None:
    """A stream that starts ten hours in: every clock tag where exact arithmetic puts it."""
    start_ps = 36_000 * 10**12 + 77
    hw = hardware(sync_jitter_ps=0.0)
    tags = drawn(hw, light(0.1, 0.0, 0.0), 5 * 10**9, start_ps=start_ps, chunk=1000)
    # 10^12 / 76.13e6 = 10^8 / 7613 ps
    first = -(-start_ps * 7613 // (1024 * 10**8)) * 1024
    k = [first + 1024 * j for j in range(len(tags.of(0)))]
    exact = [((10**8 * i - 7613 * start_ps) // (7613 * 42)) * 42 for i in k]
    assert np.abs(tags.of(0) - np.array(exact)).max() <= 0


def test_blocks_do_not_change_the_physics() -> None:
    """Cut into pieces of 100 pulses, dead time and late photons carry over."""
    hw, shining = hardware(), light(0.66, 0.03, 0.04, 2e-9)
    whole = drawn(hw, shining, round(2e6 * PERIOD_ps), seed=3)
    cut = drawn(hw, shining, round(2e6 * PERIOD_ps), seed=4, chunk=100)
    for channel in (1, 2):
        assert np.diff(cut.of(channel)).min() >= 30e3 - 10 * 25.0 - 42.0
        n = len(whole.of(channel))
        assert len(cut.of(channel)) == pytest.approx(n, abs=4.5 * np.sqrt(2 * n))


def test_dark_counts_are_poissonian_and_obey_the_dead_time() -> None:
    hw = hardware(dead_ps=1e6)
    duration_ps = 2 * 10**12
    tags = drawn(hw, light(0.0, 0.0, 0.0), duration_ps, steady_Hz=(2e5, 0.0), chunk=10**7)
    assert len(tags.of(2)) == 0
    expected = 2 * 2e5 / (1 + 2e5 * 1e-6)
    assert len(tags.of(1)) == pytest.approx(expected, abs=4.5 * np.sqrt(expected))
    gaps = (np.diff(tags.of(1)) - 1e6) / 5e6
    assert stats.kstest(gaps, "expon").pvalue > 1e-3
    assert len(tags.of(0)) == pytest.approx(2 * CLOCK_Hz / 1024, abs=1)


def test_blinking_is_a_telegraph() -> None:
    """Far pairs fall off as 1 + b exp(-t/tau), b = (1 - q)/q, 1/tau = 1/t_on + 1/t_off."""
    q, tau_pulses = 0.75, 200.0
    hw = hardware(dead_ps=1e3, switch_off=(1 - q) / tau_pulses, switch_on=q / tau_pulses)
    shining = light(0.3, 0.0, 0.0)
    tags = drawn(hw, shining, round(2e7 * PERIOD_ps), blinks=True)
    p = [float(click_probability(shining, eta)[0]) for eta in ETA]
    # the number of switches limits how well the mean is known: 2 q (1 - q) tau / N
    u = np.sqrt(2 * q * (1 - q) * tau_pulses / 2e7)
    for channel in (1, 2):
        share = len(tags.of(channel)) / 2e7 / p[channel - 1]
        assert share == pytest.approx(q, abs=5 * u + 5e-4)
    a, b = (tags.of(c) - delay for c, delay in ((1, 4000.0), (2, 6500.0)))
    orders = [1, 100, 200, 400, 2000]
    for order, found in zip(orders, pairs(a, b, orders), strict=True):
        expected = 2e7 * q * q * p[0] * p[1] * (1 + (1 - q) / q * np.exp(-order / tau_pulses))
        # the share of time on is known to 0.03 %, the pairs to 0.5 %
        assert found == pytest.approx(expected, rel=0.015)


def test_one_seed_gives_one_stream() -> None:
    hw, shining = hardware(), light(0.66, 0.03, 0.04)
    first, same, other = (
        drawn(hw, shining, 10**9, seed=s, steady_Hz=(1e5, 1e5)) for s in (1, 1, 2)
    )
    assert np.array_equal(first.times_ps, same.times_ps)
    assert not np.array_equal(first.times_ps, other.times_ps)
