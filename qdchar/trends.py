"""What changed over the runs of a source: excess scatter, a drift, a step, each with its p-value.

Errors that outlive a run, such as that of a detector's certificate, move all runs alike and are
left out; what is left of each uncertainty is known, so that plain tests serve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from .estimate import Estimate
from .record import SourceRecord

FLAGGED = 1e-3
"""Probability below which a trend is flagged: one of 1000 steady quantities is, by chance."""
OUTLIVE_A_RUN = ("calibration ", "shared calibration ", "assumed ")
"""Beginnings of the names of errors that two runs of a station share: those of certificates, and of
what is assumed in their place."""

_DAY_S = 86_400.0
_LEAST_FOR_DRIFT = 3

Array = NDArray[np.float64]


def outlives_a_run(source: str) -> bool:
    """Whether an error source is the same in two runs; all others belong to one run.

    Parameters
    ----------
    source
        Name of the error source.

    Examples
    --------
    >>> outlives_a_run("calibration detector_efficiency"), outlives_a_run("etalon scan[0]")
    (True, False)
    """
    return source.startswith(OUTLIVE_A_RUN)


def u_of_run(estimate: Estimate) -> float:
    """Return the standard uncertainty without what other runs of the station share.

    Parameters
    ----------
    estimate
        In the result's unit.
    """
    return math.hypot(*(c.u for c in estimate.budget if not outlives_a_run(c.source)))


@dataclass(frozen=True)
class Trend:
    """How one quantity behaved over several runs.

    Attributes
    ----------
    name, unit
        Of the quantity; ``rate_per_pulse`` for the key rate.
    runs
        Number of runs with a value and an uncertainty.
    scatter_p
        Probability of so much scatter about a constant by the uncertainties alone.
    drift, drift_u, drift_p
        Slope of a straight line [unit per day], its standard uncertainty, and the probability of
        so large a slope without a drift; None for fewer than three runs, or at one time.
    step, step_u, step_p
        Mean after less mean before the most likely step, its standard uncertainty, and the
        probability of so large a step anywhere without one; None for fewer than two runs.
    step_at
        Time of the first run after the step.
    """

    name: str
    unit: str
    runs: int
    scatter_p: float | None = None
    drift: float | None = None
    drift_u: float | None = None
    drift_p: float | None = None
    step: float | None = None
    step_u: float | None = None
    step_p: float | None = None
    step_at: datetime | None = None

    @property
    def flags(self) -> tuple[str, ...]:
        """Which of "scatter", "drift" and "step" are less probable than `FLAGGED` by chance."""
        found = (("scatter", self.scatter_p), ("drift", self.drift_p), ("step", self.step_p))
        return tuple(what for what, p in found if p is not None and p < FLAGGED)


def trends(records: Sequence[SourceRecord], names: Iterable[str]) -> tuple[Trend, ...]:
    """Find the trend of quantities, and of the key rate, over records of one source.

    Parameters
    ----------
    records
        In the order of time. Those whose objections say that they were edited or contradict
        themselves are left out.
    names
        Of the quantities; ``rate_per_pulse`` is the key rate of the verdicts.
    """
    sound = [record for record in records if not record.faults]
    return tuple(_trend_of(sound, name) for name in names)


def _trend_of(records: Sequence[SourceRecord], name: str) -> Trend:
    when, values, u, unit = [], [], [], "1"
    for record in records:
        if name == "rate_per_pulse":
            rate = None if record.verdict is None else record.verdict.rate
            point = None if rate is None else (rate.rate_per_pulse, rate.rate_per_pulse_u)
        elif name in record.quantities:
            estimate = record.estimate(name)
            point, unit = (estimate.value, u_of_run(estimate)), estimate.unit
        else:
            point = None
        if point is not None and point[1] > 0:
            when.append(record.created)
            values.append(point[0])
            u.append(point[1])
    return find_trend(name, unit, when, values, u)


def find_trend(
    name: str,
    unit: str,
    when: Sequence[datetime],
    values: Sequence[float],
    u: Sequence[float],
) -> Trend:
    """Test values with known, independent uncertainties for scatter, a drift and a step.

    Parameters
    ----------
    name, unit
        For the result.
    when
        Times, in order, shape (n,).
    values, u
        Values and standard uncertainties above 0, shape (n,).

    Notes
    -----
    Scatter: chi-square about the weighted mean. Drift: slope of the weighted straight line. Step:
    the largest difference of the weighted means before and after, over its uncertainty, of all
    n - 1 places; its probability is multiplied by n - 1 (Bonferroni), which is a little too high
    as neighbouring places are correlated. Where values scatter about line or step by more than
    their uncertainties, these are scaled until they explain it, and Student's t takes the place of
    the normal distribution, so that a noisy quantity is not taken for one that drifts.
    """
    n = len(values)
    if n < 2:
        return Trend(name, unit, n)
    from scipy import stats

    y, w = np.asarray(values, dtype=np.float64), 1.0 / np.asarray(u, dtype=np.float64) ** 2
    about = float(np.sum(w * (y - np.average(y, weights=w)) ** 2))
    days = np.array([(t - when[0]).total_seconds() / _DAY_S for t in when])
    drift, drift_u, drift_p = _drift(days, y, w)
    at, step, step_u, step_p = min(_steps(y, w), key=lambda found: found[3])
    return Trend(
        name=name,
        unit=unit,
        runs=n,
        scatter_p=float(stats.chi2.sf(about, n - 1)),
        drift=drift,
        drift_u=drift_u,
        drift_p=drift_p,
        step=step,
        step_u=step_u,
        step_p=step_p,
        step_at=when[at],
    )


def _drift(days: Array, y: Array, w: Array) -> tuple[float | None, float | None, float | None]:
    n = len(y)
    middle = float(np.average(days, weights=w))
    lever = float(np.sum(w * (days - middle) ** 2))
    if n < _LEAST_FOR_DRIFT or lever == 0.0:
        return None, None, None
    mean = float(np.average(y, weights=w))
    slope = float(np.sum(w * (days - middle) * (y - mean))) / lever
    left = float(np.sum(w * (y - mean - slope * (days - middle)) ** 2))
    u, p = _significance(slope, lever**-0.5, left, n - 2)
    return slope, u, p


def _steps(y: Array, w: Array) -> Iterable[tuple[int, float, float, float]]:
    """Yield place, height, uncertainty and probability of a step at each place."""
    n = len(y)
    for k in range(1, n):
        before, after = (float(np.average(y[s], weights=w[s])) for s in (slice(k), slice(k, n)))
        u = math.sqrt(1.0 / float(w[:k].sum()) + 1.0 / float(w[k:].sum()))
        left = float(np.sum(w[:k] * (y[:k] - before) ** 2) + np.sum(w[k:] * (y[k:] - after) ** 2))
        u, p = _significance(after - before, u, left, n - 2)
        yield k, after - before, u, min(1.0, (n - 1) * p)


def _significance(value: float, u: float, chi2: float, dof: int) -> tuple[float, float]:
    """Uncertainty, scaled where the residuals scatter by more, and two-sided probability."""
    from scipy import stats

    if dof > 0 and chi2 > dof:
        u *= math.sqrt(chi2 / dof)
        return u, float(2.0 * stats.t.sf(abs(value) / u, dof))
    return u, math.erfc(abs(value) / u / math.sqrt(2.0))
