"""Fit of a decay with as many exponentials as it shows, behind a measured response.

For decays of any source from a file, with a response that somebody recorded: its width may differ
from that of the decay's own (another colour, another rate), and what it holds of background and
counting noise passes through the convolution. The lifetime of a source on the bench is found by
`reconvolution.fit_decay`, one exponential behind a response taken under the same conditions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Uncertain
from qdchar.fit import Curve, Fit, runs_p_value

from ..models.decay import Array, decayed
from ..statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals, minimise
from ..statistics.rivals import MIN_BIC_GAIN
from .goodness_of_fit import Goodness, goodness_of_fit
from .reconvolution import (
    decay_starts,
    fwhm_bins,
    quiet_level,
    require_counts,
    require_decay,
    u_of_response,
    unresolved,
)

_MAX_DECAYS = 3
_MIN_P_VALUE = 1e-4
"""p-value below which a fit does not describe the decay: chance alone in 1 of 10 000 fits."""

_MAX_TAIL_SHARE = 0.05
_MIN_TAIL_RATIO = 3.0
"""A tail has at most this share of the photons, and is slower than the rest by this factor."""

_FWHM = math.sqrt(8.0 * math.log(2.0))
_NUMBER = {1: "one decay", 2: "two decays", 3: "three decays"}


@dataclass(frozen=True)
class Decays:
    """What a decay histogram tells.

    Attributes
    ----------
    lifetime
        1/e decay time; of several decays the mean, weighted with their photons; without the tail
        [s].
    budget
        Counting noise of the decay and of the response, and the response's width [s].
    number
        Of decays in that mean.
    tail
        Lifetime [s] and share of the photons of a slow faint decay that is not in the mean.
    remark
        How the number of decays was chosen, and the tests of the residuals.
    fit, problems
        For the report; reasons not to trust it.
    """

    lifetime: float
    budget: tuple[Contribution, ...]
    number: int
    tail: tuple[float, float] | None
    remark: str
    fit: Fit
    problems: tuple[str, ...]


def fit_decays(
    title: str,
    label: str,
    decay: Array,
    response: Array,
    bin_s: float,
    *,
    width_u: float,
    period_bins: int | None = None,
) -> Decays:
    """Fit decay = counts * (response convolved with exponentials, shifted) + background.

    Parameters
    ----------
    title, label
        Heading of the curve; name of the fit in budgets, unique within a run.
    decay, response
        Counts in bins that make one period, or its beginning, shape (n,) each.
    bin_s
        Bin width [s].
    width_u
        Relative standard uncertainty of the response's width; 0 takes it as it was measured.
    period_bins
        Bins of one pulse period, if the histograms cover only its beginning. The response is
        continued with its background.

    Raises
    ------
    InconclusiveError
        If there are too few counts, no decay, or the fit fails.

    Notes
    -----
    A further decay is taken, up to three in all, where the Bayesian information criterion favours
    it by more than 10, "very strong" evidence [1]_. Its chi-square is that of `goodness_of_fit`,
    or the counting noise of the response would be taken for decays.

    A response that is narrower or wider than recorded by a part w has its variance changed by
    ``(1 + w)^2 - 1``, to first order by that much of its second derivative.

    A decay with less than 5 % of the photons that is more than 3 times as slow as the others is a
    tail: afterpulses, afterglow, traps. It is fitted, reported, and left out of the lifetime,
    which it would otherwise govern: 2 % at 20 times the lifetime make the mean longer by 40 %.

    References
    ----------
    .. [1] R. E. Kass, A. E. Raftery, J. Am. Stat. Assoc. 90, 773 (1995),
       doi:10.1080/01621459.1995.10476572
    """
    require_counts(label, decay, "decay")
    require_counts(label, response, "instrument response")
    starts = decay_starts(decay, response, bin_s)
    if period_bins is not None and period_bins > len(response):
        rest = np.full(period_bins - len(response), quiet_level(response))
        response = np.concatenate([response, rest])
    data = _Data(label, decay, response, bin_s, width_u, fwhm_bins(response) / _FWHM, starts)
    best = _Fitted.of(data, starts)
    require_decay(label, decay, best.solution)
    choice = ""
    for number in range(2, _MAX_DECAYS + 1):
        further = _one_more(data, best.solution)
        if further is None:
            choice += f"; {_NUMBER[number]}: not determined"
            break
        penalty = (len(further.solution.names) - len(best.solution.names)) * math.log(decay.sum())
        gain = best.goodness.chi2 - further.goodness.chi2 - penalty
        choice += f"; {_NUMBER[number]}: BIC {-gain:+.0f} against {number - 1}"
        if gain < MIN_BIC_GAIN:
            break
        best = further
    return _decays(title, data, best, choice)


@dataclass(frozen=True)
class _Data:
    """The histograms of one fit; `sigma` is the width of the response [bins]."""

    label: str
    decay: Array
    response: Array
    bin_s: float
    width_u: float
    sigma: float
    starts: Mapping[str, FitParameter]

    @property
    def width(self) -> Mapping[str, Uncertain]:
        """Relative excess of the response's width, as far as it is known."""
        if self.width_u <= 0:
            return {}
        source = Contribution(f"{self.label}, response width", self.width_u, "B")
        return {"width": Uncertain(0.0, (source,))}

    def behind(self, histogram: Array, v: Values) -> Array:
        """Return what the decays make of a histogram of the response."""
        if self.width_u > 0:
            half = 0.5 * ((1.0 + v["width"]) ** 2 - 1.0) * self.sigma**2
            neighbours = np.roll(histogram, 1) + np.roll(histogram, -1)
            histogram = histogram + half * (neighbours - 2.0 * histogram)
        parts = [
            share * decayed(histogram, self.bin_s, lifetime, v["shift"])
            for lifetime, share in _parts(v)
        ]
        return np.asarray(np.sum(parts, axis=0), dtype=np.float64)

    def model(self, v: Values) -> Array:
        """Return the expected counts."""
        light = self.behind(self.response, v) * v["counts"] / self.response.sum()
        light = light[: len(self.decay)]
        # where the response's background is taken off again, no bin may come out negative
        return np.asarray(np.maximum(light + v["background"], 0.0), dtype=np.float64)


