"""Results of the fit of a dip under continuous excitation: quantities, intervals, drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Contribution, Estimate, merge
from qdchar.fit import Curve, Fit, runs_p_value

from ..statistics.intervals import Interval, scaled_interval, widen
from ..statistics.likelihood import DELTA_68, DELTA_95, FitResult, Values
from ..statistics.model_criticism import MIN_P_VALUE, grouped_deviance, lag_one
from ..statistics.profile import profile
from .dip_model import Dip

Array = NDArray[np.float64]

_MAX_RESPONSE = 2.0
"""Response, rms over the dip's time, above which g2(0) depends on how well it is known."""
_MAX_BUNCHING = 0.9
"""Time of the bunching, over the histogram's half range, above which the level is not seen."""


@dataclass(frozen=True)
class DipFit:
    """The fit of a dip, the excess scatter of its time blocks, and what else the results need.

    `doubt` is the shift of g2(0) to a rival that is about as good, `tried` says which.
    `response_doubt` are shifts of the parameters by a tail of the response, of one standard
    uncertainty.
    """

    solution: FitResult
    wider: Mapping[str, float]
    label: str
    sigma_s: float
    pairs: int
    deconvolved: bool
    doubt: float = 0.0
    tried: str = ""
    response_doubt: Mapping[str, float] = field(default_factory=dict)

    def budget(self, sensitivity: Mapping[str, float]) -> tuple[Contribution, ...]:
        """Return the budget of a quantity, including the excess scatter of the blocks."""
        total = self.solution.budget(sensitivity)
        factor = max([1.0, *(self.wider[n] for n in sensitivity)])
        excess = math.sqrt((factor**2 - 1.0) * sum(c.u**2 for c in total))
        # one source for all parameters: one tail moves them together
        tail = sum(slope * self.response_doubt.get(n, 0.0) for n, slope in sensitivity.items())
        more = []
        if excess != 0.0:
            more.append(Contribution(f"scatter of time blocks, {self.label}", excess))
        if tail != 0.0:
            more.append(Contribution(f"tail of the response, {self.label}", abs(tail), "B"))
        return merge([*total, *more]) if more else total

    def interval(self, delta: float) -> Interval:
        """Return the profile interval of g2(0), between 0 and 1."""
        s, best = self.solution, max(self.solution["g2"], 0.0)

        def minimum_at(g2: float) -> float:
            return s.profile_minimum(lambda _: {"g2": g2}, {})

        interval = profile(
            s.label,
            minimum_at,
            best=best,
            step=s.u("g2"),
            minimum=s.minimum if s["g2"] >= 0.0 else minimum_at(0.0),
            delta=delta * s.birge_ratio**2,
            low=0.0,
            high=1.0,
        )
        low, high = scaled_interval(best, interval, max(1.0, self.wider["g2"]))
        tail = self.response_doubt.get("g2", 0.0)
        low, high = widen(best, (low, high), math.sqrt(delta), math.hypot(self.doubt, tail))
        return max(low, 0.0), min(high, 1.0)


def quantities_of(
    found: DipFit, dip: Callable[[Values], Dip], delay_s: float | None
) -> Iterator[Estimate]:
    """Yield the quantities that a fit of the dip gives, with their uncertainties."""
    s = found.solution
    v = s.as_dict()
    levels = "three" if "rise" in v else "strongly driven two" if "rabi" in v else "two"
    without = "response removed" if found.deconvolved else "response not removed"
    method = f"Poisson fit of a {levels}-level emitter to {found.pairs} pairs, {without}"
    method += found.tried

    def of_fit(
        name: str,
        value: float,
        sensitivity: Mapping[str, float],
        bounded: bool = False,
    ) -> Estimate:
        return Estimate(
            name=name,
            value=value,
            method=method,
            plane="detectors",
            budget=found.budget(sensitivity),
            interval_68=found.interval(DELTA_68) if bounded else None,
            interval_95=found.interval(DELTA_95) if bounded else None,
        )

    zero = of_fit("g2_zero", v["g2"], {"g2": 1.0}, bounded=True)
    if found.doubt > 0.0:
        zero = zero.with_contribution(f"{s.label}, choice of model", found.doubt)
    yield zero

    def bottom(values: Values) -> float:
        return dip(values).bottom(values.get("sigma", found.sigma_s))

    yield of_fit(
        "g2_zero_dip",
        bottom(v),
        _gradient(bottom, s),
    )
    yield of_fit("antibunching_time", v["time"], {"time": 1.0})
    if "rabi" in v:
        yield of_fit("rabi_frequency", v["rabi"], {"rabi": 1.0})
    if "rise" in v:

        def bunching(values: Values) -> float:
            return dip(values).bunching

        yield of_fit("bunching_amplitude", bunching(v), _gradient(bunching, s))

        def slow(values: Values) -> float:
            return dip(values).bunching_time_s

        yield of_fit("bunching_time", slow(v), _gradient(slow, s))
    if delay_s is None:
        yield of_fit("electronic_delay", v["delay"], {"delay": 1.0})


