"""Stability of the brightness: its drift, and its fluctuation beyond counting noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.errors import InconclusiveError, RecordError
from qdchar.estimate import Contribution, Estimate, Uncertain, merge, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import Scan

from .detection.dead_time_model import CorrectedCounts, corrected_counts, fano
from .statistics.intervals import LEVEL_68, LEVEL_95, Interval
from .statistics.model_criticism import correlated_problem

Array = NDArray[np.float64]

_LABEL = "stability"
_FEWEST_SLICES = 10
"""A scatter of fewer slices is known to worse than a quarter of itself."""
_LEAST_SIGNIFICANCE = 5.0
"""Standard uncertainties by which the count rate must exceed the dark counts."""
_SIGNIFICANT = 0.01
"""Probability by chance alone below which a drift or a fluctuation is called significant."""


def analyse(
    scan: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    dark_count_rate: Estimate,
    end_detuning: Uncertain | None = None,
    u_start_detuning: float = 0.0,
) -> Result:
    """Find the drift and the fluctuation of the brightness.

    Parameters
    ----------
    scan
        Clicks against ``time_s``, the start of each slice; at least 10 slices.
    clock_rate_Hz
        Pulse rate [Hz].
    dead_pulses
        Pulses a detector is dead after a click, see `qdchar.analysis.dead_time.dead_pulses`.
    dark_count_rate
        Total of both detectors [Hz].
    end_detuning
        Distance of the cavity from the peak of the count rate at the end, as a re-lock right after
        the last slice finds it, over the peak's full width at half maximum. None if the cavity
        cannot drift.
    u_start_detuning
        Standard uncertainty of that distance at the start, where the cavity was locked.

    Returns
    -------
    Result
        ``brightness_drift`` [1/s] and ``brightness_fluctuation`` [1], both relative to the mean
        brightness. The drift is that of the source: what the cavity's drift adds is removed.
        ``method`` says whether they are significant (1 % by chance), and how much the cavity added.
        A fluctuation that is not significant has an interval that begins at zero.

    Raises
    ------
    InconclusiveError
        If there are too few slices, or no light beyond the dark counts.
    RecordError
        If the scan is not against ``time_s``.

    Notes
    -----
    The counts n_k of slice k, without dead time, are described by

        E[n_k] = tau_k (R (1 + d (t_k - T)) + D),    Var[n_k] = F_k E[n_k] + (s tau_k R)^2 ,

    with the dwell tau, the middle t of the slice, the mean time T, the rate R of the source, the
    dark count rate D, and the variance over mean F of the corrected counts (`fano`). The drift d
    comes from a straight line, weighted with the counting noise F E alone. Where chi-square per
    degree of freedom is above 1 the uncertainty grows by its square root, and the interval is
    that of Student's t.

    A cavity that drifts from the peak to the distance x, in units of its width, takes the share
    L = 4 x^2/(1 + 4 x^2) of the brightness. Where it moves evenly, a straight line through this
    loss has the slope L per recording time. This is added to d. Where it creeps it moves faster at
    first, so that half of it is taken as uncertain.

    The fluctuation s is independent from slice to slice. With v = K - 2 degrees of freedom and
    the counting noise c of a slice, relative, chi-square is (1 + s^2/c^2) times a number
    distributed as chi2(v) [1]. So

        s^2 = c^2 (chi2/v - 1),    and its limits are    c^2 (chi2/q - 1)

    with the quantiles q of chi2(v), both cut at zero. For the upper limit chi2 is at least v: a
    scatter that is small by chance does not exclude a fluctuation that could not have been seen.

    References
    ----------
    .. [1] S. R. Searle, G. Casella, C. E. McCulloch, Variance Components (Wiley, 1992), chapter 3
    """
    if scan.x_name != "time_s":
        raise RecordError(f"{scan.file}: stability needs time_s, not {scan.x_name}")
    if len(scan) < _FEWEST_SLICES:
        raise InconclusiveError(
            f"{scan.file}: {len(scan)} slices; stability needs at least {_FEWEST_SLICES}"
        )
    light = corrected_counts(scan, clock_rate_Hz, dead_pulses)
    pulses = scan.dwell_s * clock_rate_Hz
    line = _fit_line(scan, light, pulses, dead_pulses, dark_count_rate.value)
    if line.rate < _LEAST_SIGNIFICANCE * line.u_rate:
        raise InconclusiveError(
            f"{scan.file}: {line.rate:.3g} counts per second beyond the dark counts, known to "
            f"{line.u_rate:.2g}: too little light for its stability; is the pump on?"
        )
    fluctuation = _fluctuation(scan, line, dark_count_rate)
    cavity = _cavity_drift(float(scan.dwell_s.sum()), end_detuning, u_start_detuning)
    drift = _drift(scan, line, dark_count_rate, cavity)
    problems = correlated_problem(_LABEL, line.residuals, fluctuation.value)
    return Result((drift, fluctuation), (line.fit(scan),), problems)


@dataclass(frozen=True)
class _Line:
    """Straight line through the rates of the slices, dark counts removed.

    Attributes
    ----------
    time_s, measured, u
        Middle of each slice [s], its rate and the counting noise of that [1/s], shape (n,).
    mean_time_s
        Weighted mean time: there the rate and the slope are uncorrelated.
    rate, slope, u_rate, u_slope
        At the mean time [1/s] and [1/s^2]; uncertainties from counting noise alone.
    """

    time_s: Array
    measured: Array
    u: Array
    mean_time_s: float
    rate: float
    slope: float
    u_rate: float
    u_slope: float

    @property
    def model(self) -> Array:
        """Rate of the line at the slices [1/s]."""
        return self.rate + self.slope * (self.time_s - self.mean_time_s)

    @property
    def residuals(self) -> Array:
        """Measured less model, over the counting noise."""
        return (self.measured - self.model) / self.u

    @property
    def chi2(self) -> float:
        """Sum of the squared residuals."""
        return float(self.residuals @ self.residuals)

    @property
    def dof(self) -> int:
        """Degrees of freedom."""
        return len(self.time_s) - 2

    @property
    def stretch(self) -> float:
        """Factor from counting noise to the scatter seen, at least 1."""
        return math.sqrt(max(self.chi2 / self.dof, 1.0))

    @property
    def drift(self) -> float:
        """Slope over rate [1/s]."""
        return self.slope / self.rate

    @property
    def u_drift(self) -> float:
        """Of the drift, from counting noise alone [1/s]."""
        return math.hypot(self.u_slope, self.drift * self.u_rate) / self.rate

    @property
    def noise(self) -> float:
        """Counting noise of a slice, relative: root mean square."""
        return 1.0 / math.sqrt(float(np.mean((self.model / self.u) ** 2)))

    def fit(self, scan: Scan) -> Fit:
        ends = np.array([self.time_s.min(), self.time_s.max()])
        curve = Curve(
            title="Count rate over time",
            x_label="time t (s)",
            y_label="count rate, dead time removed (1/s)",
            x=self.time_s,
            y=self.measured,
            u_y=self.u,
            model=self.model,
            residuals=self.residuals,
            x_line=ends,
            y_line=self.rate + self.slope * (ends - self.mean_time_s),
            line_label="straight line",
            quantities=("brightness_drift", "brightness_fluctuation"),
        )
        return Fit(
            model=f"straight line, {scan.file.name}",
            names=("rate", "slope"),
            values=np.array([self.rate, self.slope]),
            covariance=np.diag([self.u_rate**2, self.u_slope**2]) * self.stretch**2,
            statistic="chi2",
            minimum=self.chi2,
            dof=self.dof,
            curves=(curve,),
        )


def _fit_line(
    scan: Scan, light: CorrectedCounts, pulses: Array, dead_pulses: float, dark_rate_Hz: float
) -> _Line:
    time_s = scan.x + 0.5 * scan.dwell_s
    measured = light.counts / scan.dwell_s - dark_rate_Hz
    expected = np.full(len(scan), light.counts.sum() / scan.dwell_s.sum()) * scan.dwell_s
    for _ in range(2):  # noise from the line, not from the data: low points would weigh more
        u = np.sqrt(fano(expected, light, pulses, dead_pulses) * expected) / scan.dwell_s
        weight = u**-2
        mean_time_s = float(weight @ time_s / weight.sum())
        away = time_s - mean_time_s
        spread = float(weight @ away**2)
        rate = float(weight @ measured / weight.sum())
        slope = float(weight @ (away * measured)) / spread
        model = rate + slope * away + dark_rate_Hz
        expected = np.maximum(model * scan.dwell_s, 1.0)
    return _Line(
        time_s,
        measured,
        u,
        mean_time_s,
        rate,
        slope,
        u_rate=float(weight.sum()) ** -0.5,
        u_slope=spread**-0.5,
    )


def _cavity_drift(
    time_s: float, end_detuning: Uncertain | None, u_start_detuning: float
) -> Uncertain:
    """Return what the cavity's drift adds to the relative drift of the brightness [1/s]."""
    if end_detuning is None:
        return Uncertain(0.0)

    def loss(x: float) -> float:
        return 4.0 * x**2 / (1.0 + 4.0 * x**2)

    x = end_detuning.value
    lost = loss(x) / time_s
    per_width = 8.0 * x / (1.0 + 4.0 * x**2) ** 2 / time_s
    own = (
        Contribution("how the cavity drifted between re-locks", 0.5 * lost, "B"),
        Contribution("detuning after the re-lock", loss(u_start_detuning) / time_s),
        *propagate([(end_detuning, -per_width)]),
    )
    return Uncertain(-lost, own)


