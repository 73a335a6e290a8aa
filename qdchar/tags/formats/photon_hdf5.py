"""Our own tag file: HDF5 in the Photon-HDF5 layout, safe against a kill while it is written.

The layout is that of Ingargiola et al., Biophys. J. 110, 26 (2016), version 0.5: the datasets
``photon_data/timestamps`` (int64, picoseconds) and ``photon_data/detectors`` (uint8), so that any
Photon-HDF5 program reads it. The file is written in HDF5's single-writer-multiple-reader mode:
whatever was flushed stays readable when the process dies, and can be read while the run goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from qdchar import __version__
from qdchar.errors import RecordError

from ..source import CHUNK_TAGS, TagChunk, TagMetadata
from .photon_hdf5_recovery import AsClosed, is_marked_open

_CHUNK: Final = 1 << 16
_FLUSH_S: Final = 1.0
_KEPT_TAGS: Final = 1 << 23
"""A file of up to so many tags, 75 MB, is unpacked once: an analysis reads it several times."""


class TagWriter:
    """Write tags block by block.

    Parameters
    ----------
    path
        File to make; must not exist.
    resolution_ps
        Step of the time-to-digital converter [ps].
    start_ps
        Beginning of the time covered [ps].
    instrument, comment, created
        For the reader of the file; `created` in ISO 8601.
    sync_period_ps
        Pulse period, where the instrument gave one [ps].
    attributes
        Further facts, name to value, kept with the tags.

    Notes
    -----
    Tags are handed to the file in full chunks of 65 536 tags, and at least every second; `flush`
    does it at once. What is on disk then survives a kill.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> path = Path(tempfile.mkdtemp()) / "run.h5"
    >>> with TagWriter(path, resolution_ps=1.0) as writer:
    ...     writer.append(np.array([10, 20]), np.array([0, 1]), covered_until_ps=1000)
    >>> StoredTags(path).duration_s
    1e-09
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        resolution_ps: float,
        start_ps: int = 0,
        instrument: str = "",
        comment: str = "",
        created: str = "",
        sync_period_ps: float | None = None,
        attributes: Mapping[str, str | int | float | bool] | None = None,
    ) -> None:
        self.path = Path(path)
        self.start_ps = start_ps
        self.stop_ps = start_ps
        self.tags_written = 0
        self._last_ps = start_ps
        self._times: list[NDArray[np.int64]] = []
        self._channels: list[NDArray[np.uint8]] = []
        self._waiting = 0
        self._flushed_at = time.monotonic()
        try:
            self._file = h5py.File(self.path, "x", libver="latest")
        except FileExistsError as error:
            raise RecordError(f"{self.path} exists already: choose another name") from error
        file = self._file
        file.attrs["format_name"] = "Photon-HDF5"
        file.attrs["format_version"] = "0.5"
        file["description"] = comment or "photon time tags"
        # Scalar datasets, not attributes: only these may change while readers look on.
        self._duration = file.create_dataset("acquisition_duration", data=0.0)
        data = file.create_group("photon_data")
        data["timestamps_specs/timestamps_unit"] = 1e-12
        self._timestamps = data.create_dataset(
            "timestamps", (0,), np.int64, maxshape=(None,), chunks=(_CHUNK,),
            shuffle=True, compression="lzf", fletcher32=True,
        )  # fmt: skip
        self._detectors = data.create_dataset(
            "detectors",
            (0,),
            np.uint8,
            maxshape=(None,),
            chunks=(_CHUNK,),
            compression="lzf",
            fletcher32=True,
        )
        identity = file.create_group("identity")
        identity["software"] = "qdchar"
        identity["software_version"] = __version__
        identity["format_name"] = "Photon-HDF5"
        identity["format_version"] = "0.5"
        identity["format_url"] = "http://photon-hdf5.readthedocs.io/"
        user = file.create_group("user/qdchar")
        # Tags and object headers have checksums in the file. A plain dataset has none, so the span
        # carries its own and the unit is kept a second time; strings of variable length lie in a
        # heap without one, on which a damaged byte can send the HDF5 library round in circles, so
        # everything else is one string of fixed length in the object header.
        about = {
            "timestamps_unit": 1e-12,
            "resolution_ps": float(resolution_ps),
            "instrument": instrument,
            "created": created,
            "comment": comment,
            "sync_period_ps": None if sync_period_ps is None else float(sync_period_ps),
            "attributes": dict(attributes or {}),
        }
        user.attrs["about"] = np.bytes_(json.dumps(about, default=np.generic.item).encode())
        self._span = user.create_dataset("span_ps", data=_checked_span(start_ps, start_ps))
        file.swmr_mode = True

    def append(
        self,
        times_ps: NDArray[np.int64],
        channels: NDArray[np.integer[Any]],
        *,
        covered_until_ps: int | None = None,
    ) -> None:
        """Add tags, and say how far time is covered.

        Parameters
        ----------
        times_ps, channels
            Shape (n,); times sorted and not before those already written [ps].
        covered_until_ps
            End of the block; without it, just after its last tag [ps].

        Raises
        ------
        RecordError
            If the block is not sorted, goes back in time, or reaches beyond `covered_until_ps`.
        """
        times = np.array(times_ps, dtype=np.int64)
        numbers = np.array(channels, dtype=np.uint8)
        if times.ndim != 1 or times.shape != numbers.shape:
            raise RecordError(
                "tags need one channel for each time, got arrays of shape "
                f"{times.shape} (times) and {numbers.shape} (channels)"
            )
        if len(times):
            if times[0] < self._last_ps or np.any(times[1:] < times[:-1]):
                raise RecordError(
                    f"block from {int(times[0])} ps is not in time order after {self._last_ps} ps"
                )
            self._last_ps = int(times[-1])
            self._times.append(times)
            self._channels.append(numbers)
            self._waiting += len(times)
            self.stop_ps = max(self.stop_ps, self._last_ps + 1)
        if covered_until_ps is not None:
            self.cover(covered_until_ps)
        if time.monotonic() - self._flushed_at > _FLUSH_S:
            self.flush()
        elif self._waiting >= _CHUNK:
            self._write(whole_chunks=True)

    def cover(self, until_ps: int) -> None:
        """Say that time is covered until `until_ps`, with or without further tags [ps]."""
        if until_ps < self.stop_ps:
            raise RecordError(
                f"time covered until {until_ps} ps, yet tags reach {self._last_ps} ps"
            )
        self.stop_ps = int(until_ps)

    def flush(self) -> None:
        """Bring everything so far to disk; it then survives a kill."""
        self._write(whole_chunks=False)
        self._span[:] = _checked_span(self.start_ps, self.stop_ps)
        self._duration[()] = (self.stop_ps - self.start_ps) * 1e-12
        self._file.flush()
        self._flushed_at = time.monotonic()

    def _write(self, *, whole_chunks: bool) -> None:
        if not self._waiting:
            return
        times, channels = np.concatenate(self._times), np.concatenate(self._channels)
        end = self.tags_written + len(times)
        if whole_chunks:
            end -= end % _CHUNK
        count = end - self.tags_written
        if count > 0:
            for dataset, values in ((self._timestamps, times), (self._detectors, channels)):
                dataset.resize((end,))
                dataset[self.tags_written : end] = values[:count]
            self.tags_written = end
            times, channels = times[count:], channels[count:]
        self._times, self._channels, self._waiting = [times], [channels], len(times)

    def close(self) -> None:
        """Flush and close."""
        if self._file.id.valid:
            self.flush()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _checked_span(start_ps: int, stop_ps: int) -> NDArray[np.int64]:
    return np.array([start_ps, stop_ps, start_ps ^ stop_ps], np.int64)


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


