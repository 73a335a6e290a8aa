"""Derivatives of a model by differences, from one call for all points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEP = float(np.finfo(np.float64).eps) ** (1.0 / 3.0)
"""Step of central differences, relative to values above 1: where the errors by rounding and by the
third derivative are about the same."""


def central_differences(
    function: Callable[[Array], Array], x: Array, low: Array, high: Array
) -> Array:
    """Return the Jacobian, shape (n, p), from one call of a function of several points.

    Parameters
    ----------
    function
        Of k points, shape (k, p); returns shape (k, n).
    x, low, high
        Point and its bounds, shape (p,) each. Where a bound is nearer than a step, the differences
        are on its other side, of second order as well.
    """
    step = np.minimum(_STEP * np.maximum(1.0, np.abs(x)), (high - low) / 4.0)
    central = (x - step >= low) & (x + step <= high)
    inward = np.where(high - x >= x - low, step, -step)
    points = [x + np.diag(np.where(central, -step, inward))]
    points.append(x + np.diag(np.where(central, step, 2.0 * inward)))
    here, *moved = np.split(function(np.vstack([x, *points])), [1, 1 + len(x)])
    one, two = moved
    slopes = np.where(central[:, None], two - one, 4.0 * one - 3.0 * here - two)
    return np.asarray((slopes / (2.0 * np.where(central, step, inward))[:, None]).T)
