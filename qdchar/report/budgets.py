"""Uncertainty budgets of a record as tables, and what would reduce an uncertainty most."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qdchar.estimate import Contribution, Estimate, Kind
from qdchar.lab.measurement import Registry, provider
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.notation import prefixed
from qdchar.quantities import is_known, quantity
from qdchar.record import SourceRecord

if TYPE_CHECKING:
    import pandas as pd

TIME_FACTOR = 4.0
"""How many times the counting time halves what counting adds to u: it falls as 1/sqrt(time)."""

LEAST_SHOWN = 1e-4
"""Least share of the variance of a line that is shown to people; ``--json`` has all."""

_CERTIFICATES = ("shared calibration ", "calibration ", "assumed ")
_RAW_FILE = re.compile(r"(\w+)\.(?:h5|csv)\b")
_OTHER_WAYS: Mapping[str, str] = {
    "peak-lock readout": "longer counting at each peak lock (dwell_s of the recipe's [cavity])",
    "cavity re-lock": "longer counting at each peak lock (dwell_s of the recipe's [cavity])",
    "drift between runs": "runs closer together in time, or a source that drifts less",
    "drift between re-locks": "re-locks of the cavity closer together in time",
    "polarisation at the detectors": "detectors with a smaller detector_polarisation; "
    "a polarisation scrambler",
    "switching to": "a light path with a smaller light_path_repeatability",
    "vibration": "a quieter cavity mirror, or a better certificate cavity_vibration",
}
"""Beginning of the names of errors that counting longer does not reduce, and what does."""
_SCATTER = "excess scatter"
_MORE_POINTS = "more points, and finding out what scatters beyond counting noise"
_NO_WAY = "neither counting time nor a certificate: it is a model or a judgement (see the method)"


@dataclass(frozen=True)
class BudgetRow:
    """One line of a budget.

    Attributes
    ----------
    source, kind
        As in `qdchar.estimate.Contribution`.
    u
        Contribution to the standard uncertainty, signed [unit of the quantity].
    share
        Of the variance; 0 if the quantity is exact.
    sensitivity
        Derivative of the quantity with respect to the source, where it is known.
    sensitivity_unit
        Unit of `sensitivity`, ``"1"`` for a pure number; empty where it is not known.
    correlated_with
        Other quantities of the record that have the same error.
    """

    source: str
    kind: Kind
    u: float
    share: float
    sensitivity: float | None
    sensitivity_unit: str
    correlated_with: tuple[str, ...]


@dataclass(frozen=True)
class Reduction:
    """One way to a smaller uncertainty.

    Attributes
    ----------
    sources
        The error sources that it reduces.
    share
        Theirs of the variance.
    how
        What has to be done, in words.
    u_if_halved, u_if_zero
        Standard uncertainty of the quantity if these contributions were half as large, or zero
        [unit of the quantity].
    measurement
        The measurement that has to count longer; empty where that does not help.
    time_factor
        How many times its counting time halves these contributions; None where it does not help.
    more_s
        Counting time that comes on top [s]; None where the settings of the run are not known.
    certificate
        The certificate that has to be better; empty if there is none.
    """

    sources: tuple[str, ...]
    share: float
    how: str
    u_if_halved: float
    u_if_zero: float
    measurement: str = ""
    time_factor: float | None = None
    more_s: float | None = None
    certificate: str = ""


@dataclass(frozen=True)
class BudgetTable:
    """Budget of one quantity: its lines, and what would reduce it; the largest first."""

    estimate: Estimate
    rows: tuple[BudgetRow, ...]
    reductions: tuple[Reduction, ...]

    @property
    def shown(self) -> tuple[BudgetRow, ...]:
        """The lines that are shown to people."""
        return tuple(row for row in self.rows if row.share >= LEAST_SHOWN)

    @property
    def hidden_text(self) -> str:
        """Say how many lines are not among `shown`; empty if all are."""
        left = [row.share for row in self.rows if row.share < LEAST_SHOWN]
        if not left:
            return ""
        lines = "1 line" if len(left) == 1 else f"{len(left)} lines"
        return f"{lines} below {100.0 * LEAST_SHOWN:g} %, {100.0 * sum(left):.2g} % together"

    def to_frame(self) -> pd.DataFrame:
        """Return the lines as a table.

        Returns
        -------
        pandas.DataFrame
            One row per line of the budget, the largest first, with the attributes of `BudgetRow` as
            columns; ``attrs["unit"]`` is the unit of `u`.
        """
        import pandas as pd

        names = [field.name for field in fields(BudgetRow)]
        frame = pd.DataFrame([asdict(row) for row in self.rows], columns=names)
        frame.attrs["unit"] = self.estimate.unit
        return frame

    def as_json(self) -> dict[str, Any]:
        """Return it for ``--json``; numbers in SI units."""
        e = self.estimate
        return {
            "value": e.value,
            "u": e.u,
            "unit": e.unit,
            "budget": [asdict(row) for row in self.rows],
            "reductions": [asdict(reduction) for reduction in self.reductions],
        }


class Budgets:
    """The budgets of a record.

    Parameters
    ----------
    record
        The record.
    recipe
        Settings that its measurements had, where they are known.
    registry
        The measurements that may have made it.
    """

    def __init__(
        self, record: SourceRecord, recipe: Recipe | None = None, registry: Registry = MEASUREMENTS
    ) -> None:
        self._record, self._recipe, self._registry = record, recipe, registry

    def table(self, name: str) -> BudgetTable:
        """Return the budget of a quantity. Raises RecordError if the record does not hold it."""
        e = self._record.estimate(name)
        lines = sorted(e.budget, key=lambda c: -abs(c.u))
        return BudgetTable(e, tuple(self._row(e, c) for c in lines), self._reductions(e))

    def tables(self) -> tuple[BudgetTable, ...]:
        """Return the budgets of all quantities, in the record's order."""
        return tuple(map(self.table, self._record.quantities))

    def _row(self, e: Estimate, c: Contribution) -> BudgetRow:
        others = tuple(n for n in self._users.get(c.source, ()) if n != e.name and c.u != 0.0)
        known = c.sensitivity is not None
        unit = _ratio_unit(e.unit, certificate_of(c.source)) if known else ""
        return BudgetRow(c.source, c.kind, c.u, _share(e, [c]), c.sensitivity, unit, others)

    @cached_property
    def _users(self) -> Mapping[str, list[str]]:
        """Names of the quantities that an error moves, in the record's order."""
        users: dict[str, list[str]] = {}
        for name, recorded in self._record.quantities.items():
            for source in dict.fromkeys(line.source for line in recorded.budget if line.u != 0.0):
                users.setdefault(source, []).append(name)
        return users

    def _reductions(self, e: Estimate) -> tuple[Reduction, ...]:
        """Put what counting longer in one measurement reduces together; all else stands alone."""
        groups: dict[str, list[Contribution]] = {}
        for c in e.budget:
            if c.u != 0.0:
                groups.setdefault(self.counted_by(c) or f"source {c.source}", []).append(c)
        ways = [self._reduction(e, lines) for lines in groups.values()]
        return tuple(sorted(ways, key=lambda r: -r.share))

    def _reduction(self, e: Estimate, lines: Sequence[Contribution]) -> Reduction:
        first = lines[0]
        certificate, measurement = certificate_of(first.source), self.counted_by(first)
        # not below 0 by rounding, where nothing else contributes
        rest = max(e.u**2 - sum(c.u**2 for c in lines), 0.0)
        way = Reduction(
            sources=tuple(c.source for c in lines),
            share=_share(e, lines),
            how=_other_way(first),
            u_if_halved=math.sqrt(rest + 0.25 * sum(c.u**2 for c in lines)),
            u_if_zero=math.sqrt(rest),
        )
        if measurement:
            now_s = self._counting_s(measurement)
            more_s = None if now_s is None else (TIME_FACTOR - 1.0) * now_s
            cost = "" if more_s is None else f", {more_s:.3g} s more"
            how = f"{TIME_FACTOR:g} times the counting time of {measurement}{cost}"
            return replace(
                way, how=how, measurement=measurement, time_factor=TIME_FACTOR, more_s=more_s
            )
        if certificate:
            how = f"a better calibration of {certificate}; lab time does not help"
            return replace(way, how=how, certificate=certificate)
        return way

    def counted_by(self, c: Contribution) -> str:
        """Return the measurement whose counting noise a contribution is; empty if it is none.

        The source names its raw file, or the first quantity of the record that has it tells.
        """
        other = any(c.source.startswith(beginning) for beginning in _OTHER_WAYS)
        if c.kind == "B" or other or _SCATTER in c.source:
            return ""
        file = _RAW_FILE.search(c.source)
        if file is not None:
            named = [name for name in self._registry if file[1].startswith(name)]
            if named:
                return max(named, key=len)
        first = self._users[c.source][0]
        made = {q for m in self._registry.values() for q in m.quantities}
        return provider(self._registry, first) if first in made else f"what finds {first}"

    def _counting_s(self, name: str) -> float | None:
        """Return the counting time of a measurement in the run [s]; None where it is not known."""
        if self._recipe is None or name not in self._registry:
            return None
        measurement = self._registry[name]
        try:
            return measurement.dwell_s(self._recipe.settings_of(measurement), _limits_not_known)
        except LookupError:
            return None


