"""How click detectors come back after a click, from the gaps between clicks, counted in pulses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.tags import PulseStatistics

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
