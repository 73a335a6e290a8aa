"""Leaked laser light and re-excitation: the two reasons for a g2(0) above zero, separated.

With x laser photons per photon of the dot, and the g2(0) of the dot's own light g0, which is due to
pulses that excite the dot twice,

    g2(0) = (g0 + 2 x + x^2)/(1 + x)^2 .

g2(0) alone does not separate them, and the remedies differ: better polarisation extinction, or
shorter pulses. Therefore the laser is counted alone, with the cavity detuned. The remaining light
of the dot then oscillates with the pulse area; the leak is proportional to the power. Subtracting
it from g2 as an independent background leaves g0.

The leak is assumed to be the same with the cavity on and off resonance. This holds for laser light
that is scattered past the cavity or far broader than its mode. If the cavity rotates the
polarisation it has to be checked, with the dot detuned by other means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import RecordError
from qdchar.estimate import Estimate, Uncertain, propagate
from qdchar.fit import Curve, Result
from qdchar.raw_data import Scan, TagRun

from . import hbt
from .detection.dead_time_model import clicks_per_pulse
from .models.power_monitor import (
    MeterErrors,
    gain_at,
    linear_W,
    meter_constraints,
    moved_W,
    zero_of,
)
from .models.rabi_rotation import excitation
from .statistics.intervals import Interval, possible_part, widen
from .statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals, minimise

Array = NDArray[np.float64]

_LABEL = "leak scan"
_DETECTORS = "AB"
_EXACT = 1e-9
"""Relative uncertainty below which a reading is exact: that of a pi power of the same meter."""


def analyse(
    tuned: TagRun,
    detuned: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    pi_power: Estimate,
    damping: Estimate,
    power_gain: Estimate,
    meter: MeterErrors | None = None,
    detector_efficiency: Estimate,
    dark_count_rate: Estimate,
    reading_u_rel: float,
    detuning_correction: Estimate | None = None,
) -> Result:
    """Find the leaked laser photons per pulse, and the g2(0) that re-excitation leaves.

    Parameters
    ----------
    tuned
        Time tags in the fibre at the pi pulse; its setting ``power_W`` is the monitor's reading
        less its zero.
    detuned
        Clicks against ``power_W`` with the cavity detuned.
    clock_rate_Hz
        Pulse rate [Hz].
    dead_pulses
        Pulses a detector is dead after a click, see `qdchar.analysis.dead_time.dead_pulses`.
    pi_power, damping
        Of the Rabi oscillation [W], [1].
    power_gain
        True power over the monitor's reading.
    meter
        What else the certificates of the power meter say, see `qdchar.analysis.rabi`.
    detector_efficiency
        From the fibre to a click of either detector.
    dark_count_rate
        Of both detectors together [Hz].
    reading_u_rel
        Standard uncertainty of the power at a point of the scan, relative.
    detuning_correction
        Relative excess of the lifetime over that on resonance in the tuned run, see
        `qdchar.analysis.detuning`: re-excitation is rarer by it.

    Returns
    -------
    Result
        ``laser_leakage``, laser photons per pulse in the fibre at P_pi, and ``g2_reexcitation``,
        with a detuning correction that on resonance.

    Raises
    ------
    InconclusiveError
        If the scan does not determine the leak, or a detector is silent or saturated.
    RecordError
        If the scan is not against ``power_W``, or the run does not state its power.

    Notes
    -----
    Each detector's clicks are fitted with ``1 - (1 - D E(P)) exp(-L P/P_1)``, with dead time as a
    renewal process; E is the damped Rabi oscillation, D the remaining light of the dot, L the leak
    at the power P_1 of the tuned run. D may have either sign, so that there is no bias near zero.
    """
    at_run = tuned.about.settings.get("power_W")
    if detuned.x_name != "power_W" or not isinstance(at_run, float) or at_run <= 0.0:
        raise RecordError(f"{detuned.file}, {tuned.file}: a leak scan and its run need power_W")
    pulses = detuned.dwell_s * clock_rate_Hz
    left_W = zero_of(detuned, meter).value
    detuned = replace(detuned, x=linear_W(detuned.x - left_W, power_gain, meter))
    at_run = float(linear_W(at_run - left_W, power_gain, meter))

    of_meter = meter_constraints(detuned, meter)
    gain = gain_at(power_gain, meter, pi_power.value / power_gain.value, _LABEL, linearity=False)
    pi_reading = _reading_at_pi(pi_power, gain)

    def moved(power: ArrayLike, v: Values) -> Array:
        return moved_W(power, v, power_gain, meter)

    def live(v: Values, detector: str, power: Array) -> Array:
        k = v.get("damping", damping.value)
        pi = v.get("pi_reading", pi_reading.value)
        at_pi = excitation(1.0, 1.0, k)
        dot = v[f"dot_{detector}"] * excitation(moved(power, v), pi, k) / at_pi
        leak = v[f"leak_{detector}"] * moved(power, v) / moved(at_run, v)
        dark_Hz = v.get("dark", dark_count_rate.value)
        return 1.0 - (1.0 - dot) * np.exp(-leak - 0.5 * dark_Hz / clock_rate_Hz)

    def expected(v: Values) -> Array:
        p = np.stack([live(v, d, detuned.x) for d in _DETECTORS], axis=1)
        return np.maximum(pulses[:, None] * clicks_per_pulse(p, dead_pulses), 1e-9)

    # counting with dead time, and the noise of the power
    rate = detuned.clicks / pulses[:, None]
    free_share = 1.0 - dead_pulses * rate
    fano = free_share * (free_share - rate) + reading_u_rel**2 * detuned.clicks

    def residuals(v: Values) -> Array:
        return deviance_residuals(detuned.clicks, expected(v), fano).ravel()

    free: dict[str, FitParameter] = {}
    dark = 0.5 * dark_count_rate.value / clock_rate_Hz
    for k, d in enumerate(_DETECTORS):
        per_power = float(np.sum(rate[:, k] - dark) / np.sum(detuned.x))
        start = max(per_power * at_run, 1.0 / float(pulses.sum()))
        free |= {f"leak_{d}": FitParameter(start, start), f"dot_{d}": FitParameter(0.0, start)}
    constraints: dict[str, Uncertain] = {"damping": damping} if damping.u > 0.0 else {}
    if constraints:
        free["damping"] = FitParameter(damping.value, damping.u, 0.0)
    if pi_reading.u > _EXACT * pi_reading.value:
        constraints["pi_reading"] = pi_reading
        free["pi_reading"] = FitParameter(pi_reading.value, pi_reading.u, 0.0)
    constraints |= of_meter
    free |= {name: FitParameter(0.0, known.u) for name, known in of_meter.items()}
    if dark_count_rate.u > 0.0:
        constraints["dark"] = dark_count_rate
        free["dark"] = FitParameter(dark_count_rate.value, dark_count_rate.u, 0.0)
    solution = minimise(_LABEL, free, residuals, constraints)
    run_W = _moving(solution, of_meter, lambda v: float(moved(at_run, v)))
    background = [_background(solution, d, clock_rate_Hz) for d in _DETECTORS]
    raw = hbt.analyse(
        tuned, dark_count_rate=dark_count_rate, background_rates=(background[0], background[1])
    )
    estimates = (
        _leakage(solution, pi_reading, run_W, detector_efficiency),
        _reexcitation(raw, solution, detuning_correction),
    )
    curves = tuple(_curves(solution, detuned, expected(solution.as_dict()), fano))
    fit = solution.fit("leak P + dot's light + dark counts", "chi2", curves)
    return Result(
        estimates, (fit, *raw.fits), (*solution.problems, *raw.problems, *_problems(solution))
    )


def _background(solution: FitResult, detector: str, clock_rate_Hz: float) -> Uncertain:
    """Clicks that the leak makes on a live detector at the power of the tuned run [Hz]."""
    name = f"leak_{detector}"
    leak = solution[name]
    return Uncertain(
        -math.expm1(-leak) * clock_rate_Hz,
        solution.budget({name: math.exp(-leak) * clock_rate_Hz}),
    )


@dataclass(frozen=True)
class _Moving:
    """A power, and its derivatives with respect to parameters of the fit."""

    value: float
    slopes: Mapping[str, float]


def _moving(
    solution: FitResult, parameters: Mapping[str, Uncertain], at: Callable[[Values], float]
) -> _Moving:
    v = solution.as_dict()
    slopes = {}
    for name, known in parameters.items():
        step = 0.1 * known.u
        above, below = (at({**v, name: v[name] + s}) for s in (step, -step))
        slopes[name] = (above - below) / (2.0 * step)
    return _Moving(at(v), slopes)


def _reading_at_pi(pi_power: Estimate, gain: Uncertain) -> Uncertain:
    """Return what a linear meter reads at the pi pulse [W]."""
    value = pi_power.value / gain.value
    inputs = [(pi_power, 1.0 / gain.value), (gain, -value / gain.value)]
    return Uncertain(value, propagate(inputs))


def _leakage(
    solution: FitResult, pi_reading: Uncertain, run_W: _Moving, efficiency: Estimate
) -> Estimate:
    """Return the leak at the pi power; the fit has it at the power of the tuned run."""
    v = solution.as_dict()
    names = [f"leak_{d}" for d in _DETECTORS]
    pi = v.get("pi_reading", pi_reading.value)
    clicks = sum(v[n] for n in names)
    value = clicks * pi / run_W.value / efficiency.value
    gradient = {n: value / clicks for n in names}
    gradient |= {n: -value * slope / run_W.value for n, slope in run_W.slopes.items()}
    if "pi_reading" in v:
        gradient["pi_reading"] = value / pi
    detected = Uncertain(value, solution.budget(gradient))
    return Estimate(
        name="laser_leakage",
        value=value,
        method="clicks in proportion to the power, with the cavity detuned",
        plane="fibre",
        budget=propagate([(detected, 1.0), (efficiency, -value / efficiency.value)]),
    )


def _reexcitation(raw: Result, solution: FitResult, correction: Estimate | None) -> Estimate:
    g2 = raw["g2_zero_source"]
    ratio = solution["leak_A"] + solution["leak_B"]
    own = raw["g2_zero_source_corrected"]
    found = replace(
        own,
        name="g2_reexcitation",
        method=(
            f"g2(0) in the fibre {g2.value:.4g}, less the leak of {ratio:.3g} clicks per pulse as "
            f"an independent background; {own.method}"
        ),
    )
    if correction is None:
        return found
    faster = 1.0 + correction.value
    return replace(
        found,
        value=faster * found.value,
        method=f"{found.method}; detuning correction of {100.0 * correction.value:.2f} %",
        budget=propagate([(found, faster), (correction, found.value)]),
        interval_68=_wider(found.interval_68, faster, found.value * correction.u),
        interval_95=_wider(found.interval_95, faster, 2.0 * found.value * correction.u),
    )


def _wider(interval: Interval | None, factor: float, by: float) -> Interval | None:
    """Scale an interval, and add an independent error on both sides."""
    if interval is None:
        return None
    low, high = (factor * end for end in interval)
    middle = 0.5 * (low + high)
    return possible_part(widen(middle, (low, high), 1.0, by), least=0.0)


def _curves(solution: FitResult, scan: Scan, expected: Array, fano: Array) -> Iterator[Curve]:
    residuals = -solution.residuals.reshape(expected.shape)
    order = np.argsort(scan.x)
    for k, detector in enumerate(_DETECTORS):
        seen, model = scan.clicks[:, k] / scan.dwell_s, expected[:, k] / scan.dwell_s
        yield Curve(
            title=f"Leaked laser light, detector {detector}",
            x_label="reading of the power monitor (W)",
            y_label="click rate, cavity detuned (1/s)",
            x=scan.x,
            y=seen,
            u_y=np.sqrt(fano[:, k] * expected[:, k]) / scan.dwell_s,
            model=model,
            residuals=residuals[:, k],
            x_line=scan.x[order],
            y_line=model[order],
            quantities=("laser_leakage",),
        )


def _problems(solution: FitResult) -> tuple[str, ...]:
    dot, leak = (sum(solution[f"{what}_{d}"] for d in _DETECTORS) for what in ("dot", "leak"))
    if dot > leak:
        return (
            f"{_LABEL}: with the cavity detuned the dot still makes {dot:.2g} clicks per pulse, "
            f"the laser {leak:.2g}: is there another order or mode? Set leak.detuning_V",
        )
    if leak < 2.0 * math.hypot(*(solution.u(f"leak_{d}") for d in _DETECTORS)):
        return (f"{_LABEL}: the leak is not significant; its uncertainty limits it",)
    return ()
