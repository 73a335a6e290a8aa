"""Fit of one decay histogram with one measured response histogram."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, Uncertain, propagate
from qdchar.fit import Fit

from ..models.decay import Array, decayed, widened, widening
from ..statistics.intervals import Interval
from ..statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals, minimise
from ..statistics.rivals import MIN_BIC_GAIN
from .decay_curve import decay_curve

_MIN_COUNTS = 100
"""Fewest counts of a histogram that is fitted: 10 % of a lifetime."""

_MIN_P_VALUE = 1e-4
"""p-value below which a fit does not describe the decay: chance alone in 1 of 10 000 fits."""

_MIN_RESOLVED_SQUARE = 5.0
"""Smallest square of a resolved lifetime [standard uncertainties of the variance difference].

The variance difference is that of the decay histogram and the response histogram.
"""

_WITHIN_FWHM = math.erf(math.sqrt(math.log(2.0)))
"""Share of a Gaussian between its half heights."""

_MIN_BACKGROUND = 1e-6
"""Lower bound of the fitted background [counts per bin]: above rounding, below one count."""


_MANY_BINS = 4096
"""From here on bins that are finer than needed are joined, so that 65 536 take seconds."""


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
    response_fwhm
        FWHM of a fitted Gaussian response and its standard uncertainty [s].
    intervals
        Those of 68 % and 95 %, where the lifetime is hardly above zero [s].
    remark
        Which rivals of one decay were tried.
    single
        Whether it is one exponential.
    others
        Rise time or splitting, where there is one.
    """

    lifetime: float
    budget: tuple[Contribution, ...]
    fit: Fit
    problems: tuple[str, ...]
    response_fwhm: tuple[float, float] | None = None
    intervals: tuple[Interval, Interval] | None = None
    remark: str = ""
    single: bool = True
    others: tuple[Estimate, ...] = ()

    @property
    def u(self) -> float:
        """Standard uncertainty [s]."""
        return math.sqrt(sum(c.u**2 for c in self.budget))


def fit_decay(
    title: str,
    label: str,
    decay: Array,
    response: Array,
    bin_s: float,
    width: Uncertain | None = None,
) -> DecayFit:
    """Fit decay = counts * (response convolved with an exponential, shifted) + background.

    Parameters
    ----------
    title, label
        Heading of the curve; name of the fit in budgets, unique within a run.
    decay, response
        Counts in bins that make one period, shape (n,) each.
    bin_s
        Bin width [s].
    width
        Width of the response to the decay's light over that of `response`; None if `response` is
        as wide.

    Raises
    ------
    InconclusiveError
        If there are too few counts or the fit fails.
    """
    require_counts(label, decay, "decay")
    require_counts(label, response, "instrument response")
    recorded = response
    if width is not None:
        response = widened(recorded, width.value)
    shape = response / response.sum()

    def behind(histogram: Array, v: Values) -> Array:
        return decayed(histogram, bin_s, v["lifetime"], v["shift"])

    def model(v: Values) -> Array:
        # where the response's background is taken off again, no bin may come out negative
        return np.maximum(v["counts"] * behind(shape, v) + v["background"], 0.0)

    def residuals(v: Values) -> Array:
        return deviance_residuals(decay, model(v))

    solution = minimise(label, decay_starts(decay, response, bin_s), residuals)
    values = solution.as_dict()
    gradient = {"lifetime": 1.0}
    u_decay = u_of(solution, gradient)
    kernel = behind(np.eye(1, len(decay))[0], values)
    per_count = per_response_count(solution, model, kernel, response, gradient)
    u_response = _noise(per_count, response)
    of_width: tuple[Contribution, ...] = ()
    if width is not None:
        of_width = propagate([(width, float(per_count @ widening(recorded, width.value)))])
    fit, problems = describe(
        title,
        "exponential",
        "behind the measured response",
        solution,
        decay,
        model(values),
        convolved(response, kernel**2) * (values["counts"] / response.sum()) ** 2,
        bin_s,
        response,
    )
    misfit = misfit_budget(label, fit, math.hypot(u_decay, u_response), problems)
    return DecayFit(
        lifetime=values["lifetime"],
        budget=(
            Contribution(f"{label}, decay counts", u_decay),
            Contribution(f"{label}, response counts", u_response),
            *of_width,
            *misfit,
        ),
        fit=fit,
        problems=problems
        + unresolved(
            label, values["lifetime"], decay, response, bin_s, 0.0 if width is None else width.u
        ),
    )


