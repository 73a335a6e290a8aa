"""Peak lock: bring a piezo to the peak of a resonance, by the count rate.

The position of a piezo depends on its history (hysteresis) and changes with time (creep), so its
voltage alone does not tell where it is. The count rate does: the rates at three voltages around
the peak give the distance to it. Every voltage is approached from below, so that the hysteresis is
the same each time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import special

from qdchar.errors import LockLostError
from qdchar.raw_data import Progress, ScanWriter
from qdchar.roles import TimeTagger, VoltageAxis

from ._scan import total_rate

MAX_REPEATS = 48
"""Most readouts of the offset that are averaged before one correction."""

PEAK_SIGNIFICANCE = 5.0
"""Standard deviations of counting by which the middle of a lock must be brighter than its sides."""

_PATIENCE = 5
"""Corrections after which the peak is taken to creep away while it is looked for: readouts of light
that scatters take so long. Half of each distance that is then still found is added to all further
corrections, which brings a steady creep to zero."""

UNSTEADY = 5.0
"""Scatter of the light at the middle point, in standard deviations of counting, that is remarked
on."""


@dataclass(frozen=True)
class LockResult:
    """Result of a peak lock.

    Attributes
    ----------
    voltage_V, u_voltage_V
        Voltage at which the piezo was left, and the standard uncertainty of the peak's distance
        from it [V].
    offset_V, u_offset_V
        Distance of the peak from where the piezo stood before the lock, as the first readout gave
        it, and its standard uncertainty [V].
    rate_Hz
        Click rate of both detectors at the peak [1/s].
    u_rate_Hz
        Its standard uncertainty from the scatter of the readouts [1/s].
    counted_s
        Counting time at the peak [s].
    readouts
        Number of readouts that this is the sum of.
    """

    voltage_V: float
    u_voltage_V: float
    offset_V: float
    u_offset_V: float
    rate_Hz: float
    u_rate_Hz: float
    counted_s: float
    readouts: int


def approach(axis: VoltageAxis, voltage_V: float, overshoot_V: float) -> None:
    """Go to a voltage from below: first to `overshoot_V` below it, then up."""
    low, _ = axis.limits_V
    axis.set_voltage(max(low, voltage_V - overshoot_V))
    axis.set_voltage(voltage_V)


def settle(tagger: TimeTagger, wait_s: float, progress: Progress) -> None:
    """Wait until the creep has faded, and show the operator the count rate meanwhile."""
    steps = math.ceil(wait_s)
    for k in range(steps):
        counts = tagger.count(wait_s / steps)
        progress(k + 1, steps, f"settling, {1e-6 * total_rate(counts):.3g} Mcps")


def lock_to_peak(
    axis: VoltageAxis,
    tagger: TimeTagger,
    log: ScanWriter,
    *,
    dither_V: float,
    dwell_s: float,
    tolerance_V: float,
    repeats: int = 3,
    attempts: int = 25,
) -> LockResult:
    """Move a piezo to the peak of the count rate and verify that it is there.

    Near the peak of a Lorentzian resonance ``1/rate`` is quadratic in the voltage. Three points
    therefore give the distance to the peak exactly, and the width need not be known [1]_. The
    rates are averaged over `repeats` readouts, and over more, up to `MAX_REPEATS`, until the
    distance is known to within the tolerance: the first one because it tells how far the peak has
    moved, a later one unless it is beyond the tolerance for certain. The piezo is corrected by each
    distance found. The loop ends when the distance is known to be within the tolerance; that last
    distance is corrected too.

    Parameters
    ----------
    axis
        The piezo, already within about one `dither_V` of the peak.
    log
        Open scan to which every point is written.
    dither_V
        Distance of the two outer points from the middle one [V]; best is half of the resonance's
        full width at half maximum.
    dwell_s
        Counting time per point [s].
    tolerance_V
        Largest distance to the peak at which the loop ends [V].
    repeats
        Readouts of the distance that are averaged at first.
    attempts
        Largest number of corrections.

    Raises
    ------
    LockLostError
        If no light arrives, no peak stands out of the counting noise, or the loop does not
        converge.
    RefusedError
        If the peak is outside the limits of the axis.

    References
    ----------
    .. [1] ``1/rate = (1 + 4 (x - x0)^2/w^2)/C``: the inverse of a Lorentzian with centre x0, full
       width at half maximum w and height C.
    """
    centre = axis.voltage()
    first: tuple[float, float] | None = None
    creep_V = 0.0
    for attempt in range(attempts):
        readouts = [
            _read_points(axis, tagger, log, centre, dither_V, dwell_s) for _ in range(repeats)
        ]
        mean, scatter = _offset(readouts, dither_V)
        while tolerance_V < _u95(scatter, len(readouts)) and len(readouts) < MAX_REPEATS:
            if first is not None and abs(mean) > tolerance_V + _u95(scatter, len(readouts)):
                break
            readouts += [
                _read_points(axis, tagger, log, centre, dither_V, dwell_s) for _ in readouts
            ]
            mean, scatter = _offset(readouts, dither_V)
        if first is None:
            first = mean, scatter
        found_V = max(-dither_V, min(dither_V, mean))
        if attempt >= _PATIENCE:
            creep_V += 0.5 * found_V
        centre += found_V + creep_V
        axis.check(centre - 3.0 * dither_V, centre + dither_V)
        rates = [readout.rates_Hz[1] for readout in readouts]
        if abs(mean) <= tolerance_V:
            excess, noise = _brighter_middle(readouts)
            if excess < PEAK_SIGNIFICANCE * math.sqrt(noise):
                raise LockLostError(
                    f"peak lock: no peak near {centre:.3f} V: the middle is brighter than its "
                    f"sides by {excess / math.sqrt(noise):.1f} standard deviations of counting, "
                    f"{PEAK_SIGNIFICANCE:g} are needed{_of_blinking(rates, dwell_s)}. Tune the "
                    "cavity again, or count longer per point"
                )
            approach(axis, centre, 3.0 * dither_V)
            u_rate = statistics.stdev(rates) / math.sqrt(len(rates))
            rate_Hz, counted_s = statistics.fmean(rates), len(rates) * dwell_s
            return LockResult(centre, scatter, *first, rate_Hz, u_rate, counted_s, len(rates))
    raise LockLostError(
        f"peak lock: no lock on the resonance near {centre:.3f} V: after {attempts} corrections "
        f"the peak is still {1e3 * mean:.3g} mV away, {1e3 * tolerance_V:.3g} mV are allowed"
        f"{_of_blinking(rates, dwell_s)}. Wait until the piezo creeps less, count longer per "
        "point, or allow a larger tolerance; look whether the counter answers with the counts of "
        "the point before"
    )


def _of_blinking(rates_Hz: list[float], dwell_s: float) -> str:
    """Say so where the light at the middle point scatters far more than counting explains."""
    mean_Hz = statistics.fmean(rates_Hz)
    scatter = statistics.stdev(rates_Hz) / mean_Hz
    if scatter < UNSTEADY * math.sqrt(1.0 / (mean_Hz * dwell_s)):
        return ""
    return (
        f"; the light there scatters by {100.0 * scatter:.2g} % in {dwell_s:g} s: does the source "
        "blink, or does the cavity vibrate?"
    )


@dataclass(frozen=True)
class _Readout:
    """Clicks and rates at the three points, from the lowest voltage to the highest."""

    clicks: tuple[int, int, int]
    rates_Hz: tuple[float, float, float]


def _read_points(
    axis: VoltageAxis,
    tagger: TimeTagger,
    log: ScanWriter,
    centre_V: float,
    dither_V: float,
    dwell_s: float,
) -> _Readout:
    axis.set_voltage(centre_V - 3.0 * dither_V)
    clicks, rates_Hz = [], []
    for k in (-1, 0, 1):
        voltage = centre_V + k * dither_V
        axis.set_voltage(voltage)
        counts = tagger.count(dwell_s)
        log.add(voltage, counts)
        if not any(counts.clicks):
            raise LockLostError(
                f"peak lock: neither detector clicked in {dwell_s:g} s at {voltage:.3f} V. Check "
                "that the pump shutter is open, that the light path is not blocked, and that no "
                "detector has latched"
            )
        clicks.append(sum(counts.clicks))
        rates_Hz.append(total_rate(counts))
    return _Readout((clicks[0], clicks[1], clicks[2]), (rates_Hz[0], rates_Hz[1], rates_Hz[2]))


def _offset(readouts: Sequence[_Readout], dither_V: float) -> tuple[float, float]:
    """Return the peak's distance from the middle point, and its standard uncertainty [V].

    Of the mean rates: where the light scatters, the mean of single readouts' distances has long
    tails, because each is a ratio. The uncertainty is the jackknife's, over the readouts.
    """
    n = len(readouts)
    sums = [sum(rates) for rates in zip(*(r.rates_Hz for r in readouts), strict=True)]
    without = [
        _distance([total - own for total, own in zip(sums, r.rates_Hz, strict=True)], dither_V)
        for r in readouts
    ]
    centre = statistics.fmean(without)
    u = math.sqrt((n - 1) / n * sum((offset - centre) ** 2 for offset in without))
    return _distance(sums, dither_V), u


def _u95(u_V: float, n_readouts: int) -> float:
    """Return half the width of the 95 % interval, for so few readouts [V]."""
    return float(special.stdtrit(n_readouts - 1, 0.975)) * u_V


def _distance(rates: Sequence[float], dither_V: float) -> float:
    """Return the peak's distance from the middle of three points `dither_V` apart [V]."""
    below, middle, above = (1.0 / rate for rate in rates)
    curvature = below - 2.0 * middle + above
    if curvature <= 0:
        # the three points are on one flank of the peak: go to the brighter side
        return math.copysign(dither_V, below - above)
    return 0.5 * dither_V * (below - above) / curvature


def _brighter_middle(readouts: Sequence[_Readout]) -> tuple[float, float]:
    """Return by how many clicks the middle is brighter than both sides, and the variance."""
    low, middle, high = (float(sum(c)) for c in zip(*(r.clicks for r in readouts), strict=True))
    return 2.0 * middle - low - high, 4.0 * middle + low + high
