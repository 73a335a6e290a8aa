"""A piezo actuator: hysteresis, creep and slow drift.

Hysteresis is the Prandtl-Ishlinskii model, a weighted sum of play operators; creep goes with the
logarithm of the time since each change of voltage.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

PLAY_V = np.array([1.0, 2.8, 10.0])
"""Thresholds of the play operators [V], with equal weights. With 6 % in all, scans of a resonance
up and down over 12 V differ by 0.15 V, and the distance of two orders is 4 % more volts."""
CREEP_ONSET_S = 0.1

_HISTORY = 512
_NEAR = 0.01


class Piezo:
    """One piezo, in volts: its effective voltage is its displacement over the gain.

    Parameters
    ----------
    hysteresis
        Share of the response that goes through the play operators.
    creep
        Further response per decade of time after a change, as a share of that change.

    Attributes
    ----------
    hysteresis, creep
        As given; they may be changed.
    """

    def __init__(self, hysteresis: float, creep: float) -> None:
        self.hysteresis = hysteresis
        self.creep = creep
        self._voltage_V = 0.0
        self._play = np.zeros(len(PLAY_V))
        self._when: Array = np.zeros(0)
        self._change: Array = np.zeros(0)
        self._moment: Array = np.zeros(0)
        self._room = _HISTORY

    @property
    def voltage_V(self) -> float:
        """The voltage that is applied [V]."""
        return self._voltage_V

    def set(self, voltage_V: float, now_s: float) -> None:
        """Apply a voltage [V] at a time [s]; times may not go back."""
        if voltage_V == self._voltage_V:
            return
        self._when = np.append(self._when, now_s)
        self._change = np.append(self._change, voltage_V - self._voltage_V)
        self._moment = np.append(self._moment, 0.0)
        self._voltage_V = voltage_V
        self._play = np.maximum(voltage_V - PLAY_V, np.minimum(voltage_V + PLAY_V, self._play))
        if len(self._when) > self._room:
            self._merge(now_s)

    def _merge(self, now_s: float) -> None:
        """Merge neighbours in the history whose distance in time is small compared to their age.

        The sum of their changes and its first moment in time are kept, so that an old step up and
        down again still has its effect.
        """
        n = len(self._when) // 2 * 2
        when, change, moment = (
            a[:n].reshape(-1, 2) for a in (self._when, self._change, self._moment)
        )
        near = when[:, 1] - when[:, 0] < _NEAR * (now_s - when[:, 1])
        middle = when.mean(axis=1, keepdims=True)
        moments = moment + change * (when - middle)
        first = np.array([True, False])
        gone = near[:, None] & ~first
        one = near[:, None] & first
        self._when, self._change, self._moment = (
            np.concatenate((np.where(one, sums, each)[~gone], all_[n:]))
            for sums, each, all_ in (
                (middle, when, self._when),
                (change.sum(axis=1, keepdims=True), change, self._change),
                (moments.sum(axis=1, keepdims=True), moment, self._moment),
            )
        )
        self._room = max(_HISTORY, 2 * len(self._when))

    def effective_V(self, times_s: ArrayLike) -> Array:
        """Return the effective voltage [V] at times since the last change [s], any shape."""
        times = np.asarray(times_s, dtype=np.float64)
        share = self.hysteresis
        at_once = (1.0 - share) * self._voltage_V + share * float(self._play.mean())
        age = np.maximum(times[..., None] - self._when, 0.0) + CREEP_ONSET_S
        late = np.log10(age / CREEP_ONSET_S) @ self._change
        late -= (1.0 / age) @ self._moment / np.log(10.0)
        return np.asarray(at_once + self.creep * late)


def virgin_effective_V(voltage_V: float, hysteresis: float) -> float:
    """Effective voltage [V] on the first way up from zero, before any creep."""
    play = np.maximum(voltage_V - PLAY_V, 0.0)
    return (1.0 - hysteresis) * voltage_V + hysteresis * float(play.mean())
