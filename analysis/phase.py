"""Phase randomisation: first-order coherence of consecutive pulses.

Behind an interferometer that is unbalanced by one pulse period, pulses with a phase relation shift
clicks from one output to the other with the interferometer's phase. With two splitters of
reflectance R and transmittance T, and fringes of visibility 1 - eps for coherent light in equal
arms, output A has the share

    I_A/(I_A + I_B) = R^2 + T^2 + 2 R T (1 - eps) V cos(phase)

of the light. Of the clicks, with detectors that are not alike, it has a mean m that tells how
unlike they are, and swings by m (1 - m) (1 - eps) V/(R^2 + T^2).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import Scan

from .detection.dead_time_model import click_probability, clicks_variance
from .statistics.intervals import K_95, LEVEL_68, LEVEL_95, Interval, widen

Array = NDArray[np.float64]

_CHANCE = 1e-3
_MEDIAN = math.sqrt(2.0 * math.log(2.0))
"""Median amplitude of noise alone, in its standard deviations."""


def analyse(
    scan: Scan,
    *,
    fringe: Estimate,
    reflectance: Estimate,
    overlap: Estimate,
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
    reflectance
        R of the splitters, T = 1 - R.
    overlap
        Fringe visibility of the interferometer with coherent light and equal arms, 1 - eps.
    clock_rate_Hz, dead_pulses
        Pulse rate, and pulses a detector is dead after a click.

    Returns
    -------
    Result
        ``phase_visibility``, not negative by its nature: noise alone gives a value of about 1.3 u,
        and the interval is what tells. It begins at 0 unless coherence is significant, and its end
        is not lower than what the scan can exclude in the median without any coherence.

    Raises
    ------
    InconclusiveError
        If there is too little light, or less than one fringe.

    Notes
    -----
    The share of one output is free of the source's drift. The two quadratures are fitted, each
    with a normal error s, not below the scatter about the fit; the amplitude squared over s^2 is
    then noncentral chi-squared with two degrees of freedom, from which the intervals follow
    exactly. A fringe voltage that is off by 1 % takes 0.1 % off a visibility over 2.5 fringes, far
    below its error where it is small.
    """
    if np.ptp(scan.x) < fringe.value:
        raise InconclusiveError(
            f"{scan.file}: {np.ptp(scan.x):.3g} V of phase are less than one fringe of "
            f"{fringe.value:.3g} V; scan further"
        )
    pulses = scan.dwell_s * clock_rate_Hz
    if not scan.clicks.all():
        raise InconclusiveError(f"{scan.file}: an output without clicks; is the source tuned?")
    p = click_probability(scan.clicks / pulses[:, None], dead_pulses)
    a, b = p.T
    # A photon that clicks at one output does not at the other: what makes the clicks of one
    # detector regular, 1 - p, makes those of both compete, and drops out of their share.
    variance = clicks_variance(p, dead_pulses, pulses[:, None]) / (1.0 - p)
    u_p = np.sqrt(variance) / pulses[:, None] * np.square(1.0 + dead_pulses * p)  # dp/dR
    share = a / (a + b)
    u = np.hypot(b * u_p[:, 0], a * u_p[:, 1]) / np.square(a + b)

    phase = 2.0 * np.pi * scan.x / fringe.value
    design = np.column_stack([np.ones(len(scan)), np.cos(phase), np.sin(phase)]) / u[:, None]
    cov = np.linalg.inv(design.T @ design)
    fitted = cov @ design.T @ (share / u)
    pulls = share / u - design @ fitted
    chi2, dof = float(pulls @ pulls), len(scan) - 3
    problems = []
    if stats.chi2.sf(chi2, dof) < _CHANCE:
        problems.append(
            f"the outputs' shares scatter {chi2 / dof:.1f} times more than their counts: does the "
            "interferometer drift, or the detectors' efficiency?"
        )
    cov *= max(chi2 / dof, 1.0)

    amplitude = float(np.hypot(fitted[1], fitted[2]))
    noise = math.sqrt(0.5 * (cov[1, 1] + cov[2, 2]))
    r, t, mean = reflectance.value, 1.0 - reflectance.value, float(fitted[0])
    contrast = mean * (1.0 - mean) * overlap.value / (r**2 + t**2)
    value, sigma = amplitude / contrast, noise / contrast
    given = propagate(
        [(reflectance, value * 2.0 * (r - t) / (r**2 + t**2)), (overlap, -value / overlap.value)]
    )
    u_given = math.sqrt(sum(c.u**2 for c in given))

    def interval(level: float, k: float) -> Interval:
        low, high = widen(value, _interval(value, sigma, level), k, u_given)
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
            *given,
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
    # a scan that happens to show less than noise does excludes no more than an average one
    _, high = _ends(max(value / sigma, _MEDIAN), tail)
    return sigma * low, sigma * high


def _ends(seen: float, tail: float) -> Interval:
    """Amplitudes that would give as much as seen, and as little, with the tail's probability."""

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
                x_label="phase piezo (V)",
                y_label="share of output A",
                x=scan.x,
                y=share,
                u_y=u,
                model=curve(scan.x),
                residuals=pulls,
                x_line=line,
                y_line=curve(line),
            ),
        ),
    )
