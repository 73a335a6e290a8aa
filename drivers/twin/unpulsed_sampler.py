"""Detectors, time tagger and light without pulses, as the kernels of the sampler see them.

Clock tags, dark counts and continuous light come between the pulses. Dead time works on the order
of arrival; jitter is added after it. The kernels take many single arguments on purpose: with their
arguments in one tuple they were 20 % slower.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .random_numbers import GAMMA, compiled, inlined, normal, random_bits, uniform

Array = NDArray[np.float64]

SPARE = 8
"""Free places at the end of an array of tags that a kernel needs."""
NEVER_PS = 1e300
FAR = 1e15
"""Largest number of pulses until the next event; larger ones could not be converted to int64."""


@inlined
def insert(
    ticks: NDArray[np.int64],
    channels: NDArray[np.uint8],
    n: int,
    time: float,
    channel: int,
    edges: Array,
) -> int:
    """Insert a tag in order of time, searching from the end; returns the number of tags.

    The time is in steps of the tagger, `edges` as in `Hardware`.
    """
    tick = np.int64(math.floor(time))
    part, size = time - tick, len(edges)
    if part < edges[tick % size]:
        tick -= 1
    elif part >= 1.0 + edges[(tick + 1) % size]:
        tick += 1
    j = n
    while j > 0 and ticks[j - 1] > tick:
        ticks[j] = ticks[j - 1]
        channels[j] = channels[j - 1]
        j -= 1
    ticks[j] = tick
    channels[j] = channel
    return n + 1


class Hardware(NamedTuple):
    """Constants of laser, detectors and time tagger, times in picoseconds."""

    period_ps: float
    dead_ps: float
    jitter_ps: float
    sync_jitter_ps: float
    delay_ps: tuple[float, float]
    step_ps: float
    divider: int
    switch_off: float
    """Probability per pulse that the dot stops emitting; `switch_on`: that it starts again."""
    switch_on: float
    edges: Array
    """By how much the lower edge of each bin of the tagger lies above its place [bins], from the
    first pulse on, repeating."""


class Carry(NamedTuple):
    """State between two calls; times are relative to the first pulse of the call.

    Attributes
    ----------
    rng
        uint64, shape (1,).
    late_ps
        Shape (2,): latest arrival at A and B, held back until no earlier one can follow.
    last_ps
        Shape (2,): arrival of the last click of A and B.
    next_ps
        Shape (3,): next clock tag, next photon of continuous light or dark count at A and at B.
    sync
        int64, shape (1,): pulse of the next clock tag.
    switch
        int64, shape (1,): pulse at which the dot's blinking switches next.
    off
        int64, shape (1,): 1 in a dark period of the dot's blinking, else 0.
    long_arm
        int64, shape (1,): photons in the long arm of an interferometer, see
        `interferometer_sampler`.
    """

    rng: NDArray[np.uint64]
    late_ps: Array
    last_ps: Array
    next_ps: Array
    sync: NDArray[np.int64]
    switch: NDArray[np.int64]
    off: NDArray[np.int64]
    long_arm: NDArray[np.int64]


@compiled
def add_held_back(
    end_ps: float,
    hardware: Hardware,
    carry: Carry,
    ticks: NDArray[np.int64],
    channels: NDArray[np.uint8],
    n: int,
) -> int:
    """Add the clicks that were held back: from here on nothing can arrive earlier."""
    for d in range(2):
        click = carry.late_ps[d]
        if click < end_ps:
            carry.late_ps[d] = -NEVER_PS
            if click - carry.last_ps[d] >= hardware.dead_ps:
                carry.last_ps[d] = click
                carry.rng[0] += GAMMA
                jitter = hardware.jitter_ps * normal(random_bits(carry.rng[0]))
                t = click + hardware.delay_ps[d] + jitter
                n = insert(ticks, channels, n, t / hardware.step_ps, d + 1, hardware.edges)
    return n


@compiled
def add_unpulsed(
    until_ps: float,
    first_ps: float,
    steady: Array,
    hardware: Hardware,
    carry: Carry,
    ticks: NDArray[np.int64],
    channels: NDArray[np.uint8],
    n: int,
) -> int:
    """Add clock tags, dark counts and clicks of continuous light up to a time."""
    room = len(ticks) - SPARE
    following = carry.next_ps
    while n < room:
        d = int(np.argmin(following)) - 1
        now_ps = following[d + 1]
        if now_ps >= until_ps:
            break
        carry.rng[0] += GAMMA
        bits = random_bits(carry.rng[0])
        if d < 0:
            t = now_ps + hardware.sync_jitter_ps * normal(bits)
            n = insert(ticks, channels, n, t / hardware.step_ps, 0, hardware.edges)
            carry.sync[0] += hardware.divider
            following[0] = first_ps + carry.sync[0] * hardware.period_ps
            continue
        click_ps = min(now_ps, carry.late_ps[d])
        carry.late_ps[d] = max(now_ps, carry.late_ps[d])
        if click_ps - carry.last_ps[d] >= hardware.dead_ps:
            carry.last_ps[d] = click_ps
            t = click_ps + hardware.delay_ps[d] + hardware.jitter_ps * normal(bits)
            n = insert(ticks, channels, n, t / hardware.step_ps, d + 1, hardware.edges)
        carry.rng[0] += GAMMA
        following[d + 1] -= math.log(uniform(random_bits(carry.rng[0]))) / steady[d]
    return n
