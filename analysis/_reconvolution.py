"""Fit of one decay histogram with one measured response histogram."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution
from qdchar.fit import Curve, Fit

from ._decay import Array, decay_kernel, reconvolve
from ._poisson import Free, Solution, Values, deviance_residuals, minimise

_FEWEST_COUNTS = 100
_DOUBTFUL = 1e-4


@dataclass(frozen=True)
class DecayFit:
    """Lifetime of one decay.

    Attributes
    ----------
    lifetime
        1/e decay time [s].
    budget
        Counting noise of the decay and of the response [s].
    fit
        For the report.
    problems
        Reasons not to trust it.
    """

    lifetime: float
    budget: tuple[Contribution, ...]
    fit: Fit
    problems: tuple[str, ...]

    @property
    def u(self) -> float:
        """Standard uncertainty [s]."""
        return math.sqrt(sum(c.u**2 for c in self.budget))


def fit_decay(title: str, label: str, decay: Array, response: Array, bin_s: float) -> DecayFit:
    """Fit decay = counts * (response convolved with an exponential, shifted) + background.

    Parameters
    ----------
    title, label
        Heading of the curve; name of the fit in budgets, unique within a run.
    decay, response
        Counts in bins that make one period, shape (n,) each.
    bin_s
        Bin width [s].

    Raises
    ------
    InconclusiveError
        If there are too few counts or the fit fails.
    """
    for histogram, what in ((decay, "decay"), (response, "instrument response")):
        if histogram.sum() < _FEWEST_COUNTS:
            raise InconclusiveError(
                f"{label}: the {what} holds {histogram.sum():.0f} counts; record longer"
            )
    shape = response / response.sum()

    def model(v: Values) -> Array:
        kernel = decay_kernel(len(decay), bin_s, v["lifetime"], v["shift"])
        return v["counts"] * reconvolve(shape, kernel) + v["background"]

    solution = minimise(
        label,
        _start(decay, response, bin_s),
        lambda v: deviance_residuals(decay, model(v)),
    )
    u_response = _response_noise(solution, model, response, bin_s)
    expected = model(solution.as_dict())
    fit, problems = _describe(title, solution, decay, expected, response, bin_s)
    return DecayFit(
        lifetime=solution["lifetime"],
        budget=(
            Contribution(f"{label}, decay counts", solution.u("lifetime")),
            Contribution(f"{label}, response counts", u_response),
        ),
        fit=fit,
        problems=problems,
    )


def _start(decay: Array, response: Array, bin_s: float) -> dict[str, Free]:
    """Start from the moments: a decay adds T1 to the mean and T1^2 to the variance."""
    background = _quiet_level(decay)
    mean, variance = _moments(decay - background, bin_s)
    mean_r, variance_r = _moments(response - _quiet_level(response), bin_s)
    period = bin_s * len(decay)
    lifetime = math.sqrt(max(variance - variance_r, bin_s**2))
    counts = float((decay - background).sum())
    return {
        "lifetime": Free(min(lifetime, period), lifetime, 0.1 * bin_s, 10.0 * period),
        "shift": Free(mean - mean_r - lifetime, lifetime),
        "counts": Free(counts, counts, 0.0),
        "background": Free(
            max(background, 0.01 / len(decay)), max(background, 1.0 / len(decay)), 0.0
        ),
    }


def _quiet_level(histogram: Array) -> float:
    """Mean of the quietest eighth of the period."""
    width = len(histogram) // 8
    around = np.concatenate([histogram, histogram[:width]])
    sums = np.cumsum(np.concatenate([[0.0], around]))
    return max(float((sums[width:] - sums[:-width]).min()) / width, 0.0)


def _moments(histogram: Array, bin_s: float) -> tuple[float, float]:
    t = bin_s * np.arange(len(histogram))
    weight = histogram / histogram.sum()
    mean = float(weight @ t)
    return mean, float(weight @ (t - mean) ** 2)


def _response_noise(
    solution: Solution, model: Callable[[Values], Array], response: Array, bin_s: float
) -> float:
    """Return the standard uncertainty of the lifetime from the counting noise of the response.

    Notes
    -----
    To first order the fit answers a change dm of the model by -F^-1 J^T W dm, with the Jacobian
    J, the weights W = 1/m and the Fisher matrix F = J^T W J; and a count in bin j of the response
    changes the model by the kernel that starts there.
    """
    values = solution.as_dict()
    kernel = decay_kernel(len(response), bin_s, values["lifetime"], values["shift"])
    expected = model(values)
    columns = []
    for name in solution.names:
        step = 0.01 * solution.u(name)
        up, down = ({**values, name: values[name] + s * step} for s in (1, -1))
        columns.append((model(up) - model(down)) / (2 * step))
    jacobian = np.stack(columns)
    row = solution.covariance[solution.names.index("lifetime")]
    answer = np.where(expected > 0, (row @ jacobian) / np.maximum(expected, 1e-300), 0.0)
    # correlate with the kernel: the convolution with the kernel reversed in time
    spectrum = np.fft.rfft(answer) * np.conj(np.fft.rfft(kernel))
    sensitivity = np.fft.irfft(spectrum, len(response)) * values["counts"] / response.sum()
    sensitivity -= float(sensitivity @ response) / response.sum()
    return float(np.sqrt(np.sum(sensitivity**2 * response)))


def _describe(
    title: str,
    solution: Solution,
    decay: Array,
    expected: Array,
    response: Array,
    bin_s: float,
) -> tuple[Fit, tuple[str, ...]]:
    """Goodness on bins with enough counts for chi-square, and the curve."""
    groups = _groups(expected)
    y, m = (np.bincount(groups, h) for h in (decay, expected))
    noise = np.bincount(groups, response) * (decay.sum() / response.sum()) ** 2
    centre = np.bincount(groups, bin_s * (np.arange(len(decay)) + 0.5)) / np.bincount(groups)
    residuals = deviance_residuals(y, m)
    # the response's own noise is in the model, smoothed by the decay; at most this much
    variance = 1.0 + noise / m
    statistic = float(np.sum(residuals**2 / variance))
    dof = len(y) - len(solution.names)
    problems: tuple[str, ...] = ()
    if dof > 0 and stats.chi2.sf(statistic, dof) < _DOUBTFUL:
        problems = (
            f"{solution.label}: one exponential behind the measured response does not describe "
            f"the decay (chi-square {statistic / dof:.2f} per degree of freedom): look at the "
            "residuals for a second component or a response taken at another count rate",
        )
    width = np.bincount(groups)
    curve = Curve(
        title=title,
        x_label="time after the pulse (ns)",
        y_label="counts per bin",
        x=centre * 1e9,
        y=y / width,
        u_y=np.sqrt(y + 0.5) / width,
        model=m / width,
        residuals=residuals,
        x_line=centre * 1e9,
        y_line=m / width,
        log_y=True,
    )
    fit = Fit(
        model="exponential behind the measured response",
        names=solution.names,
        values=solution.values,
        covariance=solution.covariance,
        statistic="Poisson deviance",
        minimum=statistic,
        dof=dof,
        curves=(curve,),
    )
    return fit, problems


def _groups(expected: Array, wanted: float = 25.0) -> NDArray[np.int64]:
    """Join neighbouring bins until each group expects enough counts; return each bin's group."""
    group, held, number = np.zeros(len(expected), dtype=np.int64), 0.0, 0
    for i, count in enumerate(expected):
        if held >= wanted:
            held, number = 0.0, number + 1
        group[i] = number
        held += count
    if held < wanted and number > 0:
        group[group == number] = number - 1
    return group
