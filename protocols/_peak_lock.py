"""Closed loop on counts: hold a piezo on the peak of a resonance.

A piezo creeps and has hysteresis, so its voltage says little about where it is. What counts is
the light: three voltages around the peak tell how far off the middle is, and every approach
comes from below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from qdchar.errors import InconclusiveError
from qdchar.raw_data import Progress, ScanWriter
from qdchar.roles import Counts, TimeTagger, VoltageAxis

MOST_REPEATS = 48


@dataclass(frozen=True)
class LockResult:
    """Where a resonance was held.

    Attributes
    ----------
    voltage_V, u_voltage_V
        Where the piezo was left, on the peak as last measured, and its standard uncertainty [V].
    offset_V, u_offset_V
        Distance of the peak from where the piezo stood before, as first measured, and the standard
        uncertainty of that look [V].
    rate_Hz
        Click rate of both detectors there [1/s].
    """

    voltage_V: float
    u_voltage_V: float
    offset_V: float
    u_offset_V: float
    rate_Hz: float


def approach(axis: VoltageAxis, voltage_V: float, overshoot_V: float) -> None:
    """Come to a voltage from below, whatever was before."""
    low, _ = axis.limits_V
    axis.set_voltage(max(low, voltage_V - overshoot_V))
    axis.set_voltage(voltage_V)


def settle(tagger: TimeTagger, wait_s: float, progress: Progress) -> None:
    """Let the creep fade while counting, so that the operator sees the rate settle."""
    steps = math.ceil(wait_s)
    for k in range(steps):
        counts = tagger.count(wait_s / steps)
        progress(k + 1, steps, f"settling, {total_rate(counts):.3g} clicks/s")


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
    """Move a piezo to the peak of the count rate and make sure that it is there.

    Near its peak a Lorentzian resonance has ``1/rate`` quadratic in the voltage, so three points
    give the middle exactly, without knowing the width [1]_. The offset is the mean of `repeats`
    such triples, of more where the light flickers; the loop ends when it is within the tolerance,
    with one last step by what it still is: the next look would be no better.

    Parameters
    ----------
    axis
        The piezo, already within about one dither of the peak.
    log
        Open scan that every point goes to.
    dither_V
        Distance of the outer points [V]; best half the width at half maximum.
    dwell_s
        Counting time per point [s].
    tolerance_V
        Largest last step accepted [V].

    Raises
    ------
    InconclusiveError
        If there is no peak here, or the loop does not converge.

    References
    ----------
    .. [1] ``(1 + 4 (x - x0)^2/w^2)/C``: the inverse of a Lorentzian of FWHM w and height C.
    """
    centre = axis.voltage()
    found: tuple[float, float] | None = None
    for _ in range(attempts):
        offsets, rates = [], []
        for _ in range(repeats):
            offset, rate = _triple(axis, tagger, log, centre, dither_V, dwell_s)
            offsets.append(offset)
            rates.append(rate)
        mean = sum(offsets) / repeats
        scatter = math.sqrt(sum((o - mean) ** 2 for o in offsets) / (repeats - 1) / repeats)
        if found is None:
            found = mean, scatter
        centre += max(-dither_V, min(dither_V, mean))
        axis.check(centre - 3.0 * dither_V, centre + dither_V)
        if abs(mean) <= tolerance_V:
            approach(axis, centre, 3.0 * dither_V)
            return LockResult(centre, scatter, *found, sum(rates) / repeats)
        if scatter > tolerance_V:
            repeats = min(2 * repeats, MOST_REPEATS)
    raise InconclusiveError(
        f"no hold on the resonance near {centre:.3f} V: after {attempts} corrections the peak is "
        f"still {1e3 * mean:.1f} mV off ({1e3 * tolerance_V:.1f} mV allowed); wait for the creep "
        "to fade, or count longer per point"
    )


def _triple(
    axis: VoltageAxis,
    tagger: TimeTagger,
    log: ScanWriter,
    centre: float,
    dither_V: float,
    dwell_s: float,
) -> tuple[float, float]:
    """Distance of the peak from the middle [V] and the rate in the middle [1/s]."""
    axis.set_voltage(centre - 3.0 * dither_V)
    inverse = []
    for k in (-1, 0, 1):
        voltage = centre + k * dither_V
        axis.set_voltage(voltage)
        counts = tagger.count(dwell_s)
        log.add(voltage, counts)
        if not any(counts.clicks):
            raise InconclusiveError(
                f"the light is gone: no click in {dwell_s:g} s at {voltage:.3f} V; is the shutter "
                "open, has a detector latched?"
            )
        inverse.append(1.0 / total_rate(counts))
    below, middle, above = inverse
    curvature = below - 2.0 * middle + above
    if curvature <= 0:
        # not between the flanks of a peak: go to the brighter side
        return math.copysign(dither_V, below - above), 1.0 / middle
    return 0.5 * dither_V * (below - above) / curvature, 1.0 / middle


def total_rate(counts: Counts) -> float:
    """Click rate of both detectors together [1/s]."""
    return sum(counts.clicks) / counts.dwell_s
