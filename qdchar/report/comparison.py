"""How two records differ, with the uncertainty of the difference."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qdchar.errors import QdcharError
from qdchar.estimate import Contribution, Estimate, merge
from qdchar.files import PathLike, is_folder, is_there
from qdchar.lab.station_file import read_station_file
from qdchar.record import SourceRecord
from qdchar.trends import OUTLIVE_A_RUN, outlives_a_run

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    *("quantity", "words", "first", "first_u", "second", "second_u", "unit"),
    *("difference", "u", "pull", "p"),
)
"""Columns of `changes_table`."""


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

    @property
    def p(self) -> float | None:
        """Probability of so large a difference by chance, two-sided; None where both are exact."""
        return None if self.pull is None else math.erfc(abs(self.pull) / math.sqrt(2.0))


def compare_records(
    first: SourceRecord, second: SourceRecord, renewed: Collection[str] = ()
) -> Sequence[Change]:
    """Compare every figure that both records hold.

    Parameters
    ----------
    first, second
        The records. Of one station, they share the errors of its certificates, which cancel.
    renewed
        Names of certificates that are not the same in both, see `renewed_certificates`.
    """
    shares = first.station == second.station
    changes = []
    for name in first.quantities:
        if name in second.quantities:
            a, b = first.estimate(name), second.estimate(name)
            u = _u_of_difference(a, b, renewed if shares else None)
            changes.append(Change(name, a, b, b.value - a.value, u))
    return tuple(changes)


def renewed_certificates(first: PathLike, second: PathLike) -> tuple[str, ...]:
    """Return the certificates that differ between the station files that two runs kept.

    Parameters
    ----------
    first, second
        Run folders, or records in them. Where one has no station file that can be read, the
        certificates are taken to be the same.

    Returns
    -------
    tuple of str
        Their names. A certificate with the same value, uncertainty and text is the same one.
    """
    kept = []
    for path in map(Path, (first, second)):
        file = (path if is_folder(path) else path.parent) / "station.toml"
        try:
            kept.append(read_station_file(file).calibrations if is_there(file) else None)
        except QdcharError:
            kept.append(None)
    a, b = kept
    if a is None or b is None:
        return ()
    return tuple(name for name in {**a, **b} if a.get(name) != b.get(name))


def changes_table(changes: Sequence[Change]) -> pd.DataFrame:
    """Put changes into a table, one row each, with `COLUMNS`; SI units.

    Parameters
    ----------
    changes
        From `compare_records`.
    """
    import pandas as pd

    rows = [
        (
            *(c.name, c.first.quantity.words, c.first.value, c.first.u, c.second.value),
            *(c.second.u, c.first.unit, c.difference, c.u, c.pull, c.p),
        )
        for c in changes
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _u_of_difference(a: Estimate, b: Estimate, renewed: Collection[str] | None) -> float:
    """Add the contributions of each source with their signs; `renewed` None: nothing is shared."""
    lines = [
        Contribution(source if _is_shared(source, renewed) else f"{run}: {source}", sign * c.u)
        for run, sign, e in (("first", -1.0, a), ("second", 1.0, b))
        for c in e.budget
        for source in [c.source]
    ]
    return math.sqrt(sum(c.u**2 for c in merge(lines)))


def _is_shared(source: str, renewed: Collection[str] | None) -> bool:
    if renewed is None or not outlives_a_run(source):
        return False
    name = next(source.removeprefix(p) for p in OUTLIVE_A_RUN if source.startswith(p))
    return name not in renewed
