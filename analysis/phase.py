"""Phase randomisation: first-order coherence of consecutive pulses.

Behind an interferometer that is unbalanced by one pulse period, consecutive pulses interfere if
they have a fixed phase relation: clicks move from one output to the other with the phase of the
interferometer. With splitters of reflectances R1 and R2 and transmittances T1 and T2, and a fringe
visibility 1 - eps for coherent light that is equally bright from both arms, output A has the share

    I_A/(I_A + I_B) = T1 T2 + R1 R2 + 2 sqrt(R1 T1 R2 T2) (1 - eps) V cos(phase)

of the light. With detectors of different efficiency, its share of the clicks has another mean m and
an amplitude of m (1 - m) (1 - eps) V 2 sqrt(R1 T1 R2 T2)/((T1 T2 + R1 R2)(T1 R2 + R1 T2)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import Scan

from .detection.dead_time_model import click_probability, clicks_variance
from .models.interferometer import Interferometer, fringe_contrast, with_second_order
from .statistics.intervals import K_95, LEVEL_68, LEVEL_95, Interval, widen

Array = NDArray[np.float64]

_MIN_P_VALUE = 1e-3
"""Probability of the chi2 below which the shares scatter more than their counts."""
_MEDIAN_OF_NOISE = math.sqrt(2.0 * math.log(2.0))
"""Median amplitude of noise alone [standard deviations]: that of a Rayleigh distribution."""


def analyse(
    scan: Scan,
    *,
    fringe: Estimate,
    interferometer: Interferometer,
    clock_rate_Hz: float,
    dead_pulses: float,
) -> Result:
    """Find the coherence of consecutive pulses, with an upper limit.

    Parameters
    ----------
    scan
        Clicks of both outputs against the phase piezo's ``voltage_V``, over more than one fringe.
    fringe
        Voltage of one fringe, from laser light [V].
    interferometer
        Its splitters, and the overlap of its modes.
    clock_rate_Hz, dead_pulses
        Pulse rate, and pulses a detector is dead after a click.

    Returns
    -------
    Result
        ``phase_visibility``, an amplitude, which is not negative: noise alone gives about 1.3 u.
        Its interval begins at 0 unless coherence is significant; its upper end is not below the
        median limit of a scan without coherence.

    Raises
    ------
    InconclusiveError
        If there is too little light, or less than one fringe.

    Notes
    -----
    The share of one output does not depend on drift of the source. The two quadratures are fitted,
    each with a normal error s that is at least the scatter about the fit. The squared amplitude
    over s^2 then has a noncentral chi-squared distribution with two degrees of freedom, from which
    the intervals follow exactly.
    """
    if np.ptp(scan.x) < fringe.value:
        raise InconclusiveError(
            f"{scan.file}: {np.ptp(scan.x):.3g} V of phase scan are less than one fringe "
            f"of {fringe.value:.3g} V; scan further"
        )
    pulses = scan.dwell_s * clock_rate_Hz
    if not scan.clicks.all():
        raise InconclusiveError(f"{scan.file}: an output without clicks; is the source tuned?")
    p = click_probability(scan.clicks / pulses[:, None], dead_pulses)
    a, b = p.T
    # A photon gives a click at one output only. This makes the clicks of each detector more regular
    # than Poisson by 1 - p and those of both anticorrelated: the factor cancels in their share.
    variance = clicks_variance(p, dead_pulses, pulses[:, None]) / (1.0 - p)
    u_p = np.sqrt(variance) / pulses[:, None] * np.square(1.0 + dead_pulses * p)  # dp/dR
    share = a / (a + b)
    u = np.hypot(b * u_p[:, 0], a * u_p[:, 1]) / np.square(a + b)

    def quadratures(fringe_V: float) -> tuple[Array, Array, Array]:
        """Return mean, cosine and sine of the share, their covariance, and the pulls."""
        phase = 2.0 * np.pi * scan.x / fringe_V
        design = np.column_stack([np.ones(len(scan)), np.cos(phase), np.sin(phase)]) / u[:, None]
        cov = np.linalg.inv(design.T @ design)
        fitted = cov @ design.T @ (share / u)
        return fitted, cov, share / u - design @ fitted

    fitted, cov, pulls = quadratures(fringe.value)
    chi2, dof = float(pulls @ pulls), len(scan) - 3
    problems = []
    if stats.chi2.sf(chi2, dof) < _MIN_P_VALUE:
        problems.append(
            f"the outputs' shares scatter {chi2 / dof:.1f} times more than counting noise: does "
            "the interferometer drift, or the efficiency of a detector?"
        )
    cov *= max(chi2 / dof, 1.0)

    noise = math.sqrt(0.5 * (cov[1, 1] + cov[2, 2]))
    certificates = (interferometer.first, interferometer.second, interferometer.overlap)
    at = [e.value for e in certificates]

    def expected(fitted: Array, values: Sequence[float]) -> float:
        """Return the amplitude of full coherence."""
        first, second, overlap = values
        mean = float(fitted[0])
        return mean * (1.0 - mean) * overlap * fringe_contrast(first, second)

    def visibility(fitted: Array, values: Sequence[float]) -> float:
        return float(np.hypot(fitted[1], fitted[2])) / expected(fitted, values)

    value, sigma = visibility(fitted, at), noise / expected(fitted, at)
    step = 1e-3 * fringe.value
    wider, narrower = (visibility(quadratures(fringe.value + s)[0], at) for s in (step, -step))
    of_certificates = (
        *with_second_order(lambda x: visibility(fitted, x), certificates),
        *propagate([(fringe, (wider - narrower) / (2.0 * step))]),
    )
    u_certificates = math.sqrt(sum(c.u**2 for c in of_certificates))

    def interval(level: float, k: float) -> Interval:
        low, high = widen(value, _interval(value, sigma, level), k, u_certificates)
        return max(low, 0.0), high

    upper = interval(LEVEL_95, K_95)[1]
    estimate = Estimate(
        name="phase_visibility",
        value=value,
        method=(
            f"share of one output over {np.ptp(scan.x) / fringe.value:.1f} fringes, both "
            f"quadratures; below {upper:.2g} (95 % interval)"
        ),
        plane="transmitter output",
        budget=(
            Contribution(f"shares of the outputs, {scan.file.name}", sigma),
            *of_certificates,
        ),
        interval_68=interval(LEVEL_68, 1.0),
        interval_95=interval(LEVEL_95, K_95),
    )
    fit = _fit(scan, share, u, fitted, cov, pulls, fringe.value)
    return Result((estimate,), (fit,), tuple(problems))


def _interval(value: float, sigma: float, level: float) -> Interval:
    """Central interval of an amplitude whose two quadratures have normal errors."""
    tail = (1.0 - level) / 2.0
    low, _ = _ends(value / sigma, tail)
    # A scan with less amplitude than the median of noise gives no lower limit than that median.
    _, high = _ends(max(value / sigma, _MEDIAN_OF_NOISE), tail)
    return sigma * low, sigma * high


def _ends(seen: float, tail: float) -> Interval:
    """Return the true amplitudes that give at least, and at most, the seen one with this chance."""

    def above(true: float) -> float:
        return float(stats.ncx2.sf(seen**2, 2, true**2)) if true > 0 else math.exp(-(seen**2) / 2)

    def solve(wanted: float) -> float:
        if above(0.0) >= wanted:
            return 0.0
        return float(optimize.brentq(lambda x: above(x) - wanted, 0.0, seen + 8.0, xtol=1e-9))

    return solve(tail), solve(1.0 - tail)


def _fit(
    scan: Scan, share: Array, u: Array, fitted: Array, cov: Array, pulls: Array, fringe_V: float
) -> Fit:
    def curve(voltage: Array) -> Array:
        phase = 2.0 * np.pi * voltage / fringe_V
        return np.asarray(fitted[0] + fitted[1] * np.cos(phase) + fitted[2] * np.sin(phase))

    line = np.linspace(float(scan.x.min()), float(scan.x.max()), 300)
    return Fit(
        model="fringe",
        names=("share", "cosine", "sine"),
        values=fitted,
        covariance=cov,
        statistic="chi2",
        minimum=float(pulls @ pulls),
        dof=len(scan) - 3,
        curves=(
            Curve(
                title="Interference of consecutive pulses",
                x_label="phase piezo voltage V (V)",
                y_label="share of clicks at output A",
                x=scan.x,
                y=share,
                u_y=u,
                model=curve(scan.x),
                residuals=pulls,
                x_line=line,
                y_line=curve(line),
                line_label="fringe",
                quantities=("phase_visibility",),
            ),
        ),
    )
