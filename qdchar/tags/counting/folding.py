"""Folded histograms: clicks by the time since the last pulse, the decay curve of a lifetime."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import UsageError

from ..source import TagChunk, TagSource, count_in_one_pass
from ..timing.clock import PulseClock
from . import numba_loops as compiled
from .pulse_statistics import GAP_PULSES
from .time_order import EARLY


@dataclass(frozen=True)
class FoldedHistogram:
    """Clicks of one channel by their phase in the pulse period.

    Attributes
    ----------
    counts
        int64, shape (n_bins,); bin i holds phases from ``i * bin_ps`` to ``(i + 1) * bin_ps``
        after the pulse (plus the offset asked for).
    bin_ps
        Exact bin width, the period divided by the number of bins [ps].
    clock
        The pulse clock.
    offset_ps
        What phase 0 is moved by against the pulse [ps].
    duration_s
        Time covered [s].
    """

    counts: NDArray[np.int64]
    bin_ps: float
    clock: PulseClock
    offset_ps: float
    duration_s: float

    @property
    def edges_ps(self) -> NDArray[np.float64]:
        """Bin edges, shape (n_bins + 1,) [ps]."""
        return self.bin_ps * np.arange(len(self.counts) + 1, dtype=np.float64)


def _check_folding(clock: PulseClock, n_bins: int, dither_ps: float) -> None:
    if n_bins < 1:
        raise UsageError(f"{n_bins} bins a period are no histogram")
    if not 0.0 <= dither_ps < clock.period_ps:
        raise UsageError(f"a dither of {dither_ps} ps is not below the period")


class Folder:
    """Build a :class:`FoldedHistogram` chunk by chunk; see :func:`folded_histogram`."""

    def __init__(
        self,
        channel: int,
        clock: PulseClock,
        *,
        n_bins: int,
        offset_ps: float = 0.0,
        dither_ps: float = 0.0,
        seed: int = 0,
    ) -> None:
        _check_folding(clock, n_bins, dither_ps)
        self.channel, self.clock, self.offset_ps = channel, clock, offset_ps
        self.counts = np.zeros(n_bins, np.int64)
        self._whole = math.floor(clock.period_ps)
        self._rest = clock.period_ps - self._whole
        self._origin, self._fraction = clock.origin(offset_ps)
        self._dither_ps, self._seed = float(dither_ps), seed
        self._index = 0

    def add(self, chunk: TagChunk) -> None:
        """Fold the clicks of this chunk."""
        times, channels = chunk.native()
        self._index = compiled.fold(
            times, channels, self.channel, self._origin, self._fraction, self._whole, self._rest,
            self._dither_ps, self._seed, self._index, len(self.counts) / self.clock.period_ps,
            self.counts,
        )  # fmt: skip

    def histogram(self, duration_s: float) -> FoldedHistogram:
        """Give the histogram so far, over `duration_s` of data."""
        return FoldedHistogram(
            self.counts.copy(), self.clock.period_ps / len(self.counts), self.clock,
            self.offset_ps, duration_s,
        )  # fmt: skip


class LiveFolder(Folder):
    """Fold the clicks of a channel that came when its detector had surely recovered.

    A detector that recovers within a pulse window sees the late photons of that pulse and misses
    the early ones, which distorts the decay curve.

    Parameters
    ----------
    channel, clock, n_bins, offset_ps, dither_ps, seed
        As for :func:`folded_histogram`. Pulses are counted in windows that begin at `offset_ps`.
    recovery_pulses
        Clicks no more than so many pulses after the channel's last one are left out.
    """

    def __init__(
        self,
        channel: int,
        clock: PulseClock,
        *,
        recovery_pulses: int,
        n_bins: int,
        offset_ps: float = 0.0,
        dither_ps: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            channel, clock, n_bins=n_bins, offset_ps=offset_ps, dither_ps=dither_ps, seed=seed
        )
        self.recovery_pulses = recovery_pulses
        self._last_pulse = EARLY

    def add(self, chunk: TagChunk) -> None:
        """Fold the clicks of this chunk."""
        times, channels = chunk.native()
        live = np.empty(len(times), np.int64)
        count, self._last_pulse = compiled.live_clicks(
            times, channels, self.channel, self._origin, self._fraction, self._whole, self._rest,
            self.recovery_pulses, self._last_pulse, live,
        )  # fmt: skip
        super().add(TagChunk(live[:count], np.full(count, self.channel, np.uint8)))


class GapCounter:
    """Count the gaps between successive clicks of a channel, rounded to whole pulse periods.

    Needs no pulse windows, only the period: what it says about the dead time is known before the
    windows are laid.

    Attributes
    ----------
    gaps
        int64, shape (65,): successive clicks 0 to 64 pulse periods apart.
    clicks
        All clicks.
    """

    def __init__(self, channel: int, clock: PulseClock) -> None:
        self.channel = channel
        self.gaps = np.zeros(GAP_PULSES + 1, np.int64)
        self.clicks = 0
        self._per_ps = 1.0 / clock.period_ps
        self._last_ps = EARLY

    def add(self, chunk: TagChunk) -> None:
        """Count the clicks of this chunk."""
        times, channels = chunk.native()
        clicks, self._last_ps = compiled.count_gaps(
            times, channels, self.channel, self._per_ps, self._last_ps, self.gaps
        )
        self.clicks += clicks


def folded_histogram(
    source: TagSource,
    channel: int,
    clock: PulseClock,
    *,
    n_bins: int,
    offset_ps: float = 0.0,
    dither_ps: float = 0.0,
    seed: int = 0,
) -> FoldedHistogram:
    """Histogram the time since the last pulse, the decay curve of a lifetime measurement.

    Parameters
    ----------
    source
        Time tags.
    channel
        Channel number.
    clock
        Pulse clock. Folding 10 s to 10 ps takes the period to 1e-12.
    n_bins
        Equal bins that divide the period.
    offset_ps
        Moves phase 0 to this time after the pulse [ps].
    dither_ps
        Adds to each tag a uniform time in [0, `dither_ps`); give the tagger's step [ps].
    seed
        Of the dither; the same seed gives the same histogram for any chunking.

    Notes
    -----
    Tags lie on the lattice of the tagger's step. The period is no multiple of the step, so each
    pulse meets the lattice at another phase, and where step and period are nearly commensurable
    (312.75 steps in a period repeat after four pulses) the folded lattice is a comb whose lines
    fall unevenly into the bins. A tag stands for a time uniformly distributed over one step;
    drawing that time flattens the comb. It is not free: the step then acts twice, once in the
    tagger and once here, which adds ``step**2 / 12`` to the variance of the response. Record the
    instrument response with the same dither and it cancels in the fit.
    """
    folder = Folder(
        channel, clock, n_bins=n_bins, offset_ps=offset_ps, dither_ps=dither_ps, seed=seed
    )
    count_in_one_pass(source, folder)
    return folder.histogram(source.duration_s)
