"""Detector efficiency by substitution: clicks over the photons of a laser of known power.

A reading P of the power monitor means a true power g P, with the monitor's gain g. Behind a path of
transmission T this is mu photons per pulse, and a live detector clicks with the probability
p = 1 - exp(-eta mu - dark), so

    eta = [-ln(1 - p_A) - ln(1 - p_B) - dark] / mu ,    mu = g P T / (h nu f) ,

with the pulse rate f. This is the efficiency from the fibre to a click of either detector, beam
splitter included, by which the mean photon number is divided.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import constants, stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import Scan

from .detection.dead_time_model import click_probability

Array = NDArray[np.float64]

_MAX_DIFFERENCE = 3.0
"""Largest difference of certificate and measurement [standard uncertainties]."""
_MIN_P_VALUE = 1e-3
"""Probability of the chi2 below which the clicks are not proportional to the power."""
_TRIED = 401
"""Dead pulses that are tried between two whole numbers."""


def analyse(
    scan: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    wavelength_m: float,
    power_gain: Estimate,
    path_attenuation: Estimate | None,
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
        True power over the reading of the monitor, from its certificate.
    path_attenuation
        From the monitor's plane to the fibre before the detectors, from its certificate [dB].
        Without it there is no efficiency: only whether the clicks are proportional to the power.
    dark_count_rate
        Total of both detectors [Hz].
    reading_u_rel
        Relative noise of a point's power.
    certificate
        The efficiency that other quantities are computed with. It is not replaced: where the
        measurement differs from it by more than three standard uncertainties, a problem is
        reported.

    Returns
    -------
    Result
        ``detector_efficiency_measured`` [1]. Its budget names the monitor's gain as those of the
        powers do, so that they are correlated. Empty without `path_attenuation`.

    Raises
    ------
    InconclusiveError
        If there is no light, or more clicks than the dead time allows.

    Notes
    -----
    The photon number of laser pulses is Poissonian; -ln(1 - p) is the mean number that one detector
    detects in a pulse. A dead time that always ends between the same two pulses is a whole number m
    of pulses, so p = R/(1 - m R) is exact. One efficiency is fitted to all powers; the scatter
    about it is compared with counting and reading noise.

    Where the source's m is not whole, a detector recovers while a pulse comes; which part of the
    laser's pulse it sees then is another matter, so that m is fitted between the whole numbers.
    """
    pulses = scan.dwell_s * clock_rate_Hz
    if not scan.clicks.any():
        raise InconclusiveError(
            f"{scan.file}: no click in the laser's path. Is it connected, and is the shutter open?"
        )
    dark = dark_count_rate.value / clock_rate_Hz
    per_reading = _photons_per_reading(
        wavelength_m,
        clock_rate_Hz,
        power_gain.value,
        0.0 if path_attenuation is None else path_attenuation.value,
    )
    photons = scan.x * per_reading

    def line(m: float) -> _Line:
        p = click_probability(scan.clicks / pulses[:, None], m)
        detected = -np.log1p(-p).sum(axis=1) - dark
        counting = (p * (1.0 + m * p) / (1.0 - p)).sum(axis=1) / pulses
        return _line(photons, detected, counting, reading_u_rel)

    best, dof, recovery = line(dead_pulses), len(scan) - 1, []
    if not float(dead_pulses).is_integer():
        lines = [line(float(m)) for m in np.linspace(*_whole_about(dead_pulses), _TRIED)]
        best, dof = min(lines, key=lambda tried: tried.chi2), dof - 1
        near = [tried.slope for tried in lines if tried.chi2 <= best.chi2 + 1.0]
        recovery = [
            Contribution(
                f"recovery while a pulse comes, {scan.file.name}", 0.5 * (max(near) - min(near))
            )
        ]
    value, variance, chi2 = best.slope, best.variance, best.chi2

    problems = []
    if dof > 0 and stats.chi2.sf(chi2, dof) < _MIN_P_VALUE:
        problems.append(
            f"detected photons are not proportional to the power (chi2 {chi2:.0f} for {dof} "
            "degrees of freedom): does the monitor have an offset, do the detectors lose "
            "efficiency with their rate, do they recover gradually?"
        )
        variance *= chi2 / dof
    fit = _fit(scan, best, per_reading, variance, dof)
    if path_attenuation is None:
        return Result((), (fit,), tuple(problems))
    w = best.weights
    slope_dark = float(-np.sum(w * photons) / np.sum(w * photons**2)) / clock_rate_Hz
    estimate = Estimate(
        name="detector_efficiency_measured",
        value=value,
        method="",
        plane="fibre to click",
        budget=(
            Contribution(f"laser counts and readings, {scan.file.name}", math.sqrt(variance)),
            *recovery,
            *propagate(
                [
                    (power_gain, -value / power_gain.value),
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
        difference = _difference(estimate, certificate)
        method += f"; {difference:+.1f} u from the certificate's {certificate.value:.4g}"
        if abs(difference) > _MAX_DIFFERENCE:
            problems.append(
                f"the detectors' efficiency is {value:.4f} by substitution, {certificate.value:.4f}"
                f" by certificate: {abs(difference):.1f} standard uncertainties apart. Which "
                "connector, attenuation or polarisation has changed since the certificate?"
            )
    measured = replace(estimate, method=method)
    return Result((measured,), (fit,), tuple(problems))


def _photons_per_reading(
    wavelength_m: float, clock_rate_Hz: float, gain: float, attenuation_dB: float
) -> float:
    """Photons per pulse in the fibre for a reading of one watt at the monitor."""
    photon_J = constants.h * constants.c / wavelength_m
    return float(gain * 10.0 ** (-0.1 * attenuation_dB) / photon_J / clock_rate_Hz)


@dataclass(frozen=True)
class _Line:
    """Detected photons proportional to the power: the slope, and what it was found from."""

    slope: float
    variance: float
    weights: Array
    detected: Array
    pulls: Array

    @property
    def chi2(self) -> float:
        return float(np.sum(self.pulls**2))


def _line(x: Array, y: Array, counting: Array, x_u_rel: float) -> _Line:
    """Fit a line through zero with errors in both coordinates."""
    slope = float(np.sum(y) / np.sum(x))
    for _ in range(3):  # the weights depend on the slope, weakly
        weights = 1.0 / (counting + np.square(slope * x * x_u_rel))
        slope = float(np.sum(weights * x * y) / np.sum(weights * x**2))
    pulls = (y - slope * x) * np.sqrt(weights)
    return _Line(slope, float(1.0 / np.sum(weights * x**2)), weights, y, pulls)


def _whole_about(dead_pulses: float) -> tuple[float, float]:
    return math.floor(dead_pulses), math.ceil(dead_pulses)


def _difference(measured: Estimate, certificate: Estimate) -> float:
    """Difference over its standard uncertainty; shared error sources cancel."""
    budget = propagate([(measured, 1.0), (certificate, -1.0)])
    u = math.sqrt(sum(c.u**2 for c in budget))
    return (measured.value - certificate.value) / u


def _fit(
    scan: Scan,
    best: _Line,
    per_reading: float,
    variance: float,
    dof: int,
) -> Fit:
    line = np.array([0.0, float(scan.x.max())])
    return Fit(
        model="detected photons proportional to power",
        names=("detector_efficiency_measured",),
        values=np.array([best.slope]),
        covariance=np.array([[variance]]),
        statistic="chi2",
        minimum=best.chi2,
        dof=dof,
        curves=(
            Curve(
                title="Detectors on a laser of known power",
                x_label="reading of the power monitor (W)",
                y_label="photons detected per pulse",
                x=scan.x,
                y=best.detected,
                u_y=1.0 / np.sqrt(best.weights),
                model=best.slope * per_reading * scan.x,
                residuals=best.pulls,
                x_line=line,
                y_line=best.slope * per_reading * line,
            ),
        ),
    )
