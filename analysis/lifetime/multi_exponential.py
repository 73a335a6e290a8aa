"""Fit of a decay with as many exponentials as it shows, behind a measured response.

For decays of any source from a file, with a response that somebody recorded: its width may differ
from that of the decay's own (another colour, another rate), and what it holds of background and
counting noise passes through the convolution. The lifetime of a source on the bench is found by
`reconvolution.fit_decay`, one exponential behind a response taken under the same conditions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, Uncertain
from qdchar.fit import Fit, runs_p_value

from ..models.decay import Array, turning_decayed
from ..statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals, minimise
from ..statistics.rivals import MIN_BIC_GAIN, possible_gain
from .decay_curve import decay_curve
from .emission import (
    MIN_DOUBT,
    MIN_ROOM_FOR_TWO,
    MOST_DECAYS,
    arrivals,
    decays,
    doubt_of_rival,
    first_photons,
    mean_decay,
    mean_gradient,
    others_of,
    parts,
    quiet_bin,
    rivals,
)
from .goodness_of_fit import Goodness, goodness_of_fit
from .reconvolution import (
    bins_to_join,
    decay_starts,
    fwhm_bins,
    joined_bins,
    quiet_level,
    require_counts,
    require_decay,
    require_excess,
    u_of,
    u_of_response,
    unresolved,
)

_MIN_P_VALUE = 1e-4
"""p-value below which a fit does not describe the decay: chance alone in 1 of 10 000 fits."""

_MIN_P_FOR_FEWER_RIVALS = 0.01
_USUAL_WIDTH_U = 0.03
"""Relative standard uncertainty of a response's width where nothing is known of it: the jitter of
detectors depends on colour and count rate by some percent."""
_PILE_UP_RATIO = 4.0
"""Pile-up looks like decays of T1, T1/2, T1/3, ...: within this factor."""

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
    single
        Whether it is one plain decay, but for a tail.
    others
        Rise time or splitting, where there is one.
    """

    lifetime: float
    budget: tuple[Contribution, ...]
    number: int
    tail: tuple[float, float] | None
    remark: str
    fit: Fit
    problems: tuple[str, ...]
    single: bool = True
    others: tuple[Estimate, ...] = ()


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

    Rivals of one decay are one that is fed by another state, at all or in part, one that beats, and
    pile-up, see `emission.rivals`; a better one by the same criterion is reported, unless a
    response that is somewhat wider or narrower explains the histogram as well.

    References
    ----------
    .. [1] R. E. Kass, A. E. Raftery, J. Am. Stat. Assoc. 90, 773 (1995),
       doi:10.1080/01621459.1995.10476572
    """
    require_counts(label, decay, "decay")
    require_counts(label, response, "instrument response")
    require_excess(label, decay)
    starts = decay_starts(decay, response, bin_s)
    sigma_bins = fwhm_bins(response) / _FWHM
    join = bins_to_join(len(decay), sigma_bins, starts["lifetime"].start / bin_s)
    if join > 1 and period_bins is None:
        decay, response = (joined_bins(h, join) for h in (decay, response))
        bin_s *= join
        starts = decay_starts(decay, response, bin_s)
    if period_bins is not None and period_bins > len(response):
        rest = np.full(period_bins - len(response), quiet_level(response))
        response = np.concatenate([response, rest])
    sigma = fwhm_bins(response) / _FWHM
    data = _Data(label, decay, response, bin_s, width_u, sigma, starts)
    best = _Fitted.of(data, starts)
    require_decay(label, decay, best.solution)
    one, choice = best, ""
    candidates = {_NUMBER[1]: one}
    for number in range(2, MOST_DECAYS + 1):
        further = _one_more(data, best.solution)
        if further is None:
            choice += f"; {_NUMBER[number]}: not determined"
            break
        penalty = (len(further.solution.names) - len(best.solution.names)) * math.log(decay.sum())
        gain = best.goodness.chi2 - further.goodness.chi2 - penalty
        choice += f"; {_NUMBER[number]}: BIC {-gain:+.0f} against {number - 1}"
        candidates[_NUMBER[number]] = further
        if gain < MIN_BIC_GAIN:
            break
        best = further
    name = _NUMBER[len(decays(best.solution.as_dict()))]
    done = best is not one and best.describes_it
    times = [time for time, _ in decays(best.solution.as_dict())]
    like_pile_up = max(times) < _PILE_UP_RATIO * min(times)
    found, tried, other_width = _rivals(
        data, one, ("reflection", *(("pile-up",) if like_pile_up else ())) if done else None
    )
    candidates.update(found)
    for rival, fitted in found.items():
        gain = min(one.bic(data), other_width.bic(data)) - fitted.bic(data)
        # further decays are met more often than a reflection, and may look like one
        margin = MIN_BIC_GAIN if rival == "reflection" else 0.0
        if gain > MIN_BIC_GAIN and fitted.bic(data) < best.bic(data) - margin:
            name, best = rival, fitted
    doubts = [
        doubt_of_rival(
            best.goodness.chi2 - f.goodness.chi2,
            len(f.solution.names) - len(best.solution.names),
            f.lifetime - best.lifetime,
            f.u**2 - best.u**2,
            best.lifetime,
        )
        for n, f in candidates.items()
        if f is not best
        and (n != "reflection" or f.bic(data) < best.bic(data))
        and one.goodness.chi2 - f.goodness.chi2 > _least_fall(one, f)
    ]
    found_as = _decays(title, data, best, f"{choice}{tried}", name, max(doubts, default=0.0))
    fall = one.goodness.chi2 - other_width.goodness.chi2
    if best is one and fall > MIN_BIC_GAIN + math.log(data.decay.sum()):
        change = other_width.solution["width"]
        wider = (
            f"{label}: a response {abs(change):.1%} {'wider' if change > 0 else 'narrower'} than "
            "the measured one describes it better: give the uncertainty of its width "
            "(--response-u), or record it at the colour and count rate of the decay",
        )
        found_as = replace(found_as, problems=(*found_as.problems, *wider))
    return found_as


def _least_fall(one: _Fitted, rival: _Fitted) -> float:
    """Return by how much a rival must describe the decay better than one decay to be a doubt."""
    two = "share_2" in rival.solution.names and "share_3" not in rival.solution.names
    more = len(rival.solution.names) - len(one.solution.names)
    return MIN_ROOM_FOR_TWO if two else MIN_DOUBT * more


def _rivals(
    data: _Data, one: _Fitted, among: tuple[str, ...] | None
) -> tuple[dict[str, _Fitted], str, _Fitted]:
    """Fit what one decay leaves room for, besides further decays.

    `among` names those that are tried, None for all: where further decays describe the histogram,
    it can only be pile-up or a reflection instead.

    Returns
    -------
    dict
        Fit of each rival.
    str
        Their results, for the remark.
    _Fitted
        One decay behind a response whose width may be off by `_USUAL_WIDTH_U` at least: a short
        rise looks like a wider response, and is none where that describes the histogram as well.
    """
    loose = replace(data, width_u=max(data.width_u, _USUAL_WIDTH_U))
    other_width = one
    if data.width_u < loose.width_u:
        in_width = ({**one.solution.as_dict(), "width": w} for w in (-0.02, 0.02))
        if possible_gain(one.solution, loose.residuals, in_width) > MIN_DOUBT:
            near = _near(data, one.solution)
            try:
                other_width = _Fitted.of(loose, near)
            except InconclusiveError:
                other_width = one  # the data do not tell the width
    held = other_width.solution
    used = loose if "width" in held.names else data
    period, shortest = data.bin_s * len(data.response), data.bin_s * max(1.0, data.sigma)
    found, said = {}, ""
    for name, own in rivals(held, used.residuals, period, shortest).items():
        if "share_2" in own or (among is not None and name not in among):
            continue
        try:
            found[name] = _Fitted.of(data, {**_near(data, one.solution), **own})
        except InconclusiveError:
            said += f"; {name}: not determined"
        else:
            said += f"; {name}: BIC {found[name].bic(data) - one.bic(data):+.0f} against one decay"
    return found, said, other_width


def _near(data: _Data, solution: FitResult) -> dict[str, FitParameter]:
    """Return the parameters of one decay with the values of a fit as start."""
    return {n: FitParameter(solution[n], f.scale, f.low, f.high) for n, f in data.starts.items()}


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
            half = 0.5 * ((1.0 + v.get("width", 0.0)) ** 2 - 1.0) * self.sigma**2
            neighbours = np.roll(histogram, 1) + np.roll(histogram, -1)
            histogram = histogram + half * (neighbours - 2.0 * histogram)
        light = [
            share
            * np.real(weight * turning_decayed(histogram, self.bin_s, time, v["shift"] + late))
            for time, weight in parts(v)
            for late, share in arrivals(v)
        ]
        return np.asarray(np.sum(light, axis=0), dtype=np.float64)

    def model(self, v: Values) -> Array:
        """Return the expected counts."""
        light = self.behind(self.response, v) / self.response.sum()
        light = v["counts"] * first_photons(light, v, quiet_bin(self.decay))[: len(self.decay)]
        # where the response's background is taken off again, no bin may come out negative
        return np.asarray(np.maximum(light + v["background"], 0.0), dtype=np.float64)

    def residuals(self, v: Values) -> Array:
        """Return the deviance residuals, shape (n,)."""
        return deviance_residuals(self.decay, self.model(v))


@dataclass(frozen=True)
class _Fitted:
    """A fit with a certain number of decays."""

    solution: FitResult
    kernel: Array
    goodness: Goodness

    @property
    def lifetime(self) -> float:
        """1/e time; of several decays the mean, weighted with their photons [s]."""
        return mean_decay(decays(self.solution.as_dict()))

    @property
    def u(self) -> float:
        """Standard uncertainty of the lifetime, without the noise of the response [s]."""
        each = decays(self.solution.as_dict())
        return u_of(self.solution, mean_gradient(each, list(range(len(each))), self.lifetime))

    @property
    def describes_it(self) -> bool:
        """Whether chi-square and runs of the residuals look like those of the right model."""
        p_values = self.goodness.p_value, runs_p_value(self.goodness.residuals)
        return min(p_values) > _MIN_P_FOR_FEWER_RIVALS

    def bic(self, data: _Data) -> float:
        """Bayesian information criterion, with the chi-square that knows the response's noise."""
        free = len(self.solution.names) - len(self.solution.constraints)
        return self.goodness.chi2 + free * math.log(data.decay.sum())

    @classmethod
    def of(cls, data: _Data, free: Mapping[str, FitParameter]) -> _Fitted:
        if data.width:
            free = {**free, "width": FitParameter(0.0, data.width_u, -0.5, 0.5)}
        solution = minimise(data.label, free, data.residuals, data.width)
        v = solution.as_dict()
        for k in range(2, MOST_DECAYS + 1):
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
    lifetimes = [lifetime for lifetime, _ in decays(v)]
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


