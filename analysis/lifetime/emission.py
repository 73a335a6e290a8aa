"""Time dependences of the emission after a pulse: one decay, and what labs meet instead of it.

Every one but pile-up is a sum of exponentials, some of them with a complex time,
``sum_k Re[w_k exp(-t/t_k)/t_k]``, the weights w_k such that it holds one photon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from qdchar.estimate import Contribution, Estimate

from ..models.decay import Array
from ..statistics.likelihood import FitParameter, FitResult, Values
from ..statistics.rivals import possible_gain
from .reconvolution import u_of

MIN_DOUBT = 4.0
"""Fall of the minimum for each parameter more, from which a rival's shift is an uncertainty: two
standard deviations. Rivals for which a fit leaves less room are not fitted."""

MIN_ROOM_FOR_TWO = 2.5
"""The same of a second decay: one with a third of 2000 photons leaves no more in half of all
histograms, as background looks like it, and lowers the lifetime by 8 standard uncertainties."""
_SLOWEST = 0.5
"""Slowest second decay [periods]; a slower one is taken for background."""

MOST_DECAYS = 3
_FREQUENCIES = 24
"""Beat frequencies that are compared with the residuals."""
_DELAYS = 16
"""Delays of a reflection that are compared with the residuals."""
_MOST_PILE_UP = 3.0
"""Largest mean number of photons a pulse that is considered."""

Parts = list[tuple[complex, complex]]


def decays(v: Values) -> list[tuple[float, float]]:
    """Return lifetime and share of the photons of each decay; the shares add up to 1."""
    more = [
        (v[f"lifetime_{k}"], v[f"share_{k}"])
        for k in range(2, MOST_DECAYS + 1)
        if f"share_{k}" in v
    ]
    return [(v["lifetime"], 1.0 - sum(share for _, share in more)), *more]


def mean_decay(parts: list[tuple[float, float]]) -> float:
    """Return the mean lifetime of decays, weighted with their shares of the photons."""
    return sum(t * share for t, share in parts) / sum(share for _, share in parts)


def mean_gradient(
    parts: list[tuple[float, float]], kept: list[int], lifetime: float
) -> dict[str, float]:
    """Return the derivatives of the kept decays' mean with respect to the parameters."""
    photons = sum(parts[i][1] for i in kept)
    per_share = [
        (parts[i][0] - lifetime) / photons if i in kept else 0.0 for i in range(len(parts))
    ]
    gradient = {"lifetime": parts[0][1] / photons if 0 in kept else 0.0}
    for i in range(1, len(parts)):
        gradient[f"lifetime_{i + 1}"] = parts[i][1] / photons if i in kept else 0.0
        gradient[f"share_{i + 1}"] = per_share[i] - per_share[0]
    return gradient


def parts(v: Values) -> Parts:
    """Return 1/e time and weight of each exponential of the emission.

    Notes
    -----
    With ``rise``, the state is fed by another one, as an exciton by a biexciton; the rise time is
    given over the lifetime, and a share ``fed`` of the photons comes by this way. With ``beat``,
    ``exp(-t/T1) [1 + v cos(2 pi f t)]``, the fine-structure beat behind a polarizer.
    """
    if "rise" in v:
        slow, ratio = v["lifetime"], v["rise"]
        if abs(ratio - 1.0) < 1e-3:  # two equal times: next to them the difference is the same
            ratio = 1.0 - 1e-3
        fed = v.get("fed", 1.0)
        late = fed / (1.0 - ratio)
        return [(slow, 1.0 - fed + late), (ratio * slow, -ratio * late)]
    if "beat" in v:
        slow = v["lifetime"]
        turning = 1.0 / complex(1.0 / slow, -2.0 * np.pi * v["frequency"])
        photons = slow + v["beat"] * turning.real
        return [(slow, slow / photons), (turning, v["beat"] * turning / photons)]
    return [(time, share) for time, share in decays(v)]


def arrivals(v: Values) -> list[tuple[float, float]]:
    """Return delay [s] and share of the light of each way to the detector: a reflection is late."""
    if "reflected" not in v:
        return [(0.0, 1.0)]
    return [(0.0, 1.0 - v["reflected"]), (v["delay"], v["reflected"])]


def first_photons(light: Array, v: Values, begin: int) -> Array:
    """Return the light of which only the first photon of each pulse is recorded.

    Parameters
    ----------
    light
        Share of the light in each bin, shape (n,), sum 1.
    begin
        Bin at which the pulse's time begins, before its rise.

    Notes
    -----
    ``f exp(-mu F)`` with the light F that came before, on average mu photons a pulse; integrated
    over a bin, ``exp(-mu F)`` at its begin less that at its end, over mu.
    """
    mu = v.get("pile_up", 0.0)
    if mu == 0.0:
        return light
    in_order = np.roll(light, -begin)
    before = np.cumsum(in_order) - in_order
    seen = -np.exp(-mu * before) * np.expm1(-mu * in_order) / mu
    return np.asarray(np.roll(seen / seen.sum(), begin), dtype=np.float64)


