"""Draws the time tags of a key exchange: pattern, link, eavesdropper, four detectors.

Like `pulse_sampler` it goes from detection to detection: a geometric number of pulses without one
is skipped, so that the time taken follows the clicks and not the pulses.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qdchar.exchange.pattern import state_of

from .random_numbers import GAMMA, compiled, exponential, normal, random_bits, uniform

Array = NDArray[np.float64]

SINGLE, DOUBLE, TAPPED = range(3)
"""What the detectors see of a pulse: a photon, two, or one whose partner the eavesdropper keeps."""


class Pulses(NamedTuple):
    """What happens to a pulse: probabilities per pulse, and what Alice sends.

    Attributes
    ----------
    seed, p_z, three_states
        Alice's pattern, see `qdchar.exchange.pattern.Pattern`.
    single, double, tapped
        Probability that a pulse is detected as each of these, if no detector is dead.
    intercepted
        Share of the pulses that are measured in a random basis and sent again.
    """

    seed: np.uint64
    p_z: float
    three_states: bool
    single: float
    double: float
    tapped: float
    intercepted: float


class Station(NamedTuple):
    """The receiving station; times in ps on its time tagger's clock, rates per ps.

    Attributes
    ----------
    first_ps, period_ps
        Arrival of pulse 0, and the pulse period.
    lifetime_ps
        Decay time of the photons.
    to_z
        Probability that a photon goes to the detectors of basis Z.
    error
        Probability that a photon gives the wrong outcome.
    dead_ps, jitter_ps, step_ps
        Dead time and jitter of each detector; step of the time tagger.
    """

    first_ps: float
    period_ps: float
    lifetime_ps: float
    to_z: float
    error: float
    dead_ps: float
    jitter_ps: float
    step_ps: float


class Progress(NamedTuple):
    """State between two calls.

    Attributes
    ----------
    rng
        uint64, shape (1,).
    last_ps
        Shape (4,): the last click of each detector.
    next_ps
        Shape (4,): its next dark count or background photon.
    """

    rng: NDArray[np.uint64]
    last_ps: Array
    next_ps: Array


@compiled
def _click(
    arrival: float,
    detector: np.int64,
    bits: np.uint64,
    delay: Array,
    station: Station,
    progress: Progress,
    times: NDArray[np.int64],
    detectors: NDArray[np.uint8],
    n: int,
) -> int:
    """Record a click unless the detector is dead; returns the number of tags."""
    if arrival - progress.last_ps[detector] < station.dead_ps:
        return n
    progress.last_ps[detector] = arrival
    tag = arrival + delay[detector] + station.jitter_ps * normal(bits)
    times[n] = np.int64(math.floor(tag / station.step_ps) * station.step_ps)
    detectors[n] = detector
    return n + 1


@compiled
def _unpulsed(
    until: float,
    rates: Array,
    delay: Array,
    station: Station,
    progress: Progress,
    times: NDArray[np.int64],
    detectors: NDArray[np.uint8],
    n: int,
) -> int:
    """Add dark counts and background light until a time, in their order."""
    rng = progress.rng[0]
    while n < len(times):
        detector = np.int64(np.argmin(progress.next_ps))
        arrival = progress.next_ps[detector]
        if arrival >= until:
            break
        rng += GAMMA
        progress.next_ps[detector] -= math.log(uniform(random_bits(rng))) / rates[detector]
        rng += GAMMA
        n = _click(
            arrival, detector, random_bits(rng), delay, station, progress, times, detectors, n
        )
    progress.rng[0] = rng
    return n


@compiled
def sample_exchange(
    begin: int,
    end: int,
    until_ps: float,
    pulses: Pulses,
    station: Station,
    rates: Array,
    delay: Array,
    progress: Progress,
    times: NDArray[np.int64],
    detectors: NDArray[np.uint8],
    tapped: NDArray[np.int64],
) -> tuple[int, int]:
    """Draw the clicks of pulses `begin` to `end`, and all others until a time.

    Parameters
    ----------
    begin, end
        Numbers of the first pulse, and of the one behind the last.
    until_ps
        Time until which dark counts and background light are drawn.
    pulses, station, progress
        `progress` is changed.
    rates
        Shape (4,): dark counts and background light of each detector [1/ps], above 0.
    delay
        Shape (4,): electronic delay of each detector [ps].
    times, detectors
        Filled: tags [ps] and detectors 0 to 3, nearly in order of time.
    tapped
        Filled: pulses of which the eavesdropper holds a photon.

    Returns
    -------
    int, int
        Tags, and tapped pulses; as many as fit, if the arrays are too short.
    """
    n = kept = 0
    total = pulses.single + pulses.double + pulses.tapped
    log_none = math.log1p(-total) if total > 0.0 else -math.inf
    pulse = begin
    while total > 0.0:
        progress.rng[0] += GAMMA
        # as a float: a wait can be longer than any integer
        wait = math.floor(math.log(uniform(random_bits(progress.rng[0]))) / log_none)
        if wait >= end - pulse or n + 2 > len(times) or kept == len(tapped):
            break
        pulse += int(wait)
        at_ps = station.first_ps + pulse * station.period_ps
        n = _unpulsed(at_ps, rates, delay, station, progress, times, detectors, n)
        rng = progress.rng[0] + GAMMA
        which = uniform(random_bits(rng)) * total
        kind = SINGLE
        if which >= pulses.single:
            kind = DOUBLE if which < pulses.single + pulses.double else TAPPED
        state = state_of(pulses.seed, pulse, pulses.p_z, pulses.three_states)
        if kind == TAPPED:
            tapped[kept] = pulse
            kept += 1
        if pulses.intercepted > 0.0:
            rng += GAMMA
            if uniform(random_bits(rng)) < pulses.intercepted:
                rng += GAMMA
                coins = random_bits(rng) >> np.uint64(40)
                basis = np.int64(coins & np.uint64(1))
                if basis != state >> 1:
                    state = 2 * basis + np.int64((coins >> np.uint64(1)) & np.uint64(1))
        for _ in range(2 if kind == DOUBLE else 1):
            rng += GAMMA
            arm = 0 if uniform(random_bits(rng)) < station.to_z else 1
            rng += GAMMA
            if arm == state >> 1:
                outcome = state & 1
                if uniform(random_bits(rng)) < station.error:
                    outcome = 1 - outcome
            else:
                outcome = np.int64(random_bits(rng) >> np.uint64(63))
            rng += GAMMA
            bits = random_bits(rng)
            arrival = at_ps + station.lifetime_ps * exponential(bits)
            if n < len(times):
                n = _click(
                    arrival,
                    2 * arm + outcome,
                    bits,
                    delay,
                    station,
                    progress,
                    times,
                    detectors,
                    n,
                )
        progress.rng[0] = rng
        pulse += 1
    n = _unpulsed(until_ps, rates, delay, station, progress, times, detectors, n)
    return n, kept
