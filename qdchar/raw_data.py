"""Raw products of a measurement, frozen, with units and metadata, on disk before any fit.

A `Scan` is a plain CSV file, to which each line is written as soon as its point is measured. A
`TagRun` names a file of time tags (HDF5, or a vendor's format). Both can be read without qdchar.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self, TextIO

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import RecordError, RunFolderError, UsageError
from qdchar.files import MAX_TABLE_BYTES, PathLike, read_text, writing
from qdchar.roles import Counts
from qdchar.text_table import TextTable, parse_text_table, unit_of
from qdchar.toml_table import TomlTable

_MAGIC = "# qdchar scan 1"
_MOST_CLICKS = 2.0**53
"""Beyond it a number in a text file no longer counts single clicks."""
_SMALLEST, _LARGEST = 1e-30, 1e12
"""Of what is scanned, in SI units: beyond, arithmetic overflows, and no lab is there."""
_SHORTEST_S, _LONGEST_S = 1e-12, 1e9


class Settings(TomlTable):
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


_X_NAMES = {"W": "power_W", "V": "voltage_V", "s": "time_s"}
_CLICKS = ("clicks_a", "counts_a", "clicks", "counts")
_CLICKS_B = ("clicks_b", "counts_b")
_DWELL = (
    "dwell", "dwell_time", "integration_time", "int_time", "t_int", "exposure", "exposure_time",
    "acquisition_time", "acq_time", "counting_time", "count_time", "gate_time",
)  # fmt: skip
_TIMES = ("", "t", "time", "timestamp", "elapsed", "elapsed_time")
"""Names of a column that tells when a point was measured."""
_NOT_LINEAR = re.compile(r"sqrt|√|root|log|\^|squared")
_MOST_POWER_W = 10.0
"""Of light on a sample; more is a unit such as MW for mW."""


def read_scan(file: PathLike, x_name: str | None = None) -> Scan:
    """Read a scan from a text table.

    Either a file that `ScanWriter` wrote, or a lab's own, in any form that `qdchar.text_table`
    reads, with the columns ``power_W`` or ``voltage_V`` (or ``time_s``), ``clicks_a``, ``clicks_b``
    and ``dwell_s``; units may have prefixes, as in ``power_nW`` or ``Power (nW)``; a power may be
    in dBm. With one
    detector, ``clicks`` or ``counts`` stands for ``clicks_a`` and the second detector has none;
    without ``dwell_s``, one second is taken.

    Parameters
    ----------
    file
        The file.
    x_name
        Name of the scanned quantity, ``"power_W"`` for instance. It is needed only where the file
        has several that could be it.

    Raises
    ------
    RecordError
        If a column is missing, or a cell is not a number or not possible; names the line.
    UsageError
        If the header leaves open which column or which unit is meant.
    """
    file = Path(file)
    text = read_text(file, RecordError, MAX_TABLE_BYTES, table=True)
    about = About(protocol="", started="")
    lines = text.split("\n", 2)
    if lines[0].rstrip("\r") == _MAGIC:
        about = _about(file, lines[1].rstrip("\r") if len(lines) > 1 else "")
    table = parse_text_table(file, text)
    x_name, x = _scanned(table, x_name)
    a, b, dwell = (_find(table, names) for names in (_CLICKS, _CLICKS_B, _DWELL))
    if a is None:
        raise RecordError(f"{file}: {_columns_are(table)} clicks_a and clicks_b (or counts)")
    for index in (a, b):
        if index is not None and table.columns[index].unit:
            raise RecordError(
                f"{file}: {table.columns[index].text} is a rate, which has lost its statistics; "
                "give counts and dwell_s"
            )
    dwell_s = np.ones(len(x))
    if dwell is None:
        _refuse_other_times(table)
    else:
        unit = unit_of(table.columns[dwell].unit)
        if unit is None or unit[0] != "s":
            raise UsageError(f"{file}: name the unit of the dwell in the header, as in 'dwell_s'")
        dwell_s = table.values[:, dwell] * unit[1]
    clicks = np.zeros((len(x), 2))
    clicks[:, 0] = table.values[:, a]
    if b is not None:
        clicks[:, 1] = table.values[:, b]
    for line, at, (n_a, n_b), each in zip(table.lines, x, clicks, dwell_s, strict=True):
        _check_row(f"{file}, line {line}", x_name, at, (n_a, n_b), each)
    return Scan(about, x_name, x, clicks.astype(np.int64), dwell_s, file)


def _refuse_other_times(table: TextTable) -> None:
    """Refuse a time that may be the dwell, rather than count for one second."""
    for column in table.columns:
        unit = unit_of(column.unit)
        if unit is not None and unit[0] == "s" and column.name not in _TIMES:
            raise UsageError(
                f"{table.path}: is {column.text} the counting time of each point? Then call it "
                "'dwell_s' (or dwell_ms), otherwise leave it out"
            )


def _scanned(table: TextTable, wanted: str | None) -> tuple[str, NDArray[np.float64]]:
    """Return name and values of the scanned quantity, in its SI unit."""
    found: dict[str, tuple[int, float]] = {}
    for k, column in enumerate(table.columns):
        unit = ("W", 0.0) if column.unit == "dBm" else unit_of(column.unit)
        if unit is not None and unit[0] in _X_NAMES and column.name not in _DWELL:
            name = _X_NAMES[unit[0]]
            if _NOT_LINEAR.search(column.name):
                raise RecordError(
                    f"{table.path}: {column.text} is not proportional to the quantity itself: "
                    f"{name} is needed"
                )
            if name in found:
                raise UsageError(f"{table.path}: {_columns_are(table)} one column of {name}")
            found[name] = k, unit[1]
    if wanted is None and len(found) > 1:  # power or voltage against time is no scan of time
        found.pop("time_s", None)
    name = wanted or next(iter(found), "")
    if name not in found or (wanted is None and len(found) > 1):
        raise RecordError(
            f"{table.path}: {_columns_are(table)} {wanted or 'power_W or voltage_V'}, and clicks_a "
            "and clicks_b (or counts); each with its unit, as in power_W or power_nW"
        )
    index, scale = found[name]
    if scale == 0.0:  # dBm
        return name, 1e-3 * 10.0 ** (table.values[:, index] / 10.0)
    return name, table.values[:, index] * scale


def _find(table: TextTable, names: Sequence[str]) -> int | None:
    """Return the index of the column with one of these names, if there is one."""
    found = [k for k, column in enumerate(table.columns) if column.name in names]
    if len(found) > 1:
        several = " and ".join(table.columns[k].text for k in found)
        raise UsageError(f"{table.path}: both {several}: keep one of them")
    return found[0] if found else None


def _columns_are(table: TextTable) -> str:
    names = ", ".join(column.text for column in table.columns) or "not named by a header"
    return f"columns are {names}; needed are"


def _check_row(
    place: str, x_name: str, x: float, clicks: tuple[float, float], dwell_s: float
) -> None:
    """Check that clicks and dwell of one point are possible."""
    if not math.isfinite(x):
        raise RecordError(f"{place}: {x_name} is {x:g}, which is not a number")
    if x != 0 and not _SMALLEST <= abs(x) <= _LARGEST:
        raise RecordError(
            f"{place}: {x_name} is {x:g}: 0, or {_SMALLEST:g} to {_LARGEST:g} is possible"
        )
    if x_name == "power_W" and x > _MOST_POWER_W:
        raise RecordError(
            f"{place}: a power of {x:g} W is not possible: is the unit right? M is mega, m is milli"
        )
    if not all(0 <= c <= _MOST_CLICKS for c in clicks):
        raise RecordError(
            f"{place}: {clicks[0]:g} and {clicks[1]:g} clicks: from 0 to {_MOST_CLICKS:g} are "
            "possible"
        )
    if any(c != int(c) for c in clicks):
        raise RecordError(
            f"{place}: {clicks[0]:g} and {clicks[1]:g} clicks: whole numbers are needed; a rate "
            "has lost its statistics, give counts and dwell_s"
        )
    if not _SHORTEST_S <= dwell_s <= _LONGEST_S:
        raise RecordError(
            f"{place}: dwell_s is {dwell_s:g}, must be {_SHORTEST_S:g} to {_LONGEST_S:g} s"
        )


def _about(file: Path, line: str) -> About:
    """Read the provenance, the second line of a file that `ScanWriter` wrote."""
    try:
        about = About(**json.loads(line[2:]))
        if not isinstance(about.settings, dict):
            raise TypeError("settings are not a table")
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordError(f"{file}, line 2: not the description of a scan: {error}") from None
    return about
