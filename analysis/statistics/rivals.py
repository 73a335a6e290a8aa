"""Rival models of one scan: the better one by the Bayesian information criterion is reported.

Excess noise that a fit may choose hides a wrong model: chi-square becomes 1 and the parameter is
wrong. Rivals are therefore compared by their likelihood, in which a larger noise has its price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, Uncertain

from .excess_noise import fit_with_excess_noise
from .intervals import K_95, widen
from .likelihood import FitParameter, FitResult, Values

Array = NDArray[np.float64]

MIN_BIC_GAIN = 10.0
"""Gain in BIC from which a richer model is reported: "very strong" evidence (Kass and Raftery,
J. Am. Stat. Assoc. 90, 773 (1995), doi:10.1080/01621459.1995.10476572)."""
MIN_POSSIBLE_GAIN = 6.0
"""Least `possible_gain` for which a rival is fitted. Two further parameters cost 2 ln n in BIC, 10
and more for 150 points, so that a rival below is never reported."""


@dataclass(frozen=True)
class Candidate:
    """One model, fitted.

    Attributes
    ----------
    name
        For a reader: "meter zero".
    solution
        The fit.
    noise
        Its excess noise, see `fit_with_excess_noise`.
    variance
        Of the counts of each point, shape (n,).
    """

    name: str
    solution: FitResult
    noise: float
    variance: Array

    @property
    def bic(self) -> float:
        """Bayesian information criterion, of normal errors with the variance of this model."""
        n_parameters = len(self.solution.names) + (self.noise > 0.0)
        return float(
            self.solution.minimum
            + np.sum(np.log(self.variance))
            + n_parameters * math.log(len(self.variance))
        )


@dataclass(frozen=True)
class Choice:
    """Which of the candidates is reported.

    Attributes
    ----------
    best
        The one that is reported.
    doubtful
        Others that describe the data about as well: their shift is an error source.
    tried
        All that were fitted, the simplest first.
    no_better
        Names of rivals that the data do not tell from the simplest.
    """

    best: Candidate
    doubtful: tuple[Candidate, ...]
    tried: tuple[Candidate, ...]
    no_better: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """For the method of an estimate: what was tried, with its BIC against the simplest."""
        if len(self.tried) + len(self.no_better) < 2:
            return ""
        base = self.tried[0].bic
        others = [f"{c.name} {c.bic - base:+.1f}" for c in self.tried[1:]]
        others += [f"{name} no better" for name in self.no_better]
        return (
            f"; BIC against {self.tried[0].name}: {', '.join(others)}; reported: {self.best.name}"
        )

    def with_doubt(self, estimate: Estimate, others: Sequence[Estimate], label: str) -> Estimate:
        """Add the largest shift to the doubtful candidates' estimates as a contribution of type B.

        Parameters
        ----------
        estimate
            Of the best candidate.
        others
            The same quantity of each doubtful candidate.
        label
            Name of the fit in budgets.
        """
        shift = max((abs(o.value - estimate.value) for o in others), default=0.0)
        if shift == 0.0:
            return estimate
        wide = [
            None if interval is None else widen(estimate.value, interval, k, shift)
            for interval, k in ((estimate.interval_68, 1.0), (estimate.interval_95, K_95))
        ]
        return replace(
            estimate,
            budget=(*estimate.budget, Contribution(f"{label}, choice of model", shift, "B")),
            interval_68=wide[0],
            interval_95=wide[1],
        )


def fit_candidate(
    name: str,
    label: str,
    free: Mapping[str, FitParameter],
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values, float], Array],
    expected: Callable[[Values], Array],
    constraints: Mapping[str, Uncertain] | None = None,
) -> Candidate | None:
    """Fit one model as `fit_with_excess_noise` does; None if the data do not determine it.

    Parameters
    ----------
    name
        Of the model.
    expected
        Function of the values, returns the expected counts, shape (n,).
    label, free, residuals, weights, constraints
        As for `fit_with_excess_noise`.
    """
    try:
        solution, noise = fit_with_excess_noise(label, free, residuals, weights, constraints)
    except InconclusiveError:
        return None
    v = solution.as_dict()
    return Candidate(name, solution, noise, weights(v, noise) * expected(v))


def possible_gain(
    solution: FitResult,
    residuals: Callable[[Values], Array],
    rivals: Iterable[Values],
) -> float:
    """Return by how much a rival can lower the minimum of a fit, to first order.

    A fit of a rival takes long; most data leave it no room. The residuals are compared with the
    change that the rival makes, both without what the fitted parameters can do as well (the score
    test of one direction).

    Parameters
    ----------
    solution
        Fit of the simplest model.
    residuals
        Function of the values, which may hold the rivals' parameters as well, shape (n,).
    rivals
        Values of the rivals' parameters, those of the fit unchanged.

    References
    ----------
    C. R. Rao, Proc. Camb. Phil. Soc. 44, 50 (1948), doi:10.1017/S0305004100023987
    """
    v = solution.as_dict()
    names = list(solution.names)
    known = np.array([(v[n] - e.value) / e.u for n, e in solution.constraints.items()])
    rows = np.zeros((len(known), len(names)))
    for row, (name, estimate) in zip(rows, solution.constraints.items(), strict=True):
        row[names.index(name)] = 1.0 / estimate.u
    jacobian = np.vstack([solution.jacobian, rows])
    basis = np.linalg.qr(jacobian / np.linalg.norm(jacobian, axis=0))[0]
    at_fit = residuals(v)
    left = np.concatenate([at_fit, known])
    left = left - basis @ (basis.T @ left)
    best = 0.0
    for rival in rivals:
        change = np.concatenate([residuals({**v, **rival}) - at_fit, 0.0 * known])
        size = float(change @ change)
        change = change - basis @ (basis.T @ change)
        new = float(change @ change)
        # a change that the fit can make as well is no rival
        if new > 1e-9 * size and (overlap := float(left @ change)) < 0.0:
            best = max(best, overlap**2 / new)
    return best


def choose(simplest: Candidate, others: Mapping[str, Candidate | None]) -> Choice:
    """Choose among rivals: a richer model needs a gain in BIC of `MIN_BIC_GAIN`.

    Parameters
    ----------
    others
        By name; None for one that the data do not tell from the simplest.
    """
    rivals = [c for c in others.values() if c is not None]
    no_better = tuple(name for name, c in others.items() if c is None)
    tried = (simplest, *rivals)
    best = min(tried, key=lambda c: c.bic)
    if best is simplest:
        return Choice(simplest, (), tried, no_better)
    if simplest.bic - best.bic < MIN_BIC_GAIN:
        doubtful = tuple(c for c in rivals if c.bic < simplest.bic)
        return Choice(simplest, doubtful, tried, no_better)
    alike = tuple(c for c in rivals if c is not best and c.bic - best.bic < MIN_BIC_GAIN)
    return Choice(best, alike, tried, no_better)
