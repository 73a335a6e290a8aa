"""Jumps of the dot's line in the simulated lab: charges near the dot that are trapped and freed.

Most of the wandering is faster than any recording. The rest is kept for a while and drawn anew, on
two time scales; the width of the line averaged over a long time stays what it is.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

EVERY_s = (3.0, 0.03)
"""How long the line keeps a place, by time scale."""
SHARE = 0.03
"""Standard deviation of the jumps of each time scale over that of all wandering."""


class SpectralJumps:
    """Places of one dot's line.

    Parameters
    ----------
    wandering_Hz
        Standard deviation of all wandering [Hz].
    size
        Times `SHARE`; 0 for no jumps.
    seed
        Of the places.
    """

    def __init__(self, wandering_Hz: float, size: float, seed: np.random.SeedSequence) -> None:
        self._share = SHARE * size
        self._wandering_Hz, self._seed = wandering_Hz, seed
        self._place = lru_cache(maxsize=64)(self._drawn)

    @property
    def fast_Hz(self) -> float:
        """Standard deviation of the wandering that is faster than the jumps [Hz]."""
        return self._wandering_Hz * math.sqrt(1.0 - len(EVERY_s) * self._share**2)

    def offset_Hz(self, time_s: float) -> float:
        """Frequency of the line less its mean [Hz]."""
        if self._share == 0.0:
            return 0.0
        places = (self._place(k, int(time_s // s)) for k, s in enumerate(EVERY_s))
        return self._share * self._wandering_Hz * sum(places)

    def _drawn(self, scale: int, number: int) -> float:
        key = (*self._seed.spawn_key, scale, number)
        rng = np.random.default_rng(np.random.SeedSequence(self._seed.entropy, spawn_key=key))
        return float(rng.standard_normal())
