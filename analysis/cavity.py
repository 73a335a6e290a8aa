"""Cavity tuning curves: the resonance in the count rate, and the piezo's scale from its orders."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.files import PathLike
from qdchar.fit import Curve, Fit, Mark, Result
from qdchar.raw_data import Scan, read_scan

from .detection.dead_time_model import corrected_counts, fano
from .models.cavity_modes import (
    is_unresolved,
    one_an_order,
    resonance,
    rivals_of_one,
    shape_problem,
)
from .models.find_peaks import Peak, find_peaks
from .statistics.excess_noise import fit_with_excess_noise, significance_problem
from .statistics.likelihood import FitParameter, Values, deviance_residuals
from .statistics.model_criticism import correlated_problem
from .statistics.rivals import Candidate, Choice, choose, fit_candidate

Array = NDArray[np.float64]

_LABEL = "cavity scan"
_PART_OF_ORDER = 0.4
"""Part of an order to either side of a peak that is fitted, below the half where orders meet."""


def analyse(
    scan: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    wavelength_m: float,
    metres_per_volt: Estimate | None = None,
    purcell_factor: Estimate | None = None,
) -> Result:
    """Fit the source's count rate against the cavity's piezo voltage.

    Parameters
    ----------
    scan
        Clicks against ``voltage_V``.
    clock_rate_Hz
        Pulse rate [Hz].
    dead_pulses
        Pulses a detector is dead after a click, see `qdchar.analysis.dead_time.dead_pulses`.
    wavelength_m
        Vacuum wavelength; resonances of one transverse mode are half of it apart [m].
    metres_per_volt
        Piezo calibration, see `orders`; not needed for a scan over several orders.
    purcell_factor
        On resonance; gives the cavity's own width and finesse from the width of the count rate.

    Returns
    -------
    Result
        ``cavity_resonance_voltage`` of the strongest peak and ``cavity_count_fwhm_voltage`` [V];
        over several orders also what `orders` finds. With a piezo calibration
        ``cavity_count_fwhm`` [m] and, with the Purcell factor, ``cavity_fwhm_displacement`` [m] and
        ``cavity_finesse``.

    Raises
    ------
    InconclusiveError
        If the scan shows no complete peak.

    Notes
    -----
    The count rate is wider than the cavity. It is proportional to the share of the emission into
    the cavity's mode, beta = F/(1 + F). With F = F0/(1 + x^2) this is
    ``F0/(F0 + 1 + x^2)``, x = 2 delta/kappa: a Lorentzian of width ``kappa sqrt(1 + F0)``.

    Rival models have two modes of one width, as the polarisations of a cavity, or a resonance that
    follows the light in the cavity (thermal shift). See `qdchar.analysis.statistics.rivals` for
    which one is reported; either is a problem.
    """
    peaks = _peaks(scan, clock_rate_Hz, dead_pulses)
    highest = max(peaks, key=lambda p: p.height)
    found: list[Estimate] = []
    fits: list[Fit] = []
    part = scan
    if len(peaks) > 1:
        calibration = _orders(scan, peaks, wavelength_m)
        metres_per_volt = calibration["cavity_metres_per_volt"]
        found += calibration.estimates
        fits += calibration.fits
        reach = _PART_OF_ORDER * calibration["cavity_fsr_voltage"].value
        near = np.abs(scan.x - highest.centre) < reach
        part = replace(scan, x=scan.x[near], clicks=scan.clicks[near], dwell_s=scan.dwell_s[near])
    choice, significance, curve = _resonance(part, highest, clock_rate_Hz, dead_pulses)
    solution, noise = choice.best.solution, choice.best.noise
    form = "" if choice.best is choice.tried[0] else f", {choice.best.name}"
    fits.append(solution.fit(f"Lorentz + background{form}", "chi2", (curve,)))
    v = solution.as_dict()
    problems = [
        *significance_problem(_LABEL, significance),
        *shape_problem(_LABEL, solution),
        *correlated_problem(_LABEL, solution.residuals, noise),
    ]
    if not part.x.min() + v["fwhm"] / 2 < v["centre"] < part.x.max() - v["fwhm"] / 2:
        problems.append(
            f"{_LABEL}: the resonance at {v['centre']:.4g} V is less than half a width from an end "
            "of the scan; scan further"
        )
    found += _widths(choice, wavelength_m, metres_per_volt, purcell_factor)
    return Result(tuple(found), tuple(fits), tuple(problems))


def orders(
    scan: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    wavelength_m: float,
    scale_u_rel: float = 0.05,
) -> Result:
    """Calibrate the piezo by the orders of the cavity, half a wavelength apart.

    Parameters
    ----------
    scan
        Clicks against ``voltage_V`` over at least two orders.
    clock_rate_Hz, dead_pulses, wavelength_m
        As for `analyse`.
    scale_u_rel
        Relative reduction of the piezo's motion per volt in the small loops of a measurement,
        because of hysteresis, against a long slow sweep, which includes creep; also the standard
        uncertainty of this reduction.

    Returns
    -------
    Result
        ``cavity_fsr_voltage`` [V], the mean spacing, with the scatter of the spacings, and
        ``cavity_metres_per_volt`` [m/V], of small loops, a second after each step. The curve shows
        the voltage of each order.

    Raises
    ------
    InconclusiveError
        If the scan shows fewer than two complete orders.
    """
    peaks = _peaks(scan, clock_rate_Hz, dead_pulses)
    if len(peaks) < 2:
        raise InconclusiveError(
            f"{scan.file}: one order only, near {peaks[0].centre:.4g} V; scan further to calibrate "
            "the piezo"
        )
    return _orders(scan, peaks, wavelength_m, scale_u_rel)


def analyse_tuning(
    survey: Scan,
    fine: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    wavelength_m: float,
    purcell_factor: Estimate | None = None,
) -> Result:
    """Analyse a cavity tuning: a survey over several orders, then a fine scan of one resonance.

    Parameters
    ----------
    survey
        Clicks against ``voltage_V`` over at least two orders; it calibrates the piezo.
    fine
        Clicks against ``voltage_V`` about the resonance at which the cavity is used.
    clock_rate_Hz, dead_pulses, wavelength_m, purcell_factor
        As for `analyse`.

    Returns
    -------
    Result
        What `orders` finds in the survey, and what `analyse` finds in the fine scan with the
        piezo calibration of the survey.

    Raises
    ------
    InconclusiveError
        If the survey shows fewer than two complete orders, or the fine scan no complete peak.
    """
    of_orders = orders(
        survey, clock_rate_Hz=clock_rate_Hz, dead_pulses=dead_pulses, wavelength_m=wavelength_m
    )
    of_resonance = analyse(
        fine,
        clock_rate_Hz=clock_rate_Hz,
        dead_pulses=dead_pulses,
        wavelength_m=wavelength_m,
        metres_per_volt=of_orders["cavity_metres_per_volt"],
        purcell_factor=purcell_factor,
    )
    return Result(
        (*of_orders.estimates, *of_resonance.estimates),
        (*of_orders.fits, *of_resonance.fits),
        (*of_orders.problems, *of_resonance.problems),
    )


def analyse_file(path: PathLike, **given: object) -> Result:
    """Fit a cavity scan from a CSV file.

    Parameters
    ----------
    path
        The file, see `qdchar.raw_data.read_scan`.
    **given
        As for `analyse`.
    """
    path = Path(path)
    return analyse(read_scan(path, "voltage_V"), **given)  # type: ignore[arg-type]


def _peaks(scan: Scan, clock_rate_Hz: float, dead_pulses: float) -> list[Peak]:
    if scan.x_name != "voltage_V":
        raise InconclusiveError(f"{scan.file}: a cavity scan needs voltage_V, not {scan.x_name}")
    light = corrected_counts(scan, clock_rate_Hz, dead_pulses)
    peaks = one_an_order(find_peaks(scan.x, light.counts / scan.dwell_s))
    if not peaks:
        raise InconclusiveError(
            f"{scan.file}: no complete peak between {scan.x.min():.4g} and {scan.x.max():.4g} V; "
            "scan further, or check that the pump and the detectors are on"
        )
    return peaks


def _resonance(
    scan: Scan, peak: Peak, clock_rate_Hz: float, dead_pulses: float
) -> tuple[Choice, float, Curve]:
    """Fit one peak and its rivals; return them, the peak's significance and the curve."""
    light = corrected_counts(scan, clock_rate_Hz, dead_pulses)
    pulses, volts = scan.dwell_s * clock_rate_Hz, scan.x
    floor = max(float(np.quantile(light.counts / pulses, 0.05)), 1e-12)
    height = float(np.max(light.counts / pulses))
    spacing = float(np.median(np.diff(np.sort(volts))))
    free = {
        "centre": FitParameter(peak.centre, peak.fwhm),
        "fwhm": FitParameter(peak.fwhm, peak.fwhm, low=0.1 * spacing),
        "height": FitParameter(height, height, low=0.0),
        "background": FitParameter(floor, floor, low=0.0),
    }

    def per_pulse(v: Values, at: Array) -> Array:
        return np.asarray(v["height"] * resonance(v, at) + v["background"])

    def expected(v: Values) -> Array:
        return pulses * per_pulse(v, volts)

    def weights(v: Values, noise: float) -> Array:
        return fano(expected(v), light, pulses, dead_pulses) + noise**2 * expected(v)

    def residuals(v: Values, held: Array) -> Array:
        return deviance_residuals(light.counts, expected(v), held)

    one, noise = fit_with_excess_noise(_LABEL, free, residuals, weights)
    held = weights(one.as_dict(), noise)
    simplest = Candidate("one mode", one, noise, held * expected(one.as_dict()))
    found: dict[str, Candidate | None] = {}
    for name, starts in rivals_of_one(one, lambda v: residuals(v, held)).items():
        tries = [
            fit_candidate(
                name,
                _LABEL,
                {n: replace(f, start=one[n]) for n, f in free.items()} | own,
                residuals,
                weights,
                expected,
            )
            for own in starts
        ]
        fitted = [c for c in tries if c is not None]
        found[name] = min(fitted, key=lambda c: c.bic, default=None)
    choice = choose(simplest, found)
    if is_unresolved(choice.best.solution):
        choice = Choice(simplest, (choice.best, *choice.doubtful), choice.tried, choice.no_better)
    best, noise = choice.best.solution, choice.best.noise
    v = best.as_dict()
    # Against what the scan would be without a peak: a peak that blinks is no less a peak.
    flat = {**v, "height": 0.0, "background": float(light.counts.sum() / pulses.sum())}
    held = weights(flat, noise)
    without, with_peak = (
        float(np.sum(deviance_residuals(light.counts, expected(x), held) ** 2)) for x in (flat, v)
    )
    fine = np.linspace(volts.min(), volts.max(), 2000)
    curve = Curve(
        title="Cavity resonance",
        x_label="piezo voltage V (V)",
        y_label="count rate, dead time removed (1/s)",
        x=volts,
        y=light.counts / scan.dwell_s,
        u_y=np.sqrt(weights(v, noise) * expected(v)) / scan.dwell_s,
        model=expected(v) / scan.dwell_s,
        residuals=-best.residuals,
        x_line=fine,
        y_line=clock_rate_Hz * per_pulse(v, fine),
        line_label="Lorentzian" if choice.best is choice.tried[0] else choice.best.name,
        quantities=("cavity_resonance_voltage", "cavity_count_fwhm_voltage"),
        marks=(Mark(v["centre"], "resonance"),),
    )
    return choice, math.sqrt(max(without - with_peak, 0.0)), curve


