"""PicoQuant PTU files, T2 and T3, as a source of tags.

Records are decoded here and checked against ptufile record by record in the tests; decoding in
place is several times faster, keeps picoseconds in integers and the overflow count across
chunks, and tells a T2 sync from a click on the first input.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import RecordError

from ..counting.folding import FoldedHistogram
from ..source import CHUNK_TAGS, TagChunk, TagMetadata, TimeOrder
from ..timing.clock import PulseClock
from . import ptu_records as rec
from .ptu_header import PtuHeader, read_header

_BEYOND: Final = (
    1e-3  # share of clicks later than the sync period that still passes, with a warning
)


@dataclass(frozen=True)
class PtuCounts:
    """What one pass over the records found.

    Attributes
    ----------
    clicks
        int64, shape (65,): clicks by channel; the last is the T2 sync.
    markers, overflows
        Numbers of marker and of overflow records.
    beyond_period
        T3 clicks that came later after the sync than the sync period.
    """

    clicks: NDArray[np.int64]
    markers: int
    overflows: int
    beyond_period: int


class PtuFile:
    """Tags of a PTU file as a source.

    In T3 mode a click `dtime` steps after sync number n comes at ``ceil(n * period) + dtime *
    step``: rounded up to a whole picosecond, so that folding by the same period never throws a
    click at the very beginning of a pulse into the one before.

    Raises
    ------
    RecordError
        With the byte offset where there is one, if the header is damaged or contradicts itself,
        or (once the records are read) the records contradict the header.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.header: PtuHeader = read_header(self.path)
        size = self.path.stat().st_size
        held, odd_bytes = divmod(size - self.header.offset, 4)
        claimed = self.header.claimed_records
        self._warnings: list[str] = []
        if claimed == 0 and held:
            self._warnings.append(
                f"the header claims 0 records (the run was not closed); all {held} were read"
            )
        elif claimed > held:
            self._warnings.append(
                f"the file ends {claimed - held} records early, at byte {size}, of {claimed} "
                "claimed; the rest is sound"
            )
        elif claimed < held:
            self._warnings.append(
                f"{held - claimed} records after the {claimed} that the header claims, from byte "
                f"{self.header.offset + 4 * claimed}, were left out"
            )
        if odd_bytes and claimed >= held:
            self._warnings.append(
                f"the last record, at byte {size - odd_bytes}, is cut off; left out"
            )
        self._complete = claimed in (0, held) or claimed < held
        self.n_records = min(claimed, held) if claimed else held
        self._counts: PtuCounts | None = None
        self._stop_ps: int | None = None
        self._beyond = 0
        self._order = TimeOrder()

    @property
    def counts(self) -> PtuCounts:
        """Clicks, markers and overflows of the whole file; reads it once."""
        if self._counts is None:
            clicks = np.zeros(65, np.int64)
            state = np.zeros(rec.STATE_SIZE, np.int64)
            for times in self._pass(state, CHUNK_TAGS):
                clicks += np.bincount(times.channels, minlength=65)
            self._counts = PtuCounts(
                clicks=clicks,
                markers=int(state[rec.MARKERS]),
                overflows=int(state[rec.OVERFLOWS]),
                beyond_period=int(state[rec.BEYOND]),
            )
        return self._counts

    @property
    def start_ps(self) -> int:
        """Beginning of the time covered: the start of the run [ps]."""
        return 0

    @property
    def stop_ps(self) -> int:
        """End of the time covered: just after the last record of any kind [ps]."""
        if self._stop_ps is None:
            for _ in self.chunks():
                pass
        assert self._stop_ps is not None
        return self._stop_ps

    @property
    def duration_s(self) -> float:
        """Time covered [s]."""
        return self.stop_ps * 1e-12

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of the channels that hold at least one tag."""
        return tuple(np.flatnonzero(self.counts.clicks).tolist())

    @property
    def resolution_ps(self) -> float:
        """Step of the time-to-digital converter [ps]."""
        return self.header.dtime_ps if self.header.kind.is_t3 else self.header.global_ps

    @property
    def clock(self) -> PulseClock | None:
        """T3: the pulse clock, to which the tags refer by construction; T2: None."""
        return PulseClock(self.header.global_ps) if self.header.kind.is_t3 else None

    @property
    def metadata(self) -> TagMetadata:
        """What the header says."""
        tags = self.header.tags
        hardware = " ".join(str(tags[name]) for name in ("HW_Type", "HW_SerialNo") if name in tags)
        return TagMetadata(
            format=f"PicoQuant {self.header.kind.name}",
            instrument=hardware,
            created=str(tags.get("File_CreatingTime", "")),
            comment=str(tags.get("File_Comment", "")),
            sync_period_ps=self.header.global_ps if self.header.kind.is_t3 else None,
            attributes=tags,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found and put right so far; complete once the file was gone through."""
        found = list(self._warnings)
        if self._beyond:
            found.append(
                f"{self._beyond} clicks came later after the sync than its period (missed syncs); "
                "kept at their absolute time"
            )
        if self._order.late_tags:
            found.append(str(self._order))
        return tuple(found)

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Go through all clicks in time order, at most about `size` at a time."""
        yield from self._pass(np.zeros(rec.STATE_SIZE, np.int64), size)

    def decay(self, channel: int) -> FoldedHistogram:
        """Histogram the time after the sync of one channel, from T3 records directly.

        The quickest way to a lifetime: the same counts as folding the tags by the file's own
        clock, with one bin a step, without making tags. The duration is that of the last overflow,
        within 1024 periods.

        Raises
        ------
        RecordError
            If this is not a T3 file of the HydraHarp layout, or clicks come after the period.
        """
        kind = self.header.kind
        if not kind.is_t3 or kind.picoharp:
            raise RecordError(f"{self.path} is {kind.name}: fold its tags instead")
        counts = np.zeros((4, 2 << 15), np.int64)
        syncs = 0
        for _, raw in self.records(CHUNK_TAGS):
            syncs += rec.count_dtimes(raw, channel, kind.wrap, kind.counted, counts)
        steps = counts[:, : 1 << 15].sum(axis=0)
        n_bins = math.ceil(self.header.global_ps / self.header.dtime_ps)
        beyond, clicks = int(steps[n_bins + 2 :].sum()), int(steps.sum())
        if beyond > _BEYOND * clicks:
            raise self._beyond_period(beyond, clicks, int(np.flatnonzero(steps)[-1]))
        self._check_duration(syncs * self.header.global_ps * 1e-12)
        return FoldedHistogram(
            counts=steps[:n_bins],
            bin_ps=self.header.dtime_ps,
            clock=PulseClock(self.header.global_ps),
            offset_ps=0.0,
            duration_s=syncs * self.header.global_ps * 1e-12,
        )

    def records(self, size: int) -> Iterator[tuple[int, NDArray[np.uint32]]]:
        """Go through the raw records: number of the first, and up to `size` records."""
        with self.path.open("rb") as file:
            file.seek(self.header.offset)
            done = 0
            buffer = np.empty(size, np.uint32)
            while done < self.n_records:
                wanted = min(size, self.n_records - done)
                got = file.readinto(buffer[:wanted].data.cast("B")) // 4
                if got == 0:
                    raise RecordError(
                        f"{self.path} became shorter while it was read, at byte "
                        f"{self.header.offset + 4 * done}"
                    )
                yield done, buffer[:got]
                done += got

    def _pass(self, state: NDArray[np.int64], size: int) -> Iterator[TagChunk]:
        order = self._order = TimeOrder()
        for first, raw in self.records(size):
            kept = order.kept
            n_kept = len(kept)
            times = np.empty(n_kept + len(raw), np.int64)
            channels = np.empty(n_kept + len(raw), np.uint8)
            times[:n_kept], channels[:n_kept] = kept.times_ps, kept.channels
            count = self._decode(raw, times[n_kept:], channels[n_kept:], state)
            if count < 0:
                self._refuse_record(first + (-1 - count), int(raw[-1 - count]))
            if state[rec.BEYOND] > 1000:
                self._check_period(state)
            ready = order.settle(
                times[: n_kept + count],
                channels[: n_kept + count],
                n_kept,
                late=bool(state[rec.LATE]),
            )
            if len(ready):
                yield ready
        self._check_period(state)
        self._beyond = int(state[rec.BEYOND])
        # Overflow records go on to the end of the run when no click does.
        end = max(int(state[rec.OVERFLOW] * self.header.global_ps), int(state[rec.PREVIOUS_PS]))
        self._check_duration(end * 1e-12)
        self._stop_ps = end + 1
        if len(order.kept):
            yield order.kept

    def _decode(
        self,
        raw: NDArray[np.uint32],
        times: NDArray[np.int64],
        channels: NDArray[np.uint8],
        state: NDArray[np.int64],
    ) -> int:
        header, kind = self.header, self.header.kind
        whole = math.floor(header.global_ps)
        rest = header.global_ps - whole
        # A click may lie beyond the period by the tagger's step and the jitter of the sync.
        longest = math.floor(header.global_ps / header.dtime_ps) + 2 if kind.is_t3 else 0
        step = round(header.dtime_ps)
        limit = (1 << 62) // (whole + 1) - (1 << 30)
        if kind.picoharp:
            return rec.decode_picoharp(
                raw, kind.is_t3, kind.wrap, whole, rest, step, longest, limit, times, channels,
                state,
            )  # fmt: skip
        if kind.is_t3:
            return rec.decode_t3(
                raw, kind.wrap, kind.counted, whole, rest, step, longest, limit, times, channels,
                state,
            )  # fmt: skip
        return rec.decode_t2(raw, kind.wrap, kind.counted, whole, limit, times, channels, state)

    def _refuse_record(self, number: int, value: int) -> None:
        raise RecordError(
            f"{self.path}: record {number} at byte {self.header.offset + 4 * number} is "
            f"{value:#010x}, which {self.header.kind.name} does not have (or its time exceeds "
            "53 days): the record type in the header is wrong or the file is damaged from there on"
        )

    def _check_period(self, state: NDArray[np.int64]) -> None:
        beyond, clicks = int(state[rec.BEYOND]), int(state[rec.CLICKS])
        if beyond > _BEYOND * clicks:
            raise self._beyond_period(beyond, clicks, int(state[rec.LATEST_DTIME]))

    def _beyond_period(self, beyond: int, clicks: int, latest: int) -> RecordError:
        return RecordError(
            f"{self.path}: {beyond} of {clicks} clicks come later after the sync (up to "
            f"{latest * self.header.dtime_ps / 1000:.1f} ns) than the sync period in the header, "
            f"{self.header.global_ps / 1000:.4f} ns. The header's global resolution or sync "
            "divider is wrong, so absolute times are wrong too; record again with the right "
            "divider, or in T2 mode"
        )

    def _check_duration(self, last_s: float) -> None:
        said = self.header.acquired_s
        if said is None or not self._complete or said < 0.05 or self.n_records < 2:
            return
        if not 0.9 <= last_s / said <= 1.1:
            raise RecordError(
                f"{self.path}: the header says the run took {said:g} s, but its records end at "
                f"{last_s:g} s: the global resolution ({self.header.global_ps:g} ps) or the "
                f"record type ({self.header.kind.name}) in the header is wrong"
            )
