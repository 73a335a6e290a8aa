"""Pulsed light on two real detectors, photon by photon in plain numpy: the truth of these tests.

Written for itself: it shares no line with the simulated lab or with the estimators.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.raw_data import About, TagRun
from qdchar.tags import TagWriter

PERIOD_PS = 13_135.426  # 76.13 MHz
A, B, SYNC = 1, 2, 7


@dataclass(frozen=True)
class Light:
    """A source, two detectors and a tagger; probabilities a pulse, times in ps."""

    mean_photons: float = 0.712
    g2: float = 0.0205
    efficiency: float = 0.712
    split: float = 0.5  # share of arm A
    lifetime_ps: float = 75.8
    jitter_ps: float = 25.0
    dead_ps: float = 30_000.0
    dark_hz: float = 43.0  # both detectors together
    on_fraction: float = 1.0
    blink_pulses: float = 1_000.0  # mean on + off time in pulses
    drift: float = 0.0  # relative change of the brightness over the run
    step_ps: int = 1
    delay_b_ps: float = 0.0
    background_per_pulse: float = 0.0  # leaked laser light in the fibre: Poissonian, prompt

    @property
    def photon_numbers(self) -> tuple[float, float]:
        """p1 and p2 of a pulse while the source is on."""
        n = self.mean_photons / self.on_fraction
        # g2 (time-averaged) = <n(n-1)>/<n>^2 = q 2 p2/(q n)^2
        p2 = self.g2 * self.on_fraction * n**2 / 2
        return n - 2 * p2, p2


def _telegraph(rng: np.random.Generator, n: int, light: Light) -> NDArray[np.bool_]:
    if light.on_fraction == 1.0:
        return np.ones(n, bool)
    on = light.blink_pulses * light.on_fraction
    off = light.blink_pulses * (1 - light.on_fraction)
    cycles = int(1.5 * n / light.blink_pulses) + 50
    lengths = np.empty(2 * cycles)
    first_on = rng.random() < light.on_fraction
    lengths[0::2] = rng.exponential(on if first_on else off, cycles)
    lengths[1::2] = rng.exponential(off if first_on else on, cycles)
    edges = np.cumsum(lengths)
    assert edges[-1] > n
    return (np.searchsorted(edges, np.arange(n), side="right") % 2 == 0) == first_on


def _detect(times: NDArray[np.float64], dead: float) -> NDArray[np.float64]:
    """Keep what a detector registers that is blind for `dead` after each click."""
    if dead <= 0 or not len(times):
        return times
    following = np.searchsorted(times, times + dead, side="right").tolist()
    kept, i = [], 0
    while i < len(times):
        kept.append(i)
        i = following[i]
    return times[kept]


def tags(
    rng: np.random.Generator, pulses: int, light: Light
) -> tuple[NDArray[np.int64], NDArray[np.uint8], int]:
    """Times, channels, and the end of the time covered [ps]."""
    p1, p2 = light.photon_numbers
    on = _telegraph(rng, pulses, light)
    scale = 1.0 + light.drift * (np.arange(pulses) / pulses - 0.5)
    draw = rng.random(pulses) / scale
    pairs = np.flatnonzero(on & (draw < p2))
    singles = np.flatnonzero(on & (draw >= p2) & (draw < p1 + p2))
    photons = np.concatenate([singles, pairs, pairs])
    photons = photons[rng.random(len(photons)) < light.efficiency]
    extra = rng.poisson(light.background_per_pulse * light.efficiency * pulses)
    photons = np.concatenate([photons, rng.integers(0, pulses, extra)])
    prompt = np.arange(len(photons)) >= len(photons) - extra
    arm_a = rng.random(len(photons)) < light.split
    span = pulses * PERIOD_PS
    clicks = []
    for mask, delay in ((arm_a, 0.0), (~arm_a, light.delay_b_ps)):
        pulse = photons[mask]
        when = pulse * PERIOD_PS + 2_000.0 + delay
        if light.lifetime_ps:
            late = rng.exponential(light.lifetime_ps, len(pulse))
            when = when + np.where(prompt[mask], 0.0, late)
        when = when + rng.normal(0.0, light.jitter_ps, len(pulse))
        darks = rng.random(rng.poisson(light.dark_hz / 2 * span * 1e-12)) * span
        clicks.append(_detect(np.sort(np.concatenate([when, darks])), light.dead_ps))
    sync = np.arange(0, pulses, 1000) * PERIOD_PS + rng.uniform(0, 20, -(-pulses // 1000))
    times = np.concatenate([*clicks, sync])
    channels = np.repeat(
        np.array([A, B, SYNC], np.uint8), [len(clicks[0]), len(clicks[1]), len(sync)]
    )
    ticks = (np.floor(times / light.step_ps) * light.step_ps).astype(np.int64)
    order = np.argsort(ticks, kind="stable")
    ticks, channels = ticks[order], channels[order]
    keep = (ticks >= 0) & (ticks < int(span))
    return ticks[keep], channels[keep], int(span)


def record(folder: Path, name: str, rng: np.random.Generator, pulses: int, light: Light) -> TagRun:
    """Simulate a run and write it as a tag file."""
    times, channels, span = tags(rng, pulses, light)
    file = folder / f"{name}.h5"
    with TagWriter(file, resolution_ps=light.step_ps) as writer:
        writer.append(times, channels, covered_until_ps=span)
    return TagRun(About("test"), file, A, B, SYNC, 1000, span * 1e-12)
