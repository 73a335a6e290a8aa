"""Text tables as programs and people write them: columns of numbers, perhaps under a header.

Read are: a byte-order mark; comma, semicolon, tab or spaces between the cells; a decimal point or
comma; comments (``#``, ``%``, ``//``); lines of text above the data, of which the last one, with
one cell for each column, is the header; a line of units may stand below the names. A header cell
names its unit as in ``delay_ns``, ``delay (ns)``, ``delay [ns]``, ``delay / ns``, ``delay in ns``.
What a table leaves open is asked for, never guessed: that is done by the readers of scans and
histograms, which know what they need.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .errors import RecordError
from .files import MAX_TABLE_BYTES, PathLike, read_text, shown

_COMMENTS: Final = ("#", "%", "//")
_PREFIXES: Final = {
    "f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "": 1.0,
    "k": 1e3, "M": 1e6, "G": 1e9,
}  # fmt: skip
_BASES: Final = ("s", "m", "W", "V", "Hz")
_WORDS: Final = {
    "second": "s", "sec": "s", "millisecond": "ms", "microsecond": "us", "nanosecond": "ns",
    "nsec": "ns", "picosecond": "ps", "psec": "ps", "nanometre": "nm", "nanometer": "nm",
    "watt": "W", "milliwatt": "mW", "microwatt": "uW", "nanowatt": "nW", "volt": "V",
    "millivolt": "mV",
}  # fmt: skip
_NAMED_UNIT: Final = (
    re.compile(r"(?P<name>.*?)[\s_]*[(\[]\s*(?P<unit>[^)\]]*?)\s*[)\]]\s*"),
    re.compile(r"(?P<name>.+?)\s*/\s*(?P<unit>\S+)"),
    re.compile(r"(?P<name>.+?)[\s_]+in[\s_]+(?P<unit>\S+)"),
    re.compile(r"(?P<name>.+)[_\s](?P<unit>[^_\s]+)"),
)
_SPACED_CELLS: Final = re.compile(r"[^\s(\[]+(?:\s*[(\[][^)\]]*[)\]])?")
_THOUSANDS: Final = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")
_NO_UNITS: Final = ("", "-", "1", "a.u.", "arb.", "counts", "count", "cts", "clicks", "pairs", "#")
_NUMBER: Final = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eEdD][+-]?\d+)?|[+-]?(nan|inf)", re.I)
_BEGINS_AS_NUMBER: Final = re.compile(r"\s*\"?[+-]?[.,]?\d")


@dataclass(frozen=True)
class Column:
    """What a header says of one column.

    Attributes
    ----------
    name
        Without the unit, in lower case, spaces as underscores: ``"delay"``, ``"clicks_a"``.
    unit
        ``"ns"``; empty if the header names none that is known.
    """

    name: str
    unit: str

    @property
    def text(self) -> str:
        """Name with unit, for a message."""
        return f"{self.name}_{self.unit}" if self.unit else self.name

    def is_called(self, name: str) -> bool:
        """Tell whether somebody who writes `name` means this column."""
        asked = column_of(name)
        return asked.name == self.name and asked.unit in ("", self.unit)


@dataclass(frozen=True)
class TextTable:
    """Columns of numbers.

    Attributes
    ----------
    path
        The file.
    columns
        One for each column; empty if there is no header.
    values
        Shape (rows, columns).
    lines
        Number of the line of each row, shape (rows,).
    above
        Lines of text above the data, comments included.
    """

    path: Path
    columns: tuple[Column, ...]
    values: NDArray[np.float64]
    lines: NDArray[np.int64]
    above: tuple[str, ...]


def unit_of(text: str) -> tuple[str, float] | None:
    """Return the base and the size of a unit, or None if it is not known.

    Examples
    --------
    >>> unit_of("ns")
    ('s', 1e-09)
    >>> unit_of("m"), unit_of("counts")
    (('m', 1.0), None)
    """
    word = text.strip().lower()
    unit = _WORDS.get(word, _WORDS.get(word.removesuffix("s"), text.strip()))
    for base in _BASES:
        if unit.endswith(base):
            size = _PREFIXES.get(unit.removesuffix(base))
            if size is not None:
                return base, size
    return None


def column_of(cell: str) -> Column:
    """Take a header cell apart.

    Examples
    --------
    >>> column_of("Delay (ns)"), column_of("clicks_a")
    (Column(name='delay', unit='ns'), Column(name='clicks_a', unit=''))
    """
    text = cell.strip().strip('"').strip()
    if unit_of(text) is not None and len(text) > 1:
        return Column("", text)
    for pattern in _NAMED_UNIT:
        match = pattern.fullmatch(text)
        if match and (unit_of(match["unit"]) is not None or match["unit"] == "dBm"):
            return Column(_plain(match["name"]), match["unit"])
    return Column(_plain(text), "")


def read_text_table(path: PathLike) -> TextTable:
    """Read a file of columns of numbers.

    Raises
    ------
    RecordError
        If it cannot be read, holds no rows of two numbers or more, or a row does not fit the
        others; names the line.
    """
    path = Path(path)
    return parse_text_table(path, read_text(path, RecordError, MAX_TABLE_BYTES, table=True))


def parse_text_table(path: Path, text: str) -> TextTable:
    """Read columns of numbers from a text that was read from `path`; see `read_text_table`."""
    above: list[str] = []
    last_text = 0, ""
    body: list[tuple[int, str]] = []
    for number, raw in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        line = raw.strip()
        if line.startswith(_COMMENTS):
            if not body:
                above.append(line.lstrip("#%/ "))
        elif line and not body and not _is_data(line):
            above.append(raw.strip(" "))  # with the empty cells at its ends
            last_text = number, line
        elif line.strip(' ,;\t"'):  # spreadsheets write rows of empty cells
            if _BEGINS_AS_NUMBER.match(line):
                line = line.split("#", 1)[0].rstrip()
            body.append((number, line))
    if _NUMBER.fullmatch(re.split(r"[;,\s]", last_text[1])[0]):
        raise RecordError(
            f"{path}, line {last_text[0]}: {shown(last_text[1])} is no row of two or more numbers"
        )
    if not body:
        raise RecordError(
            f"{path}: no data: no line of two or more numbers"
            + (f"; it begins with {shown(above[0])}" if above else "")
        )
    between = _between_cells([line for _, line in body])
    rows = [_cells(line, between) for _, line in body]
    columns = _header(above, between, len(rows[0]))
    comma = between != "," and any("," in cell for row in rows for cell in row)
    _refuse_thousands(path, rows)
    values = np.empty((len(rows), len(rows[0])))
    for k, ((number, line), row) in enumerate(zip(body, rows, strict=True)):
        place = f"{path}, line {number}: {shown(line)}"
        if len(row) != len(rows[0]):
            raise RecordError(f"{place}: {len(row)} numbers where the others have {len(rows[0])}")
        try:
            values[k] = [_number(cell, comma) for cell in row]
        except ValueError as error:
            raise RecordError(f"{place}: are no numbers: {error}") from None
    if not columns and above and between == ",":
        _refuse_other_length(path, above[-1], body[0], len(rows[0]))
    return TextTable(
        path, columns, values, np.array([n for n, _ in body], dtype=np.int64), tuple(above)
    )


def _plain(name: str) -> str:
    return re.sub(r"\s+", "_", name.strip(" \t_,:")).lower()


def _is_data(line: str) -> bool:
    """Tell whether a line above the data is their first: numbers only, at least two."""
    parts = [part for part in re.split(r"[;,\s\"]+", line.split("#", 1)[0]) if part]
    return len(parts) > 1 and all(_NUMBER.fullmatch(part) for part in parts)


def _between_cells(lines: Sequence[str]) -> str:
    """Return what separates the cells: a character, or a space for any white space."""
    if any(";" in line for line in lines):
        return ";"
    if any("\t" in line for line in lines) and not any(",\t" in line for line in lines):
        return "\t"
    if not any("," in line for line in lines):
        return " "
    # '0,5 12' is a decimal comma; '0.5, 12' and '0.5,12' are not
    words = [line.split() for line in lines]
    spaced = all(len(w) > 1 and not any(c[0] == "," or c[-1] == "," for c in w) for w in words)
    return " " if spaced else ","


def _cells(line: str, between: str) -> list[str]:
    if between == " ":
        return line.replace('"', "").split()
    if between != ",":
        line = line.rstrip(f" {between}")
        return [cell.strip().strip('"') for cell in line.split(between)]
    line = line.rstrip(" ,")
    try:
        cells = next(csv.reader([line], skipinitialspace=True)) if '"' in line else line.split(",")
    except csv.Error:
        return [line]
    return [cell.strip() for cell in cells]


def _number(cell: str, decimal_comma: bool) -> float:
    if not _NUMBER.fullmatch(cell):
        raise ValueError(f"{shown(cell)} is no number")
    if decimal_comma:
        if "." in cell:
            raise ValueError(f"{shown(cell)} has a decimal point, others have a decimal comma")
        cell = cell.replace(",", ".")
    elif "," in cell:  # a quoted cell between commas
        cell = cell.replace(",", ".")
    return float(cell.lower().replace("d", "e"))


def _refuse_thousands(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Refuse a column of '950' and '1,050', which may be 1.05 or 1050.

    A decimal comma or point leaves other numbers of digits behind it as well, or stands in every
    cell.
    """
    for k in range(len(rows[0])):
        cells = [row[k].lstrip("+-") for row in rows if k < len(row)]
        for mark in ",.":
            with_mark = [c for c in cells if mark in c]
            others = [c for c in cells if mark not in c]
            if (
                with_mark
                and all(_THOUSANDS.fullmatch(c) for c in with_mark)
                and any(len(c) == 3 and c.isdigit() for c in others)
                and all(len(c) <= 3 for c in others)
            ):
                raise RecordError(
                    f"{path}, column {k + 1}: holds {shown(others[-1])} and "
                    f"{shown(with_mark[0])}: with a separator of thousands? Write plain numbers"
                )


