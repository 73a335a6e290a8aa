"""Rabi oscillation: pi power, brightest power and damping from counts against pump power."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, RecordError
from qdchar.estimate import Contribution, Estimate, Uncertain, propagate
from qdchar.files import PathLike
from qdchar.fit import Curve, Mark, Result
from qdchar.raw_data import Scan, read_scan

from .detection.dead_time_model import blinking_clicks, corrected_counts, fano
from .models.power_monitor import (
    MeterErrors,
    gain_at,
    linear_W,
    meter_constraints,
    moved_W,
    zero_of,
)
from .models.rabi_rivals import Rival, brightest_of, renormalised, rivals_of
from .models.rabi_rotation import brightest_slope, excitation, reexcitation
from .statistics.bounded_parameter import bounded_uncertainty
from .statistics.excess_noise import fit_with_excess_noise
from .statistics.likelihood import (
    FitParameter,
    FitResult,
    Values,
    deviance_residuals,
    minimise_reweighted,
)
from .statistics.model_criticism import correlated_problem
from .statistics.rivals import Candidate, choose, fit_candidate, possible_gain

Array = NDArray[np.float64]

_LABEL = "rabi scan"
_REEXCITATION_G2 = Uncertain(0.01, (Contribution("assumed re-excitation", 0.01, "B"),))


def analyse(
    scan: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    power_gain: Estimate,
    meter: MeterErrors | None = None,
    on_fraction: Estimate | None = None,
    reading_u_rel: float = 0.005,
    dark_count_rate_Hz: float = 0.0,
) -> Result:
    """Fit a Rabi scan.

    Parameters
    ----------
    scan
        Clicks against ``power_W``, the reading of the power monitor at each point less its zero;
        its setting ``power_zero_u_W`` is the uncertainty of the zero [W].
    clock_rate_Hz
        Pulse rate [Hz].
    dead_pulses
        Pulses a detector is dead after a click, see `qdchar.analysis.dead_time.dead_pulses`.
    power_gain
        True power over the reading of the monitor, from its certificate; the same for all points.
    meter
        What else the certificates of the power meter say; not given, it has a zero as measured and
        is linear.
    on_fraction
        Part of the time that the dot is on, as used for `dead_pulses`; 1 if not given.
    reading_u_rel
        Standard uncertainty of a single reading, relative: noise from point to point.
    dark_count_rate_Hz
        Of both detectors together [Hz].

    Returns
    -------
    Result
        ``pi_power``, ``max_power`` [W] and ``rabi_damping``.

    Raises
    ------
    InconclusiveError
        If the data cannot determine a Rabi oscillation.
    RecordError
        If the scan is not against ``power_W``.

    Notes
    -----
    Clicks of each detector are corrected for dead time with the exact pulsed formula, and then
    summed. The noise of the power readings is common to both detectors; in the summed curve it
    enters once.

    Model: ``N = A P_exc(P) + b P + c``, with b for laser light and c for the known dark counts. A
    photon of the dot and one of the laser on one detector give one click, so the first two terms
    add as probabilities: at 20 pi powers this reduces the clicks by several per cent.

    The noise of the power readings enters as effective variance ``(dN/dP u_P)^2`` in addition to
    the counting variance (which dead time makes smaller than Poisson). Without it, uncertainties
    would be less than half of the scatter of repeated scans.

    Leaked laser does not blink. With probabilities p1 and p0 of a click of a live detector while
    the dot is on and off, ``R = q p1/(1 + m p1) + (1 - q) p0/(1 + m p0)`` clicks per pulse.

    Zero and nonlinearity of the power meter are corrected by their certificates; what they differ
    by is a parameter each, which their uncertainties constrain.

    Rival models are fitted as well, where the residuals leave them room: the zero is off by more,
    with a wide prior; the pulse area is renormalised [1], in our form
    ``theta = pi sqrt(P/P_pi) (1 + r P/P_pi)/(1 + r)``; there is more constant light than the dark
    counts; the brightness changes with the power, as in a scan during which the cavity drifts; or
    the dephasing goes with another power of the pulse area than the square. Beside the best one a
    second is tried.
    See `qdchar.analysis.statistics.rivals` for which one is reported.

    Two photons of the dot on one detector give one click. Re-excitation increases with the power,
    which resembles damping; it is fitted, with a wide constraint of its size.

    References
    ----------
    .. [1] A. J. Ramsay et al., Phys. Rev. Lett. 105, 177402 (2010),
       doi:10.1103/PhysRevLett.105.177402
    """
    if scan.x_name != "power_W":
        raise RecordError(f"{scan.file}: a Rabi scan needs power_W, not {scan.x_name}")
    light = corrected_counts(scan, clock_rate_Hz, dead_pulses)
    pulses = scan.dwell_s * clock_rate_Hz
    dark = dark_count_rate_Hz * scan.dwell_s
    # Near zero, noise can make a reading of the monitor negative.
    power = linear_W(np.maximum(scan.x - zero_of(scan, meter).value, 0.0), power_gain, meter)
    top = float(power.max())
    if top <= 0 or len(power) < 6:
        raise InconclusiveError(
            f"{scan.file}: {len(power)} points up to {top:.3g} W; a Rabi scan needs at least 6 "
            "points at positive power"
        )

    usual = 1.0 if on_fraction is None else on_fraction.value
    dead_while_on = dead_pulses * usual

    def per_pulse(v: Values, at: Array) -> Array:
        q = v.get("on_fraction", usual)
        at = moved_W(np.maximum(at - v.get("zero", 0.0), 0.0), v, power_gain, meter)
        turned = renormalised(at, v)
        at_pi = v["amplitude"] * excitation(1.0, 1.0, v["damping"]) / q
        swing = excitation(turned, v["pi_power"], v["damping"], v.get("exponent", 2.0))
        dot = v["amplitude"] * swing * (1.0 + v.get("change", 0.0) * at / top) / q
        pairs = 0.5 * v["reexcitation"] * at_pi**2 * reexcitation(turned, v["pi_power"])
        laser = v["leak"] * at / top
        total = 0.0 * at
        for share in light.share:
            off = -np.expm1(-share * laser)
            on = off + (1.0 - off) * (share * dot - share**2 * pairs)
            total = total + blinking_clicks(on, off, dead_while_on, q, dead_pulses)
        return total + v.get("constant", 0.0)

    def expected(v: Values) -> Array:
        return np.maximum(pulses * per_pulse(v, power) + dark, 1e-9)

    def weights(v: Values, noise: float) -> Array:
        mean = expected(v)
        below, above = np.maximum(power - 1e-4 * top, 0.0), power + 1e-4 * top
        slope = (per_pulse(v, above) - per_pulse(v, below)) / (above - below)
        from_power = (pulses * slope * reading_u_rel * power) ** 2
        return fano(mean, light, pulses, dead_pulses) + from_power / mean + noise**2 * mean

    def residuals(v: Values, held: Array) -> Array:
        return deviance_residuals(light.counts, expected(v), held)

    constraints = {"reexcitation": _REEXCITATION_G2}
    more = {}
    for name, of_meter in meter_constraints(scan, meter).items():
        constraints[name] = of_meter
        more[name] = FitParameter(0.0, of_meter.u)
    if on_fraction is not None and on_fraction.u > 0.0:
        constraints["on_fraction"] = on_fraction
        more["on_fraction"] = FitParameter(usual, on_fraction.u, low=1e-3, high=1.0)
    converged: list[tuple[float, FitResult, dict[str, FitParameter]]] = []
    failure = InconclusiveError(f"{scan.file}: the counts do not rise with the pump power")
    for start in _starts(power, (light.counts - dark) / pulses):
        try:
            solution = minimise_reweighted(
                _LABEL, start | more, residuals, lambda v: weights(v, 0.0), constraints
            )
        except InconclusiveError as error:
            failure = error
        else:
            converged.append((solution.minimum, solution, start | more))
    if not converged:
        raise failure
    _, lowest, start = min(converged, key=lambda c: c[0])
    free = {n: replace(f, start=lowest[n]) for n, f in start.items()}
    plain, noise = fit_with_excess_noise(_LABEL, free, residuals, weights, constraints)
    possible = rivals_of(plain, top)
    parameters = free | {r.name: r.starts[0] for r in possible}
    priors = {r.name: r.prior for r in possible if r.prior is not None}

    def fitted(base: Candidate, rival: Rival) -> Candidate | None:
        """Fit the rival's parameter beside those of another candidate."""
        solution, noise = base.solution, base.noise
        held = weights(solution.as_dict(), noise)
        gain = possible_gain(solution, lambda v: residuals(v, held), rival.directions)
        # Less than a parameter costs in BIC. Beside an excess noise, which may be a misfit, this
        # gain does not tell: there the fit itself does, with that noise.
        if noise == 0.0 and gain < math.log(len(power)):
            return None
        near = {n: replace(parameters[n], start=solution[n]) for n in solution.names}
        names = {*near, rival.name}
        given = constraints | {n: prior for n, prior in priors.items() if n in names}
        words = rival.words if base is simplest else f"{base.name} and {rival.words}"
        best: Candidate | None = None
        for start in rival.starts:
            own = near | {rival.name: start}
            if noise > 0.0:
                with_noise = _minimum(own, residuals, lambda v: weights(v, noise), given)
                if with_noise is None or solution.minimum - with_noise.minimum < _LEAST_FALL:
                    continue
                own = {n: replace(f, start=with_noise[n]) for n, f in own.items()}
            found = fit_candidate(words, _LABEL, own, residuals, weights, expected, given)
            if found is not None and (best is None or found.bic < best.bic):
                best = found
            if found is not None and found.bic > base.bic:
                break  # the first start leads back to the simpler model
        return best

    v = plain.as_dict()
    simplest = Candidate("area sqrt(P)", plain, noise, weights(v, noise) * expected(v))
    choice = choose(simplest, {r.words: fitted(simplest, r) for r in possible})
    if choice.best is not simplest:
        first = choice.best
        further = [r for r in possible if r.name not in first.solution.names]
        pairs = choose(first, {f"and {r.words}": fitted(first, r) for r in further})
        alone = choice.doubtful if pairs.best is first else ()
        choice = replace(
            choice,
            best=pairs.best,
            doubtful=(*alone, *pairs.doubtful),
            tried=(*choice.tried, *pairs.tried[1:]),
        )
    best, noise = choice.best.solution, choice.best.noise
    at_best = weights(best.as_dict(), noise)
    fine = np.linspace(0.0, top, 1000)
    gain = gain_at(power_gain, meter, best["pi_power"], _LABEL, linearity=False).value
    curve = Curve(
        title="Rabi oscillation",
        x_label="pump power P (W)",
        y_label="count rate, dead time removed (1/s)",
        x=gain * power,
        y=light.counts / scan.dwell_s,
        u_y=np.sqrt(at_best * expected(best.as_dict())) / scan.dwell_s,
        model=expected(best.as_dict()) / scan.dwell_s,
        residuals=-best.residuals,
        x_line=gain * fine,
        y_line=clock_rate_Hz * per_pulse(best.as_dict(), fine) + dark_count_rate_Hz,
        quantities=("pi_power", "rabi_damping"),
        marks=(Mark(gain * best["pi_power"], "π pulse"),),
    )
    fit = best.fit("A/2 [1 - exp(-k theta^2) cos theta] + b P + c", "chi2", (curve,))
    problems = (*correlated_problem(_LABEL, best.residuals, noise), *_problems(best, power))
    remark = choice.remark
    if "power_zero_W" in scan.about.settings:
        remark += f"; zero of the meter read as {scan.about.settings['power_zero_W']:.3g} W"
    if "zero" in best.names:
        remark += f"; zero of the meter off by {best['zero']:.3g} W"
    if "renormalised" in best.names:
        remark += f"; area renormalised by {best['renormalised']:.2%} per pi power"
    if "constant" in best.names:
        remark += f"; {clock_rate_Hz * best['constant']:.3g} /s of constant light"
    if "exponent" in best.names:
        remark += f"; dephasing as pulse area to the {best['exponent']:.2f}, equal at the pi pulse"
    if "change" in best.names:
        remark += f"; brightness changed by {best['change']:+.1%} up to the highest power"
    others = [
        _estimates(c.solution, c.noise, power_gain, meter, "", exact_intervals=False)
        for c in choice.doubtful
    ]
    estimates = [
        choice.with_doubt(e, [o[k] for o in others], _LABEL)
        for k, e in enumerate(_estimates(best, noise, power_gain, meter, remark))
    ]
    return Result(tuple(estimates), (fit,), problems)


