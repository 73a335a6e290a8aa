"""The only kind of number that leaves an analysis: a value with the budget of its uncertainty.

The budget lists independent error sources by name. Two estimates that share a source, say one
detector certificate, are correlated through it, and a ratio of the two is free of it. So the
covariance of any set of estimates follows from their budgets and is stored nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.quantities import Quantity, quantity

Kind = Literal["A", "B"]


@dataclass(frozen=True)
class Contribution:
    """What one independent error source adds to an estimate's uncertainty.

    Attributes
    ----------
    source
        Name of the error source. The same name means the same error, in every estimate.
    u
        Sensitivity times the source's standard uncertainty, signed, in the estimate's unit.
    kind
        "A" from repeated observation, "B" from a certificate or a judgement (GUM 4.2, 4.3).
    sensitivity
        Derivative of the estimate with respect to the value of the source (GUM 5.1.3), in the unit
        of the estimate over that of the source; None where the source has no value of its own,
        such as counting noise. Certificates have one.
    """

    source: str
    u: float
    kind: Kind = "A"
    sensitivity: float | None = None

    def times(self, factor: float) -> Contribution:
        """Return the contribution to an estimate that changes by `factor` per unit of this one."""
        moved = None if self.sensitivity is None else factor * self.sensitivity
        return replace(self, u=factor * self.u, sensitivity=moved)


@dataclass(frozen=True)
class Uncertain:
    """A value with the budget of its uncertainty: an intermediate result, without a name.

    Attributes
    ----------
    value
        In SI units.
    budget
        The independent contributions to the standard uncertainty.

    Raises
    ------
    ValueError
        If the value or its uncertainty is not finite.
    """

    value: float
    budget: tuple[Contribution, ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or not math.isfinite(self.u):
            raise ValueError(f"value {self.value} +- {self.u} is not finite")

    @property
    def u(self) -> float:
        """Combined standard uncertainty."""
        return math.hypot(*(c.u for c in self.budget))

    @property
    def u_statistical(self) -> float:
        """The part of `u` that repeated observation shows (type A)."""
        return math.hypot(*(c.u for c in self.budget if c.kind == "A"))


@dataclass(frozen=True, kw_only=True)
class Estimate(Uncertain):
    """A measured or given quantity; its unit and definition are those of `qdchar.quantities`.

    Attributes
    ----------
    value, budget
        As of `Uncertain`.
    name
        Name of the quantity, e.g. ``g2_zero``.
    method
        How it was obtained.
    plane
        Where in the optical path it holds: "first lens", "fibre", "transmitter output", ...
    interval_68, interval_95
        Central intervals where the distribution is not normal (few counts, a bound nearby);
        None where value +- u and value +- 2 u serve.

    Raises
    ------
    ValueError
        If nobody has defined the quantity, a number is not finite, or the ends of an interval are
        in the wrong order.
    """

    name: str
    method: str
    plane: str = ""
    interval_68: tuple[float, float] | None = None
    interval_95: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        quantity(self.name)
        try:
            super().__post_init__()
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        for interval in (self.interval_68, self.interval_95):
            if interval is not None and not -math.inf < interval[0] <= interval[1] < math.inf:
                raise ValueError(
                    f"{self.name}: {interval} is not an interval; both ends must be finite, the "
                    "lower one first"
                )

    @property
    def quantity(self) -> Quantity:
        """The definition of the quantity."""
        return quantity(self.name)

    @property
    def unit(self) -> str:
        """SI unit; "1" for a pure number."""
        return self.quantity.unit

    @property
    def definition(self) -> str:
        """What the number is, in one line."""
        return self.quantity.definition

    def with_contribution(self, source: str, u: float, kind: Kind = "B") -> Estimate:
        """Return the same estimate with one more line in its budget."""
        return replace(self, budget=merge([*self.budget, Contribution(source, u, kind)]))

    def _repr_html_(self) -> str:
        from .html_tables import estimate_html

        return estimate_html(self)

    def __str__(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        return f"{self.name} = {self.value:.6g} +- {self.u:.2g}{unit}"


def merge(budget: Iterable[Contribution]) -> tuple[Contribution, ...]:
    """Add up the contributions that come from one source."""
    total: dict[tuple[str, Kind], Contribution] = {}
    for c in budget:
        before = total.get((c.source, c.kind))
        total[c.source, c.kind] = c if before is None else _sum(before, c)
    return tuple(total.values())


def _sum(a: Contribution, b: Contribution) -> Contribution:
    """Add two contributions of one source; a sensitivity is known if both are."""
    known = a.sensitivity is not None and b.sensitivity is not None
    sensitivity = (a.sensitivity or 0.0) + (b.sensitivity or 0.0) if known else None
    return replace(a, u=a.u + b.u, sensitivity=sensitivity)


def propagate(inputs: Iterable[tuple[Uncertain, float]]) -> tuple[Contribution, ...]:
    """Budget of a quantity derived from estimates (GUM 5.1 and 5.2 in one).

    Parameters
    ----------
    inputs
        Pairs of an input estimate and the derivative of the result with respect to it.

    Returns
    -------
    tuple of Contribution
        Shared sources add with their signs, so that correlations are carried exactly (to first
        order).
    """
    return merge(c.times(sensitivity) for estimate, sensitivity in inputs for c in estimate.budget)


def covariance(estimates: Sequence[Uncertain]) -> NDArray[np.float64]:
    """Covariance matrix of estimates, shape (n, n), from the sources that they share."""
    jacobian = _by_source(estimates)
    return np.asarray(jacobian @ jacobian.T, dtype=np.float64)


def draw(
    estimates: Sequence[Uncertain], draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw values of estimates, shape (n, draws); each error source is normal."""
    jacobian = _by_source(estimates)
    values = np.array([e.value for e in estimates])
    normal = rng.standard_normal((jacobian.shape[1], draws))
    return np.asarray(values[:, None] + jacobian @ normal, dtype=np.float64)


def _by_source(estimates: Sequence[Uncertain]) -> NDArray[np.float64]:
    """By how much one standard deviation of each source moves each estimate."""
    sources = sorted({c.source for e in estimates for c in e.budget})
    row = {source: i for i, source in enumerate(sources)}
    jacobian = np.zeros((len(estimates), len(sources)))
    for i, estimate in enumerate(estimates):
        for c in estimate.budget:
            jacobian[i, row[c.source]] += c.u
    return jacobian


def budgets_of_fit(
    label: str, names: Sequence[str], cov: ArrayLike
) -> Mapping[str, tuple[Contribution, ...]]:
    """Budgets of jointly fitted parameters, from their covariance matrix.

    The covariance is split into independent sources along its eigenvectors, named ``label[0]``,
    ``label[1]``, ... so that estimates made of several parameters of one fit keep their
    correlation.

    Parameters
    ----------
    label
        Name of the fit, unique within a run, e.g. ``"etalon scan"``.
    names
        Parameter names, n of them.
    cov
        Covariance matrix, shape (n, n), in the product of the parameters' units.
    """
    matrix = np.asarray(cov, dtype=np.float64)
    scale = np.sqrt(np.diag(matrix))
    safe = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(matrix / np.outer(safe, safe))
    if values.min() < -1e-8 * max(values.max(), 1.0):
        raise ValueError(f"{label}: the covariance matrix is not positive semidefinite")
    factor = safe[:, None] * vectors * np.sqrt(np.clip(values, 0.0, None))
    return {
        name: tuple(
            Contribution(f"{label}[{k}]", float(u)) for k, u in enumerate(factor[i]) if u != 0.0
        )
        for i, name in enumerate(names)
    }