@dataclass(frozen=True)
class _Fitted:
    """A fit with a certain number of decays."""

    solution: FitResult
    kernel: Array
    goodness: Goodness

    @classmethod
    def of(cls, data: _Data, free: Mapping[str, FitParameter]) -> _Fitted:
        if data.width:
            free = {**free, "width": FitParameter(0.0, data.width_u, -0.5, 0.5)}
        solution = minimise(
            data.label, free, lambda v: deviance_residuals(data.decay, data.model(v)), data.width
        )
        v = solution.as_dict()
        for k in range(2, _MAX_DECAYS + 1):
            at_most = {f"lifetime_{k}": v.get(f"lifetime_{k}", 0.0), f"share_{k}": 1.0}
            if any(n in v and solution.u(n) > limit for n, limit in at_most.items()):
                raise InconclusiveError(f"{data.label}: a decay more is not determined")
        slopes = []
        for name in solution.names:
            step = 0.01 * solution.u(name)
            up, down = (data.model({**v, name: v[name] + s * step}) for s in (1, -1))
            slopes.append((up - down) / (2.0 * step))
        kernel = data.behind(np.eye(1, len(data.response))[0], v)
        goodness = goodness_of_fit(
            solution,
            data.decay,
            data.model(v),
            np.stack(slopes),
            data.response,
            kernel * v["counts"] / data.response.sum(),
        )
        return cls(solution, kernel, goodness)


def _one_more(data: _Data, solution: FitResult) -> _Fitted | None:
    """Fit with one decay more, slower or faster than those there are, whichever is better."""
    v = solution.as_dict()
    old = data.starts
    lifetimes = [lifetime for lifetime, _ in _parts(v)]
    number = len(lifetimes) + 1
    tries: list[_Fitted] = []
    for lifetime in (3.0 * max(lifetimes), 0.3 * min(lifetimes)):
        free = {name: FitParameter(v[name], f.scale, f.low, f.high) for name, f in old.items()}
        for k in range(2, number + 1):
            known = k < number
            free[f"lifetime_{k}"] = FitParameter(
                v[f"lifetime_{k}"] if known else lifetime,
                v["lifetime"],
                old["lifetime"].low,
                old["lifetime"].high,
            )
            free[f"share_{k}"] = FitParameter(v[f"share_{k}"] if known else 0.1, 0.1, 0.0, 1.0)
        try:
            tries.append(_Fitted.of(data, free))
        except InconclusiveError:
            continue  # no further decay to be found from there
    return min(tries, key=lambda f: f.solution.minimum, default=None)


def _parts(v: Values) -> list[tuple[float, float]]:
    """Lifetime and share of the photons of each decay; the shares add up to 1."""
    more = [
        (v[f"lifetime_{k}"], v[f"share_{k}"])
        for k in range(2, _MAX_DECAYS + 1)
        if f"share_{k}" in v
    ]
    return [(v["lifetime"], 1.0 - sum(share for _, share in more)), *more]


def _tail(parts: list[tuple[float, float]]) -> int | None:
    """Which decay is a tail beside the others, if one is."""
    slowest = max(range(len(parts)), key=lambda i: parts[i][0])
    others = [p for i, p in enumerate(parts) if i != slowest]
    if not others or not 0.0 < parts[slowest][1] < _MAX_TAIL_SHARE:
        return None
    return slowest if parts[slowest][0] > _MIN_TAIL_RATIO * _mean(others) else None


