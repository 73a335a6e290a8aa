"""The interface of a source of time tags, arrays as a source, and sorting and blocks of tags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import RecordError

SYNC_CHANNEL: Final = 64
"""Channel number of the sync input in a T2 file; the detector inputs have 0 to 63."""

CHUNK_TAGS: Final = 1 << 17
"""Tags per chunk: 1 MB of times, which fits into the second-level cache of the processor."""

REORDER_PS: Final = 10_000_000
"""Largest delay of a late tag that is sorted into its place [ps]: 10 us.

A tagger's pipeline is far shorter, and the tags of 10 us need little memory.
"""

_LIMIT_PS: Final = 1 << 62


@dataclass(frozen=True)
class TagChunk:
    """Consecutive tags of a source, sorted in time.

    Attributes
    ----------
    times_ps
        int64, shape (n,) [ps].
    channels
        uint8, shape (n,).
    """

    times_ps: NDArray[np.int64]
    channels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.times_ps)

    def native(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return contiguous, writable arrays, so that numba compiles for one memory layout only."""
        times = np.require(self.times_ps, np.int64, ["C", "W"])
        channels = np.require(self.channels, np.uint8, ["C", "W"])
        return times, channels


@dataclass(frozen=True)
class TagMetadata:
    """Information about a file besides its tags.

    Attributes
    ----------
    format
        Name of the file format, e.g. ``PicoQuant HydraHarp2 T3``.
    instrument, created, comment
        As written in the file; empty if they are missing.
    sync_period_ps
        Period of the sync in a T3 file [ps]; None elsewhere.
    attributes
        Everything else, name to value.
    """

    format: str = ""
    instrument: str = ""
    created: str = ""
    comment: str = ""
    sync_period_ps: float | None = None
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)