def unresolved(
    label: str,
    lifetime: float,
    decay: Array,
    response: Array,
    bin_s: float,
    width_u: float = 0.0,
) -> tuple[str, ...]:
    """Say so if a decay is too fast to be told from none.

    Notes
    -----
    A decay adds T1^2 to the variance s^2 of the response. Counts N_d and N_r know the difference
    of the two to ``s^2 sqrt(2/N_d + 2/N_r + 4 w^2)`` where the response's width is known to a part
    w; below five times that T1 is the root of noise, and its standard uncertainty, from the
    curvature there, far too small.
    """
    sigma = fwhm_bins(response) * bin_s / math.sqrt(8.0 * math.log(2.0))
    n_decay, n_response = float(decay.sum()), float(response.sum())
    noise = sigma**2 * math.sqrt(2.0 / n_decay + 2.0 / n_response + 4.0 * width_u**2)
    if lifetime**2 > _MIN_RESOLVED_SQUARE * noise:
        return ()
    least = math.sqrt(_MIN_RESOLVED_SQUARE * noise)
    return (
        f"{label}: a lifetime of {lifetime * 1e12:.3g} ps is not resolved: with these counts and a "
        f"response of {2.355 * sigma * 1e12:.0f} ps FWHM it must be above {least * 1e12:.2g} ps; "
        "record longer, or with faster detectors",
    )


