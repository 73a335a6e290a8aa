"""Rival models of one scan: the better one by the Bayesian information criterion is reported.

Excess noise that a fit may choose hides a wrong model: chi-square becomes 1 and the parameter is
wrong. Rivals are therefore compared by their likelihood, in which a larger noise has its price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
        All, the simplest first.
    """

    best: Candidate
    doubtful: tuple[Candidate, ...]
    tried: tuple[Candidate, ...]

    @property
    def remark(self) -> str:
        """For the method of an estimate: what was tried, with its BIC against the simplest."""
        if len(self.tried) < 2:
            return ""
        base = self.tried[0].bic
        others = ", ".join(f"{c.name} {c.bic - base:+.1f}" for c in self.tried[1:])
        return f"; BIC against {self.tried[0].name}: {others}; reported: {self.best.name}"

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


def choose(simplest: Candidate, others: Sequence[Candidate | None]) -> Choice:
    """Choose among rivals: a richer model needs a gain in BIC of `MIN_BIC_GAIN`."""
    rivals = [c for c in others if c is not None]
    tried = (simplest, *rivals)
    best = min(tried, key=lambda c: c.bic)
    if best is simplest:
        return Choice(simplest, (), tried)
    if simplest.bic - best.bic < MIN_BIC_GAIN:
        return Choice(simplest, tuple(c for c in rivals if c.bic < simplest.bic), tried)
    alike = tuple(c for c in rivals if c is not best and c.bic - best.bic < MIN_BIC_GAIN)
    return Choice(best, alike, tried)