class StoredTags:
    """Tags of a Photon-HDF5 file as a source; also of a file that is still being written.

    Raises
    ------
    RecordError
        If the file is not Photon-HDF5, or its datasets do not fit together.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
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
        timestamps, detectors = data["timestamps"], data["detectors"]
        unit_s = float(data["timestamps_specs/timestamps_unit"][()])
        for dataset in (timestamps, detectors):
            if dataset.ndim != 1 or dataset.dtype.kind not in "iu" or dataset.dtype.itemsize > 8:
                raise RecordError(
                    f"{self.path}: {dataset.name} is {dataset.dtype} of shape {dataset.shape}; "
                    "wanted one row of integers"
                )
        # The two are written one after the other: after a kill one may be a block ahead.
        self._length = min(len(timestamps), len(detectors))
        self._surplus = max(len(timestamps), len(detectors)) - self._length
        self._unit_ps = self._resolution = unit_s * 1e12
        if not 1e-3 <= self._unit_ps <= 1e9:
            raise RecordError(f"{self.path}: timestamps_unit {unit_s:g} s is not a time-tag unit")
        self._span: tuple[int, int] | None = None
        self._metadata = TagMetadata(format="Photon-HDF5")
        if "user/qdchar" in file:
            user = file["user/qdchar"]
            about = json.loads(bytes(user.attrs["about"]))
            self._resolution = float(about["resolution_ps"])
            begin, end, check = (int(value) for value in user["span_ps"][:])
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
        if self._length:
            # Tags written after the span's last update count, and files of others have no span.
            first = int(self._scaled(timestamps[:1])[0])
            last = int(self._scaled(timestamps[self._length - 1 : self._length])[0])
            begin, end = self._span or (first, last + 1)
            self._span = begin, max(end, last + 1)

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
                detectors = file["photon_data/detectors"]
                for begin in range(0, self._length, CHUNK_TAGS):
                    part = detectors[begin : min(begin + CHUNK_TAGS, self._length)]
                    counts += np.bincount(self._numbers(part, begin), minlength=256)
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
        if not self._surplus:
            return ()
        return (
            f"{self._surplus} tags at the end are incomplete (the writer was killed); left out",
        )

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

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Go through all tags, `size` at a time."""
        if self._length > _KEPT_TAGS:
            yield from self._read(size)
            return
        if self._kept is None:
            parts = list(self._read(CHUNK_TAGS))
            self._kept = TagChunk(
                np.concatenate([p.times_ps for p in parts] or [np.empty(0, np.int64)]),
                np.concatenate([p.channels for p in parts] or [np.empty(0, np.uint8)]),
            )
        for begin in range(0, self._length, size):
            part = slice(begin, begin + size)
            yield TagChunk(self._kept.times_ps[part], self._kept.channels[part])

    def _read(self, size: int) -> Iterator[TagChunk]:
        previous = self.start_ps
        with _open(self.path) as file:
            timestamps, detectors = file["photon_data/timestamps"], file["photon_data/detectors"]
            for begin in range(0, self._length, size):
                part = slice(begin, min(begin + size, self._length))
                try:
                    times = self._scaled(timestamps[part])
                    channels = self._numbers(detectors[part], begin)
                except (OSError, RuntimeError) as error:
                    raise RecordError(
                        f"{self.path}: tags {part.start} to {part.stop} are damaged: {error}"
                    ) from error
                if times[0] < previous or np.any(times[1:] < times[:-1]):
                    raise RecordError(
                        f"{self.path}: tags {part.start} to {part.stop} are not in time order"
                    )
                previous = int(times[-1])
                yield TagChunk(times, channels)
