"""Scans of two click detectors, drawn from formulas in plain numpy: the truth of these tests.

Written for itself: it shares no line with the analyses.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Contribution, Estimate, Uncertain
from qdchar.raw_data import About, Scan

Array = NDArray[np.float64]
CLOCK_HZ = 76.13e6


def given(name: str, value: float, u: float) -> Estimate:
    budget = (Contribution(f"{name} certificate", u, "B"),) if u else ()
    return Estimate(name=name, value=value, method="given", budget=budget)


def uncertain(source: str, value: float, u: float) -> Uncertain:
    return Uncertain(value, (Contribution(f"{source} certificate", u, "B"),) if u else ())


def _draw(rng: np.random.Generator, mean: Array, variance: Array) -> NDArray[np.int64]:
    """Binomial with this mean and variance: exact without dead time, narrow with it."""
    p = np.clip(1.0 - variance / mean, 1e-12, 1.0)
    n = np.maximum(np.rint(mean / p), 1.0)
    many = n > 1e12
    drawn = rng.binomial(np.where(many, 1, n).astype(np.int64), np.minimum(mean / n, 1.0))
    return np.where(many, rng.poisson(mean), drawn).astype(np.int64)


def pulsed(
    rng: np.random.Generator,
    x_name: str,
    x: Array,
    probabilities: tuple[Array, Array],
    dwell_s: float,
    blind: int,
) -> Scan:
    """Clicks from each detector's probability to click in a pulse to which it is live.

    A click blinds for `blind` pulses: mean N p/(1 + m p), variance N p (1 - p)/(1 + m p)^3.
    """
    pulses = dwell_s * CLOCK_HZ
    clicks = [
        _draw(rng, pulses * p / (1 + blind * p), pulses * p * (1 - p) / (1 + blind * p) ** 3)
        for p in probabilities
    ]
    return _scan(x_name, x, clicks, dwell_s)


def continuous(
    rng: np.random.Generator, x: Array, rate_hz: Array, dwell_s: float, dead_time_s: float
) -> Scan:
    """Clicks of a continuous laser, half of the light on each detector."""
    r = rate_hz / 2
    mean = dwell_s * r / (1 + r * dead_time_s)
    clicks = [_draw(rng, mean, mean / (1 + r * dead_time_s) ** 2) for _ in range(2)]
    return _scan("voltage_V", x, clicks, dwell_s)


def _scan(x_name: str, x: Array, clicks: list[NDArray[np.int64]], dwell_s: float) -> Scan:
    table = np.stack(clicks, axis=1)
    return Scan(About("test"), x_name, x, table, np.full(len(x), dwell_s), Path("test.csv"))


def coverage(
    simulate: Callable[[], dict[str, Estimate]], truth: dict[str, float], runs: int
) -> dict[str, tuple[float, float, float, float]]:
    """Mean and standard deviation of the pulls, and the coverage at 68 % and 95 %, by name."""
    pulls: dict[str, list[float]] = {name: [] for name in truth}
    inside: dict[str, list[tuple[bool, bool]]] = {name: [] for name in truth}
    for _ in range(runs):
        found = simulate()
        for name, true in truth.items():
            e = found[name]
            pulls[name].append((e.value - true) / e.u)
            one = e.interval_68 or (e.value - e.u, e.value + e.u)
            two = e.interval_95 or (e.value - 1.96 * e.u, e.value + 1.96 * e.u)
            inside[name].append((one[0] <= true <= one[1], two[0] <= true <= two[1]))
    return {
        name: (
            float(np.mean(pulls[name])),
            float(np.std(pulls[name])),
            *map(float, np.mean(inside[name], axis=0)),
        )
        for name in truth
    }