def _mean(parts: list[tuple[float, float]]) -> float:
    return sum(t * share for t, share in parts) / sum(share for _, share in parts)


def _decays(title: str, data: _Data, best: _Fitted, choice: str) -> Decays:
    solution, goodness = best.solution, best.goodness
    parts = _parts(solution.as_dict())
    tail = _tail(parts)
    kept = [i for i in range(len(parts)) if i != tail]
    lifetime = _mean([parts[i] for i in kept])
    gradient = _gradient(parts, kept, lifetime)
    g = np.array([gradient.get(n, 0.0) for n in solution.names])
    from_width = 0.0
    if data.width:
        from_width = float(g @ solution.covariance[:, solution.names.index("width")]) / data.width_u
    u_decay = math.sqrt(max(float(g @ solution.covariance @ g) - from_width**2, 0.0))
    u_response = u_of_response(solution, data.model, best.kernel, data.response, gradient)
    runs = runs_p_value(goodness.residuals)
    fit = _fit(title, data, best, f"{_NUMBER[len(parts)]} behind the measured response")
    problems = _problems(data.label, fit, goodness, runs)
    budget = [
        Contribution(f"{data.label}, decay counts", u_decay),
        Contribution(f"{data.label}, response counts", u_response),
    ]
    if data.width:
        budget.append(Contribution(f"{data.label}, response width", from_width, "B"))
    if problems:
        # the errors grow to where the misfit would be none (Birge)
        excess = math.sqrt(max(goodness.chi2 / goodness.dof - 1.0, 0.0))
        u = math.sqrt(sum(c.u**2 for c in budget))
        budget.append(Contribution(f"{data.label}, misfit", excess * u, "B"))
    if len(kept) == 1:
        problems += unresolved(
            data.label, lifetime, data.decay, data.response, data.bin_s, data.width_u
        )
    width = f"; response's width changed by {solution['width']:+.1%}" if data.width else ""
    return Decays(
        lifetime=lifetime,
        budget=tuple(budget),
        number=len(kept),
        tail=None if tail is None else parts[tail],
        remark=f"{width}{choice}; chi-square {goodness.chi2 / goodness.dof:.2f} per degree of "
        f"freedom (p = {goodness.p_value:.2g}), runs test p = {runs:.2g}",
        fit=fit,
        problems=problems,
    )


def _gradient(
    parts: list[tuple[float, float]], kept: list[int], lifetime: float
) -> dict[str, float]:
    """Return the derivatives of the kept decays' mean with respect to the parameters."""
    photons = sum(parts[i][1] for i in kept)
    per_share = [
        (parts[i][0] - lifetime) / photons if i in kept else 0.0 for i in range(len(parts))
    ]
    gradient = {"lifetime": parts[0][1] / photons if 0 in kept else 0.0}
    for i in range(1, len(parts)):
        gradient[f"lifetime_{i + 1}"] = parts[i][1] / photons if i in kept else 0.0
        gradient[f"share_{i + 1}"] = per_share[i] - per_share[0]
    return gradient


def _problems(label: str, fit: Fit, goodness: Goodness, runs: float) -> tuple[str, ...]:
    if goodness.p_value < _MIN_P_VALUE:
        what = f"chi-square {goodness.chi2 / goodness.dof:.2f} per degree of freedom"
    elif runs < _MIN_P_VALUE:
        what = f"the residuals follow each other, runs test p = {runs:.1g}"
    else:
        return ()
    return (
        f"{label}: {fit.model} do not describe it ({what}): look at the residuals for a further "
        "component, uneven channels of the converter, or a response taken at another count rate",
    )


def _fit(title: str, data: _Data, best: _Fitted, model: str) -> Fit:
    goodness, solution = best.goodness, best.solution
    width = np.diff(np.append(goodness.bins, len(data.decay)))
    centre = (goodness.bins + 0.5 * width) * data.bin_s * 1e9
    curve = Curve(
        title=title,
        x_label="time after the pulse (ns)",
        y_label="counts per bin",
        x=centre,
        y=goodness.counts / width,
        u_y=np.sqrt(goodness.counts + 0.5) / width,
        model=goodness.expected / width,
        residuals=goodness.residuals,
        x_line=centre,
        y_line=goodness.expected / width,
        log_y=True,
    )
    return Fit(
        model=model,
        names=solution.names,
        values=solution.values,
        covariance=solution.covariance,
        statistic="Poisson deviance",
        minimum=goodness.chi2,
        dof=goodness.dof,
        curves=(curve,),
    )
