"""Rival model of the etalon scan: two lines of one width, where one line would seem wide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Estimate, Uncertain, propagate

from ..models.lineshapes import airy_voigt, voigt_parts
from ..statistics.likelihood import FitParameter, FitResult, Values
from ..statistics.rivals import MIN_POSSIBLE_GAIN, Candidate, fit_candidate, possible_gain
from .scan_model import LABEL, line_places

Array = NDArray[np.float64]

_LEAST_SIGNIFICANCE = 3.0
"""Standard uncertainties by which the splitting and both shares of two lines exceed zero."""
_LEAST_SHARE = 0.02
"""Share of the light of a line that counts: leaked laser light, which is broad, may look like a
fainter one, and widths change by less than that."""


def fit_two_lines(
    simplest: Candidate,
    free: Mapping[str, FitParameter],
    residuals: Callable[[Values, Array], Array],
    weights: Callable[[Values, float], Array],
    expected: Callable[[Values], Array],
    constraints: Mapping[str, Uncertain],
) -> Candidate | None:
    """Fit two lines of one width; None if they are not two.

    Parameters
    ----------
    simplest
        One line.
    free, residuals, weights, expected, constraints
        As for `qdchar.analysis.statistics.rivals.fit_candidate`.
    """
    one, v = simplest.solution, simplest.solution.as_dict()
    held = weights(v, simplest.noise)
    rivals = [
        {"line": width * one["line"], "splitting": apart * one["line"], "second_share": share}
        for width, apart in ((1.0, 0.4), (0.8, 0.5), (0.5, 0.6), (0.8, 0.9), (1.0, 2.0))
        for share in (0.15, 0.5, 0.85)
    ]
    # Excess noise may be the misfit of one line: two lines then lower the minimum at that noise.
    if possible_gain(one, lambda v: residuals(v, held), rivals) < MIN_POSSIBLE_GAIN:
        return None
    tries = []
    for share, apart, width in ((0.5, 0.6, 0.5), (0.25, 0.9, 0.7), (0.75, 0.9, 0.7)):
        start = {n: replace(f, start=one[n]) for n, f in free.items()}
        start["line"] = replace(start["line"], start=width * one["line"])
        start["lorentz_share"] = replace(start["lorentz_share"], start=0.6)
        start["splitting"] = FitParameter(apart * one["line"], 0.1 * one["line"], low=0.0, high=0.5)
        start["second_share"] = FitParameter(share, 0.1, low=0.0, high=1.0)
        tries.append(
            fit_candidate("two lines", LABEL, start, residuals, weights, expected, constraints)
        )
    found = [c for c in tries if c is not None and _are_two(c.solution)]
    return min(found, key=lambda c: c.bic, default=None)


def _are_two(solution: FitResult) -> bool:
    share = solution["second_share"]
    least = _LEAST_SIGNIFICANCE
    return solution["splitting"] > least * solution.u("splitting") and min(
        share, 1.0 - share
    ) > max(_LEAST_SHARE, least * solution.u("second_share"))


def splitting(solution: FitResult, fsr: Estimate, remark: str) -> tuple[Estimate, ...]:
    """Return the distance of the two lines; nothing if there is one.

    Parameters
    ----------
    fsr
        Free spectral range [Hz].
    remark
        For the method: which models were tried.
    """
    if "splitting" not in solution.names:
        return ()
    apart = solution["splitting"]
    orders = Uncertain(apart, solution.budget({"splitting": 1.0}))
    return (
        Estimate(
            name="line_splitting",
            value=apart * fsr.value,
            method=f"two lines of one width in the etalon scan{remark}",
            plane="before the etalon",
            budget=propagate([(orders, fsr.value), (fsr, apart)]),
        ),
    )


def two_lines_problem(solution: FitResult, fsr: Estimate) -> tuple[str, ...]:
    """Report two lines: what follows from the linewidth assumes one."""
    if "splitting" not in solution.names:
        return ()
    apart = solution["splitting"] * fsr.value * 1e-9
    u = solution.u("splitting") * fsr.value * 1e-9
    share = solution["second_share"]
    return (
        f"{LABEL}: two lines, {apart:.2f} +- {u:.2f} GHz apart, with {1.0 - share:.0%} and "
        f"{share:.0%} of the light: the widths are those of each line, and the etalon's "
        "transmission cannot be predicted from one line. Select one with the polarizer or the "
        "filter, and repeat",
    )


def brightest_place(v: Values) -> float:
    """Return where the transmission of the source is highest, from the lines' centre [orders]."""
    if "splitting" not in v:
        return 0.0
    low, high = line_places(v)
    grid = np.linspace(low, high, 401)
    lorentz, gauss = voigt_parts(v["line"], v["lorentz_share"])
    shape = (1.0 - v["second_share"]) * airy_voigt(grid - low, v["etalon"], lorentz, gauss)
    shape += v["second_share"] * airy_voigt(grid - high, v["etalon"], lorentz, gauss)
    return float(grid[np.argmax(shape)])