def _orders(
    scan: Scan, peaks: list[Peak], wavelength_m: float, scale_u_rel: float = 0.05
) -> Result:
    centres = np.array([p.centre for p in peaks])
    spacings = np.diff(centres)
    # An order that was not found doubles a spacing.
    index = np.concatenate([[0], np.cumsum(np.round(spacings / np.median(spacings)))])
    fsr = float((centres[-1] - centres[0]) / index[-1])
    grid = float(np.median(np.diff(np.sort(scan.x))))
    reading = grid / math.sqrt(6.0) / float(index[-1])
    scatter = float(np.std(spacings, ddof=1) / math.sqrt(len(spacings))) if len(peaks) > 2 else 0.0
    spacing = Estimate(
        name="cavity_fsr_voltage",
        value=fsr,
        method=f"{len(peaks)} orders; scatter of their spacings, hysteresis and creep",
        budget=(
            Contribution(f"{_LABEL}: spacing of the orders", math.hypot(scatter, reading)),
            Contribution("piezo hysteresis and creep", scale_u_rel * fsr, "B"),
        ),
    )
    scale = wavelength_m / 2.0 / fsr * (1.0 - scale_u_rel)
    per_volt = Estimate(
        name="cavity_metres_per_volt",
        value=scale,
        method=(
            f"half a wavelength per order, less {100.0 * scale_u_rel:g} % for hysteresis and "
            f"creep; {spacing.method}"
        ),
        budget=propagate([(spacing, -scale / fsr)]),
    )
    line = centres[0] + fsr * index
    u = math.hypot(grid / math.sqrt(12.0), float(np.std(spacings)) if len(peaks) > 2 else 0.0)
    curve = Curve(
        title="Orders of the cavity",
        x_label="order of the resonance",
        y_label="piezo voltage V (V)",
        x=index,
        y=centres,
        u_y=np.full(len(centres), u),
        model=line,
        residuals=(centres - line) / u,
        x_line=index[[0, -1]],
        y_line=line[[0, -1]],
        line_label="equidistant",
        quantities=("cavity_fsr_voltage", "cavity_metres_per_volt"),
    )
    fit = Fit(
        model="equidistant orders",
        names=("fsr",),
        values=np.array([fsr]),
        covariance=np.array([[spacing.u**2]]),
        statistic="chi2",
        minimum=float(np.sum(((centres - line) / u) ** 2)),
        dof=len(centres) - 2,
        curves=(curve,),
    )
    return Result((spacing, per_volt), (fit,))


