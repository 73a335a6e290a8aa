"""A driven three-level emitter photon by photon, on two detectors with jitter: the truth of tests.

Written for itself: it shares no line with the estimators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Emitter:
    """Rates of an emitter [1/ns], and what the detectors make of it.

    From the ground state it is pumped; from the excited one it decays with a photon or into a dark
    state, from which it returns.
    """

    pump: float = 0.3
    decay: float = 1.0
    into_dark: float = 0.1
    out_of_dark: float = 0.1
    efficiency: float = 0.3
    background_per_ns: float = 0.0  # clicks on each detector
    jitter_ns: tuple[float, float] = (0.2, 0.35)
    delay_ns: float = 3.0

    @property
    def _generator(self) -> Array:
        return np.array(
            [
                [-self.pump, self.decay, self.out_of_dark],
                [self.pump, -self.decay - self.into_dark, 0.0],
                [0.0, self.into_dark, -self.out_of_dark],
            ]
        )

    @property
    def photons_per_ns(self) -> float:
        """Photons that it emits."""
        populations = linalg.null_space(self._generator)[:, 0]
        return float(self.decay * populations[1] / populations.sum())

    def g2(self, tau_ns: float) -> float:
        """Excited state after an emission, over that at any time; the emitter's own light."""
        after = linalg.expm(self._generator * abs(tau_ns)) @ np.array([1.0, 0.0, 0.0])
        return float(self.decay * after[1] / self.photons_per_ns)

    @property
    def signal_share(self) -> float:
        """Share of a detector's clicks that are the emitter's."""
        signal = 0.5 * self.efficiency * self.photons_per_ns
        return signal / (signal + self.background_per_ns)

    @property
    def g2_zero(self) -> float:
        """g2(0) of emitter and background together."""
        return 1.0 - self.signal_share**2

    @property
    def times_ns(self) -> tuple[float, float]:
        """1/e times of antibunching and bunching."""
        slow, fast = sorted(-np.linalg.eigvals(self._generator).real)[1:]
        return 1.0 / fast, 1.0 / slow

    def clicks(self, rng: np.random.Generator, span_ns: float) -> tuple[Array, Array]:
        """Clicks of both detectors over a span of time [ns], sorted."""
        n = int(1.2 * span_ns * self.photons_per_ns) + 200
        stay = rng.exponential(1.0 / self.pump, n) + rng.exponential(
            1.0 / (self.decay + self.into_dark), n
        )
        # detours through the dark state before a photon; each ends in the ground state
        detours = rng.geometric(self.decay / (self.decay + self.into_dark), n) - 1
        many = np.repeat(np.arange(n), detours)
        lengths = rng.exponential(1.0 / self.out_of_dark, len(many))
        lengths += rng.exponential(1.0 / self.pump, len(many))
        lengths += rng.exponential(1.0 / (self.decay + self.into_dark), len(many))
        stay += np.bincount(many, lengths, n)
        photons = np.cumsum(stay)
        assert photons[-1] > span_ns
        photons = photons[photons < span_ns]
        photons = photons[rng.random(len(photons)) < self.efficiency]
        to_a = rng.random(len(photons)) < 0.5
        found = []
        for mine, jitter, delay in (
            (photons[to_a], self.jitter_ns[0], 0.0),
            (photons[~to_a], self.jitter_ns[1], self.delay_ns),
        ):
            stray = rng.random(rng.poisson(self.background_per_ns * span_ns)) * span_ns
            when = np.concatenate([mine, stray]) + delay
            found.append(np.sort(when + rng.normal(0.0, jitter, len(when))))
        return found[0], found[1]
