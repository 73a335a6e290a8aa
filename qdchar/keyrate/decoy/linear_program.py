"""Tight bounds for single photons with decoy states where pulses may hold three photons.

The yields Y0 ... Y3 are unknowns between 0 and 1, every setting's gain is a linear function of
them, and the least single-photon yield is a linear program. Its coefficients depend on the three-
photon probability p3, which is known to lie between 0 and `p3_max` only: that range is cut into
pieces, each piece takes the least and the largest coefficients in it, and the worst piece counts.
So the result holds for every p3 of the range, with a little slack that falls with the pieces;
where the closed form is tighter than that slack, the closed form counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .attenuated_source import AttenuatedSource, AttenuatorBounds

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AttenuatorProgram(AttenuatorBounds):
    """What counts per setting say about photon numbers, by linear programs.

    For one point at a time: counts of shape (settings,), scalars elsewhere. Counts that no yields
    can explain contradict the source's <n> and g2; they leave no single photons.

    Attributes
    ----------
    pieces
        Number of pieces of the range of p3.
    """

    pieces: int = 24

    def lower(
        self, counts: Floats, prepared: Floats, vacuum_max: Floats | None
    ) -> tuple[Floats, Floats]:
        """Least numbers of vacuum and of single-photon events among counts."""
        vacuum, closed = super().lower(counts, prepared, vacuum_max)
        shares = self._extreme_shares(counts, prepared, sign=1)
        if not shares:
            return np.zeros_like(vacuum), np.zeros_like(closed)
        return vacuum, np.maximum(closed, prepared * min(shares))

    def single_upper(self, counts: Floats, prepared: Floats) -> Floats:
        """Largest number of single-photon events among counts, or among errors."""
        shares = self._extreme_shares(counts, prepared, sign=-1)
        if not shares:
            return np.asarray(counts.sum(axis=0))
        return np.minimum(super().single_upper(counts, prepared), prepared * max(shares))

    def explains(self, counts: Floats, prepared: Floats) -> bool:
        """Whether any yields at all can make these counts, within the bounds."""
        return bool(self._extreme_shares(counts, prepared, sign=1))

    def _extreme_shares(self, counts: Floats, prepared: Floats, *, sign: int) -> list[float]:
        """Single-photon events per prepared pulse, of each piece that can explain the counts."""
        upper, lower = self.gains(counts, prepared)
        found = []
        for least, largest in _pieces(self.source, self.pieces):
            single = _extreme_single_yield(least, largest, upper, lower, sign=sign)
            emission = (self.source.share * (least if sign > 0 else largest)[:, 1]).sum()
            if single is not None:
                found.append(float(emission) * single)
        return found


def _pieces(source: AttenuatedSource, pieces: int) -> Iterator[tuple[Floats, Floats]]:
    """Least and largest photon-number probabilities, shape (settings, 4), of each piece."""
    edges = np.linspace(0.0, float(source.p3_max), pieces + 1)
    for first, last in pairwise(edges if source.p3_max > 0 else edges[:2]):
        ends = source.photons(first), source.photons(last)
        yield np.minimum(*ends), np.maximum(*ends)


def _extreme_single_yield(
    least: Floats, largest: Floats, upper: Floats, lower: Floats, *, sign: int
) -> float | None:
    """Least (sign 1) or largest (sign -1) Y1 that the gains allow; None where they allow none."""
    from scipy.optimize import linprog

    # gains are small: scale them, so that the solver's absolute tolerance is a relative one
    scale = 1 / max(float(upper.max()), 1e-300)
    result = linprog(
        sign * np.array([0.0, 1.0, 0.0, 0.0]),
        A_ub=np.concatenate([least, -largest]),
        b_ub=np.concatenate([upper, -lower]) * scale,
        bounds=(0, scale),
        method="highs",
    )
    if result.status == 2:
        return None
    if result.x is None:  # the solver gave up: the bound that says nothing
        return 0.0 if sign > 0 else 1.0
    return float(np.clip(result.x[1] / scale, 0.0, 1.0))
