"""Write our own tag file: HDF5 in the Photon-HDF5 layout, safe against a kill while it is written.

The layout is that of Ingargiola et al., Biophys. J. 110, 26 (2016), version 0.5: the datasets
``photon_data/timestamps`` (int64, picoseconds) and ``photon_data/detectors`` (uint8), so that any
Photon-HDF5 program reads it. The file is written in HDF5's single-writer-multiple-reader mode:
whatever was flushed stays readable when the process dies, and can be read while the run goes on.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from qdchar import __version__
from qdchar.errors import RecordError
from qdchar.files import reserve_space, writing

from .photon_hdf5_recovery import end_of_file
from .photon_hdf5_tail import TailWriter

_CHUNK: Final = 1 << 16
_FLUSH_S: Final = 1.0
_TAG_BYTES: Final = 9
_STEP_BYTES: Final = 1 << 22
_MARGIN_BYTES: Final = 1 << 20
"""For what HDF5 writes besides tags, up to its last word on closing."""
_TAIL_BYTES: Final = 1 << 26


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
    Each block is at once written to a second file, see `photon_hdf5_tail`, so that a kill loses no
    tag that was appended. The HDF5 file takes tags in full chunks of 65 536, the rest when it is
    flushed or closed. If the disk is full, what was written until then stays readable.

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
        self._failed = False
        if self.path.exists():
            raise RecordError(f"{self.path} exists already: choose another name")
        with writing(self.path):
            _try_room(self.path)
            self._file = h5py.File(self.path, "x", libver="latest")
            self._descriptor = os.open(self.path, os.O_RDWR)
            self._reserve(0)
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
        tail_identity = secrets.token_bytes(16)
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
            "tail": tail_identity.hex(),
        }
        user.attrs["about"] = np.bytes_(json.dumps(about, default=np.generic.item).encode())
        self._span = user.create_dataset("span_ps", data=_checked_span(start_ps, start_ps))
        file.swmr_mode = True
        with writing(self.path):
            self._tail = TailWriter(self.path, tail_identity)

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
        RunFolderError
            If the disk is full; nothing can be added then.
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
            with self._or_fail():
                self._tail.append(times, numbers)
            self._last_ps = int(times[-1])
            self._times.append(times)
            self._channels.append(numbers)
            self._waiting += len(times)
            self.stop_ps = max(self.stop_ps, self._last_ps + 1)
        if covered_until_ps is not None:
            self.cover(covered_until_ps)
        full = self._waiting >= _CHUNK
        if full and (
            time.monotonic() - self._flushed_at > _FLUSH_S or self._tail.size > _TAIL_BYTES
        ):
            self._flush(whole_chunks=True)
        elif full:
            self._write(whole_chunks=True)

    def cover(self, until_ps: int) -> None:
        """Say that time is covered until `until_ps`, with or without further tags [ps]."""
        if until_ps < self.stop_ps:
            raise RecordError(
                f"time covered until {until_ps} ps, yet tags reach {self._last_ps} ps"
            )
        self.stop_ps = int(until_ps)

    def flush(self) -> None:
        """Bring everything so far into the HDF5 file, for readers that know nothing of its tail."""
        self._flush(whole_chunks=False)

    def _flush(self, *, whole_chunks: bool) -> None:
        self._write(whole_chunks=whole_chunks)
        with self._or_fail():
            self._span[:] = _checked_span(self.start_ps, self.stop_ps)
            self._duration[()] = (self.stop_ps - self.start_ps) * 1e-12
            self._file.flush()
            self._tail.restart(self.tags_written, self._times, self._channels)
        self._flushed_at = time.monotonic()

    @contextmanager
    def _or_fail(self) -> Iterator[None]:
        """After an error of the disk write nothing more, so that what is there stays sound."""
        try:
            with writing(self.path):
                if self._failed:
                    raise OSError(errno.ENOSPC, "an earlier block did not fit")
                yield
        except BaseException:
            self._failed = True
            raise

    def _reserve(self, tags: int) -> None:
        """Take the room that HDF5 will need: it ends the process where a disk is full."""
        size = self._file.id.get_filesize() + (tags + 2 * _CHUNK) * _TAG_BYTES + _MARGIN_BYTES
        reserve_space(self._descriptor, -(-size // _STEP_BYTES) * _STEP_BYTES)

    def _write(self, *, whole_chunks: bool) -> None:
        if not self._waiting:
            return
        times, channels = np.concatenate(self._times), np.concatenate(self._channels)
        end = self.tags_written + len(times)
        if whole_chunks:
            end -= end % _CHUNK
        count = end - self.tags_written
        if count > 0:
            with self._or_fail():
                self._reserve(count)
                self._store(times[:count], channels[:count])
            times, channels = times[count:], channels[count:]
        self._times, self._channels, self._waiting = [times], [channels], len(times)

    def _store(self, times: NDArray[np.int64], channels: NDArray[np.uint8]) -> None:
        end = self.tags_written + len(times)
        for dataset, values in ((self._timestamps, times), (self._detectors, channels)):
            dataset.resize((end,))
            dataset[self.tags_written : end] = values
        self.tags_written = end

    def close(self) -> None:
        """Flush and close; after an error only close."""
        if not self._file.id.valid:
            return
        try:
            if not self._failed:
                self.flush()
        finally:
            self._file.close()
            os.close(self._descriptor)
            _give_back(self.path)
            self._tail.close(remove=not self._failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _try_room(path: Path) -> None:
    """Try whether the disk has room for a new file. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        reserve_space(descriptor, 2 * _STEP_BYTES)
    finally:
        os.close(descriptor)
        path.unlink()


def _give_back(path: Path) -> None:
    """Give back the room that was reserved behind the end that HDF5 noted."""
    with path.open("r+b") as file:
        end = end_of_file(file.read(64))
        if end is not None:
            file.truncate(end)


def _checked_span(start_ps: int, stop_ps: int) -> NDArray[np.int64]:
    return np.array([start_ps, stop_ps, start_ps ^ stop_ps], np.int64)
