"""Histograms that PicoQuant's programs export as text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import RecordError
from qdchar.files import refuse_irregular

_WIDTH_KEYS: Final = ("#ns/channel", "#ns/bin")
_CURVES_KEY: Final = "#display curve no."
_COUNTS_KEY: Final = "#counts"
_MOST_COUNTS: Final = 1 << 53  # beyond, a sum of bins would overflow
_MAX_FILE_BYTES: Final = 1 << 28  # bytes; a histogram of 65 536 bins and 512 curves has less


@dataclass(frozen=True)
class AsciiHistogram:
    """Curves on one time axis.

    Attributes
    ----------
    bin_ps
        Bin width; the first bin begins at 0 [ps].
    counts
        int64, shape (n_curves, n_bins).
    curves
        Number of each curve as the program displayed it, shape (n_curves,).
    program
        What wrote it.
    """

    bin_ps: float
    counts: NDArray[np.int64]
    curves: tuple[int, ...]
    program: str


def is_picoquant_export(text: str) -> bool:
    """Tell whether a text has the header of PicoQuant's export."""
    return any(line.strip() == _COUNTS_KEY for line in text[:4096].splitlines())


def read_ascii_histogram(path: str | os.PathLike[str]) -> AsciiHistogram:
    """Read a histogram exported as text.

    Parameters
    ----------
    path
        PicoQuant's export (PicoHarp, TimeHarp, HydraHarp, MultiHarp): a header with
        ``#ns/channel`` or ``#ns/bin``, then a column a curve.

    Raises
    ------
    RecordError
        With the line, if it is not, or counts are not whole numbers.
    """
    file = Path(path)
    refuse_irregular(file)
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise RecordError(f"{file} is too large for a histogram written as text")
        lines = file.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise RecordError(f"{file} cannot be opened: {error.strerror}") from error
    headings = {line.strip(): number for number, line in enumerate(lines) if line.startswith("#")}
    if _COUNTS_KEY not in headings:
        raise RecordError(f"{file} is no export of PicoQuant's programs: it has no line '#counts'")
    key = next((key for key in _WIDTH_KEYS if key in headings), None)
    if key is None:
        raise RecordError(f"{file}: no line {' or '.join(_WIDTH_KEYS)} gives the bin width")
    try:
        widths = [float(word) * 1e3 for word in lines[headings[key] + 1].split()]
    except (IndexError, ValueError) as error:
        raise RecordError(
            f"{file}, line {headings[key] + 2}: no bin width after {key!r}"
        ) from error
    counts = _counts(file, lines, headings[_COUNTS_KEY] + 1).T
    if not counts.size or not widths or min(widths) <= 0:
        raise RecordError(f"{file}: no counts after the line '#counts', or no bin width")
    if max(widths) > min(widths) * (1 + 1e-9):
        raise RecordError(
            f"{file}: curves with different bin widths, {widths} ps: export them apart"
        )
    # widths are printed with four decimals of a nanosecond, tenths of a picosecond
    bin_ps = round(widths[0], 4)
    return AsciiHistogram(bin_ps, counts, _curves(lines, headings, len(counts)), lines[0][1:])


def _counts(file: Path, lines: list[str], first: int) -> NDArray[np.int64]:
    rows: list[list[int]] = []
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            continue
        try:
            rows.append([int(word) for word in line.split()])
        except ValueError:
            raise RecordError(
                f"{file}, line {number}: {line[:60]!r}: counts must be whole numbers; was it "
                "normalised?"
            ) from None
        if len(rows[-1]) != len(rows[0]):
            raise RecordError(
                f"{file}, line {number}: {len(rows[-1])} numbers where the others have "
                f"{len(rows[0])}"
            )
        if min(rows[-1]) < 0:
            raise RecordError(f"{file}, line {number}: {line[:60]!r}: counts are not negative")
        if max(rows[-1]) > _MOST_COUNTS:
            raise RecordError(
                f"{file}, line {number}: {line[:60]!r}: a bin has at most {_MOST_COUNTS} counts"
            )
    return np.array(rows, dtype=np.int64).reshape(len(rows), -1)


def _curves(lines: list[str], headings: dict[str, int], n_curves: int) -> tuple[int, ...]:
    """Return the curves' numbers as displayed, or 0, 1, ... where they are not given."""
    try:
        numbers = tuple(int(word) for word in lines[headings[_CURVES_KEY] + 1].split())
    except (KeyError, IndexError, ValueError):
        numbers = ()
    if len(numbers) != n_curves or len(set(numbers)) != n_curves:
        return tuple(range(n_curves))
    return numbers
