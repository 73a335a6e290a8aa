"""Resonance of a cavity in a scan: one mode, two of one width, or one that the light shifts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..statistics.likelihood import FitParameter, FitResult, Values
from ..statistics.rivals import MIN_POSSIBLE_GAIN, possible_gain
from .find_peaks import Peak
from .lineshapes import lorentzian

Array = NDArray[np.float64]

_LEAST_FINESSE = 6.0
"""Peaks nearer than so many widths are modes of one order, not orders."""
_MOST_SHIFT = 0.6
"""Largest thermal shift [widths]: from 0.77 on, a scan jumps at one end of the resonance."""
_LEAST_SPLITTING = 0.4
"""Splitting of two modes that a scan resolves [widths]. Creep and vibration of a piezo distort a
single mode as a smaller one would."""
_ITERATIONS = 60


def one_an_order(peaks: Sequence[Peak]) -> list[Peak]:
    """Return the highest of each group of peaks that are nearer than orders of a cavity are."""
    kept: list[Peak] = []
    for peak in peaks:
        near = kept and peak.centre - kept[-1].centre < _LEAST_FINESSE * max(
            peak.fwhm, kept[-1].fwhm
        )
        if not near:
            kept.append(peak)
        elif peak.height > kept[-1].height:
            kept[-1] = peak
    return kept


def resonance(v: Values, volts: Array) -> Array:
    """Return the light of a resonance, 1 at the top of a single mode.

    Parameters
    ----------
    v
        ``centre`` and ``fwhm``; for two modes ``splitting`` and ``second_share``; for a thermal
        shift ``shift``, by how much full light moves the resonance, in widths.
    volts
        Shape (n,) [V].

    Notes
    -----
    With a thermal shift s, the light is the root L of ``L = 1/(1 + 4 (x - s L)^2)``, x from the
    resonance of the dark cavity, in widths.
    """
    if "splitting" in v:
        share, second = v["second_share"], v["centre"] + v["splitting"]
        light = (1.0 - share) * lorentzian(volts, v["centre"], v["fwhm"])
        return np.asarray(light + share * lorentzian(volts, second, v["fwhm"]))
    if "shift" not in v:
        return lorentzian(volts, v["centre"], v["fwhm"])
    x = (volts - v["centre"]) / v["fwhm"]
    light = 1.0 / (1.0 + 4.0 * x**2)
    for _ in range(_ITERATIONS):
        light = 0.5 * light + 0.5 / (1.0 + 4.0 * (x - v["shift"] * light) ** 2)
    return np.asarray(light, dtype=np.float64)


def rivals_of_one(
    one: FitResult, residuals: Callable[[Values], Array]
) -> dict[str, list[dict[str, FitParameter]]]:
    """Return the rivals of one mode for which its fit leaves room, with sets of start values.

    Parameters
    ----------
    one
        Fit of one mode.
    residuals
        Of the fit, as a function that knows the rivals' parameters.
    """
    v, width = one.as_dict(), one["fwhm"]

    def two(apart: float, share: float, narrower: float) -> dict[str, float]:
        return {
            "centre": v["centre"] - share * apart * width,
            "fwhm": narrower * width,
            "splitting": apart * width,
            "second_share": share,
        }

    pairs = [
        two(apart, share, narrower)
        for apart, narrower in ((0.5, 0.9), (0.6, 0.7), (0.7, 0.5), (1.5, 1.0), (-1.5, 1.0))
        for share in (0.2, 0.5, 0.8)
    ]
    found: dict[str, list[dict[str, FitParameter]]] = {}
    if possible_gain(one, residuals, [{**v, **pair} for pair in pairs]) > MIN_POSSIBLE_GAIN:
        found["two modes"] = [
            {
                "centre": FitParameter(start["centre"], width),
                "fwhm": FitParameter(start["fwhm"], width, low=0.02 * width),
                "splitting": FitParameter(start["splitting"], width),
                "second_share": FitParameter(start["second_share"], 0.1, 0.0, 1.0),
            }
            for start in (two(0.6, 0.5, 0.7), two(0.7, 0.4, 0.5), two(1.5, 0.4, 1.0))
        ]
    shifts = [{**v, "shift": s} for s in (-0.2, 0.2)]
    if possible_gain(one, residuals, shifts) > MIN_POSSIBLE_GAIN:
        found["thermal shift"] = [
            {"shift": FitParameter(s, 0.1, -_MOST_SHIFT, _MOST_SHIFT)} for s in (-0.1, 0.1)
        ]
    return found


def is_unresolved(solution: FitResult) -> bool:
    """Whether these are two modes so near to each other that one distorted mode looks the same."""
    v = solution.as_dict()
    return "splitting" in v and abs(v["splitting"]) < _LEAST_SPLITTING * v["fwhm"]


def shape_problem(label: str, solution: FitResult) -> tuple[str, ...]:
    """Say so where the resonance is not one mode of an empty cavity."""
    v = solution.as_dict()
    if "splitting" in v:
        share = v["second_share"]
        return (
            f"{label}: two modes, {abs(v['splitting']):.3g} V apart, with {1.0 - share:.0%} and "
            f"{share:.0%} of the light: the width is that of each mode, and the resonance that of "
            "the first. Select one polarization, and repeat",
        )
    if "shift" in v:
        return (
            f"{label}: the resonance follows the light in the cavity by {v['shift']:.2g} of its "
            "width (thermal shift), so that it depends on power and direction of the scan: the "
            "width is that of the dark cavity. Attenuate, and repeat",
        )
    return ()
