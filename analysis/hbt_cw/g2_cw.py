"""g2(0) from a Hanbury Brown and Twiss measurement with continuous excitation.

Without pulses g2(0) is the bottom of a dip whose width is a lifetime. The response of the detectors
is about as wide and fills the dip. A driven three-level emitter (ground state, excited state, and a
dark state from which it returns) has

    g2(tau) = 1 - (1 - g2(0)) [(1 + a) exp(-|tau|/t1) - a exp(-|tau|/t2)] ,

where g2(0) > 0 is due to light of other origin. The histogram is this, convolved with the response
of the pair, sigma^2 = sigma_A^2 + sigma_B^2, and integrated over each bin. Two values are reported:
the dip as measured, and g2(0) with the response removed.

All pairs of clicks are needed. A start-stop histogram decreases as exp(-rate tau) and has no level
for the normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Uncertain
from qdchar.files import PathLike
from qdchar.fit import Result
from qdchar.tags import cross_correlation, open_tags
from qdchar.tags.formats.delay_histogram import (
    AS_IN_THE_FILE,
    CurveChoice,
    DelayHistogram,
    is_histogram,
    read_histogram,
)
from qdchar.tags.source import in_blocks

from ..hbt.g2_comb_fit import scatter_of_snapshots
from ..statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals, minimise
from ..statistics.rivals import MIN_BIC_GAIN
from .dip_model import Dip, pair_response
from .dip_results import DipFit, fit_to_draw, problems_of, quantities_of, time_averaged
from .response_tail import TAIL_TIME, TailChoice, with_tail

Array = NDArray[np.float64]

_BLOCKS = 40
"""Time blocks of a file of time tags, from which the scatter of the pairs is found."""
_RANGE_S = 100e-9
"""Range of delays to either side by default [s]: many lifetimes of a quantum dot."""
_BINS = 4096
"""Bins over the default range: 50 ps each, finer than the detectors' response."""
_MAX_BINS = 1 << 16
"""Most bins of a histogram: more would hold hardly any pairs each."""
_MIN_DEPTH = 3.0
"""Depth of a dip from which a fit is started [standard deviations of the noise]."""
_MIN_DEVIANCE_GAIN = 25.0
"""Gain in deviance of a dip over none; noise has more in one of 10^4 histograms or fewer."""
_MOST_LOST = 20.0
"""By so much may a first look at an oscillation be worse than the fit, or it is not fitted."""
_ALIKE = 2.0
"""By so much may an oscillation have the higher criterion and still be as good: a factor of 3 in
likelihood."""
_MIN_TIME_RATIO = 2.0
"""Least ratio of the times of bunching and antibunching."""


def analyse_file(
    path: PathLike,
    *,
    response_fwhm: Sequence[Uncertain] = (),
    delay_s: float | None = None,
    channels: tuple[int, int] | None = None,
    bin_s: float | None = None,
    range_s: float | None = None,
    choice: CurveChoice = AS_IN_THE_FILE,
) -> Result:
    """Find g2(0) from a file of time tags or a histogram of all pairs.

    Parameters
    ----------
    path
        Time tags (PicoQuant PTU, qutools quTAG, Photon-HDF5), or a histogram, see
        `qdchar.tags.formats.delay_histogram.read_histogram`.
    response_fwhm
        FWHM of the response of either detector, tagger included [s]: one for both, or one each.
        Without it the response is not removed.
    delay_s
        Electronic delay of the dip [s]; fitted if not given.
    channels
        Channels of the two detectors; needed if the file has more than two.
    bin_s, range_s
        Of the histogram of time tags [s].
    choice
        Column or curve and unit, where a histogram leaves them open.

    Returns
    -------
    Result
        As `analyse`; from tags also ``g2_zero_time_averaged`` and ``blinking_amplitude``.

    Raises
    ------
    UsageError
        If it is not clear which channels hold the detectors, or bins do not fit the tagger.
    InconclusiveError
        If there is no dip, or the fit fails.
    RecordError
        If the file is damaged or contradicts itself.
    """
    path = Path(path)
    if len(response_fwhm) > 2:
        raise UsageError(f"{len(response_fwhm)} responses: there are two detectors")
    sigma = pair_response(response_fwhm[0], response_fwhm[-1]) if response_fwhm else None
    if is_histogram(path):
        if channels is not None or bin_s is not None or range_s is not None:
            raise UsageError(f"{path} is a histogram: its bins, range and channels are fixed")
        return analyse(read_histogram(path, choice), path.name, pair_sigma=sigma, delay_s=delay_s)
    if choice != AS_IN_THE_FILE:
        raise UsageError(f"{path} holds time tags: columns, curves and units are of histograms")
    pairs = _read_pairs(path, channels, bin_s, range_s)
    return analyse(
        pairs.histogram,
        path.name,
        pair_sigma=sigma,
        delay_s=delay_s,
        independent_per_bin=pairs.independent_per_bin,
    )


