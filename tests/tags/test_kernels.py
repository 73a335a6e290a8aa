from __future__ import annotations

import tempfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from brute import pair_histogram as brute_histogram
from brute import pulse_of
from brute import pulse_statistics as brute_statistics
from hypothesis import given, settings
from hypothesis import strategies as st

from qdchar.errors import RecordError, UsageError
from qdchar.tags import (
    PulseClock,
    TagArrays,
    cross_correlation,
    folded_histogram,
    open_tags,
    pulse_statistics,
)
from qdchar.tags.counting import Folder, GapCounter, LiveFolder, PulseCounter
from qdchar.tags.counting.correlation import Correlator, _reciprocal, pair_histogram
from qdchar.tags.formats.ptu_writer import write_ptu
from qdchar.tags.source import TagChunk

# Steps that make ties, bursts and long empty stretches.
steps = st.lists(
    st.one_of(st.just(0), st.integers(0, 5), st.integers(0, 500), st.integers(0, 200_000)),
    max_size=60,
)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    origin = draw(st.sampled_from([0, 1, 17, 10**16, 260_182_250_071_800_102]))
    times = (np.cumsum(draw(steps), dtype=np.int64) + origin).tolist()
    channels = draw(st.lists(st.sampled_from([0, 1, 5]), min_size=len(times), max_size=len(times)))
    return times, channels


def cut(times: list[int], channels: list[int], size: int) -> list[TagChunk]:
    t, c = np.array(times, np.int64), np.array(channels, np.uint8)
    return [TagChunk(t[i : i + size], c[i : i + size]) for i in range(0, len(t), size)]


@settings(max_examples=200, deadline=None)
@given(
    stream=streams(),
    channels=st.sampled_from([(0, 1), (1, 0), (0, 0), (5, 1)]),
    start=st.integers(-300, 300),
    width=st.sampled_from([1, 2, 3, 7, 16, 100, 1 << 20]),
    n_bins=st.integers(1, 80),
    chunk=st.integers(1, 70),
    threads=st.sampled_from([1, 1, 2]),
)
def test_correlation_equals_brute_force_for_any_chunking_and_threads(
    stream: tuple[list[int], list[int]],
    channels: tuple[int, int],
    start: int,
    width: int,
    n_bins: int,
    chunk: int,
    threads: int,
) -> None:
    with Correlator(
        *channels, start_ps=start, bin_ps=width, n_bins=n_bins, threads=threads
    ) as correlator:
        for part in cut(*stream, chunk):
            correlator.add(part)
        counts = correlator.counts
    expected = brute_histogram(*stream, *channels, start, width, n_bins)
    np.testing.assert_array_equal(counts, expected)
    assert correlator.clicks_a == stream[1].count(channels[0])
    assert correlator.clicks_b == stream[1].count(channels[1])


