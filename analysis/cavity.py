"""Cavity resonance in the count rate against piezo voltage: within one order and over several."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.estimate import Estimate, propagate
from qdchar.fit import Curve, Result
from qdchar.measurement import Scan, read_scan

from ._deadtime import fano, live_counts
from ._lineshapes import airy, coefficient_finesse, lorentzian
from ._peaks import Peak, find_peaks
from ._poisson import Free, Solution, Values, deviance_residuals, minimise_reweighted

Array = NDArray[np.float64]

_LABEL = "cavity scan"


def analyse(
    scan: Scan,
    *,
    clock_rate_Hz: float,
    blind_pulses: int,
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
    blind_pulses
        Pulses for which a detector is blind after a click.
    wavelength_m
        Vacuum wavelength; two resonances of one transverse mode lie half of it apart [m].
    metres_per_volt
        Piezo calibration, for a scan within one order. A scan over several calibrates itself.
    purcell_factor
        On resonance; with it the cavity's own width and finesse follow from those of the counts.

    Returns
    -------
    Result
        ``cavity_resonance_voltage`` of the strongest peak and ``cavity_count_fwhm_voltage`` [V].
        With a piezo calibration ``cavity_count_fwhm`` [m]; over several orders
        ``cavity_fsr_voltage`` [V], ``cavity_metres_per_volt`` and ``cavity_count_finesse``; with
        the Purcell factor ``cavity_fwhm_displacement`` [m] and ``cavity_finesse``.

    Raises
    ------
    InconclusiveError
        If the scan shows no complete peak.

    Notes
    -----
    The count rate is wider than the cavity. It follows the share of the emission that goes into the
    cavity's mode, beta = F/(1 + F), and with F = F0/(1 + x^2) this is
    ``F0/(F0 + 1 + x^2)``, x = 2 delta/kappa: a Lorentzian of width ``kappa sqrt(1 + F0)``. Likewise
    an Airy function stays one, with the finesse divided by ``sqrt(1 + F0)``.

    Higher transverse modes show as weaker peaks between the orders; those below half of the highest
    are left out of the count of orders, and stand out in the residuals.
    """
    if scan.x_name != "voltage_V":
        raise InconclusiveError(f"{scan.file}: a cavity scan needs voltage_V, not {scan.x_name}")
    light = live_counts(scan, clock_rate_Hz, blind_pulses)
    pulses = scan.dwell_s * clock_rate_Hz
    volts = scan.x
    peaks = find_peaks(volts, light.counts / pulses)
    if not peaks:
        raise InconclusiveError(
            f"{scan.file}: no complete peak between {volts.min():.4g} and {volts.max():.4g} V; "
            "scan further, or check that the pump and the detectors are on"
        )
    orders = len(peaks)
    floor = max(float(np.quantile(light.counts / pulses, 0.05)), 1e-12)
    free = _starts(peaks, floor, volts)

    def per_pulse(v: Values, at: Array) -> Array:
        return v["height"] * _shape(v, at) + v["background"]

    def expected(v: Values) -> Array:
        return pulses * per_pulse(v, volts)

    def weights(v: Values) -> Array:
        return fano(expected(v), light, pulses, blind_pulses)

    solution = minimise_reweighted(
        _LABEL, free, lambda v, held: deviance_residuals(light.counts, expected(v), held), weights
    )
    v = solution.as_dict()
    fine = np.linspace(volts.min(), volts.max(), 1000)
    curve = Curve(
        title="Cavity resonance",
        x_label="piezo voltage (V)",
        y_label="rate, dead time corrected (1/s)",
        x=volts,
        y=light.counts / scan.dwell_s,
        u_y=np.sqrt(weights(v) * expected(v)) / scan.dwell_s,
        model=expected(v) / scan.dwell_s,
        residuals=-solution.residuals,
        x_line=fine,
        y_line=clock_rate_Hz * per_pulse(v, fine),
    )
    model = "Airy" if orders > 1 else "Lorentz"
    problems = list(solution.problems)
    margin = 0.5 * v["fwhm"] * (v["fsr"] if orders > 1 else 1.0)
    if not volts.min() + margin < v["centre"] < volts.max() - margin:
        problems.append(
            f"{_LABEL}: the resonance at {v['centre']:.4g} V is less than half a width from an end "
            "of the scan; scan further"
        )
    estimates = _estimates(solution, orders, wavelength_m, metres_per_volt, purcell_factor)
    return Result(
        estimates, (solution.fit(f"{model} + background", "chi2", (curve,)),), tuple(problems)
    )


def analyse_file(path: Path, **given: object) -> Result:
    """Fit a cavity scan from a CSV file; `given` as for `analyse`."""
    return analyse(read_scan(path), **given)  # type: ignore[arg-type]


def _shape(v: Values, volts: Array) -> Array:
    """One order: Lorentzian of width ``fwhm`` [V]; several: Airy, ``fwhm`` in orders."""
    if "fsr" not in v:
        return lorentzian(volts, v["centre"], v["fwhm"])
    order = (volts - v["centre"]) / v["fsr"]
    return airy(order + v.get("curvature", 0.0) * order**2, v["fwhm"])


