"""Dead time of click detectors: pulsed light (exact) and continuous light.

A hard dead time is assumed: after a click the detector misses m pulses for sure and sees the next
one fully. Recovery that is neither is what the live-gated estimator is for. Where the source blinks
and p is its average over time, m/q stands for m, see `qdchar.analysis.dead_time.dead_pulses`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import InconclusiveError
from qdchar.raw_data import Scan

Array = NDArray[np.float64]


def clicks_per_pulse(p: ArrayLike, dead_pulses: float) -> Array:
    """Return R = p/(1 + m p), clicks per pulse of a detector that is dead for m pulses after each.

    Parameters
    ----------
    p
        Probability of a click in a pulse to which the detector is live, any shape.
    dead_pulses
        m, pulses that the detector is dead after each click.

    Examples
    --------
    >>> float(clicks_per_pulse(0.5, 2))
    0.25
    """
    live = np.asarray(p, dtype=np.float64)
    return np.asarray(live / (1.0 + dead_pulses * live), dtype=np.float64)


def click_probability(rate_per_pulse: ArrayLike, dead_pulses: float) -> Array:
    """Return p = R/(1 - m R), the inverse of `clicks_per_pulse`.

    Notes
    -----
    The continuous-wave formula ``r/(1 - r t_d)`` overestimates a pulsed source: the detector that
    is live again between two pulses has not lost anything meanwhile. At 0.25 clicks per live
    pulse and t_d = 30 ns it gives 7.5 % too much.

    Raises
    ------
    InconclusiveError
        If there are more clicks than the dead time allows.
    """
    rate = np.asarray(rate_per_pulse, dtype=np.float64)
    if np.any(rate * (dead_pulses + 1) > 1.0):
        raise InconclusiveError(
            f"{float(rate.max()):.4g} clicks per pulse are more than a detector that is dead "
            f"for {dead_pulses:.3g} pulses after each click can give (1/{dead_pulses + 1:.3g}); "
            "check the dead time and the clock"
        )
    return np.asarray(rate / (1.0 - dead_pulses * rate), dtype=np.float64)


def blinking_clicks(
    on: Array, off: Array, dead_pulses: float, on_fraction: float, corrected_for: float
) -> Array:
    """Return the p that `click_probability` finds for a source that blinks.

    Parameters
    ----------
    on, off
        Probabilities of a click in a live pulse while the source is on and off, same shape.
    dead_pulses, on_fraction
        m, pulses a detector is dead after each click, and q, part of the time that the source is
        on.
    corrected_for
        Dead pulses that the counts were corrected for. Where it is m/q, and `off` is zero or q is
        one, p is simply the average over time.
    """
    shining, dark = (clicks_per_pulse(p, dead_pulses) for p in (on, off))
    average = on_fraction * shining + (1.0 - on_fraction) * dark
    return np.asarray(average / (1.0 - corrected_for * average), dtype=np.float64)


def clicks_variance(p: ArrayLike, dead_pulses: float, pulses: ArrayLike) -> Array:
    """Return the variance of the clicks in many pulses, N p (1 - p)/(1 + m p)^3.

    Notes
    -----
    Clicks are a renewal process: the gap between two is m + 1 pulses plus a geometric wait, with
    mean mu = m + 1/p and variance s2 = (1 - p)/p^2; the count's variance tends to N s2/mu^3 [1]_.
    It is far below the mean at high rate: a Poisson error would be too large.

    References
    ----------
    .. [1] D. R. Cox, Renewal Theory (Methuen, 1962), section 3.3
    """
    live = np.asarray(p, dtype=np.float64)
    n = np.asarray(pulses, dtype=np.float64)
    return np.asarray(n * live * (1.0 - live) / (1.0 + dead_pulses * live) ** 3, dtype=np.float64)


@dataclass(frozen=True)
class CorrectedCounts:
    """Counts of a scan as two detectors without dead time would have given, summed.

    Attributes
    ----------
    counts
        Shape (n,); not whole numbers where a correction was made.
    share
        Share of each detector in the light, sums to 1.
    """

    counts: Array
    share: tuple[float, float]


def corrected_counts(scan: Scan, clock_rate_Hz: float, dead_pulses: float) -> CorrectedCounts:
    """Correct the clicks of a scan of a pulsed source for dead time, detector by detector."""
    pulses = scan.dwell_s * clock_rate_Hz
    p = click_probability(scan.clicks / pulses[:, None], dead_pulses)
    return _summed(p * pulses[:, None])


def corrected_counts_continuous(scan: Scan, dead_time_s: float) -> CorrectedCounts:
    """Correct the clicks of a scan with continuous light: r = r'/(1 - r' t_d) per detector."""
    blocked = scan.clicks / scan.dwell_s[:, None] * dead_time_s
    if np.any(blocked >= 1.0):
        raise InconclusiveError(
            f"{float(blocked.max()) / dead_time_s:.4g} clicks per second are more than a dead time "
            f"of {dead_time_s:.3g} s allows; check the dead time"
        )
    return _summed(scan.clicks / (1.0 - blocked))


def fano(counts: Array, light: CorrectedCounts, pulses: Array, dead_pulses: float) -> Array:
    """Return variance over mean of `corrected_counts` of a pulsed source.

    Parameters
    ----------
    counts
        Expected live counts of both detectors together, shape (n,).
    light
        Gives the detectors' shares.
    pulses
        Laser pulses per point, shape (n,).
    dead_pulses
        Pulses that a detector is dead after each click.

    Notes
    -----
    From `clicks_variance` and dp/dR = (1 + m p)^2: each detector has (1 - p)(1 + m p).
    """
    total = np.zeros_like(counts)
    for share in light.share:
        p = np.minimum(share * counts / pulses, 1.0)
        total += share * (1.0 - p) * (1.0 + dead_pulses * p)
    return np.maximum(total, 1e-6)


def fano_continuous(
    counts: Array, light: CorrectedCounts, dwell_s: Array, dead_time_s: float
) -> Array:
    """Return variance over mean of `corrected_counts_continuous`: 1 + r t_d for each detector."""
    total = np.zeros_like(counts)
    for share in light.share:
        total += share * (1.0 + share * counts / dwell_s * dead_time_s)
    return total


def _summed(per_detector: Array) -> CorrectedCounts:
    total = float(per_detector.sum())
    if total <= 0:
        raise InconclusiveError("no clicks in the whole scan; is the light path right?")
    a = float(per_detector[:, 0].sum()) / total
    return CorrectedCounts(per_detector.sum(axis=1), (a, 1.0 - a))
