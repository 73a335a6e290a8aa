"""Histograms over a delay as files: of pairs or of a decay, from any program that wrote them."""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import RecordError, UsageError
from qdchar.files import MAX_TABLE_BYTES, PathLike, read_text, refuse_irregular
from qdchar.text_table import Column, TextTable, equal_step, parse_text_table, unit_of

from .ascii_histogram import is_picoquant_export, read_ascii_histogram

Array = NDArray[np.float64]

_TEXT = (".txt", ".csv", ".dat", ".asc", ".tsv")
_CALIBRATION = re.compile(r"calibration:\s*([0-9.eE+-]+)\s*ns/ch", re.IGNORECASE)
_MIN_BINS = 16
_MIN_TAGS, _MOST_CHANNELS = 100, 16
_MIN_LEVELS = 10
"""Different counts, all of them multiples of 2: by chance in 1 of 1000 histograms."""
_COUNTS = ("counts", "count", "cts", "clicks", "pairs", "coincidences", "events")


@dataclass(frozen=True)
class DelayHistogram:
    """Pairs by delay, perhaps in several snapshots.

    Attributes
    ----------
    start_s, bin_s
        Left edge of the first bin, and bin width [s].
    counts
        Shape (bins, snapshots).
    """

    start_s: float
    bin_s: float
    counts: NDArray[np.int64]

    @property
    def edges_s(self) -> Array:
        """Bin edges, shape (bins + 1,) [s]."""
        return self.start_s + self.bin_s * np.arange(len(self.counts) + 1, dtype=np.float64)


@dataclass(frozen=True)
class CurveChoice:
    """What the user says about a file that does not say it itself.

    Attributes
    ----------
    column
        Name of the column with the counts, or its number counted from 1.
    curve
        Number of a curve in PicoQuant's export, as displayed there.
    unit
        Of the delays: ``"ns"``.
    """

    column: str | None = None
    curve: int | None = None
    unit: str | None = None


AS_IN_THE_FILE = CurveChoice()


@dataclass(frozen=True)
class HistogramCurves:
    """All curves of a text file on their common axis.

    Attributes
    ----------
    path
        The file.
    start_s, bin_s
        Left edge of the first bin, and bin width [s].
    values
        What the columns hold, shape (bins, curves); of those that are used, counts.
    names
        Of the columns, as in the header; ``"column 2"`` where there is none; ``"curve 0"`` in
        PicoQuant's export.
    numbers
        Of the columns in the file, counted from 1, shape (curves,).
    """

    path: Path
    start_s: float
    bin_s: float
    values: Array
    names: tuple[str, ...]
    numbers: tuple[int, ...]

    def histogram(self, index: int) -> DelayHistogram:
        """Return one curve.

        Raises
        ------
        RecordError
            If it holds no counts.
        """
        counts = _whole_counts(self.path, self.values[:, index : index + 1], self.names[index])
        return DelayHistogram(self.start_s, self.bin_s, counts)

    def chosen(self, choice: CurveChoice) -> int:
        """Return the index of the curve that was chosen, or of the only one.

        Raises
        ------
        UsageError
            If there are several and none was chosen, or it is not among them.
        """
        wanted = choice.column if choice.curve is None else f"curve {choice.curve}"
        if choice.column is not None and choice.curve is not None:
            raise UsageError(f"{self.path}: give --column or --curve, not both")
        if wanted is None:
            if len(self.names) == 1:
                return 0
            raise UsageError(f"{self.path} holds {self._listed()}: say which with {self._option()}")
        for index, (name, number) in enumerate(zip(self.names, self.numbers, strict=True)):
            if wanted.lower() == name.lower() or wanted == str(number):
                return index
        raise UsageError(f"{self.path} has no {wanted}; it holds {self._listed()}")

    def _listed(self) -> str:
        empty = [" (empty)" if not column.any() else "" for column in self.values.T]
        return ", ".join(f"{n}{e}" for n, e in zip(self.names, empty, strict=True))

    def _option(self) -> str:
        return "--curve N" if self.names[0].startswith("curve ") else "--column NAME"


def is_histogram(path: PathLike) -> bool:
    """Tell whether a file is a histogram, by its name."""
    path = Path(path)
    return path.suffix.lower() in (".npz", *_TEXT)


