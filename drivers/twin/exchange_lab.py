"""The quantum part of a key exchange in the simulated lab.

A transmitter sends a pattern through a lossy channel to a passive receiver with four detectors. An
eavesdropper can stand at the channel's input. The receiver's side is seen through
`ExchangeLab.tag_blocks` only; what the eavesdropper knows is for tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import UsageError
from qdchar.exchange.pattern import Pattern
from qdchar.exchange.sifting import SEARCH_PULSES
from qdchar.roles import TagBlock

from .exchange_sampler import Progress, Pulses, Station, sample_exchange

CHANNELS = (1, 2, 3, 4)
"""Tag channels of the detectors Z 0, Z 1, X 0, X 1."""

_BLOCK_CLICKS = 200_000
"""Clicks that are drawn at once."""

_LATEST_PULSES = 0.84 * SEARCH_PULSES
"""Pulse periods from the start of the recording to the first pulse at most, and 90 us at most."""

_LARGEST_DELAY_ps = 500.0
_AFTER_ps = 1e8
"""How long is recorded after the last pulse; longer than before the first one."""


@dataclass(frozen=True)
class InterceptResend:
    """Measures a share of the pulses in a random basis, and sends what it found."""

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UsageError(f"eavesdropper: intercept={self.share:g}: a share is from 0 to 1")


@dataclass(frozen=True)
class PhotonSplitting:
    """Keeps a photon of each pulse with two, and measures it when the bases are known.

    The other photon goes to the receiver without loss; single photons are blocked as often as
    needed for the number of detections that the receiver expects.
    """


Eavesdropper = InterceptResend | PhotonSplitting


@dataclass(frozen=True)
class QuantumLink:
    """True values of source, channel and receiver.

    Attributes
    ----------
    one_photon, two_photons
        Probabilities of these photon numbers in a pulse, before pre-attenuation; no pulse holds
        more.
    attenuation
        Pre-attenuation, a transmission.
    channel, receiver
        Transmissions of the channel, and of the receiver's optics and detectors together.
    misalignment
        Probability that a photon gives the wrong outcome.
    to_z
        Share of the light that goes to the detectors of basis Z.
    dark_Hz
        Dark counts of the detectors Z 0, Z 1, X 0, X 1.
    background_Hz
        Clicks from background light, all detectors together.
    dead_time_s, jitter_s, resolution_ps
        Of the detectors, and step of the time tagger.
    clock_Hz, lifetime_s
        Pulse rate, and decay time of the photons.
    """

    one_photon: float
    two_photons: float
    attenuation: float
    channel: float
    receiver: float
    misalignment: float
    to_z: float
    dark_Hz: tuple[float, float, float, float]
    background_Hz: float
    dead_time_s: float
    jitter_s: float
    resolution_ps: int
    clock_Hz: float
    lifetime_s: float

    def photons(self) -> tuple[float, float]:
        """Probabilities of one photon and of two behind the pre-attenuation."""
        return _thinned(self.one_photon, self.two_photons, self.attenuation)


def _thinned(one: float, two: float, passed: float) -> tuple[float, float]:
    """Probabilities of one and of two photons behind a loss."""
    return one * passed + 2 * two * passed * (1 - passed), two * passed**2


@dataclass
class ExchangeLab:
    """One exchange.

    Attributes
    ----------
    pattern
        What is sent.
    link
        True values.
    seed
        Of everything random but the pattern: photons, noise, detectors' delays, clocks.
    eavesdropper
        None for a channel without.
    tapped_pulses
        Pulses whose bit the photon-splitting eavesdropper knows, as far as they were detected;
        one array a block of tags, filled anew while these are drawn.
    """

    pattern: Pattern
    link: QuantumLink
    seed: int
    eavesdropper: Eavesdropper | None = None
    tapped_pulses: list[NDArray[np.int64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 1])
        # what the receiving side has to find out: when the first pulse comes, how fast the
        # transmitter's clock is on its own, and how long the detectors' cables are
        latest_ps = min(_LATEST_PULSES / self.link.clock_Hz * 1e12, 90e6)
        self.first_ps = float(rng.uniform(latest_ps / 9, latest_ps))
        self.clock_error = float(rng.normal(0.0, 1e-6))
        self.delays_ps = rng.uniform(-_LARGEST_DELAY_ps, _LARGEST_DELAY_ps, 4)

    def probabilities(self) -> tuple[float, float, float]:
        """Probabilities per pulse that one photon is detected, two, or one that is tapped."""
        one, two = self.link.photons()
        single, double = _thinned(one, two, self.link.channel * self.link.receiver)
        if not isinstance(self.eavesdropper, PhotonSplitting):
            return single, double, 0.0
        expected = single + double
        tapped = min(two * self.link.receiver, expected)
        return min(expected - tapped, one * self.link.receiver), 0.0, tapped

    def tag_blocks(self) -> Iterator[TagBlock]:
        """Record the four detectors, from before the first pulse to after the last.

        Each time the same tags.
        """
        link, sent = self.link, self.pattern.pulses
        period_ps = 1e12 / link.clock_Hz * (1 + self.clock_error)
        single, double, tapped = self.probabilities()
        share = self.eavesdropper.share if isinstance(self.eavesdropper, InterceptResend) else 0.0
        pulses = Pulses(
            seed=np.uint64(self.pattern.seed),
            p_z=self.pattern.p_z,
            three_states=self.pattern.three_states,
            single=single,
            double=double,
            tapped=tapped,
            intercepted=share,
        )
        station = Station(
            first_ps=self.first_ps,
            period_ps=period_ps,
            lifetime_ps=link.lifetime_s * 1e12,
            to_z=link.to_z,
            error=link.misalignment,
            dead_ps=link.dead_time_s * 1e12,
            jitter_ps=link.jitter_s * 1e12,
            step_ps=float(link.resolution_ps),
        )
        split = np.array([link.to_z, link.to_z, 1 - link.to_z, 1 - link.to_z]) / 2
        rates = (np.asarray(link.dark_Hz) + link.background_Hz * split) * 1e-12
        rates = np.maximum(rates, 1e-30)  # per ps; without dark counts: once in 3e10 years
        rng = np.random.default_rng([self.seed, 2])
        state = rng.integers(0, 2**64, 1, dtype=np.uint64)
        progress = Progress(state, np.full(4, -1e18), rng.exponential(1 / rates))
        self.tapped_pulses.clear()
        per_pulse = single + 2 * double + tapped + float(rates.sum()) * period_ps
        step = max(int(_BLOCK_CLICKS / per_pulse), 1)
        # tags that a later pulse can precede are kept for the next block
        margin = math.ceil(
            10 * link.jitter_s * 1e12 + 50 * link.lifetime_s * 1e12 + 2 * _LARGEST_DELAY_ps
        )
        end_ps = math.ceil(self.first_ps + sent * period_ps + _AFTER_ps)
        kept = np.empty(0, np.int64), np.empty(0, np.uint8)
        start_ps = 0
        for begin in range(0, sent, step):
            end = min(begin + step, sent)
            # the first block begins before the first pulse, the last ends after the last one
            mean = per_pulse * (end - begin) + rates.sum() * 2 * _AFTER_ps
            room = int(mean + 12 * math.sqrt(mean)) + 64
            times, detectors = np.empty(room, np.int64), np.empty(room, np.uint8)
            known = np.empty(room, np.int64)
            last = end == sent
            until_ps = float(end_ps) if last else self.first_ps + end * period_ps
            n, taps = sample_exchange(
                begin,
                end,
                until_ps,
                pulses,
                station,
                rates,
                self.delays_ps,
                progress,
                times,
                detectors,
                known,
            )
            if n >= room - 2:
                raise RuntimeError(f"more tags than the {room} that were expected at most")
            self.tapped_pulses.append(known[:taps])
            times = np.concatenate((kept[0], times[:n]))
            detectors = np.concatenate((kept[1], detectors[:n]))
            order = np.argsort(times, kind="stable")
            times, detectors = times[order], detectors[order]
            stop_ps = end_ps if last else max(math.floor(until_ps) - margin, start_ps)
            low, high = np.searchsorted(times, (start_ps, stop_ps))
            kept = times[high:], detectors[high:]
            channels = np.asarray(CHANNELS, np.uint8)[detectors[low:high]]
            yield TagBlock(times[low:high], channels, start_ps, stop_ps)
            start_ps = stop_ps
