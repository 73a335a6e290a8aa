"""The part of a time-dependent link that gives the longest key, whatever the light.

A link over time is a row of slots. What is received in a window of slots is one block with one key,
at settings that stay the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Starts and stops of a window that are tried in one go, and the rounds of settings and windows.
_EDGES = 40
_ROUNDS = 4


class _AnyKey(Protocol):
    @property
    def key_length(self) -> Floats: ...

    @property
    def score(self) -> Floats: ...


Key = TypeVar("Key", bound=_AnyKey)


class Block(ABC, Generic[Key]):
    """Counts of the slots, and the key of any row of them."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many slots there are."""

    @abstractmethod
    def best(self, first: int, last: int, near: Floats | None = None) -> tuple[Key, Floats]:
        """Key of the slots from `first` to before `last` at its best settings, and these.

        Parameters
        ----------
        first, last
            The window.
        near
            Settings of a similar window, from which to search.
        """

    @abstractmethod
    def per_slot(self, settings: Floats) -> tuple[Floats, Floats]:
        """Return expected counts, shape (..., slots), and pulses sent, shape (slots,)."""

    @abstractmethod
    def key(self, counts: Floats, sent: Floats, settings: Floats) -> Key:
        """Key of windows with these counts, shape (..., windows)."""

    def window(self, settings: Floats) -> tuple[int, int]:
        """Slots whose key is longest at these settings: the first, and that after the last."""
        counts, sent = self.per_slot(settings)
        until = np.concatenate([np.zeros_like(counts[..., :1]), counts.cumsum(axis=-1)], axis=-1)
        sent_until = np.append(0.0, sent.cumsum())

        def longest(starts: Floats, stops: Floats) -> tuple[int, int]:
            i, j = (a.ravel() for a in np.meshgrid(starts, stops, indexing="ij"))
            i, j = i[i < j].astype(int), j[i < j].astype(int)
            key = self.key(until[..., j] - until[..., i], sent_until[j] - sent_until[i], settings)
            some = key.key_length > 0
            best = int(np.where(some, key.key_length, key.score).argmax())
            return int(i[best]), int(j[best])

        step = max(self.slots // _EDGES, 1)
        grid = np.unique(np.append(np.arange(0, self.slots, step), self.slots))
        first, last = longest(grid, grid)
        near = np.arange(-step, step + 1)
        fine = [np.unique((edge + near).clip(0, self.slots)) for edge in (first, last)]
        return longest(fine[0], fine[1])


@dataclass(frozen=True)
class BestWindow(Generic[Key]):
    """The window with the longest key.

    Attributes
    ----------
    first, last
        Its first slot, and that after its last.
    key, settings
        Of the window.
    key_of_all
        Of all slots, at the best settings for that.
    """

    first: int
    last: int
    key: Key
    settings: Floats
    key_of_all: Key


def best_window(block: Block[Key], loss_dB: Floats) -> BestWindow[Key]:
    """Find the window with the longest key.

    Settings and window follow from one another in turns, beginning with all slots and with those
    of a loss within 3 dB of the smallest.

    Parameters
    ----------
    block
        The slots.
    loss_dB
        Their channel losses, shape (slots,).
    """
    everything, of_all = block.best(0, block.slots)
    nearest = np.flatnonzero(loss_dB <= loss_dB.min() + 3)
    _, of_close = block.best(int(nearest[0]), int(nearest[-1]) + 1, of_all)
    found = BestWindow(0, block.slots, everything, of_all, everything)
    tried = set()
    for begin in (of_all, of_close):
        settings = begin
        for _ in range(_ROUNDS):
            window = block.window(settings)
            if window in tried:
                break
            tried.add(window)
            key, settings = block.best(*window, settings)
            if float(key.key_length) > float(found.key.key_length):
                found = BestWindow(*window, key, settings, everything)
    return found
