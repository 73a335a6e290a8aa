"""g2(0) from a correlation histogram whose peaks overlap: a Poisson fit of the whole comb."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Curve, Fit, Result
from qdchar.tags import CorrelationHistogram
from qdchar.tags.formats.delay_histogram import DelayHistogram
from qdchar.tags.timing.delay import locate_zero_peak

from ..detection.cross_talk import cross_talk, has_line
from ..statistics.intervals import (
    LEVEL_68,
    LEVEL_95,
    Interval,
    exact_interval,
    jeffreys,
    scaled_interval,
)
from ..statistics.likelihood import (
    DELTA_68,
    DELTA_95,
    FitParameter,
    FitResult,
    Values,
    deviance_residuals,
    minimise,
)
from ..statistics.model_criticism import MIN_P_VALUE, grouped_deviance

Array = NDArray[np.float64]

_RESTARTS = 8
"""Most fits again, each from the result of the last one."""
_LEAST = 1e-3
"""Expected counts of a bin below which `_positive` bends."""
_OFF_THE_KINK = 0.02
"""Least g2, and background over the height of a peak, from which a fit starts again."""
_MOST_OVERLAP = 0.3
"""Late photons of the neighbours in the window of the zero peak, over the standard uncertainty of
g2, up to which its area is right."""


def comb(edges: ArrayLike, period: float, decay: float, g2: float, delay: float) -> Array:
    """Return a comb of two-sided exponential peaks averaged over bins, shape (bins,).

    Parameters
    ----------
    edges
        Bin edges, shape (bins + 1,) [s].
    period, decay, delay
        Peak spacing, 1/e decay of a peak's sides, position of the zero peak [s].
    g2
        Height of the zero peak relative to the others.

    Notes
    -----
    With tau from the zero peak, all other peaks at height 1 and without end [1]_,

        sum_n exp(-|tau - n T|/d) - (1 - g2) exp(-|tau|/d)
            = cosh((tau mod T - T/2)/d)/sinh(T/2d) - (1 - g2) exp(-|tau|/d) ,

    integrated over each bin in closed form: a bin of a quarter of the decay is no point.

    References
    ----------
    .. [1] Appl. Phys. Lett. 116 (2020), doi:10.1063/1.5143786
    """
    tau = np.asarray(edges, dtype=np.float64) - delay
    # integral of the periodic sum: 2 d a period, and within it d sinh((s - T/2)/d)/sinh(T/2d)
    periods = np.floor(tau / period)
    s = tau - periods * period
    half = period / (2 * decay)
    x = (s - period / 2) / decay
    # sinh(x)/sinh(half) without overflow
    ratio = np.sign(x) * np.exp(np.abs(x) - half) * np.expm1(-2 * np.abs(x)) / np.expm1(-2 * half)
    everywhere = decay * (2 * periods + 1 + ratio)
    zero = np.sign(tau) * decay * -np.expm1(-np.abs(tau) / decay)
    return np.asarray(np.diff(everywhere - (1 - g2) * zero) / np.diff(tau), dtype=np.float64)


def analyse_histogram(
    histogram: DelayHistogram,
    label: str,
    delay_s: float | None = None,
    period_s: float | None = None,
) -> Result:
    """Fit the comb with overlapping peaks and a flat background, by Poisson likelihood.

    Parameters
    ----------
    histogram
        All pairs by delay, not start-stop: the peaks must have one height.
    label
        Name of the data in budgets.
    delay_s, period_s
        Electronic delay and pulse period if known [s]; fitted otherwise.

    Returns
    -------
    Result
        ``g2_zero`` (peaks above the flat background), ``electronic_delay`` and ``pulse_period``.

    Raises
    ------
    InconclusiveError
        If there is no comb, no zero peak, or the fit fails.

    Notes
    -----
    Intervals are from the profile likelihood, stretched where the snapshots scatter more than
    Poisson: their score vectors give the sandwich covariance F^-1 (sum s s^T) F^-1.
    """
    counts = histogram.counts.sum(axis=1).astype(np.float64)
    edges = histogram.edges_s
    zero = locate_zero_peak(
        CorrelationHistogram(
            start_ps=round(histogram.start_s * 1e12),
            bin_ps=round(histogram.bin_s * 1e12),
            counts=histogram.counts.sum(axis=1),
            channel_a=0,
            channel_b=1,
            clicks_a=int(counts.sum()),  # not known: every pair of its own clicks
            clicks_b=int(counts.sum()),
            duration_s=0.0,
        ),
        period_ps=None if period_s is None else period_s * 1e12,
        delay_ps=None if delay_s is None else delay_s * 1e12,
    )
    period, delay = zero.period_ps * 1e-12, zero.delay_ps * 1e-12
    per_peak = float(np.mean(zero.areas[zero.lags != 0]))
    decay = period / 10
    level = per_peak * histogram.bin_s / (2 * decay)
    free = {
        "g2": FitParameter(zero.zero_area / per_peak, 0.1),
        "decay": FitParameter(decay, decay, histogram.bin_s / 10, period),
        "peak": FitParameter(level, level, 0.0),
        "background": FitParameter(0.05 * level, 0.1 * level, 0.0),
    }
    if delay_s is None:
        free["delay"] = FitParameter(delay, decay)
    if period_s is None:
        free["period"] = FitParameter(period, decay / len(zero.lags))

    def model(v: Values) -> Array:
        shape = comb(edges, v.get("period", period), v["decay"], v["g2"], v.get("delay", delay))
        return _positive(v["background"] + v["peak"] * shape)

    solution = _lowest_minimum(f"g2 comb, {label}", free, counts, model)
    expected = model(solution.as_dict())
    sandwich = scatter_of_snapshots(solution, model, expected, histogram.counts)
    estimates = [_g2_zero(solution, sandwich, label, int(counts.sum()))]
    for name, parameter, known in (
        ("electronic_delay", "delay", delay_s),
        ("pulse_period", "period", period_s),
    ):
        budget: tuple[Contribution, ...] = ()
        if known is None:
            u = solution.u(parameter) * max(1.0, sandwich[parameter])
            budget = (Contribution(f"{parameter} of the comb, {label}", u),)
        estimates.append(
            Estimate(
                name=name,
                value=solution[parameter] if known is None else known,
                method="fit of the comb of peaks" if known is None else "given",
                plane="detectors",
                budget=budget,
            )
        )
    # after the zero peak
    centre = 0.5 * (edges[:-1] + edges[1:]) - solution.as_dict().get("delay", delay)
    from_zero = np.abs(centre) / solution.as_dict().get("period", period)
    fit, misshapen, problems = _describe(solution, edges, counts, expected, from_zero)
    if misshapen:
        values = solution.as_dict()
        by_area = _by_area(1e12 * centre, histogram, zero.mean_side_area, values, period, label)
        if by_area is None:
            problems = misshapen + problems
        else:
            estimates[0] = by_area
    return Result(tuple(estimates), (fit,), problems)


def _positive(counts: Array) -> Array:
    """Return expected counts, or where they are not positive a small number that falls with them.

    If all of them were 0 there, the minimiser would see no way back.
    """
    below = counts < _LEAST
    return np.where(below, _LEAST**2 / (2.0 * _LEAST - np.where(below, counts, 0.0)), counts)


def _lowest_minimum(
    label: str,
    free: Mapping[str, FitParameter],
    counts: Array,
    model: Callable[[Values], Array],
) -> FitResult:
    """Fit again from the last result until the minimum does not fall any more.

    A zero peak below zero on hardly any background makes the model negative. It bends there, and
    the minimiser can stop far from the minimum.
    """

    def fit(starts: Mapping[str, FitParameter]) -> FitResult:
        return minimise(label, starts, lambda v: deviance_residuals(counts, model(v)))

    lowest = fit(free)
    for _ in range(_RESTARTS):
        near = {n: replace(f, start=lowest[n]) for n, f in free.items()}
        for name, least in (("g2", 1.0), ("background", lowest["peak"])):
            start = max(lowest[name], _OFF_THE_KINK * least)
            near[name] = replace(near[name], start=start)
        again = fit(near)
        fell = lowest.minimum - again.minimum
        lowest = min(lowest, again, key=lambda s: s.minimum)
        if fell < 0.1:
            break
    return lowest


def _by_area(
    centre_ps: Array,
    histogram: DelayHistogram,
    per_peak: float,
    values: Values,
    period: float,
    label: str,
) -> Estimate | None:
    """Return g2(0) by the area of a zero peak that has a shape of its own.

    Parameters
    ----------
    centre_ps
        Middle of each bin after the zero peak [ps].
    per_peak
        Mean area of a side peak, steady background included.
    values
        Of the fit of the comb.
    period
        Pulse period [s].

    Returns
    -------
    Estimate or None
        None where cross-talk shapes the zero peak, or where peaks overlap too much for areas.
    """
    counts = histogram.counts.sum(axis=1)
    inside = np.abs(centre_ps) < 0.5e12 * period
    count, background = int(counts[inside].sum()), values["background"] * int(inside.sum())
    side = per_peak - background
    likely = jeffreys(count, LEVEL_68, background)
    u = 0.5 * (likely[1] - likely[0]) / side
    late = math.exp(-0.5 * period / values["decay"])
    talk = cross_talk(centre_ps, counts, 1e12 * period, 2 * int(counts.sum()))
    if talk is not None or late > _MOST_OVERLAP * u:
        return None
    if has_line(centre_ps, counts, 1e12 * period):
        return None

    def interval(level: float) -> Interval:
        low, high = exact_interval(count, level, background)
        return low / side, high / side

    return Estimate(
        name="g2_zero",
        value=(count - background) / side,
        method=f"{count} pairs in the area of the zero peak, {background:.2g} of them background, "
        f"against {side:.1f} a side peak; the fit of the comb does not hold for the zero peak, "
        "which has not the shape of the side peaks, as after re-excitation",
        plane="detectors",
        budget=(Contribution(f"pairs in the zero peak, {label}", u),),
        interval_68=interval(LEVEL_68),
        interval_95=interval(LEVEL_95),
    )


def scatter_of_snapshots(
    solution: FitResult,
    model: Callable[[Values], Array],
    expected: Array,
    snapshots: NDArray[np.int64],
) -> dict[str, float]:
    """Return by how much the snapshots scatter more than Poisson, for each parameter."""
    n = snapshots.shape[1]
    if n < 20:
        return dict.fromkeys(solution.names, 1.0)
    values = solution.as_dict()
    columns = []
    for name in solution.names:
        step = 0.01 * solution.u(name)
        up, down = ({**values, name: values[name] + s * step} for s in (1, -1))
        columns.append((model(up) - model(down)) / (2 * step))
    jacobian = np.stack(columns, axis=1)
    share = snapshots.sum(axis=0) / snapshots.sum()
    away = (snapshots - np.outer(expected, share)) / np.maximum(expected, 1e-12)[:, None]
    scores = jacobian.T @ away
    cov = solution.covariance @ (scores @ scores.T) @ solution.covariance * n / (n - 1)
    ratio = np.sqrt(np.diag(cov) / np.diag(solution.covariance))
    return dict(zip(solution.names, map(float, ratio), strict=True))


def _g2_zero(solution: FitResult, sandwich: dict[str, float], label: str, pairs: int) -> Estimate:
    larger = max(1.0, sandwich["g2"])
    value = solution["g2"]

    def interval(delta: float) -> Interval:
        return scaled_interval(value, solution.profile("g2", delta), larger)

    # where bins are sparse the curvature at the best value says little
    low, high = interval(DELTA_68)
    return Estimate(
        name="g2_zero",
        value=value,
        method=f"Poisson fit of overlapping two-sided exponential peaks to {pairs} pairs",
        plane="detectors",
        budget=(Contribution(f"comb, {label}", 0.5 * (high - low)),),
        interval_68=(low, high),
        interval_95=interval(DELTA_95),
    )


def _describe(
    solution: FitResult,
    edges: Array,
    counts: Array,
    expected: Array,
    from_zero: Array,
) -> tuple[Fit, tuple[str, ...], tuple[str, ...]]:
    """Test the zero peak and the side peaks apart, and draw the fit.

    `from_zero` is the distance of each bin from the zero peak in periods. Returns what is wrong
    with the zero peak and with the side peaks.
    """
    residuals = deviance_residuals(counts, expected)
    x = (edges[:-1] + edges[1:]) / 2 * 1e9
    misshapen: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    in_zero, inner = from_zero < 0.5, from_zero < 0.25
    zero = grouped_deviance(counts[in_zero], expected[in_zero], 1)
    sides = grouped_deviance(counts[~in_zero], expected[~in_zero], len(solution.names) - 1)
    # few pairs make one group at most: their number is Poissonian
    pairs, fitted = float(counts[inner].sum()), float(expected[inner].sum())
    ends = stats.poisson.cdf(pairs, fitted), stats.poisson.sf(pairs - 1.0, fitted)
    if min(zero.p_value, 2.0 * min(ends)) < MIN_P_VALUE:
        misshapen = (
            f"{solution.label}: the zero peak has not the shape of the side peaks (deviance "
            f"{zero.deviance:.0f} for {zero.dof} degrees of freedom; {pairs:.0f} pairs where the "
            f"fit has {fitted:.3g}): re-excitation leaves a hole in its middle, cross-talk a "
            "line beside it. The fitted g2(0) does not hold: analyse the time tags, by the areas "
            "of the peaks",
        )
    if sides.p_value < MIN_P_VALUE:
        problems += (
            f"{solution.label}: the comb does not describe the side peaks (deviance "
            f"{sides.deviance:.0f} for {sides.dof} degrees of freedom): look at the residuals "
            "for blinking, start-stop counting or a response as wide as the decay",
        )
    fit = Fit(
        model="overlapping two-sided exponential peaks",
        names=solution.names,
        values=solution.values,
        covariance=solution.covariance,
        statistic="Poisson deviance",
        minimum=solution.minimum,
        dof=solution.dof,
        curves=(
            Curve(
                title="Coincidences of the two detectors",
                x_label="delay τ (ns)",
                y_label="counts per bin",
                x=x,
                y=counts,
                u_y=np.sqrt(counts + 0.5),
                model=expected,
                residuals=residuals,
                x_line=x,
                y_line=expected,
                kind="histogram",
                data_label="coincidences",
                quantities=("g2_zero",),
                enlarged=(float(x[in_zero].min()), float(x[in_zero].max()))
                if any(in_zero)
                else None,
            ),
        ),
    )
    return fit, misshapen, problems