def read_histogram(path: PathLike, choice: CurveChoice = AS_IN_THE_FILE) -> DelayHistogram:
    """Read one histogram.

    Parameters
    ----------
    path
        ``.npz`` with ``delay_ns`` (left bin edges) and ``counts``, shape (bins,) or (bins,
        snapshots); or text, see `read_curves`.
    choice
        Which column or curve, and in which unit, where the file leaves that open.

    Raises
    ------
    RecordError
        If it cannot be read, the bins are not equal, or counts are no counts.
    UsageError
        If the file leaves the column or the unit open.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        curves = read_curves(path, choice.unit)
        return curves.histogram(curves.chosen(choice))
    if choice != AS_IN_THE_FILE:
        raise UsageError(f"{path} names its unit and holds one histogram: leave out the options")
    try:
        delay_ns, counts = _read_npz(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RecordError(f"{path}: not a histogram of delays and counts: {error}") from error
    if counts.ndim == 1:
        counts = counts[:, None]
    if counts.ndim != 2 or delay_ns.shape != (len(counts),) or len(counts) < _MIN_BINS:
        raise RecordError(
            f"{path}: {delay_ns.shape} delays do not fit counts of shape {counts.shape}"
        )
    whole = _whole_counts(path, counts)
    return DelayHistogram(float(delay_ns[0]) * 1e-9, equal_step(path, delay_ns, "ns") * 1e-9, whole)


def read_curves(path: PathLike, unit: str | None = None) -> HistogramCurves:
    """Read all curves of a histogram written as text.

    Parameters
    ----------
    path
        A table as `qdchar.text_table` reads it: delays (left bin edges) and one or more columns of
        counts, the delays first or under a header of their own with a unit of time; or two rows,
        as Swabian's ``savetxt([index, counts])`` writes; or PicoQuant's export, see
        `read_ascii_histogram`; or a table of channels below a line ``Time calibration: ... ns/ch``.
    unit
        Of the delays, where no header names it: ``"ns"``.

    Raises
    ------
    RecordError
        If it cannot be read, the bins are not equal, or counts are no counts.
    UsageError
        If nothing names the unit of the delays, or header and `unit` differ.
    """
    path = Path(path)
    size = None if unit is None else unit_of(unit)
    if unit is not None and (size is None or size[0] != "s"):
        raise UsageError(f"--unit {unit}: give a unit of time, such as ps, ns, us or s")
    text = read_text(path, RecordError, MAX_TABLE_BYTES, table=True)
    if is_picoquant_export(text):
        exported = read_ascii_histogram(path)
        if unit is not None:
            raise UsageError(f"{path} gives its bin width in nanoseconds: leave out --unit")
        names = tuple(f"curve {number}" for number in exported.curves)
        counts = exported.counts.T.astype(np.float64)
        numbers = tuple(range(1, len(names) + 1))
        return HistogramCurves(path, 0.0, exported.bin_ps * 1e-12, counts, names, numbers)
    table = parse_text_table(path, text)
    values = table.values
    if len(values) == 2 and values.shape[1] > 2 and not table.columns:
        values = values.T
    if len(values) < _MIN_BINS:
        raise RecordError(
            f"{path}: {len(values)} rows of numbers are no histogram; at least {_MIN_BINS} bins"
        )
    if _is_list_of_tags(values):
        raise RecordError(
            f"{path}: times and channels of single clicks, no histogram: write time tags as PTU, "
            "quTAG or HDF5 (qdchar.tags.TagWriter)"
        )
    axis = _axis(table)
    numbers = tuple(k + 1 for k in range(values.shape[1]) if k != axis)
    columns = [table.columns[number - 1] for number in numbers] if table.columns else []
    names = tuple(c.text or f"column {n}" for n, c in zip(numbers, columns, strict=False))
    if not names or len(set(names)) < len(names):
        names = tuple(f"column {number}" for number in numbers)
    rates = [n for n, c in zip(names, columns, strict=False) if _is_rate(c)]
    if rates:
        raise RecordError(
            f"{path}: {rates[0]} is a rate, which has lost its statistics; give the raw counts"
        )
    if values[0, axis] > values[-1, axis]:  # from the latest to the earliest
        values = values[::-1]
    calibration = _CALIBRATION.search("\n".join(table.above))
    if calibration:
        start_s, bin_s = 0.0, float(calibration[1]) * 1e-9
        equal_step(path, values[:, axis], "channels")
        if unit is not None:
            raise UsageError(f"{path} has a line 'Time calibration': leave out --unit")
    else:
        scale = _seconds(path, table, axis, size)
        step = equal_step(path, values[:, axis], unit or table.columns[axis].unit)
        start_s, bin_s = float(values[0, axis]) * scale, step * scale
    if not bin_s > 0:
        raise RecordError(f"{path}: the bin width must be more than 0")
    counts = np.delete(values, axis, axis=1)
    return HistogramCurves(path, start_s, bin_s, counts, names, numbers)


def _axis(table: TextTable) -> int:
    """Return the index of the column of delays: the first, or the only one in a unit of time."""
    times = [
        k
        for k, column in enumerate(table.columns)
        if (unit := unit_of(column.unit)) is not None and unit[0] == "s" and not _is_rate(column)
    ]
    return times[0] if len(times) == 1 else 0


def _is_list_of_tags(values: Array) -> bool:
    """Tell whether rows are a time that rises unevenly and one of a few channel numbers."""
    if values.shape[1] != 2 or len(values) < _MIN_TAGS:
        return False
    for k in (0, 1):
        steps, channel = np.diff(values[:, k]), values[:, 1 - k]
        uneven = bool(np.all(steps >= 0.0) and np.ptp(steps) > steps.mean() > 0.0)
        if uneven and len(np.unique(channel)) <= _MOST_CHANNELS and np.all(channel % 1.0 == 0.0):
            return True
    return False


def _is_rate(column: Column) -> bool:
    """Tell whether a column is in hertz, or in counts over a time as ``"Counts/s"``."""
    return column.unit.endswith("Hz") or (bool(column.unit) and column.name in _COUNTS)


def _seconds(path: Path, table: TextTable, axis: int, given: tuple[str, float] | None) -> float:
    """Return the unit of the delays [s], from the header or as given."""
    named = unit_of(table.columns[axis].unit) if table.columns else None
    if named is not None and named[0] != "s":
        raise RecordError(f"{path}: the first column is in {table.columns[axis].unit}, no time")
    if named is not None and given is not None and named != given:
        raise UsageError(
            f"{path}: the header names {table.columns[axis].unit}, --unit another unit"
        )
    if named is None and given is None:
        what = (
            f"the header {table.columns[axis].text!r} names no unit"
            if table.columns
            else ("no header names the unit of the delays")
        )
        raise UsageError(
            f"{path}: {what}: give --unit ns (or ps, us, s), or a header such as 'delay_ns,counts'"
        )
    return (named or given or ("s", 1.0))[1]


def _whole_counts(path: Path, counts: Array, name: str = "") -> NDArray[np.int64]:
    bad = ~np.isfinite(counts) | (counts < 0) | (counts != np.rint(counts))
    if bad.any():
        first = counts[bad][0]
        of = f"{name} " if name else ""
        why = (
            "a normalised histogram has lost its statistics, give the raw one"
            if math.isfinite(first)
            else "a bin without a count leaves the histogram open, export it again"
        )
        raise RecordError(
            f"{path}: {of}holds {first:.6g}; counts must be whole and not negative; {why}"
        )
    _refuse_multiples(path, counts)
    return counts.astype(np.int64)


def _refuse_multiples(path: Path, counts: Array) -> None:
    """Refuse counts that are all multiples of a number: scaled, they are no Poisson counts."""
    seen = counts[counts > 0].astype(np.int64)
    step = int(np.gcd.reduce(seen)) if len(seen) else 1
    if step > 1 and len(np.unique(seen)) >= _MIN_LEVELS:
        raise RecordError(
            f"{path}: all counts are multiples of {step}: scaled counts have lost their "
            "statistics, give the raw ones"
        )


def _read_npz(path: Path) -> tuple[Array, Array]:
    refuse_irregular(path)
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
        return np.asarray(data["delay_ns"], float), np.asarray(data["counts"], float)
