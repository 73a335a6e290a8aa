"""Maximum likelihood with lmfit: Poisson counts, known errors, nuisances with certificates.

All errors are absolute (lmfit's ``scale_covar=False``). A misfit shows in the goodness of fit;
where it is significant, it is an error source of its own in the budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import lmfit
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Uncertain, budgets_of_fit, merge, propagate
from qdchar.fit import Curve, Fit

from .derivatives import central_differences
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
class FitParameter:
    """A free parameter of a fit.

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
class FitResult:
    """The minimum of a fit, and how sharp it is.

    Attributes
    ----------
    label
        Name of the fit, unique within a run; names the error sources in budgets.
    names, values, covariance
        Parameters, shapes (p,), (p,), (p, p), SI units. The covariance includes
        what the constraints contribute.
    residuals
        At the minimum, shape (n,), without those of the constraints.
    jacobian
        Derivatives of `residuals` with respect to the parameters, shape (n, p).
    minimum, dof
        Sum of squared residuals, constraints included, and its degrees of freedom.
    constraints
        Nuisance parameters with a Gaussian constraint, by name: known value and uncertainty.
    """

    label: str
    names: tuple[str, ...]
    values: Array
    covariance: Array
    residuals: Array
    jacobian: Array
    minimum: float
    dof: int
    constraints: Mapping[str, Uncertain]
    _parameters: Mapping[str, FitParameter]
    _function: Residuals
    _broadcasts: bool

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
        free = self._parameters[name]
        distance = min(self[name] - free.low, free.high - self[name])
        return distance < within * self.u(name)

    @property
    def p_value(self) -> float:
        """Probability of a minimum at least this high if the model is right."""
        return float(stats.chi2.sf(self.minimum, self.dof)) if self.dof > 0 else 1.0

    @property
    def birge_ratio(self) -> float:
        """Birge ratio sqrt(minimum/dof) where the data scatter significantly more than expected.

        1 unless that scatter has a probability below 1 %. Uncertainties are increased by it, never
        decreased, and the increase is an error source of its own in the budget.
        """
        return math.sqrt(self.minimum / self.dof) if self.p_value < 0.01 else 1.0

    @property
    def problems(self) -> tuple[str, ...]:
        """Report a model that does not describe the data."""
        if self.birge_ratio < 2.0 or self.p_value > 1e-6:
            return ()
        return (
            f"{self.label}: the residuals are {self.birge_ratio:.1f} times larger than the model "
            f"allows (chi2 {self.minimum:.0f} for {self.dof} degrees of freedom). Look at the "
            "residuals: did something drift or jump during the scan?",
        )

    def profile_minimum(
        self, fixed: Callable[[Values], Values], bounds: Mapping[str, tuple[float, float]]
    ) -> float:
        """Return the minimum over the free parameters, with the other parameters fixed.

        Parameters
        ----------
        fixed
            Function of the values of the free parameters. It returns the values of the fixed
            parameters by name: constants, or functions of the free ones.
        bounds
            Bounds of free parameters that are narrower than in the fit.
        """
        names = set(fixed(self.as_dict()))
        free = {}
        for n, f in self._parameters.items():
            if n not in names:
                low, high = bounds.get(n, (f.low, f.high))
                free[n] = FitParameter(min(max(self[n], low), high), f.scale, low, high)
        of_free = {n: e for n, e in self.constraints.items() if n in free}
        of_fixed = {n: e for n, e in self.constraints.items() if n not in free}

        def function(v: Values) -> Array:
            values = {**v, **_each_row(fixed, v)}
            return _with_pulls(self._function(values), values, of_fixed)

        if not free:
            return float(np.sum(function({}) ** 2))
        # only the minimum is asked for, not its covariance: the quick derivatives do
        result = _lmfit(self.label, free, function, of_free, self._broadcasts, "2-point")
        return float(np.sum(np.asarray(result.residual) ** 2))

    def profile(self, name: str, delta: float = DELTA_68) -> tuple[float, float]:
        """Return the profile-likelihood interval of a parameter; ends at a bound if one is met.

        Parameters
        ----------
        name
            One of `names`.
        delta
            Rise of the minimum at the ends: 1 for 68 %, 3.84 for 95 %; times `birge_ratio` squared.
        """
        free = self._parameters[name]
        return profile(
            self.label,
            lambda x: self.profile_minimum(lambda _: {name: x}, {}),
            best=self[name],
            step=self.u(name),
            minimum=self.minimum,
            delta=delta * self.birge_ratio**2,
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
        A constrained parameter keeps the names of its own error sources: the solution changes by
        ``cov[:, k]/u_k**2`` per unit of the known value of parameter k, and by ``-cov J^T`` per
        unit of the data's residuals. The two parts add up to the covariance.
        """
        inputs: list[tuple[Uncertain, float]] = []
        gradient = np.array([sensitivity.get(n, 0.0) for n in self.names])
        for name, estimate in self.constraints.items():
            shift = self.covariance[:, self.names.index(name)] / estimate.u**2
            inputs.append((estimate, float(gradient @ shift)))
        per_residual = self.jacobian @ self.covariance
        own = per_residual.T @ per_residual
        own_budgets = budgets_of_fit(self.label, self.names, own)
        excess = math.sqrt(self.birge_ratio**2 - 1.0)
        # One eigenvector at a time, so that derived quantities share the fit's error sources.
        parts = [
            c.times(float(g))
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
    free: Mapping[str, FitParameter],
    residuals: Residuals,
    constraints: Mapping[str, Uncertain] | None = None,
) -> FitResult:
    """Find the parameters that minimise the sum of squared residuals.

    Parameters
    ----------
    label
        Name of the fit, unique within a run; it stands in messages and budgets.
    free
        FitParameter parameters by name, including those with a constraint.
    residuals
        Function of the parameters' values by name, returns shape (n,): `deviance_residuals`,
        `pull_residuals` or several of them concatenated.
    constraints
        Nuisance parameters known from elsewhere, by name: each adds the residual
        (parameter - value)/u.

    Raises
    ------
    InconclusiveError
        If there are fewer data than parameters, the minimiser does not converge, or the data
        leave a combination of parameters undetermined. Says which.
    """
    return _minimise(label, free, residuals, constraints or {}, broadcasts=False)


def _minimise(
    label: str,
    free: Mapping[str, FitParameter],
    residuals: Residuals,
    constraints: Mapping[str, Uncertain],
    broadcasts: bool,
) -> FitResult:
    result = _lmfit(label, free, residuals, constraints, broadcasts)
    names = tuple(free)
    values = np.array([result.params[n].value * free[n].scale for n in names])
    at_minimum = residuals(dict(zip(names, map(float, values), strict=True)))
    dof = len(at_minimum) + len(constraints) - len(names)
    if dof < 0:
        raise InconclusiveError(
            f"{label}: {len(at_minimum)} data points cannot determine {len(names)} parameters "
            f"({', '.join(names)}); measure more points"
        )
    scale = np.array([free[n].scale for n in names])
    jacobian = np.asarray(result.jac, dtype=np.float64)
    covariance = _covariance(label, names, jacobian) * np.outer(scale, scale)
    return FitResult(
        label=label,
        names=names,
        values=values,
        covariance=covariance,
        residuals=at_minimum,
        jacobian=jacobian[: len(at_minimum)] / scale,
        minimum=float(np.sum(np.asarray(result.residual) ** 2)),
        dof=dof,
        constraints=constraints,
        _parameters=free,
        _function=residuals,
        _broadcasts=broadcasts,
    )


def minimise_reweighted(
    label: str,
    free: Mapping[str, FitParameter],
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values], Array],
    constraints: Mapping[str, Uncertain] | None = None,
) -> FitResult:
    """Minimise residuals whose weights depend on the model, without bias.

    The weights are computed from the last solution and kept constant during each fit. This is
    repeated until the solution no longer changes (quasi-likelihood). Varying the weights within a
    fit would favour models with large errors; weights from the data would favour points that
    fluctuated down.

    Parameters
    ----------
    label, free, constraints
        As in `minimise`.
    residuals
        Function of the values and the weights. The values may be arrays of shape (k, 1), for k sets
        of values at once: it then returns shape (k, n). A Jacobian takes one call, not one or two
        for each parameter.
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

        solution = _minimise(label, current, weighted, constraints or {}, broadcasts=True)
        moved = np.sqrt(np.diag(solution.covariance)) * 1e-2
        if previous is not None and np.all(np.abs(solution.values - previous) <= moved):
            return solution
        previous = solution.values
        held = weights(solution.as_dict())
        current = {n: FitParameter(solution[n], f.scale, f.low, f.high) for n, f in current.items()}
    raise InconclusiveError(
        f"{label}: the fit and the weights computed from it did not converge; the data are too "
        "few or too noisy for this model"
    )


def _lmfit(
    label: str,
    free: Mapping[str, FitParameter],
    residuals: Residuals,
    constraints: Mapping[str, Uncertain],
    broadcasts: bool,
    scheme: str = "3-point",
) -> Any:
    """Run lmfit with every parameter in units of its scale; `scheme` if nothing broadcasts."""
    parameters = lmfit.Parameters()
    for name, f in free.items():
        parameters.add(name, f.start / f.scale, min=f.low / f.scale, max=f.high / f.scale)

    warned = np.geterr()

    def at(values: Values) -> Array:
        with np.errstate(**warned):
            return _with_pulls(residuals(values), values, constraints)

    def objective(p: lmfit.Parameters) -> Array:
        return at({n: p[n].value * f.scale for n, f in free.items()})

    def jacobian(p: lmfit.Parameters) -> Array:
        def of_rows(x: Array) -> Array:
            return at(_as_columns(x, free))

        x, low, high = np.array([(p[n].value, p[n].min, p[n].max) for n in free]).T
        return central_differences(of_rows, x, low, high)

    first = objective(parameters)
    if not np.all(np.isfinite(first)):
        raise InconclusiveError(
            f"{label}: the model is not finite at its start values "
            f"{ {n: f.start for n, f in free.items()} }; check the data"
        )
    if len(first) < len(free):
        raise InconclusiveError(
            f"{label}: {len(first) - len(constraints)} data points cannot determine {len(free)} "
            f"parameters ({', '.join(free)}); measure more points"
        )
    minimiser = lmfit.Minimizer(objective, parameters, scale_covar=False)
    result, reason = None, ""
    calls_per_step = 1 if broadcasts else len(free) + 1
    # dogbox is the quicker where a parameter rests at its bound, trf the surer: where dogbox has
    # not arrived after some tens of steps, it creeps along a flat valley
    for method, steps in (("dogbox", 100), ("trf", 400)):
        try:
            # lmfit's own standard errors, which nothing uses, may be roots of negative numbers
            with np.errstate(invalid="ignore", divide="ignore"):
                tried = minimiser.least_squares(
                    method=method,
                    jac=jacobian if broadcasts else scheme,
                    x_scale="jac",
                    ftol=1e-10,
                    xtol=1e-10,
                    gtol=1e-10,
                    max_nfev=steps * calls_per_step,
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


def _with_pulls(residuals: Array, values: Values, constraints: Mapping[str, Uncertain]) -> Array:
    """Append the residuals of the constraints, to each row if there are rows."""
    pulls = [np.atleast_1d((values[n] - e.value) / e.u) for n, e in constraints.items()]
    return np.concatenate([residuals, *pulls], axis=-1)


def _as_columns(x: Array, free: Mapping[str, FitParameter]) -> Values:
    """Return k sets of values, shape (k, p) in units of their scales, as arrays of shape (k, 1)."""
    columns = {n: x[:, [i]] * f.scale for i, (n, f) in enumerate(free.items())}
    return cast(Values, columns)


def _each_row(function: Callable[[Values], Values], v: Values) -> Values:
    """Call a function of one set of values for each set in `v`, which may hold several."""
    if not any(isinstance(value, np.ndarray) for value in v.values()):
        return function(v)
    columns = np.hstack(list(v.values()))
    rows = [function(dict(zip(v, map(float, row), strict=True))) for row in columns]
    return cast(Values, {n: np.array([[row[n]] for row in rows]) for n in rows[0]})


def _covariance(label: str, names: tuple[str, ...], jacobian: Array) -> Array:
    """Return the inverse Fisher matrix; an error names parameters that are undetermined."""
    norm = np.linalg.norm(jacobian, axis=0)
    silent = [n for n, length in zip(names, norm, strict=True) if length == 0.0]
    if silent:
        raise InconclusiveError(f"{label}: the data do not depend on {', '.join(silent)}")
    _, singular, vectors = np.linalg.svd(jacobian / norm, full_matrices=False)
    if singular[-1] < 1e-7 * singular[0]:
        mixed = [n for n, v in zip(names, vectors[-1], strict=True) if abs(v) > 0.1]
        raise InconclusiveError(
            f"{label}: the data do not separate {' and '.join(mixed)}; scan a wider range, or "
            "give one of them"
        )
    inverse = vectors.T @ np.diag(singular**-2) @ vectors
    return np.asarray(inverse / np.outer(norm, norm), dtype=np.float64)