def analyse(
    histogram: DelayHistogram,
    label: str,
    *,
    pair_sigma: Uncertain | None = None,
    delay_s: float | None = None,
    independent_per_bin: float | None = None,
) -> Result:
    """Fit the dip of a histogram of all pairs, by Poisson likelihood.

    Parameters
    ----------
    histogram
        All pairs by delay, by time block if there are several.
    label
        Name of the data in budgets.
    pair_sigma
        Standard deviation of the response of the pair, see `pair_response`. Its uncertainty enters
        the fit as a nuisance.
    delay_s
        Electronic delay if known [s]; fitted otherwise.
    independent_per_bin
        Pairs that independent light at the same count rates makes in a bin.

    Returns
    -------
    Result
        ``g2_zero`` without the response, ``g2_zero_dip`` with it; ``antibunching_time`` [s],
        ``electronic_delay`` [s]; where there is bunching ``bunching_amplitude`` and
        ``bunching_time`` [s]; with `independent_per_bin` also ``g2_zero_time_averaged`` and
        ``blinking_amplitude``.

    Raises
    ------
    InconclusiveError
        If there is no dip, or the fit fails.

    Notes
    -----
    Bunching is included where the Bayesian information criterion favours it, and the oscillation of
    a strongly driven emitter where it does so by 10; if it does so by less, the shift of g2(0) is
    an uncertainty; a tail of the response beside its Gaussian is treated likewise. Intervals of
    g2(0) are from the profile likelihood; they do not extend below 0, but the value itself can be
    negative by chance. Excess scatter of the time blocks increases all uncertainties.

    Normalised to the level beside the dip, g2(0) is that of an emitter while it is on. Blinking
    slower than the range of the histogram is included in ``g2_zero_time_averaged``, which belongs
    to a time-averaged photon rate.
    """
    sigma_s = 0.0 if pair_sigma is None else pair_sigma.value
    exact = pair_sigma is None or pair_sigma.u == 0.0
    constraints = {} if pair_sigma is None or exact else {"sigma": pair_sigma}
    counts = histogram.counts.sum(axis=1).astype(np.float64)
    edges = histogram.edges_s
    seen = _look(counts, edges, label, delay_s)
    free = {
        "level": FitParameter(seen.level, seen.level, 0.0),
        "g2": FitParameter(seen.bottom, 0.1),
        "time": FitParameter(
            seen.width_s, seen.width_s, 0.02 * histogram.bin_s, edges[-1] - edges[0]
        ),
    }
    if delay_s is None:
        free["delay"] = FitParameter(seen.delay_s, seen.width_s)
    if constraints:
        free["sigma"] = FitParameter(sigma_s, sigma_s, 0.0)

    def dip(v: Values) -> Dip:
        slow = v["time"] * v.get("slower", 1.0)
        tail_s = TAIL_TIME * v.get("sigma", sigma_s) or 1.0
        rise, rabi = v.get("rise", 0.0), v.get("rabi", 0.0)
        return Dip(v["g2"], v["time"], rise, slow, rabi, v.get("tail", 0.0), tail_s)

    def model(v: Values) -> Array:
        shape = dip(v).binned(edges - v.get("delay", seen.delay_s), v.get("sigma", sigma_s))
        return np.asarray(np.maximum(v["level"] * shape, 0.0))

    def fitted(free: dict[str, FitParameter]) -> FitResult:
        return minimise(
            f"g2 dip, {label}", free, lambda v: deviance_residuals(counts, model(v)), constraints
        )

    def exponential(v: Values, time_s: float) -> Array:
        one = Dip(0.0, time_s)
        return 1.0 - one.binned(edges - v.get("delay", seen.delay_s), v.get("sigma", sigma_s))

    plain = _with_bunching(fitted(free), free, fitted, counts, exponential)

    def oscillating(v: Values) -> Array:
        driven = Dip(0.0, v["time"], 0.0, 1.0, v["rabi"])
        return 1.0 - driven.binned(edges - v.get("delay", seen.delay_s), v.get("sigma", sigma_s))

    solution, doubt, tried = _with_oscillation(plain, free, fitted, counts, oscillating)
    response = TailChoice(solution)
    if sigma_s > 0.0 and "rabi" not in solution.names:
        longest = max(0.5 * free["time"].high / solution["time"], 4.0 * _MIN_TIME_RATIO)
        slower = FitParameter(10.0, 10.0, _MIN_TIME_RATIO, longest)
        parameters = {**free, "rise": FitParameter(0.2, 0.2, 0.0), "slower": slower}
        response = with_tail(solution, parameters, fitted, len(counts))
        solution, tried = response.solution, tried + response.tried
    flat = float(np.sum(deviance_residuals(counts, np.full(len(counts), counts.mean())) ** 2))
    if flat - solution.minimum < _MIN_DEVIANCE_GAIN:
        raise InconclusiveError(
            f"{label}: no dip: the deviance of a flat histogram is only "
            f"{flat - solution.minimum:.1f} higher; give the delay, a wider range, or record longer"
        )
    _refuse_peak(label, counts, edges, solution)
    expected = model(solution.as_dict())
    wider = scatter_of_snapshots(solution, model, expected, histogram.counts)
    pairs, told = int(counts.sum()), pair_sigma is not None
    found = DipFit(solution, wider, label, sigma_s, pairs, told, doubt, tried, response.doubt)
    estimates = [*quantities_of(found, dip, delay_s)]
    if independent_per_bin is not None:
        estimates += time_averaged(found, estimates[0], independent_per_bin)
    return Result(
        tuple(estimates),
        (fit_to_draw(solution, edges, counts, expected),),
        problems_of(found, counts, expected, edges),
    )


