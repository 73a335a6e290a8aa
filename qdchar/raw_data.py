"""Raw products of a measurement, frozen, with units and metadata, on disk before any fit.

A `Scan` is a plain CSV file, to which each line is written as soon as its point is measured. A
`TagRun` names a file of time tags (HDF5, or a vendor's format). Both can be read without qdchar.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self, TextIO

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from qdchar.errors import RecordError, RunFolderError
from qdchar.files import MAX_TABLE_BYTES, read_text, shown, writing
from qdchar.roles import Counts

_MAGIC = "# qdchar scan 1"
_MOST_CLICKS = 2.0**53
"""Beyond it a number in a text file no longer counts single clicks."""


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What a protocol can be asked; each protocol has its own, a recipe file may change them."""


class Progress(Protocol):
    """What a protocol calls to report its progress; the command line displays it."""

    def __call__(self, done: float, total: float, text: str) -> None:
        """Report `done` of `total`, with a short text on the latest result."""


def silent(done: float, total: float, text: str) -> None:
    """Take a report of progress and do nothing with it."""


@dataclass(frozen=True)
class About:
    """Where a raw product comes from.

    Attributes
    ----------
    protocol
        Stem of the protocol that measured it, e.g. ``"rabi"``.
    started
        UTC, ISO 8601.
    path
        Position of the light path, see `qdchar.roles.LightPath`.
    simulated
        Whether any instrument involved was a simulated one.
    settings
        What the protocol was asked to do, and the state in which it did it.
    """

    protocol: str
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    path: str = ""
    simulated: bool = False
    settings: Mapping[str, float | int | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Scan:
    """Clicks of the two detectors against one quantity that was set or monitored.

    Attributes
    ----------
    about
        Provenance.
    x_name
        Name of the scanned quantity with its unit: ``power_W``, ``voltage_V``, ``time_s``.
    x
        Shape (n,), in the order measured.
    clicks
        int64, shape (n, 2): detectors A and B.
    dwell_s
        Shape (n,) [s].
    file
        The CSV file.
    """

    about: About
    x_name: str
    x: NDArray[np.float64]
    clicks: NDArray[np.int64]
    dwell_s: NDArray[np.float64]
    file: Path

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class TagRun:
    """Time tags on disk, to be opened with `qdchar.tags.open_tags`.

    Attributes
    ----------
    about
        Provenance.
    file
        The HDF5 file, or the vendor's file untouched.
    channel_a, channel_b
        Channels of the two signal detectors.
    channel_sync
        Channel of the divided pulse clock.
    sync_divider
        Pulses per tag on the clock channel.
    duration_s
        Time covered [s].
    clicks
        Clicks of detectors A and B in slices of time, as counted while they were recorded, int64,
        shape (n, 2); empty for a file that was not recorded here.
    slice_s
        Length of each slice, shape (n,) [s].
    """

    about: About
    file: Path
    channel_a: int
    channel_b: int
    channel_sync: int
    sync_divider: int
    duration_s: float
    clicks: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    slice_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class ScanWriter:
    """Writes a scan to disk point by point, so that a crash loses nothing already measured."""

    def __init__(self, file: Path, x_name: str, about: About) -> None:
        self._file, self._x_name, self._about = file, x_name, about
        self._rows: list[tuple[float, int, int, float]] = []
        self._stream: TextIO | None = None

    def __enter__(self) -> Self:
        with writing(self._file):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._file.open("x", encoding="utf-8")
        self._write(
            f"{_MAGIC}\n# {json.dumps(asdict(self._about))}\n"
            f"{self._x_name},clicks_a,clicks_b,dwell_s\n"
        )
        return self

    def add(self, x: float, counts: Counts) -> None:
        """Append one point and flush it."""
        if self._stream is None:
            raise ValueError(f"{self._file}: the scan is not open for writing")
        row = (float(x), *counts.clicks, counts.dwell_s)
        self._rows.append(row)
        self._write(",".join(repr(v) for v in row) + "\n")

    def _write(self, lines: str) -> None:
        """Write lines and flush them; after an error nothing more is written."""
        assert self._stream is not None
        try:
            with writing(self._file):
                self._stream.write(lines)
                self._stream.flush()
        except RunFolderError:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            # A line that did not fit was reported when it was written.
            with suppress(OSError):
                self._stream.close()
            self._stream = None

    def scan(self) -> Scan:
        """Return what was written."""
        return _scan(self._about, self._x_name, self._rows, self._file)


def _scan(
    about: About, x_name: str, rows: Sequence[tuple[float, int, int, float]], file: Path
) -> Scan:
    return Scan(
        about=about,
        x_name=x_name,
        x=np.array([r[0] for r in rows], dtype=np.float64),
        clicks=np.array([r[1:3] for r in rows], dtype=np.int64).reshape(-1, 2),
        dwell_s=np.array([r[3] for r in rows], dtype=np.float64),
        file=file,
    )


def read_scan(file: Path) -> Scan:
    """Read a scan from CSV.

    Either a file that `ScanWriter` wrote, or a lab's own with the columns ``power_W`` or
    ``voltage_V`` (or ``time_s``), ``clicks_a``, ``clicks_b`` and ``dwell_s``. With one detector,
    ``clicks`` or ``counts`` stands for ``clicks_a`` and the second detector has none; without
    ``dwell_s``, one second is taken.

    Raises
    ------
    RecordError
        If a column is missing, or a cell is not a number or not possible; names the line.
    """
    text = read_text(file, RecordError, MAX_TABLE_BYTES)
    lines = list(enumerate(text.replace("\r\n", "\n").split("\n"), start=1))
    about = About(protocol="", started="")
    if lines and lines[0][1] == _MAGIC:
        about = _about(file, lines[1][1] if len(lines) > 1 else "")
    table = [(n, text) for n, text in lines if text.strip() and not text.startswith("#")]
    if len(table) < 2:
        raise RecordError(f"{file}: no data below the header line; was the scan broken off?")
    header = [name.strip() for name in next(csv.reader([table[0][1]]))]
    x_name = next((h for h in header if h in ("power_W", "voltage_V", "time_s")), None)
    first = next((h for h in header if h in ("clicks_a", "clicks", "counts")), None)
    if x_name is None or first is None:
        raise RecordError(
            f"{file}: columns are {', '.join(header)}; needed are power_W or voltage_V, and "
            "clicks_a and clicks_b (or counts)"
        )
    rows = [_row(file, n, text, header, x_name, first) for n, text in table[1:]]
    return _scan(about, x_name, rows, file)


def _about(file: Path, line: str) -> About:
    """Read the provenance, the second line of a file that `ScanWriter` wrote."""
    try:
        about = About(**json.loads(line[2:]))
        if not isinstance(about.settings, dict):
            raise TypeError("settings are not a table")
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordError(f"{file}, line 2: not the description of a scan: {error}") from None
    return about


def _row(
    file: Path, n: int, text: str, header: Sequence[str], x_name: str, first: str
) -> tuple[float, int, int, float]:
    """Read one point, and check that clicks and dwell are possible."""
    try:
        values = next(csv.reader([text]))
        if len(values) != len(header):
            raise ValueError(f"{len(values)} values where the header names {len(header)}")
        cells = dict(zip(header, map(float, values), strict=True))
    except (ValueError, csv.Error) as error:
        raise RecordError(f"{file}, line {n}: {shown(text.strip())}: {error}") from None
    x, dwell_s = cells[x_name], cells.get("dwell_s", 1.0)
    clicks = (cells[first], cells.get("clicks_b", 0.0))
    if not math.isfinite(x):
        raise RecordError(f"{file}, line {n}: {x_name} is {x:g}, which is not a number")
    if not all(0 <= c <= _MOST_CLICKS for c in clicks):
        raise RecordError(
            f"{file}, line {n}: {clicks[0]:g} and {clicks[1]:g} clicks: from 0 to "
            f"{_MOST_CLICKS:g} are possible"
        )
    if not 0 < dwell_s < math.inf:
        raise RecordError(f"{file}, line {n}: dwell_s is {dwell_s:g}, must be more than 0 s")
    return x, int(clicks[0]), int(clicks[1]), dwell_s
