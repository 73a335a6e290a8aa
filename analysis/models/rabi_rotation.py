"""Rabi rotation of a pulsed two-level emitter: excitation, its brightest power, re-excitation."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

Array = NDArray[np.float64]


@lru_cache(maxsize=1)
def _reexcitation_table() -> tuple[Array, Array]:
    """Return pulse areas up to 110 rad and the integral of `reexcitation`, relative to theta = pi.

    In steps fine enough to interpolate linearly to 1e-4; beyond, it fluctuates little.
    """
    area = np.arange(0.0, 110.0, 0.02)
    # share of a Gaussian pulse's area that has passed, against time in its standard deviations
    passed = special.ndtr(np.linspace(-6.0, 6.0, 121))
    before = np.sin(0.5 * area[:, None] * passed)
    after = np.sin(0.5 * area[:, None] * (1.0 - passed))
    integral = np.sum((before * after) ** 2, axis=1)
    return area, integral / np.interp(np.pi, area, integral)


def excitation(
    power: ArrayLike, pi_power: ArrayLike, damping: float, exponent: ArrayLike = 2.0
) -> Array:
    """Return the probability that a pump pulse leaves the dot excited.

    ``[1 - exp(-k theta^2) cos theta]/2`` with the pulse area ``theta = pi sqrt(P/P_pi)``.

    Parameters
    ----------
    power, pi_power
        Pump power and the power of a pi pulse, in one unit, of shapes that broadcast.
    damping
        k, excitation-induced dephasing by phonons, whose rate goes as the square of the Rabi
        frequency [1]_.
    exponent
        Of another dephasing, ``exp(-k pi^2 (theta/pi)^exponent)``: 1 for one that goes as the Rabi
        frequency itself.

    References
    ----------
    .. [1] A. J. Ramsay et al., Phys. Rev. Lett. 104, 017402 (2010),
       doi:10.1103/PhysRevLett.104.017402

    Examples
    --------
    >>> excitation([0.0, 10.0], 10.0, 0.012).round(3)
    array([0.   , 0.944])
    """
    theta2 = np.pi**2 * np.asarray(power, dtype=np.float64) / np.asarray(pi_power)
    left = theta2
    if np.any(np.not_equal(exponent, 2.0)):
        left = np.pi**2 * (theta2 / np.pi**2) ** (0.5 * np.asarray(exponent))
    swing = np.exp(-damping * left) * np.cos(np.sqrt(theta2))
    return np.asarray((1.0 - swing) / 2.0, dtype=np.float64)


def brightest(damping: float, exponent: float = 2.0) -> float:
    """Return P_max/P_pi: the first maximum of `excitation` lies below the pi pulse.

    It solves tan(theta) = -2 k theta in (pi/2, pi], for an exponent s of the dephasing other than
    2 ``tan(theta) = -k s pi (theta/pi)^(s - 1)``.

    Examples
    --------
    >>> round(brightest(0.012), 3)
    0.954
    """
    if damping < 1e-12:
        return 1.0
    strength = damping * exponent * math.pi
    theta = optimize.brentq(
        lambda t: math.sin(t) + strength * (t / math.pi) ** (exponent - 1.0) * math.cos(t),
        math.pi / 2.0,
        math.pi,
    )
    return float((theta / math.pi) ** 2)


def brightest_slope(damping: float) -> float:
    """Return the derivative of `brightest` by k at exponent 2, from the implicit function."""
    t, k = math.pi * math.sqrt(brightest(damping)), damping
    change_t = math.cos(t) + 2.0 * k * (math.cos(t) - t * math.sin(t))
    dt_dk = -2.0 * t * math.cos(t) / change_t
    return 2.0 * t / math.pi**2 * dt_dk


def reexcitation(power: ArrayLike, pi_power: float) -> Array:
    """Return the probability of a second photon from one pulse, relative to that at the pi power.

    A dot that has been rotated by a part theta' of the pulse emits at once with a probability in
    proportion to ``sin^2(theta'/2)``, and is excited again by the rest of it with
    ``sin^2((theta - theta')/2)``; integrated over a Gaussian pulse that is short against the
    lifetime.

    Parameters
    ----------
    power
        Pump power, shape (n,).
    pi_power
        Power of a pi pulse, in the same unit.

    Examples
    --------
    >>> reexcitation([0.0, 1.0], 1.0)
    array([0., 1.])
    """
    theta = np.pi * np.sqrt(np.asarray(power, dtype=np.float64) / pi_power)
    return np.asarray(np.interp(theta, *_reexcitation_table()), dtype=np.float64)
