"""Interference fringes on a spectrum: a window or a substrate whose two faces reflect."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..statistics.likelihood import FitParameter, FitResult, Values

Array = NDArray[np.float64]

_PERIODS = 80
_SMALL = 1e-3
"""Amplitude at which the change of the residuals is taken."""
_LARGEST = 0.5
"""Largest amplitude: the two faces then reflect as one strong mirror does."""


def fringes(v: Values, at: Array) -> Array:
    """Return the factor ``1 + a cos(2 pi x/p) + b sin(2 pi x/p)`` on the light; 1 without fringes.

    Parameters
    ----------
    v
        ``fringe_cos`` and ``fringe_sin`` for a and b, ``fringe_period`` for p in the unit of `at`.
    at
        Position, from a fixed point near the middle, shape (n,).
    """
    if "fringe_period" not in v:
        return np.ones_like(at)
    phase = 2.0 * math.pi * at / v["fringe_period"]
    return np.asarray(1.0 + v["fringe_cos"] * np.cos(phase) + v["fringe_sin"] * np.sin(phase))


def fringe_start(
    solution: FitResult, residuals: Callable[[Values], Array], shortest: float, longest: float
) -> tuple[Mapping[str, FitParameter], float]:
    """Return start values of fringes, and by how much they can lower the minimum to first order.

    Parameters
    ----------
    solution
        Fit without fringes.
    residuals
        Function of the values, those of fringes among them, shape (n,).
    shortest, longest
        Periods that are tried.

    Notes
    -----
    The residuals are compared with the change that fringes make, both without what the fitted
    parameters can do as well: a fit of a resonance takes a part of the fringes for its wings.
    """
    v = solution.as_dict()
    basis = np.linalg.qr(solution.jacobian / np.linalg.norm(solution.jacobian, axis=0))[0]

    def left(vector: Array) -> Array:
        return vector - basis @ (basis.T @ vector)

    at_fit = residuals(v)
    target, best, start = left(at_fit), 0.0, (0.0, 0.0, longest)
    for period in np.geomspace(shortest, longest, _PERIODS):
        change = [
            left(
                residuals(
                    {
                        **v,
                        "fringe_cos": _SMALL * (1 - k),
                        "fringe_sin": _SMALL * k,
                        "fringe_period": float(period),
                    }
                )
                - at_fit
            )
            / _SMALL
            for k in (0, 1)
        ]
        table = np.column_stack(change)
        size, *_ = np.linalg.lstsq(table, -target, rcond=1e-6)
        gain = float(target @ target - np.sum((target + table @ size) ** 2))
        if gain > best:
            best, start = gain, (float(size[0]), float(size[1]), float(period))
    limit = {"low": -_LARGEST, "high": _LARGEST}
    cos, sin = (float(np.clip(each, -0.9 * _LARGEST, 0.9 * _LARGEST)) for each in start[:2])
    return {
        "fringe_cos": FitParameter(cos, 0.01, **limit),
        "fringe_sin": FitParameter(sin, 0.01, **limit),
        "fringe_period": FitParameter(
            start[2], 0.1 * start[2], low=0.5 * shortest, high=2.0 * longest
        ),
    }, best