def _starts(peaks: list[Peak], floor: float, volts: Array) -> dict[str, Free]:
    highest = max(peaks, key=lambda p: p.height)
    spacing = float(np.median(np.diff(np.sort(volts))))
    free = {
        "centre": Free(highest.centre, highest.fwhm),
        "fwhm": Free(highest.fwhm, highest.fwhm, low=0.1 * spacing),
        "height": Free(highest.height, highest.height, low=0.0),
        "background": Free(floor, floor, low=0.0),
    }
    if len(peaks) == 1:
        return free
    centres = np.array([p.centre for p in peaks])
    fsr = float(np.mean(np.diff(centres)))
    width = float(np.median([p.fwhm for p in peaks])) / fsr
    free["fwhm"] = Free(min(width, 0.9), width, low=0.1 * spacing / fsr, high=0.999)
    free["fsr"] = Free(fsr, fsr, low=0.0)
    if len(peaks) > 2:
        # order = t + c t^2 against t in mean spacings, counted from the highest peak
        t = (centres - highest.centre) / fsr
        index = np.arange(len(peaks)) - int(np.argmin(np.abs(t)))
        fit = np.linalg.lstsq(np.stack([t, t**2], axis=1), index, rcond=None)[0]
        free["fsr"] = replace(free["fsr"], start=fsr / float(fit[0]))
        free["curvature"] = Free(float(fit[1]), 0.01)
    return free


def _estimates(
    solution: Solution,
    orders: int,
    wavelength_m: float,
    metres_per_volt: Estimate | None,
    purcell_factor: Estimate | None,
) -> tuple[Estimate, ...]:
    v = solution.as_dict()

    def of_fit(
        name: str, value: float, unit: str, gradient: dict[str, float], what: str
    ) -> Estimate:
        return Estimate(
            name=name,
            value=value,
            unit=unit,
            definition=what,
            method="Airy fit over orders" if orders > 1 else "Lorentz fit within one order",
            budget=solution.budget(gradient),
        )

    found = [
        of_fit(
            "cavity_resonance_voltage",
            v["centre"],
            "V",
            {"centre": 1.0},
            "piezo voltage of the strongest count-rate peak, in this direction of scan",
        )
    ]
    if orders > 1:
        volts = {"fwhm": v["fsr"], "fsr": v["fwhm"]}
        per_volt = wavelength_m / 2.0 / v["fsr"]
        metres_per_volt = of_fit(
            "cavity_metres_per_volt",
            per_volt,
            "m/V",
            {"fsr": -per_volt / v["fsr"]},
            "displacement per volt, half a wavelength per order",
        )
        finesse = coefficient_finesse(v["fwhm"])
        x = math.pi * v["fwhm"] / 2.0
        slope = -finesse * math.pi / 2.0 / math.tan(x)
        found += [
            of_fit(
                "cavity_fsr_voltage", v["fsr"], "V", {"fsr": 1.0}, "voltage from order to order"
            ),
            metres_per_volt,
            of_fit(
                "cavity_count_finesse",
                finesse,
                "1",
                {"fwhm": slope},
                "finesse of the count-rate peaks: the cavity's over sqrt(1 + F0)",
            ),
        ]
        width = of_fit("cavity_count_fwhm_voltage", v["fwhm"] * v["fsr"], "V", volts, _WIDTH)
    else:
        width = of_fit("cavity_count_fwhm_voltage", v["fwhm"], "V", {"fwhm": 1.0}, _WIDTH)
    found.append(width)
    if metres_per_volt is not None:
        found.append(
            Estimate(
                name="cavity_count_fwhm",
                value=width.value * metres_per_volt.value,
                unit="m",
                definition=_WIDTH + ", in mirror displacement",
                method=width.method,
                budget=propagate([(width, metres_per_volt.value), (metres_per_volt, width.value)]),
            )
        )
    if purcell_factor is not None:
        found += [
            _of_cavity(e, name, purcell_factor)
            for e in found
            if (name := _OF_CAVITY.get(e.name)) is not None
        ]
    return tuple(found)


_WIDTH = "full width at half maximum of the count rate: the cavity's times sqrt(1 + F0)"
_OF_CAVITY = {
    "cavity_count_fwhm": "cavity_fwhm_displacement",
    "cavity_count_finesse": "cavity_finesse",
}


def _of_cavity(counts: Estimate, name: str, purcell_factor: Estimate) -> Estimate:
    """Undo the broadening by the Purcell effect: width / sqrt(1 + F0), finesse * sqrt(1 + F0)."""
    broadening = math.sqrt(1.0 + purcell_factor.value)
    power = 1.0 if name == "cavity_finesse" else -1.0
    value = counts.value * broadening**power
    return Estimate(
        name=name,
        value=value,
        unit=counts.unit,
        definition="of the empty cavity, from the count rate and the Purcell factor",
        method=counts.method,
        budget=propagate(
            [
                (counts, broadening**power),
                (purcell_factor, 0.5 * power * value / (1.0 + purcell_factor.value)),
            ]
        ),
    )