def _widths(
    choice: Choice,
    wavelength_m: float,
    metres_per_volt: Estimate | None,
    purcell_factor: Estimate | None,
) -> list[Estimate]:
    def of_fit(name: str, parameter: str) -> Estimate:
        own, *others = (
            Estimate(
                name=name,
                value=c.solution[parameter],
                method=f"Lorentz fit of the count rate{choice.remark}",
                budget=c.solution.budget({parameter: 1.0}),
            )
            for c in (choice.best, *choice.doubtful)
        )
        return choice.with_doubt(own, others, _LABEL)

    width = of_fit("cavity_count_fwhm_voltage", "fwhm")
    found = [of_fit("cavity_resonance_voltage", "centre"), width]
    if metres_per_volt is None:
        return found
    counts = _product("cavity_count_fwhm", width, metres_per_volt)
    found.append(counts)
    if purcell_factor is not None:
        found += _of_cavity(counts, wavelength_m, purcell_factor)
    return found


def _product(name: str, a: Estimate, b: Estimate) -> Estimate:
    return Estimate(
        name=name,
        value=a.value * b.value,
        method=f"{a.method}; {b.method}",
        budget=propagate([(a, b.value), (b, a.value)]),
    )


def _of_cavity(counts: Estimate, wavelength_m: float, purcell_factor: Estimate) -> list[Estimate]:
    """Remove the broadening by the Purcell effect: width / sqrt(1 + F0)."""
    broadening = math.sqrt(1.0 + purcell_factor.value)
    width = counts.value / broadening
    by_purcell = 0.5 / (1.0 + purcell_factor.value)
    finesse = wavelength_m / 2.0 / width
    method = "count rate, with the Purcell factor's broadening removed"
    return [
        Estimate(
            name="cavity_fwhm_displacement",
            value=width,
            method=method,
            budget=propagate([(counts, 1.0 / broadening), (purcell_factor, -width * by_purcell)]),
        ),
        Estimate(
            name="cavity_finesse",
            value=finesse,
            method=method,
            budget=propagate(
                [(counts, -finesse / counts.value), (purcell_factor, finesse * by_purcell)]
            ),
        ),
    ]
