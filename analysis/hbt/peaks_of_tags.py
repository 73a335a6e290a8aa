"""Where the peaks of a file's tags are: the two detectors, pulse period and electronic delay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, UsageError
from qdchar.tags import DelayMeasurement, TagSource, cross_correlation
from qdchar.tags.counting.after_clicks import AfterClicks
from qdchar.tags.timing.delay import locate_zero_peak
from qdchar.tags.timing.delay_survey import survey

from .detector_faults import recovered_after, within_a_period
from .overlap import most_overlap

_MOST_BINS = 1 << 15
_RANGE_PS = 150_000.0
_LONGEST_PERIOD = 1.0 / 3.5
"""Longest period over the range of delays such that this holds six complete peaks anyway."""
_PERIODS = 10.0
_TAGS_FOR_GAPS = 4_000_000
_BLOCKS = 40
SMALL_OVERLAP = 0.3
"""Overlap of the peaks that is left in their areas, over the standard uncertainty of g2."""


def find_peaks_of_tags(
    source: TagSource,
    path: Path,
    *,
    delay_s: float | None = None,
    period_s: float | None = None,
    channels: tuple[int, int] | None = None,
    range_s: float | None = None,
) -> FoundPeaks:
    """Find the two detectors, period and delay; arguments as in `hbt.analyse_file`.

    Parameters
    ----------
    source
        The tags of the file `path`.

    Raises
    ------
    InconclusiveError
        If there is no comb of peaks, or not exactly one low peak and no delay is given.
    UsageError
        If not exactly one pair of channels shows a zero peak.
    """
    wanted = _Wanted(*(None if x is None else x * 1e12 for x in (period_s, delay_s, range_s)))
    pairs = [channels] if channels else _candidate_pairs(source, path)
    found, reasons = [], []
    # a look at delays near zero is enough for most files, a survey finds the rest
    for look in (_correlate, _survey_and_correlate):
        for a, b in pairs:
            try:
                found.append(look(source, a, b, wanted))
            except InconclusiveError as error:
                if len(pairs) == 1 and look is _survey_and_correlate:
                    raise
                reasons.append(f"{a} and {b}: {error}")
        if found:
            break
    if len(found) != 1:
        raise UsageError(
            f"{path}: {len(found)} pairs of its channels show a zero peak; name the channels of "
            f"the two detectors. {'; '.join(reasons)}"
        )
    return FoundPeaks(found[0], _first_gaps(source, found[0]), path.name)


def _candidate_pairs(source: TagSource, path: Path) -> list[tuple[int, int]]:
    channels = source.channels
    if len(channels) < 2:
        raise InconclusiveError(
            f"{path}: only channel {channels} holds tags; g2(0) needs two detectors"
        )
    return list(combinations(channels, 2))


def _first_gaps(source: TagSource, c: Correlation) -> AfterClicks:
    """Count the gaps between the first clicks of a file; they are enough to see afterpulses."""
    zero = c.zero.histogram
    delay_ps = within_a_period(c.zero.delay_ps, c.zero.period_ps)
    gaps = AfterClicks(zero.channel_a, zero.channel_b, c.zero.period_ps, delay_ps)
    read = 0
    for chunk in source.chunks():
        gaps.add(chunk)
        read += len(chunk)
        if read >= _TAGS_FOR_GAPS:
            break
    return gaps


@dataclass(frozen=True)
class Correlation:
    """Pairs by delay and time block, and where the zero peak is."""

    zero: DelayMeasurement
    pairs: NDArray[np.int64]  # shape (blocks, bins)
    singles: NDArray[np.int64]  # shape (blocks, 2)
    block_s: float


@dataclass(frozen=True)
class FoundPeaks:
    """A correlation whose zero peak is found, and the gaps between the first clicks."""

    correlation: Correlation
    gaps: AfterClicks
    label: str

    @property
    def zero(self) -> DelayMeasurement:
        """Channels, period and delay."""
        return self.correlation.zero

    @property
    def clicks_per_pulse(self) -> float:
        """Clicks a pulse of the brighter detector."""
        c = self.correlation
        span_ps = 1e12 * c.block_s * len(c.singles)
        return float(c.singles.sum(axis=0).max()) * c.zero.period_ps / span_ps

    @property
    def dead_time_matters(self) -> bool:
        """Whether a detector that misses clicks after one shapes the peaks by more than chance."""
        pairs = float(self.zero.areas[self.zero.lags != 0].sum())
        return self.clicks_per_pulse**2 * pairs >= 1.0 and recovered_after(self.gaps) > 1

    @property
    def overlap(self) -> bool:
        """Whether late photons of the peaks' neighbours may be more than counting noise."""
        zero, side = self.zero, self.zero.mean_side_area
        return most_overlap(zero) > SMALL_OVERLAP * math.sqrt(max(zero.zero_area, 1.0)) / side


@dataclass(frozen=True)
class _Wanted:
    """What the user said about a file [ps]."""

    period_ps: float | None
    delay_ps: float | None
    range_ps: float | None

    def range_for(self, period_ps: float | None) -> float:
        """Return the range of delays about the zero peak: 150 ns, or ten periods if longer."""
        if self.range_ps is not None:
            return self.range_ps
        if period_ps is not None and period_ps > _LONGEST_PERIOD * _RANGE_PS:
            return _PERIODS * period_ps
        return _RANGE_PS


def _correlate(
    source: TagSource,
    channel_a: int,
    channel_b: int,
    wanted: _Wanted,
    period_ps: float | None = None,
    centre_ps: float = 0.0,
) -> Correlation:
    """Correlate about a delay; `period_ps` is what a survey found, for the range alone."""
    given_ps = wanted.period_ps
    if given_ps is None:
        given_ps = source.metadata.sync_period_ps
    range_ps = wanted.range_for(given_ps if period_ps is None else period_ps)
    if wanted.delay_ps is not None and abs(wanted.delay_ps) > 0.5 * range_ps:
        centre_ps = wanted.delay_ps
    step = max(round(source.resolution_ps), 1)
    bin_ps = step * math.ceil(2 * range_ps / step / _MOST_BINS)
    half = -(-math.ceil(range_ps) // bin_ps)
    histogram = cross_correlation(
        source,
        channel_a,
        channel_b,
        bin_ps=bin_ps,
        range_ps=2 * half * bin_ps,
        start_ps=(round(centre_ps / bin_ps) - half) * bin_ps,
        uneven_bins=True,
        n_blocks=_BLOCKS,
    )
    if histogram.block_counts is None or histogram.block_clicks is None:
        raise RuntimeError("the correlation was asked for by block")
    zero = locate_zero_peak(histogram, period_ps=given_ps, delay_ps=wanted.delay_ps)
    return Correlation(
        zero, histogram.block_counts, histogram.block_clicks, source.duration_s / _BLOCKS
    )


def _survey_and_correlate(
    source: TagSource, channel_a: int, channel_b: int, wanted: _Wanted
) -> Correlation:
    """Look for period and delay up to 10 us and 1 ms first."""
    given_ps = wanted.period_ps
    if given_ps is None:
        given_ps = source.metadata.sync_period_ps
    found = survey(source, channel_a, channel_b, period_ps=given_ps, delay_ps=wanted.delay_ps)
    return _correlate(source, channel_a, channel_b, wanted, found.period_ps, found.delay_ps)
