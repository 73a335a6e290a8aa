"""Reflectivity spectrum of a cavity: resonance, linewidth and quality factor from its dip."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants, special, stats

from qdchar.errors import InconclusiveError, RecordError, UsageError
from qdchar.estimate import Estimate, Uncertain, propagate
from qdchar.files import PathLike
from qdchar.fit import Curve, Result
from qdchar.text_table import read_text_table, unit_of

from .models.find_peaks import find_peaks
from .models.fringes import fringe_start, fringes
from .statistics.excess_noise import fit_with_excess_noise
from .statistics.intervals import K_95, Interval, widen
from .statistics.likelihood import (
    DELTA_68,
    DELTA_95,
    FitParameter,
    FitResult,
    Values,
    deviance_residuals,
    minimise_reweighted,
)
from .statistics.model_criticism import MIN_P_VALUE, correlated_problem
from .statistics.rivals import (
    MIN_BIC_GAIN,
    MIN_POSSIBLE_GAIN,
    Candidate,
    choose,
    fit_candidate,
    possible_gain,
)

Array = NDArray[np.float64]

_LABEL = "reflectivity dip"
_METHOD = "Lorentz dip with a dispersive part on a quadratic background"
_LEAST_SPLITTING = 0.2
"""Least distance of two modes that are told apart [widths]."""
_DIP = 1.0
"""Half width of the dip, for the comparison of residuals [full widths at half maximum]."""
_FWHM_PER_SIGMA = math.sqrt(8.0 * math.log(2.0))
_BROADENED = "Gaussian response"
_LONGEST_FRINGE = 1.5
"""Longest period of fringes [ranges of the fit]; the quadratic background describes longer ones."""
_HALF_RANGE = 5.0
"""Half range of the fit [widths of the dip]: it needs the wings, not the far background."""


def analyse(
    point: ArrayLike,
    counts: ArrayLike,
    *,
    dispersion: Uncertain,
    wavelength_m: float,
    at_point: float,
) -> Result:
    """Fit the dip that a cavity's resonance makes in the light reflected from it.

    Parameters
    ----------
    point
        Number of each pixel, shape (n,).
    counts
        Counts of the camera at each pixel, shape (n,).
    dispersion
        Change of the wavelength from one pixel to the next; negative where it decreases [m].
    wavelength_m
        Vacuum wavelength at one pixel [m].
    at_point
        Number of that pixel.

    Returns
    -------
    Result
        ``cavity_quality_factor`` with its intervals, ``cavity_fwhm`` [Hz],
        ``cavity_fwhm_wavelength`` and ``cavity_wavelength`` [m], ``reflectivity_contrast``.

    Raises
    ------
    InconclusiveError
        If there is no dip, or the spectrum does not determine it.

    Notes
    -----
    ``B(x) [1 - (C - a u)/(1 + u^2)]``, ``u = 2 (x - x0)/w``: light reflected directly interferes
    with that from the mode; an imperfect mode match gives the dispersive part a. B is quadratic.

    Fringes and unequal pixels of a camera are a noise proportional to the light. Its size is
    estimated from the scatter about the fit. Fringes correlate neighbouring points: n points with a
    correlation r are equivalent to n (1 - r)/(1 + r) points, and the errors are increased
    accordingly.

    Rival models are fitted as well: two modes of one width, as the two polarisations of a cavity
    are, the same form twice at two centres (the wavelength is then that of the deeper dip);
    sinusoidal fringes on the background, as a window makes; and a dip behind a Gaussian response,
    which is a problem, because the width then depends on the shape alone. One is reported where the
    Bayesian information criterion of the equivalent number of points favours it, see
    `qdchar.analysis.statistics.rivals`. Where one describes the spectrum about as well, the shift
    to it is an uncertainty of type B.

    The width is as measured: a known resolution of the spectrometer is not removed.
    """
    x, y = np.asarray(point, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 20 or np.any(y < 0):
        raise RecordError(
            f"{_LABEL}: at least 20 points with counts >= 0 are needed; got "
            f"shapes {x.shape} and {y.shape}"
        )
    near, free = _start(x, y)
    x, y = x[near], y[near]
    middle, half = float(x.mean()), float(np.ptp(x)) / 2.0

    def background(v: Values, at: Array) -> Array:
        t = (at - middle) / half
        smooth = v["level"] * (1.0 + v["slope"] * t + v["bend"] * t**2)
        return np.asarray(smooth * fringes(v, at - middle))

    def model(v: Values, at: Array) -> Array:
        even, odd = _resonance(v, at - v["centre"])
        dip = v["contrast"] * even - v["asymmetry"] * odd
        if "splitting" in v:
            even, odd = _resonance(v, at - v["centre"] - v["splitting"])
            dip += v["second_contrast"] * even - v["second_asymmetry"] * odd
        return np.maximum(background(v, at) * (1.0 - dip), 1e-9)

    def residuals(v: Values, held: Array) -> Array:
        return deviance_residuals(y, model(v, x), held)

    def weights(v: Values, noise: float) -> Array:
        return 1.0 + noise**2 * model(v, x)

    one, noise = fit_with_excess_noise(_LABEL, free, residuals, weights)
    at_one = one.as_dict()
    simplest = Candidate("one mode", one, noise, weights(at_one, noise) * model(at_one, x))
    two = _two_modes(simplest, free, residuals, weights, lambda v: model(v, x))
    of_fringes, possible = fringe_start(
        one,
        lambda v: residuals(v, weights(at_one, noise)),
        one["fwhm"],
        _LONGEST_FRINGE * float(np.ptp(x)),
    )
    near_one = {n: replace(f, start=one[n]) for n, f in free.items()}
    with_fringes = None
    if possible > MIN_POSSIBLE_GAIN:
        with_fringes = fit_candidate(
            "fringes",
            _LABEL,
            {**near_one, **of_fringes},
            residuals,
            weights,
            lambda v: model(v, x),
        )
    of_response = {
        "response": FitParameter(0.5 * one["fwhm"], 0.1 * one["fwhm"], low=0.0),
        "fwhm": replace(free["fwhm"], start=0.7 * one["fwhm"]),
    }
    broadened = fit_candidate(
        _BROADENED,
        _LABEL,
        near_one | of_response,
        residuals,
        weights,
        lambda v: model(v, x),
    )
    choice = choose(simplest, {"two modes": two, "fringes": with_fringes, _BROADENED: broadened})
    if choice.best is not simplest:
        # correlated residuals are worth fewer points
        best = choice.best
        gain = (simplest.bic - best.bic) / _widening(best.solution.residuals) ** 2
        if gain < MIN_BIC_GAIN:
            choice = replace(choice, best=simplest, doubtful=(best,) if gain > 0.0 else ())
    alone, noise = choice.best.solution, choice.best.noise
    further = {**_second(alone), **of_fringes, **of_response}
    free = {**free, **{n: f for n, f in further.items() if n in alone.names}}
    widened = _widening(alone.residuals)
    solution = minimise_reweighted(
        _LABEL,
        {n: replace(f, start=alone[n]) for n, f in free.items()},
        residuals,
        lambda v: widened**2 * weights(v, noise),
    )
    method = f"{_METHOD}; noise of {noise:.2g} from the scatter{choice.remark}"
    if "fringe_period" in solution.names:
        nm = abs(solution["fringe_period"] * dispersion.value) * 1e9
        size = math.hypot(solution["fringe_cos"], solution["fringe_sin"])
        method += f"; fringes of {size:.1%} every {nm:.3g} nm"
    if "splitting" in solution.names:
        nm = abs(solution["splitting"] * dispersion.value) * 1e9
        method += f"; the second mode is {nm:.3g} nm away"
    if widened > 1.0:
        method += f", errors times {widened:.2g} because neighbouring points are correlated"
    v = solution.as_dict()
    fine = np.linspace(x.min(), x.max(), 1000)

    def nanometres(at: Array) -> Array:
        return (wavelength_m + (at - at_point) * dispersion.value) * 1e9

    curve = Curve(
        title="Reflectivity of the cavity",
        x_label="vacuum wavelength (nm)",
        y_label="counts",
        x=nanometres(x),
        y=y,
        u_y=np.sqrt(weights(v, noise) * model(v, x)),
        model=model(v, x),
        residuals=-alone.residuals,
        x_line=nanometres(fine),
        y_line=model(v, fine),
        quantities=("cavity_wavelength", "cavity_quality_factor"),
    )
    fit = alone.fit(_METHOD, "chi2", (curve,))
    others = [
        _estimates(c.solution, method, dispersion, wavelength_m, at_point) for c in choice.doubtful
    ]
    estimates = tuple(
        choice.with_doubt(e, [o[k] for o in others], _LABEL)
        for k, e in enumerate(_estimates(solution, method, dispersion, wavelength_m, at_point))
    )
    problems = (*alone.problems, *_misfit(alone, noise, x, widened))
    if "response" in alone.names:
        nm, u_nm = (
            1e9 * abs(dispersion.value) * e for e in (alone["response"], alone.u("response"))
        )
        problems += (
            f"{_LABEL}: the dip is a Lorentzian broadened by a Gaussian of {nm:.3g} +- {u_nm:.1g} "
            "nm full width, as by the resolution of a spectrometer, and the width is that of the "
            "Lorentzian alone. Measure the resolution with a narrow laser",
        )
    return Result(estimates, (fit,), problems)


def analyse_file(
    path: PathLike,
    *,
    dispersion: Uncertain | None = None,
    wavelength_m: float | None = None,
    at_point: float | None = None,
) -> Result:
    """Fit a spectrum from a text file of two columns, pixel and counts; see `analyse`.

    Parameters
    ----------
    path
        In any form that `qdchar.text_table` reads. Under a header such as ``wavelength_nm counts``
        the first column is the vacuum wavelength, and the axis needs no more.
    dispersion, wavelength_m, at_point
        The axis of a file that counts pixels, see `analyse`.

    Raises
    ------
    RecordError
        If the file does not hold two columns of numbers.
    UsageError
        If the wavelength axis is not known, or is given twice.
    """
    path = Path(path)
    table = read_text_table(path)
    if table.values.shape[1] != 2:
        raise RecordError(
            f"{path}: two columns, pixel and counts, are needed; there are {table.values.shape[1]}"
        )
    x = table.values[:, 0]
    unit = unit_of(table.columns[0].unit) if table.columns else None
    if unit is not None:
        if unit[0] != "m":
            raise RecordError(f"{path}: the first column is in {table.columns[0].unit}, no length")
        if any(given is not None for given in (dispersion, wavelength_m, at_point)):
            raise UsageError(f"{path} contains wavelengths: do not give an axis")
        dispersion = Uncertain(unit[1])
        wavelength_m, at_point = 0.0, 0.0
    if dispersion is None or wavelength_m is None or at_point is None:
        raise UsageError(
            f"{path} counts pixels: give its axis (wavelength at one pixel, which one, and the "
            "wavelength from pixel to pixel), or a file with the header 'wavelength_nm counts'"
        )
    return analyse(
        x,
        table.values[:, 1],
        dispersion=dispersion,
        wavelength_m=wavelength_m,
        at_point=at_point,
    )


def _resonance(v: Values, off: Array) -> tuple[Array, Array]:
    """Return ``1/(1 + u^2)`` and ``u/(1 + u^2)``, behind a Gaussian response if there is one.

    Notes
    -----
    Convolved with a Gaussian they are real and imaginary part of the Faddeeva function. It is
    divided by its value at the centre, so that the contrast is the depth that is seen.
    """
    if "response" not in v:
        u = 2.0 * off / v["fwhm"]
        return 1.0 / (1.0 + u**2), u / (1.0 + u**2)
    sigma = np.maximum(v["response"], 1e-3 * v["fwhm"]) / _FWHM_PER_SIGMA
    y = 0.5 * v["fwhm"] / (math.sqrt(2.0) * sigma)
    both = special.wofz(off / (math.sqrt(2.0) * sigma) + 1j * y) / special.erfcx(y)
    return np.asarray(both.real), np.asarray(both.imag)


def _start(x: Array, y: Array) -> tuple[NDArray[np.bool_], dict[str, FitParameter]]:
    """Find the deepest dip below a smooth background; return its surroundings and start values."""
    if not np.median(y) > 0.0:
        raise InconclusiveError(f"{_LABEL}: there is no light in the spectrum; is the lamp on?")
    t = (x - x.mean()) / (np.ptp(x) / 2.0)
    above = np.ones(len(x), dtype=bool)
    level = y
    for _ in range(10):
        level = np.polyval(np.polyfit(t[above], y[above], 2), t)
        above = y > level - 0.05 * np.median(y)
    depth = np.clip(1.0 - y / np.maximum(level, 1e-9), 0.0, None)
    dips = find_peaks(x, depth, rel_height=0.9)
    if not dips or dips[0].height < 3.0 * float(np.std(y[above] / level[above] - 1.0)):
        raise InconclusiveError(
            f"{_LABEL}: no significant dip in the spectrum; is the cavity within the range, and "
            "the lamp's light coupled to its mode?"
        )
    dip = max(dips, key=lambda d: d.height)
    near = np.abs(x - dip.centre) < _HALF_RANGE * dip.fwhm
    base = float(np.median(level[near]))
    free = {
        "centre": FitParameter(dip.centre, dip.fwhm),
        "fwhm": FitParameter(dip.fwhm, dip.fwhm, low=0.1 * float(np.median(np.abs(np.diff(x))))),
        "contrast": FitParameter(min(dip.height, 1.0), 0.1),
        "asymmetry": FitParameter(0.0, 0.1),
        "level": FitParameter(base, base, low=0.0),
        "slope": FitParameter(0.0, 0.1),
        "bend": FitParameter(0.0, 0.1),
    }
    return near, free


def _misfit(solution: FitResult, noise: float, x: Array, widened: float) -> tuple[str, ...]:
    """Report a dip that the model does not describe.

    Notes
    -----
    Fringes correlate the residuals everywhere, and the errors are increased for them. A misfit is
    at the dip: there the residuals are compared with those beside it, with the numbers of points
    that are equivalent to the correlated ones.
    """
    if noise == 0.0:
        return correlated_problem(_LABEL, solution.residuals)
    near = np.abs(x - solution["centre"]) < _DIP * solution["fwhm"]
    if "splitting" in solution.names:
        second = solution["centre"] + solution["splitting"]
        near |= np.abs(x - second) < _DIP * solution["fwhm"]
    inside, outside = solution.residuals[near] ** 2, solution.residuals[~near] ** 2
    if len(outside) < 10 or len(inside) < 10:
        return ()
    ratio = float(np.mean(inside) / np.mean(outside))
    points = len(inside) / widened**2, len(outside) / widened**2
    if stats.f.sf(ratio, *points) > MIN_P_VALUE:
        return ()
    return (
        f"{_LABEL}: the residuals in the dip are {math.sqrt(ratio):.1f} times those beside it: the "
        "model does not describe it, and a noise of the light would be everywhere. Look at the "
        "residuals: further modes, or a detector that saturates?",
    )


def _second(one: FitResult) -> dict[str, FitParameter]:
    """Return start values of a second mode."""
    width = one["fwhm"]
    return {
        "splitting": FitParameter(0.5 * width, 0.1 * width),
        "second_contrast": FitParameter(0.5 * one["contrast"], 0.1),
        "second_asymmetry": FitParameter(0.0, 0.1),
    }


def _two_modes(
    simplest: Candidate,
    free: Mapping[str, FitParameter],
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values, float], Array],
    expected: Callable[[Values], Array],
) -> Candidate | None:
    """Fit two modes of one width, from the fit of one; None if they are not two."""
    one = simplest.solution
    held = weights(one.as_dict(), simplest.noise)
    rivals = [
        {
            "fwhm": width * one["fwhm"],
            "centre": one["centre"] - share * apart * one["fwhm"],
            "contrast": (1.0 - share) * one["contrast"],
            "splitting": apart * one["fwhm"],
            "second_contrast": share * one["contrast"],
            "second_asymmetry": 0.0,
        }
        for width, apart in ((0.9, 0.4), (0.65, 0.6), (0.5, 0.9), (1.0, 1.5))
        for share in (0.15, 0.3, 0.5, 0.7, 0.85)
    ]
    if possible_gain(one, lambda v: residuals(v, held), rivals) < MIN_POSSIBLE_GAIN:
        return None
    tries = []
    for side, share in ((1.0, 0.5), (-1.0, 0.3), (1.0, 0.3)):
        apart = 0.6 * one["fwhm"]
        start = {n: replace(f, start=one[n]) for n, f in free.items()}
        start["fwhm"] = replace(start["fwhm"], start=0.65 * one["fwhm"])
        start["centre"] = replace(start["centre"], start=one["centre"] - side * share * apart)
        start["contrast"] = replace(start["contrast"], start=(1.0 - share) * one["contrast"])
        second = _second(one)
        second["splitting"] = replace(second["splitting"], start=side * apart)
        second["second_contrast"] = FitParameter(share * one["contrast"], 0.1)
        tries.append(
            fit_candidate("two modes", _LABEL, {**start, **second}, residuals, weights, expected)
        )
    found = [
        c
        for c in tries
        if c is not None
        and abs(c.solution["splitting"]) > _LEAST_SPLITTING * c.solution["fwhm"]
        and min(c.solution["contrast"], c.solution["second_contrast"])
        > 5.0 * c.solution.u("second_contrast")
    ]
    return min(found, key=lambda c: c.bic, default=None)


def _estimates(
    solution: FitResult,
    method: str,
    dispersion: Uncertain,
    wavelength_m: float,
    at_point: float,
) -> tuple[Estimate, ...]:
    def of_fit(name: str, value: float, gradient: dict[str, float]) -> Estimate:
        return Estimate(
            name=name,
            value=value,
            method=method,
            budget=solution.budget(gradient),
        )

    scale = abs(dispersion.value)
    sign = 1.0 if dispersion.value > 0 else -1.0
    pixels = Uncertain(solution["fwhm"], solution.budget({"fwhm": 1.0}))
    offset = Uncertain(solution["centre"] - at_point, solution.budget({"centre": 1.0}))
    centre = replace(
        of_fit("cavity_wavelength", wavelength_m + offset.value * dispersion.value, {}),
        budget=propagate([(offset, dispersion.value), (dispersion, offset.value)]),
    )
    width = replace(
        of_fit("cavity_fwhm_wavelength", pixels.value * scale, {}),
        budget=propagate([(pixels, scale), (dispersion, sign * pixels.value)]),
    )
    quality = centre.value / width.value
    frequency = constants.c / centre.value / quality
    budget = propagate([(centre, quality / centre.value), (width, -quality / width.value)])
    of_width = quality * pixels.u / pixels.value
    others = math.sqrt(max(sum(c.u**2 for c in budget) - of_width**2, 0.0))

    def interval(delta: float, k: float) -> Interval:
        """Take the profile of the width, and add the other, normal errors."""
        narrow, broad = solution.profile("fwhm", delta)
        alone = quality * pixels.value / broad, quality * pixels.value / narrow
        return widen(quality, alone, k, others)

    return (
        replace(
            of_fit("cavity_quality_factor", quality, {}),
            budget=budget,
            interval_68=interval(DELTA_68, 1.0),
            interval_95=interval(DELTA_95, K_95),
        ),
        replace(
            of_fit("cavity_fwhm", frequency, {}),
            budget=propagate(
                [(width, frequency / width.value), (centre, -2.0 * frequency / centre.value)]
            ),
        ),
        width,
        centre,
        of_fit("reflectivity_contrast", solution["contrast"], {"contrast": 1.0}),
    )


def _widening(residuals: Array) -> float:
    """Return the factor on errors for the correlation of neighbouring residuals, at least 1."""
    correlation = float(residuals[1:] @ residuals[:-1] / (residuals @ residuals))
    if correlation * math.sqrt(len(residuals)) < 2.0:
        return 1.0
    return math.sqrt((1.0 + correlation) / (1.0 - correlation))
