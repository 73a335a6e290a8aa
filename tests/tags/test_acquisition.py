from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import RecordError, UsageError
from qdchar.roles import TagBlock
from qdchar.tags import PulseClock, TagArrays, TagWriter, open_tags, pulse_statistics
from qdchar.tags.acquisition import Running, Target, acquire
from qdchar.tags.counting import Correlator, Folder, PulseCounter

PERIOD = 13_135.4
START = 5 * 10**12  # streams go on from earlier measurements


def tagger(block_s: float = 0.01, lost_after: int | None = None) -> Iterator[TagBlock]:
    rng = np.random.default_rng(9)
    size = int(block_s * 1e12)
    number = 0
    while True:
        begin = START + number * size
        times = np.sort(rng.integers(begin, begin + size, 2_000))
        yield TagBlock(
            times, rng.integers(0, 2, 2_000).astype(np.uint8), begin, begin + size,
            overflow=number == lost_after,
        )  # fmt: skip
        number += 1


def test_stops_at_the_time_limit_within_a_block_and_counts_what_is_on_disk(tmp_path: Path) -> None:
    correlator = Correlator(0, 1, start_ps=-(10**6), bin_ps=1000, n_bins=2000)
    folder = Folder(0, PulseClock(PERIOD), n_bins=100)
    states: list[Running] = []
    with TagWriter(tmp_path / "run.h5", resolution_ps=1.0, start_ps=START) as writer:
        done = acquire(
            tagger(), [correlator, folder], limit_s=0.1234, writer=writer,
            show=states.append, show_every_s=0.0,
        )  # fmt: skip
    assert done.reason == "time"
    assert "limit of 0.1234 s" in done.message
    assert done.stop_ps == START + 123_400_000_000
    stored = open_tags(tmp_path / "run.h5")
    assert stored.duration_s == pytest.approx(0.1234, abs=1e-12)
    again = Correlator(0, 1, start_ps=-(10**6), bin_ps=1000, n_bins=2000)
    for chunk in stored.chunks():
        again.add(chunk)
    np.testing.assert_array_equal(correlator.counts, again.counts)
    assert folder.counts.sum() == correlator.clicks_a
    assert [s.covered_s for s in states] == sorted(s.covered_s for s in states)
    assert states[-1] == done.state
    assert done.state.clicks == sum(len(c) for c in stored.chunks())


def test_stops_when_the_uncertainty_is_reached_and_says_so() -> None:
    correlator = Correlator(0, 1, start_ps=-(10**7), bin_ps=10**6, n_bins=20)

    def relative() -> float:
        pairs = int(correlator.counts.sum())
        return 1 / math.sqrt(pairs) if pairs else math.inf

    done = acquire(tagger(), [correlator], limit_s=10, target=Target("the sum", relative, 0.01))
    assert done.reason == "target"
    assert done.message.startswith("the sum is known to 0.00")
    assert 10_000 <= correlator.counts.sum() < 20_000
    assert done.state.covered_s < 1.0
    with pytest.raises(RecordError, match="one stream in time order"):  # it starts anew
        acquire(tagger(), [correlator], limit_s=0.05)
    never = acquire(tagger(), [], limit_s=0.05, target=Target("x", lambda: 1.0, 0.5))
    assert never.reason == "time"
    assert "x is known to 1, not to 0.5" in never.message


def test_lost_tags_end_it_before_the_gap() -> None:
    correlator = Correlator(0, 1, start_ps=-(10**6), bin_ps=1000, n_bins=2000)
    done = acquire(tagger(lost_after=7), [correlator], limit_s=1.0)
    assert done.reason == "overflow"
    assert done.state.covered_s == pytest.approx(0.07)
    assert correlator.clicks_a + correlator.clicks_b == 7 * 2_000
    blocks = [b for b, _ in zip(tagger(), range(5), strict=False)]
    del blocks[2]
    assert acquire(blocks, [], limit_s=1.0).reason == "overflow"
    assert acquire(blocks[:2], [], limit_s=1.0).reason == "end"


def test_pulse_statistics_can_be_read_while_counting() -> None:
    blocks = [b for b, _ in zip(tagger(), range(10), strict=False)]
    clock = PulseClock(PERIOD)
    stop = blocks[-1].stop_ps
    counter = PulseCounter(
        clock, 0, 1, start_ps=START, stop_ps=stop, veto_pulses=2, n_blocks=10, n_max=8
    )
    with pytest.raises(UsageError, match="not complete"):
        counter.statistics(START + 10)
    halfway = []

    def look(state: Running) -> None:
        if state.covered_s >= 0.045 and not halfway:
            halfway.append(counter.statistics(START + round(state.covered_s * 1e12)))

    acquire(blocks, [counter], limit_s=1.0, show=look, show_every_s=0.0)
    source = TagArrays(
        np.concatenate([b.times_ps for b in blocks]), np.concatenate([b.channels for b in blocks]),
        start_ps=START, stop_ps=stop,
    )  # fmt: skip
    whole = pulse_statistics(source, clock, 0, 1, veto_pulses=2, n_blocks=10, n_max=8)
    final = counter.statistics()
    for name in ("n_live", "n_a", "n_b", "c0", "s_a", "s_b", "c_ab", "peak_areas", "gaps_a"):
        np.testing.assert_array_equal(getattr(final, name), getattr(whole, name))
    n = len(halfway[0].n_live)
    assert n in (4, 5)  # the last block may end a pulse later than the time covered
    np.testing.assert_array_equal(halfway[0].n_live, whole.n_live[:n])
    np.testing.assert_array_equal(halfway[0].c0, whole.c0[:n])
