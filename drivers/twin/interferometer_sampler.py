"""Draws the tags behind an interferometer that is unbalanced by one pulse period.

A photon that takes the long arm arrives with the next pulse and meets a photon that takes the short
arm, so the clicks of a pulse depend on the pulse before. The kernel goes from pulse to pulse and
keeps the photons in the long arm. It draws only the photons that will be detected; this is exact if
both detectors have the same efficiency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .detectors import Light
from .random_numbers import GAMMA, compiled, exponential, normal, random_bits, uniform
from .unpulsed_sampler import FAR, SPARE, Carry, Hardware, add_held_back, add_unpulsed, insert

Array = NDArray[np.float64]

# Photons of one pulse that will be detected: of the dot in the short and the long arm, of the
# laser in the short and the long arm.
_CASES: NDArray[np.int64] = np.array(
    [
        (0, 0, 0, 0),
        (1, 0, 0, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
        (2, 0, 0, 0),
        (1, 1, 0, 0),
        (0, 2, 0, 0),
        (1, 0, 1, 0),
        (1, 0, 0, 1),
        (0, 1, 1, 0),
        (0, 1, 0, 1),
    ]
)
_LASER_IN_LONG_ARM = 4
"""`Carry.long_arm`: number of photons of the dot, plus this for a photon of the laser."""


@dataclass(frozen=True)
class Splitters:
    """Probabilities at the second splitter, where photons leave the interferometer.

    Attributes
    ----------
    short_to_a, long_to_a
        Probabilities that a photon from either arm leaves to detector A.
    bunching
        Increase by interference of the probability that two photons of the dot, one from each
        arm, both leave to A, and the same for B.
    """

    short_to_a: float
    long_to_a: float
    bunching: float


def splitters(
    first: float,
    second: float,
    second_long: float,
    overlap: float,
    coherence: float,
    phase: float,
) -> Splitters:
    """Make the probabilities at the second splitter.

    Transmission leads into the short arm, and from the short arm to A.

    Parameters
    ----------
    first
        Reflectance of the first splitter.
    second, second_long
        Reflectance of the second splitter for light of the short and of the long arm.
    overlap
        Visibility factor of two-photon interference, that of the interferometer included.
    coherence
        Visibility factor of single-photon interference between consecutive pulses, that of the
        interferometer included.
    phase
        Of the interferometer [rad].
    """
    amplitudes = math.sqrt(first * (1.0 - first) * second * (1.0 - second))
    shift = 2.0 * amplitudes * coherence * math.cos(phase)
    short_to_a, long_to_a = 1.0 - second + shift, second_long + shift
    if not (0.0 <= short_to_a <= 1.0 and 0.0 <= long_to_a <= 1.0):
        raise ValueError(
            f"a coherence of {coherence:g} is too large for this model: a probability is negative"
        )
    return Splitters(short_to_a, long_to_a, second * (1.0 - second) * overlap)


def photon_cases(light: Light, efficiency: float, reflectance: float, shining: bool) -> Array:
    """Probabilities of the photons of one pulse, shape (n, 12), sums to one.

    Parameters
    ----------
    light
        At the interferometer's input.
    efficiency
        Of either detector.
    reflectance
        Of the first splitter, into the long arm.
    shining
        Whether the dot emits, or is in a dark period of its blinking.
    """
    eta = light.passage * efficiency
    on = 1.0 if shining else 0.0
    one = on * (light.single * eta + 2.0 * light.pair * eta * (1.0 - eta))
    two = on * light.pair * eta**2
    none = 1.0 - one - two
    laser = -np.expm1(-light.laser * efficiency)
    short, long = 1.0 - reflectance, reflectance
    return np.stack(
        [
            none * (1.0 - laser),
            one * (1.0 - laser) * short,
            one * (1.0 - laser) * long,
            none * laser * short,
            none * laser * long,
            two * short**2,
            two * 2.0 * short * long,
            two * long**2,
            one * laser * short**2,
            one * laser * short * long,
            one * laser * short * long,
            one * laser * long**2,
        ],
        axis=1,
    )


@compiled
def sample_interferometer(
    segment_end: NDArray[np.int64],
    cumulated: Array,
    lifetime_ps: Array,
    steady: Array,
    short_to_a: float,
    long_to_a: float,
    bunching: float,
    first_ps: float,
    hardware: Hardware,
    carry: Carry,
    ticks: NDArray[np.int64],
    channels: NDArray[np.uint8],
    n: int,
) -> int:
    """Draw the tags of consecutive pulses; arguments as for `pulse_sampler.sample_pulses`.

    `cumulated` has shape (s, 2, 12): the cumulative sums of `photon_cases`.
    """
    room = len(ticks) - SPARE
    both_to_a = short_to_a * long_to_a + bunching
    both_to_b = (1.0 - short_to_a) * (1.0 - long_to_a) + bunching
    arrival = np.empty(2)
    unpulsed_ps = carry.next_ps.min()
    i = np.int64(0)
    for s in range(len(segment_end)):
        t1 = lifetime_ps[s]
        while i < segment_end[s]:
            if carry.switch[0] <= i:
                carry.off[0] = 1 - carry.off[0]
                leave = hardware.switch_off if carry.off[0] == 0 else hardware.switch_on
                carry.rng[0] += GAMMA
                wait = -math.log(uniform(random_bits(carry.rng[0]))) / leave
                carry.switch[0] = i + 1 + np.int64(min(wait, FAR))
            pulse_ps = first_ps + i * hardware.period_ps
            i += 1
            carry.rng[0] += GAMMA
            draw = uniform(random_bits(carry.rng[0]))
            chances = cumulated[s, carry.off[0]]
            case = 0
            while case < 11 and draw >= chances[case]:
                case += 1
            in_long_arm = carry.long_arm[0]
            if case == 0 and in_long_arm == 0:
                continue
            short, laser_short = _CASES[case, 0], _CASES[case, 2]
            carry.long_arm[0] = _CASES[case, 1] + _LASER_IN_LONG_ARM * _CASES[case, 3]
            long, laser_long = in_long_arm % _LASER_IN_LONG_ARM, in_long_arm // _LASER_IN_LONG_ARM
            if unpulsed_ps < pulse_ps:
                n = add_unpulsed(pulse_ps, first_ps, steady, hardware, carry, ticks, channels, n)
                unpulsed_ps = carry.next_ps.min()
            if n >= room:
                return n
            arrival[0] = arrival[1] = np.inf
            if short > 0 and long > 0:
                short, long = short - 1, long - 1
                carry.rng[0] += GAMMA
                where = uniform(random_bits(carry.rng[0]))
                first = 0 if where < both_to_a or where >= both_to_a + both_to_b else 1
                second = 0 if where < both_to_a else 1
                for port in (first, second):
                    carry.rng[0] += GAMMA
                    t = pulse_ps + t1 * exponential(random_bits(carry.rng[0]))
                    arrival[port] = min(arrival[port], t)
            for k in range(short + long + laser_short + laser_long):
                from_dot = k < short + long
                from_short = k < short or short + long <= k < short + long + laser_short
                carry.rng[0] += GAMMA
                to_a = short_to_a if from_short else long_to_a
                port = 0 if uniform(random_bits(carry.rng[0])) < to_a else 1
                t = pulse_ps
                if from_dot:
                    carry.rng[0] += GAMMA
                    t += t1 * exponential(random_bits(carry.rng[0]))
                arrival[port] = min(arrival[port], t)
            for d in range(2):
                if arrival[d] == np.inf:
                    continue
                click = min(arrival[d], carry.late_ps[d])
                carry.late_ps[d] = max(arrival[d], carry.late_ps[d])
                if click - carry.last_ps[d] >= hardware.dead_ps:
                    carry.last_ps[d] = click
                    carry.rng[0] += GAMMA
                    jitter = hardware.jitter_ps * normal(random_bits(carry.rng[0]))
                    t = click + hardware.delay_ps[d] + jitter
                    n = insert(ticks, channels, n, t / hardware.step_ps, d + 1, hardware.edges)
    end_ps = first_ps + segment_end[-1] * hardware.period_ps
    n = add_unpulsed(end_ps, first_ps, steady, hardware, carry, ticks, channels, n)
    return add_held_back(end_ps, hardware, carry, ticks, channels, n)


@dataclass(frozen=True)
class InterferometerSegments:
    """Light behind the interferometer over consecutive pulses, see `sampler.Segments`.

    Attributes
    ----------
    pulses
        int64, shape (s,): pulses in each segment.
    cases
        Shape (s, 2, 12): see `photon_cases`, while the dot emits, and in a dark period.
    lifetime_s
        Shape (s,).
    steady_Hz
        Rates of continuous light and dark counts at A and B.
    splitters
        Probabilities at the second splitter.
    """

    pulses: NDArray[np.int64]
    cases: Array
    lifetime_s: Array
    steady_Hz: tuple[float, float]
    splitters: Splitters

    @property
    def most_clicks(self) -> float:
        """Mean number of clicks without dead time."""
        photons = _CASES.sum(axis=1).astype(np.float64)
        return float((self.cases @ photons).max(axis=1) @ self.pulses)

    def sample(
        self,
        steady: Array,
        first_ps: float,
        hardware: Hardware,
        carry: Carry,
        ticks: NDArray[np.int64],
        channels: NDArray[np.uint8],
        n: int,
    ) -> int:
        """Draw the tags, see `sample_interferometer`."""
        return int(
            sample_interferometer(
                np.cumsum(self.pulses),
                np.cumsum(self.cases, axis=2),
                self.lifetime_s * 1e12,
                steady,
                self.splitters.short_to_a,
                self.splitters.long_to_a,
                self.splitters.bunching,
                first_ps,
                hardware,
                carry,
                ticks,
                channels,
                n,
            )
        )