def _gradient(function: Callable[[Values], float], s: FitResult) -> dict[str, float]:
    """Differentiate a quantity with respect to the parameters, by central differences."""
    values, slopes = s.as_dict(), {}
    for name, value in values.items():
        step = min(0.01 * s.u(name), 1e-3 * abs(value) or math.inf)
        above, below = ({**values, name: value + sign * step} for sign in (1.0, -1.0))
        slopes[name] = (function(above) - function(below)) / (2.0 * step)
    return {name: slope for name, slope in slopes.items() if slope != 0.0}


def time_averaged(found: DipFit, g2: Estimate, independent: float) -> Iterator[Estimate]:
    """Yield the quantities that are normalised to the count rates instead of the level."""
    level = found.solution["level"] / independent
    yield replace(
        g2,
        name="g2_zero_time_averaged",
        value=g2.value * level,
        budget=found.budget({"g2": level, "level": g2.value / independent}),
        interval_68=_times(level, g2.interval_68),
        interval_95=_times(level, g2.interval_95),
    )
    yield Estimate(
        name="blinking_amplitude",
        value=level - 1.0,
        method="level over singles products of time blocks",
        plane="detectors",
        budget=found.budget({"level": 1.0 / independent}),
    )


def _times(factor: float, interval: Interval | None) -> Interval | None:
    return None if interval is None else (factor * interval[0], factor * interval[1])


def problems_of(found: DipFit, counts: Array, expected: Array, edges: Array) -> tuple[str, ...]:
    """Return the problems of a fit of the dip."""
    s = found.solution
    v = s.as_dict()
    reach = 0.5 * float(edges[-1] - edges[0])
    problems = []
    group = grouped_deviance(counts, expected, len(s.names))
    correlation, p_correlation = lag_one(group.residuals)
    runs = runs_p_value(group.residuals)
    if min(group.p_value, p_correlation, runs) < MIN_P_VALUE:
        problems.append(
            f"{s.label}: the model does not describe the histogram (deviance {group.deviance:.0f} "
            f"for {group.dof} degrees of freedom, correlation of neighbours {correlation:.2f}, "
            f"runs test p = {runs:.1g}): does the emitter oscillate under strong driving, is the "
            "response not Gaussian, was the counting start-stop, or are there several emitters?"
        )
    if found.deconvolved and v.get("sigma", found.sigma_s) > _MAX_RESPONSE * v["time"]:
        problems.append(
            f"{s.label}: the response of the pair, {found.sigma_s * 1e12:.0f} ps rms, is far wider "
            f"than the dip of {v['time'] * 1e12:.0f} ps: g2(0) depends on how well it is known"
        )
    if v["time"] * v.get("slower", 0.0) > _MAX_BUNCHING * reach:
        problems.append(
            f"{s.label}: the bunching is longer than the histogram of +- {reach * 1e9:.4g} ns: the "
            "level is an extrapolation; use a wider range"
        )
    return tuple(problems)


def fit_to_draw(solution: FitResult, edges: Array, counts: Array, expected: Array) -> Fit:
    """Return the fit of the dip with the curve to draw."""
    x = np.asarray((edges[:-1] + edges[1:]) / 2 * 1e9, dtype=np.float64)
    level = solution["level"]
    curve = Curve(
        title="Second-order correlation, continuous excitation",
        x_label="delay τ (ns)",
        y_label="coincidences over the level",
        x=x,
        y=counts / level,
        u_y=np.sqrt(counts + 0.5) / level,
        model=expected / level,
        residuals=-solution.residuals,
        x_line=x,
        y_line=expected / level,
        kind="histogram",
        data_label="coincidences",
        quantities=("g2_zero", "antibunching_time"),
    )
    return solution.fit("driven emitter with the response of the pair", "deviance", (curve,))
