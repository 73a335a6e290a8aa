"""Binary files of the qutools quTAG as a source of tags."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from qdchar.errors import RecordError

from ..source import CHUNK_TAGS, TagChunk, TagMetadata, TimeOrder, in_time_order

MAGIC: Final = bytes.fromhex("87b391fa22dd2800")
_HEADER_BYTES: Final = 40
_RECORD: Final = np.dtype([("time_ps", "<i8"), ("channel", "<u2")])


class QutagFile:
    """Tags of a quTAG file: a 40-byte header, then 10-byte records.

    Raises
    ------
    RecordError
        If the file is shorter than its header, or a record holds an impossible time or channel.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        size = self.path.stat().st_size
        if size < _HEADER_BYTES:
            raise RecordError(f"{self.path}: {size} bytes are less than a quTAG header (40)")
        self.n_records, odd_bytes = divmod(size - _HEADER_BYTES, _RECORD.itemsize)
        self._cut = (
            (f"the last record, at byte {size - odd_bytes}, is cut off; left out",)
            if odd_bytes
            else ()
        )
        self._late = TimeOrder()
        self._summary: tuple[int, int, tuple[int, ...]] | None = None

    def _summarised(self) -> tuple[int, int, tuple[int, ...]]:
        if self._summary is None:
            first, last = 0, -1
            counts = np.zeros(256, np.int64)
            for number, chunk in enumerate(self.chunks()):
                if number == 0:
                    first = int(chunk.times_ps[0])
                last = int(chunk.times_ps[-1])
                counts += np.bincount(chunk.channels, minlength=256)
            self._summary = (first, last + 1, tuple(np.flatnonzero(counts).tolist()))
        return self._summary

    @property
    def start_ps(self) -> int:
        """Beginning of the time covered: the first tag [ps]."""
        return self._summarised()[0]

    @property
    def stop_ps(self) -> int:
        """End of the time covered: just after the last tag [ps]."""
        return self._summarised()[1]

    @property
    def duration_s(self) -> float:
        """Time covered [s]."""
        return (self.stop_ps - self.start_ps) * 1e-12

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of the channels that hold at least one tag."""
        return self._summarised()[2]

    @property
    def resolution_ps(self) -> float:
        """Step of the time-to-digital converter: 1 ps."""
        return 1.0

    @property
    def metadata(self) -> TagMetadata:
        """Only the format: the file says nothing else."""
        return TagMetadata(format="qutools quTAG binary", instrument="quTAG")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was found and put right so far; complete once the file was gone through."""
        late = (str(self._late),) if self._late.late_tags else ()
        return self._cut + late

    @property
    def late_tags(self) -> int:
        """Tags that lay before their predecessor in the file, in the last pass."""
        return self._late.late_tags

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Go through all tags in time order, about `size` at a time."""
        self._late = TimeOrder()
        yield from in_time_order(self._decoded(size), self._late)

    def _decoded(self, size: int) -> Iterator[TagChunk]:
        with self.path.open("rb") as file:
            file.seek(_HEADER_BYTES)
            for begin in range(0, self.n_records, size):
                raw = np.fromfile(file, _RECORD, min(size, self.n_records - begin))
                times, channels = raw["time_ps"], raw["channel"]
                wrong = np.flatnonzero((channels > 255) | (times < 0) | (times > 1 << 62))
                if len(wrong):
                    at = int(wrong[0])
                    byte = _HEADER_BYTES + _RECORD.itemsize * (begin + at)
                    raise RecordError(
                        f"{self.path}: the record at byte {byte} has time {int(times[at])} ps and "
                        f"channel {int(channels[at])}: the file is no quTAG file or damaged from "
                        "there on"
                    )
                yield TagChunk(times.astype(np.int64), channels.astype(np.uint8))
