"""Saturation of a dot that is pumped above its resonance: no Rabi rotation, but a filling level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import InconclusiveError, RecordError
from qdchar.estimate import Estimate, propagate
from qdchar.files import PathLike
from qdchar.fit import Curve, Mark, Result
from qdchar.raw_data import Scan, read_scan

from .detection.dead_time_model import corrected_counts, fano
from .models.meter_zero import zero_prior
from .models.power_monitor import (
    MeterErrors,
    gain_at,
    linear_W,
    meter_constraints,
    moved_W,
    zero_of,
)
from .statistics.bounded_parameter import BoundedUncertainty, bounded_uncertainty
from .statistics.excess_noise import fit_with_excess_noise
from .statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals
from .statistics.model_criticism import correlated_problem
from .statistics.rivals import MIN_BIC_GAIN, Candidate, choose, fit_candidate

Array = NDArray[np.float64]
Pumping = Literal["pulsed", "continuous"]

_LABEL = "saturation scan"
_FALLS = 4.0
"""Standard uncertainties by which a background must be negative to be none."""
_MAX_U_OF_NORMAL = 0.05
"""Relative uncertainty of the saturation power up to which its likelihood is a parabola."""


def filling(power: ArrayLike, saturation_power: float, pumping: Pumping) -> Array:
    """Return the share of the saturated brightness that a pump power reaches.

    ``1 - exp(-P/P_sat)`` for pulses, each of which captures a Poissonian number of carrier pairs;
    ``P/(P + P_sat)`` for continuous light.

    Examples
    --------
    >>> filling([0.0, 1.0], 1.0, "continuous")
    array([0. , 0.5])
    """
    ratio = np.asarray(power, dtype=np.float64) / saturation_power
    share = -np.expm1(-ratio) if pumping == "pulsed" else ratio / (1.0 + ratio)
    return np.asarray(share, dtype=np.float64)


def analyse(
    scan: Scan,
    *,
    clock_rate_Hz: float,
    dead_pulses: float,
    power_gain: Estimate,
    meter: MeterErrors | None = None,
    reading_u_rel: float = 0.005,
    dark_count_rate_Hz: float = 0.0,
    pumping: Pumping = "pulsed",
) -> Result:
    """Fit a power scan with non-resonant pumping.

    Parameters
    ----------
    scan
        Clicks against ``power_W``, the reading of the power monitor at each point less its zero;
        its setting ``power_zero_u_W`` is the uncertainty of the zero [W].
    clock_rate_Hz
        Pulse rate [Hz]. With continuous pumping, any rate far above that of the clicks.
    dead_pulses
        Pulses a detector is dead after a click, see `qdchar.analysis.dead_time.dead_pulses`.
    power_gain
        True power over the reading of the monitor; the same for all points.
    meter
        What else the certificates of the power meter say, see `qdchar.analysis.rabi`.
    reading_u_rel
        Standard uncertainty of a single reading, relative.
    dark_count_rate_Hz
        Of both detectors together [Hz].
    pumping
        ``"pulsed"`` or ``"continuous"``.

    Returns
    -------
    Result
        ``saturation_power`` [W] and ``saturated_rate``, detected without dead time [1/s]; with
        profile intervals where the scan does not reach far into saturation.

    Raises
    ------
    InconclusiveError
        If the data do not determine a saturation.
    RecordError
        If the scan is not against ``power_W``.

    Notes
    -----
    ``N = N_sat filling(P) + b P + c``: the background b, from the surroundings of the dot, does not
    saturate; c are the known dark counts. Power noise enters as effective variance, excess noise is
    estimated from the scatter; see `qdchar.analysis.rabi`.

    Zero and nonlinearity of the power meter are corrected by their certificates; what they differ
    by is a parameter each, which their uncertainties constrain. Two rival models are fitted as
    well: the zero is off by more, with a wide prior; or there is more steady background than dark
    counts. With pulses the two are alike, and differ in the saturated rate. See
    `qdchar.analysis.statistics.rivals` for which one is reported. That the other law describes the
    scan, and this one does not, is a problem; so is a brightness that falls at high power, a
    negative b.
    """
    if scan.x_name != "power_W":
        raise RecordError(f"{scan.file}: a power scan needs power_W, not {scan.x_name}")
    light = corrected_counts(scan, clock_rate_Hz, dead_pulses)
    pulses, dwell = scan.dwell_s * clock_rate_Hz, scan.dwell_s
    power = linear_W(np.maximum(scan.x - zero_of(scan, meter).value, 0.0), power_gain, meter)
    top = float(power.max())
    if top <= 0.0 or len(power) < 5:
        raise InconclusiveError(
            f"{scan.file}: {len(power)} points up to {top:.3g} W; a saturation scan needs at least "
            "5 points at positive power"
        )
    net = light.counts / dwell - dark_count_rate_Hz
    height = float(net.max())

    def rate(v: Values, at: Array, law: Pumping = pumping) -> Array:
        at = moved_W(np.maximum(at - v.get("zero", 0.0), 0.0), v, power_gain, meter)
        dot = v["rate"] * filling(at, v["power"], law)
        steady = v.get("steady", 0.0) + dark_count_rate_Hz
        return dot + v["background"] * at / top + steady

    def expected(v: Values, law: Pumping = pumping) -> Array:
        return np.maximum(dwell * rate(v, power, law), 1e-9)

    def weights(v: Values, noise: float, law: Pumping = pumping) -> Array:
        mean = expected(v, law)
        below, above = np.maximum(power - 1e-4 * top, 0.0), power + 1e-4 * top
        slope = (rate(v, above, law) - rate(v, below, law)) / (above - below)
        from_power = (dwell * slope * reading_u_rel * power) ** 2
        return fano(mean, light, pulses, dead_pulses) + from_power / mean + noise**2 * mean

    knee = float(np.min(power[net > 0.63 * height])) if height > 0.0 else top
    free = {
        "power": FitParameter(max(knee, 1e-3 * top), max(knee, 1e-3 * top), low=1e-6 * top),
        "rate": FitParameter(height, height, low=0.0),
        "background": FitParameter(0.01 * height, 0.01 * height),
    }
    if height <= 0.0:
        raise InconclusiveError(f"{scan.file}: the counts do not rise with the pump power")

    def residuals(v: Values, held: Array, law: Pumping = pumping) -> Array:
        return deviance_residuals(light.counts, expected(v, law), held)

    known = meter_constraints(scan, meter)
    free |= {name: FitParameter(0.0, of_meter.u) for name, of_meter in known.items()}
    plain, noise = fit_with_excess_noise(_LABEL, free, residuals, weights, known)
    v = plain.as_dict()
    simplest = Candidate("meter without offset", plain, noise, weights(v, noise) * expected(v))
    of_zero = zero_prior(top)
    near = {n: replace(f, start=plain[n]) for n, f in free.items()}
    offset = {"zero": FitParameter(0.0, of_zero.u, high=0.9 * float(power.max()))}
    steady = {"steady": FitParameter(max(float(net.min()), 1e-3 * height), height, low=0.0)}

    def rival(
        name: str, of: Mapping[str, FitParameter], law: Pumping = pumping
    ) -> Candidate | None:
        return fit_candidate(
            name,
            _LABEL,
            of,
            lambda v, held: residuals(v, held, law),
            lambda v, noise: weights(v, noise, law),
            lambda v: expected(v, law),
            {**known, **({"zero": of_zero} if "zero" in of else {})},
        )

    choice = choose(
        simplest,
        {
            "meter zero": rival("meter zero", near | offset),
            "steady background": rival("steady background", near | steady),
        },
    )
    other: Pumping = "continuous" if pumping == "pulsed" else "pulsed"
    of_other = [
        c for c in (rival(other, free, other), rival(other, free | offset, other)) if c is not None
    ]
    solution, noise = choice.best.solution, choice.best.noise
    v = solution.as_dict()
    fine = np.linspace(0.0, top, 1000)
    gain = gain_at(power_gain, meter, v["power"], _LABEL, linearity=False).value
    curve = Curve(
        title="Saturation",
        x_label="pump power P (W)",
        y_label="count rate, dead time removed (1/s)",
        x=gain * power,
        y=light.counts / dwell,
        u_y=np.sqrt(weights(v, noise) * expected(v)) / dwell,
        model=rate(v, power),
        residuals=-solution.residuals,
        x_line=gain * fine,
        y_line=rate(v, fine),
        quantities=("saturation_power", "saturated_rate"),
        marks=(Mark(gain * v["power"], "saturation power"),),
    )
    problems = correlated_problem(_LABEL, solution.residuals, noise)
    if of_other and choice.best.bic - min(c.bic for c in of_other) > MIN_BIC_GAIN:
        law = {"pulsed": "1 - exp(-P/P_sat)", "continuous": "P/(P + P_sat)"}
        problems += (
            f"{_LABEL}: {law[other]} describes the scan, {law[pumping]} does not: analyse it with "
            f"pumping='{other}' (--pumping {other})",
        )
    if v["background"] < -_FALLS * solution.u("background"):
        problems += (
            f"{_LABEL}: the brightness falls by {-v['background'] / v['rate']:.1%} towards the "
            "highest power, which the law of saturation does not describe: take only powers below, "
            "or allow for the detectors' dead time",
        )
    lowest = float(power[power > 0.0].min())
    if v["power"] < lowest:
        problems += (
            f"{_LABEL}: the saturation power {v['power']:.4g} W is below the lowest power of the "
            f"scan ({lowest:.4g} W): the scan does not show the rise; scan from lower power",
        )
    if v["power"] > top:
        problems += (
            f"{_LABEL}: the saturation power {v['power']:.4g} W is above the highest power of "
            f"the scan ({top:.4g} W): it is an extrapolation; scan to higher power",
        )
    fit = solution.fit(f"{pumping} saturation + b P + c, {choice.best.name}", "chi2", (curve,))
    remark = choice.remark
    if "power_zero_W" in scan.about.settings:
        remark += f"; zero of the meter read as {scan.about.settings['power_zero_W']:.3g} W"
    if "steady" in v:
        remark += f"; steady background of {v['steady']:.3g} 1/s"
    if "zero" in v:
        remark += f"; zero of the meter off by {v['zero']:.3g} W"
    others = [_estimates(c.solution, power_gain, meter, pumping, "") for c in choice.doubtful]
    estimates = [
        choice.with_doubt(e, [o[k] for o in others], _LABEL)
        for k, e in enumerate(_estimates(solution, power_gain, meter, pumping, remark))
    ]
    return Result(tuple(estimates), (fit,), problems)


def analyse_file(path: PathLike, **given: object) -> Result:
    """Fit a power scan from a CSV file.

    Parameters
    ----------
    path
        The file, see `qdchar.raw_data.read_scan`.
    **given
        As for `analyse`.
    """
    path = Path(path)
    return analyse(read_scan(path, "power_W"), **given)  # type: ignore[arg-type]


def _estimates(
    solution: FitResult,
    power_gain: Estimate,
    meter: MeterErrors | None,
    pumping: Pumping,
    remark: str,
) -> tuple[Estimate, Estimate]:
    method = f"{pumping} saturation, effective variance of the power readings{remark}"
    # A scan that ends near saturation leaves power and rate a long upper tail.
    not_normal = solution.u("power") > _MAX_U_OF_NORMAL * solution["power"]
    bounded = not_normal or solution.near_bound("power") or solution.near_bound("rate")

    def near(name: str) -> BoundedUncertainty | None:
        if not bounded:
            return None
        return bounded_uncertainty(
            solution,
            solution[name],
            {name: 1.0},
            lambda x: solution.profile_minimum(lambda _: {name: x}, {}),
            low=1e-6 * solution[name],
        )

    of_rate, of_power = near("rate"), near("power")
    rate = Estimate(
        name="saturated_rate",
        value=solution["rate"],
        method=method,
        plane="detectors",
        budget=of_rate.budget if of_rate else solution.budget({"rate": 1.0}),
        interval_68=of_rate.interval_68 if of_rate else None,
        interval_95=of_rate.interval_95 if of_rate else None,
    )
    reading = replace(rate, value=solution["power"], budget=solution.budget({"power": 1.0}))
    gain = gain_at(power_gain, meter, reading.value, _LABEL, linearity=False)
    scaled = of_power.with_scale(solution["power"], gain) if of_power else None
    return (
        Estimate(
            name="saturation_power",
            value=gain.value * reading.value,
            method=method,
            plane="power monitor",
            budget=scaled.budget
            if scaled
            else propagate([(reading, gain.value), (gain, reading.value)]),
            interval_68=scaled.interval_68 if scaled else None,
            interval_95=scaled.interval_95 if scaled else None,
        ),
        rate,
    )
