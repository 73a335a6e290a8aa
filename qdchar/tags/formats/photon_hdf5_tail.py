"""The newest tags of a file that is being written, as plain records in a second file beside it.

HDF5 takes tags in chunks and has them on disk only after a flush, which costs too much to be done
for every block. So each block first goes to ``NAME.h5.tail`` with one system call: from then on a
kill of the process cannot lose it. The tail starts anew when its tags are in the HDF5 file, and is
removed when that is closed.

A tail is a header (mark, identity of its HDF5 file, number of tags in the HDF5 file before the
tail's first one) and records of 9 bytes: time in ps (int64) and channel (uint8), little-endian.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_HEADER: Final = struct.Struct("<8s16sQ")
_MARK: Final = b"qdtail01"
_RECORD: Final = np.dtype([("time_ps", "<i8"), ("channel", "u1")])
_BINARY: Final = getattr(os, "O_BINARY", 0)
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY
_APPEND: Final = os.O_WRONLY | os.O_APPEND | _BINARY
_MOST_BYTES: Final = 1 << 31
"""A tail holds seconds of tags; what is longer is no tail."""


def tail_of(path: Path) -> Path:
    """Name the tail of an HDF5 file."""
    return path.with_name(path.name + ".tail")


class TailWriter:
    """Writes the tail of an HDF5 file.

    Parameters
    ----------
    path
        The HDF5 file.
    identity
        Random bytes, shape (16,), that the HDF5 file holds, too.
    """

    def __init__(self, path: Path, identity: bytes) -> None:
        self._path = tail_of(path)
        self._identity = identity
        self._descriptor = -1
        self.size = 0
        """Bytes in it now."""
        self.restart(0, [], [])

    def append(self, times_ps: NDArray[np.int64], channels: NDArray[np.uint8]) -> None:
        """Add tags. Raises OSError if the disk is full."""
        records = np.empty(len(times_ps), _RECORD)
        records["time_ps"], records["channel"] = times_ps, channels
        _write(self._descriptor, records.view(np.uint8).data)
        self.size += records.nbytes

    def restart(
        self, before: int, times_ps: list[NDArray[np.int64]], channels: list[NDArray[np.uint8]]
    ) -> None:
        """Begin anew with the tags that are not in the HDF5 file yet, in one step.

        Parameters
        ----------
        before
            Number of tags that are safe in the HDF5 file.
        times_ps, channels
            Blocks of the tags after them.
        """
        self._close()
        fresh = self._path.with_name(self._path.name + ".partial")
        self._descriptor = os.open(fresh, _CREATE, 0o666)
        _write(self._descriptor, _HEADER.pack(_MARK, self._identity, before))
        for block in zip(times_ps, channels, strict=True):
            self.append(*block)
        self._close()  # Windows renames no file that is open
        fresh.replace(self._path)
        self._descriptor = os.open(self._path, _APPEND)
        self.size = os.fstat(self._descriptor).st_size

    def close(self, *, remove: bool) -> None:
        """Close the tail, and remove it where the HDF5 file holds everything."""
        self._close()
        if remove:
            with suppress(OSError):
                self._path.unlink()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _write(descriptor: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@dataclass(frozen=True)
class Tail:
    """What a tail holds.

    Attributes
    ----------
    identity
        Of its HDF5 file.
    before
        Number of tags in the HDF5 file before the tail's first one.
    times_ps, channels
        Shape (n,), the tags from there on [ps].
    """

    identity: bytes
    before: int
    times_ps: NDArray[np.int64]
    channels: NDArray[np.uint8]


def read_tail(path: Path) -> Tail | None:
    """Read what lies beside an HDF5 file that was not closed; None if there is no tail.

    Read it before the HDF5 file: that has then at least the tags from before the tail.
    """
    if not tail_of(path).is_file():
        return None
    try:
        with tail_of(path).open("rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError:
        return None
    if len(data) < _HEADER.size:
        return None
    mark, identity, before = _HEADER.unpack_from(data)
    if mark != _MARK:
        return None
    count = (len(data) - _HEADER.size) // _RECORD.itemsize  # the last record may be cut off
    records: NDArray[Any] = np.frombuffer(data, _RECORD, count, _HEADER.size)
    return Tail(
        identity,
        int(before),
        records["time_ps"].astype(np.int64),
        records["channel"].astype(np.uint8),
    )