class TagSource(Protocol):
    """Time tags that can be read from the start more than once, in constant memory."""

    @property
    def start_ps(self) -> int:
        """Beginning of the time covered [ps]."""

    @property
    def stop_ps(self) -> int:
        """End of the time covered [ps]; later than the last tag."""

    @property
    def duration_s(self) -> float:
        """Time covered [s]."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of the channels that hold at least one tag."""

    @property
    def resolution_ps(self) -> float:
        """Step of the time-to-digital converter [ps]."""

    @property
    def metadata(self) -> TagMetadata:
        """Information about the file besides its tags."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Faults that were found and corrected, e.g. the number of out-of-order tags."""

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Yield all tags in time order, about `size` per chunk."""


class Accumulator(Protocol):
    """Counts tags chunk by chunk, e.g. `Correlator`, `Folder` or `PulseCounter`."""

    def add(self, chunk: TagChunk) -> None:
        """Count a chunk."""


class ClickCounter:
    """Count the tags of each channel.

    Attributes
    ----------
    counts
        int64, shape (256,).
    """

    def __init__(self) -> None:
        self.counts = np.zeros(256, np.int64)

    def add(self, chunk: TagChunk) -> None:
        """Count the tags of this chunk."""
        self.counts += np.bincount(chunk.channels, minlength=256)


def count_in_one_pass(source: TagSource, *accumulators: Accumulator) -> None:
    """Read a source once, and let all accumulators count each chunk.

    Reading a file of 10^9 tags takes longer than counting them; so count all quantities in the
    same pass.
    """
    for chunk in source.chunks():
        for accumulator in accumulators:
            accumulator.add(chunk)


class TagArrays:
    """Tags in memory as a source.

    Parameters
    ----------
    times_ps
        Shape (n,), in time order [ps].
    channels
        Shape (n,), channel number of each tag, 0 to 255.
    start_ps, stop_ps
        The time covered [ps]; by default from the first tag to just after the last.
    resolution_ps
        Step of the time-to-digital converter [ps].
    metadata
        Information besides the tags; says "arrays" as the format if not given.

    Raises
    ------
    RecordError
        If times and channels differ in length, or times are not sorted or lie outside the time
        covered.
    """

    def __init__(
        self,
        times_ps: ArrayLike,
        channels: ArrayLike,
        *,
        start_ps: int | None = None,
        stop_ps: int | None = None,
        resolution_ps: float = 1.0,
        metadata: TagMetadata | None = None,
    ) -> None:
        times = np.array(times_ps, dtype=np.int64)
        numbers = np.array(channels, dtype=np.uint8)
        if times.shape != numbers.shape or times.ndim != 1:
            raise RecordError(
                "tags need one channel for each time, got arrays of shape "
                f"{times.shape} (times) and {numbers.shape} (channels)"
            )
        if np.any(times[1:] < times[:-1]):
            where = int(np.flatnonzero(times[1:] < times[:-1])[0]) + 1
            raise RecordError(f"tag {where} lies before tag {where - 1}: sort the tags in time")
        first, last = (int(times[0]), int(times[-1])) if len(times) else (0, -1)
        self._start = first if start_ps is None else start_ps
        self._stop = last + 1 if stop_ps is None else stop_ps
        if len(times) and not self._start <= first <= last < self._stop:
            raise RecordError(
                f"tags from {first} to {last} ps lie outside the time covered, "
                f"{self._start} to {self._stop} ps"
            )
        self._times, self._channels = times, numbers
        self._resolution = resolution_ps
        self._metadata = metadata or TagMetadata(format="arrays")

    @property
    def start_ps(self) -> int:
        """Beginning of the time covered [ps]."""
        return self._start

    @property
    def stop_ps(self) -> int:
        """End of the time covered [ps]."""
        return self._stop

    @property
    def duration_s(self) -> float:
        """Time covered [s]."""
        return (self._stop - self._start) * 1e-12

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of the channels that hold at least one tag."""
        return tuple(np.flatnonzero(np.bincount(self._channels, minlength=1)).tolist())

    @property
    def resolution_ps(self) -> float:
        """Step of the time-to-digital converter [ps]."""
        return self._resolution

    @property
    def metadata(self) -> TagMetadata:
        """Information besides the tags."""
        return self._metadata

    @property
    def warnings(self) -> tuple[str, ...]:
        """Always empty: the constructor refuses faulty arrays."""
        return ()

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Yield all tags, `size` per chunk."""
        for begin in range(0, len(self._times), size):
            part = slice(begin, begin + size)
            yield TagChunk(self._times[part], self._channels[part])


class TimeOrder:
    """Sorts a stream whose tags may come late by at most `within_ps`, and counts the late tags.

    A tag is late if its time is before that of its predecessor in the stream. The tags in the last
    `within_ps` of a block are kept for the next block. So the caller puts the kept tags in front of
    the new ones::

        kept = order.kept
        times = concatenate(kept.times_ps, new times), channels alike
        chunk = order.settle(times, channels, len(kept), late=...)
    """

    def __init__(self, within_ps: int = REORDER_PS) -> None:
        self.within_ps = within_ps
        self.late_tags = 0
        self.largest_step_back_ps = 0
        self.kept = TagChunk(np.empty(0, np.int64), np.empty(0, np.uint8))
        self._previous_ps = self._emitted_ps = -_LIMIT_PS

    def settle(
        self,
        times_ps: NDArray[np.int64],
        channels: NDArray[np.uint8],
        n_kept: int,
        *,
        late: bool | None = None,
    ) -> TagChunk:
        """Return the tags whose order is final; keep the rest for the next call.

        Parameters
        ----------
        times_ps, channels
            The kept tags, then the new tags.
        n_kept
            Number of kept tags.
        late
            Whether any new tag is late; None if the caller does not know.

        Raises
        ------
        RecordError
            If a tag lies further back than `within_ps`: the file was spliced, or its clock reset.
        """
        if len(times_ps) == n_kept:
            return TagChunk(times_ps[:0], channels[:0])
        new = times_ps[n_kept:]
        if late is None or late:
            steps = np.diff(new, prepend=np.int64(self._previous_ps))
            back = steps[steps < 0]
            if len(back):
                self.late_tags += len(back)
                self.largest_step_back_ps = max(self.largest_step_back_ps, -int(back.min()))
            late = len(back) > 0
        self._previous_ps = int(new[-1])
        # A kept tag may be later than the first new tag, even if no new tag is late.
        if late or (n_kept and new[0] < times_ps[n_kept - 1]):
            order = np.argsort(times_ps, kind="stable")
            times_ps, channels = times_ps[order], channels[order]
        if times_ps[0] < self._emitted_ps:
            raise RecordError(
                f"a tag at {int(times_ps[0])} ps comes after one at {self._emitted_ps} ps: more "
                f"than {self.within_ps / 1e6:g} us out of order. The clock was reset or two runs "
                "were joined: split the file there"
            )
        ready = int(np.searchsorted(times_ps, times_ps[-1] - self.within_ps, side="left"))
        self.kept = TagChunk(times_ps[ready:].copy(), channels[ready:].copy())
        if ready:
            self._emitted_ps = int(times_ps[ready - 1])
        return TagChunk(times_ps[:ready], channels[:ready])

    def __str__(self) -> str:
        return (
            f"{self.late_tags} tags were out of order, by at most "
            f"{self.largest_step_back_ps / 1000:.3f} ns; sorted"
        )


def in_time_order(chunks: Iterable[TagChunk], order: TimeOrder) -> Iterator[TagChunk]:
    """Sort a stream of chunks; see :class:`TimeOrder`."""
    for chunk in chunks:
        kept = order.kept
        ready = order.settle(
            np.concatenate([kept.times_ps, chunk.times_ps]),
            np.concatenate([kept.channels, chunk.channels]),
            len(kept),
        )
        if len(ready):
            yield ready
    if len(order.kept):
        yield order.kept


def block_edges(source: TagSource, n_blocks: int) -> list[int]:
    """Return the ``n_blocks + 1`` edges of blocks of equal duration [ps]."""
    span = source.stop_ps - source.start_ps
    return [source.start_ps + span * b // n_blocks for b in range(n_blocks + 1)]


def in_blocks(source: TagSource, n_blocks: int) -> Iterator[tuple[int, Iterator[TagChunk]]]:
    """Yield the number and the chunks of each of `n_blocks` blocks of equal duration.

    Read all chunks of a block before you ask for the next block.
    """
    edges = block_edges(source, n_blocks)
    chunks = source.chunks()
    unread: TagChunk | None = next(chunks, None)

    def chunks_until(edge: int) -> Iterator[TagChunk]:
        nonlocal unread
        while unread is not None:
            inside = int(np.searchsorted(unread.times_ps, edge))
            if inside:
                yield TagChunk(unread.times_ps[:inside], unread.channels[:inside])
            if inside < len(unread):
                unread = TagChunk(unread.times_ps[inside:], unread.channels[inside:])
                return
            unread = next(chunks, None)

    for block in range(n_blocks):
        yield block, chunks_until(edges[block + 1])
