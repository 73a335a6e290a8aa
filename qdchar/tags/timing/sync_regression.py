"""The pulse clock of a run of any length: regression on its sync channel, chunk by chunk."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, RecordError

from ..source import TagChunk
from .clock import PulseClock, sync_clock

_FIRST_TAGS: Final = 1 << 16
"""Sync tags that the first clock is found from: it then counts any gap that a laser may make."""

_STRETCHES: Final = 32
"""Parts of a run over whose means the wander is taken."""


class SyncRegression:
    """Find the pulse clock from the tags of a sync channel; see :func:`.clock.sync_clock`.

    Parameters
    ----------
    channel
        Channel of the sync signal.
    divider
        Laser pulses a sync tag.
    period_guess_ps
        Approximate *pulse* period [ps]; needed where most sync tags are missing.

    Notes
    -----
    The first 65 536 tags give a clock by `sync_clock`. It numbers the pulses of all later tags, and
    the regression runs on how far each tag is from it: sums of these small numbers keep their
    digits however long the run is, and take no memory.
    """

    def __init__(
        self, channel: int, divider: int = 1, *, period_guess_ps: float | None = None
    ) -> None:
        self.channel, self.divider = channel, divider
        self.n_tags = 0
        self._guess_ps = period_guess_ps
        self._first: list[NDArray[np.int64]] = []
        self._start: PulseClock | None = None
        self._last_ps = 0
        self._index = self._joined = 0
        self._mean_index = self._mean_rest = 0.0
        self._squares = np.zeros(3)  # of index, index times rest, rest, about their means

    def add(self, chunk: TagChunk) -> None:
        """Take in the sync tags of this chunk.

        Raises
        ------
        InconclusiveError
            If the tags are no clock signal.
        RecordError
            If time goes back.
        """
        times = chunk.times_ps[chunk.channels == self.channel]
        if not len(times):
            return
        self.n_tags += len(times)
        if self._start is not None:
            self._regress(self._start, times)
            return
        self._first.append(times)
        if self.n_tags >= _FIRST_TAGS:
            times = np.concatenate(self._first)
            self._first.clear()
            self._start = self._find(times)
            self._last_ps = self._start.reference_ps + round(self._start.t0_ps)
            # the regression begins with the first tag, which lies before the clock's reference
            self._index = -round((self._last_ps - int(times[0])) / self._interval(self._start))
            self._last_ps = int(times[0])
            self._regress(self._start, times)

    def clock(self) -> PulseClock:
        """Give the clock of all tags so far.

        Raises
        ------
        InconclusiveError
            If there are fewer than three tags, or they scatter too much about a regular train.
        """
        start = self._start
        if start is None:
            return self._find(np.concatenate([np.empty(0, np.int64), *self._first]))
        of_index, mixed, of_rest = (float(s) for s in self._squares)
        slope = mixed / of_index
        interval = self._interval(start) + slope
        rms = math.sqrt(max(of_rest - slope * mixed, 0.0) / (self.n_tags - 2))
        if rms > 0.2 * interval:
            raise InconclusiveError(
                f"the sync tags scatter by {rms:.0f} ps about a train of {interval:.1f} ps: the "
                "laser's repetition rate changed within the run. Record shorter"
            )
        # In the middle of the run period and t0 are uncorrelated.
        middle = round(self._mean_index)
        whole, rest = self._step(start)
        since = middle * rest + start.t0_ps
        return PulseClock(
            period_ps=interval / self.divider,
            t0_ps=since - math.floor(since) + self._mean_rest + slope * (middle - self._mean_index),
            u_period_ps=rms / math.sqrt(of_index) / self.divider,
            rms_ps=rms,
            reference_ps=start.reference_ps + middle * whole + math.floor(since),
            u_t0_ps=rms / math.sqrt(self.n_tags),
        )

    def _find(self, times: NDArray[np.int64]) -> PulseClock:
        return sync_clock(times, self.divider, period_guess_ps=self._guess_ps)

    def _interval(self, clock: PulseClock) -> float:
        return clock.period_ps * self.divider

    def _step(self, clock: PulseClock) -> tuple[int, float]:
        """Whole and fractional picoseconds of the interval: products with an index stay exact."""
        whole = math.floor(self._interval(clock))
        return whole, self._interval(clock) - whole

    def _regress(self, start: PulseClock, times: NDArray[np.int64]) -> None:
        gaps = np.diff(times, prepend=self._last_ps)
        if gaps.min() < 0:
            raise RecordError("sync tags are not in time order")
        interval = self._interval(start)
        longest = float(gaps.max())
        if longest * 3.0 * start.u_period_ps / start.period_ps > 0.2 * interval:
            raise InconclusiveError(
                f"a gap of {longest * 1e-6:.1f} us between sync tags is too long to count its "
                "pulses"
            )
        index = self._index + np.cumsum(np.rint(gaps / interval).astype(np.int64))
        self._index, self._last_ps = int(index[-1]), int(times[-1])
        whole, rest = self._step(start)
        away = (times - start.reference_ps - index * whole).astype(np.float64)
        away -= index * rest + start.t0_ps

        # Sums about the means, joined with those of the tags before (Chan, Golub, LeVeque 1983).
        new, old = len(times), self._joined
        self._joined += new
        mean_index, mean_away = float(index.mean()), float(away.mean())
        centred, deviation = index - mean_index, away - mean_away
        self._squares += [
            float(centred @ centred),
            float(centred @ deviation),
            float(deviation @ deviation),
        ]
        further, later = mean_index - self._mean_index, mean_away - self._mean_rest
        share = new / (old + new)
        self._squares += np.array([further * further, further * later, later * later]) * old * share
        self._mean_index += share * further
        self._mean_rest += share * later


class PulseWander:
    """Find how far the pulses of a laser wander about a regular train.

    Parameters
    ----------
    channel, divider
        Channel of the sync signal, and laser pulses a sync tag.
    clock
        The regular train, from a `SyncRegression` on the same run.
    n_tags
        Sync tags of the run.
    """

    def __init__(self, channel: int, clock: PulseClock, divider: int, n_tags: int) -> None:
        self.channel, self._clock = channel, clock
        self._interval = clock.period_ps * divider
        stretches = max(min(_STRETCHES, n_tags // 10), 1)
        self._borders = np.array([n_tags * i // stretches for i in range(1, stretches)], np.int64)
        self._sums = np.zeros((stretches, 3))
        self._index = 0

    def add(self, chunk: TagChunk) -> None:
        """Take in the sync tags of this chunk."""
        times = chunk.times_ps[chunk.channels == self.channel]
        since = (times - self._clock.reference_ps).astype(np.float64) - self._clock.t0_ps
        away = since - np.rint(since / self._interval) * self._interval
        index = np.arange(self._index, self._index + len(times))
        stretch = np.searchsorted(self._borders, index, side="right")
        for i, power in enumerate((np.ones_like(away), away, away**2)):
            self._sums[:, i] += np.bincount(stretch, power, minlength=len(self._sums))
        self._index += len(times)

    def rms_ps(self) -> float:
        """Return the rms of the means of up to 32 stretches, less what jitter leaves in them [ps].

        A drift of the repetition rate by 1e-10 moves the pulses by 0.3 ns within 10 s.
        """
        number, total, squares = self._sums.T
        means = total / number
        white = (squares - total * means) / np.maximum(number - 1, 1) / number
        return math.sqrt(max(float(means.var()) - float(white.mean()), 0.0))
