"""How click detectors come back after a click, from the gaps between clicks, counted in pulses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.tags import PulseStatistics

_REFERENCE = 5
"""Pulses after the one in question whose hazard it is compared with."""

_SIGNIFICANCE_LEVEL = 1e-4
"""A lack of clicks with a lower probability than this by chance is caused by the dead time."""

_MAX_VETOED_SHARE = 0.02
"""Share of the pulses that a veto longer than needed may cost: 1 % more uncertainty."""


@dataclass(frozen=True)
class DetectorRecovery:
    """How one detector comes back after a click, in steps of the pulse period.

    Attributes
    ----------
    relative
        Efficiency j pulses after a click over that of the recovered detector, j = 1, 2, ...;
        shape (n,).
    u_relative
        Its standard uncertainty, shape (n,).
    recovery_pulses
        Last j at which the detector had not recovered; 0 if it was back at the next pulse. With a
        gradual recovery more than `dead_pulses`.
    resolved
        Whether there were enough clicks to tell a dead pulse from a live one.
    """

    relative: NDArray[np.float64]
    u_relative: NDArray[np.float64]
    recovery_pulses: int
    resolved: bool

    @property
    def until_recovered(self) -> NDArray[np.float64]:
        """Relative efficiency at the pulses up to recovery, shape (recovery_pulses,)."""
        return self.relative[: self.recovery_pulses]

    @property
    def dead_pulses(self) -> float:
        """Pulses dead after a click: the m of R = p/(1 + m p), not whole if recovery is gradual."""
        return float(np.sum(1.0 - self.until_recovered))

    @property
    def u_dead_pulses(self) -> float:
        """Standard uncertainty of `dead_pulses`, of what is neither dead nor recovered."""
        partly = self.until_recovered > 0.0
        return float(np.linalg.norm(self.u_relative[: self.recovery_pulses][partly]))

    @property
    def gradual(self) -> float:
        """Efficiency that comes back before the last pulse at which something is missing.

        If all of it comes back there, while a pulse comes, R = p/(1 + m p) is exact: the mean gap
        between clicks is the 1/p of a detector that is live at once, and what is missing.
        """
        return float(np.sum(self.until_recovered[:-1]))


def recovery_from_gaps(gaps: Sequence[int] | NDArray[np.int64], clicks: int) -> DetectorRecovery:
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
    rare = np.asarray(stats.binom.cdf(seen, seen + later, share)) < _SIGNIFICANCE_LEVEL
    last_dead = 0
    for j, below in zip(lags, rare, strict=True):
        if below:
            last_dead = int(j)
        elif j > last_dead + 1:  # one pulse may escape the test in a gradual recovery
            break
    reference = slice(last_dead + 1, last_dead + 1 + _REFERENCE)
    hazard = counts[reference].sum() / max(at_risk[reference].sum(), 1)
    expected = np.maximum(hazard * at_risk[lags], 1e-300)
    resolved = bool(stats.poisson.cdf(0, expected[0]) < _SIGNIFICANCE_LEVEL)
    return DetectorRecovery(
        relative=seen / expected,
        u_relative=np.sqrt(seen + 0.5) / expected,
        recovery_pulses=last_dead,
        resolved=resolved,
    )


def detector_recoveries(statistics: PulseStatistics) -> tuple[DetectorRecovery, DetectorRecovery]:
    """Find how detectors A and B recover."""
    return (
        recovery_from_gaps(statistics.gaps_a, int(statistics.s_a.sum())),
        recovery_from_gaps(statistics.gaps_b, int(statistics.s_b.sum())),
    )


def veto_pulses(statistics: PulseStatistics) -> int:
    """Find for how many pulses after a click the live gate must veto: the M of live gating.

    Notes
    -----
    Faint light makes so few short gaps that they cannot show the dead time. A veto that is longer
    than needed costs little then: M is at least what leaves 98 % of the pulses live.
    """
    clicked = float((statistics.s_a + statistics.s_b - statistics.c_ab).sum())
    longest = len(statistics.gaps_a) - 1
    affordable = longest
    if clicked > 0:
        affordable = min(longest, int(_MAX_VETOED_SHARE * statistics.n_pulses.sum() / clicked))
    return max(affordable, *(r.recovery_pulses for r in detector_recoveries(statistics)))
