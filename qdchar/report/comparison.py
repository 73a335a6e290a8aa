"""How two records differ, with the uncertainty of the difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qdchar.estimate import Contribution, Estimate, merge
from qdchar.record import SourceRecord

_SHARED = "calibration "
"""Errors that outlive a run; all others belong to one run, whatever their name."""


@dataclass(frozen=True)
class Change:
    """One figure in two records.

    Attributes
    ----------
    difference, u
        Second minus first, and its standard uncertainty.
    """

    name: str
    first: Estimate
    second: Estimate
    difference: float
    u: float

    @property
    def pull(self) -> float | None:
        """Difference over its uncertainty; None where both are exact."""
        return self.difference / self.u if self.u > 0 else None


def compare_records(first: SourceRecord, second: SourceRecord) -> Sequence[Change]:
    """Compare every figure that both records hold."""
    changes = []
    for name in first.quantities:
        if name in second.quantities:
            a, b = first.estimate(name), second.estimate(name)
            changes.append(Change(name, a, b, b.value - a.value, _u_of_difference(a, b)))
    return tuple(changes)


def _u_of_difference(a: Estimate, b: Estimate) -> float:
    lines = [
        Contribution(c.source if c.source.startswith(_SHARED) else f"{run}: {c.source}", sign * c.u)
        for run, sign, e in (("first", -1.0, a), ("second", 1.0, b))
        for c in e.budget
    ]
    return math.sqrt(sum(c.u**2 for c in merge(lines)))