def analyse_file(path: PathLike, **given: object) -> Result:
    """Fit a Rabi scan from a CSV file.

    Parameters
    ----------
    path
        The file, see `qdchar.raw_data.read_scan`.
    **given
        As for `analyse`.
    """
    path = Path(path)
    return analyse(read_scan(path, "power_W"), **given)  # type: ignore[arg-type]


_LEAST_FALL = 2.0
"""Fall of the minimum, with an excess noise held, from which a rival may be better."""


def _minimum(
    free: dict[str, FitParameter],
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values], Array],
    constraints: dict[str, Uncertain],
) -> FitResult | None:
    """Fit; None where the data do not determine it."""
    try:
        return minimise_reweighted(_LABEL, free, residuals, weights, constraints)
    except InconclusiveError:
        return None


def _estimates(
    solution: FitResult,
    noise: float,
    power_gain: Estimate,
    meter: MeterErrors | None,
    remark: str,
    exact_intervals: bool = True,
) -> tuple[Estimate, ...]:
    """Return the quantities of a fit; of a rival only the values count, which are soon made."""
    pi_reading, damping = solution["pi_power"], solution["damping"]
    v = solution.as_dict()
    ratio = brightest_of(v)
    of_max = {"pi_power": ratio, "damping": pi_reading * brightest_slope(damping)}
    by_difference = {"exponent": ("exponent", "damping"), "renormalised": ("renormalised",)}
    for name in (n for key, names in by_difference.items() if key in v for n in names):
        step = 1e-3 * solution.u(name)
        up, down = (brightest_of({**v, name: v[name] + d}) for d in (step, -step))
        of_max[name] = pi_reading * (up - down) / (2.0 * step)
    bounded = exact_intervals and (solution.near_bound("damping") or solution.near_bound("leak"))
    method = "damped Rabi fit, effective variance of the power readings"
    if noise > 0.0:
        method += f"; excess noise of {noise:.2g} per point, from the scatter"
    method += remark

    def power(
        name: str,
        value: float,
        gradient: dict[str, float],
        fixed: Callable[[Values, float], Values],
    ) -> Estimate:
        near, gain = None, gain_at(power_gain, meter, value, _LABEL, linearity=False)
        if bounded:

            def minimum_at(x: float) -> float:
                return solution.profile_minimum(lambda v: fixed(v, x), {})

            near = bounded_uncertainty(
                solution, value, gradient, minimum_at, low=1e-6 * value
            ).with_scale(value, gain)
        reading = Uncertain(value, solution.budget(gradient))
        return Estimate(
            name=name,
            value=gain.value * value,
            method=method,
            plane="power monitor",
            budget=near.budget if near else propagate([(reading, gain.value), (gain, value)]),
            interval_68=near.interval_68 if near else None,
            interval_95=near.interval_95 if near else None,
        )

    near = None
    if bounded:
        near = bounded_uncertainty(
            solution,
            damping,
            {"damping": 1.0},
            lambda k: solution.profile_minimum(lambda _: {"damping": k}, {}),
            low=0.0,
        )
    return (
        power(
            "pi_power",
            pi_reading,
            {"pi_power": 1.0},
            lambda _, x: {"pi_power": x},
        ),
        power(
            "max_power",
            ratio * pi_reading,
            of_max,
            lambda v, x: {"pi_power": x / brightest_of(v)},
        ),
        Estimate(
            name="rabi_damping",
            value=damping,
            method=method,
            budget=near.budget if near else solution.budget({"damping": 1.0}),
            interval_68=near.interval_68 if near else None,
            interval_95=near.interval_95 if near else None,
        ),
    )


