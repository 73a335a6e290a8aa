"""Purcell factor: lifetimes and count rates together against the cavity's detuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from qdchar.errors import InconclusiveError
from qdchar.estimate import (
    Contribution,
    Estimate,
    budgets_of_fit,
    covariance,
    merge,
    propagate,
)
from qdchar.fit import Curve, Result

from ._lineshapes import mode_share, purcell
from ._poisson import Free, Solution, Values, minimise, pull_residuals

Array = NDArray[np.float64]
Budget = Callable[[Mapping[str, float]], tuple[Contribution, ...]]

_LABEL = "Purcell fit"
_METHOD = "joint fit of lifetime and count rate against detuning"


def lifetime(
    detuning: ArrayLike, cavity_fwhm: float, purcell_factor: float, detuned_s: float
) -> Array:
    """Return T1 = T_b/(1 + F0/(1 + (2 d/kappa)^2)) [s].

    Parameters
    ----------
    detuning, cavity_fwhm
        Of the cavity against the dot, in one unit.
    purcell_factor
        F0, rate into the mode over the rate into everything else, on resonance.
    detuned_s
        T_b, with the cavity far away [s].

    Examples
    --------
    >>> float(lifetime(0.0, 26.9e9, 14.0, 1.137e-9).round(13))
    7.58e-11
    """
    f = purcell(detuning, cavity_fwhm, purcell_factor)
    return np.asarray(detuned_s / (1.0 + f), dtype=np.float64)


def analyse(
    voltage_V: ArrayLike,
    lifetimes: Sequence[Estimate],
    rates_Hz: ArrayLike,
    u_rates_Hz: ArrayLike,
    *,
    metres_per_volt: Estimate | None = None,
    hertz_per_volt: Estimate | None = None,
) -> Result:
    """Fit lifetimes and count rates against the cavity's fine-piezo voltage.

    Parameters
    ----------
    voltage_V
        Shape (n,), n >= 4, on both sides of the resonance; at least one beyond its width [V].
    lifetimes
        T1 at each voltage [s]. Errors that they share, say the instrument response, are known from
        their budgets and stay shared.
    rates_Hz
        Count rate at each voltage, corrected for dead time and dark counts, shape (n,) [1/s].
    u_rates_Hz
        Its standard uncertainty, shape (n,) [1/s].
    metres_per_volt, hertz_per_volt
        Piezo calibration, in mirror displacement and in frequency of the mode.

    Returns
    -------
    Result
        ``purcell_factor``, ``beta_factor``, ``cavity_resonance_voltage``, ``cavity_fwhm_voltage``
        [V], ``lifetime_on_resonance``, ``lifetime_detuned`` [s]; with the calibrations
        ``cavity_fwhm_displacement`` [m] and ``cavity_fwhm`` [Hz].

    Raises
    ------
    InconclusiveError
        If the points do not determine the resonance.

    Notes
    -----
    With ``F = F0/(1 + x^2)``, ``x = 2 d/kappa``: ``T1 = T_b/(1 + F)``, and the rate goes as the
    share of emission into the mode, ``F/(1 + F)``. Both are Lorentzian, ``1/T1`` of the cavity's
    own width and the rate of ``kappa sqrt(1 + F0)``; together they tell F0 from kappa and T_b.

    The reference is the same dot with the cavity away, not an ensemble: T_b is its fitted
    asymptote. What detuning does to the excitation (the pump enters through the cavity) is left
    out; scan with the pump at the power that is a pi pulse on resonance and within a few widths.
    """
    volts = np.asarray(voltage_V, dtype=np.float64)
    rates = np.asarray(rates_Hz, dtype=np.float64)
    u_rates = np.asarray(u_rates_Hz, dtype=np.float64)
    if not len(volts) == len(lifetimes) == len(rates) == len(u_rates) or len(volts) < 4:
        raise InconclusiveError(
            f"{_LABEL}: {len(volts)} voltages, {len(lifetimes)} lifetimes, {len(rates)} rates; "
            "needed are at least 4 points, each with all three"
        )
    t1 = np.array([e.value for e in lifetimes])
    shared = covariance(lifetimes)
    try:
        root = linalg.cholesky(shared, lower=True)
    except linalg.LinAlgError:
        raise InconclusiveError(
            f"{_LABEL}: the lifetimes need uncertainties of their own, beside those they share"
        ) from None
    n = len(volts)

    def t1_model(v: Values, at: Array) -> Array:
        return lifetime(at - v["centre"], v["fwhm"], v["purcell"], v["detuned"])

    def rate_model(v: Values, at: Array) -> Array:
        return v["height"] * mode_share(at - v["centre"], v["fwhm"], v["purcell"])

    def residuals(v: Values) -> Array:
        whitened = linalg.solve_triangular(root, t1_model(v, volts) - t1, lower=True)
        return np.concatenate([whitened, pull_residuals(rates, rate_model(v, volts), u_rates)])

    solution = minimise(_LABEL, _starts(volts, t1, rates), residuals)
    budget = _budget_of(solution, lifetimes, root)
    v = solution.as_dict()
    fine = np.linspace(volts.min(), volts.max(), 400)
    curves = (
        Curve(
            title="Lifetime against detuning",
            x_label="cavity voltage (V)",
            y_label="T1 (s)",
            x=volts,
            y=t1,
            u_y=np.sqrt(np.diag(shared)),
            model=t1_model(v, volts),
            residuals=(t1 - t1_model(v, volts)) / np.sqrt(np.diag(shared)),
            x_line=fine,
            y_line=t1_model(v, fine),
        ),
        Curve(
            title="Count rate against detuning",
            x_label="cavity voltage (V)",
            y_label="rate (1/s)",
            x=volts,
            y=rates,
            u_y=u_rates,
            model=rate_model(v, volts),
            residuals=-solution.residuals[n:],
            x_line=fine,
            y_line=rate_model(v, fine),
        ),
    )
    fit = solution.fit("T1 and rate of a dot in a Lorentzian mode", "chi2", curves)
    estimates = _estimates(v, budget, metres_per_volt, hertz_per_volt)
    return Result(estimates, (fit,), (*solution.problems, *_problems(v, volts)))


def _starts(volts: Array, t1: Array, rates: Array) -> dict[str, Free]:
    """Start values: 1/rate is a parabola in the voltage, and so are T1's ends."""
    order = np.argsort(rates)[::-1]
    top = order[: max(3, len(order) // 2)]
    curve, slope, floor = np.polyfit(volts[top] - volts[top[0]], 1.0 / rates[top], 2)
    span = float(np.ptp(volts))
    shift = -slope / (2.0 * curve) if curve > 0 else 0.0
    lowest = floor - slope**2 / (4.0 * curve) if curve > 0 else floor
    centre = float(volts[top[0]] + np.clip(shift, -0.25 * span, 0.25 * span))
    # 1/rate rises by x^2/(1 + F0), T1 by x^2 F0/(1 + F0) at first
    width = 2.0 * np.sqrt(lowest / curve) if curve > 0 and lowest > 0 else span / 2.0
    detuned = 1.5 * float(t1.max())
    factor = max(detuned / float(t1.min()) - 1.0, 0.5)
    return {
        "centre": Free(centre, 0.1 * span),
        "fwhm": Free(float(width) / np.sqrt(1.0 + factor), 0.1 * span, low=0.0),
        "purcell": Free(factor, factor, low=0.0),
        "detuned": Free(detuned, detuned, low=0.0),
        "height": Free(float(rates.max()) * (1.0 + 1.0 / factor), float(rates.max()), low=0.0),
    }


def _budget_of(solution: Solution, lifetimes: Sequence[Estimate], root: Array) -> Budget:
    """Return the function that gives a quantity's budget from its derivatives.

    What comes from the lifetimes keeps the names of their error sources; what comes from the rates
    and from scatter beyond both are the fit's own.
    """
    n, c = len(lifetimes), solution.covariance
    # the fit moves by C J^T root^-1 dt with a change dt of the lifetimes
    lifted = linalg.solve_triangular(root, solution.jacobian[:n], lower=True, trans=1)
    per_lifetime = c @ lifted.T
    in_rates = solution.jacobian[n:] @ c
    from_rates = budgets_of_fit(_LABEL, solution.names, in_rates.T @ in_rates)
    beyond = c * (solution.stretch**2 - 1.0)
    from_scatter = budgets_of_fit(f"{_LABEL}, excess scatter", solution.names, beyond)

    def budget(gradient: Mapping[str, float]) -> tuple[Contribution, ...]:
        g = np.array([gradient.get(name, 0.0) for name in solution.names])
        weights = g @ per_lifetime
        own = [
            Contribution(part.source, slope * part.u)
            for name, slope in gradient.items()
            for source in (from_rates, from_scatter)
            for part in source[name]
        ]
        return merge([*propagate(zip(lifetimes, map(float, weights), strict=True)), *own])

    return budget


def _estimates(
    v: Values,
    budget: Budget,
    metres_per_volt: Estimate | None,
    hertz_per_volt: Estimate | None,
) -> tuple[Estimate, ...]:
    f0, detuned = v["purcell"], v["detuned"]
    resonant = detuned / (1.0 + f0)

    def of_fit(
        name: str, value: float, unit: str, gradient: dict[str, float], what: str
    ) -> Estimate:
        return Estimate(name, value, unit, what, _METHOD, budget=budget(gradient))

    width = of_fit(
        "cavity_fwhm_voltage",
        v["fwhm"],
        "V",
        {"fwhm": 1.0},
        "full width at half maximum of the mode, Purcell broadening removed",
    )
    found = [
        of_fit(
            "purcell_factor",
            f0,
            "1",
            {"purcell": 1.0},
            "emission rate into the mode over that into everything else, on resonance; reference: "
            "the same dot with the cavity detuned",
        ),
        of_fit(
            "beta_factor",
            f0 / (1.0 + f0),
            "1",
            {"purcell": 1.0 / (1.0 + f0) ** 2},
            "share of the emission that goes into the mode, on resonance",
        ),
        of_fit(
            "lifetime_on_resonance",
            resonant,
            "s",
            {"detuned": 1.0 / (1.0 + f0), "purcell": -resonant / (1.0 + f0)},
            "1/e lifetime on resonance",
        ),
        of_fit("lifetime_detuned", detuned, "s", {"detuned": 1.0}, "1/e lifetime far from it"),
        of_fit(
            "cavity_resonance_voltage", v["centre"], "V", {"centre": 1.0}, "voltage of resonance"
        ),
        width,
    ]
    for scale, name, unit in (
        (metres_per_volt, "cavity_fwhm_displacement", "m"),
        (hertz_per_volt, "cavity_fwhm", "Hz"),
    ):
        if scale is not None:
            found.append(
                Estimate(
                    name=name,
                    value=width.value * scale.value,
                    unit=unit,
                    definition=width.definition,
                    method=_METHOD,
                    budget=propagate([(width, scale.value), (scale, width.value)]),
                )
            )
    return tuple(found)


def _problems(v: Values, volts: Array) -> tuple[str, ...]:
    if not volts.min() < v["centre"] < volts.max():
        return (
            f"{_LABEL}: the resonance at {v['centre']:.4g} V lies outside the points; measure on "
            "both sides of it",
        )
    if np.max(np.abs(volts - v["centre"])) < v["fwhm"] / 2.0:
        return (
            f"{_LABEL}: all points lie within the resonance's half width; the detuned lifetime is "
            "an extrapolation; measure farther out",
        )
    return ()
