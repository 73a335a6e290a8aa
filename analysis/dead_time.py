"""Detector dead time from the gaps between successive clicks, counted in pulses.

After a click a detector is blind for its dead time and then recovers, at once or gradually. With a
pulsed source only whole pulses are seen of that: the chance of a click j pulses after the last one
(the hazard) is zero while the detector is blind and constant once it has recovered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Curve, Fit, Result
from qdchar.measurement import TagRun
from qdchar.tags import PulseStatistics

from ._intervals import LEVEL_68, LEVEL_95, rectangular
from ._pulses import open_run

_REFERENCE = 5
_CHANCE = 1e-4
_FREE_OF_CHARGE = 0.02


@dataclass(frozen=True)
class Recovery:
    """How one detector comes back after a click, in steps of the pulse period.

    Attributes
    ----------
    relative
        Efficiency j pulses after a click over that of the recovered detector, j = 1, 2, ...;
        shape (n,).
    u_relative
        Its standard uncertainty, shape (n,).
    blind_pulses
        Last j at which the detector had not recovered; 0 if it was back at the next pulse.
    resolved
        Whether there were enough clicks to tell a blind pulse from a live one.
    """

    relative: NDArray[np.float64]
    u_relative: NDArray[np.float64]
    blind_pulses: int
    resolved: bool

    @property
    def until_recovered(self) -> NDArray[np.float64]:
        """Relative efficiency at the pulses up to recovery, shape (blind_pulses,)."""
        return self.relative[: self.blind_pulses]

    @property
    def lost_pulses(self) -> float:
        """Pulses lost after a click: the m of R = p/(1 + m p), not whole if recovery is gradual."""
        return float(np.sum(1.0 - self.until_recovered))


def recovery(gaps: Sequence[int] | NDArray[np.int64], clicks: int) -> Recovery:
    """Find how a detector recovers from the gaps between its clicks.

    Parameters
    ----------
    gaps
        Number of successive clicks j pulses apart, j = 0, 1, ...; shape (n,).
    clicks
        Pulses on which the detector clicked.

    Notes
    -----
    The hazard at j is the number of gaps j over the number of gaps j or longer. It is compared
    with that of the five pulses after it, not of all: under blinking a long gap means that the
    source is probably dark, and the hazard falls with j although the detector has recovered.
    """
    counts = np.array(gaps, dtype=np.int64)
    counts[0] = 0  # a second click on one pulse is not in `clicks`
    at_risk = clicks - np.concatenate([[0], np.cumsum(counts)[:-1]])
    lags = np.arange(1, len(counts) - _REFERENCE)
    seen = counts[lags]
    later = np.array([counts[j + 1 : j + 1 + _REFERENCE].sum() for j in lags])
    share = np.array([at_risk[j] / max(at_risk[j : j + 1 + _REFERENCE].sum(), 1) for j in lags])
    # A pulse counts as not recovered if so few gaps there would be this rare by chance alone.
    rare = np.asarray(stats.binom.cdf(seen, seen + later, share)) < _CHANCE
    blind = 0
    for j, below in zip(lags, rare, strict=True):
        if below:
            blind = int(j)
        elif j > blind + 1:  # one pulse may escape the test in a gradual recovery
            break
    reference = slice(blind + 1, blind + 1 + _REFERENCE)
    hazard = counts[reference].sum() / max(at_risk[reference].sum(), 1)
    expected = np.maximum(hazard * at_risk[lags], 1e-300)
    resolved = bool(stats.poisson.cdf(0, expected[0]) < _CHANCE)
    return Recovery(
        relative=seen / expected,
        u_relative=np.sqrt(seen + 0.5) / expected,
        blind_pulses=blind,
        resolved=resolved,
    )


def recoveries(statistics: PulseStatistics) -> tuple[Recovery, Recovery]:
    """Find how detectors A and B recover."""
    return (
        recovery(statistics.gaps_a, int(statistics.s_a.sum())),
        recovery(statistics.gaps_b, int(statistics.s_b.sum())),
    )


def blind_pulses(statistics: PulseStatistics) -> int:
    """Find how many pulses after a click no detector is to be trusted: the M of live gating.

    Notes
    -----
    Where light is so faint that the gaps cannot show the dead time, a gate that is longer than
    needed costs nothing: M is at least what leaves 98 % of the pulses live.
    """
    clicked = float((statistics.s_a + statistics.s_b - statistics.c_ab).sum())
    longest = len(statistics.gaps_a) - 1
    free = longest
    if clicked > 0:
        free = min(longest, int(_FREE_OF_CHARGE * statistics.n_pulses.sum() / clicked))
    return max(free, *(r.blind_pulses for r in recoveries(statistics)))


def analyse(run: TagRun) -> Result:
    """Find the dead time of the two detectors.

    Returns
    -------
    Result
        ``dead_time`` [s]: the time after a click at which the efficiency is back to one half.
        Pulsed light tells only between which two pulses that is, so the distribution is
        rectangular between m and m + 1 periods, and the intervals are its own. Where the two
        detectors differ the limits embrace both.

    Raises
    ------
    InconclusiveError
        If there are too few clicks to tell a blind pulse from a live one.
    """
    pulsed = open_run(run)
    statistics = pulsed.count(blind_pulses=0)
    both = recoveries(statistics)
    if not all(r.resolved for r in both):
        raise InconclusiveError(
            f"{run.file}: too few clicks follow one another within a few pulses to see the dead "
            "time; measure brighter or longer"
        )
    limits = [_half_recovered(r) for r in both]
    low, high = min(a for a, _ in limits), max(b for _, b in limits)
    problems = [
        f"detector {name} recovers gradually: {100 * r.relative[j]:.0f} % of its efficiency "
        f"{j + 1} pulses after a click; dead-time formulas do not hold, live gating does"
        for name, r in zip("AB", both, strict=True)
        for j in range(r.blind_pulses)
        if r.relative[j] > 0.1
    ]
    period = pulsed.clock.period_ps * 1e-12
    bounds = low * period, high * period
    estimate = Estimate(
        name="dead_time",
        value=sum(bounds) / 2,
        unit="s",
        definition="time after a click at which the efficiency is back to one half",
        method=(
            f"gaps between clicks: blind at {low}, back at {high} pulses; rectangular between them"
        ),
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
    fits = tuple(_fit(name, r) for name, r in zip("AB", both, strict=True))
    return Result((estimate,), fits, tuple(problems))


def _half_recovered(r: Recovery) -> tuple[int, int]:
    below = np.flatnonzero(r.relative[: r.blind_pulses] < 0.5)
    last = int(below[-1]) + 1 if len(below) else 0
    return last, last + 1


def _fit(name: str, r: Recovery) -> Fit:
    shown = slice(0, min(len(r.relative), 4 * r.blind_pulses + 8))
    lags = np.arange(1.0, len(r.relative) + 1)[shown]
    model = np.where(lags <= r.blind_pulses, r.relative[shown], 1.0)
    pulls = (r.relative[shown] - model) / r.u_relative[shown]
    return Fit(
        model="recovered after the dead time",
        names=("lost_pulses",),
        values=np.array([r.lost_pulses]),
        covariance=np.array([[float(np.sum(r.u_relative[: r.blind_pulses] ** 2))]]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=int(np.count_nonzero(lags > r.blind_pulses)),
        curves=(
            Curve(
                title=f"Recovery of detector {name}",
                x_label="pulses after a click",
                y_label="efficiency, relative",
                x=lags,
                y=r.relative[shown],
                u_y=r.u_relative[shown],
                model=model,
                residuals=pulls,
                x_line=lags,
                y_line=model,
            ),
        ),
    )