def _problems(solution: FitResult, power: Array) -> tuple[str, ...]:
    pi, u, top = solution["pi_power"], solution.u("pi_power"), float(power.max())
    if pi > top:
        return (
            f"{_LABEL}: the pi power {pi:.4g} W is above the highest power of the scan "
            f"({top:.4g} W): it is an extrapolation; scan to higher power",
        )
    if np.sum(power < pi) < 3:
        return (
            f"{_LABEL}: fewer than 3 points below the pi power {pi:.4g} W; scan from lower power "
            "in finer steps",
        )
    if u > 0.1 * pi:
        remedy = "count longer" if top > 2.0 * pi else "scan to twice that power, or count longer"
        return (f"{_LABEL}: the relative uncertainty of the pi power is {u / pi:.0%}; {remedy}",)
    return ()


def _starts(power: Array, per_pulse: Array) -> list[dict[str, FitParameter]]:
    """Return start values: the best of a grid of pi powers and dampings, linear in the rest."""
    top = float(power.max())
    height = float(per_pulse.max())
    if height <= 0:
        return []
    weight = 1.0 / (np.maximum(per_pulse, 0.0) / height + 0.02)
    ramp = power / top
    # pi powers from 1/1000 of the highest power, in steps of 0.15 rad of the highest pulse area
    pi_powers = top * (math.pi / np.arange(0.45 * math.pi, 32.0 * math.pi, 0.15)) ** 2
    found = []
    for damping in (0.0, 0.003, 0.012, 0.04, 0.12):
        lobes = excitation(power, pi_powers[:, None], damping)
        amplitudes, leaks = _two_shares(lobes, ramp, per_pulse, weight)
        off = amplitudes[:, None] * lobes + leaks[:, None] * ramp - per_pulse
        for row in zip(off**2 @ weight, pi_powers, amplitudes, leaks, strict=True):
            misfit, pi_power, amplitude, leak = map(float, row)
            if amplitude > 0.0:
                found.append((misfit, pi_power, damping, amplitude, leak))
    found.sort()
    starts: list[dict[str, FitParameter]] = []
    for misfit, pi_power, damping, amplitude, leak in found:
        if misfit > 10.0 * found[0][0] + 1e-4 * height**2 or len(starts) == 3:
            break
        if all(abs(math.log(pi_power / s["pi_power"].start)) > 0.1 for s in starts):
            starts.append(
                {
                    "pi_power": FitParameter(pi_power, pi_power, low=1e-6 * pi_power),
                    "damping": FitParameter(max(damping, 1e-4), 0.01, low=0.0),
                    "amplitude": FitParameter(amplitude, amplitude, low=0.0),
                    "reexcitation": FitParameter(_REEXCITATION_G2.value, _REEXCITATION_G2.u),
                    "leak": FitParameter(max(leak, 1e-4 * height), 0.01 * height, low=0.0),
                }
            )
    return starts


def _two_shares(curves: Array, b: Array, y: Array, weight: Array) -> tuple[Array, Array]:
    """Fit y by each of m curves, shape (m, n), and b, by linear least squares; return both factors.

    The factor of b is not negative.
    """
    aa, ab, bb = curves**2 @ weight, curves @ (weight * b), weight @ b**2
    ay, by = curves @ (weight * y), weight @ (b * y)
    determinant = aa * bb - ab**2
    alike = determinant <= 1e-9 * aa * bb
    of_b = np.where(alike, 0.0, (aa * by - ab * ay) / np.where(alike, 1.0, determinant))
    of_b = np.maximum(of_b, 0.0)
    return (ay - of_b * ab) / aa, of_b
