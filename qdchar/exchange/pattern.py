"""What Alice sends: a random state for each pulse, computed from a seed when it is needed.

The states of 10^10 pulses need no memory, because each follows from the seed and the pulse's
number. The generator (splitmix64) is good enough for a simulation, but its numbers can be
guessed: a real transmitter needs a physical random-number generator, and keeps its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numba as nb
import numpy as np
from numpy.typing import NDArray

from qdchar.errors import UsageError

Z, X = 0, 1
"""The two bases. A state is 2 basis + bit: H and V in Z, D and A in X."""

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = (np.uint64(n) for n in (11, 27, 30, 31))
_ONE = np.uint64(1)

compiled = nb.njit(cache=True, nogil=True)


@compiled
def state_of(seed: np.uint64, pulse: int, p_z: float, three_states: bool) -> np.int64:
    """State of one pulse: 0 and 1 in basis Z, 2 and 3 in X; of three states, 2 only in X."""
    z = seed + np.uint64(pulse) * _STEP
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z = z ^ (z >> _S31)
    if np.float64(z >> _S11) * 2.0**-53 < p_z:
        return np.int64(z & _ONE)
    if three_states:
        return np.int64(2)
    return np.int64(2) + np.int64(z & _ONE)


@compiled
def _states(
    seed: np.uint64, pulses: NDArray[np.int64], p_z: float, three_states: bool
) -> NDArray[np.uint8]:
    states = np.empty(len(pulses), np.uint8)
    for i in range(len(pulses)):
        states[i] = state_of(seed, pulses[i], p_z, three_states)
    return states


@dataclass(frozen=True)
class Pattern:
    """Alice's states.

    Attributes
    ----------
    seed
        64 bits.
    pulses
        How many she sends; they have the numbers from 0 on.
    p_z
        Probability of basis Z.
    number_of_states
        4, or 3: H, V and D.
    """

    seed: int
    pulses: int
    p_z: float
    number_of_states: Literal[3, 4]

    def __post_init__(self) -> None:
        if not 0 < self.p_z < 1:
            raise UsageError(f"pattern: p_z = {self.p_z:g}: more than 0, less than 1")
        if self.pulses < 1:
            raise UsageError(f"pattern: {self.pulses} pulses: at least one")

    @property
    def three_states(self) -> bool:
        """Whether there is only one state in basis X."""
        return self.number_of_states == 3

    def states(self, pulses: NDArray[np.int64]) -> NDArray[np.uint8]:
        """States of some pulses, 2 basis + bit, shape (n,)."""
        return np.asarray(_states(np.uint64(self.seed), pulses, self.p_z, self.three_states))
