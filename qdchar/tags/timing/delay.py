"""Electronic delay and pulse period from the correlation of two detectors alone.

The peak at zero photon delay seldom sits at zero electronic delay. Taking the lowest peak for it
is biased: of many peaks with the same mean, the lowest is low by chance. Here a peak is accepted
as the zero peak only if it alone is lower than chance allows; or the user names the delay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from qdchar.errors import InconclusiveError

from ..counting.correlation import CorrelationHistogram, cross_correlation
from ..source import TagSource

_MOST_BINS: Final = 1 << 17
_SIGNIFICANCE: Final = 1e-4
_AS_LOW: Final = 0.6
"""Missing pairs of a second peak over those of the lowest one, from which either may be the zero
peak."""
_NEARBY: Final = 50
"""Peaks to each side whose mean is the level of a peak, where there are many more."""
_FULL_PEAK: Final = 20
_EMPTY: Final = 10.0
"""A peak with so many times fewer pairs than the highest one is empty."""


@dataclass(frozen=True)
class DelayMeasurement:
    """Where the zero peak is, on which comb, and how sure that is.

    Attributes
    ----------
    delay_ps, u_delay_ps
        Electronic delay ``t_B - t_A`` of simultaneous photons [ps].
    method
        "measured": the one significantly low peak; "given": by the user.
    period_ps, u_period_ps
        Spacing of the comb of peaks [ps].
    period_method
        "measured": from the comb; "given": by the user or by the file's header.
    lags
        int64, shape (n_peaks,): pulse lags of the complete peaks within the range; 0 is the zero
        peak.
    areas
        int64, shape (n_peaks,): pairs within half a period of each.
    chance
        Probability that any peak is as low as the zero peak by chance.
    pairs
        All pairs within the range.
    histogram
        The histogram this rests on.
    """

    delay_ps: float
    u_delay_ps: float
    method: Literal["measured", "given"]
    period_ps: float
    u_period_ps: float
    period_method: Literal["measured", "given"]
    lags: NDArray[np.int64]
    areas: NDArray[np.int64]
    chance: float
    pairs: int
    histogram: CorrelationHistogram

    @property
    def zero_area(self) -> int:
        """Pairs in the zero peak."""
        return int(self.areas[self.lags == 0][0])

    @property
    def mean_side_area(self) -> float:
        """Mean pairs in the other peaks."""
        return float(self.areas[self.lags != 0].mean())


def measure_delay_and_period(
    source: TagSource,
    channel_a: int,
    channel_b: int,
    *,
    range_ps: int = 150_000,
    period_ps: float | None = None,
    delay_ps: float | None = None,
) -> DelayMeasurement:
    """Measure the electronic delay and the pulse period, or check those that are given.

    Parameters
    ----------
    source
        Time tags of a pulsed source.
    channel_a, channel_b
        The two detectors.
    range_ps
        Delays looked at, to both sides [ps]; at least six periods.
    period_ps
        Pulse period [ps]; by default the sync period of a T3 file, else measured.
    delay_ps
        Electronic delay [ps]; by default measured.

    Raises
    ------
    InconclusiveError
        If there is no comb of peaks, or not exactly one significantly low peak.

    Notes
    -----
    The comb is found in the power spectrum of the histogram; then position and period follow by
    linear regression of the pairs' displacement from their peak on its lag, in the first harmonic,
    where overlap of the peaks does no harm. With peaks of rms width s, N pairs and lags n:
    ``u(period) = s / sqrt(sum n**2)``, ``u(delay) = s * sqrt((1 + m) / N)``, where m is the mean
    number of partners of a click: pairs that share a click share its error.

    A peak with k pairs is low when the Poisson probability of at most k, at the mean of the
    others, times the number of peaks is below 1e-4. Where the other peaks scatter more than
    Poisson (drift, blinking), counts are scaled down by the excess first.
    """
    step = max(round(source.resolution_ps), 1)
    bin_ps = step * math.ceil(2 * range_ps / step / _MOST_BINS)
    histogram = cross_correlation(
        source, channel_a, channel_b, bin_ps=bin_ps, range_ps=range_ps, uneven_bins=True
    )
    return locate_zero_peak(
        histogram,
        period_ps=period_ps if period_ps is not None else source.metadata.sync_period_ps,
        delay_ps=delay_ps,
    )


def locate_zero_peak(
    histogram: CorrelationHistogram,
    *,
    period_ps: float | None = None,
    delay_ps: float | None = None,
) -> DelayMeasurement:
    """Do the same on a histogram with bins much finer than the peaks; see above."""
    counts = histogram.counts.astype(np.float64)
    delays = histogram.centres_ps
    pairs = int(histogram.counts.sum())
    if pairs < 50:
        raise InconclusiveError(
            f"{pairs} pairs between channels {histogram.channel_a} and {histogram.channel_b} do "
            "not show a comb of peaks: are these the two detectors? Record longer"
        )
    comb = _find_comb(delays, counts, _find_period(histogram))
    period = comb.period
    if period_ps is not None:
        given = _find_comb(delays, counts, period_ps, fixed=True)
        if given.contrast < 0.9 * comb.contrast:
            raise InconclusiveError(
                f"the pairs show a comb of {comb.period / 1000:.4f} ns (contrast "
                f"{comb.contrast:.3f}), not of the given period, {period_ps / 1000:.4f} ns "
                f"(contrast {given.contrast:.3f})"
            )
        comb, period = given, period_ps
    _check_clear(comb)
    first = comb.position
    u_period = comb.width / math.sqrt(comb.spread) if period_ps is None else 0.0

    centre = first if delay_ps is None else delay_ps
    low, high = histogram.start_ps, int(histogram.edges_ps[-1])
    lags = np.arange(
        math.ceil((low - centre) / period + 0.5), math.floor((high - centre) / period - 0.5) + 1
    )
    if len(lags) < 6:
        raise InconclusiveError(
            f"the range of {low / 1000:g} to {high / 1000:g} ns holds {len(lags)} complete peaks "
            f"of {period / 1000:.3f} ns; take a range of at least {4 * period / 1000:.0f} ns"
        )
    place = np.floor((delays - centre) / period + 0.5).astype(np.int64) - lags[0]
    inside = (place >= 0) & (place < len(lags))
    areas = np.bincount(
        place[inside], weights=counts[inside], minlength=len(lags)
    ).astype(np.int64)  # fmt: skip

    _check_no_fraction(areas, period)
    if delay_ps is None:
        zero, chance = the_low_peak(areas, centre + np.asarray(lags * period, np.float64))
    else:
        if not lags[0] <= 0 <= lags[-1]:
            raise InconclusiveError(
                f"the delay of {delay_ps / 1000:g} ns lies outside the range of "
                f"{low / 1000:g} to {high / 1000:g} ns"
            )
        miss = (delay_ps - first + period / 2) % period - period / 2
        if abs(miss) > period / 4:
            raise InconclusiveError(
                f"the delay of {delay_ps / 1000:.3f} ns falls between two peaks: the nearest is at "
                f"{(delay_ps - miss) / 1000:.3f} ns"
            )
        zero = int(-lags[0])
        chance = _chance(areas, zero)
    shared = 0.5 * (comb.pairs / histogram.clicks_a + comb.pairs / histogram.clicks_b)
    delay = centre + float(lags[zero]) * period
    return DelayMeasurement(
        delay_ps=delay,
        u_delay_ps=0.0
        if delay_ps is not None
        else comb.width * math.sqrt((1 + shared) / comb.pairs),
        method="measured" if delay_ps is None else "given",
        period_ps=period,
        u_period_ps=u_period,
        period_method="measured" if period_ps is None else "given",
        lags=lags - lags[zero],
        areas=areas,
        chance=chance,
        pairs=pairs,
        histogram=histogram,
    )


@dataclass(frozen=True)
class Comb:
    """A comb of peaks: where, how wide, how clear.

    `contrast` is the amplitude of the first harmonic over the number of pairs, `width` the scatter
    of one pair about its peak, `spread` the sum of squared lags about their mean.
    """

    period: float
    position: float
    width: float
    contrast: float
    pairs: float
    spread: float


def comb_of(histogram: CorrelationHistogram) -> Comb:
    """Find the comb of a histogram: position, period, width and clearness of its peaks.

    Raises
    ------
    InconclusiveError
        If there is no significant comb.
    """
    counts = histogram.counts.astype(np.float64)
    comb = _find_comb(histogram.centres_ps, counts, _find_period(histogram))
    _check_clear(comb)
    return comb


def _check_clear(comb: Comb) -> None:
    # of noise alone, power is exponential with mean `pairs`
    if comb.contrast**2 * comb.pairs < 20.0:
        raise InconclusiveError(
            f"the {comb.pairs:.0f} pairs show no peaks at a period of {comb.period / 1000:.4f} ns "
            f"(contrast {comb.contrast:.3f}): is the excitation pulsed at this period?"
        )


def _check_no_fraction(areas: NDArray[np.int64], period: float) -> None:
    """Refuse a fraction of the true period, of whose peaks most or every second one is empty."""
    if areas.max() >= _FULL_PEAK and _EMPTY * np.quantile(areas, 0.25) < areas.max():
        raise InconclusiveError(
            f"of the peaks every {period / 1000:.3f} ns a quarter or more are nearly empty: the "
            "pulse period is a multiple of that; give it, or take a wider range of delays"
        )


def _find_comb(
    delays: NDArray[np.float64],
    counts: NDArray[np.float64],
    period: float,
    *,
    fixed: bool = False,
) -> Comb:
    """Fit a comb to the complete peaks: one cut by the end of the range would pull the others."""
    position = float(np.angle(np.dot(counts, np.exp(2j * np.pi * delays / period))))
    position *= period / (2 * np.pi)
    for _ in range(8):
        low = math.ceil((delays[0] - position) / period + 0.5)
        high = math.floor((delays[-1] - position) / period - 0.5)
        inside = np.abs(delays - position - period * (low + high) / 2) < period * (
            (high - low + 1) / 2
        )
        near, weights = delays[inside], counts[inside]
        pairs = float(weights.sum())
        if high <= low or pairs == 0:
            raise InconclusiveError(
                f"fewer than two complete peaks of {period / 1000:.3f} ns lie within the range "
                f"of delays, {delays[0] / 1000:.1f} to {delays[-1] / 1000:.1f} ns: widen it"
            )
        lags = np.rint((near - position) / period)
        mean_lag = float(np.dot(weights, lags)) / pairs
        lags -= mean_lag
        turned = np.exp(2j * np.pi * (near - position) / period)
        contrast = abs(complex(np.dot(weights, turned))) / pairs
        spread = float(np.dot(weights, lags**2))
        if spread == 0.0 or contrast == 0.0:
            raise InconclusiveError(
                f"all pairs lie in one peak of {period / 1000:.3f} ns, or show no peaks at all: "
                "widen the range of delays"
            )
        # A pair's displacement from its peak, unbiased by the width of the peak; the period that
        # maximises the contrast is too long, for a longer period blurs a peak of given width less.
        off = turned.imag * period / (2 * np.pi * contrast)
        position += float(np.dot(weights, off)) / pairs
        if not fixed:
            step = float(np.dot(weights, off * lags)) / spread
            position -= step * mean_lag
            period += step
    second = float(np.dot(weights, (turned**2).real)) / pairs
    return Comb(
        period=period,
        position=(position + period / 2) % period - period / 2,
        width=math.sqrt(max(1.0 - second, 0.0) / 2) / contrast * period / (2 * np.pi),
        contrast=contrast,
        pairs=pairs,
        spread=spread,
    )


def _find_period(histogram: CorrelationHistogram) -> float:
    """Take the lowest strong line of the histogram's power spectrum."""
    counts = histogram.counts - histogram.counts.mean()
    length = 4 * (1 << (len(counts) - 1).bit_length())  # fine enough to hit the top of a line
    power = np.abs(np.fft.rfft(counts, length)) ** 2
    frequency = np.fft.rfftfreq(length, histogram.bin_ps)
    span = histogram.bin_ps * len(counts)
    power[frequency < 4.0 / span] = 0.0  # slow bunching is no comb
    # Harmonics of narrow peaks are nearly as strong as the first, but never stronger by much.
    strong = np.flatnonzero(power > 0.5 * power.max())
    if not len(strong):
        raise InconclusiveError(
            f"the {histogram.counts.sum():.0f} pairs show no peaks: all delays have as many"
        )
    start = strong[0]
    line = strong[strong < start + 2 * length // len(counts)]
    best = line[np.argmax(power[line])]
    return float(1.0 / frequency[best])


def _chance(areas: NDArray[np.int64], which: int) -> float:
    """Probability that the lowest of these peaks is as low as peak `which`."""
    others = np.delete(areas, which)
    mean, level = float(others.mean()), float(_levels(areas)[which])
    if mean == 0.0 or level == 0.0:
        return 1.0
    # Neighbours differ by chance alone; a slow envelope drops out of their difference.
    excess = max(1.0, float(np.mean(np.diff(others) ** 2)) / 2.0 / mean)
    once = float(poisson.cdf(areas[which] / excess, level / excess))
    return min(1.0, len(areas) * once)


def _levels(areas: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean of the other peaks, of those nearby where there are many, shape (n_peaks,).

    Over thousands of periods pairs become fewer: blinking decays, and a short recording holds fewer
    pairs of long delays. The lowest of such peaks is no zero peak.
    """
    n = len(areas)
    reach = _NEARBY if n > 8 * _NEARBY else n
    sums = np.concatenate([[0], np.cumsum(areas, dtype=np.int64)])
    first = np.maximum(np.arange(n) - reach, 0)
    end = np.minimum(np.arange(n) + reach + 1, n)
    return np.asarray((sums[end] - sums[first] - areas) / np.maximum(end - first - 1, 1))


def _lowest(areas: NDArray[np.int64]) -> int:
    """Return the number of the peak that is lowest against its level."""
    level = _levels(areas)
    return int(np.argmin((areas - level) / np.sqrt(np.maximum(level, 1.0))))


def the_low_peak(areas: NDArray[np.int64], positions_ps: NDArray[np.float64]) -> tuple[int, float]:
    """Return the number of the one significantly low peak, and how probable it is by chance.

    Parameters
    ----------
    areas, positions_ps
        Pairs in each peak, and its delay [ps], shape (n_peaks,).

    Raises
    ------
    InconclusiveError
        If no peak is low, or more than one.
    """
    lowest = _lowest(areas)
    chance = _chance(areas, lowest)
    if chance > _SIGNIFICANCE:
        raise InconclusiveError(
            f"no peak is significantly low: the lowest, at {positions_ps[lowest] / 1000:.2f} ns, "
            f"holds {areas[lowest]} pairs against a mean of {np.delete(areas, lowest).mean():.1f}, "
            f"which happens by chance in {chance:.2g} of cases. Give the electronic delay, measure "
            "it with the laser, record longer, or look at a wider range of delays"
        )
    rest = np.delete(areas, lowest)
    second = _lowest(rest)
    # beside a low peak whose light overlaps with its own, and where bunching ends, others are lower
    # than the mean, but not by nearly as much
    missing = float(_levels(areas)[lowest]) - int(areas[lowest])
    also_missing = float(_levels(rest)[second]) - int(rest[second])
    if _chance(rest, second) <= _SIGNIFICANCE and also_missing > _AS_LOW * missing:
        where = np.delete(positions_ps, lowest)[second]
        raise InconclusiveError(
            f"two peaks are significantly low, at {positions_ps[lowest] / 1000:.2f} and "
            f"{where / 1000:.2f} ns: give the electronic delay"
        )
    return lowest, chance
