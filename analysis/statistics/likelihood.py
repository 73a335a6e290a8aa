"""Maximum likelihood with lmfit: Poisson counts, known errors, nuisances with certificates.

Everything here keeps the errors absolute (lmfit's ``scale_covar=False``). A misfit shows in the
goodness of fit, and where it is significant in the budget, as an error source of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import lmfit
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Uncertain, budgets_of_fit, merge, propagate
from qdchar.fit import Curve, Fit

from .profile import DELTA_68 as DELTA_68
from .profile import DELTA_95 as DELTA_95
from .profile import profile

Array = NDArray[np.float64]
Values = Mapping[str, float]
Residuals = Callable[[Values], Array]


def deviance_residuals(counts: ArrayLike, expected: ArrayLike, fano: ArrayLike = 1.0) -> Array:
    """Return signed deviance residuals of counts, negative where more was counted than expected.

    Their sum of squares is the Poisson deviance ``2 sum (m - y + y ln(y/m))``, so that least
    squares on them is maximum likelihood and its covariance is the inverse Fisher information
    [1]_; below a few counts a point it is too large, u by 4 % at 1 and by 17 % at 0.1. There is no
    bias at few counts, in contrast to least squares with sigma = sqrt(counts).

    Parameters
    ----------
    counts
        Observed counts y, any shape.
    expected
        Expected counts m > 0, same shape.
    fano
        Variance over mean where counts are not Poissonian (dead time makes it smaller, a noisy
        abscissa larger); held fixed while fitting. The result is then quasi-likelihood [2]_.

    References
    ----------
    .. [1] S. Baker, R. D. Cousins, Nucl. Instrum. Methods 221, 437 (1984),
       doi:10.1016/0167-5087(84)90016-4
    .. [2] R. W. M. Wedderburn, Biometrika 61, 439 (1974), doi:10.1093/biomet/61.3.439

    Examples
    --------
    >>> deviance_residuals([4.0, 0.0], [4.0, 2.0])
    array([0., 2.])
    """
    y = np.asarray(counts, dtype=np.float64)
    m = np.asarray(expected, dtype=np.float64)
    if np.any(m < 0) or not np.all(np.isfinite(m)):
        raise ValueError("expected counts must be finite and not negative")
    # A model that allows no count where one was seen is infinitely unlikely; the floor keeps the
    # minimiser's arithmetic finite and its gradient pointing back.
    m = np.maximum(m, 1e-12)
    # log1p keeps the digits where y and m agree to a few parts in 1e8, as at 1e7 counts
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = (m - y) / y
        deviance = np.where(y > 0, 2.0 * y * (excess - np.log1p(excess)), 2.0 * m)
    return np.asarray(np.sign(m - y) * np.sqrt(np.maximum(deviance, 0.0) / fano), dtype=np.float64)


def pull_residuals(values: ArrayLike, expected: ArrayLike, u: ArrayLike) -> Array:
    """Return (expected - values)/u for values with known normal errors `u` > 0."""
    y, m, s = (np.asarray(v, dtype=np.float64) for v in (values, expected, u))
    if not np.all(s > 0):
        raise ValueError("standard uncertainties must be positive")
    return np.asarray((m - y) / s, dtype=np.float64)


@dataclass(frozen=True)
class Free:
    """A parameter to be found.

    Attributes
    ----------
    start
        Start value, in SI units.
    scale
        A change that matters, > 0: the size of the value or of its expected uncertainty. It sets
        the step of the numerical derivatives.
    low, high
        Bounds.
    """

    start: float
    scale: float
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Solution:
    """The minimum of a fit, and how sharp it is.

    Attributes
    ----------
    label
        Name of the fit, unique within a run; names the error sources in budgets.
    names, values, covariance
        Parameters, shapes (p,), (p,), (p, p), SI units. The covariance includes what the given
        nuisances contribute.
    residuals
        At the minimum, shape (n,), without those of the given nuisances.
    jacobian
        Derivatives of `residuals` with respect to the parameters, shape (n, p).
    minimum, dof
        Sum of squared residuals, given nuisances included, and its degrees of freedom.
    given
        Nuisances that entered with a Gaussian constraint.
    """

    label: str
    names: tuple[str, ...]
    values: Array
    covariance: Array
    residuals: Array
    jacobian: Array
    minimum: float
    dof: int
    given: Mapping[str, Uncertain]
    _free: Mapping[str, Free]
    _function: Residuals

    def __getitem__(self, name: str) -> float:
        return float(self.values[self.names.index(name)])

    def as_dict(self) -> dict[str, float]:
        """Return the values by name."""
        return dict(zip(self.names, map(float, self.values), strict=True))

    def u(self, name: str) -> float:
        """Return the standard uncertainty of one parameter from the covariance."""
        i = self.names.index(name)
        return math.sqrt(float(self.covariance[i, i]))

    def near_bound(self, name: str, within: float = 2.0) -> bool:
        """Tell whether a parameter is within so many standard uncertainties of a bound.

        There its likelihood is not parabolic and `profile` has to be asked for the interval.
        """
        free = self._free[name]
        distance = min(self[name] - free.low, free.high - self[name])
        return distance < within * self.u(name)

    @property
    def p_value(self) -> float:
        """Probability of a minimum at least this high if the model is right."""
        return float(stats.chi2.sf(self.minimum, self.dof)) if self.dof > 0 else 1.0

    @property
    def stretch(self) -> float:
        """Birge ratio sqrt(minimum/dof) where the data scatter significantly more than expected.

        1 unless that scatter has a probability below 1 %: errors are stretched, never shrunk, and
        the stretch stands in the budget as an error source of its own.
        """
        return math.sqrt(self.minimum / self.dof) if self.p_value < 0.01 else 1.0

    @property
    def problems(self) -> tuple[str, ...]:
        """Say so in plain words if the model does not describe the data."""
        if self.stretch < 2.0 or self.p_value > 1e-6:
            return ()
        return (
            f"{self.label}: the residuals are {self.stretch:.1f} times what the model allows "
            f"(chi2 {self.minimum:.0f} for {self.dof} degrees of freedom); look at them: did "
            "something drift or jump during the scan?",
        )

    def minimum_given(
        self, tied: Callable[[Values], Values], bounds: Mapping[str, tuple[float, float]]
    ) -> float:
        """Return the minimum with some parameters tied to constants or to the others.

        Parameters
        ----------
        tied
            Function of the untied parameters' values that returns the tied ones', by name.
        bounds
            Bounds of untied parameters that the tie makes narrower than those of the fit.
        """
        names = set(tied(self.as_dict()))
        free = {}
        for n, f in self._free.items():
            if n not in names:
                low, high = bounds.get(n, (f.low, f.high))
                free[n] = Free(min(max(self[n], low), high), f.scale, low, high)
        loose = {n: e for n, e in self.given.items() if n in free}
        held = {n: e for n, e in self.given.items() if n not in free}

        def function(v: Values) -> Array:
            values = {**v, **tied(v)}
            penalties = [(values[n] - e.value) / e.u for n, e in held.items()]
            return np.concatenate([self._function(values), penalties])

        if not free:
            return float(np.sum(function({}) ** 2))
        # only the minimum is asked for, not its covariance: the quick derivatives do
        result = _lmfit(self.label, free, function, loose, "2-point")
        return float(np.sum(np.asarray(result.residual) ** 2))

    def profile(self, name: str, delta: float = DELTA_68) -> tuple[float, float]:
        """Return the profile-likelihood interval of a parameter; ends at a bound if one is met.

        Parameters
        ----------
        name
            One of `names`.
        delta
            Rise of the minimum at the ends: 1 for 68 %, 3.84 for 95 %; times `stretch` squared.
        """
        free = self._free[name]
        return profile(
            self.label,
            lambda x: self.minimum_given(lambda _: {name: x}, {}),
            best=self[name],
            step=self.u(name),
            minimum=self.minimum,
            delta=delta * self.stretch**2,
            low=free.low,
            high=free.high,
        )

    def budget(self, sensitivity: Mapping[str, float]) -> tuple[Contribution, ...]:
        """Return the budget of a quantity that depends on the parameters.

        Parameters
        ----------
        sensitivity
            Derivative of the quantity with respect to each parameter that it depends on.

        Notes
        -----
        A given nuisance keeps the names of its own error sources: the fit moves by
        ``cov[:, k]/u_k**2`` per unit of nuisance k's given value, and by ``-cov J^T`` per unit of
        the data's residuals. The two parts add up to the covariance.
        """
        inputs: list[tuple[Uncertain, float]] = []
        gradient = np.array([sensitivity.get(n, 0.0) for n in self.names])
        for name, estimate in self.given.items():
            shift = self.covariance[:, self.names.index(name)] / estimate.u**2
            inputs.append((estimate, float(gradient @ shift)))
        per_residual = self.jacobian @ self.covariance
        own = per_residual.T @ per_residual
        own_budgets = budgets_of_fit(self.label, self.names, own)
        excess = math.sqrt(self.stretch**2 - 1.0)
        # One eigenvector at a time, so that derived quantities share the fit's error sources.
        parts = [
            Contribution(c.source, float(g) * c.u, c.kind)
            for n, g in zip(self.names, gradient, strict=True)
            if g != 0.0
            for c in own_budgets[n]
        ]
        if excess > 0:
            parts += [Contribution(f"{c.source}, excess scatter", excess * c.u) for c in parts]
        return merge([*parts, *propagate(inputs)])

    def fit(self, model: str, statistic: str, curves: tuple[Curve, ...]) -> Fit:
        """Return the fit as it travels on, with the curves to draw."""
        return Fit(
            model=model,
            names=self.names,
            values=self.values,
            covariance=self.covariance,
            statistic=statistic,
            minimum=self.minimum,
            dof=self.dof,
            curves=curves,
        )


def minimise(
    label: str,
    free: Mapping[str, Free],
    residuals: Residuals,
    given: Mapping[str, Uncertain] | None = None,
) -> Solution:
    """Find the parameters that minimise the sum of squared residuals.

    Parameters
    ----------
    label
        Name of the fit, unique within a run; it stands in messages and budgets.
    free
        Parameters by name, the given nuisances among them.
    residuals
        Function of the parameters' values by name, returns shape (n,): `deviance_residuals`,
        `pull_residuals` or several of them concatenated.
    given
        Nuisance parameters known from elsewhere, by name: each adds (parameter - value)/u.

    Raises
    ------
    InconclusiveError
        If there are fewer data than parameters, the minimiser does not converge, or the data
        leave a combination of parameters undetermined. Says which.
    """
    given = given or {}
    result = _lmfit(label, free, residuals, given)
    names = tuple(free)
    values = np.array([result.params[n].value * free[n].scale for n in names])
    at_minimum = residuals(dict(zip(names, map(float, values), strict=True)))
    dof = len(at_minimum) + len(given) - len(names)
    if dof < 0:
        raise InconclusiveError(
            f"{label}: {len(at_minimum)} data points cannot determine {len(names)} parameters "
            f"({', '.join(names)}); measure more points"
        )
    scale = np.array([free[n].scale for n in names])
    jacobian = np.asarray(result.jac, dtype=np.float64)
    covariance = _covariance(label, names, jacobian) * np.outer(scale, scale)
    return Solution(
        label=label,
        names=names,
        values=values,
        covariance=covariance,
        residuals=at_minimum,
        jacobian=jacobian[: len(at_minimum)] / scale,
        minimum=float(np.sum(np.asarray(result.residual) ** 2)),
        dof=dof,
        given=given,
        _free=free,
        _function=residuals,
    )


def minimise_reweighted(
    label: str,
    free: Mapping[str, Free],
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values], Array],
    given: Mapping[str, Uncertain] | None = None,
) -> Solution:
    """Minimise residuals whose weights depend on the model, without bias.

    The weights are computed from the last solution and held fixed during each fit, until the
    solution stays: quasi-likelihood. Varying them within a fit would favour models with large
    errors; taking them from the data would favour points that fluctuated down.

    Parameters
    ----------
    label, free, given
        As in `minimise`.
    residuals
        Function of the values and the weights.
    weights
        Function of the values: Fano factors or standard uncertainties, shape (n,).

    Raises
    ------
    InconclusiveError
        As `minimise`, or if the weights do not settle.
    """
    current = dict(free)
    held = weights({n: f.start for n, f in free.items()})
    previous: Array | None = None
    for _ in range(20):

        def weighted(values: Values, held: Array = held) -> Array:
            return residuals(values, held)

        solution = minimise(label, current, weighted, given)
        moved = np.sqrt(np.diag(solution.covariance)) * 1e-2
        if previous is not None and np.all(np.abs(solution.values - previous) <= moved):
            return solution
        previous = solution.values
        held = weights(solution.as_dict())
        current = {n: Free(solution[n], f.scale, f.low, f.high) for n, f in current.items()}
    raise InconclusiveError(
        f"{label}: the fit and the errors computed from it did not settle; the data are too few "
        "or too noisy for this model"
    )


def _lmfit(
    label: str,
    free: Mapping[str, Free],
    residuals: Residuals,
    given: Mapping[str, Uncertain],
    jacobian: str = "3-point",
) -> Any:
    """Run lmfit with every parameter in units of its scale."""
    parameters = lmfit.Parameters()
    for name, f in free.items():
        parameters.add(name, f.start / f.scale, min=f.low / f.scale, max=f.high / f.scale)

    def objective(p: lmfit.Parameters) -> Array:
        values = {n: p[n].value * f.scale for n, f in free.items()}
        constraints = [(values[n] - e.value) / e.u for n, e in given.items()]
        return np.concatenate([residuals(values), constraints])

    first = objective(parameters)
    if not np.all(np.isfinite(first)):
        raise InconclusiveError(
            f"{label}: the model is not finite at its start values "
            f"{ {n: f.start for n, f in free.items()} }; check the data"
        )
    if len(first) < len(free):
        raise InconclusiveError(
            f"{label}: {len(first) - len(given)} data points cannot determine {len(free)} "
            f"parameters ({', '.join(free)}); measure more points"
        )
    minimiser = lmfit.Minimizer(objective, parameters, scale_covar=False)
    result, reason = None, ""
    # dogbox is the quicker where a parameter rests at its bound, trf the surer
    for method in ("dogbox", "trf"):
        try:
            tried = minimiser.least_squares(
                method=method,
                jac=jacobian,
                x_scale="jac",
                ftol=1e-10,
                xtol=1e-10,
                gtol=1e-10,
                max_nfev=400 * (len(free) + 1),
            )
        except ValueError as error:  # a step to where the model is not finite
            reason = str(error)
            continue
        reason = tried.message
        if tried.success:
            result = tried
            # a flat direction far from the minimum may only be a step too far
            if np.all(np.any(tried.jac != 0.0, axis=0)):
                break
    if result is None:
        raise InconclusiveError(
            f"{label}: the fit did not converge ({reason}); look at the data: is the "
            "feature within the scan and above the noise?"
        )
    return result


def _covariance(label: str, names: tuple[str, ...], jacobian: Array) -> Array:
    """Inverse Fisher matrix from the Jacobian, or an error that names what is undetermined."""
    norm = np.linalg.norm(jacobian, axis=0)
    silent = [n for n, length in zip(names, norm, strict=True) if length == 0.0]
    if silent:
        raise InconclusiveError(f"{label}: the data do not depend on {', '.join(silent)}")
    _, singular, vectors = np.linalg.svd(jacobian / norm, full_matrices=False)
    if singular[-1] < 1e-7 * singular[0]:
        mixed = [n for n, v in zip(names, vectors[-1], strict=True) if abs(v) > 0.1]
        raise InconclusiveError(
            f"{label}: the data do not tell {' and '.join(mixed)} apart; scan a wider range or "
            "give one of them"
        )
    inverse = vectors.T @ np.diag(singular**-2) @ vectors
    return np.asarray(inverse / np.outer(norm, norm), dtype=np.float64)
