"""Pulse period and electronic delay where nothing about them is known: up to 10 us and 1 ms.

A histogram that resolves pulses of 2 GHz and reaches over 1 ms would have 10^8 bins. So the period
is looked for first, in ranges of delays of growing length and coarser bins; then, with the period
known, the zero peak, in bins of an eighth of a period. Both need few pairs: the beginning of a
file is read until there are enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError

from ..counting.correlation import CorrelationHistogram, Correlator
from ..source import TagSource
from .delay import comb_of, the_low_peak

_PERIOD_REACHES_PS: Final = (150_000, 1_200_000, 9_600_000, 77_000_000)
"""Ranges of delays in which the period is looked for: the last holds 15 periods of 100 kHz."""

_DELAY_REACHES_PS: Final = (1_200_000, 9_600_000, 77_000_000, 1_000_000_000)
"""Ranges in which the zero peak is looked for."""

_PERIOD_BINS: Final = 1 << 15
_MOST_BINS: Final = 1 << 23
_BINS_A_PERIOD: Final = 8
_FEWEST_PEAKS: Final = 20
_MOST_PAIRS: Final = 30_000_000
"""Pairs after which no more tags are read: some hundred a peak at 80 MHz and 1 ms."""

_CHUNK_TAGS: Final = 1 << 14
_SEGMENTS: Final = 64

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Survey:
    """Pulse period, and where the zero peak is, as a coarse look found them [ps]."""

    period_ps: float
    delay_ps: float


def survey(
    source: TagSource,
    channel_a: int,
    channel_b: int,
    *,
    period_ps: float | None = None,
    delay_ps: float | None = None,
) -> Survey:
    """Look for the pulse period from 0.5 ns to 10 us and for the zero peak up to 1 ms.

    Parameters
    ----------
    source
        Time tags of a pulsed source.
    channel_a, channel_b
        The two detectors.
    period_ps, delay_ps
        What is known already [ps].

    Raises
    ------
    InconclusiveError
        If there is no comb of peaks, or not exactly one low peak.

    Notes
    -----
    The longest period is taken whose comb is at least half as clear as the clearest one: a range
    with few peaks shows a fraction of the period, and bins longer than the period show a multiple
    of it, but faintly. At more than 500 MHz the search for the zero peak ends before 1 ms, at
    2 GHz at 260 us.
    """
    if period_ps is None:
        period_ps = _period(source, channel_a, channel_b)
    if delay_ps is None:
        period_ps, delay_ps = _zero_peak(source, channel_a, channel_b, period_ps)
    return Survey(period_ps, delay_ps)


def _period(source: TagSource, a: int, b: int) -> float:
    combs, reasons = [], []
    for reach in _PERIOD_REACHES_PS:
        bin_ps = math.ceil(2 * reach / _PERIOD_BINS)
        try:
            combs.append(comb_of(_first_pairs(source, a, b, reach, bin_ps)))
        except InconclusiveError as error:
            reasons.append(f"up to {reach / 1e6:g} us: {error}")
    if not combs:
        raise InconclusiveError(
            f"no pulse period between 0.5 ns and 10 us shows in the pairs of channels {a} and "
            f"{b}. {'; '.join(reasons)}"
        )
    clearest = max(comb.contrast for comb in combs)
    return max(comb.period for comb in combs if comb.contrast >= 0.5 * clearest)


def _zero_peak(source: TagSource, a: int, b: int, period: float) -> tuple[float, float]:
    reason = ""
    for least_reach in _DELAY_REACHES_PS:
        bin_ps = max(round(period / _BINS_A_PERIOD), 1)
        reach = max(least_reach, math.ceil(_FEWEST_PEAKS * period))
        histogram = _first_pairs(source, a, b, min(reach, _MOST_BINS // 2 * bin_ps), bin_ps)
        delays, counts = histogram.centres_ps, histogram.counts
        if not counts.any():
            raise InconclusiveError(f"channels {a} and {b} have no pairs within {reach / 1e6:g} us")
        period, position = _refine(delays, counts, period)
        first = math.ceil((delays[0] - position) / period + 0.5)
        last = math.floor((delays[-1] - position) / period - 0.5)
        place = np.floor((delays - position) / period + 0.5).astype(np.int64) - first
        inside = (place >= 0) & (place <= last - first)
        areas = np.bincount(place[inside], counts[inside], last - first + 1).astype(np.int64)
        positions = position + period * np.arange(first, last + 1)
        try:
            lowest, _ = the_low_peak(areas, positions)
        except InconclusiveError as error:
            reason = f"up to {reach / 1e6:g} us {error}"
            continue
        return period, float(positions[lowest])
    raise InconclusiveError(reason)


def _first_pairs(
    source: TagSource, a: int, b: int, reach_ps: int, bin_ps: int
) -> CorrelationHistogram:
    """Correlate the beginning of a file, as much of it as gives enough pairs."""
    half = -(-reach_ps // bin_ps)
    correlator = Correlator(a, b, start_ps=-half * bin_ps, bin_ps=bin_ps, n_bins=2 * half)
    clicks, first_ps = np.zeros(2, np.int64), None
    for chunk in source.chunks(_CHUNK_TAGS):
        if not len(chunk):
            continue
        correlator.add(chunk)
        first_ps = int(chunk.times_ps[0]) if first_ps is None else first_ps
        clicks += [int(np.count_nonzero(chunk.channels == c)) for c in (a, b)]
        span = max(int(chunk.times_ps[-1]) - first_ps, 1)
        pairs = float(clicks[0]) * float(clicks[1]) * min(2.0 * reach_ps / span, 1.0)
        if span > 4 * reach_ps and pairs > _MOST_PAIRS:
            break
    return CorrelationHistogram(
        correlator.start_ps, bin_ps, correlator.counts, a, b, int(clicks[0]), int(clicks[1]), 0.0
    )


def _refine(delays: Array, counts: NDArray[np.int64], period: float) -> tuple[float, float]:
    """Return period and position of a comb whose period is known well enough to count peaks.

    The phase of the first harmonic is followed from segment to segment of the delays.
    """
    used = np.flatnonzero(counts)
    t, n = delays[used], counts[used].astype(np.float64)
    segment = np.minimum(
        ((t - delays[0]) / (delays[-1] - delays[0]) * _SEGMENTS).astype(np.int64), _SEGMENTS - 1
    )
    turned = n * np.exp(2j * np.pi / period * t)
    sums = np.bincount(segment, turned.real, _SEGMENTS) + 1j * np.bincount(
        segment, turned.imag, _SEGMENTS
    )
    mean_t = np.bincount(segment, n * t, _SEGMENTS) / np.maximum(
        np.bincount(segment, n, _SEGMENTS), 1.0
    )
    seen = np.abs(sums) > 0.0
    if np.count_nonzero(seen) > 2:
        phase = np.unwrap(np.angle(sums[seen]))
        slope = np.polyfit(mean_t[seen], phase, 1, w=np.sqrt(np.abs(sums[seen])))[0]
        period = float(1.0 / (1.0 / period - slope / (2.0 * np.pi)))
    total = complex(np.sum(n * np.exp(2j * np.pi / period * t)))
    return period, float(np.angle(total)) * period / (2.0 * np.pi)
