"""What every source of time tags offers, whether file, stream or array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import RecordError

SYNC_CHANNEL: Final = 64
"""Number of the sync input of a T2 file: one beyond the last input a record can name."""

CHUNK_TAGS: Final = 1 << 17
"""Tags a chunk: a megabyte of times, about what stays in the second-level cache."""

REORDER_PS: Final = 10_000_000
"""How far back in time a late tag may fall and still be sorted in: 10 us, far above the
pipeline depth of a tagger and far below anything that would need much memory."""

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
        """Give the arrays contiguous and writable: numba compiles once for that layout."""
        times = np.require(self.times_ps, np.int64, ["C", "W"])
        channels = np.require(self.channels, np.uint8, ["C", "W"])
        return times, channels


@dataclass(frozen=True)
class TagMetadata:
    """What a file says about its tags besides the tags.

    Attributes
    ----------
    format
        Name of the file format, e.g. ``PicoQuant HydraHarp2 T3``.
    instrument, created, comment
        As the file gives them; empty where it does not.
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
    """Time tags that can be gone through from the start, in constant memory, more than once."""

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
        """What the file says besides the tags."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found and put right, e.g. the count of out-of-order tags; for the report."""

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Go through all tags, in time order, about `size` at a time."""


class Accumulator(Protocol):
    """What counts tags chunk by chunk: `Correlator`, `Folder`, `PulseCounter` and their like."""

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

    A file of 10^9 tags takes longer to read and unpack than to count: what can be counted
    together should be.
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
        Shape (n,), numbers 0 to 255.
    start_ps, stop_ps
        The time covered [ps]; by default from the first tag to just after the last.
    resolution_ps
        Step of the time-to-digital converter [ps].

    Raises
    ------
    RecordError
        If the two differ in length, the times are not sorted, or lie outside the time covered.
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
                f"tags need one channel a time: {times.shape} times, {numbers.shape} channels"
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
        """What is known besides the tags."""
        return self._metadata

    @property
    def warnings(self) -> tuple[str, ...]:
        """Nothing: arrays are checked when they are given."""
        return ()

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Go through all tags, `size` at a time."""
        for begin in range(0, len(self._times), size):
            part = slice(begin, begin + size)
            yield TagChunk(self._times[part], self._channels[part])


class TimeOrder:
    """Sorts a stream whose tags may come late by at most `within_ps`, and counts what it did.

    A tag is late when it lies before its predecessor in the stream. The last `within_ps` of each
    block wait for the next one, so the caller makes each block of what was kept and what is new::

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
        """Give what is in its final order; keep the rest.

        Parameters
        ----------
        times_ps, channels
            What was kept, then what is new.
        n_kept
            How many were kept.
        late
            Whether any new tag is late, where the caller knows.

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
        # A tag far ahead may have waited since before the previous block.
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
    """Give the borders of blocks of equal time, ``n_blocks + 1`` of them [ps]."""
    span = source.stop_ps - source.start_ps
    return [source.start_ps + span * b // n_blocks for b in range(n_blocks + 1)]


def in_blocks(source: TagSource, n_blocks: int) -> Iterator[tuple[int, Iterator[TagChunk]]]:
    """Go through a source in blocks of equal time: number of the block, and its chunks."""
    edges = block_edges(source, n_blocks)
    chunks = source.chunks()
    left: TagChunk | None = next(chunks, None)

    def until(edge: int) -> Iterator[TagChunk]:
        nonlocal left
        while left is not None:
            inside = int(np.searchsorted(left.times_ps, edge))
            if inside:
                yield TagChunk(left.times_ps[:inside], left.channels[:inside])
            if inside < len(left):
                left = TagChunk(left.times_ps[inside:], left.channels[inside:])
                return
            left = next(chunks, None)

    for block in range(n_blocks):
        yield block, until(edges[block + 1])
