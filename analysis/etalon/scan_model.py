"""Model of etalon scans: one voltage axis for both, their line shapes, start values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.fit import Curve, Series
from qdchar.raw_data import Scan

from ..detection.dead_time_model import CorrectedCounts
from ..models.find_peaks import find_peaks
from ..models.lineshapes import airy, airy_voigt, voigt_parts
from ..statistics.likelihood import FitParameter, Values, deviance_residuals

Array = NDArray[np.float64]

LABEL = "etalon scan"
AXIS = ("per_range", "quadratic", "cubic")
"""Coefficients of the polynomial from voltage to order, by power."""
_SHOWN_WIDTHS = 3.5
"""Full widths of the peak to both sides of it that are drawn."""


@dataclass(frozen=True)
class Axis:
    """Range of voltages, mapped to [-1, 1], where the polynomial is well-conditioned."""

    middle: float
    half: float

    @classmethod
    def of(cls, scans: list[Scan]) -> Axis:
        """Return the range of all voltages of some scans."""
        low = min(float(s.x.min()) for s in scans)
        high = max(float(s.x.max()) for s in scans)
        if not high > low:
            raise InconclusiveError(f"{scans[0].file}: all points are at one voltage")
        return cls((low + high) / 2.0, (high - low) / 2.0)

    def order(self, v: Values, volts: Array, offset: float) -> Array:
        """Return the order of interference, up to a constant."""
        t = (volts - self.middle) / self.half
        return offset + t * (
            v["per_range"] + t * (v.get("quadratic", 0.0) + t * v.get("cubic", 0.0))
        )


def line_places(v: Values) -> tuple[float, float]:
    """Return the places of two lines about their centre of mass [orders]."""
    return -v["second_share"] * v["splitting"], (1.0 - v["second_share"]) * v["splitting"]


@dataclass(frozen=True)
class EtalonData:
    """One of the two scans, ``"source"`` or ``"narrow"``, with its part of the model.

    `width` is the etalon's width for this scan's light over that for the source's, as certified.
    """

    name: str
    scan: Scan
    light: CorrectedCounts
    fano: Callable[[Array], Array]
    dark_count_rate_Hz: float
    width: float = 1.0

    def rate(self, v: Values, axis: Axis, volts: Array) -> Array:
        """Return the expected rate without dead time [Hz]."""
        return self._rate(v, axis.order(v, volts, v[f"{self.name}_order"]))

    def _rate(self, v: Values, order: Array) -> Array:
        """Return the same against the order of interference, whole at a peak."""
        if self.name == "source":
            lorentz, gauss = voigt_parts(v["line"], v["lorentz_share"])
            if "splitting" in v:
                low, high = (order - place for place in line_places(v))
                share = v["second_share"]
                shape = (1.0 - share) * airy_voigt(low, v["etalon"], lorentz, gauss)
                shape += share * airy_voigt(high, v["etalon"], lorentz, gauss)
            else:
                shape = airy_voigt(order, v["etalon"], lorentz, gauss)
            pump = v["source_pump"] * (1.0 + np.cos(2.0 * np.pi * order)) / 2.0
        else:
            shape = airy(order, v["etalon"] * (self.width + v.get("mode_excess", 0.0)))
            pump = np.zeros_like(order)
        flat = v[f"{self.name}_background"] + self.dark_count_rate_Hz
        rate = v[f"{self.name}_height"] * shape + pump + flat
        if self.name == "source":
            return rate
        # The counts were corrected for the certified dead time.
        excess = v.get("dead_time_excess", 0.0)
        return sum((s * rate / (1.0 + s * rate * excess) for s in self.light.share), 0.0 * rate)

    def expected(self, v: Values, axis: Axis) -> Array:
        """Return the expected counts without dead time."""
        return np.maximum(self.scan.dwell_s * self.rate(v, axis, self.scan.x), 1e-9)

    def curve(self, v: Values, axis: Axis, held: Array, residuals: Array, fsr_Hz: float) -> Curve:
        """Return data and fit, ready to draw: all orders of interference laid on one another."""
        dwell, expected = self.scan.dwell_s, self.expected(v, axis)
        orders = axis.order(v, self.scan.x, v[f"{self.name}_order"])
        orders -= np.round(orders)
        by_frequency = np.argsort(orders, kind="stable")
        fine = np.linspace(-0.5, 0.5, 2001)
        line = self._rate(v, fine)
        others: tuple[Series, ...] = ()
        title, quantities = "Etalon scan with a narrow laser", ("etalon_fwhm", "etalon_finesse")
        width = v["etalon"]
        if self.name == "source":
            title, quantities = "Etalon scan of the emission", ("linewidth", "linewidth_ratio")
            width += v["line"] + v.get("splitting", 0.0)
            alone = airy(fine, v["etalon"]) * float(line.max())
            others = (Series("etalon alone, scaled", fine * fsr_Hz, alone),)
        reach = min(_SHOWN_WIDTHS * width, 0.5) * fsr_Hz
        return Curve(
            title=title,
            x_label="frequency from the peak (Hz)",
            y_label="count rate, dead time removed (1/s)",
            x=(orders * fsr_Hz)[by_frequency],
            y=(self.light.counts / dwell)[by_frequency],
            u_y=(np.sqrt(held * expected) / dwell)[by_frequency],
            model=(expected / dwell)[by_frequency],
            residuals=residuals[by_frequency],
            x_line=fine * fsr_Hz,
            y_line=line,
            quantities=quantities,
            others=others,
            shown=(-reach, reach),
        )


def check_fringes(scans: Sequence[EtalonData]) -> None:
    """Refuse scans without significant peaks: noise has a highest point, too."""
    for s in scans:
        flat = s.scan.dwell_s * max(s.light.counts.sum(), 0.5) / s.scan.dwell_s.sum()
        deviance = float(np.sum(deviance_residuals(s.light.counts, flat, s.fano(flat)) ** 2))
        if (chance := float(stats.chi2.sf(deviance, len(flat) - 1))) > 1e-6:
            raise InconclusiveError(
                f"{LABEL}: the {s.name} scan is compatible with constant light (p = {chance:.1g}); "
                "is there light, and does the voltage reach the etalon? Count longer"
            )


def start_values(
    scans: Sequence[EtalonData], axis: Axis
) -> tuple[dict[str, FitParameter], tuple[str, ...]]:
    """Return start values from the peaks of the scans, which are at whole orders, and problems."""
    rates = [s.light.counts / s.scan.dwell_s for s in scans]
    peaks = [find_peaks(s.scan.x, r) for s, r in zip(scans, rates, strict=True)]
    seen = ", ".join(f"{len(p)} in the {s.name} scan" for s, p in zip(scans, peaks, strict=True))
    if not all(peaks):
        raise InconclusiveError(f"{LABEL}: peaks found: {seen}; scan at least two orders in each")
    degree = min(sum(map(len, peaks)) - len(scans), 3)
    if degree < 1:
        raise InconclusiveError(
            f"{LABEL}: peaks found: {seen}; at least one scan must show two whole peaks, to "
            "measure how many volts an order takes"
        )
    design, index = [], []
    for i, found in enumerate(peaks):
        for k, peak in enumerate(found):
            t = (peak.centre - axis.middle) / axis.half
            design.append([float(i == j) for j in range(len(scans))] + [t, t**2, t**3][:degree])
            index.append(float(k))
    # Peaks at the same voltages in both scans do not determine a cubic term: assume a small one.
    for power in range(1, degree):
        design.append([0.05 * float(j == len(scans) + power) for j in range(len(scans) + degree)])
        index.append(0.0)
    fit = np.linalg.lstsq(np.array(design), np.array(index), rcond=None)[0]
    per_range = float(fit[len(scans)])
    free = {name: FitParameter(0.0, 0.01 * abs(per_range)) for name in AXIS}
    for name, value in zip(AXIS, fit[len(scans) :], strict=False):
        free[name] = replace(free[name], start=float(value))
    width = {}
    for s, found, rate, offset in zip(scans, peaks, rates, fit, strict=False):
        highest = max(p.height for p in found)
        low = max(float(np.quantile(rate, 0.05)) - s.dark_count_rate_Hz, 1e-3 * highest)
        seen_width = float(np.median([p.fwhm for p in found])) * per_range / axis.half
        width[s.name] = seen_width / s.width
        free[f"{s.name}_order"] = FitParameter(float(offset), 0.01)
        free[f"{s.name}_height"] = FitParameter(highest, highest, low=0.0)
        # Not bounded at 0, so that the widths stay unbiased.
        free[f"{s.name}_background"] = FitParameter(low, low)
    etalon = min(max(width.get("narrow", 0.6 * width["source"]), 1e-3), 0.5)
    line = max(width["source"] - 0.8 * etalon, 0.1 * etalon)
    flat = free["source_background"]
    free["source_pump"] = replace(flat, start=0.3 * flat.start)
    free["etalon"] = FitParameter(etalon, etalon, low=1e-4, high=0.9)
    free["line"] = FitParameter(line, line, low=0.0)
    free["lorentz_share"] = FitParameter(0.6, 0.3, low=0.0, high=1.0)
    if degree > 1:
        return free, ()
    return free, (
        f"{LABEL}: peaks found: {seen}; too few to determine the piezo's nonlinearity, which is an "
        "error of the widths; scan more orders",
    )
