from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import InconclusiveError, RecordError
from qdchar.tags import PulseClock, TagArrays, TagChunk, open_tags, sync_clock
from qdchar.tags.timing.sync_regression import PulseWander, SyncRegression

PERIOD = 13_135.426244581637  # 76.13 MHz


def sync_tags(
    rng: np.random.Generator, n: int, divider: int, jitter: float, keep: float = 1.0
) -> np.ndarray:
    index = np.flatnonzero(rng.random(n) < keep)
    exact = index.astype(np.longdouble) * np.longdouble(PERIOD * divider)
    return 10**16 + np.rint(exact + rng.normal(0, jitter, len(index))).astype(np.int64)


@pytest.mark.parametrize(("divider", "keep"), [(1, 1.0), (16, 1.0), (16, 0.7), (1, 0.05)])
def test_period_and_t0_with_true_uncertainties(divider: int, keep: float) -> None:
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tags = sync_tags(rng, 4_000, divider, 20.0, keep)
        clock = sync_clock(tags, divider, period_guess_ps=PERIOD * 1.003 if keep < 0.1 else None)
        pulls.append((clock.period_ps - PERIOD) / clock.u_period_ps)
        assert clock.rms_ps == pytest.approx(20.0, rel=0.25)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(40)
    assert 0.65 < np.std(pulls) < 1.4  # three sigma of a standard deviation from 40


def test_t0_is_a_pulse() -> None:
    rng = np.random.default_rng(1)
    tags = sync_tags(rng, 4_000, 1, 20.0)
    clock = sync_clock(tags)
    whole, fraction = clock.origin()
    phase = (np.longdouble(whole - 10**16) + np.longdouble(fraction)) / np.longdouble(PERIOD) % 1
    assert min(phase, 1 - phase) * PERIOD < 5 * clock.u_t0_ps


def test_a_single_long_gap_is_counted_right() -> None:
    tags = sync_tags(np.random.default_rng(3), 20_000, 16, 20.0)
    clock = sync_clock(np.delete(tags, np.s_[5_000:14_000]), 16)
    assert abs(clock.period_ps - PERIOD) < 5 * clock.u_period_ps


@pytest.mark.parametrize("size", [1_000, 1 << 17])
def test_regression_in_chunks_is_that_of_all_tags(size: int) -> None:
    # gaps, a drifting laser, and other clicks between the sync tags
    tags = sync_tags(np.random.default_rng(4), 300_000, 16, 20.0, keep=0.7)
    tags = np.delete(tags, np.s_[100_000:120_000])
    tags += np.rint(1e-10 * (tags - tags[0]) ** 2 / (tags[-1] - tags[0])).astype(np.int64)
    whole = sync_clock(tags, 16)
    source = TagArrays(np.repeat(tags, 2), np.tile([9, 1], len(tags)))
    regression = SyncRegression(9, 16)
    for chunk in source.chunks(size):
        regression.add(chunk)
    clock = regression.clock()
    assert regression.n_tags == len(tags)
    # rounding of float64: far below what moves a click by 1e-3 ps within the run
    assert clock.period_ps == pytest.approx(whole.period_ps, rel=1e-15)
    assert clock.u_period_ps == pytest.approx(whole.u_period_ps, rel=1e-6)
    assert clock.rms_ps == pytest.approx(whole.rms_ps, rel=1e-6)
    assert clock.u_t0_ps == pytest.approx(whole.u_t0_ps, rel=1e-6)
    apart = (whole.reference_ps - clock.reference_ps) + (whole.t0_ps - clock.t0_ps)
    pulses = round(apart / clock.period_ps)
    assert apart - pulses * clock.period_ps == pytest.approx(0.0, abs=1e-3)
    assert clock.reference_ps == pytest.approx(tags.mean(), abs=PERIOD * 16)


def test_regression_of_few_tags_and_of_none() -> None:
    tags = sync_tags(np.random.default_rng(5), 4_000, 1, 20.0)
    regression = SyncRegression(0)
    with pytest.raises(InconclusiveError, match="0 sync tags are too few"):
        regression.clock()
    regression.add(TagChunk(tags, np.zeros(len(tags), np.uint8)))
    assert regression.clock() == sync_clock(tags)


def test_regression_refuses_a_clock_that_changes() -> None:
    tags = sync_tags(np.random.default_rng(6), 150_000, 1, 20.0)
    regression = SyncRegression(0)
    regression.add(TagChunk(tags[:100_000], np.zeros(100_000, np.uint8)))
    changed = np.cumsum(np.full(100_000, 15_000)) + tags[100_000]
    regression.add(TagChunk(changed, np.zeros(100_000, np.uint8)))
    with pytest.raises(InconclusiveError, match="repetition rate changed"):
        regression.clock()
    with pytest.raises(RecordError, match="time order"):
        regression.add(TagChunk(tags[:10], np.zeros(10, np.uint8)))


def test_wander_is_what_stretches_of_the_sync_show() -> None:
    rng = np.random.default_rng(7)
    tags = sync_tags(rng, 64_000, 16, 20.0)
    clock = sync_clock(tags, 16)
    # a laser that runs ahead by 50 ps in the first half, and behind by as much in the second
    moved = tags + np.where(np.arange(64_000) < 32_000, 50, -50)
    for times, expected in ((tags, 0.0), (moved, 50.0)):
        wander = PulseWander(3, clock, 16, len(times))
        for chunk in TagArrays(times, np.full(len(times), 3)).chunks(777):
            wander.add(chunk)
        # the jitter leaves 20 ps/sqrt(2000) in the mean of a stretch
        assert wander.rms_ps() == pytest.approx(expected, abs=0.6)


def test_jitter_of_the_sync_is_no_wander() -> None:
    """500 ps leave 11.2 ps in the mean of 2000 tags, which 32 stretches know to 13 %."""
    tags = sync_tags(np.random.default_rng(8), 64_000, 16, 500.0)
    wander = PulseWander(3, sync_clock(tags, 16), 16, len(tags))
    wander.add(TagChunk(tags, np.full(len(tags), 3, np.uint8)))
    assert wander.rms_ps() < 8.0


def test_real_filtered_sync(hbt_data: Path) -> None:
    source = open_tags(hbt_data / "19_qutag_80MHz_HBT_sync_filtered.qutag")
    tags = np.concatenate([c.times_ps[c.channels == 5] for c in source.chunks()])
    clock = sync_clock(tags, period_guess_ps=12_500.0)
    assert clock.frequency_hz == pytest.approx(80.03e6, rel=1e-3)
    assert clock.rms_ps < 1_000


def test_what_is_no_clock_is_refused() -> None:
    rng = np.random.default_rng(8)
    with pytest.raises(InconclusiveError, match="too few"):
        sync_clock([1, 2])
    with pytest.raises(InconclusiveError):
        sync_clock(np.cumsum(rng.exponential(10_000, 3_000)).astype(np.int64))
    with pytest.raises(RecordError, match="time order"):
        sync_clock([5, 3, 9])
    with pytest.raises(RecordError, match="not a clock"):
        PulseClock(float("nan"))