def _tail(parts: list[tuple[float, float]]) -> int | None:
    """Which decay is a tail beside the others, if one is."""
    slowest = max(range(len(parts)), key=lambda i: parts[i][0])
    others = [p for i, p in enumerate(parts) if i != slowest]
    if not others or not 0.0 < parts[slowest][1] < _MAX_TAIL_SHARE:
        return None
    return slowest if parts[slowest][0] > _MIN_TAIL_RATIO * mean_decay(others) else None


def _decays(title: str, data: _Data, best: _Fitted, choice: str, name: str, shift: float) -> Decays:
    solution, goodness = best.solution, best.goodness
    each = decays(solution.as_dict())
    tail = _tail(each)
    kept = [i for i in range(len(each)) if i != tail]
    lifetime = mean_decay([each[i] for i in kept])
    gradient = mean_gradient(each, kept, lifetime)
    g = np.array([gradient.get(n, 0.0) for n in solution.names])
    from_width = 0.0
    if data.width:
        from_width = float(g @ solution.covariance[:, solution.names.index("width")]) / data.width_u
    u_decay = math.sqrt(max(float(g @ solution.covariance @ g) - from_width**2, 0.0))
    u_response = u_of_response(solution, data.model, best.kernel, data.response, gradient)
    runs = runs_p_value(goodness.residuals)
    fit = _fit(title, data, best, f"{name} behind the measured response")
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
    if shift > 0.0:
        budget.append(Contribution(f"{data.label}, choice of model", shift, "B"))
    if "pile_up" in solution.names:
        problems += (
            f"{data.label}: {solution['pile_up']:.2g} photons a pulse, of which the first alone is "
            "recorded (pile-up): the lifetime is corrected for it by the fit; attenuate to below "
            "0.05 and repeat",
        )
    if len(kept) == 1:
        problems += unresolved(
            data.label, lifetime, data.decay, data.response, data.bin_s, data.width_u
        )
    width = f"; response's width changed by {solution['width']:+.1%}" if data.width else ""
    return Decays(
        lifetime=lifetime,
        budget=tuple(budget),
        number=len(kept),
        tail=None if tail is None else each[tail],
        remark=f"{width}{choice}; chi-square {goodness.chi2 / goodness.dof:.2f} per degree of "
        f"freedom (p = {goodness.p_value:.2g}), runs test p = {runs:.2g}",
        fit=fit,
        problems=problems,
        single=len(kept) == 1 and not {"rise", "beat"} & set(solution.names),
        others=others_of(solution, data.label, fit.model),
    )


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
    curve = decay_curve(
        title,
        data.decay,
        data.model(solution.as_dict()),
        data.bin_s,
        goodness.bins + 0.5 * width,
        goodness.residuals,
        data.response,
        solution["shift"],
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
