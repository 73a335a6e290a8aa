"""Correlation histograms: all pairs of clicks on two channels, by their delay."""

from __future__ import annotations

import math
import queue
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import UsageError

from ..source import TagChunk, TagSource, in_blocks
from . import numba_loops as compiled
from .time_order import EARLY as _EARLY
from .time_order import check_order

_FAST_DIVISION: Final = 31  # bits of delay up to which a division is a multiplication
# Pairs a tag from which the one loop is faster than the other; see the benchmark.
_SPARSE: Final = 0.1
_DENSE: Final = 1.2
_LATE: Final = 1 << 62
_NONE: Final = TagChunk(np.empty(0, np.int64), np.empty(0, np.uint8))


def clean_widths(resolution_ps: float, near_ps: float) -> tuple[float, ...]:
    """Give the bin widths [ps] nearest to `near_ps` that are multiples of the tagger's step."""
    steps = max(1, math.floor(near_ps / resolution_ps))
    return (steps * resolution_ps, (steps + 1) * resolution_ps)


def _check_width(bin_ps: int, resolution_ps: float, uneven_bins: bool) -> None:
    if bin_ps < 1:
        raise UsageError(f"a bin of {bin_ps} ps: bins are whole picoseconds, at least 1")
    steps = bin_ps / resolution_ps
    uneven = not uneven_bins and abs(steps - round(steps)) > 1e-6 * steps
    if uneven or steps < 1 - 1e-6:
        below, above = clean_widths(resolution_ps, bin_ps)
        raise UsageError(
            f"bins of {bin_ps} ps over a tagger's step of {resolution_ps:g} ps hold unequal "
            f"numbers of steps, which draws a comb into the histogram; take {below:g} or "
            f"{above:g} ps"
        )


def _reciprocal(divisor: int) -> tuple[int, int]:
    """Give m and s with ``u // divisor == u * m >> s`` for all 0 <= u < 2**31, within int64.

    Granlund and Montgomery, PLDI 1994: s = N + ceil(log2 d), m = floor(2**s / d) + 1.
    """
    shift = _FAST_DIVISION + (divisor - 1).bit_length()
    return (1 << shift) // divisor + 1, shift


def pair_histogram(
    times_a: NDArray[np.int64],
    times_b: NDArray[np.int64],
    *,
    start_ps: int,
    bin_ps: int,
    n_bins: int,
) -> NDArray[np.int64]:
    """Histogram the delays ``t_B - t_A`` of all pairs of two sorted arrays.

    Parameters
    ----------
    times_a, times_b
        int64, in time order [ps].
    start_ps, bin_ps, n_bins
        Left edge of the first bin, bin width [ps], number of bins.

    Returns
    -------
    ndarray
        int64, shape (n_bins,).

    Examples
    --------
    >>> a, b = np.array([0, 100]), np.array([3, 95, 203])
    >>> pair_histogram(a, b, start_ps=-10, bin_ps=10, n_bins=2)
    array([1, 1])
    """
    a, b = (np.require(times, np.int64, ["C", "W"]) for times in (times_a, times_b))
    for times in (a, b):
        if len(times) and not compiled.is_sorted(times, _EARLY):
            raise UsageError("the times are not in order: sort them")
    counts = np.zeros(n_bins + compiled.SPARE, np.int64)
    if len(a) and len(b):
        span = max(int(b[-1]) - int(b[0]), 1)
        dense = len(b) * n_bins * bin_ps / span > 2 * _DENSE
        magic, shift = _reciprocal(bin_ps) if n_bins * bin_ps <= 1 << _FAST_DIVISION else (0, 0)
        pairs = compiled.pairs_dense if dense else compiled.pairs_sparse
        pairs(a, b, start_ps, start_ps + n_bins * bin_ps, bin_ps, magic, shift, counts)
    return counts[:n_bins]


@dataclass(frozen=True)
class CorrelationHistogram:
    """All pairs of clicks on two channels by their delay ``t_B - t_A``.

    Attributes
    ----------
    start_ps, bin_ps
        Bin i holds the delays ``start_ps + i * bin_ps <= delay < start_ps + (i + 1) * bin_ps``.
    counts
        int64, shape (n_bins,).
    channel_a, channel_b
        Channel numbers; if they are equal, each pair counts at +delay and at -delay.
    clicks_a, clicks_b
        All clicks on the channels.
    duration_s
        Time covered [s].
    block_counts
        int64, shape (n_blocks, n_bins): counts in blocks of equal time, where they were asked for;
        a pair belongs to the block of its later click.
    block_clicks
        int64, shape (n_blocks, 2): clicks on channels A and B in each block.
    """

    start_ps: int
    bin_ps: int
    counts: NDArray[np.int64]
    channel_a: int
    channel_b: int
    clicks_a: int
    clicks_b: int
    duration_s: float
    block_counts: NDArray[np.int64] | None = None
    block_clicks: NDArray[np.int64] | None = None

    @property
    def edges_ps(self) -> NDArray[np.int64]:
        """Bin edges, shape (n_bins + 1,) [ps]."""
        return self.start_ps + self.bin_ps * np.arange(len(self.counts) + 1, dtype=np.int64)

    @property
    def centres_ps(self) -> NDArray[np.float64]:
        """Bin centres, shape (n_bins,) [ps]."""
        return np.asarray(self.edges_ps[:-1] + 0.5 * self.bin_ps, dtype=np.float64)


