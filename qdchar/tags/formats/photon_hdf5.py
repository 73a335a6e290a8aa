"""Read our own tag file and other Photon-HDF5 files, also one whose writer was killed.

See `photon_hdf5_writer` for the layout, and `photon_hdf5_tail` for the newest tags of a file that
was not closed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from qdchar.errors import RecordError

from ..source import CHUNK_TAGS, TagChunk, TagMetadata, TimeOrder, in_time_order
from .photon_hdf5_items import number_of, row_of
from .photon_hdf5_nanotimes import Nanotimes, read_nanotimes
from .photon_hdf5_recovery import AsClosed, is_marked_open
from .photon_hdf5_tail import read_tail

_KEPT_TAGS: Final = 1 << 23
"""A file of up to so many tags, 75 MB, is unpacked once: an analysis reads it several times."""

_MOST_CHUNK_BYTES: Final = 1 << 28
"""256 MiB; writers use chunks of a thousandth of it."""


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    try:
        with path.open("rb") as file:
            marked = is_marked_open(file.read(64))
        with (
            AsClosed(path) if marked else nullcontext(path) as target,
            h5py.File(target, "r", locking=False) as opened,
        ):
            yield opened
    except (OSError, ValueError, RuntimeError) as error:
        raise RecordError(f"{path} cannot be read as HDF5: {error}") from error


def _refuse_large_chunks(path: Path, dataset: h5py.Dataset) -> None:
    """Refuse a file whose chunks unpack to more than memory should hold: each is unpacked whole."""
    size = (dataset.chunks or (0,))[0] * dataset.dtype.itemsize
    if size > _MOST_CHUNK_BYTES:
        raise RecordError(
            f"{path}: a chunk of {dataset.name} unpacks to {size} bytes; at most "
            f"{_MOST_CHUNK_BYTES} are read. Rewrite it with smaller chunks, e.g. with h5repack"
        )


def _refuse_unwritten(path: Path, dataset: h5py.Dataset, length: int) -> None:
    """Refuse a file that claims more tags than it holds chunks for."""
    if dataset.chunks is None:
        held = dataset.id.get_storage_size() // dataset.dtype.itemsize
    else:
        held = dataset.id.get_num_chunks() * dataset.chunks[0]
    if length > held:
        raise RecordError(
            f"{path}: {dataset.name} claims {length} tags, but the file has room for {held}: it is "
            "damaged, or was not copied completely"
        )


class StoredTags:
    """Tags of a Photon-HDF5 file as a source; also of a file that is still being written.

    Raises
    ------
    RecordError
        If the file is not Photon-HDF5, or its datasets do not fit together.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._tail = read_tail(self.path)
        with _open(self.path) as file:
            try:
                self._read_head(file)
            except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
                raise RecordError(
                    f"{self.path} is HDF5, but not Photon-HDF5 with one photon_data group, or "
                    f"damaged: {error}"
                ) from error
        self._channels: tuple[int, ...] | None = None
        self._kept: TagChunk | None = None

    def _read_head(self, file: h5py.File) -> None:
        data = file["photon_data"]
        timestamps, detectors = row_of(data, "timestamps"), row_of(data, "detectors")
        unit_s = number_of(data, "timestamps_specs/timestamps_unit")
        for dataset in (timestamps, detectors):
            _refuse_large_chunks(self.path, dataset)
        # The two are written one after the other: after a kill one may be a block ahead.
        self._length = self._stored = min(len(timestamps), len(detectors))
        self._surplus = max(len(timestamps), len(detectors)) - self._length
        self._unit_ps = self._resolution = unit_s * 1e12
        if not 1e-3 <= self._unit_ps <= 1e9:
            raise RecordError(f"{self.path}: timestamps_unit {unit_s:g} s is not a time-tag unit")
        self._span: tuple[int, int] | None = None
        self._nanotimes: Nanotimes | None = None
        self._not_used = ""
        self._metadata = TagMetadata(format="Photon-HDF5")
        if "user/qdchar" in file:
            user = file["user/qdchar"]
            about = json.loads(bytes(user.attrs["about"]))
            self._resolution = float(about["resolution_ps"])
            span_ps = row_of(user, "span_ps")
            if len(span_ps) != 3:
                raise ValueError(f"{span_ps.name} has {len(span_ps)} numbers, not 3")
            begin, end, check = (int(value) for value in span_ps[:])
            if begin ^ end != check or begin > end or unit_s != about["timestamps_unit"]:
                raise RecordError(
                    f"{self.path}: time covered ({begin} to {end} ps) or unit ({unit_s:g} s) do "
                    "not agree with their check values: the file is damaged"
                )
            self._span = begin, end
            self._metadata = TagMetadata(
                format="Photon-HDF5",
                instrument=about["instrument"],
                created=about["created"],
                comment=about["comment"],
                sync_period_ps=about["sync_period_ps"],
                attributes=about["attributes"],
            )
            self._take_tail(about.get("tail", ""))
        else:
            self._tail = None
            self._nanotimes, self._not_used = read_nanotimes(self.path, file, self._unit_ps)
        if self._nanotimes is not None:
            self._resolution = self._nanotimes.step_ps
            self._metadata = TagMetadata(
                format="Photon-HDF5 with nanotimes", sync_period_ps=self._nanotimes.period_ps
            )
        _refuse_unwritten(self.path, timestamps, self._stored)
        _refuse_unwritten(self.path, detectors, self._stored)
        if self._length:
            # Tags written after the span's last update count, and files of others have no span.
            first = int(self._part(file, 0, 1)[0][0])
            last = int(self._part(file, self._length - 1, self._length)[0][0])
            begin, end = self._span or (first, last + 1)
            self._span = begin, max(end, last + 1)
            if self._nanotimes is not None:  # whole pulse periods
                step = self._nanotimes.step_ps
                nano = int(file["photon_data/nanotimes"][0])
                self._span = first - round(nano * step), last + math.ceil(self._unit_ps)

    def _take_tail(self, identity: str) -> None:
        """Count the tail's tags in, which begin where the HDF5 file is sure to hold all before."""
        tail = self._tail
        if tail is None or tail.identity.hex() != identity or tail.before > self._stored:
            self._tail = None
            return
        self._stored, self._surplus = tail.before, 0
        self._length = tail.before + len(tail.times_ps)

    def __len__(self) -> int:
        return self._length

    @property
    def start_ps(self) -> int:
        """Beginning of the time covered [ps]."""
        return self._span[0] if self._span else 0

    @property
    def stop_ps(self) -> int:
        """End of the time covered [ps]."""
        return self._span[1] if self._span else 0

    @property
    def duration_s(self) -> float:
        """Time covered [s]."""
        return (self.stop_ps - self.start_ps) * 1e-12

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of the channels that hold at least one tag."""
        if self._channels is None:
            counts = np.zeros(256, np.int64)
            with _open(self.path) as file:
                for begin in range(0, self._length, CHUNK_TAGS):
                    end = min(begin + CHUNK_TAGS, self._length)
                    counts += np.bincount(self._channels_of(file, begin, end), minlength=256)
            self._channels = tuple(np.flatnonzero(counts).tolist())
        return self._channels

    @property
    def resolution_ps(self) -> float:
        """Step of the time-to-digital converter [ps]."""
        return self._resolution

    @property
    def metadata(self) -> TagMetadata:
        """What the file says besides the tags."""
        return self._metadata

    @property
    def warnings(self) -> tuple[str, ...]:
        """Traces of a writer that was killed."""
        found = [self._not_used] if self._not_used else []
        if self._surplus:
            found.append(
                f"{self._surplus} tags at the end are incomplete (the writer was killed); left out"
            )
        return tuple(found)

    def _scaled(self, timestamps: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        if timestamps.max(initial=0) > (1 << 62) / max(self._unit_ps, 1.0):
            raise RecordError(f"{self.path}: a timestamp of {timestamps.max()} is beyond 53 days")
        times: NDArray[np.int64] = timestamps.astype(np.int64)
        unit = round(self._unit_ps)
        if abs(self._unit_ps - unit) <= 1e-9 * self._unit_ps:
            return times * unit if unit != 1 else times
        # whole and fractional part apart, so that the product stays exact to 1e-3 ps
        whole = int(self._unit_ps)
        rest: NDArray[np.int64] = np.rint(times * (self._unit_ps - whole)).astype(np.int64)
        return times * whole + rest

    def _numbers(self, detectors: NDArray[np.integer[Any]], begin: int) -> NDArray[np.uint8]:
        if detectors.min(initial=0) < 0 or detectors.max(initial=0) > 255:
            raise RecordError(
                f"{self.path}: tags {begin} to {begin + len(detectors) - 1} have detector numbers "
                f"from {detectors.min()} to {detectors.max()}; only 0 to 255 are allowed"
            )
        numbers: NDArray[np.uint8] = detectors.astype(np.uint8)
        return numbers

    def _channels_of(self, file: h5py.File, begin: int, end: int) -> NDArray[np.uint8]:
        stored = file["photon_data/detectors"][begin : min(end, self._stored)]
        channels = self._numbers(stored, begin)
        if self._tail is None or end <= self._stored:
            return channels
        rest = slice(max(begin - self._stored, 0), end - self._stored)
        return np.concatenate([channels, self._tail.channels[rest]])

    def _part(
        self, file: h5py.File, begin: int, end: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Read times [ps] and channels of some tags, from the HDF5 file and its tail."""
        macro = file["photon_data/timestamps"][begin : min(end, self._stored)]
        times = self._scaled(macro)
        if self._nanotimes is not None:
            nano = file["photon_data/nanotimes"][begin : min(end, self._stored)]
            times = self._nanotimes.times(macro, nano)
        if self._tail is not None and end > self._stored:
            rest = slice(max(begin - self._stored, 0), end - self._stored)
            times = np.concatenate([times, self._tail.times_ps[rest]])
        return times, self._channels_of(file, begin, end)

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Go through all tags, `size` at a time."""
        if self._length > _KEPT_TAGS:
            yield from self._sorted(size)
            return
        if self._kept is None:
            parts = list(self._sorted(CHUNK_TAGS))
            self._kept = TagChunk(
                np.concatenate([p.times_ps for p in parts] or [np.empty(0, np.int64)]),
                np.concatenate([p.channels for p in parts] or [np.empty(0, np.uint8)]),
            )
        for begin in range(0, self._length, size):
            part = slice(begin, begin + size)
            yield TagChunk(self._kept.times_ps[part], self._kept.channels[part])

    def _sorted(self, size: int) -> Iterator[TagChunk]:
        """Read all tags; nanotimes after one pulse stand in any order."""
        if self._nanotimes is None:
            return self._read(size)
        return in_time_order(self._read(size), TimeOrder())

    def _read(self, size: int) -> Iterator[TagChunk]:
        previous = self.start_ps
        with _open(self.path) as file:
            for begin in range(0, self._length, size):
                part = slice(begin, min(begin + size, self._length))
                try:
                    times, channels = self._part(file, part.start, part.stop)
                except (OSError, RuntimeError) as error:
                    raise RecordError(
                        f"{self.path}: tags {part.start} to {part.stop} are damaged: {error}"
                    ) from error
                if self._nanotimes is None and (
                    times[0] < previous or np.any(times[1:] < times[:-1])
                ):
                    raise RecordError(
                        f"{self.path}: tags {part.start} to {part.stop} are not in time order"
                    )
                previous = int(times[-1])
                yield TagChunk(times, channels)
