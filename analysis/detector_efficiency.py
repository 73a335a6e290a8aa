"""Detector efficiency by substitution: clicks over the photons of a laser of known power.

A reading P of the power monitor, less its zero, means a true power g P, with the monitor's gain g
at this power. Behind a path of
transmission T this is mu photons per pulse, and a live detector clicks with the probability
p = 1 - exp(-eta mu - dark), so

    eta = [-ln(1 - p_A) - ln(1 - p_B) - dark] / mu ,    mu = g P T / (h nu f) ,

with the pulse rate f. This is the efficiency from the fibre to a click of either detector, beam
splitter included, by which the mean photon number is divided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import constants, stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, Uncertain, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import Scan

from .detection.dead_time_model import click_probability
from .detection.reception import PER_DB, of_path
from .models.power_monitor import (
    MeterErrors,
    change_per_linearity,
    change_per_log,
    linear_W,
    zero_of,
)

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
    linearity: Estimate,
    certified_rate: Estimate,
    polarisation: Estimate,
    repeatability: Estimate,
    reading_u_rel: float,
    meter: MeterErrors | None = None,
    certificate: Estimate | None = None,
) -> Result:
    """Find the detectors' efficiency from a scan of a laser's power.

    Parameters
    ----------
    scan
        Clicks of both detectors against ``power_W``, the monitor's reading less its zero [W]; its
        setting ``power_zero_u_W`` is the uncertainty of the zero.
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
    linearity, certified_rate, polarisation, repeatability
        As in `qdchar.analysis.detection.reception.Reception`: what is known before of the change
        with the click rate, the rate for which the efficiency is given, and what the laser's
        polarisation and the switching to its path may change.
    reading_u_rel
        Relative noise of a point's power.
    meter
        What else the certificates of the power meter say, see `qdchar.analysis.rabi`.
    certificate
        The efficiency that other quantities are computed with. It is not replaced: where the
        measurement differs from it by more than three standard uncertainties, a problem is
        reported.

    Returns
    -------
    Result
        ``detector_linearity_measured`` [s], and with `path_attenuation`
        ``detector_efficiency_measured`` [1] at the certificate's click rate. Its budget names the
        monitor's gain as those of the powers do, so that they are correlated.

    Raises
    ------
    InconclusiveError
        If there is no light, or more clicks than the dead time allows.

    Notes
    -----
    The photon number of laser pulses is Poissonian; -ln(1 - p) is the mean number that one detector
    detects in a pulse. A dead time that always ends between the same two pulses is a whole number m
    of pulses, so p = R/(1 - m R) is exact. To all powers are fitted the efficiency at the
    certificate's rate and its relative change with the rate, with what is left of the monitor's
    zero and the monitor's change per decade; of each of the three the certificate (or what is
    assumed in its place) is one more datum. The scatter about it is compared with counting and
    reading noise.

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
    left = zero_of(scan, meter)
    readings_W = scan.x - left.value
    if readings_W.min() <= 0.0:
        raise InconclusiveError(
            f"{scan.file}: a power of {readings_W.min():.3g} W is not more than none. Is the power "
            "meter's zero off, is the pump's shutter open?"
        )
    powers_W = linear_W(readings_W, power_gain, meter)
    photons = powers_W * per_reading

    rates_Hz = scan.clicks / scan.dwell_s[:, None]
    above_Hz = (rates_Hz**2).sum(axis=1) / rates_Hz.sum(axis=1) - certified_rate.value
    # the values of the meter's certificates are corrected; of zero and linearity u is left
    per_log = change_per_log(powers_W, power_gain, meter)
    zero = Uncertain(0.0, left.budget)
    changes = [_Change(linearity, above_Hz), _Change(zero, -(1.0 + per_log) / readings_W)]
    if meter is not None:
        per_unit = change_per_linearity(powers_W, power_gain, meter)
        changes.append(_Change(Uncertain(0.0, meter.linearity.budget), per_unit))

    def line(m: float) -> _Line:
        p = click_probability(scan.clicks / pulses[:, None], m)
        detected = -np.log1p(-p).sum(axis=1) - dark
        counting = (p * (1.0 + m * p) / (1.0 - p)).sum(axis=1) / pulses
        return _line(photons, detected, counting, reading_u_rel, changes)

    best, dof, recovery = line(dead_pulses), len(scan) - 1, []
    if not float(dead_pulses).is_integer():
        lines = [line(float(m)) for m in np.linspace(*_whole_about(dead_pulses), _TRIED)]
        best, dof = min(lines, key=lambda tried: tried.chi2), dof - 1
        near = [tried for tried in lines if tried.chi2 <= best.chi2 + 1.0]
        recovery = [
            (f"recovery while a pulse comes, {scan.file.name}", half)
            for half in [0.5 * np.ptp([(tried.slope, tried.change_s) for tried in near], axis=0)]
        ]

    problems = []
    excess = 1.0
    if dof > 0 and stats.chi2.sf(best.chi2, dof) < _MIN_P_VALUE:
        problems.append(
            f"detected photons are not proportional to the power (chi2 {best.chi2:.0f} for {dof} "
            "degrees of freedom): does the monitor have an offset, do the detectors lose "
            f"efficiency with their rate ({best.change_s * 1e6:+.2g} per Mcps here, "
            f"{linearity.value * 1e6:+.2g} +- {linearity.u * 1e6:.2g} by certificate), do they "
            "recover gradually?"
        )
        excess = math.sqrt(best.chi2 / dof)
    inputs = [
        *((c.known, per) for c, per in zip(changes, best.per_known.T, strict=True)),
        (dark_count_rate, best.per_dark / clock_rate_Hz),
        (certified_rate, best.per_rate),
    ]
    found = _estimates(best, excess, recovery, scan.file.name, inputs)
    fit = _fit(scan, best, per_reading, excess**2, dof)
    change = replace(
        found[1],
        name="detector_linearity_measured",
        method=(
            f"change of the detected photons per laser photon up to {rates_Hz.max() * 1e-6:.3g} "
            f"Mcps, with the certificate's {linearity.value * 1e6:+.2g} +- "
            f"{linearity.u * 1e6:.2g} per Mcps as one more datum"
        ),
        plane="click",
    )
    if path_attenuation is None:
        return Result((change,), (fit,), tuple(problems))
    value = best.slope
    of_log = value * float(per_log.mean())
    of_power = [] if meter is None else [(meter.gain_power, of_log / meter.gain_power.value)]
    estimate = replace(
        found[0],
        budget=(
            *found[0].budget,
            *propagate(
                [
                    (power_gain, -(value + of_log) / power_gain.value),
                    *of_power,
                    (path_attenuation, value * PER_DB),
                ]
            ),
            *of_path(
                value,
                "laser",
                scan.clicks.sum(axis=0).tolist(),
                scan.file.name,
                polarisation=polarisation,
                repeatability=repeatability,
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
    return Result((measured, change), (fit,), tuple(problems))


def _photons_per_reading(
    wavelength_m: float, clock_rate_Hz: float, gain: float, attenuation_dB: float
) -> float:
    """Photons per pulse in the fibre for a reading of one watt at the monitor."""
    photon_J = constants.h * constants.c / wavelength_m
    return float(gain * 10.0 ** (-0.1 * attenuation_dB) / photon_J / clock_rate_Hz)


@dataclass(frozen=True)
class _Change:
    """What changes the detected photons per reading by little, and what is known of it before.

    Attributes
    ----------
    known
        Its size, by certificate.
    per_unit
        Relative change of the detected photons per unit of it, by point.
    """

    known: Uncertain
    per_unit: Array


@dataclass(frozen=True)
class _Line:
    """Detected photons against laser photons, with an efficiency that changes with the rate.

    Attributes
    ----------
    slope, change_s
        Efficiency at the certificate's rate, and its relative change per click rate [s].
    covariance
        Of the two by counting and reading noise.
    per_known
        Their derivatives by what was known of each change before, shape (2, changes).
    per_dark, per_rate
        Their derivatives by the dark counts per pulse, and by the certificate's click rate [Hz],
        shape (2,).
    weights, detected, pulls
        By point; the last pulls are those of what was known before, where it has an uncertainty.
    """

    slope: float
    change_s: float
    covariance: Array
    per_known: Array
    per_dark: Array
    per_rate: Array
    weights: Array
    detected: Array
    model: Array
    pulls: Array

    @property
    def chi2(self) -> float:
        return float(np.sum(self.pulls**2))


def _line(x: Array, y: Array, counting: Array, x_u_rel: float, changes: Sequence[_Change]) -> _Line:
    """Fit ``y = slope x (1 + sum of changes)`` with errors in both coordinates and priors.

    In units of its prior's uncertainty each change is c, measured from the prior's value; the
    equations are linear in the slope and in each slope c. The first change is that with the rate.
    """
    slope = float(np.sum(y) / np.sum(x))
    u = np.array([change.known.u for change in changes])
    expected = 1.0 + sum(change.known.value * change.per_unit for change in changes)
    columns = [x * expected, *(x * c.per_unit * c.known.u for c in changes)]
    for _ in range(3):  # the weights depend on the slope, weakly
        weights = 1.0 / (counting + np.square(slope * x * x_u_rel))
        root = np.sqrt(weights)
        rows = np.column_stack(columns) * root[:, None]
        priors = np.eye(len(changes), 1 + len(changes), 1) / slope
        inverse = np.linalg.pinv(np.vstack([rows, priors]))
        slope, *parts = inverse @ np.append(y * root, np.zeros(len(changes)))
    off = np.array(parts) / slope
    # to the slope and the change with the rate
    to_s = np.zeros((2, 1 + len(changes)))
    to_s[0, 0] = 1.0
    to_s[1, :2] = -off[0] * u[0] / slope, u[0] / slope
    per_y = to_s @ inverse[:, : len(y)]
    # a unit of a prior moves its row by one
    per_u = to_s @ inverse[:, len(y) :]
    per_known = np.divide(per_u, u, out=np.zeros_like(per_u), where=u > 0.0)
    seen = sum(o * c.known.u * c.per_unit for o, c in zip(off, changes, strict=True))
    model = slope * x * (expected + seen)
    change_s = float(changes[0].known.value + off[0] * u[0])
    return _Line(
        float(slope),
        change_s,
        per_y @ per_y.T,
        per_known,
        -per_y @ root,
        per_y @ (slope * x * change_s * root),
        weights,
        y,
        model,
        np.append((y - model) * root, off),
    )


def _estimates(
    line: _Line,
    excess: float,
    recovery: Sequence[tuple[str, Array]],
    label: str,
    inputs: Sequence[tuple[Uncertain, Array]],
) -> tuple[Estimate, Estimate]:
    """Return efficiency and its change with the rate, with what they share."""
    u_slope = math.sqrt(line.covariance[0, 0])
    shared = float(line.covariance[0, 1]) / u_slope
    own = math.sqrt(max(float(line.covariance[1, 1]) - shared**2, 0.0))
    counts, change = f"laser counts and readings, {label}", f"change with the rate, {label}"
    of_inputs = [propagate((e, float(slopes[k])) for e, slopes in inputs) for k in (0, 1)]
    slope = Estimate(
        name="detector_efficiency_measured",
        value=line.slope,
        method="",
        plane="fibre to click",
        budget=(
            Contribution(counts, excess * u_slope),
            *(Contribution(name, float(half[0])) for name, half in recovery),
            *of_inputs[0],
        ),
    )
    return slope, Estimate(
        name="detector_linearity_measured",
        value=line.change_s,
        method="",
        plane="click",
        budget=(
            Contribution(counts, excess * shared),
            Contribution(change, excess * own),
            *(Contribution(name, float(half[1])) for name, half in recovery),
            *of_inputs[1],
        ),
    )


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
    excess: float,
    dof: int,
) -> Fit:
    order = np.argsort(scan.x)
    n = len(scan)
    return Fit(
        model="detected photons against power, efficiency changing with the rate",
        names=("detector_efficiency_measured", "detector_linearity_measured"),
        values=np.array([best.slope, best.change_s]),
        covariance=excess * best.covariance,
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
                model=best.model,
                residuals=best.pulls[:n],
                x_line=np.append(0.0, scan.x[order]),
                y_line=np.append(0.0, best.model[order]),
                quantities=("detector_efficiency_measured",),
            ),
        ),
    )
