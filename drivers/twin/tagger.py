"""Time tagger of the simulated lab: the error of its clock, and the widths of its bins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .imperfections import CLOCK, Imperfections

BIN_WIDTHS = 0.05
_BINS = 96
"""Per period of the coarse counter: 4 ns of bins of 42 ps."""


@dataclass(frozen=True)
class Tagger:
    """What one time tagger has of errors.

    Attributes
    ----------
    clock
        True time over the time that it counts, less one.
    edges
        By how much the lower edge of each of its bins lies above its place [bins]; they repeat with
        the period of its coarse counter, at whose ends they are in place.
    """

    clock: float
    edges: NDArray[np.float64] = field(compare=False)  # drawn with the clock

    @classmethod
    def from_seed(
        cls, sizes: Imperfections, known: Mapping[str, float], seed: np.random.SeedSequence
    ) -> Self:
        """Draw those of a lab, about the `known` values of its certificates."""
        rng = np.random.default_rng(seed)
        clock = known["tagger_clock"] + sizes.tagger_clock * CLOCK * float(rng.standard_normal())
        widths = sizes.tagger_bins * BIN_WIDTHS * rng.standard_normal(_BINS)
        edges = np.concatenate((np.zeros(1), np.cumsum(widths - widths.mean())[:-1]))
        return cls(clock=clock, edges=edges)
