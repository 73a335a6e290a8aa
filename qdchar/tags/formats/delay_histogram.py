"""Correlation histograms as files: pairs of clicks by delay, from any program that wrote them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import RecordError

from .ascii_histogram import read_ascii_histogram

Array = NDArray[np.float64]

_TEXT = (".txt", ".csv", ".dat", ".asc")
_NS = {"delay_ns": 1.0, "delay_ps": 1e-3, "delay_s": 1e9}


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


def is_histogram(path: Path) -> bool:
    """Tell whether a file is a histogram, by its name."""
    return path.suffix.lower() in (".npz", *_TEXT)


def read_histogram(path: Path) -> DelayHistogram:
    """Read a correlation histogram.

    Parameters
    ----------
    path
        ``.npz`` with ``delay_ns`` (left bin edges) and ``counts``, shape (bins,) or (bins,
        snapshots); or text: columns ``delay_ns`` (or ``delay_ps``, ``delay_s``) and counts under
        a header line with these names, or what `ascii_histogram` reads (PicoQuant's
        export, Swabian's ``savetxt([index, counts])``).

    Raises
    ------
    RecordError
        If it cannot be read, the bins are not equal, or counts are no counts.
    """
    try:
        delay_ns, counts = _read_npz(path) if path.suffix.lower() == ".npz" else _read_text(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RecordError(f"{path}: not a histogram of delays and counts: {error}") from error
    if counts.ndim == 1:
        counts = counts[:, None]
    if counts.ndim != 2 or delay_ns.shape != (len(counts),) or len(counts) < 16:
        raise RecordError(
            f"{path}: {delay_ns.shape} delays do not fit counts of shape {counts.shape}"
        )
    if np.any(counts < 0) or not np.all(np.isfinite(counts)) or np.any(counts != np.rint(counts)):
        raise RecordError(
            f"{path}: counts must be whole and not negative; a normalised histogram has lost its "
            "statistics, give the raw one"
        )
    steps = np.diff(delay_ns)
    width = float(delay_ns[-1] - delay_ns[0]) / len(steps)
    if width <= 0 or np.any(np.abs(steps - width) > 1e-3 * width):
        where = int(np.argmax(np.abs(steps - width)))
        raise RecordError(
            f"{path}: bins are not equal: {steps[where]:.6g} ns after bin {where}, {width:.6g} ns "
            "on average"
        )
    return DelayHistogram(float(delay_ns[0]) * 1e-9, width * 1e-9, counts.astype(np.int64))


def _read_npz(path: Path) -> tuple[Array, Array]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
        return np.asarray(data["delay_ns"], float), np.asarray(data["counts"], float)


def _read_text(path: Path) -> tuple[Array, Array]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    header = lines[0].lstrip("# ").replace(",", " ").split() if lines else []
    unit = _NS.get(header[0]) if header else None
    if unit is not None:
        rows = np.loadtxt([line.replace(",", " ") for line in lines[1:]], ndmin=2)
        table = np.asarray(rows, dtype=np.float64)
        return np.asarray(table[:, 0] * unit), table[:, 1:]
    exported = read_ascii_histogram(path)
    if len(exported.counts) != 1:
        raise RecordError(
            f"{path}: {exported.program} wrote {len(exported.counts)} curves; export the "
            "correlation alone"
        )
    if exported.bin_ps < 1.0:
        raise RecordError(
            f"{path}: without a header delays are picoseconds, and bins of {exported.bin_ps:g} ps "
            "are too narrow to be true; begin the file with a line such as 'delay_ns counts'"
        )
    bins = np.arange(exported.counts.shape[1])
    delay_ns = np.asarray((exported.start_ps + exported.bin_ps * bins) * 1e-3, dtype=np.float64)
    return delay_ns, exported.counts[0].astype(np.float64)