def budgets_of_run(path: Path, record: SourceRecord) -> Budgets:
    """Return the budgets of a record, with the recipe of its run where it stands in one."""
    from qdchar.files import is_folder, is_there
    from qdchar.lab.run import read_kept

    file = (path if is_folder(path) else path.parent) / "recipe.json"
    return Budgets(record, read_kept(Recipe, file) if is_there(file) else None)


def certificate_of(source: str) -> str:
    """Return the name of the certificate that an error source is of; empty if it is of none.

    Examples
    --------
    >>> certificate_of("calibration path_after"), certificate_of("photon counting")
    ('path_after', '')
    """
    for beginning in _CERTIFICATES:
        if source.startswith(beginning):
            return source.removeprefix(beginning)
    return ""


def _other_way(c: Contribution) -> str:
    """Say what reduces an error that is neither counting noise nor that of a certificate."""
    for beginning, way in _OTHER_WAYS.items():
        if c.source.startswith(beginning):
            return way
    return _MORE_POINTS if c.kind == "A" else _NO_WAY


def _share(e: Estimate, lines: Iterable[Contribution]) -> float:
    return sum((c.u / e.u) ** 2 for c in lines) if e.u > 0.0 else 0.0


def _ratio_unit(unit: str, certificate: str) -> str:
    """Return the unit of a derivative; empty where the certificate's unit is not known."""
    if not is_known(certificate):
        return ""
    per = quantity(certificate).unit
    if unit == per:
        return "1"
    return unit if per == "1" else f"{unit}/{per if '/' not in per else f'({per})'}"


def _limits_not_known(role: str) -> tuple[float, float]:
    raise LookupError(role)


def u_text(u: float, unit: str) -> str:
    """Write an uncertainty, or a contribution to one, with three digits.

    Examples
    --------
    >>> u_text(-3.614e-13, "s"), u_text(0.0, "1"), u_text(0.00512, "1")
    ('-361 fs', '0', '0.00512')
    """
    scale, shown = prefixed(u, unit)
    return f"{u / scale:.3g} {shown}".rstrip()


def some_of(names: Sequence[str]) -> str:
    """Name at most three, and say how many more there are.

    Examples
    --------
    >>> some_of(("p1", "p2")), some_of(("a", "b", "c", "d", "e"))
    ('p1, p2', 'a, b, c and 2 more')
    """
    more = len(names) - 3
    return ", ".join(names) if more <= 0 else f"{', '.join(names[:3])} and {more} more"


def sensitivity_text(row: BudgetRow) -> str:
    """Write the sensitivity of a line with its unit; empty where it is not known."""
    if row.sensitivity is None:
        return ""
    unit = "" if row.sensitivity_unit == "1" else row.sensitivity_unit
    return f"{row.sensitivity:.3g} {unit}".rstrip()
