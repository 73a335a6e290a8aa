"""Find the peaks of a scan, as start values for fits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Peak:
    """A peak: centre, full width at half maximum, height above the lowest level."""

    centre: float
    fwhm: float
    height: float


def find_peaks(x: Array, y: Array, rel_height: float = 0.5) -> list[Peak]:
    """Return the peaks that reach a share of the highest one, in order of x.

    Parameters
    ----------
    x
        Abscissa in any order, shape (n,).
    y
        Counts or rates, shape (n,).
    rel_height
        Share of the highest peak that another must reach to count, in (0, 1).

    Notes
    -----
    A peak is a range above 40 % of the highest peak that exceeds `rel_height` somewhere; noise
    within it does not split it. Peaks that are cut off by an end of the scan are left out.
    """
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    smooth = np.convolve(np.pad(y, 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    base = float(np.quantile(smooth, 0.05))
    level = smooth - base
    top = float(level.max())
    if top <= 0.0:
        return []
    above = np.concatenate([[False], level > 0.4 * top, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    peaks = []
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        part = slice(first, stop)
        height = float(level[part].max())
        highest = first + int(np.argmax(level[part]))
        if height < rel_height * top or highest in (0, len(x) - 1):
            continue
        half = level[part] > 0.5 * height
        spacing = float(np.median(np.diff(x)))
        width = max(float(np.ptp(x[part][half])), spacing)
        weight = np.where(half, level[part], 0.0)
        centre = float(np.sum(weight * x[part]) / np.sum(weight))
        peaks.append(Peak(centre, width, height))
    return peaks
