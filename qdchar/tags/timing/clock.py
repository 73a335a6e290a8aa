"""The pulse clock: when the laser fired, to far better than one step of the tagger."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from qdchar.errors import InconclusiveError, RecordError


@dataclass(frozen=True)
class PulseClock:
    """A regular pulse train: pulse k comes at ``reference_ps + t0_ps + k * period_ps``.

    Attributes
    ----------
    period_ps
        Pulse period [ps].
    t0_ps
        Time of pulse 0 after the reference [ps].
    u_period_ps
        Standard uncertainty of the period [ps]; 0 for a period that was given.
    rms_ps
        Scatter of the clock signal about the train [ps]; 0 for a clock that was given.
    reference_ps
        Where t0 counts from [ps]. A float64 alone cannot hold a time of hours to a picosecond.
    u_t0_ps
        Standard uncertainty of t0 [ps].
    """

    period_ps: float
    t0_ps: float = 0.0
    u_period_ps: float = 0.0
    rms_ps: float = 0.0
    reference_ps: int = 0
    u_t0_ps: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.period_ps) and self.period_ps >= 1.0):
            raise RecordError(f"a pulse period of {self.period_ps} ps is not a clock")
        if not math.isfinite(self.t0_ps):
            raise RecordError(f"a clock that starts at {self.t0_ps} ps is not a clock")

    @property
    def frequency_hz(self) -> float:
        """Pulse rate [Hz]."""
        return 1e12 / self.period_ps

    def origin(self, offset_ps: float = 0.0) -> tuple[int, float]:
        """Give the time of pulse 0, moved by `offset_ps`, as whole and fractional picoseconds."""
        shift = self.t0_ps + offset_ps
        whole = math.floor(shift)
        return self.reference_ps + whole, shift - whole


def sync_clock(
    sync_times_ps: ArrayLike, divider: int = 1, *, period_guess_ps: float | None = None
) -> PulseClock:
    """Find the pulse clock from the tags of a (divided) sync signal by linear regression.

    Missing sync tags are tolerated: each gap is counted in whole sync intervals. Short gaps are
    counted first; the interval they give is precise enough to count the longer ones.

    Parameters
    ----------
    sync_times_ps
        Tags of the sync channel in time order, shape (n,) [ps].
    divider
        Laser pulses a sync tag.
    period_guess_ps
        Approximate *pulse* period [ps], good to 1 %. Needed where most sync tags are missing
        (filtered sync); by default the median gap is taken as one sync interval.

    Returns
    -------
    PulseClock
        With ``reference_ps`` at the middle of the record, where period and t0 are uncorrelated.

    Raises
    ------
    InconclusiveError
        If there are fewer than three tags, or the gaps are no multiples of one interval.

    Notes
    -----
    The uncertainties are those of ordinary least squares with white timing noise. A drift of the
    laser within the record shows as an ``rms_ps`` above the tagger's jitter.
    """
    times = np.asarray(sync_times_ps, dtype=np.int64)
    if divider < 1:
        raise RecordError(f"the sync divider is {divider}; it counts laser pulses a sync tag")
    gaps = np.diff(times)
    if np.any(gaps < 0):
        raise RecordError("sync tags are not in time order")
    if len(times) < 3:
        raise InconclusiveError(
            f"{len(times)} sync tags are too few for a clock; is the sync channel the right one?"
        )
    interval = float(np.median(gaps)) if period_guess_ps is None else period_guess_ps * divider
    counts = _count_intervals(gaps.astype(np.float64), interval)
    index = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    index -= index[len(index) // 2]
    reference = int(times[len(times) // 2])

    # The train through the two ends is exact in integers; the regression only sees the small rest.
    step = round((int(times[-1]) - int(times[0])) / int(index[-1] - index[0]))
    rest = (times - reference - index * step).astype(np.float64)
    centred = index - index.mean()
    spread = float(np.dot(centred, centred))
    slope = float(np.dot(centred, rest)) / spread
    intercept = float(rest.mean()) - slope * float(index.mean())
    residual = rest - intercept - slope * index
    freedom = max(len(times) - 2, 1)
    rms = math.sqrt(float(np.dot(residual, residual)) / freedom)
    if rms > 0.2 * (step + slope):
        raise InconclusiveError(
            f"the sync tags deviate by {rms:.0f} ps rms from a regular train with a period of "
            f"{step + slope:.1f} ps. Check that the sync channel is the right one. If it is, most "
            "sync tags are missing; then give the approximate pulse period"
        )
    return PulseClock(
        period_ps=(step + slope) / divider,
        t0_ps=intercept,
        u_period_ps=rms / math.sqrt(spread) / divider,
        rms_ps=rms,
        reference_ps=reference,
        u_t0_ps=rms / math.sqrt(len(times)),
    )


def _count_intervals(
    gaps: np.ndarray[tuple[int], np.dtype[np.float64]], interval: float
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Count whole intervals in each gap, refining the interval on ever longer gaps."""
    longest = float(gaps.max())
    relative = 0.01
    for _ in range(64):
        trusted = 0.2 / relative
        counted = np.rint(gaps / interval)
        use = (counted >= 1) & (counted <= trusted)
        if np.count_nonzero(use) < 2:
            raise InconclusiveError(
                f"no two sync tags stand within {trusted:.0f} intervals of {interval:.1f} ps: "
                "give the pulse period more precisely"
            )
        weight = float(np.dot(counted[use], counted[use]))
        interval = float(np.dot(counted[use], gaps[use])) / weight
        miss = gaps[use] - counted[use] * interval
        scatter = math.sqrt(float(np.dot(miss, miss)) / np.count_nonzero(use))
        if scatter > 0.25 * interval:
            raise InconclusiveError(
                f"gaps between sync tags are no multiples of {interval:.1f} ps (they miss by "
                f"{scatter:.0f} ps): give the pulse period approximately"
            )
        if longest / interval <= trusted:
            return np.rint(gaps / interval).astype(np.int64)
        # a step of the tagger at least, for the error of the mean
        error = max(scatter, 1.0) / math.sqrt(weight) / interval
        if error >= relative:
            break
        relative = max(3.0 * error, 1e-15)
    raise InconclusiveError(
        f"a gap of {longest * 1e-6:.1f} us between sync tags is too long to count its pulses"
    )