def _refuse_peak(label: str, counts: Array, edges: Array, dip: FitResult) -> None:
    """Refuse a histogram that a peak describes better than a dip: the light is bunched.

    Raises
    ------
    InconclusiveError
        If the peak has the lower Bayesian information criterion.
    """
    level, n = float(np.median(counts)), len(counts)
    centres = 0.5 * (edges[:-1] + edges[1:])
    best, place = math.inf, 0.0
    # A grid of widths, at each the place of the largest excess: the height then is linear.
    for bins in np.geomspace(0.5, max(n / 8.0, 2.0), 12):
        # not longer than the histogram: "same" is as long as the longer one
        half = (n - 1) // 2
        kernel = np.exp(-np.abs(np.arange(-half, half + 1)) / bins)
        excess = np.convolve(counts - level, kernel, "same")
        top = int(np.argmax(excess))
        shape = np.exp(-np.abs(np.arange(n) - top) / bins)
        height = max(float((counts - level) @ shape / (shape @ shape)), 0.0)
        deviance = float(np.sum(deviance_residuals(counts, level + height * shape) ** 2))
        if deviance < best:
            best, place = deviance, float(centres[top])
    gain = dip.minimum - best + (len(dip.names) - 4) * math.log(len(counts))
    if gain > 0.0:
        raise InconclusiveError(
            f"{label}: a peak at {place * 1e9:.4g} ns describes the histogram better than a "
            f"dip (BIC {-gain:+.0f}): the light is bunched there, or the detectors cross-talk. Is "
            "it the right file, and does the range hold the dip?"
        )


