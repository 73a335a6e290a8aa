"""g2(0) from tag files without a pulse clock: peak areas of the correlation histogram."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Estimate, Uncertain, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.tags import DelayMeasurement
from qdchar.tags.counting.after_clicks import AfterClicks

from ..detection.afterpulsing import afterpulsing, describe_afterpulsing
from ..detection.coincidences import DelayHistogram, coincidence_curve
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
from ..statistics.jackknife import Statistic, Table, jackknife
from .detector_faults import afterpulsing_problem, recovered_after
from .overlap import ByArea, Overlap, most_overlap, overlap
from .peaks_of_tags import SMALL_OVERLAP, Correlation, FoundPeaks
from .uncertainty import K_ONE_SIDED_95

_DISAGREE = 4.0
"""Standard uncertainties between the areas and the comb from which on they disagree."""
_BUNCHED = 4.0
"""Standard uncertainties by which the two side peaks next to zero on each side are higher than the
mean, from which bunching is seen."""
_AFTERPULSES_SEEN = 1e-4
"""Chance by which healthy detectors look like afterpulsing, below which it is taken off."""


def by_area(
    found: FoundPeaks,
    *,
    window_s: float | None = None,
    background_rates: tuple[Uncertain, Uncertain] | None = None,
    clock_known: bool = False,
    remarks: str = "",
) -> Result:
    """Find g2(0) from the peak areas of a correlation; arguments as in `hbt.analyse_file`.

    Notes
    -----
    g2(0) is the area of the zero peak over the mean of the others up to `range_s`, as is usual for
    a histogram. Under blinking slower than the range this is the g2 of the on-state. A key rate
    that uses the time-averaged photon number needs the other normalisation, by the product of the
    singles of time blocks, ``g2_zero_time_averaged``; it is larger by 1 + b.
    """
    result = _result(
        found.correlation, found.label, window_s, remarks, background_rates, found.gaps
    )
    dead = _dead_time_problem(found, clock_known)
    return replace(result, problems=(*dead, *result.problems))


def _result(
    c: Correlation,
    label: str,
    window_s: float | None,
    remarks: str,
    background_rates: tuple[Uncertain, Uncertain] | None,
    gaps: AfterClicks,
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
    per_pair = period * 1e-12 / c.block_s * held

    def by_chance(t: Table) -> float:
        """Pairs of independent clicks at the count rates of all blocks together."""
        return float(t[:, 2].sum() * t[:, 3].sum()) * per_pair / len(t)

    table = np.column_stack([zero, sides / n_sides, c.singles]).astype(np.float64)
    window_text = ""
    if window_s is not None:
        window_text = (
            f" within {window / 1000:.3g} ns of their centres, {100 * held:.4g} % of a side peak's"
        )

    side, chance = total / n_sides, by_chance(table)
    again = afterpulsing(gaps.counts, gaps.clicks, recovered_after(gaps))
    # they fall anywhere between two pulses, and pair with the other detector's clicks
    of_detectors = [
        each.times(2.0 * window / period / held * each.pulses_after, f"detector {name}, {label}")
        for name, each in zip("AB", again, strict=True)
        if each.per_pulse > 0.0
    ]
    # two detectors of one kind: where one has afterpulses the other has them
    seen = any(each.chance < _AFTERPULSES_SEEN for each in again)
    taken_off, unseen = (of_detectors, []) if seen else ([], of_detectors)

    low, high = jeffreys_ratio(k, total, LEVEL_68)
    in_68, in_95 = (
        (low * total / side, high * total / side)
        for low, high in (exact_ratio(k, total, level) for level in (LEVEL_68, LEVEL_95))
    )
    counted = ByArea(k / side, 0.5 * total / side * (high - low), in_68, in_95)
    comb, overlapping = _overlap(c, window, label, counted)

    def mean_side(t: Table) -> float:
        return float(t[:, 1].sum())

    def g2(name: str, mean_of: Statistic, method: str) -> tuple[Estimate, float]:
        mean = mean_of(table)
        ends = [exact_ratio(k, total, level) for level in (LEVEL_68, LEVEL_95)]
        scale = total / mean  # from k/total to k/mean
        poisson = [(low * scale, high * scale) for low, high in ends]
        likely = jeffreys_ratio(k, total, LEVEL_68)
        u = 0.5 * scale * (likely[1] - likely[0])
        u_blocks = jackknife(lambda t: float(t[:, 0].sum()) / mean_of(t), table)
        larger, raw = max(1.0, u_blocks / u), k / mean
        limit = raw + larger * (scale * upper_limit_ratio(k, total, LEVEL_95) - raw)
        ends_of = [scaled_interval(raw, each, larger) for each in poisson]
        u, what = larger * u, "coincidences"
        off = side / mean * sum(t.value for t in taken_off)
        others = [replace(c, u=side / mean * c.u) for t in taken_off for c in t.budget]
        # few clicks do not show afterpulses that already matter
        others += [
            Contribution(f"{t.budget[0].source}, not seen", side / mean * math.hypot(t.value, t.u))
            for t in unseen
        ]
        if comb is not None:
            raw, u, what = comb.g2 * side / mean, comb.u * side / mean, "comb"
            ends_of = [
                (low * side / mean, high * side / mean)
                for low, high in (comb.interval_68, comb.interval_95)
            ]
            limit = raw + K_ONE_SIDED_95 / K_95 * (ends_of[1][1] - raw)
            method += f"; {comb.remark}"
            u_level = jackknife(lambda t: mean_side(t) / mean_of(t), table)
            others.append(Contribution(f"side peaks, {label}", raw * mean / side * u_level))
        value = raw - off
        if taken_off:
            method += f"; {off:.3g} taken off for afterpulses"

        def interval(which: int) -> Interval:
            low, high = ends_of[which]
            u_others = math.sqrt(sum(c.u**2 for c in others))
            low, high = widen(value, (low - off, high - off), (1.0, K_95)[which], u_others)
            return max(low, 0.0), max(high, 0.0)

        estimate = Estimate(
            name=name,
            value=value,
            method=method + remarks,
            plane="detectors",
            budget=(Contribution(f"{what}, {label}", u), *others),
            interval_68=interval(0),
            interval_95=interval(1),
        )
        return estimate, value + limit - raw

    pairs = f"{k} pair{'s' if k != 1 else ''} in the zero peak{window_text}"
    amplitude = side / chance - 1.0
    near, _ = g2(
        "g2_zero",
        mean_side,
        f"{pairs} against {side:.1f} a side peak ({n_sides} peaks)",
    )
    near = _with_bunching(near, c, areas.sum(axis=0), side, label)
    averaged, upper = g2(
        "g2_zero_time_averaged",
        by_chance,
        f"{pairs} against {chance:.1f} of independent light at the same count rates",
    )
    estimates: tuple[Estimate, ...] = (
        near,
        averaged,
        Estimate(
            name="g2_zero_upper",
            value=upper,
            method="Clopper-Pearson limit of the pairs, stretched to the scatter of time blocks"
            if comb is None
            else "from the 95 % interval of the comb fit",
            plane="detectors",
        ),
        Estimate(
            name="blinking_amplitude",
            value=amplitude,
            method=_blinking_method(c, table, per_pair),
            plane="detectors",
            budget=(
                Contribution(
                    f"side peaks, {label}",
                    jackknife(lambda t: mean_side(t) / by_chance(t), table),
                ),
            ),
        ),
        *delay_and_period(c.zero, label),
    )
    if background_rates is not None:
        estimates = (*estimates, _corrected(near, c, side, window, background_rates, label))
    problems = overlapping
    if taken_off:
        words = describe_afterpulsing(again, period * 1e-12, most_chance=1.0)
        problems = (*problems, *afterpulsing_problem(words, k / side, near))
    histogram = c.zero.histogram
    talk = cross_talk(
        histogram.centres_ps - c.zero.delay_ps, histogram.counts, period, int(c.singles.sum())
    )
    if talk is not None and np.abs(talk.delays_s).min() * 1e12 > window:
        near = replace(near, method=f"{near.method}; outside of the windows there is {talk}")
        estimates = (near, *estimates[1:])
    elif talk is not None:
        problems = (*problems, str(talk))
    return Result(estimates, (_peaks(c.zero, areas.sum(axis=0), k / side),), problems)


def _with_bunching(
    near: Estimate, c: Correlation, areas: NDArray[np.int64], side: float, label: str
) -> Estimate:
    """Add how much lower g2 is against the side peaks near zero, where these are higher.

    Blinking of a time within the range of delays leaves the mean side peak between those of the
    on-state and of the time average.
    """
    first, second = (areas[np.abs(c.zero.lags) == lag] for lag in (1, 2))
    count, expected = int(first.sum() + second.sum()), side * (len(first) + len(second))
    if not len(second) or count - expected < _BUNCHED * math.sqrt(expected):
        return near
    # the envelope at zero, straight on through the first two peaks
    rise = float(max(2.0 * first.mean() - second.mean(), first.mean())) / side - 1.0
    shift = abs(near.value) * rise / (1.0 + rise)
    assert near.interval_68 is not None
    assert near.interval_95 is not None
    within_68, within_95 = (
        widen(near.value, interval, k, shift)
        for interval, k in ((near.interval_68, 1.0), (near.interval_95, K_95))
    )
    return replace(
        near,
        method=f"{near.method}; side peaks near zero are {rise:.1%} higher, as under blinking "
        "within the range",
        budget=(*near.budget, Contribution(f"blinking within the range, {label}", shift, "B")),
        interval_68=(max(within_68[0], 0.0), within_68[1]),
        interval_95=(max(within_95[0], 0.0), within_95[1]),
    )


def _overlap(
    c: Correlation, window_ps: float, label: str, by_area: ByArea
) -> tuple[Overlap | None, tuple[str, ...]]:
    """Return the fit of the comb where the peaks' overlap matters, and what is wrong with it.

    None where the areas are right, and where the fit fails, which is a problem.
    """
    most = most_overlap(c.zero)
    if most < SMALL_OVERLAP * by_area.u:
        return None, ()
    try:
        comb = overlap(c.zero, c.pairs, window_ps, label, by_area)
    except InconclusiveError as error:
        return None, (
            f"{label}: up to {most:.2g} of a side peak in the window of the zero peak may be late "
            f"photons of its neighbours, and the fit of the comb that tells them apart failed: "
            f"{error}. Give the pulse clock to the tagger as well, or a window",
        )
    if comb.excess < SMALL_OVERLAP * by_area.u:
        return None, ()
    if abs(comb.g2 + comb.excess - by_area.value) > _DISAGREE * math.hypot(by_area.u, comb.u):
        return comb, (
            *comb.problems,
            f"{label}: the peaks overlap, and the fit of the comb does not explain the areas: "
            f"{by_area.value:.3g} of a side peak is in the window of the zero peak, the fit has "
            f"{comb.g2 + comb.excess:.3g}. Give the pulse clock to the tagger as well",
        )
    return comb, comb.problems


def _corrected(
    near: Estimate,
    c: Correlation,
    side: float,
    window_ps: float,
    rates: tuple[Uncertain, Uncertain],
    label: str,
) -> Estimate:
    """Return g2(0) without a steady background of given rates [Hz] on A and B.

    Notes
    -----
    Of n_A and n_B clicks in the time D, r_A D and r_B D are background. Their pairs, with each
    other and with the light, are at every delay, ``B = (n_A r_B + r_A n_B - r_A r_B D) 2 w`` in a
    window of half width w, and ``g2 = (C0 - B)/(C - B)`` with C pairs in a side peak.
    """
    clicks, duration = c.singles.sum(axis=0).astype(np.float64), c.block_s * len(c.singles)
    width, (rate_a, rate_b) = 2e-12 * window_ps, rates
    if any(r.value * duration > n for r, n in zip(rates, clicks, strict=True)):
        raise UsageError(
            f"{label}: a background of {rate_a.value:.4g} and {rate_b.value:.4g} Hz is more than "
            f"the {clicks[0] / duration:.4g} and {clicks[1] / duration:.4g} Hz of all clicks"
        )
    per_a = (clicks[1] - rate_b.value * duration) * width
    per_b = (clicks[0] - rate_a.value * duration) * width
    pairs = rate_a.value * clicks[1] * width + rate_b.value * per_b
    left = side - pairs
    if left < math.sqrt(side):
        raise InconclusiveError(
            f"{label}: of {side:.1f} pairs in a side peak {pairs:.1f} are background; record longer"
        )
    per_pair = side * (near.value - 1.0) / left**2
    of_rates = propagate([(rate_a, per_pair * per_a), (rate_b, per_pair * per_b)])
    u_rates = math.sqrt(sum(line.u**2 for line in of_rates))
    value = (near.value * side - pairs) / left
    assert near.interval_68 is not None
    assert near.interval_95 is not None
    within_68, within_95 = (
        widen(value, ((low * side - pairs) / left, (high * side - pairs) / left), k, u_rates)
        for (low, high), k in ((near.interval_68, 1.0), (near.interval_95, K_95))
    )
    return Estimate(
        name="g2_zero_corrected",
        value=value,
        method=f"{near.method}; {pairs:.3g} pairs with background taken off each peak",
        plane="detectors",
        budget=(*(replace(line, u=side / left * line.u) for line in near.budget), *of_rates),
        interval_68=within_68,
        interval_95=within_95,
    )


def _blinking_method(c: Correlation, table: Table, per_pair: float) -> str:
    """Say how the amplitude depends on the length of time blocks, and what the run cannot see."""
    blocks = len(table)
    within = float(np.prod(table[:, 2:], axis=1).sum()) * per_pair
    reach_s = 1e-12 * c.zero.period_ps * float(np.abs(c.zero.lags).max())
    return (
        f"side peaks over the product of the count rates of the whole run; within blocks of "
        f"{c.block_s:.2g} s it is {float(table[:, 1].sum()) / within - 1.0:.3g}, and the "
        f"difference is drift or slow blinking. Fluctuations faster than {reach_s * 1e9:.3g} ns "
        f"are seen in part, those slower than {0.1 * blocks * c.block_s:.2g} s hardly"
    )


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


def _areas(c: Correlation, window_ps: float) -> NDArray[np.int64]:
    """Pairs in each peak and block, shape (blocks, peaks)."""
    centres = c.zero.histogram.centres_ps - c.zero.delay_ps
    lag = np.floor(centres / c.zero.period_ps + 0.5).astype(np.int64)
    place = lag - c.zero.lags[0]
    use = (np.abs(centres - lag * c.zero.period_ps) <= window_ps) & (place >= 0)
    use &= place < len(c.zero.lags)
    n_peaks = len(c.zero.lags)
    by_block = [np.bincount(place[use], row[use], n_peaks) for row in c.pairs]
    return np.stack(by_block).astype(np.int64)


def _dead_time_problem(found: FoundPeaks, clock_known: bool) -> tuple[str, ...]:
    """Say where dead time shapes the near peaks by more than their statistics."""
    if not found.dead_time_matters:
        return ()
    clicks = found.clicks_per_pulse
    cure = "Record the pulse clock too and count live pulses, or attenuate"
    if clock_known:
        cure = (
            "Live pulses are not counted, because the peaks overlap, a window or another period is "
            "asked for, or much background lies between the peaks: attenuate"
        )
    return (
        f"{clicks:.2g} clicks per pulse and detector: after a click a detector is dead and the "
        f"peaks next to zero rise by up to {100 * clicks:.0f} %. {cure}",
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
            coincidence_curve(
                "Coincidences of the two detectors",
                DelayHistogram(
                    zero.histogram.centres_ps - zero.delay_ps,
                    zero.histogram.counts,
                    zero.period_ps,
                ),
                quantities=("g2_zero",),
            ),
            Curve(
                title="Coincidence peak areas over the mean side peak",
                x_label="delay after the zero peak (ns)",
                y_label="normalised peak area",
                x=x,
                y=y,
                u_y=u,
                model=model,
                residuals=pulls,
                x_line=x,
                y_line=model,
                line_label="g2(0) and 1",
                quantities=("blinking_amplitude",),
            ),
        ),
    )