def _drift(scan: Scan, line: _Line, dark_count_rate: Estimate, cavity: Uncertain) -> Estimate:
    counting = line.u_drift
    budget = merge(
        (
            Contribution(f"counting noise, {scan.file.name}", counting),
            Contribution(
                f"brightness fluctuation, {scan.file.name}",
                counting * math.sqrt(line.stretch**2 - 1.0),
            ),
            *propagate([(dark_count_rate, line.drift / line.rate), (cavity, -1.0)]),
        )
    )
    value = line.drift - cavity.value
    u = math.sqrt(sum(c.u**2 for c in budget))
    student = stats.t(line.dof)
    by_chance = 2.0 * float(student.sf(abs(value) / u))

    def interval(level: float) -> Interval:
        k = float(student.isf(0.5 * (1.0 - level)))
        return value - k * u, value + k * u

    return Estimate(
        name="brightness_drift",
        value=value,
        method=f"straight line through {len(scan)} slices, {line.drift:.2g}/s, less that of the "
        f"cavity, {cavity.value:.2g}/s; {_significance(by_chance)}",
        plane="detectors",
        budget=budget,
        interval_68=interval(LEVEL_68),
        interval_95=interval(LEVEL_95),
    )


def _fluctuation(scan: Scan, line: _Line, dark_count_rate: Estimate) -> Estimate:
    chi2, dof, noise = line.chi2, line.dof, line.noise
    law = stats.chi2(dof)

    def size(excess: float) -> float:
        return noise * math.sqrt(max(excess - 1.0, 0.0))

    def interval(level: float) -> Interval:
        tail = 0.5 * (1.0 - level)
        return size(chi2 / float(law.isf(tail))), size(max(chi2, dof) / float(law.ppf(tail)))

    value, interval_68 = size(chi2 / dof), interval(LEVEL_68)
    counting = Contribution(
        f"scatter of the slices, {scan.file.name}", 0.5 * (interval_68[1] - interval_68[0])
    )
    by_chance = float(law.sf(chi2))
    return Estimate(
        name="brightness_fluctuation",
        value=value,
        method=f"scatter of {len(scan)} slices of {scan.dwell_s.mean():.3g} s beyond a straight "
        f"line and counting noise; {_significance(by_chance)}",
        plane="detectors",
        budget=merge((counting, *propagate([(dark_count_rate, value / line.rate)]))),
        interval_68=interval_68,
        interval_95=interval(LEVEL_95),
    )


def _significance(by_chance: float) -> str:
    verdict = "significant" if by_chance < _SIGNIFICANT else "not significant"
    return f"{verdict} (probability by chance {by_chance:.2g})"