@dataclass(frozen=True)
class _Seen:
    """Start values from the histogram."""

    level: float
    bottom: float
    delay_s: float
    width_s: float


def _look(counts: Array, edges: Array, label: str, delay_s: float | None) -> _Seen:
    """Find the deepest dip, smoothed over the width with which it is most significant."""
    level = float(np.median(counts)) if np.median(counts) > 0 else float(counts.mean())
    if level == 0.0 or counts.sum() < 100:
        raise InconclusiveError(f"{label}: {counts.sum():.0f} pairs are too few for a dip")
    bin_s = float(edges[1] - edges[0])
    centres = 0.5 * (edges[:-1] + edges[1:])
    best: tuple[float, _Seen] | None = None
    width = 1
    while width <= len(counts) // 4:
        kernel = np.ones(width)
        missing = np.convolve(level - counts, kernel, "valid")
        middle = np.convolve(centres, kernel / width, "valid")
        k = int(np.argmax(missing) if delay_s is None else np.argmin(np.abs(middle - delay_s)))
        significance = float(missing[k]) / math.sqrt(width * level)
        if best is None or significance > best[0]:
            place = float(middle[k]) if delay_s is None else delay_s
            bottom = 1.0 - float(missing[k]) / (width * level)
            best = significance, _Seen(level, bottom, place, 0.5 * width * bin_s)
        width *= 2
    if best is None or best[0] < _MIN_DEPTH:
        raise InconclusiveError(
            f"{label}: no dip is significant against the noise of {level:.3g} pairs per bin; give "
            "the delay, record longer, or check that the range includes it"
        )
    return best[1]


def _with_bunching(
    two_levels: FitResult,
    free: dict[str, FitParameter],
    fitted: Callable[[dict[str, FitParameter]], FitResult],
    counts: Array,
    bins: Callable[[Values, float], Array],
) -> FitResult:
    """Return the fit with a third level if the Bayesian information criterion favours it.

    `bins(values, time)` are the bin averages of one two-sided exponential.
    """
    v, n, reach = two_levels.as_dict(), len(counts), 0.5 * free["time"].high
    best = math.inf
    start: dict[str, float] = {}
    weight = 1.0 / np.sqrt(np.maximum(v["level"], 1.0))
    # The model is linear in all parameters but the times: search those.
    for fast in v["time"] * np.array([0.4, 0.6, 0.8, 1.0]):
        for slow in np.geomspace(
            1.5 * _MIN_TIME_RATIO * fast, max(reach, 4.0 * _MIN_TIME_RATIO * fast), 24
        ):
            shapes = np.stack([np.ones(n), -bins(v, float(fast)), bins(v, float(slow))], axis=1)
            (level, drop, rise), off, *_ = np.linalg.lstsq(shapes * weight, counts * weight)
            if len(off) and off[0] < best and rise > 0.0 and drop > rise and level > 0.0:
                best = float(off[0])
                start = {
                    "level": level,
                    "g2": 1.0 - (drop - rise) / level,
                    "time": fast,
                    "rise": rise / level,
                    "slower": slow / fast,
                }
    if not start:
        return two_levels
    more = {**free, "rise": FitParameter(0.2, 0.2, 0.0)}
    # Bunching as fast as the dip cancels it at any amplitude. The amplitude of bunching that is
    # longer than the histogram is not separable from the level.
    longest = max(reach / start["time"], 4.0 * _MIN_TIME_RATIO)
    more["slower"] = FitParameter(start["slower"], start["slower"], _MIN_TIME_RATIO, longest)
    begin = {**v, **{name: float(value) for name, value in start.items()}}
    try:
        three = fitted({name: replace(f, start=begin[name]) for name, f in more.items()})
    except InconclusiveError:  # no bunching: its time is undetermined
        return two_levels
    penalty = 2.0 * math.log(n)
    return three if three.minimum < two_levels.minimum - penalty else two_levels


