"""Fit of a decay histogram without a measured response: one decay behind a Gaussian, and rivals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution
from qdchar.fit import Fit

from ..models.decay import Array, emg_shares
from ..statistics.bounded_parameter import bounded_uncertainty
from ..statistics.intervals import K_95, widen
from ..statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals, minimise
from ..statistics.rivals import MIN_BIC_GAIN
from .emission import (
    MIN_DOUBT,
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
from .reconvolution import (
    DecayFit,
    describe,
    flat_background,
    mean_and_variance,
    misfit_budget,
    quiet_level,
    require_counts,
    require_decay,
    require_excess,
    u_of,
)

_ONE = "exponential"


def fit_emg(
    title: str, label: str, decay: Array, bin_s: float, period_bins: int | None = None
) -> DecayFit:
    """Fit an exponential behind a Gaussian response of unknown width, with a background.

    Parameters
    ----------
    title, label, decay, bin_s
        As in `reconvolution.fit_decay`.
    period_bins
        Bins of one pulse period, if `decay` covers only its beginning.

    Raises
    ------
    InconclusiveError
        If there are too few counts, no decay, or the fit fails.

    Notes
    -----
    Rivals are decays that are fed by another state, at all or in part, that beat, two decays, and
    pile-up. Where the Bayesian information criterion favours one by 10 or more it is reported, with
    a problem, because a response that is not Gaussian would look alike; others that describe the
    histogram about as well are an uncertainty of type B, see `emission.doubt_of_rival`.
    """
    require_counts(label, decay, "decay")
    require_excess(label, decay)
    n_period = len(decay) if period_bins is None else period_bins
    background = quiet_level(decay)
    mean, variance = mean_and_variance(decay - background, bin_s)
    counts = float((decay - background).sum())
    rms = math.sqrt(max(variance, bin_s**2))
    period = bin_s * n_period
    begin = quiet_bin(decay)
    free = {
        "lifetime": FitParameter(0.7 * rms, rms, 0.01 * bin_s, 10.0 * period),
        "sigma": FitParameter(0.7 * rms, rms, 0.1 * bin_s, period),
        "start": FitParameter(mean - 0.7 * rms, rms),
        "counts": FitParameter(counts, counts, 0.0),
        "background": flat_background(background, len(decay)),
    }

    edges = np.asarray(bin_s * np.arange(n_period + 1), dtype=np.float64)
    whole = _Bins(decay, edges, np.ones(len(decay)), begin)
    one = minimise(label, free, whole.residuals)
    require_decay(label, decay, one)
    choice = _choose(label, whole, one, free, max(bin_s, one["sigma"]))

    def described(name: str, solution: FitResult) -> tuple[Fit, tuple[str, ...]]:
        expected = whole.model(solution.as_dict())
        behind, exact = "behind a Gaussian response", np.zeros(len(decay))
        return describe(title, name, behind, solution, decay, expected, exact, bin_s)

    fit, problems = described(choice.name, choice.best)
    if problems and choice.best is not one:
        # none describes it, so that the response is no Gaussian: the tail shows one decay
        choice = replace(choice, name=_ONE, best=one)
        fit, problems = described(_ONE, one)
    solution = choice.best
    lifetime, gradient = choice.lifetime, choice.gradient
    u, intervals = u_of(solution, gradient), None
    if solution is one and solution.near_bound("lifetime"):
        near = bounded_uncertainty(
            solution,
            solution["lifetime"],
            {"lifetime": 1.0},
            lambda x: solution.profile_minimum(lambda _: {"lifetime": x}, {}),
            low=free["lifetime"].low,
        )
        u, intervals = math.hypot(*(c.u for c in near.budget)), (near.interval_68, near.interval_95)
    misfit = misfit_budget(label, fit, u, problems)
    if choice.shift > 0.0:
        misfit = (*misfit, Contribution(f"{label}, choice of model", choice.shift, "B"))
        if intervals is not None:
            one_u, two_u = intervals
            intervals = (
                widen(lifetime, one_u, 1.0, choice.shift),
                widen(lifetime, two_u, K_95, choice.shift),
            )
    problems += choice.problems(label)
    fwhm = math.sqrt(8.0 * math.log(2.0))
    if lifetime < fwhm * solution["sigma"]:
        problems += (
            f"{label}: the lifetime is shorter than the response ({lifetime * 1e12:.0f}"
            f" against {fwhm * solution['sigma'] * 1e12:.0f} ps FWHM), whose shape was not "
            "measured but taken for a Gaussian: give a response file",
        )
    return DecayFit(
        lifetime=lifetime,
        budget=(
            Contribution(f"{label}, decay counts", u),
            *misfit,
        ),
        fit=fit,
        problems=problems,
        response_fwhm=(fwhm * solution["sigma"], fwhm * solution.u("sigma")),
        intervals=intervals,
        remark=choice.remark,
        single=choice.name == _ONE,
        others=others_of(solution, label, f"{choice.name} behind a Gaussian response"),
    )


@dataclass(frozen=True)
class _Bins:
    """A decay histogram whose bins may be joined.

    Attributes
    ----------
    counts
        In each bin, shape (n,).
    edges
        Of these bins, and on to the end of the period where they cover only its beginning [s].
    joined
        How many bins of the file are in each bin, shape (n,).
    begin
        Bin in the middle of the quietest part, where the pulse's time begins.
    """

    counts: Array
    edges: Array
    joined: Array
    begin: int

    @property
    def period(self) -> float:
        """Pulse period [s]."""
        return float(self.edges[-1])

    def model(self, v: Values) -> Array:
        """Return the expected counts, shape (n,)."""
        light = np.zeros(len(self.edges) - 1)
        for late, share in arrivals(v):
            for time, weight in parts(v):
                begin = v["start"] + late
                part = weight * emg_shares(self.edges, self.period, time, v["sigma"], begin)
                light += share * np.real(part)
        seen = first_photons(light, v, self.begin)[: len(self.counts)]
        return np.asarray(np.maximum(v["counts"] * seen, 0.0) + v["background"] * self.joined)

    def residuals(self, v: Values) -> Array:
        """Return the deviance residuals, shape (n,)."""
        return deviance_residuals(self.counts, self.model(v))

    def as_fine_as_needed(self, start_s: float, sigma_s: float) -> _Bins:
        """Join bins: a third of the jitter wide at the pulse, and 2 % of the time after it.

        Nothing that is fitted changes faster, and a histogram of 65 536 bins takes no longer than
        one of some hundreds. Poisson counts that are added up are Poisson counts.
        """
        n = len(self.counts)
        after = (self.edges[:n] - start_s + 6.0 * sigma_s) % self.period
        wanted = np.maximum(sigma_s / 3.0, 0.02 * (after - 12.0 * sigma_s))
        progress = np.cumsum(np.minimum(np.diff(self.edges[: n + 1]) / wanted, 1.0))
        new = np.diff(np.floor(progress), prepend=-1.0) > 0.0
        new[self.begin] = True
        first = np.flatnonzero(new)
        counts, joined = (np.add.reduceat(x, first) for x in (self.counts, self.joined))
        # what is not recorded of the period is one bin
        rest = [] if len(self.edges) == n + 1 else [self.edges[-1]]
        edges = np.concatenate([self.edges[first], [self.edges[n]], rest])
        return _Bins(counts, edges, joined, int(np.searchsorted(first, self.begin)))


@dataclass(frozen=True)
class _Choice:
    """Which time dependence of the emission is reported.

    Attributes
    ----------
    name, best
        Of the reported one, and its fit.
    shift
        Doubt about the lifetime from others that describe the decay about as well [s].
    remark
        What was tried, with its BIC against one decay.
    """

    name: str
    best: FitResult
    shift: float
    remark: str

    @property
    def lifetime(self) -> float:
        """1/e time; of two decays the mean, weighted with their photons [s]."""
        return _mean_lifetime(self.best)

    @property
    def gradient(self) -> dict[str, float]:
        """Derivative of the lifetime with respect to the parameters."""
        return _mean_gradient(self.best)

    def problems(self, label: str) -> tuple[str, ...]:
        """Say so where one decay does not describe the histogram: the response was not measured."""
        if self.name == _ONE:
            return ()
        v = self.best.as_dict()
        if "pile_up" in v:
            found = f"{v['pile_up']:.2g} photons a pulse, of which the first alone is recorded,"
        elif "reflected" in v:
            late = f"{v['delay'] * 1e9:.3g} ns late"
            found = f"a reflection of {v['reflected']:.1%} of the light, {late},"
        else:
            times = " and ".join(f"{abs(time) * 1e9:.3g} ns" for time, _ in parts(v))
            found = f"{self.name}, with times of {times},"
        return (
            f"{label}: one decay does not describe it, {found} does{self.remark}. The response of "
            "the detector was not measured, and a tail of it would look alike: give a response "
            "file, and count fewer than 0.05 photons a pulse",
        )


def _mean_lifetime(solution: FitResult) -> float:
    return mean_decay(decays(solution.as_dict()))


def _mean_gradient(solution: FitResult) -> dict[str, float]:
    each = decays(solution.as_dict())
    return mean_gradient(each, list(range(len(each))), mean_decay(each))


def _choose(
    label: str, whole: _Bins, plain: FitResult, free: Mapping[str, FitParameter], shortest: float
) -> _Choice:
    """Fit the rivals of one decay, and choose by the Bayesian information criterion."""
    bins = whole.as_fine_as_needed(plain["start"], plain["sigma"])
    near = {n: replace(f, start=plain[n]) for n, f in free.items()}
    try:
        one = minimise(label, near, bins.residuals)
    except InconclusiveError:
        return _Choice(_ONE, plain, 0.0, "; too few bins hold a decay for rivals of one decay")
    tried: dict[str, FitResult] = {}
    for name, own in rivals(one, bins.residuals, bins.period, shortest).items():
        try:
            tried[name] = minimise(label, {**near, **own}, bins.residuals)
        except InconclusiveError:
            continue  # the data do not tell it from one decay
    per_parameter = math.log(float(bins.counts.sum()))
    falls = {name: one.minimum - s.minimum for name, s in tried.items()}
    more = {name: len(s.names) - len(one.names) for name, s in tried.items()}
    gains = {name: fall - per_parameter * more[name] for name, fall in falls.items()}
    remark = ""
    if gains:
        remark = "; BIC against one decay: " + ", ".join(f"{n} {-g:+.0f}" for n, g in gains.items())
    name, best = _ONE, plain
    if gains and max(gains.values()) >= MIN_BIC_GAIN:
        name = max(gains, key=lambda n: gains[n])
        best = tried[name]
    lifetime = _mean_lifetime(best)
    u = u_of(best, _mean_gradient(best))
    doubts = [
        doubt_of_rival(
            falls[n] if best is plain else falls[n] - falls[name],
            more[n] if best is plain else more[n] - more[name],
            _mean_lifetime(tried[n]) - lifetime,
            u_of(tried[n], _mean_gradient(tried[n])) ** 2 - u**2,
            lifetime,
        )
        for n in gains
        if n != name and ("share_2" in tried[n].names or falls[n] > MIN_DOUBT * more[n])
    ]
    return _Choice(name, best, max(doubts, default=0.0), remark)
