"""Peaks that overlap: the window of the zero peak holds late photons of the pulses beside it.

With a decay of 1/e time d and a period T, windows of a whole period hold exp(-T/(2 d)) of a side
peak that belongs to its neighbours. In a side peak's window these replace what it loses, in the
zero peak's they come on top: a g2 of 0.010 at d = 2 ns and 76 MHz comes out as 0.047.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.fit import Fit
from qdchar.tags.formats.delay_histogram import DelayHistogram
from qdchar.tags.timing.delay import DelayMeasurement

from ..statistics.intervals import K_95, Interval, widen
from ..statistics.likelihood import Values
from .g2_comb_fit import analyse_histogram, comb

_BINS_A_PERIOD = 128
_EDGE = 1.0 / 16.0
"""Share of a period at each end of a peak's window from which the overlap is judged."""

_MATTERS = 3.0
"""Late photons of the neighbours over the uncertainty of the area, from which the shape of the
peaks must be right: a response rounds their tops and leaves their sides."""
_STEP = 0.05
"""Standard uncertainties of a parameter by which it is moved for a derivative."""
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
    how
        What was done about the excess.
    """

    g2: float
    u: float
    interval_68: Interval
    interval_95: Interval
    excess: float
    decay_s: float
    problems: tuple[str, ...]
    how: str = "a fit of the comb of peaks is reported"

    @property
    def remark(self) -> str:
        """Say what was done, for the method of an estimate."""
        return (
            f"the peaks, of a decay time of {1e9 * self.decay_s:.3g} ns, overlap: by area g2 would "
            f"be {self.excess:.3g} too high, {self.how}"
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


@dataclass(frozen=True)
class ByArea:
    """Pairs in the window of the zero peak over those of a side peak, as they are counted.

    Attributes
    ----------
    value, u, interval_68, interval_95
        Of counting alone.
    """

    value: float
    u: float
    interval_68: Interval
    interval_95: Interval


def overlap(
    zero: DelayMeasurement,
    pairs: NDArray[np.int64],
    window_ps: float,
    label: str,
    by_area: ByArea,
) -> Overlap:
    """Find g2 where the peaks overlap, by a fit of the comb of peaks to a correlation of tags.

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
    by_area
        The areas in these windows.

    Raises
    ------
    InconclusiveError
        If no comb can be fitted.

    Notes
    -----
    The fit gives the share of the neighbours in the zero peak's window. The smaller uncertainty
    decides whether this share is taken off the area, or the height of the fit is reported. Where
    hardly a pair is in the zero peak, bins without pairs set no limit to a height below zero, and
    the fit knows less than the area.
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

    def area(lag: int, v: Values) -> float:
        edges = lag * period + np.array([-half, half])
        shape = float(comb(edges, period, v["decay"], v["g2"], 0.0)[0])
        return 2.0 * half * (v["background"] + v["peak"] * shape)

    def with_background(height: float, v: Values) -> float:
        own = 2.0 * v["decay"] * -math.expm1(-half / v["decay"]) * v["peak"]
        share = own / (own + 2.0 * half * v["background"])
        return share * height + 1.0 - share

    far = int(zero.lags[-1])

    def freed(of_area: float, v: Values) -> float:
        """Take the neighbours' share off an area."""
        late, whole = (area(0, {**v, "g2": g2}) / area(far, v) for g2 in (0.0, 1.0))
        return with_background((of_area - late) / (whole - late), v)

    assert found.interval_68 is not None
    assert found.interval_95 is not None
    g2 = with_background(v["g2"], v)
    share = with_background(1.0, v) - with_background(0.0, v)
    (low_68, high_68), (low_95, high_95) = found.interval_68, found.interval_95
    value = freed(by_area.value, v)
    u_late = _u_of(lambda values: freed(by_area.value, values), v, fit)
    slope = (freed(by_area.value + by_area.u, v) - value) / by_area.u
    u = math.hypot(slope * by_area.u, u_late)
    if u < share * found.u:
        excess = by_area.value - value
        ends = [
            widen(value, (freed(low, v), freed(high, v)), k, u_late)
            for (low, high), k in ((by_area.interval_68, 1.0), (by_area.interval_95, K_95))
        ]
        return Overlap(
            g2=value,
            u=u,
            interval_68=ends[0],
            interval_95=ends[1],
            excess=excess,
            decay_s=v["decay"],
            problems=result.problems if excess > _MATTERS * by_area.u else (),
            how="which is taken off",
        )
    return Overlap(
        g2=g2,
        u=share * found.u,
        interval_68=(with_background(low_68, v), with_background(high_68, v)),
        interval_95=(with_background(low_95, v), with_background(high_95, v)),
        excess=area(0, v) / area(far, v) - g2,
        decay_s=v["decay"],
        problems=result.problems,
    )


def _u_of(quantity: Callable[[Values], float], v: Values, fit: Fit) -> float:
    """Propagate the covariance of all parameters of a fit but g2 to a quantity."""
    names = [name for name in fit.names if name != "g2"]
    index = [fit.names.index(name) for name in names]
    covariance = fit.covariance[np.ix_(index, index)]
    gradient = np.empty(len(names))
    for k, name in enumerate(names):
        step = _STEP * math.sqrt(covariance[k, k])
        if step == 0.0:
            gradient[k] = 0.0
            continue
        above, below = ({**v, name: v[name] + s} for s in (step, -step))
        gradient[k] = (quantity(above) - quantity(below)) / (2.0 * step)
    return math.sqrt(float(gradient @ covariance @ gradient))
