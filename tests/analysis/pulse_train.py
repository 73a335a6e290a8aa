"""A train of photons through an interferometer unbalanced by one period, in plain numpy.

Written for itself: it shares no line with the simulated lab or with the estimators. Two detectors
of one efficiency, dead time, darks; each photon is followed by itself, and two photons of
neighbouring pulses that meet leave as bosons do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pulsed_light import PERIOD_PS, SYNC, A, B, Light, _detect, _telegraph

from qdchar.raw_data import About, TagRun
from qdchar.tags import TagWriter

DIVIDER = 100


@dataclass(frozen=True)
class Arms:
    """The interferometer: reflectances, fringe visibility, photons' overlap.

    `second` is the second splitter's reflectance, `turned` that for light of the long arm in
    orthogonal arms. `cross_talk` is the share of clicks that make the other detector click 0.8 ns
    later.
    """

    reflectance: float = 0.47
    second: float = 0.47
    turned: float = 0.47
    overlap: float = 0.995
    alike: float = 0.9856
    parallel: bool = True
    cross_talk: float = 0.0


def tags(
    rng: np.random.Generator, pulses: int, light: Light, arms: Arms
) -> tuple[NDArray[np.int64], NDArray[np.uint8], int]:
    """Times, channels, and the end of the time covered [ps]."""
    p1, p2 = light.photon_numbers
    on = _telegraph(rng, pulses, light)
    draw = rng.random(pulses)
    pairs = np.flatnonzero(on & (draw < p2))
    singles = np.flatnonzero(on & (draw >= p2) & (draw < p1 + p2))
    pulse = np.concatenate([singles, pairs, pairs])
    pulse = np.sort(pulse[rng.random(len(pulse)) < light.efficiency])
    long = rng.random(len(pulse)) < arms.reflectance
    slot = pulse + long
    # transmitted twice or reflected twice leads to A
    r2 = arms.second
    r2_long = r2 if arms.parallel else arms.turned
    to_a = rng.random(len(pulse)) < np.where(long, r2_long, 1.0 - r2)
    if arms.parallel:
        # one photon from either arm in a slot: they leave together more often
        first_long = np.full(pulses + 1, -1)
        first_short = np.full(pulses + 1, -1)
        first_long[slot[long][::-1]] = np.flatnonzero(long)[::-1]
        first_short[slot[~long][::-1]] = np.flatnonzero(~long)[::-1]
        meet = (first_long >= 0) & (first_short >= 0)
        i, j = first_long[meet], first_short[meet]
        together = r2 * (1.0 - r2) * (1.0 + arms.alike * arms.overlap**2)
        where = rng.random(len(i))
        to_a[i] = (where < together) | (where >= 2 * together)
        to_a[j] = where < together
    span = pulses * PERIOD_PS
    clicks = []
    for mask in (to_a, ~to_a):
        when = slot[mask] * PERIOD_PS + 2_000.0 + rng.exponential(75.8, int(mask.sum()))
        darks = rng.random(rng.poisson(light.dark_hz / 2 * span * 1e-12)) * span
        clicks.append(_detect(np.sort(np.concatenate([when, darks])), light.dead_ps))
    if arms.cross_talk:
        echoes = [c[rng.random(len(c)) < arms.cross_talk] + 800.0 for c in clicks[::-1]]
        both = [np.sort(np.concatenate(pair)) for pair in zip(clicks, echoes, strict=True)]
        clicks = [_detect(each, light.dead_ps) for each in both]
    sync = np.arange(0, pulses, DIVIDER) * PERIOD_PS + 10.0
    times = np.concatenate([*clicks, sync])
    channels = np.repeat(
        np.array([A, B, SYNC], np.uint8), [len(clicks[0]), len(clicks[1]), len(sync)]
    )
    order = np.argsort(times, kind="stable")
    times, channels = times[order].astype(np.int64), channels[order]
    keep = times < int(span)
    return times[keep], channels[keep], int(span)


def record(
    folder: Path, name: str, rng: np.random.Generator, pulses: int, light: Light, arms: Arms
) -> TagRun:
    """Simulate a run and write it as a tag file."""
    times, channels, span = tags(rng, pulses, light, arms)
    file = folder / f"{name}.h5"
    file.unlink(missing_ok=True)
    with TagWriter(file, resolution_ps=1) as writer:
        writer.append(times, channels, covered_until_ps=span)
    about = About("hom", settings={"arms": "parallel" if arms.parallel else "orthogonal"})
    return TagRun(about, file, A, B, SYNC, DIVIDER, span * 1e-12)