def fwhm_bins(response: Array) -> float:
    """FWHM in bins: the shortest stretch with as large a share as a Gaussian has within its own."""
    n = len(response)
    signal = np.roll(response - np.median(response), n // 2 - int(np.argmax(response)))
    total = np.cumsum(np.concatenate([[0.0], signal]))
    reached = np.maximum.accumulate(total)
    shortest, ends = float(n), np.arange(n + 1.0)
    for start in range(n // 2 + 1):
        wanted = total[start] + _WITHIN_FWHM * total[-1]
        if wanted > reached[-1]:
            break
        shortest = min(shortest, float(np.interp(wanted, reached, ends)) - start)
    return shortest


def bins_to_join(n: int, sigma_bins: float, lifetime_bins: float) -> int:
    """Return how many bins are joined, for a standard deviation of the response and a lifetime.

    Bins of a fifth of the response's width add 0.7 % to its variance, less than 0.1 % to a lifetime
    three times as long; a shorter one needs bins of a tenth. Of the numbers between that and half
    of it the one that leaves the fewest bins over: by those the period becomes shorter.
    """
    finest = 5.0 if lifetime_bins > 3.0 * sigma_bins else 10.0
    most = int(sigma_bins / finest)
    if n < _MANY_BINS or most < 2:
        return 1
    return min(range(most, most // 2, -1), key=lambda k: n % k)


def joined_bins(histogram: Array, k: int) -> Array:
    """Return the sums of every k bins; what is left over is dropped."""
    whole = len(histogram) // k * k
    return np.asarray(histogram[:whole].reshape(-1, k).sum(axis=1), dtype=np.float64)


def require_counts(label: str, histogram: Array, what: str) -> None:
    """Refuse a histogram that holds too few counts for a fit."""
    if histogram.sum() < _MIN_COUNTS:
        raise InconclusiveError(
            f"{label}: the {what} holds {histogram.sum():.0f} counts; record longer"
        )


_LEAST_EXCESS = 4.0
"""Excess of a stretch of bins over a flat background, in its standard deviations, that a fit needs.

A decay for which the criterion asks later is 7 by the best shape and above 5 in some stretch."""


def require_excess(label: str, decay: Array) -> None:
    """Refuse a histogram in which no stretch of bins exceeds a flat background.

    Raises
    ------
    InconclusiveError
        If there is none; a fit would try for long.
    """
    level, n, width = float(decay.mean()), len(decay), 1
    highest = 0.0
    while width <= n // 2:
        sums = np.cumsum(np.concatenate([[0.0], decay, decay[: width - 1]]))
        excess = float((sums[width:] - sums[:-width]).max()) - width * level
        highest = max(highest, excess / math.sqrt(width * level))
        width *= 2
    if highest < _LEAST_EXCESS:
        raise InconclusiveError(
            f"{label}: no decay found: no part of the histogram is higher than a flat background "
            "by more than chance. Is the source excited and its light on this detector?"
        )


def require_decay(label: str, decay: Array, solution: FitResult) -> None:
    """Refuse a histogram that a flat background describes as well as the fitted decay does.

    Notes
    -----
    The two are compared by the Bayesian information criterion; "very strong" evidence is asked
    for, since a decay that is not there can be fitted anywhere in the histogram.

    Raises
    ------
    InconclusiveError
        If the decay does not improve the criterion by `MIN_BIC_GAIN`.
    """
    flat = float(np.sum(deviance_residuals(decay, np.full(len(decay), decay.mean())) ** 2))
    penalty = (len(solution.names) - 1) * math.log(float(decay.sum()))
    gain = flat - solution.minimum - penalty
    if not gain > MIN_BIC_GAIN:
        raise InconclusiveError(
            f"{label}: no decay found: a flat background describes the histogram as well (BIC of "
            f"a decay {-gain:+.0f} against none, at most -{MIN_BIC_GAIN:g} is asked for). Is the "
            "source excited and its light on this detector?"
        )


def misfit_budget(
    label: str, fit: Fit, u: float, problems: tuple[str, ...]
) -> tuple[Contribution, ...]:
    """Add what a significant misfit is worth: the errors grow to where it would be none (Birge)."""
    if not problems:
        return ()
    return (Contribution(f"{label}, misfit", u * math.sqrt(fit.minimum / fit.dof - 1.0), "B"),)


def convolved(histogram: Array, kernel: Array) -> Array:
    """Convolve around the period, both of shape (n,)."""
    spectrum = np.fft.rfft(histogram) * np.fft.rfft(kernel)
    return np.asarray(np.maximum(np.fft.irfft(spectrum, len(kernel)), 0.0), dtype=np.float64)


def u_of(solution: FitResult, gradient: Mapping[str, float]) -> float:
    """Return the standard uncertainty of a quantity with this gradient."""
    g = np.array([gradient.get(n, 0.0) for n in solution.names])
    return math.sqrt(float(g @ solution.covariance @ g))


def decay_starts(decay: Array, response: Array, bin_s: float) -> dict[str, FitParameter]:
    """Start from the moments: a decay adds T1 to the mean and T1^2 to the variance.

    The response's own background comes along with it, scaled by the counts; where it is more than
    the decay's, what is left to add is negative.
    """
    background, background_r = quiet_level(decay), quiet_level(response)
    mean, variance = mean_and_variance(decay - background, bin_s)
    mean_r, variance_r = mean_and_variance(response - background_r, bin_s)
    period = bin_s * len(decay)
    lifetime = math.sqrt(max(variance - variance_r, bin_s**2))
    counts = float((decay - background).sum())
    brought = background_r * counts / float((response - background_r).sum())
    added = flat_background(background, len(decay))
    return {
        "lifetime": FitParameter(min(lifetime, period), lifetime, 0.1 * bin_s, 10.0 * period),
        "shift": FitParameter(mean - mean_r - lifetime, lifetime),
        "counts": FitParameter(counts, counts, 0.0),
        "background": FitParameter(
            max(background - brought, added.start - brought), added.scale, -brought
        ),
    }


def flat_background(level: float, n_bins: int) -> FitParameter:
    """Return the start value of a flat background [counts per bin]."""
    return FitParameter(max(level, 0.01 / n_bins), max(level, 1.0 / n_bins), _MIN_BACKGROUND)


def quiet_level(histogram: Array) -> float:
    """Mean of the quietest eighth of the period."""
    width = len(histogram) // 8
    around = np.concatenate([histogram, histogram[:width]])
    sums = np.cumsum(np.concatenate([[0.0], around]))
    return max(float((sums[width:] - sums[:-width]).min()) / width, 0.0)


def mean_and_variance(histogram: Array, bin_s: float) -> tuple[float, float]:
    """Return mean [s] and variance [s^2] of a histogram."""
    t = bin_s * np.arange(len(histogram))
    weight = histogram / histogram.sum()
    mean = float(weight @ t)
    return mean, float(weight @ (t - mean) ** 2)


def width_of_whole(
    detectors: Estimate, response: Array, bin_s: float, tagger_step_s: float
) -> Estimate:
    """Return the factor for a whole response, from that for the part that the detectors make.

    Parameters
    ----------
    detectors
        Width of the detectors' response to the emission over that to the laser.
    response
        As recorded, detectors and time tagger together, shape (n,).
    bin_s
        Width of a bin of `response` [s].
    tagger_step_s
        Step of the time tagger [s]. Its rounding, of variance step^2/12, is the same in both.
    """
    of_tagger = (tagger_step_s / _middle_part(response, bin_s)) ** 2 / 12.0
    of_detectors = max(1.0 - of_tagger, 0.0)
    f = detectors.value
    whole = math.sqrt(1.0 + (f**2 - 1.0) * of_detectors)
    return replace(
        detectors, value=whole, budget=propagate([(detectors, f * of_detectors / whole)])
    )


def _middle_part(response: Array, bin_s: float) -> float:
    """Return half the width of the middle 68 % [s], which a few counts far away do not change."""
    centred = np.roll(response, len(response) // 2 - int(np.argmax(response)))
    share = np.cumsum(centred - quiet_level(response))
    low, high = np.interp(
        stats.norm.cdf([-1.0, 1.0]), share / share[-1], bin_s * np.arange(1, len(share) + 1)
    )
    return 0.5 * float(high - low)


def u_of_response(
    solution: FitResult,
    model: Callable[[Values], Array],
    kernel: Array,
    response: Array,
    gradient: Mapping[str, float],
) -> float:
    """Return the standard uncertainty of a quantity from the counting noise of the response.

    Parameters are those of `per_response_count`.
    """
    return _noise(per_response_count(solution, model, kernel, response, gradient), response)


def per_response_count(
    solution: FitResult,
    model: Callable[[Values], Array],
    kernel: Array,
    response: Array,
    gradient: Mapping[str, float],
) -> Array:
    """Return the change of a quantity with a count in each bin of the response, shape (n,).

    Parameters
    ----------
    kernel
        What a response in the first bin becomes behind the decay.
    gradient
        Derivative of the quantity with respect to parameters of the fit.

    Notes
    -----
    To first order the fit answers a change dm of the model by -F^-1 J^T W dm, with the Jacobian
    J, the weights W = 1/m and the Fisher matrix F = J^T W J; and a count in bin j of the response
    changes the model by the kernel that starts there.
    """
    values = solution.as_dict()
    expected = model(values)
    columns = []
    for name in solution.names:
        step = 0.01 * solution.u(name)
        up, down = ({**values, name: values[name] + s * step} for s in (1, -1))
        columns.append((model(up) - model(down)) / (2 * step))
    row = np.array([gradient.get(n, 0.0) for n in solution.names]) @ solution.covariance
    answer = (row @ np.stack(columns)) / np.maximum(expected, 1e-12)
    # correlate with the kernel: the convolution with the kernel reversed in time
    spectrum = np.fft.rfft(answer, len(response)) * np.conj(np.fft.rfft(kernel))
    change = -np.fft.irfft(spectrum, len(response)) * values["counts"] / response.sum()
    return np.asarray(change - float(change @ response) / response.sum(), dtype=np.float64)


def _noise(per_count: Array, response: Array) -> float:
    return float(np.sqrt(np.sum(per_count**2 * response)))


def describe(
    title: str,
    what: str,
    behind: str,
    solution: FitResult,
    decay: Array,
    expected: Array,
    noise: Array,
    bin_s: float,
    response: Array | None = None,
) -> tuple[Fit, tuple[str, ...]]:
    """Judge the fit on bins with enough counts for chi-square, and draw it.

    `noise` is the variance of the expected counts from the counting noise of the response. The
    `response` is drawn beside the decay where it was measured.
    """
    groups = _groups(expected)
    y, m, v = (np.bincount(groups, h) for h in (decay, expected, noise))
    middle = np.bincount(groups, np.arange(len(decay)) + 0.5) / np.bincount(groups)
    residuals = deviance_residuals(y, m)
    statistic = float(np.sum(residuals**2 / (1.0 + v / m)))
    dof = len(y) - len(solution.names)
    problems: tuple[str, ...] = ()
    if dof > 0 and stats.chi2.sf(statistic, dof) < _MIN_P_VALUE:
        problems = (
            f"{solution.label}: {what} {behind} does not describe the decay (chi-square "
            f"{statistic / dof:.2f} per degree of freedom): look at the residuals for a further "
            "component, or a response taken at another count rate",
        )
    shift_s = solution.as_dict().get("shift", 0.0)
    curve = decay_curve(title, decay, expected, bin_s, middle, residuals, response, shift_s)
    fit = Fit(
        model=f"{what} {behind}",
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
