"""Purcell factor: lifetimes and count rates together against the cavity's detuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import (
    Contribution,
    Estimate,
    Uncertain,
    budgets_of_fit,
    covariance,
    merge,
    propagate,
)
from qdchar.fit import Curve, Result
from qdchar.raw_data import TagRun

from .. import brightness
from ..models.lineshapes import mode_share, purcell
from ..statistics.likelihood import FitParameter, FitResult, Values, minimise
from .detuned_decays import DetunedDecay, detuned_decays

Array = NDArray[np.float64]
Budget = Callable[[Mapping[str, float]], tuple[Contribution, ...]]

_LABEL = "Purcell fit"
_METHOD = "joint fit of lifetime and count rate against detuning"
_NODES, _WEIGHTS = hermegauss(9)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


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


def analyse_runs(
    voltage_V: ArrayLike,
    u_voltage_V: ArrayLike,
    runs: Sequence[TagRun],
    response: TagRun,
    *,
    response_width: Estimate | None = None,
    dark_count_rate: Estimate | None = None,
    detector_efficiency: Estimate | None = None,
    vibration_m: Estimate | None = None,
    metres_per_volt: Estimate | None = None,
    hertz_per_metre: Estimate | None = None,
) -> Result:
    """Find lifetimes and count rates from time tags at each detuning, and fit them.

    Parameters
    ----------
    voltage_V, u_voltage_V
        As for `analyse`; relative to the resonance at the time of each run.
    runs
        Time tags of the emission at each voltage, n of them, all at one pump power.
    response
        Time tags of the laser through the same path and detectors.
    response_width
        Width of the response to the emission over that to the laser; None takes them to be alike.
    dark_count_rate
        Total of both detectors [Hz]; subtracted if given.
    detector_efficiency
        With it, the leaked laser light is reported in photons per pulse in the fibre.
    vibration_m
        Root mean square of the mirror's vibration [m]; needs `metres_per_volt`.
    metres_per_volt, hertz_per_metre
        As for `analyse`.

    Returns
    -------
    Result
        As of `analyse`, and with a detector efficiency ``laser_leakage``: prompt photons per pulse
        beside the detuned dot.

    Raises
    ------
    InconclusiveError
        As `analyse`; if a detector is silent, or no run is detuned enough to separate the leaked
        laser from the dot.

    Notes
    -----
    The leaked laser does not depend on the cavity: far from resonance it would be mistaken for
    light of the dot, and, because it is prompt, for a fast decay. Each decay is therefore fitted
    with a prompt share (see `detuned_decays`), and the rate of live pulses is that without it.
    """
    unit = Estimate(name="detector_efficiency", value=1.0, method="clicks, not photons")
    found = detuned_decays(runs, response, response_width)
    rates, leaks = [], []
    for run, decay in zip(runs, found.decays, strict=True):
        light = brightness.analyse(run, detector_efficiency=unit, dark_count_rate=dark_count_rate)
        n, clock = light["collection_efficiency"], light["clock_rate"]
        prompt = decay.prompt_share
        dot = 1.0 - prompt.value
        rates.append(
            Uncertain(
                clock.value * n.value * dot,
                propagate(
                    [
                        (n, clock.value * dot),
                        (clock, n.value * dot),
                        (prompt, -clock.value * n.value),
                    ]
                ),
            )
        )
        leaks.append((n, prompt))
    vibration = _ratio(vibration_m, metres_per_volt)
    result = analyse(
        voltage_V,
        [d.lifetime for d in found.decays],
        rates,
        u_voltage_V=u_voltage_V,
        vibration_V=vibration,
        metres_per_volt=metres_per_volt,
        hertz_per_metre=hertz_per_metre,
    )
    estimates = result.estimates
    if detector_efficiency is not None:
        estimates += (_leakage(leaks, found.decays, detector_efficiency),)
    return Result(estimates, (*result.fits, *found.fits), (*result.problems, *found.problems))


def analyse(
    voltage_V: ArrayLike,
    lifetimes: Sequence[Uncertain],
    rates: Sequence[Uncertain],
    *,
    u_voltage_V: ArrayLike | None = None,
    vibration_V: Uncertain | None = None,
    metres_per_volt: Estimate | None = None,
    hertz_per_metre: Estimate | None = None,
) -> Result:
    """Fit lifetimes and count rates against the cavity's fine-piezo voltage.

    Parameters
    ----------
    voltage_V
        Shape (n,), n >= 4, on both sides of the resonance; at least one beyond its width [V].
    lifetimes
        T1 at each voltage [s]. Errors that they share, e.g. of the instrument response, are known
        from their budgets.
    rates
        Count rate at each voltage, corrected for dead time, dark counts and leaked laser [Hz].
    u_voltage_V
        Standard uncertainty of each voltage against the others (creep, peak-lock readout),
        shape (n,) [V]; 0 if not given.
    vibration_V
        Root mean square of the mirror's vibration in terms of the piezo's voltage [V].
    metres_per_volt, hertz_per_metre
        Mirror displacement by voltage, and frequency of the mode by displacement.

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
    With ``F = F0/(1 + x^2)``, ``x = 2 d/kappa``: ``T1 = T_b/(1 + F)``, and the rate is
    proportional to the share of emission into the mode, ``beta = F/(1 + F)``. Both are Lorentzian:
    ``1/T1`` with the cavity's own width, the rate with ``kappa sqrt(1 + F0)``. Without the detuning
    they obey ``rate = H (1 - T1/T_b)``, a line that gives T_b, hence F0, independently of the
    piezo. The voltages therefore enter with their errors, as parameters with a constraint each, and
    determine the width.

    With a mirror that vibrates within a run, the rate is the mean ``<beta>`` over its positions,
    and the decay time is ``<beta T1>/<beta>``, as the fit of one exponential to a narrow mixture
    gives.

    The reference is the same dot with the cavity far detuned, not an ensemble: T_b is the fitted
    asymptote. The effect of detuning on the excitation (the pump enters through the cavity) is
    neglected. Where it matters, rates are below that line, and the residuals show it. In this case
    scan within a few widths, with the pump at the pi pulse on resonance.
    """
    volts = np.asarray(voltage_V, dtype=np.float64)
    if not len(volts) == len(lifetimes) == len(rates) or len(volts) < 4:
        raise InconclusiveError(
            f"{_LABEL}: {len(volts)} voltages, {len(lifetimes)} lifetimes, {len(rates)} rates; "
            "at least 4 points with all three are needed"
        )
    n = len(volts)
    data = [*lifetimes, *rates]
    measured = np.array([e.value for e in data])
    scale = np.repeat([np.mean(measured[:n]), np.mean(measured[n:])], n)
    shared = covariance(data)
    try:
        root = linalg.cholesky(shared / np.outer(scale, scale), lower=True) * scale[:, None]
    except linalg.LinAlgError:
        raise InconclusiveError(
            f"{_LABEL}: lifetimes and rates need uncertainties of their own in addition to "
            "shared ones"
        ) from None
    u_volts = np.zeros(n) if u_voltage_V is None else np.asarray(u_voltage_V, dtype=np.float64)
    moving = np.flatnonzero(u_volts > 0)
    offsets = {f"offset_{i}": FitParameter(0.0, float(u_volts[i])) for i in moving}
    constraints = {} if vibration_V is None else {"vibration": vibration_V}

    def positions(v: Values) -> Array:
        at = volts.copy()
        at[moving] += [v[name] for name in offsets]
        return at

    def model(v: Values, at: Array) -> tuple[Array, Array]:
        return _seen(
            at - v["centre"], v["fwhm"], v["purcell"], v["detuned"], v["height"],
            v.get("vibration", 0.0),
        )  # fmt: skip

    def residuals(v: Values) -> Array:
        difference = np.concatenate(model(v, positions(v))) - measured
        pulls = [v[name] / u_volts[i] for name, i in zip(offsets, moving, strict=True)]
        return np.concatenate([linalg.solve_triangular(root, difference, lower=True), pulls])

    free = {**_starts(volts, measured[:n], measured[n:]), **offsets}
    if vibration_V is not None:
        free["vibration"] = FitParameter(vibration_V.value, vibration_V.u)
    solution = minimise(_LABEL, free, residuals, constraints)
    budget = _budget_of(solution, data, root)
    v = solution.as_dict()
    fine = np.linspace(volts.min(), volts.max(), 400)
    u = np.sqrt(np.diag(shared))
    curves = tuple(
        Curve(
            title=title,
            x_label="cavity voltage V (V)",
            y_label=label,
            x=positions(v),
            y=measured[part],
            u_y=u[part],
            model=at_points,
            residuals=(measured[part] - at_points) / u[part],
            x_line=fine,
            y_line=line,
            quantities=("purcell_factor", "lifetime_on_resonance"),
        )
        for title, label, part, at_points, line in zip(
            ("Lifetime against detuning", "Count rate against detuning"),
            ("lifetime (s)", "count rate (1/s)"),
            (slice(0, n), slice(n, 2 * n)),
            model(v, positions(v)),
            model(v, fine),
            strict=True,
        )
    )
    fit = solution.fit("T1 and rate of a dot in a Lorentzian mode", "chi2", curves)
    estimates = _estimates(v, budget, metres_per_volt, hertz_per_metre)
    return Result(estimates, (fit,), (*solution.problems, *_problems(v, volts)))


def _seen(
    off_V: Array, fwhm_V: float, factor: float, detuned_s: float, height: float, rms_V: float
) -> tuple[Array, Array]:
    """Return mean lifetime [s] and rate of a dot whose cavity vibrates, against the detuning."""
    off = off_V[:, None] + rms_V * _NODES
    share = mode_share(off, fwhm_V, factor)
    rate = share @ _WEIGHTS
    t1 = (share * lifetime(off, fwhm_V, factor, detuned_s)) @ _WEIGHTS / rate
    return t1, height * rate


def _ratio(vibration_m: Estimate | None, metres_per_volt: Estimate | None) -> Uncertain | None:
    if vibration_m is None or metres_per_volt is None:
        return None
    value = vibration_m.value / metres_per_volt.value
    return Uncertain(
        value,
        propagate(
            [
                (vibration_m, 1.0 / metres_per_volt.value),
                (metres_per_volt, -value / metres_per_volt.value),
            ]
        ),
    )


def _leakage(
    leaks: Sequence[tuple[Uncertain, Uncertain]],
    decays: Sequence[DetunedDecay],
    detector_efficiency: Estimate,
) -> Estimate:
    """Return the prompt photons per pulse, a mean over the slower half of the decays."""
    slow = np.argsort([d.lifetime.value for d in decays])[len(decays) // 2 :]
    pairs = [leaks[int(k)] for k in slow]
    weights = np.array([1.0 / (n.value * share.u) ** 2 for n, share in pairs])
    weights /= weights.sum()
    eta = detector_efficiency.value
    value = sum(
        float(w) * n.value * share.value / eta for w, (n, share) in zip(weights, pairs, strict=True)
    )
    inputs: list[tuple[Uncertain, float]] = [(detector_efficiency, -value / eta)]
    for w, (n, share) in zip(weights, pairs, strict=True):
        inputs += [(n, float(w) * share.value / eta), (share, float(w) * n.value / eta)]
    scatter = sum(
        ((n.value * share.value - value * eta) / (n.value * share.u)) ** 2 for n, share in pairs
    )
    p_value = float(stats.chi2.sf(scatter, len(pairs) - 1))
    return Estimate(
        name="laser_leakage",
        value=value,
        method=(
            f"prompt share of the {len(pairs)} slowest decays; the same at all detunings with "
            f"p = {p_value:.2g}"
        ),
        plane="fibre",
        budget=propagate(inputs),
    )


def _starts(volts: Array, t1: Array, rates: Array) -> dict[str, FitParameter]:
    """Return start values: 1/rate is a parabola in the voltage."""
    order = np.argsort(rates)[::-1]
    top = order[: max(3, len(order) // 2)]
    curve, slope, floor = np.polyfit(volts[top] - volts[top[0]], 1.0 / rates[top], 2)
    span = float(np.ptp(volts))
    shift = -slope / (2.0 * curve) if curve > 0 else 0.0
    lowest = floor - slope**2 / (4.0 * curve) if curve > 0 else floor
    centre = float(volts[top[0]] + np.clip(shift, -0.25 * span, 0.25 * span))
    # Near resonance 1/rate rises by x^2/(1 + F0), T1 by x^2 F0/(1 + F0).
    width = 2.0 * np.sqrt(lowest / curve) if curve > 0 and lowest > 0 else span / 2.0
    detuned = 1.5 * float(t1.max())
    factor = max(detuned / float(t1.min()) - 1.0, 0.5)
    return {
        "centre": FitParameter(centre, 0.1 * span),
        "fwhm": FitParameter(float(width) / np.sqrt(1.0 + factor), 0.1 * span, low=0.0),
        "purcell": FitParameter(factor, factor, low=0.0),
        "detuned": FitParameter(detuned, detuned, low=0.0),
        "height": FitParameter(
            float(rates.max()) * (1.0 + 1.0 / factor), float(rates.max()), low=0.0
        ),
    }


def _budget_of(solution: FitResult, data: Sequence[Uncertain], root: Array) -> Budget:
    """Return the function that gives a quantity's budget from its derivatives.

    Contributions of lifetimes, rates and vibration keep the names of their error sources; those of
    the voltages and of excess scatter are named after the fit.
    """
    n, c = len(data), solution.covariance
    # The solution changes by C J^T root^-1 dy with a change dy of the data.
    lifted = linalg.solve_triangular(root, solution.jacobian[:n], lower=True, trans=1)
    per_datum = c @ lifted.T
    in_voltages = solution.jacobian[n:] @ c
    from_voltages = budgets_of_fit(
        f"{_LABEL}, voltages", solution.names, in_voltages.T @ in_voltages
    )
    beyond = c * (solution.birge_ratio**2 - 1.0)
    from_scatter = budgets_of_fit(f"{_LABEL}, excess scatter", solution.names, beyond)

    def budget(gradient: Mapping[str, float]) -> tuple[Contribution, ...]:
        g = np.array([gradient.get(name, 0.0) for name in solution.names])
        inputs = list(zip(data, map(float, g @ per_datum), strict=True))
        for name, estimate in solution.constraints.items():
            shift = c[:, solution.names.index(name)] / estimate.u**2
            inputs.append((estimate, float(g @ shift)))
        own = [
            part.times(slope)
            for name, slope in gradient.items()
            for source in (from_voltages, from_scatter)
            for part in source[name]
        ]
        return merge([*propagate(inputs), *own])

    return budget


def _estimates(
    v: Values,
    budget: Budget,
    metres_per_volt: Estimate | None,
    hertz_per_metre: Estimate | None,
) -> tuple[Estimate, ...]:
    f0, detuned = v["purcell"], v["detuned"]
    resonant = detuned / (1.0 + f0)

    def of_fit(name: str, value: float, gradient: dict[str, float]) -> Estimate:
        return Estimate(
            name=name,
            value=value,
            method=_METHOD,
            budget=budget(gradient),
        )

    width = of_fit(
        "cavity_fwhm_voltage",
        v["fwhm"],
        {"fwhm": 1.0},
    )
    found = [
        of_fit(
            "purcell_factor",
            f0,
            {"purcell": 1.0},
        ),
        of_fit(
            "beta_factor",
            f0 / (1.0 + f0),
            {"purcell": 1.0 / (1.0 + f0) ** 2},
        ),
        of_fit(
            "lifetime_on_resonance",
            resonant,
            {"detuned": 1.0 / (1.0 + f0), "purcell": -resonant / (1.0 + f0)},
        ),
        of_fit("lifetime_detuned", detuned, {"detuned": 1.0}),
        of_fit("cavity_resonance_voltage", v["centre"], {"centre": 1.0}),
        width,
    ]
    for scale, name in (
        (metres_per_volt, "cavity_fwhm_displacement"),
        (hertz_per_metre, "cavity_fwhm"),
    ):
        if scale is None:
            break
        width = Estimate(
            name=name,
            value=width.value * scale.value,
            method=_METHOD,
            budget=propagate([(width, scale.value), (scale, width.value)]),
        )
        found.append(width)
    return tuple(found)


def _problems(v: Values, volts: Array) -> tuple[str, ...]:
    if not volts.min() < v["centre"] < volts.max():
        return (
            f"{_LABEL}: the resonance at {v['centre']:.4g} V is outside the points; measure on "
            "both sides of it",
        )
    if np.max(np.abs(volts - v["centre"])) < v["fwhm"] / 2.0:
        return (
            f"{_LABEL}: all points are within half a width of the resonance; the detuned lifetime "
            "is an extrapolation; measure at larger detuning",
        )
    return ()
