"""Detector efficiency by substitution: clicks over the photons of a laser of known power.

A power P at the monitor, behind a path of known attenuation, gives mu photons per pulse, and a
live detector clicks with p = 1 - exp(-eta mu - dark), so

    eta = [-ln(1 - p_A) - ln(1 - p_B) - dark] / mu ,    mu = P T / (g h nu f) ,

with the monitor's gain g, transmission T of the path and pulse rate f. It is the efficiency from
the fibre to a click of either detector, the beam splitter included: what the mean photon number
is divided by.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import constants, stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import Scan

from .detection.dead_time_model import click_probability

Array = NDArray[np.float64]

_APART = 3.0
"""Standard uncertainties by which certificate and measurement may differ."""
_CHANCE = 1e-3


def analyse(
    scan: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    wavelength_m: float,
    power_gain: Estimate,
    path_attenuation: Estimate,
    dark_count_rate: Estimate,
    reading_u_rel: float,
    certificate: Estimate | None = None,
) -> Result:
    """Find the detectors' efficiency from a scan of a laser's power.

    Parameters
    ----------
    scan
        Clicks of both detectors against ``power_W``, the monitor's reading [W].
    clock_rate_Hz, dead_pulses
        Pulse rate, and pulses a detector is dead after a click.
    wavelength_m
        Of the laser, vacuum [m].
    power_gain
        What the monitor reads per watt, from its certificate.
    path_attenuation
        From the monitor's plane to the fibre before the detectors, from its certificate [dB].
    dark_count_rate
        Total of both detectors [Hz].
    reading_u_rel
        Relative noise of a point's power.
    certificate
        The efficiency that other figures rest on. It is not replaced: where the measurement
        differs from it by more than three standard uncertainties, the result carries a problem.

    Returns
    -------
    Result
        ``detector_efficiency_measured`` [1]. The monitor's gain is in its budget under the name
        under which other figures have it.

    Raises
    ------
    InconclusiveError
        If there is no light, or more clicks than the dead time allows.

    Notes
    -----
    Laser pulses are Poissonian in their photons; -ln(1 - p) counts those of one detector in one
    pulse. A dead time that ends between the same two pulses every time loses whole pulses, so
    p = R/(1 - m R) is exact. All powers together are fitted with one efficiency; the scatter about
    it is held against counting and reading noise.
    """
    pulses = scan.dwell_s * clock_rate_Hz
    p = click_probability(scan.clicks / pulses[:, None], dead_pulses)
    if not scan.clicks.any():
        raise InconclusiveError(
            f"{scan.file}: no click in the laser's path; is it connected, the shutter open?"
        )
    dark = dark_count_rate.value / clock_rate_Hz
    detected = -np.log1p(-p).sum(axis=1) - dark
    counting = (p * (1.0 + dead_pulses * p) / (1.0 - p)).sum(axis=1) / pulses
    per_watt = _photons_per_watt(
        wavelength_m, clock_rate_Hz, power_gain.value, path_attenuation.value
    )
    photons = scan.x * per_watt
    value, variance, weights = _slope(photons, detected, counting, reading_u_rel)
    pulls = (detected - value * photons) * np.sqrt(weights)
    chi2, dof = float(np.sum(pulls**2)), len(scan) - 1

    problems = []
    if dof > 0 and stats.chi2.sf(chi2, dof) < _CHANCE:
        problems.append(
            f"detected photons are not proportional to the power (chi2 {chi2:.0f} for {dof} "
            "degrees of freedom): does the monitor have an offset, do the detectors recover "
            "gradually?"
        )
        variance *= chi2 / dof
    slope_dark = float(-np.sum(weights * photons) / np.sum(weights * photons**2)) / clock_rate_Hz
    estimate = Estimate(
        name="detector_efficiency_measured",
        value=value,
        method="",
        plane="fibre to click",
        budget=(
            Contribution(f"laser counts and readings, {scan.file.name}", math.sqrt(variance)),
            *propagate(
                [
                    (power_gain, value / power_gain.value),
                    (path_attenuation, value * math.log(10.0) / 10.0),
                    (dark_count_rate, slope_dark),
                ]
            ),
        ),
    )
    method = (
        f"substitution: laser at {scan.x.min():.2g} to {scan.x.max():.2g} W behind "
        f"{path_attenuation.value:.2f} dB, Poissonian pulses, pulsed dead-time formula"
    )
    if certificate is not None:
        apart = _apart(estimate, certificate)
        method += f"; {apart:+.1f} u from the certificate's {certificate.value:.4g}"
        if abs(apart) > _APART:
            problems.append(
                f"the detectors' efficiency is {value:.4f} by substitution, {certificate.value:.4f}"
                f" by certificate: {abs(apart):.1f} standard uncertainties apart. Which connector, "
                "attenuation or polarisation has changed since the certificate?"
            )
    measured = replace(estimate, method=method)
    fit = _fit(scan, detected, value, per_watt, weights, pulls, variance)
    return Result((measured,), (fit,), tuple(problems))


def _photons_per_watt(
    wavelength_m: float, clock_rate_Hz: float, gain: float, attenuation_dB: float
) -> float:
    """Photons per pulse in the fibre for one watt at the monitor."""
    photon_J = constants.h * constants.c / wavelength_m
    return float(10.0 ** (-0.1 * attenuation_dB) / gain / photon_J / clock_rate_Hz)


def _slope(x: Array, y: Array, counting: Array, x_u_rel: float) -> tuple[float, float, Array]:
    """Slope through zero with errors in both coordinates: value, variance and weights."""
    slope = float(np.sum(y) / np.sum(x))
    for _ in range(3):  # the weights depend on the slope, weakly
        weights = 1.0 / (counting + np.square(slope * x * x_u_rel))
        slope = float(np.sum(weights * x * y) / np.sum(weights * x**2))
    return slope, float(1.0 / np.sum(weights * x**2)), weights


def _apart(measured: Estimate, certificate: Estimate) -> float:
    """Difference over its standard uncertainty; what both share drops out."""
    difference = propagate([(measured, 1.0), (certificate, -1.0)])
    u = math.sqrt(sum(c.u**2 for c in difference))
    return (measured.value - certificate.value) / u


def _fit(
    scan: Scan,
    detected: Array,
    value: float,
    per_watt: float,
    weights: Array,
    pulls: Array,
    variance: float,
) -> Fit:
    line = np.array([0.0, float(scan.x.max())])
    return Fit(
        model="detected photons proportional to power",
        names=("detector_efficiency_measured",),
        values=np.array([value]),
        covariance=np.array([[variance]]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=len(scan) - 1,
        curves=(
            Curve(
                title="Detectors on a laser of known power",
                x_label="power at the monitor (W)",
                y_label="photons detected per pulse",
                x=scan.x,
                y=detected,
                u_y=1.0 / np.sqrt(weights),
                model=value * per_watt * scan.x,
                residuals=pulls,
                x_line=line,
                y_line=value * per_watt * line,
            ),
        ),
    )
