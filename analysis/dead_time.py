"""Detector dead time from the gaps between successive clicks, counted in pulses.

After a click a detector is dead for its dead time and then recovers, at once or gradually. With a
pulsed source only whole pulses are seen of that: the chance of a click j pulses after the last one
(the hazard) is zero while the detector is dead and constant once it has recovered.
"""

from __future__ import annotations

import math

import numpy as np

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import TagRun

from .detection import blinking as _blinking
from .detection.detector_recovery import DetectorRecovery, detector_recoveries
from .detection.live_gating import FAR_PEAKS, first_far_peak
from .detection.pulsed_run import open_run
from .statistics.intervals import LEVEL_68, LEVEL_95, rectangular

_GRADUAL = 0.1
"""Largest efficiency that may come back before the last pulse at which something is missing; beyond
it R = p/(1 + m p) does not hold."""


def source_on_fraction(amplitude: Estimate | None) -> Estimate:
    """Return the part of the time a source is on; 1 if its blinking amplitude is not significant.

    Notes
    -----
    q = 1/(1 + b), of an ideal telegraph.
    """
    blinks = _blinking.blinks(amplitude)
    q = _blinking.on_fraction(amplitude.value) if amplitude is not None and blinks else 1.0
    return Estimate(
        name="on_fraction",
        value=q,
        method="from the blinking amplitude, ideal telegraph",
        budget=propagate([(amplitude, -(q**2))]) if amplitude is not None and blinks else (),
    )


def dead_pulses(
    dead_time: Estimate,
    clock_rate_Hz: float,
    on_fraction: float = 1.0,
    measured: Estimate | None = None,
) -> float:
    """Return the pulses that a detector is dead after a click, over the part of the time on.

    Parameters
    ----------
    dead_time
        Of the detectors [s].
    clock_rate_Hz
        Pulse rate [Hz].
    on_fraction
        Part of the time that the source is on.
    measured
        ``dead_pulses`` of the same detectors at this pulse rate, where it was measured.

    Notes
    -----
    A source that is on for a part q of the time gives R = q p/(1 + m p) clicks per pulse, hence
    R/(1 - (m/q) R) without dead time: m/q is what is returned, with m as measured, or else
    m = floor(t_d R_clock).
    """
    m = math.floor(dead_time.value * clock_rate_Hz) if measured is None else measured.value
    return m / on_fraction


def analyse(run: TagRun) -> Result:
    """Find the dead time of the two detectors.

    Parameters
    ----------
    run
        Time tags of the source or of steady light, with the pulse clock.

    Returns
    -------
    Result
        ``dead_time`` [s]: the time after a click at which the efficiency is back to one half.
        Pulsed light tells only between which two pulses that is, so the distribution is
        rectangular between m and m + 1 periods, and the intervals are its own. Where the two
        detectors differ the limits embrace both. ``dead_pulses``: the m of R = p/(1 + m p), not
        whole if a detector recovers while a pulse comes. ``blinking_amplitude``, if the clicks
        allow it.

    Raises
    ------
    InconclusiveError
        If there are too few clicks to tell a dead pulse from a live one.
    """
    pulsed = open_run(run)
    statistics = pulsed.count(veto_pulses=0)
    both = detector_recoveries(statistics)
    if not all(r.resolved for r in both):
        raise InconclusiveError(
            f"{run.file}: too few clicks follow one another within a few pulses to see the dead "
            "time; measure brighter or longer"
        )
    limits = [_half_recovered(r) for r in both]
    low, high = min(a for a, _ in limits), max(b for _, b in limits)
    problems = [
        f"detector {name} recovers gradually: {100 * r.relative[j]:.0f} % of its efficiency "
        f"{j + 1} pulses after a click; dead-time formulas do not hold, live gating does. Or are "
        "some clicks recorded twice, or the clock's divider wrong?"
        for name, r in zip("AB", both, strict=True)
        for j in range(r.recovery_pulses)
        if r.relative[j] > 0.1 and r.gradual > _GRADUAL
    ]
    period = pulsed.clock.period_ps * 1e-12
    bounds = low * period, high * period
    estimate = Estimate(
        name="dead_time",
        value=sum(bounds) / 2,
        method=f"gaps between clicks: dead at {low} pulses, back at {high}; uniform in between",
        plane="detectors",
        budget=(
            Contribution(
                f"pulse period against dead time, {pulsed.label}",
                (bounds[1] - bounds[0]) / math.sqrt(12.0),
                "B",
            ),
        ),
        interval_68=rectangular(*bounds, LEVEL_68),
        interval_95=rectangular(*bounds, LEVEL_95),
    )
    a, b = both
    gaps = Contribution(f"gaps, {pulsed.label}", 0.5 * math.hypot(a.u_dead_pulses, b.u_dead_pulses))
    unlike = Contribution(
        "unlike detectors", abs(a.dead_pulses - b.dead_pulses) / math.sqrt(12.0), "B"
    )
    pulses = Estimate(
        name="dead_pulses",
        value=0.5 * (a.dead_pulses + b.dead_pulses),
        method="gaps between clicks: what is missing after a click, mean of both detectors",
        plane="detectors",
        budget=tuple(c for c in (gaps, unlike) if c.u > 0.0),
    )
    first = first_far_peak(statistics)
    far = pulsed.count(veto_pulses=0, n_max=first + FAR_PEAKS)
    flicker = _blinking.blinking(far, first).estimate(pulsed.label, period)
    fits = tuple(_fit(name, r) for name, r in zip("AB", both, strict=True))
    return Result((estimate, pulses, flicker), fits, tuple(problems))


def _half_recovered(r: DetectorRecovery) -> tuple[int, int]:
    below = np.flatnonzero(r.relative[: r.recovery_pulses] < 0.5)
    last = int(below[-1]) + 1 if len(below) else 0
    return last, last + 1


def _fit(name: str, r: DetectorRecovery) -> Fit:
    shown = slice(0, min(len(r.relative), 4 * r.recovery_pulses + 8))
    lags = np.arange(1.0, len(r.relative) + 1)[shown]
    model = np.where(lags <= r.recovery_pulses, r.relative[shown], 1.0)
    pulls = (r.relative[shown] - model) / r.u_relative[shown]
    return Fit(
        model="recovered after the dead time",
        names=("dead_pulses",),
        values=np.array([r.dead_pulses]),
        covariance=np.array([[float(np.sum(r.u_relative[: r.recovery_pulses] ** 2))]]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=int(np.count_nonzero(lags > r.recovery_pulses)),
        curves=(
            Curve(
                title=f"Recovery of detector {name} after a click",
                x_label="pulses after the click",
                y_label="relative efficiency",
                x=lags,
                y=r.relative[shown],
                u_y=r.u_relative[shown],
                model=model,
                residuals=pulls,
                x_line=lags,
                y_line=model,
                line_label="recovered",
                quantities=("dead_time", "dead_pulses"),
            ),
        ),
    )
