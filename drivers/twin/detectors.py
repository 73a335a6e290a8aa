"""Beam splitter and click detectors of the simulated lab: from photons per pulse to clicks.

A detector does not count the photons of a pulse: it clicks at most once per pulse, at the earliest
photon that it detects. There are sixteen cases of what a pulse can do, see `click_table`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

NOTHING, DOT, PAIR, LASER = range(4)
"""What makes a detector click in a pulse: a photon of the dot, the earlier of two, the laser."""


@dataclass(frozen=True)
class Light:
    """The light that reaches the beam splitter, at one or many times, arrays of shape (n,).

    Attributes
    ----------
    single, pair
        Probabilities that the dot sends exactly one photon, and two, per pulse.
    laser
        Mean number of laser photons per pulse, Poissonian.
    passage
        Transmission of the path for the dot's photons (`laser` is counted behind the path).
    lifetime_s
        Decay time of the dot's photons [s].
    steady_Hz
        Photons per second of continuous light.
    """

    single: Array
    pair: Array
    laser: Array
    passage: Array
    lifetime_s: Array
    steady_Hz: float = 0.0


def click_table(light: Light, eta_a: float, eta_b: float, shining: bool = True) -> Array:
    """Probabilities of what one pulse does to two detectors.

    Parameters
    ----------
    light
        At the beam splitter.
    eta_a, eta_b
        Detection efficiencies with the beam splitter's shares.
    shining
        Whether the dot emits, or is in a dark period of its blinking.

    Returns
    -------
    Array
        Shape (n, 4, 4), sums to one: by what makes A click, by what makes B click. Where a
        detector sees the laser and the dot, the laser is the earlier.
    """
    n = len(light.single)
    a, b = light.passage * eta_a, light.passage * eta_b
    undetected = 1.0 - a - b
    one = light.single if shining else np.zeros(n)
    two = light.pair if shining else np.zeros(n)
    dot = np.zeros((n, 3, 3))
    dot[:, 1, 0] = one * a + 2.0 * two * a * undetected
    dot[:, 0, 1] = one * b + 2.0 * two * b * undetected
    dot[:, 2, 0] = two * a * a
    dot[:, 0, 2] = two * b * b
    dot[:, 1, 1] = 2.0 * two * a * b
    dot[:, 0, 0] = 1.0 - dot.sum(axis=(1, 2))
    laser_a, laser_b = -np.expm1(-light.laser * eta_a), -np.expm1(-light.laser * eta_b)
    table = np.zeros((n, 4, 4))
    table[:, :3, :3] = ((1.0 - laser_a) * (1.0 - laser_b))[:, None, None] * dot
    table[:, 3, :3] = (laser_a * (1.0 - laser_b))[:, None] * dot.sum(axis=1)
    table[:, :3, 3] = ((1.0 - laser_a) * laser_b)[:, None] * dot.sum(axis=2)
    table[:, 3, 3] = laser_a * laser_b
    return table


def click_probability(light: Light, eta: ArrayLike, shining: bool = True) -> Array:
    """Probability that a detector that is not dead clicks in a pulse.

    Parameters
    ----------
    light
        At the beam splitter.
    eta
        Detection efficiency with the beam splitter's share, any shape that broadcasts.
    shining
        Whether the dot emits, or is in a dark period of its blinking.
    """
    efficiency = np.asarray(eta, dtype=np.float64)
    dark = np.exp(-light.laser * efficiency)
    if shining:
        a = light.passage * efficiency
        dark = dark * (1.0 - light.single * a - light.pair * a * (2.0 - a))
    return np.asarray(1.0 - dark)


def mean_dead_pulses(dead_time_s: float, clock_Hz: float, spread_s: ArrayLike) -> Array:
    """Mean number of pulses during which a detector is dead after a click.

    Parameters
    ----------
    dead_time_s, clock_Hz
        Hard dead time and pulse rate.
    spread_s
        Decay time of the photons [s]. The distance of two photons differs from whole periods by a
        Laplace distribution of this scale, which matters where the dead time is near one.
    """
    period_s = 1.0 / clock_Hz
    spread = np.maximum(np.asarray(spread_s, dtype=np.float64), 1e-15)[..., None]
    k = np.arange(1, int(dead_time_s * clock_Hz) + 2)
    margin = (dead_time_s - k * period_s) / spread
    tail = 0.5 * np.exp(-np.abs(margin))
    return np.asarray(np.where(margin < 0.0, tail, 1.0 - tail).sum(axis=-1))


def clicks_per_pulse(p: ArrayLike, dead_pulses: ArrayLike) -> tuple[Array, Array]:
    """Mean and variance of the clicks of one detector, per pulse, over many pulses.

    A click is followed by m `dead_pulses` and a geometric wait: a renewal process, with mean
    ``p/(1 + m p)`` and variance ``p (1 - p)/(1 + m p)^3``.
    """
    probability = np.asarray(p, dtype=np.float64)
    slowdown = 1.0 + np.asarray(dead_pulses, dtype=np.float64) * probability
    return probability / slowdown, probability * (1.0 - probability) / slowdown**3


def clicks_per_second(rate_Hz: ArrayLike, dead_time_s: float) -> tuple[Array, Array]:
    """Mean and variance of the clicks of one detector per second of continuous light."""
    rate = np.asarray(rate_Hz, dtype=np.float64)
    slowdown = 1.0 + rate * dead_time_s
    return rate / slowdown, rate / slowdown**3


def draw_counts(rng: np.random.Generator, mean: float, variance: float) -> int:
    """Draw a number of clicks of given mean and variance, not above the mean.

    A binomial distribution that has both: exact for a detector without dead time, Poissonian at
    few counts, and as narrow as the dead time makes it at many.
    """
    if mean <= 0.0:
        return 0
    p = 1.0 - variance / mean
    if p < 1e-9:
        return int(rng.poisson(mean))
    n = max(round(mean / p), int(np.ceil(mean)), 1)
    return int(rng.binomial(n, mean / n))