def _header(above: Sequence[str], between: str, width: int) -> tuple[Column, ...]:
    """Take the last line above the data for the header if it has a cell for each column.

    Below the names there may be a line of units, and below that one of comments.
    """
    named = [_names(line, between, width) for line in above[-3:]]
    last = tuple(map(column_of, named[-1])) if named else ()
    if any(column.name and column.unit for column in last):
        return last
    for names, units in reversed(list(pairwise(named))):
        if names and any(map(_has_size, units)) and all(map(_is_unit, units)):
            return tuple(
                Column(column_of(name).name, unit.strip("()[] ") if _has_size(unit) else "")
                for name, unit in zip(names, units, strict=True)
            )
    return last


def _has_size(cell: str) -> bool:
    return unit_of(cell.strip("()[] ")) is not None


def _is_unit(cell: str) -> bool:
    """Tell whether a cell may stand in a line of units, of which one at least has a size."""
    return _has_size(cell) or cell.strip("()[] ").lower() in _NO_UNITS


def _names(line: str, between: str, width: int) -> list[str]:
    """Return a cell for each column, some perhaps empty; nothing if their number differs."""
    for separator in dict.fromkeys((between, ",", ";", "\t", " ")):
        line_cells = _SPACED_CELLS.findall(line) if separator == " " else line.split(separator)
        cells = [cell.strip().strip('"') for cell in line_cells]
        while len(cells) > width and not cells[-1]:
            cells.pop()
        if len(cells) == width and len([c for c in cells if c]) >= min(width - 1, 1):
            return cells
    return []