def _with_oscillation(
    plain: FitResult,
    free: dict[str, FitParameter],
    fitted: Callable[[dict[str, FitParameter]], FitResult],
    counts: Array,
    bins: Callable[[Values], Array],
) -> tuple[FitResult, float, str]:
    """Return the fit of an emitter that oscillates if the criterion favours it by 10.

    Parameters
    ----------
    plain
        The better one of two and three levels.
    free, fitted, counts
        As in `_with_bunching`.
    bins
        Function of the values, returns the dip of unit depth averaged over bins.

    Returns
    -------
    FitResult
        The better one.
    float
        Shift of g2(0) to the other one, where that describes the data about as well.
    str
        What was tried, for the method.
    """
    v, n = plain.as_dict(), len(counts)
    weight = 1.0 / np.sqrt(np.maximum(v["level"], 1.0))
    best, start = math.inf, dict[str, float]()
    for time in v["time"] * np.array([0.5, 1.0, 2.0, 4.0]):
        for turns in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6):
            at = {**v, "time": float(time), "rabi": turns / float(time)}
            shapes = np.stack([np.ones(n), -bins(at)], axis=1)
            (level, drop), off, *_ = np.linalg.lstsq(shapes * weight, counts * weight)
            if len(off) and off[0] < best and 0.0 < drop < 1.5 * level:
                best = float(off[0])
                start = {**at, "level": float(level), "g2": 1.0 - float(drop / level)}
    if plain.minimum - best < -_MOST_LOST:
        return plain, 0.0, ""
    more = {**free, "rabi": FitParameter(start["rabi"], 0.1 / start["time"], 1e-3 / v["time"])}
    try:
        driven = fitted({name: replace(f, start=start[name]) for name, f in more.items()})
    except InconclusiveError:  # no oscillation: its frequency is undetermined
        return plain, 0.0, ""
    gain = plain.minimum - driven.minimum
    gain -= (len(driven.names) - len(plain.names)) * math.log(n)
    tried = f"; BIC of an oscillation {-gain:+.0f}"
    shift = abs(driven["g2"] - plain["g2"])
    if gain < MIN_BIC_GAIN:
        return plain, shift if gain > -_ALIKE else 0.0, tried
    return driven, 0.0, tried


@dataclass(frozen=True)
class _Pairs:
    """Pairs by delay and time block, and those of independent light at the same count rates.

    Attributes
    ----------
    histogram
        One snapshot per time block.
    independent_per_bin
        Sum over the blocks of the product of the singles.
    """

    histogram: DelayHistogram
    independent_per_bin: float


def _read_pairs(
    path: Path, channels: tuple[int, int] | None, bin_s: float | None, range_s: float | None
) -> _Pairs:
    """Correlate two channels of a file; by default over +- 100 ns in some thousand bins.

    Raises
    ------
    UsageError
        If the file has more than two channels and none are given, or the bins are not possible.
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
    if not (range_ps > 0.0 and wanted > 0.0 and 2.0 * range_ps / wanted <= _MAX_BINS):
        raise UsageError(
            f"bins of {wanted:g} ps over +- {range_ps:g} ps: must be positive, and at most "
            f"{_MAX_BINS} bins"
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
    for channel, clicks in zip(channels, singles.sum(axis=0), strict=True):
        if not clicks:
            raise InconclusiveError(
                f"{path}: channel {channel} has no clicks; the file has clicks on channels "
                f"{source.channels}"
            )
    block_ps = 1e12 * source.duration_s / _BLOCKS
    independent = float(np.sum(np.prod(singles.astype(np.float64), axis=1)) * bin_ps / block_ps)
    histogram = DelayHistogram(found.start_ps * 1e-12, bin_ps * 1e-12, found.block_counts.T)
    return _Pairs(histogram, independent)
