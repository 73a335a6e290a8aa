"""Profile likelihood: an interval where the likelihood is not a parabola."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from scipy import optimize

from qdchar.errors import InconclusiveError

DELTA_68, DELTA_95 = 1.0, 3.84


def profile(
    label: str,
    minimum_at: Callable[[float], float],
    *,
    best: float,
    step: float,
    minimum: float,
    delta: float = DELTA_68,
    low: float = -math.inf,
    high: float = math.inf,
) -> tuple[float, float]:
    """Return where the profiled minimum has risen by `delta` on either side of `best`.

    Parameters
    ----------
    label
        Name of the fit, for messages.
    minimum_at
        Minimum over all other parameters as a function of this one.
    best, minimum
        Where the minimum is, and its value.
    step
        Expected distance for delta = 1, > 0.
    delta
        Rise at the ends: 1 for 68 %, 3.84 for 95 %.
    low, high
        Bounds; an end that would lie beyond is at the bound.

    Raises
    ------
    InconclusiveError
        If the data do not limit the parameter, or a better minimum is found during the search.
    """

    @cache  # each is a fit, and the search for a root begins at two points that are known
    def rise(x: float) -> float:
        if x == best:
            return -delta
        value = minimum_at(x) - minimum
        if value < -0.1:
            raise InconclusiveError(
                f"{label}: the fit had not found its best minimum (a better one is at {x:.6g}); "
                "check the data for outliers"
            )
        return value - delta

    def end(direction: float, bound: float) -> float:
        inner, reach = best, step * math.sqrt(delta)
        for _ in range(30):
            outer = best + direction * reach
            if direction * (outer - bound) >= 0:
                outer = bound
            if rise(outer) >= 0:
                return float(optimize.brentq(rise, inner, outer, xtol=0.01 * step))
            if outer == bound:
                return bound
            inner, reach = outer, 1.5 * reach
        raise InconclusiveError(f"{label}: the data set no limit to a parameter (best {best:.6g})")

    return end(-1.0, low), end(1.0, high)