@settings(max_examples=200, deadline=None)
@given(
    stream=streams(),
    mode=st.sampled_from(["T2", "T3"]),
    kind=st.sampled_from(["HydraHarp2", "Generic", "TimeHarp 260P"]),
    pauses=st.tuples(*2 * [st.sampled_from([0, 10**8, 10**10])]),
    channels=st.sampled_from([(0, 1), (1, 0), (0, 0), (5, 1)]),
    start=st.integers(-300, 300),
    width=st.sampled_from([1, 3, 16, 100, 1 << 20]),
    n_bins=st.integers(1, 80),
    threads=st.sampled_from([1, 2]),
)
def test_correlation_of_a_ptu_file_equals_brute_force(
    stream: tuple[list[int], list[int]],
    mode: Literal["T2", "T3"],
    kind: str,
    pauses: tuple[int, int],
    channels: tuple[int, int],
    start: int,
    width: int,
    n_bins: int,
    threads: int,
) -> None:
    step = 1 if mode == "T2" else 4  # in T3 whole steps after a sync of whole steps: nothing lost
    times = [step * (t - min(stream[0], default=0) + pauses[0]) for t in stream[0]]
    half = len(times) // 2  # overflows at the beginning, and between clicks
    times[half:] = [t + step * pauses[1] for t in times[half:]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.ptu"
        source = TagArrays(times, stream[1], start_ps=0, resolution_ps=float(step))
        write_ptu(path, source, mode=mode, kind=kind, unit_ps=step, sync_period_ps=100_000.0)
        counts = cross_correlation(
            open_tags(path),
            *channels,
            start_ps=step * start,
            bin_ps=step * width,
            range_ps=step * width * n_bins,
            threads=threads,
        ).counts
    expected = brute_histogram(times, stream[1], *channels, step * start, step * width, n_bins)
    np.testing.assert_array_equal(counts, expected)


def test_correlation_over_delays_too_long_for_the_fast_division() -> None:
    times, channels = [0, 1, 5 * 10**9, 9 * 10**9, 9 * 10**9 + 1], [0, 1, 1, 0, 1]
    source = TagArrays(times, channels)
    got = cross_correlation(source, 0, 1, bin_ps=10**7, range_ps=10**10)
    expected = brute_histogram(times, channels, 0, 1, -(10**10), 10**7, 2000)
    np.testing.assert_array_equal(got.counts, expected)


@pytest.mark.parametrize("width", [1, 2, 3, 10, 13_107, 99_991, 2**20 - 1, 2**30 + 1, 2**31 - 1])
def test_division_by_multiplication_is_exact_up_to_the_last_delay(width: int) -> None:
    magic, shift = _reciprocal(width)
    multiples = {1, 2, (2**30 // width) or 1, max((2**31 - 1) // width, 1)}
    delays = {0, 2**31 - 1} | {k * width - d for k in multiples for d in (0, 1)}
    for delay in sorted(d for d in delays if d < 2**31):
        assert delay * magic < 2**63
        assert (delay * magic) >> shift == delay // width


def test_uneven_bins_are_refused_and_clean_ones_named() -> None:
    source = TagArrays([0, 42], [0, 1], resolution_ps=42.0)
    with pytest.raises(UsageError, match="take 84 or 126 ps"):
        cross_correlation(source, 0, 1, bin_ps=100, range_ps=1000)
    with pytest.raises(UsageError, match="take 42 or 84 ps"):
        cross_correlation(source, 0, 1, bin_ps=10, range_ps=1000, uneven_bins=True)
    assert cross_correlation(source, 0, 1, bin_ps=84, range_ps=1000).counts.sum() == 1
    assert (
        cross_correlation(source, 0, 1, bin_ps=100, range_ps=1000, uneven_bins=True).counts.sum()
        == 1
    )


periods = st.sampled_from([12_495.520355952392, 13_135.426244581637, 100.25, 3.0000001, 1e6 / 7])


@settings(max_examples=200, deadline=None)
@given(
    stream=streams(),
    period=periods,
    t0=st.floats(-1e6, 1e6),
    offset=st.floats(-1e5, 1e5),
    chunk=st.integers(1, 70),
)
def test_folding_equals_exact_fractions(
    stream: tuple[list[int], list[int]], period: float, t0: float, offset: float, chunk: int
) -> None:
    reference = stream[0][0] - 10**15 if stream[0] else 0  # 1000 s and 1e11 pulses before
    clock = PulseClock(period, t0_ps=t0, reference_ps=reference)
    n_bins = 37
    folder = Folder(1, clock, n_bins=n_bins, offset_ps=offset)
    for part in cut(*stream, chunk):
        folder.add(part)
    counts = folder.histogram(1.0).counts
    unsure = 0
    expected = np.zeros(n_bins, np.int64)
    for time, channel in zip(*stream, strict=True):
        if channel == 1:
            zero = reference + Fraction(t0 + offset)
            _, phase = pulse_of(time, zero, Fraction(period))
            place = phase * n_bins / Fraction(period)
            # float64 carries the phase to about 1e-4 ps: at a bin's very edge either is right
            unsure += min(place % 1, 1 - place % 1) * Fraction(period) / n_bins < Fraction(1, 1000)
            expected[int(place)] += 1
    assert np.abs(counts - expected).sum() <= 2 * unsure


def test_the_bins_of_a_folded_period_end_with_the_period() -> None:
    folded = Folder(1, PulseClock(12_500.0), n_bins=50).histogram(1.0)
    assert folded.edges_ps[[0, 1, -1]].tolist() == [0.0, 250.0, 12_500.0]


def test_folding_keeps_a_thousandth_of_a_picosecond_over_ten_thousand_seconds() -> None:
    period = 13_135.426244581637
    pulses = np.array([0, 1, 10**6, 761_299_999_999], dtype=object)
    times = [int(p * Fraction(period) + 5000) for p in pulses]
    counts = folded_histogram(
        TagArrays(times, [0] * 4), 0, PulseClock(period), n_bins=13_135_426
    ).counts
    lines = np.flatnonzero(counts) * period / 13_135_426
    exact = sorted(float(t - p * Fraction(period)) for t, p in zip(times, pulses, strict=True))
    assert np.abs(lines - np.array(exact)).max() < 2e-3


def test_dither_removes_the_comb_and_does_not_depend_on_chunks() -> None:
    rng = np.random.default_rng(5)
    step, period = 42, 312.75 * 42
    true = np.sort(rng.uniform(0, 2e9, 200_000))  # no structure within the period
    times = (true // step * step).astype(np.int64)
    source = TagArrays(times, np.zeros(len(times)), resolution_ps=step)
    clock = PulseClock(period)
    plain = folded_histogram(source, 0, clock, n_bins=500).counts
    dithered = folded_histogram(source, 0, clock, n_bins=500, dither_ps=step, seed=3).counts
    flat = len(times) / 500

    def chi2(counts: np.ndarray) -> float:
        return float(((counts - flat) ** 2 / flat).sum())

    assert chi2(plain) > 10 * 500
    assert chi2(dithered) < 500 + 5 * np.sqrt(2 * 500)  # five sigma of chi-squared
    folder = Folder(0, clock, n_bins=500, dither_ps=step, seed=3)
    for chunk in source.chunks(777):
        folder.add(chunk)
    np.testing.assert_array_equal(folder.counts, dithered)


@pytest.mark.parametrize("recovery_pulses", [0, 2])
def test_clicks_soon_after_the_last_one_are_not_folded(recovery_pulses: int) -> None:
    rng = np.random.default_rng(6)
    period, offset = 50.25, -13.5
    times = np.cumsum(rng.integers(1, 200, 5_000))
    channels = rng.choice(np.array([0, 1], np.uint8), len(times))
    source = TagArrays(times, channels)
    clock = PulseClock(period, t0_ps=7.25)
    pulses = [
        pulse_of(int(t), Fraction(7.25) + Fraction(offset), Fraction(period))[0]
        for t in times[channels == 1]
    ]
    live = np.diff(pulses, prepend=-(10**9)) > recovery_pulses
    assert 0.1 < live.mean() < 0.95
    alone = TagArrays(times[channels == 1][live], np.ones(live.sum()))
    expected = folded_histogram(
        alone, 1, clock, n_bins=12, offset_ps=offset, dither_ps=5.0, seed=4
    ).counts
    for size in (313, 100_000):
        folder = LiveFolder(
            1,
            clock,
            recovery_pulses=recovery_pulses,
            n_bins=12,
            offset_ps=offset,
            dither_ps=5.0,
            seed=4,
        )
        for chunk in source.chunks(size):
            folder.add(chunk)
        np.testing.assert_array_equal(folder.counts, expected)


def test_gaps_are_rounded_to_whole_periods() -> None:
    rng = np.random.default_rng(7)
    clock = PulseClock(50.25)
    times = np.cumsum(rng.integers(1, 400, 5_000))
    times[2_500:] += 10_000  # longer than 64 periods
    channels = rng.choice(np.array([0, 1], np.uint8), len(times))
    gaps = np.floor(np.diff(times[channels == 1]) / 50.25 + 0.5).astype(np.int64)
    for size in (313, 100_000):
        counter = GapCounter(1, clock)
        for chunk in TagArrays(times, channels).chunks(size):
            counter.add(chunk)
        assert counter.clicks == np.count_nonzero(channels == 1)
        np.testing.assert_array_equal(counter.gaps, np.bincount(gaps[gaps <= 64], minlength=65))
    assert gaps.max() > 64


@settings(max_examples=200, deadline=None)
@given(
    gaps=st.lists(st.one_of(st.integers(0, 60), st.integers(0, 900)), min_size=1, max_size=80),
    draws=st.lists(st.sampled_from([0, 1, 5]), min_size=80, max_size=80),
    period=st.sampled_from([64.0, 50.25, 37.3125]),
    offsets=st.tuples(st.sampled_from([0.0, 10.5, -300.25]), st.sampled_from([0.0, 200.0, -7.75])),
    window=st.sampled_from([1.0, 0.5]),
    blind=st.integers(0, 6),
    n_blocks=st.integers(1, 4),
    chunk=st.integers(1, 90),
)
def test_pulse_statistics_equal_brute_force_for_any_chunking(
    gaps: list[int],
    draws: list[int],
    period: float,
    offsets: tuple[float, float],
    window: float,
    blind: int,
    n_blocks: int,
    chunk: int,
) -> None:
    times = np.cumsum(gaps).tolist()
    channels = draws[: len(times)]
    stop = times[-1] + 1000
    clock = PulseClock(period, t0_ps=3.25)
    counter = PulseCounter(
        clock, 0, 1, start_ps=0, stop_ps=stop, veto_pulses=blind, n_blocks=n_blocks, n_max=5,
        offset_a_ps=offsets[0], offset_b_ps=offsets[1], window_ps=window * period,
    )  # fmt: skip
    for part in cut(times, channels, chunk):
        counter.add(part)
    got = counter.statistics()
    want = brute_statistics(
        times, channels, zero=Fraction(3.25), period=Fraction(period), channel_a=0, channel_b=1,
        offset_a=Fraction(offsets[0]), offset_b=Fraction(offsets[1]),
        window=Fraction(window * period), start=0, stop=stop, blind=blind, n_blocks=n_blocks,
        n_max=5,
    )  # fmt: skip
    for ours, theirs in (
        (got.n_live, "live"), (got.n_a, "na"), (got.n_b, "nb"), (got.c0, "c0"),
        (got.s_a, "sa"), (got.s_b, "sb"), (got.c_ab, "cab"), (got.peak_areas, "areas"),
        (np.stack([got.gaps_a, got.gaps_b]), "gaps"),
    ):  # fmt: skip
        np.testing.assert_array_equal(ours, want[theirs], err_msg=theirs)


def dead_time_stream(
    rng: np.random.Generator, pulses: int, mean: float, g2: float, dead: int
) -> TagArrays:
    """Pulses of a source with p1, p2 on two detectors, each blind for `dead` pulses."""
    p2 = g2 * mean**2 / 2
    photons = rng.choice(3, size=pulses, p=[1 - (mean - 2 * p2) - p2, mean - 2 * p2, p2])
    arms = np.stack([rng.binomial(photons, 0.5)] * 2)
    arms[1] = photons - arms[0]
    times, channels = [], []
    for which in (0, 1):
        last = -dead - 1
        for pulse in np.flatnonzero(arms[which]):
            if pulse - last > dead:
                times.append(1000 * int(pulse) + 500)
                channels.append(which)
                last = pulse
    order = np.argsort(times, kind="stable")
    return TagArrays(
        np.array(times)[order], np.array(channels)[order], start_ps=0, stop_ps=1000 * pulses
    )


def test_live_gating_recovers_photon_number_and_g2_under_dead_time() -> None:
    rng = np.random.default_rng(11)
    source = dead_time_stream(rng, 2_000_000, mean=0.7, g2=0.05, dead=2)
    s = pulse_statistics(source, PulseClock(1000.0), 0, 1, veto_pulses=2, n_blocks=10)
    live, n_a, n_b, c0 = (x.sum() for x in (s.n_live, s.n_a, s.n_b, s.c0))
    # physics.md has this as eq. (2.3); equal arms, so the last factor is 1
    mean = (n_a + n_b + c0) / live
    g2 = c0 * live / (n_a * n_b)
    assert abs(mean - 0.7) < 4 * np.sqrt(0.7 / live)
    assert abs(g2 - 0.05) < 4 * 0.05 / np.sqrt(c0)
    raw = (s.s_a.sum() + s.s_b.sum()) / s.n_pulses.sum()
    assert raw < 0.5  # the dead time matters here
    assert s.gaps_a[1] == s.gaps_a[2] == 0 < s.gaps_a[3]


def test_pulse_statistics_refuse_what_makes_no_sense() -> None:
    source = TagArrays([0, 5000], [0, 1])
    clock = PulseClock(1000.0)
    with pytest.raises(UsageError, match="two detectors"):
        pulse_statistics(source, clock, 1, 1, veto_pulses=0)
    with pytest.raises(UsageError, match="5 pulses do not make 9 blocks"):
        pulse_statistics(source, clock, 0, 1, veto_pulses=0, n_blocks=9)
    with pytest.raises(UsageError, match="window"):
        pulse_statistics(source, clock, 0, 1, veto_pulses=0, window_ps=2000.0)


def test_a_million_tags_give_the_same_for_very_different_chunks() -> None:
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.integers(0, 20_000, 300_000))
    source = TagArrays(times, rng.integers(0, 2, len(times)))
    clock = PulseClock(13_135.426)
    results = []
    for size in (1_000, 65_536, 1 << 20):
        correlator = Correlator(0, 1, start_ps=-(10**5), bin_ps=100, n_bins=2000)
        counter = PulseCounter(
            clock,
            0,
            1,
            start_ps=source.start_ps,
            stop_ps=source.stop_ps,
            veto_pulses=3,
            n_blocks=7,
        )
        for chunk in source.chunks(size):
            correlator.add(chunk)
            counter.add(chunk)
        s = counter.statistics()
        results.append((correlator.counts, s.n_live, s.c0, s.peak_areas, s.gaps_b))
    for one, other in pairwise(results):
        for x, y in zip(one, other, strict=True):
            np.testing.assert_array_equal(x, y)


@settings(max_examples=200, deadline=None)
@given(
    stream=streams(),
    start=st.integers(-300, 300),
    width=st.sampled_from([1, 7, 100, 1 << 20]),
    n_bins=st.integers(1, 80),
)
def test_pairs_of_two_arrays_equal_brute_force(
    stream: tuple[list[int], list[int]], start: int, width: int, n_bins: int
) -> None:
    a, b = (np.array([t for t, c in zip(*stream, strict=True) if c == k], np.int64) for k in (0, 1))
    counts = pair_histogram(a, b, start_ps=start, bin_ps=width, n_bins=n_bins)
    expected = brute_histogram(*stream, 0, 1, start, width, n_bins)
    np.testing.assert_array_equal(counts, expected)


def test_every_loop_counts_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(12)
    times = np.cumsum(rng.integers(0, 2_000, 50_000))
    source = TagArrays(times, rng.integers(0, 3, len(times)))
    results = []
    for sparse, dense in ((1e9, 1e9), (0.0, 1e9), (0.0, 0.0)):  # look back, few pairs, many
        monkeypatch.setattr("qdchar.tags.counting.correlation._SPARSE", sparse)
        monkeypatch.setattr("qdchar.tags.counting.correlation._DENSE", dense)
        results.append(cross_correlation(source, 0, 1, bin_ps=13, range_ps=9_000).counts)
    assert results[0].sum() > 90_000
    for one, other in pairwise(results):
        np.testing.assert_array_equal(one, other)


def test_blocks_add_up_and_hold_the_pairs_that_end_in_them() -> None:
    rng = np.random.default_rng(13)
    times = np.cumsum(rng.integers(0, 200, 5_000))
    channels = rng.integers(0, 2, len(times))
    source = TagArrays(times, channels)
    whole = cross_correlation(source, 0, 1, bin_ps=10, range_ps=1_000)
    blocks = cross_correlation(source, 0, 1, bin_ps=10, range_ps=1_000, n_blocks=7, threads=2)
    assert whole.block_counts is None
    assert blocks.block_counts is not None
    np.testing.assert_array_equal(blocks.counts, whole.counts)
    np.testing.assert_array_equal(blocks.block_counts.sum(axis=0), whole.counts)
    edge = (source.stop_ps - source.start_ps) // 7 + source.start_ps
    before = times < edge
    first = brute_histogram(
        times[before].tolist(), channels[before].tolist(), 0, 1, -1_000, 10, 200
    )
    np.testing.assert_array_equal(blocks.block_counts[0], first)


def test_a_stream_that_goes_back_in_time_is_refused() -> None:
    forth = TagChunk(np.array([10, 20]), np.array([0, 1], np.uint8))
    back = TagChunk(np.array([30, 25]), np.array([0, 1], np.uint8))
    clock = PulseClock(5.0)
    for counter in (
        Correlator(0, 1, start_ps=0, bin_ps=1, n_bins=1),
        PulseCounter(clock, 0, 1, start_ps=0, stop_ps=1000, veto_pulses=0),
    ):
        counter.add(forth)
        with pytest.raises(RecordError, match="time order"):
            counter.add(back)
        with pytest.raises(RecordError, match="time order"):
            counter.add(TagChunk(np.array([15]), np.array([0], np.uint8)))
    with pytest.raises(UsageError, match="sort them"):
        pair_histogram(back.times_ps, forth.times_ps, start_ps=0, bin_ps=1, n_bins=1)
