"""Peaks that overlap: the window of the zero peak holds late photons of the pulses beside it.

With a decay of 1/e time d and a period T, windows of a whole period hold exp(-T/(2 d)) of a side
peak that belongs to its neighbours. In a side peak's window these replace what it loses, in the
zero peak's they come on top: a g2 of 0.010 at d = 2 ns and 76 MHz comes out as 0.047.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.tags.formats.delay_histogram import DelayHistogram
from qdchar.tags.timing.delay import DelayMeasurement

from ..statistics.intervals import Interval
from .g2_comb_fit import analyse_histogram, comb

_BINS_A_PERIOD = 128
_EDGE = 1.0 / 16.0
"""Share of a period at each end of a peak's window from which the overlap is judged."""

_LONGEST_DECAY = 0.25
"""Longest decay over the period, for a first judgement of the overlap."""


@dataclass(frozen=True)
class Overlap:
    """What a fit of the comb of peaks says about the zero peak and its window.

    Attributes
    ----------
    g2, u, interval_68, interval_95
        Zero peak over side peaks, steady background included, each with all of its own photons.
    excess
        By how much the area within the windows is larger, relative to a side peak.
    decay_s
        1/e decay of the peaks' sides [s].
    problems
        Where the comb does not describe the histogram.
    """

    g2: float
    u: float
    interval_68: Interval
    interval_95: Interval
    excess: float
    decay_s: float
    problems: tuple[str, ...]

    @property
    def remark(self) -> str:
        """Say what was done, for the method of an estimate."""
        return (
            f"the peaks, of a decay time of {1e9 * self.decay_s:.3g} ns, overlap: by area g2 would "
            f"be {self.excess:.3g} too high, a fit of the comb of peaks is reported"
        )


def most_overlap(zero: DelayMeasurement) -> float:
    """Return the largest share of a side peak that overlap can add to the zero peak.

    Notes
    -----
    From the level half-way between the side peaks, all of which is taken for tails of decays.
    """
    histogram = zero.histogram
    turns = (histogram.centres_ps - zero.delay_ps) / zero.period_ps
    lag = np.floor(turns + 0.5).astype(np.int64)
    side = (lag >= zero.lags[0]) & (lag <= zero.lags[-1]) & (lag != 0)
    valley = side & (np.abs(turns - lag) > 0.5 - _EDGE)
    per_bin = float(histogram.counts[valley].mean()) if valley.any() else 0.0
    return per_bin * zero.period_ps / histogram.bin_ps * _LONGEST_DECAY / zero.mean_side_area


def overlap(
    zero: DelayMeasurement, pairs: NDArray[np.int64], window_ps: float, label: str
) -> Overlap:
    """Fit the comb of peaks to a correlation of tags.

    Parameters
    ----------
    zero
        Where the zero peak is.
    pairs
        Pairs by time block and delay, shape (blocks, bins) of the histogram of `zero`.
    window_ps
        Half width of the windows whose areas are taken [ps].
    label
        Name of the data.

    Raises
    ------
    InconclusiveError
        If no comb can be fitted.
    """
    histogram = zero.histogram
    join = max(int(zero.period_ps / _BINS_A_PERIOD / histogram.bin_ps), 1)
    bins = pairs.shape[1] // join
    joined = pairs[:, : bins * join].reshape(len(pairs), bins, join).sum(axis=2)
    result = analyse_histogram(
        DelayHistogram(
            histogram.start_ps * 1e-12, join * histogram.bin_ps * 1e-12, joined.T.copy()
        ),
        label,
        delay_s=zero.delay_ps * 1e-12,
        period_s=zero.period_ps * 1e-12,
    )
    found, fit = result["g2_zero"], result.fits[0]
    v = dict(zip(fit.names, map(float, fit.values), strict=True))
    period, half = zero.period_ps * 1e-12, window_ps * 1e-12

    def area(lag: int) -> float:
        edges = lag * period + np.array([-half, half])
        shape = float(comb(edges, period, v["decay"], v["g2"], 0.0)[0])
        return 2.0 * half * (v["background"] + v["peak"] * shape)

    own = 2.0 * v["decay"] * -math.expm1(-half / v["decay"]) * v["peak"]
    steady = 2.0 * half * v["background"]
    share = own / (own + steady)

    def with_background(g2: float) -> float:
        return share * g2 + 1.0 - share

    assert found.interval_68 is not None
    assert found.interval_95 is not None
    g2 = with_background(v["g2"])
    (low_68, high_68), (low_95, high_95) = found.interval_68, found.interval_95
    return Overlap(
        g2=g2,
        u=share * found.u,
        interval_68=(with_background(low_68), with_background(high_68)),
        interval_95=(with_background(low_95), with_background(high_95)),
        excess=area(0) / area(int(zero.lags[-1])) - g2,
        decay_s=v["decay"],
        problems=result.problems,
    )
