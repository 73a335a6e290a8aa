"""g2(0) from tag files without a pulse clock: peak areas of the correlation histogram."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Curve, Fit, Result
from qdchar.tags import DelayMeasurement, TagSource, cross_correlation
from qdchar.tags.counting.after_clicks import AfterClicks
from qdchar.tags.timing.delay import locate_zero_peak

from ..detection.afterpulsing import afterpulsing, describe_afterpulsing
from ..detection.cross_talk import cross_talk
from ..statistics.intervals import (
    K_95,
    LEVEL_68,
    LEVEL_95,
    Interval,
    exact_ratio,
    jeffreys_ratio,
    scaled_interval,
    upper_limit_ratio,
    widen,
)
from ..statistics.jackknife import jackknife
from .detector_faults import afterpulsing_problem, recovered_after

_BLOCKS = 40
_MOST_BINS = 1 << 15
_RANGE_S = 150e-9
_TAGS_FOR_GAPS = 4_000_000


def analyse_tags(
    source: TagSource,
    path: Path,
    *,
    delay_s: float | None = None,
    period_s: float | None = None,
    channels: tuple[int, int] | None = None,
    window_s: float | None = None,
    range_s: float = _RANGE_S,
) -> Result:
    """Find g2(0) from the peak areas of a correlation; arguments as in `hbt.analyse_file`.

    `source` holds the tags of the file `path`.

    Notes
    -----
    g2(0) is the area of the zero peak over the mean of the others up to `range_s`, as is usual for
    a histogram. Under blinking slower than the range this is the g2 of the on-state. A key rate
    that uses the time-averaged photon number needs the other normalisation, by the product of the
    singles of time blocks, ``g2_zero_time_averaged``; it is larger by 1 + b.
    """
    picoseconds = tuple(None if x is None else x * 1e12 for x in (period_s, delay_s))
    pairs = [channels] if channels else _candidate_pairs(source, path)
    found, reasons = [], []
    for a, b in pairs:
        try:
            found.append(_correlate(source, a, b, range_s * 1e12, *picoseconds))
        except InconclusiveError as error:
            if len(pairs) == 1:
                raise
            reasons.append(f"{a} and {b}: {error}")
    if len(found) != 1:
        raise UsageError(
            f"{path}: {len(found)} pairs of its channels show a zero peak; name the channels of "
            f"the two detectors. {'; '.join(reasons)}"
        )
    correlation = found[0]
    return _result(
        correlation, path.name, window_s, _warnings(source), _first_gaps(source, correlation)
    )


def _candidate_pairs(source: TagSource, path: Path) -> list[tuple[int, int]]:
    channels = source.channels
    if len(channels) < 2:
        raise InconclusiveError(
            f"{path}: only channel {channels} holds tags; g2(0) needs two detectors"
        )
    return list(combinations(channels, 2))


def _first_gaps(source: TagSource, c: _Correlation) -> AfterClicks:
    """Count the gaps between the first clicks of a file; they are enough to see afterpulses."""
    zero = c.zero.histogram
    gaps = AfterClicks(zero.channel_a, zero.channel_b, c.zero.period_ps, c.zero.delay_ps)
    read = 0
    for chunk in source.chunks():
        gaps.add(chunk)
        read += len(chunk)
        if read >= _TAGS_FOR_GAPS:
            break
    return gaps


def _warnings(source: TagSource) -> str:
    return "".join(f"; {w}" for w in source.warnings)


@dataclass(frozen=True)
class _Correlation:
    """Pairs by delay and time block, and where the zero peak is."""

    zero: DelayMeasurement
    pairs: NDArray[np.int64]  # shape (blocks, bins)
    singles: NDArray[np.int64]  # shape (blocks, 2)
    block_s: float


def _correlate(
    source: TagSource,
    channel_a: int,
    channel_b: int,
    range_ps: float,
    period_ps: float | None,
    delay_ps: float | None,
) -> _Correlation:
    step = max(round(source.resolution_ps), 1)
    bin_ps = step * math.ceil(2 * range_ps / step / _MOST_BINS)
    histogram = cross_correlation(
        source,
        channel_a,
        channel_b,
        bin_ps=bin_ps,
        range_ps=math.ceil(range_ps),
        uneven_bins=True,
        n_blocks=_BLOCKS,
    )
    if histogram.block_counts is None or histogram.block_clicks is None:
        raise RuntimeError("the correlation was asked for by block")
    zero = locate_zero_peak(
        histogram,
        period_ps=period_ps if period_ps is not None else source.metadata.sync_period_ps,
        delay_ps=delay_ps,
    )
    return _Correlation(
        zero, histogram.block_counts, histogram.block_clicks, source.duration_s / _BLOCKS
    )


def _result(
    c: _Correlation, label: str, window_s: float | None, remarks: str, gaps: AfterClicks
) -> Result:
    period = c.zero.period_ps
    window = period / 2 if window_s is None else window_s * 1e12
    if not 0.0 < window <= period / 2:
        raise UsageError(
            f"a window of {window / 1000:g} ns to each side: must be above 0 and at most half a "
            f"period, {period / 2000:.4g} ns"
        )
    areas = _areas(c, window)  # shape (blocks, peaks)
    is_zero = c.zero.lags == 0
    zero, sides = areas[:, is_zero].sum(axis=1), areas[:, ~is_zero].sum(axis=1)
    n_sides = int(np.count_nonzero(~is_zero))
    k, total = int(zero.sum()), int(sides.sum())
    if total == 0:
        raise InconclusiveError(f"{label}: no pairs in the side peaks; record longer")
    # pulsed light is not even in time: a window holds what it holds of a side peak
    held = total / int(_areas(c, period / 2)[:, ~is_zero].sum())
    by_chance = np.prod(c.singles, axis=1) * (period * 1e-12 / c.block_s) * held
    table = np.column_stack([zero, sides / n_sides, by_chance]).astype(np.float64)
    window_text = ""
    if window_s is not None:
        window_text = (
            f" within {window / 1000:.3g} ns of their centres, {100 * held:.4g} % of a side peak's"
        )

    side, chance = total / n_sides, float(by_chance.sum())
    again = afterpulsing(gaps.counts, gaps.clicks, recovered_after(gaps))
    # they fall anywhere between two pulses, and pair with the other detector's clicks
    taken_off = [
        each.times(2.0 * window / period / held * each.pulses_after, f"detector {name}, {label}")
        for name, each in zip("AB", again, strict=True)
        if each.significant
    ]

    def g2(name: str, column: int, mean: float, method: str) -> tuple[Estimate, float]:
        ends = [exact_ratio(k, total, level) for level in (LEVEL_68, LEVEL_95)]
        scale = total / mean  # from k/total to k/mean
        poisson = [(low * scale, high * scale) for low, high in ends]
        likely = jeffreys_ratio(k, total, LEVEL_68)
        u = 0.5 * scale * (likely[1] - likely[0])
        blocks = jackknife(lambda t: float(t[:, 0].sum() / t[:, column].sum()), table)
        larger, raw = max(1.0, blocks / u), k / mean
        off = side / mean * sum(t.value for t in taken_off)
        others = [replace(c, u=side / mean * c.u) for t in taken_off for c in t.budget]
        value = raw - off
        if taken_off:
            method += f"; {off:.3g} taken off for afterpulses"

        def interval(which: int) -> Interval:
            low, high = scaled_interval(raw, poisson[which], larger)
            u_others = math.sqrt(sum(c.u**2 for c in others))
            low, high = widen(value, (low - off, high - off), (1.0, K_95)[which], u_others)
            return max(low, 0.0), max(high, 0.0)

        limit = scale * upper_limit_ratio(k, total, LEVEL_95)
        estimate = Estimate(
            name=name,
            value=value,
            method=method + remarks,
            plane="detectors",
            budget=(Contribution(f"coincidences, {label}", u * larger), *others),
            interval_68=interval(0),
            interval_95=interval(1),
        )
        return estimate, value + larger * (limit - raw)

    pairs = f"{k} pair{'s' if k != 1 else ''} in the zero peak{window_text}"
    amplitude = side / chance - 1.0
    near, _ = g2(
        "g2_zero",
        1,
        side,
        f"{pairs} against {side:.1f} a side peak ({n_sides} peaks)",
    )
    averaged, upper = g2(
        "g2_zero_time_averaged",
        2,
        chance,
        f"{pairs} against {chance:.1f} of independent light at the same count rates",
    )
    estimates = (
        near,
        averaged,
        Estimate(
            name="g2_zero_upper",
            value=upper,
            method="Clopper-Pearson limit of the pairs, stretched to the scatter of time blocks",
            plane="detectors",
        ),
        Estimate(
            name="blinking_amplitude",
            value=amplitude,
            method="side peaks over singles products of time blocks",
            plane="detectors",
            budget=(
                Contribution(
                    f"side peaks, {label}",
                    jackknife(lambda t: float(t[:, 1].sum() / t[:, 2].sum()), table),
                ),
            ),
        ),
        *delay_and_period(c.zero, label),
    )
    problems = _problems(c, total)
    if taken_off:
        words = describe_afterpulsing(again, period * 1e-12)
        problems = (*problems, *afterpulsing_problem(words, k / side, near))
    histogram = c.zero.histogram
    talk = cross_talk(
        histogram.centres_ps - c.zero.delay_ps, histogram.counts, period, int(c.singles.sum())
    )
    if talk is not None:
        problems = (*problems, str(talk))
    return Result(estimates, (_peaks(c.zero, areas.sum(axis=0), k / side),), problems)


def delay_and_period(zero: DelayMeasurement, label: str) -> tuple[Estimate, Estimate]:
    """Return the electronic delay and the pulse period as figures."""
    delay = Estimate(
        name="electronic_delay",
        value=zero.delay_ps * 1e-12,
        method="given"
        if zero.method == "given"
        else f"the one low peak of the comb (by chance in {zero.chance:.1g} of cases)",
        plane="detectors",
        budget=(Contribution(f"peak positions, {label}", zero.u_delay_ps * 1e-12),),
    )
    period = Estimate(
        name="pulse_period",
        value=zero.period_ps * 1e-12,
        method="given, or from the file's header"
        if zero.period_method == "given"
        else "spacing of the comb of peaks",
        plane="laser",
        budget=(Contribution(f"peak spacing, {label}", zero.u_period_ps * 1e-12),),
    )
    return delay, period


def _areas(c: _Correlation, window_ps: float) -> NDArray[np.int64]:
    """Pairs in each peak and block, shape (blocks, peaks)."""
    centres = c.zero.histogram.centres_ps - c.zero.delay_ps
    lag = np.floor(centres / c.zero.period_ps + 0.5).astype(np.int64)
    near = np.abs(centres - lag * c.zero.period_ps) <= window_ps
    areas = np.zeros((len(c.pairs), len(c.zero.lags)), np.int64)
    for i, n in enumerate(c.zero.lags):
        areas[:, i] = c.pairs[:, near & (lag == n)].sum(axis=1)
    return areas


def _problems(c: _Correlation, total: int) -> tuple[str, ...]:
    """Say where dead time would shape the near peaks by more than their statistics."""
    period_s = c.zero.period_ps * 1e-12
    clicks = float(c.singles.sum(axis=0).max()) * period_s / (c.block_s * len(c.singles))
    if clicks < 1.0 / math.sqrt(total):
        return ()
    return (
        f"{clicks:.2g} clicks per pulse and detector: after a click a detector is dead and the "
        f"peaks next to zero rise by up to {100 * clicks:.0f} %. Record the pulse clock too and "
        "count live pulses, or attenuate",
    )


def _peaks(zero: DelayMeasurement, areas: NDArray[np.int64], g2: float) -> Fit:
    x = np.asarray(zero.lags * zero.period_ps * 1e-3, dtype=np.float64)
    is_zero = zero.lags == 0
    side = float(areas[~is_zero].mean())
    y, u = areas / side, np.sqrt(areas + 0.5) / side
    model = np.where(is_zero, g2, 1.0)
    pulls = (y - model) / u
    return Fit(
        model="peak areas",
        names=("g2_zero",),
        values=np.array([g2]),
        covariance=np.array([[float(u[is_zero][0]) ** 2]]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=len(y) - 2,
        curves=(
            Curve(
                title="Peak areas over the mean side peak",
                x_label="delay after the zero peak (ns)",
                y_label="normalised peak area",
                x=x,
                y=y,
                u_y=u,
                model=model,
                residuals=pulls,
                x_line=x,
                y_line=model,
            ),
        ),
    )
