"""Histograms that tagger programs write as text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import RecordError

_WIDTH_KEYS: Final = ("#ns/channel", "#ns/bin")
_MAX_FILE_BYTES: Final = 1 << 28  # bytes; a histogram of 65 536 bins and 512 curves has less


@dataclass(frozen=True)
class AsciiHistogram:
    """Curves on one time axis.

    Attributes
    ----------
    start_ps, bin_ps
        Bin i covers ``start_ps + i * bin_ps`` up to the next [ps].
    counts
        int64, shape (n_curves, n_bins).
    program
        What wrote it.
    """

    start_ps: float
    bin_ps: float
    counts: NDArray[np.int64]
    program: str


def read_ascii_histogram(path: str | os.PathLike[str]) -> AsciiHistogram:
    """Read a histogram exported as text.

    Parameters
    ----------
    path
        PicoQuant's export (PicoHarp, TimeHarp, HydraHarp, MultiHarp: a header with
        ``#ns/channel`` or ``#ns/bin``, then a column a curve), or Swabian's
        ``savetxt([index_ps, counts])``, as two rows or two columns.

    Raises
    ------
    RecordError
        With the line, if it is neither, bins differ in width, or counts are not whole numbers.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise RecordError(f"{file} is too large for a histogram written as text")
        lines = file.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise RecordError(f"{file} cannot be opened: {error.strerror}") from error
    headings = {line.strip(): number for number, line in enumerate(lines) if line.startswith("#")}
    if "#counts" in headings:
        return _picoquant(file, lines, headings)
    return _swabian(file, lines)


def _numbers(file: Path, lines: list[str], first: int) -> NDArray[np.float64]:
    rows: list[list[float]] = []
    for number, line in enumerate(lines[first:], first + 1):
        if not line.strip():
            continue
        try:
            rows.append([float(word) for word in line.replace(",", " ").split()])
        except ValueError as error:
            raise RecordError(f"{file}, line {number}: {line[:60]!r} are no numbers") from error
        if len(rows[-1]) != len(rows[0]):
            raise RecordError(
                f"{file}, line {number}: {len(rows[-1])} numbers where the others have "
                f"{len(rows[0])}"
            )
    return np.array(rows, dtype=np.float64)


def _counts(file: Path, values: NDArray[np.float64]) -> NDArray[np.int64]:
    if not np.all(np.isfinite(values)) or np.any(values < 0) or np.any(values != np.rint(values)):
        raise RecordError(
            f"{file}: counts must be whole numbers and not negative; was it normalised?"
        )
    return values.astype(np.int64)


def _picoquant(file: Path, lines: list[str], headings: dict[str, int]) -> AsciiHistogram:
    key = next((key for key in _WIDTH_KEYS if key in headings), None)
    if key is None:
        raise RecordError(f"{file}: no line {' or '.join(_WIDTH_KEYS)} gives the bin width")
    try:
        widths = [float(word) * 1e3 for word in lines[headings[key] + 1].split()]
    except (IndexError, ValueError) as error:
        raise RecordError(
            f"{file}, line {headings[key] + 2}: no bin width after {key!r}"
        ) from error
    values = _numbers(file, lines, headings["#counts"] + 1)
    if not len(values) or not widths or min(widths) <= 0:
        raise RecordError(f"{file}: no counts after the line '#counts', or no bin width")
    if max(widths) > min(widths) * (1 + 1e-9):
        raise RecordError(
            f"{file}: curves with different bin widths, {widths} ps: export them apart"
        )
    # widths are printed with four decimals of a nanosecond, tenths of a picosecond
    return AsciiHistogram(0.0, round(widths[0], 4), _counts(file, values.T), lines[0].strip("# "))


def _swabian(file: Path, lines: list[str]) -> AsciiHistogram:
    values = _numbers(file, [line.split("#", 1)[0] for line in lines], 0)
    if values.ndim == 2 and values.shape[1] == 2 and len(values) != 2:
        values = values.T
    if values.ndim != 2 or len(values) != 2 or values.shape[1] < 2:
        raise RecordError(
            f"{file} is no histogram of a known program: wanted PicoQuant's header with '#counts', "
            "or two rows or columns, index in picoseconds and counts"
        )
    index, counts = values
    steps = np.diff(index)
    # savetxt keeps 18 digits
    if steps[0] <= 0 or np.any(np.abs(steps - steps[0]) > 1e-6 * steps[0]):
        raise RecordError(f"{file}: the index does not rise in equal steps; bins are not equal")
    return AsciiHistogram(
        float(index[0]), float(steps[0]), _counts(file, counts[None, :]), "Swabian Time Tagger"
    )
