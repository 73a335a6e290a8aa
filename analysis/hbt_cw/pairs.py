"""All pairs of clicks of a file of time tags, for continuous excitation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qdchar.errors import InconclusiveError, UsageError
from qdchar.tags import cross_correlation, open_tags
from qdchar.tags.formats.delay_histogram import DelayHistogram
from qdchar.tags.source import in_blocks

_BLOCKS = 40
_RANGE_S = 100e-9
_BINS = 4096
_MOST_BINS = 1 << 16


@dataclass(frozen=True)
class Pairs:
    """Pairs by delay and time block, and those of independent light at the same count rates.

    Attributes
    ----------
    histogram
        A snapshot a time block.
    independent_per_bin
        Sum over the blocks of the product of the singles.
    """

    histogram: DelayHistogram
    independent_per_bin: float


def read_pairs(
    path: Path, channels: tuple[int, int] | None, bin_s: float | None, range_s: float | None
) -> Pairs:
    """Correlate two channels of a file; by default over +- 100 ns in some thousand bins.

    Raises
    ------
    UsageError
        If the file has not two channels and none are given, or the bins are no bins.
    InconclusiveError
        If a channel is silent.
    """
    source = open_tags(path)
    if channels is None:
        if len(source.channels) != 2:
            raise UsageError(
                f"{path}: holds channels {source.channels}; name those of the two detectors"
            )
        channels = source.channels[0], source.channels[1]
    range_ps = 1e12 * (_RANGE_S if range_s is None else range_s)
    step = max(round(source.resolution_ps), 1)
    wanted = 2.0 * range_ps / _BINS if bin_s is None else 1e12 * bin_s
    if not (range_ps > 0.0 and wanted > 0.0 and 2.0 * range_ps / wanted <= _MOST_BINS):
        raise UsageError(
            f"bins of {wanted:g} ps over +- {range_ps:g} ps: must be positive, and at most "
            f"{_MOST_BINS} bins"
        )
    bin_ps = step * max(round(wanted / step) if bin_s is not None else math.ceil(wanted / step), 1)
    found = cross_correlation(
        source,
        *channels,
        bin_ps=bin_ps,
        range_ps=math.ceil(range_ps),
        uneven_bins=True,
        n_blocks=_BLOCKS,
    )
    if found.block_counts is None:
        raise RuntimeError("the correlation was asked for by block")
    singles = np.zeros((_BLOCKS, 2), np.int64)
    for block, chunks in in_blocks(source, _BLOCKS):
        for chunk in chunks:
            for i, channel in enumerate(channels):
                singles[block, i] += np.count_nonzero(chunk.channels == channel)
    if not singles.sum(axis=0).all():
        raise InconclusiveError(f"{path}: channels {channels}: a detector has no clicks")
    block_ps = 1e12 * source.duration_s / _BLOCKS
    independent = float(np.sum(np.prod(singles.astype(np.float64), axis=1)) * bin_ps / block_ps)
    histogram = DelayHistogram(found.start_ps * 1e-12, bin_ps * 1e-12, found.block_counts.T)
    return Pairs(histogram, independent)