class Correlator:
    """Counts pairs chunk by chunk; see :func:`cross_correlation`.

    Parameters
    ----------
    channel_a, channel_b
        Channel numbers.
    start_ps, bin_ps, n_bins
        The histogram [ps].
    threads
        Chunks are counted by so many threads at once, each into a histogram of its own, and the
        integers added up: the result does not depend on it.

    Notes
    -----
    A pair is counted with the chunk that holds its later click, so a chunk needs the clicks
    before it only as far back as the histogram reaches.
    """

    def __init__(
        self, channel_a: int, channel_b: int, *, start_ps: int, bin_ps: int, n_bins: int,
        threads: int = 1,
    ) -> None:  # fmt: skip
        if bin_ps < 1 or n_bins < 1:
            raise UsageError(f"{n_bins} bins of {bin_ps} ps are no histogram")
        if threads < 1:
            raise UsageError(f"{threads} threads cannot count; give at least 1")
        self.channel_a, self.channel_b = channel_a, channel_b
        self.start_ps, self.bin_ps, self.n_bins = start_ps, bin_ps, n_bins
        self._stop_ps = start_ps + n_bins * bin_ps
        self._magic = self._shift = 0
        if n_bins * bin_ps <= 1 << _FAST_DIVISION:
            self._magic, self._shift = _reciprocal(bin_ps)
        self._reach = max(abs(start_ps), abs(self._stop_ps))
        self._clicks_a = self._clicks_b = 0
        self._carried = _NONE
        self._last_ps = _EARLY
        self._waiting: list[TagChunk] = []
        self._n_waiting = 0
        self._histograms: queue.SimpleQueue[NDArray[np.int64]] = queue.SimpleQueue()
        for _ in range(threads):
            self._histograms.put(np.zeros(n_bins + compiled.SPARE, np.int64))
        self._threads = threads
        self._pool: Executor | None = ThreadPoolExecutor(threads) if threads > 1 else None
        self._running: deque[Future[tuple[int, int]]] = deque()

    def add(self, chunk: TagChunk) -> None:
        """Count the pairs that end in this chunk."""
        if not len(chunk):
            return
        self._last_ps = check_order(chunk, self._last_ps)
        self._waiting.append(chunk)
        self._n_waiting += len(chunk)
        # While the reach is longer than a chunk, what is carried along would outweigh it.
        if self._n_waiting >= len(self._carried):
            self._count_waiting()

    def _count_waiting(self) -> None:
        if not self._waiting:
            return
        if len(self._waiting) == 1:
            new = self._waiting[0]
        else:
            new = TagChunk(
                np.concatenate([c.times_ps for c in self._waiting]),
                np.concatenate([c.channels for c in self._waiting]),
            )
        self._waiting.clear()
        self._n_waiting = 0
        carried = self._carried
        keep_from = int(new.times_ps[-1]) - self._reach
        first = int(np.searchsorted(new.times_ps, keep_from))
        times, channels = new.times_ps[first:], new.channels[first:]
        if first == 0 and len(carried):
            old = int(np.searchsorted(carried.times_ps, keep_from))
            times = np.concatenate([carried.times_ps[old:], times])
            channels = np.concatenate([carried.channels[old:], channels])
        self._carried = TagChunk(times.copy(), channels.copy())
        if self._pool is None:
            self._add_clicks(self._count(carried, new))
            return
        while len(self._running) >= 2 * self._threads:
            self._add_clicks(self._running.popleft().result())
        self._running.append(self._pool.submit(self._count, carried, new))

    def _count(self, carried: TagChunk, new: TagChunk) -> tuple[int, int]:
        """Count the pairs that end in `new`; give its clicks on both channels."""
        counts = self._histograms.get()
        try:
            return self._count_into(counts, carried, new)
        finally:
            self._histograms.put(counts)

    def _count_into(
        self, counts: NDArray[np.int64], carried: TagChunk, new: TagChunk
    ) -> tuple[int, int]:
        a, b = self.channel_a, self.channel_b
        low, high = self.start_ps, self._stop_ps
        spare = compiled.SPARE
        size = len(carried) + len(new) + 2 + spare
        both = np.empty(2 * size, np.int64)
        both[0] = both[size] = _EARLY
        tags_a, tags_b = both[:size], both[size:]
        old_times, old_channels = carried.native()
        times, channels = new.native()
        old_a, old_b = compiled.split(old_times, old_channels, a, b, tags_a, tags_b, 1, 1)
        span = max(int(times[-1]) - int(times[0]), 1)
        # two channels of half the rate each make rate * window / 4 pairs a tag
        density = len(times) * (high - low) / span / 4
        if density < _SPARSE and a != b and low <= 0 < high and self._magic:
            n_a, n_b = compiled.look_back(
                times, channels, a, b, low, high, self._magic, self._shift, both, size, old_a,
                old_b, counts,
            )  # fmt: skip
            return n_a - old_a, n_b - old_b
        n_a, n_b = compiled.split(times, channels, a, b, tags_a, tags_b, old_a, old_b)
        tags_b[n_b : n_b + spare + 1] = _LATE
        to_end = tags_b[: n_b + spare + 1]
        pairs = compiled.pairs_dense if density > _DENSE else compiled.pairs_sparse
        division = (self.bin_ps, self._magic, self._shift)
        pairs(tags_a[old_a:n_a], to_end[1:], low, high, *division, counts)
        pairs(tags_a[1:old_a], to_end[old_b:], low, high, *division, counts)
        if a == b and low <= 0 < high:
            counts[-low // self.bin_ps] -= n_a - old_a  # a click is no pair with itself
        return n_a - old_a, n_b - old_b

    def _add_clicks(self, clicks: tuple[int, int]) -> None:
        self._clicks_a += clicks[0]
        self._clicks_b += clicks[1]

    def _finish(self) -> None:
        self._count_waiting()
        while self._running:
            self._add_clicks(self._running.popleft().result())

    @property
    def counts(self) -> NDArray[np.int64]:
        """Pairs of everything added so far, shape (n_bins,)."""
        self._finish()
        parts = [self._histograms.get() for _ in range(self._threads)]
        total = np.sum(np.stack(parts), axis=0, dtype=np.int64)
        for part in parts:
            self._histograms.put(part)
        return np.asarray(total)[: self.n_bins]

    @property
    def clicks_a(self) -> int:
        """Clicks on channel A of everything added so far."""
        self._finish()
        return self._clicks_a

    @property
    def clicks_b(self) -> int:
        """Clicks on channel B of everything added so far."""
        self._finish()
        return self._clicks_b

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def cross_correlation(
    source: TagSource,
    channel_a: int,
    channel_b: int,
    *,
    bin_ps: int,
    range_ps: int,
    start_ps: int | None = None,
    uneven_bins: bool = False,
    n_blocks: int = 1,
    threads: int = 1,
) -> CorrelationHistogram:
    """Histogram the delays ``t_B - t_A`` of all pairs of clicks.

    Parameters
    ----------
    source
        Time tags.
    channel_a, channel_b
        Channel numbers; equal for the autocorrelation, which leaves out a click with itself.
    bin_ps
        Bin width; a multiple of the tagger's step [ps].
    range_ps
        Delays from ``-range_ps`` to ``range_ps``, extended to whole bins with an edge at 0; with
        `start_ps`, from there over `range_ps` [ps].
    start_ps
        Left edge of the first bin [ps].
    uneven_bins
        Take a width that is no multiple of the tagger's step, comb and all.
    n_blocks
        Blocks of equal time, for jackknife and drift.
    threads
        Threads to count with; the result does not depend on it.

    Raises
    ------
    UsageError
        If the bins hold unequal numbers of tagger steps.
    """
    _check_width(bin_ps, source.resolution_ps, uneven_bins)
    half = -(-range_ps // bin_ps)
    n_bins = 2 * half if start_ps is None else half
    correlator = Correlator(
        channel_a,
        channel_b,
        start_ps=-half * bin_ps if start_ps is None else start_ps,
        bin_ps=bin_ps,
        n_bins=n_bins,
        threads=threads,
    )
    block_counts = np.zeros((n_blocks, n_bins), np.int64)
    block_clicks = np.zeros((n_blocks, 2), np.int64)
    before, clicks_before = np.zeros(n_bins, np.int64), np.zeros(2, np.int64)
    with correlator:
        for block, chunks in _blocks(source, n_blocks):
            for chunk in chunks:
                correlator.add(chunk)
            so_far = correlator.counts
            clicks = np.array([correlator.clicks_a, correlator.clicks_b], np.int64)
            block_counts[block], block_clicks[block] = so_far - before, clicks - clicks_before
            before, clicks_before = so_far, clicks
    return CorrelationHistogram(
        start_ps=correlator.start_ps,
        bin_ps=bin_ps,
        counts=before,
        channel_a=channel_a,
        channel_b=channel_b,
        clicks_a=correlator.clicks_a,
        clicks_b=correlator.clicks_b,
        duration_s=source.duration_s,
        block_counts=block_counts if n_blocks > 1 else None,
        block_clicks=block_clicks if n_blocks > 1 else None,
    )


def _blocks(source: TagSource, n_blocks: int) -> Iterator[tuple[int, Iterator[TagChunk]]]:
    if n_blocks == 1:  # the time covered need not be known beforehand, which would take a pass
        yield 0, source.chunks()
    else:
        yield from in_blocks(source, n_blocks)
