"""Linewidth of the emission from an etalon scan, the etalon's width from a narrow laser."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from qdchar.errors import InconclusiveError, RecordError, UsageError
from qdchar.estimate import Estimate, Uncertain, propagate
from qdchar.files import PathLike
from qdchar.fit import Result
from qdchar.raw_data import Scan, read_scan

from ..detection.dead_time_model import (
    corrected_counts,
    corrected_counts_continuous,
    fano,
    fano_continuous,
)
from ..models.lineshapes import gauss_ratio, share_of_gauss, voigt_parts
from ..statistics.bounded_parameter import bounded_uncertainty
from ..statistics.excess_noise import fit_with_excess_noise
from ..statistics.intervals import K_95, Interval, widen
from ..statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals
from ..statistics.model_criticism import correlated_problem
from ..statistics.rivals import Candidate, choose
from .scan_model import AXIS, LABEL, Axis, EtalonData, check_fringes, start_values
from .two_lines import brightest_place, fit_two_lines, splitting, two_lines_problem

Array = NDArray[np.float64]

_METHOD = "Airy with Voigt line in closed form, joint fit with the narrow-laser scan"


def analyse(
    narrow: Scan | None,
    source: Scan,
    *,
    fsr: Estimate,
    clock_rate_Hz: float,
    dead_pulses: float,
    dead_time: Estimate,
    dark_count_rate_Hz: float = 0.0,
    lifetime: Estimate | None = None,
    detuning_correction: Estimate | None = None,
    kappa: Estimate | None = None,
    mode: Estimate | None = None,
) -> Result:
    """Fit the source's and a narrow laser's transmission through the etalon together.

    Parameters
    ----------
    narrow
        Scan with a laser much narrower than the etalon, continuous, same alignment; None if
        `kappa` is given instead.
    source
        Scan with the source. Both against ``voltage_V``, over at least two orders together.
    fsr
        Free spectral range, from the certificate [Hz]. It is the only frequency scale.
    clock_rate_Hz
        Pulse rate [Hz].
    dead_pulses
        Pulses a detector is dead after a click, see `qdchar.analysis.dead_time.dead_pulses`.
    dead_time
        Of the detectors, for the continuous laser [s].
    dark_count_rate_Hz
        Of both detectors together [Hz].
    lifetime
        With it the Fourier limit 1/(2 pi T1) and the ratio of the linewidth to it are reported [s].
    detuning_correction
        Relative excess of the lifetime during the scan over `lifetime`, which is that on the
        cavity's resonance, see `qdchar.analysis.detuning`. The radiative width of the line is
        smaller by this amount and is corrected for it.
    kappa
        Full width of the etalon at half maximum for the source's light, where there is no narrow
        scan [Hz].
    mode
        Width of the etalon for the narrow laser's light over that for the source's; None takes
        them to be alike.

    Returns
    -------
    Result
        ``linewidth`` (full width of the Voigt line, etalon removed), ``linewidth_lorentz``,
        ``linewidth_gauss``, ``etalon_fwhm`` (for the source's light), ``etalon_fsr`` [Hz],
        ``etalon_finesse`` (of that width),
        ``etalon_peak_voltage`` [V]; where two lines are found ``line_splitting`` [Hz], with the
        widths of each line; with a lifetime ``fourier_linewidth`` [Hz] and
        ``linewidth_ratio``.

    Raises
    ------
    InconclusiveError
        If the scans do not cover two orders, or do not determine the line.
    RecordError
        If a scan is not against ``voltage_V``.
    UsageError
        If neither or both of `narrow` and `kappa` are given, `mode` without `narrow`, or a given
        value is impossible.

    Notes
    -----
    One cubic polynomial from voltage to order is used for both scans, with a different offset; the
    positions and widths of the peaks determine it together. The source's line is the exact
    convolution of the Airy function with a Voigt line; widths are never subtracted. The etalon's
    width is fitted to both scans at once, so that the covariance includes its effect on the
    Lorentzian part.

    Beams of different size or angle, or polarisation, do not see the same etalon: its finesse
    falls with the spread of angles. The narrow laser's width is therefore that for the source times
    `mode`, whose uncertainty is a constraint of the fit. A scan of the source alone cannot tell
    the etalon's width from the line's.

    The background is constant light and laser light. The laser is far wider than the etalon, but
    its transmission varies a little with the order, as a cosine centred on the line; a leak of
    0.8 % that is assumed constant would bias the width by 3 %. Both are free and not bounded at 0.

    A rival model has two lines of one width, as the two fine-structure components of an exciton,
    or the lines of two dots. It is reported, with a problem, where the Bayesian information
    criterion favours it, see `qdchar.analysis.statistics.rivals`. One line would take the
    splitting for its Gauss part.

    Excess noise of a blinking or vibrating source is estimated from the scatter.
    """
    for scan in (narrow, source):
        if scan is not None and scan.x_name != "voltage_V":
            raise RecordError(f"{scan.file}: an etalon scan needs voltage_V, not {scan.x_name}")
    if detuning_correction is not None and lifetime is None:
        raise UsageError("etalon: the detuning correction needs the lifetime")
    if (narrow is None) == (kappa is None):
        raise UsageError(
            "etalon: the etalon's own width must come from a narrow-laser scan or be given "
            "(kappa), one of the two"
        )
    if mode is not None and narrow is None:
        raise UsageError("etalon: a mode is that of a narrow-laser scan; give both, or none")
    if mode is not None and mode.value <= 0.0:
        raise UsageError(f"etalon: widths in a ratio of {mode.value:.4g} are not possible")
    if kappa is not None and not 0.0 < kappa.u < 0.5 * kappa.value:
        raise UsageError(
            f"etalon: the etalon's width is given as {kappa.value:.4g} +- {kappa.u:.2g} Hz; its "
            "uncertainty is one of the linewidth, so it has to be known, and not be 0"
        )
    if fsr.value <= 0.0:
        raise UsageError(f"etalon: a free spectral range of {fsr.value:.4g} Hz is not possible")
    pulses = source.dwell_s * clock_rate_Hz
    light = corrected_counts(source, clock_rate_Hz, dead_pulses)

    def source_fano(mean: Array) -> Array:
        return fano(mean, light, pulses, dead_pulses)

    emission = EtalonData("source", source, light, source_fano, dark_count_rate_Hz)
    scans = [emission]
    if narrow is not None:
        laser = corrected_counts_continuous(narrow, dead_time.value)
        dwell = narrow.dwell_s

        def narrow_fano(mean: Array) -> Array:
            return fano_continuous(mean, laser, dwell, dead_time.value)

        ratio = 1.0 if mode is None else mode.value
        scans.append(EtalonData("narrow", narrow, laser, narrow_fano, dark_count_rate_Hz, ratio))

    axis = Axis.of([s.scan for s in scans])
    check_fringes(scans)
    free, problems = start_values(scans, axis)
    constraints = {}
    if narrow is not None and dead_time.u > 0.0:
        # A dead time longer than assumed flattens the laser's peaks and so widens the etalon.
        constraints["dead_time_excess"] = Uncertain(0.0, propagate([(dead_time, 1.0)]))
        free["dead_time_excess"] = FitParameter(0.0, dead_time.u)
    if mode is not None and mode.u > 0.0:
        constraints["mode_excess"] = Uncertain(0.0, propagate([(mode, 1.0)]))
        free["mode_excess"] = FitParameter(0.0, mode.u)
    if kappa is not None:
        relative = propagate([(kappa, 1.0 / fsr.value), (fsr, -kappa.value / fsr.value**2)])
        width = kappa.value / fsr.value
        constraints["etalon"] = Uncertain(width, relative)
        free["etalon"] = FitParameter(width, width, low=1e-4, high=0.9)

    def residuals(v: Values, held: Array) -> Array:
        counts = np.concatenate([s.light.counts for s in scans])
        return deviance_residuals(counts, expected(v), held)

    def weights(v: Values, noise: float) -> Array:
        parts = [s.expected(v, axis) for s in scans]
        own = np.concatenate([s.fano(mean) for s, mean in zip(scans, parts, strict=True)])
        own[: len(source)] += noise**2 * parts[0]
        return own

    def expected(v: Values) -> Array:
        return np.concatenate([s.expected(v, axis) for s in scans], axis=-1)

    one, noise = fit_with_excess_noise(LABEL, free, residuals, weights, constraints)
    v = one.as_dict()
    simplest = Candidate("one line", one, noise, weights(v, noise) * expected(v))
    two = fit_two_lines(simplest, free, residuals, weights, expected, constraints)
    choice = choose(simplest, {"two lines": two})
    solution, noise = choice.best.solution, choice.best.noise
    held = weights(solution.as_dict(), noise)
    curves = []
    start = 0
    for s in scans:
        part = slice(start, start + len(s.scan))
        residuals_of_part = -solution.residuals[part]
        curves.append(s.curve(solution.as_dict(), axis, held[part], residuals_of_part, fsr.value))
        start = part.stop
    fit = solution.fit("Airy * Voigt + background", "chi2", tuple(curves))
    others = [_line(c.solution, fsr, c.noise, "") for c in choice.doubtful]
    full, lorentz, gauss = (
        choice.with_doubt(e, [o[k] for o in others], LABEL)
        for k, e in enumerate(_line(solution, fsr, noise, choice.remark))
    )
    line = full, lorentz, gauss
    if detuning_correction is not None and lifetime is not None:
        line = _line_on_resonance(line, detuning_correction, lifetime)
    estimates = [
        *line,
        *splitting(solution, fsr, choice.remark),
        *_etalon(solution, fsr),
        _parking(solution, axis, source),
    ]
    if lifetime is not None:
        estimates += _fourier(line[0], lifetime)
    drift = correlated_problem(LABEL, solution.residuals[: len(source)], noise)
    found = two_lines_problem(solution, fsr)
    return Result(tuple(estimates), (fit,), (*problems, *found, *drift))


def analyse_file(path: PathLike, *, narrow: PathLike | None = None, **given: object) -> Result:
    """Fit a source scan from a CSV file; `given` as for `analyse`.

    Parameters
    ----------
    path
        Scan of the source.
    narrow
        Scan of the narrow laser; without it ``kappa`` must be given.
    """
    path = Path(path)
    narrow = None if narrow is None else Path(narrow)
    laser = None if narrow is None else read_scan(narrow, "voltage_V")
    return analyse(laser, read_scan(path, "voltage_V"), **given)  # type: ignore[arg-type]


def _line(
    solution: FitResult, fsr: Estimate, noise: float, remark: str
) -> tuple[Estimate, Estimate, Estimate]:
    """Return full, Lorentz and Gauss widths of the line, of each line if there are two."""
    method = _METHOD
    if noise > 0.0:
        method += f"; excess noise of {noise:.2g} per point, from the scatter"
    method += remark
    line, share = solution["line"], solution["lorentz_share"]
    lorentz, gauss = voigt_parts(line, share)
    ratio = gauss_ratio(share)
    slope = -(0.5346 * (1.0 - 0.5346 * share) + 0.2166 * share) / max(ratio, 1e-3)

    def full(width: float) -> float:
        return solution.profile_minimum(lambda _: {"line": width}, {})

    def with_lorentz(width: float) -> float:
        fixed = lambda v: {"lorentz_share": min(width / v["line"], 1.0)}  # noqa: E731
        return solution.profile_minimum(fixed, {"line": (max(width, 1e-6), math.inf)})

    def with_gauss(width: float) -> float:
        fixed = lambda v: {"lorentz_share": share_of_gauss(min(width / v["line"], 1.0))}  # noqa: E731
        return solution.profile_minimum(fixed, {"line": (max(width, 1e-6), math.inf)})

    rows = (
        ("linewidth", line, {"line": 1.0}, full),
        (
            "linewidth_lorentz",
            lorentz,
            {"line": share, "lorentz_share": line},
            with_lorentz,
        ),
        (
            "linewidth_gauss",
            gauss,
            {"line": ratio, "lorentz_share": line * slope},
            with_gauss,
        ),
    )
    bounded = solution.near_bound("lorentz_share", within=5.0) or solution.near_bound("line")
    estimates = []
    for name, width, gradient, minimum_at in rows:
        near = None
        if bounded:
            near = bounded_uncertainty(solution, width, gradient, minimum_at, low=0.0).with_scale(
                width, fsr
            )
        orders = Uncertain(width, solution.budget(gradient))
        estimates.append(
            Estimate(
                name=name,
                value=width * fsr.value,
                method=method,
                plane="before the etalon",
                budget=near.budget if near else propagate([(orders, fsr.value), (fsr, width)]),
                interval_68=near.interval_68 if near else None,
                interval_95=near.interval_95 if near else None,
            )
        )
    full_width, lorentz_width, gauss_width = estimates
    return full_width, lorentz_width, gauss_width


def _line_on_resonance(
    line: tuple[Estimate, Estimate, Estimate], correction: Estimate, lifetime: Estimate
) -> tuple[Estimate, Estimate, Estimate]:
    """Return the line on the cavity's resonance, where its radiative width is larger."""
    full, lorentz, gauss = line
    radiative = 1.0 / (2.0 * math.pi * lifetime.value)
    share = lorentz.value / full.value
    # Derivative of fV with respect to fL at constant fG.
    slope_of_full = 0.5346 + 0.2166 * share / (1.0 - 0.5346 * share)

    def moved(width: Estimate, slope: float) -> Estimate:
        per_correction = slope * radiative
        step = per_correction * correction.value
        moving = [(correction, per_correction), (lifetime, -step / lifetime.value)]
        u_step = math.hypot(*(c.u for c in propagate(moving)))

        def shifted(interval: Interval | None, k: float) -> Interval | None:
            if interval is None:
                return None
            low, high = widen(width.value, interval, k, u_step)
            return low + step, high + step

        return replace(
            width,
            value=width.value + step,
            method=f"{width.method}; {step:.3g} Hz added as detuning correction",
            budget=propagate([(width, 1.0), *moving]),
            interval_68=shifted(width.interval_68, 1.0),
            interval_95=shifted(width.interval_95, K_95),
        )

    return moved(full, slope_of_full), moved(lorentz, 1.0), gauss


def _etalon(solution: FitResult, fsr: Estimate) -> tuple[Estimate, ...]:
    """Return width, free spectral range and finesse of the etalon."""
    kappa = solution["etalon"]
    orders = Uncertain(kappa, solution.budget({"etalon": 1.0}))
    return (
        Estimate(
            name="etalon_fwhm",
            value=kappa * fsr.value,
            method=_METHOD,
            budget=propagate([(orders, fsr.value), (fsr, kappa)]),
        ),
        replace(fsr, name="etalon_fsr"),
        Estimate(
            name="etalon_finesse",
            value=1.0 / kappa,
            method=_METHOD,
            budget=propagate([(orders, -1.0 / kappa**2)]),
        ),
    )


def _parking(solution: FitResult, axis: Axis, source: Scan) -> Estimate:
    """Return the voltage of the source's transmission peak that is nearest to mid-scan."""
    v = solution.as_dict()
    low, high = float(source.x.min()), float(source.x.max())
    grid = np.linspace(low, high, 200)
    offset = v["source_order"] - brightest_place(v)
    order = axis.order(v, grid, offset)
    if np.any(np.diff(order) <= 0):
        raise InconclusiveError(
            f"{LABEL}: the fitted frequency does not increase with the voltage over the whole "
            "scan; leave out the turning point"
        )
    peaks = [
        float(
            optimize.brentq(
                lambda x, k=k: float(axis.order(v, np.array([x]), offset)[0]) - k,
                low,
                high,
            )
        )
        for k in range(math.ceil(order[0]), math.floor(order[-1]) + 1)
    ]
    if not peaks:
        raise InconclusiveError(f"{LABEL}: no transmission peak of the source within its scan")
    volts = min(peaks, key=lambda x: abs(x - (low + high) / 2.0))
    t = (volts - axis.middle) / axis.half
    powers = {"source_order": 1.0, **{n: t ** (i + 1) for i, n in enumerate(AXIS) if n in v}}
    per_range = sum((i + 1) * v.get(n, 0.0) * t**i for i, n in enumerate(AXIS))
    return Estimate(
        name="etalon_peak_voltage",
        value=volts,
        method=_METHOD,
        budget=solution.budget({n: -p * axis.half / per_range for n, p in powers.items()}),
    )


def _fourier(linewidth: Estimate, lifetime: Estimate) -> list[Estimate]:
    """Return the Fourier limit 1/(2 pi T1) of spontaneous emission, and the line's ratio to it."""
    limit = 1.0 / (2.0 * math.pi * lifetime.value)

    def inverted(interval: Interval | None) -> Interval | None:
        if interval is None:
            return None
        low, high = interval
        return 1.0 / (2.0 * math.pi * high), 1.0 / (2.0 * math.pi * low)

    return [
        Estimate(
            name="fourier_linewidth",
            value=limit,
            method="from the lifetime",
            budget=propagate([(lifetime, -limit / lifetime.value)]),
            interval_68=inverted(lifetime.interval_68),
            interval_95=inverted(lifetime.interval_95),
        ),
        Estimate(
            name="linewidth_ratio",
            value=linewidth.value / limit,
            method="from linewidth and lifetime",
            budget=propagate(
                [
                    (linewidth, 1.0 / limit),
                    (lifetime, linewidth.value / limit / lifetime.value),
                ]
            ),
        ),
    ]