def _refuse_other_length(path: Path, above: str, first: tuple[int, str], width: int) -> None:
    """Refuse a header with another number of cells than the rows have, as decimal commas make."""
    cells = [c.strip() for c in re.split(r"[,;\t]", above) if c.strip()]
    units = [column_of(c).unit for c in cells]
    if len(cells) > 1 and units[0] and len(cells) != width:
        raise RecordError(
            f"{path}, line {first[0]}: {shown(first[1])}: {width} values where the header names "
            f"{len(cells)}. With decimal commas, put semicolons or tabs between the columns"
        )


def equal_step(path: Path, positions: NDArray[np.float64], unit: str) -> float:
    """Return the step of an axis whose points are equally spaced.

    Parameters
    ----------
    positions
        Shape (n,), n > 1, rising, rounded as they are in the file.
    unit
        For the message.

    Raises
    ------
    RecordError
        If a step differs from the mean by more than one part in 1000.
    """
    steps = np.diff(positions)
    mean = float(positions[-1] - positions[0]) / len(steps)
    if not mean > 0 or np.any(np.abs(steps - mean) > 1e-3 * mean):
        where = int(np.argmax(np.abs(steps - mean)))
        raise RecordError(
            f"{path}: bins are not equal: {steps[where]:.6g} {unit} after bin {where}, "
            f"{mean:.6g} {unit} on average"
        )
    return mean