def quiet_bin(histogram: Array) -> int:
    """Return a bin in the middle of the quietest eighth of the histogram."""
    width = max(len(histogram) // 8, 1)
    around = np.concatenate([histogram, histogram[:width]])
    sums = np.cumsum(np.concatenate([[0.0], around]))
    quietest = int(np.argmin(sums[width:] - sums[:-width]))
    return (quietest + width // 2) % len(histogram)


def rivals(
    one: FitResult,
    residuals: Callable[[Values], Array],
    longest_s: float,
    shortest_s: float,
) -> dict[str, dict[str, FitParameter]]:
    """Return the rivals for which a fit of one decay leaves room, with start values.

    Parameters
    ----------
    one
        Fit of one decay.
    residuals
        Of the fit, as a function that knows the rivals' parameters.
    longest_s, shortest_s
        Period, and shortest time that the detector resolves [s].
    """
    lifetime = one["lifetime"]
    shares = (0.1, 0.3, 0.7)
    frequencies = np.geomspace(0.1 / lifetime, 0.2 / shortest_s, _FREQUENCIES)

    def room(*tried: Mapping[str, float]) -> float:
        return possible_gain(one, residuals, [{**one.as_dict(), **t} for t in tried])

    found: dict[str, dict[str, FitParameter]] = {}
    if room(*({"rise": s} for s in shares)) > MIN_DOUBT:
        rise = {"rise": FitParameter(0.3, 0.1, 1e-3, 1.0)}
        found["rise"] = rise
        found["rise of a part"] = {**rise, "fed": FitParameter(0.5, 0.1, 0.0, 1.0)}
    gains = [
        room({"beat": 0.1, "frequency": f}, {"beat": -0.1, "frequency": f}) for f in frequencies
    ]
    if max(gains) > MIN_DOUBT:
        likeliest = float(frequencies[int(np.argmax(gains))])
        found["beat"] = {
            "beat": FitParameter(0.3, 0.1, -1.0, 1.0),
            "frequency": FitParameter(likeliest, 0.1 / lifetime, 0.0, 1.0 / shortest_s),
        }
    delays = np.geomspace(4.0 * shortest_s, 0.5 * longest_s, _DELAYS)
    late = [room({"reflected": 0.03, "delay": float(d)}) for d in delays]
    if max(late) > 2.0 * MIN_DOUBT:
        delay = float(delays[int(np.argmax(late))])
        found["reflection"] = {
            "reflected": FitParameter(0.03, 0.03, 0.0, 0.5),
            "delay": FitParameter(delay, shortest_s, 0.5 * delay, 2.0 * delay),
        }
    if room(*({"pile_up": s} for s in shares)) > MIN_DOUBT:
        found["pile-up"] = {"pile_up": FitParameter(0.2, 0.1, 0.0, _MOST_PILE_UP)}
    slower = [
        {"lifetime_2": f * lifetime, "share_2": s} for f in (0.3, 3.0, 8.0) for s in (0.03, 0.2)
    ]
    if room(*slower) > MIN_ROOM_FOR_TWO:
        low, high = 0.1 * shortest_s, max(_SLOWEST * longest_s, 2.0 * lifetime)
        for name, factor in (("two decays", 3.0), ("two decays, faster", 0.3)):
            start = min(factor * lifetime, 0.8 * high)
            time = FitParameter(start, lifetime, low, high)
            found[name] = {"lifetime_2": time, "share_2": FitParameter(0.2, 0.1, 0.0, 1.0)}
    return found


def doubt_of_rival(
    fall: float, more: int, shift: float, excess_variance: float, most: float
) -> float:
    """Return the standard uncertainty of type B that a rival which is not reported leaves.

    Parameters
    ----------
    fall
        By how much its minimum is below that of the reported model.
    more
        Parameters that it has more.
    shift
        Of the quantity, to the rival's value.
    excess_variance
        Variance of the rival's value less that of the reported one.
    most
        Largest root of that variance that counts: a rival that is not determined tells no more.

    Notes
    -----
    The variance about the reported value over both models, weighted by Akaike's criterion [1]_: of
    two models that predict equally well, each is right in half of the cases.

    References
    ----------
    .. [1] K. P. Burnham, D. R. Anderson, Sociol. Methods Res. 33, 261 (2004),
       doi:10.1177/0049124104268644, eq. 4
    """
    weight = 1.0 / (1.0 + math.exp(min(0.5 * (2.0 * more - fall), 700.0)))
    return math.sqrt(weight * (shift**2 + min(max(excess_variance, 0.0), most**2)))


def others_of(solution: FitResult, label: str, method: str) -> tuple[Estimate, ...]:
    """Return rise time or splitting, where the emission has one."""
    v = solution.as_dict()
    if "rise" in v:
        gradient = {"rise": v["lifetime"], "lifetime": v["rise"]}
        value, name = v["rise"] * v["lifetime"], "rise_time"
    elif "beat" in v:
        gradient, value, name = {"frequency": 1.0}, v["frequency"], "fine_structure_splitting"
    else:
        return ()
    budget = (Contribution(f"{label}, {name}", u_of(solution, gradient)),)
    return (Estimate(name=name, value=value, method=method, plane="detectors", budget=budget),)
