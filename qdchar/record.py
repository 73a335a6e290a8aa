"""The source record: one source's quantities with covariance and provenance, as JSON.

The record is what a calibration hands to the program that runs the key exchange, so it is strict:
an undefined quantity, a unit that is not that of its definition, a negative uncertainty or a record
that is past its validity is an error that names the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    computed_field,
    model_validator,
)

from qdchar.errors import RecordError
from qdchar.estimate import Contribution, Estimate, Kind, covariance
from qdchar.files import read_json, shown, write_text
from qdchar.quantities import Quantity, define, is_known, quantity

SCHEMA: Literal["qdchar/source-record/2"] = "qdchar/source-record/2"

RENAMED_SOURCES: Mapping[str, str] = {
    "looks of the loop": "peak-lock readout",
    "way between visits": "drift between re-locks",
    "photons that come together": "two photons on one detector",
    "judgement of re-excitation": "assumed re-excitation",
}
"""Names of error sources in records of schema 1, and what they are called now.

A name may be followed by a comma and the run that it is of.
"""


def current_source(source: str) -> str:
    """Return what an error source of an older record or run is called now.

    Examples
    --------
    >>> current_source("photons that come together, hbt_after.h5")
    'two photons on one detector, hbt_after.h5'
    """
    name, comma, run = source.partition(", ")
    return RENAMED_SOURCES.get(name, name) + comma + run


class BudgetLine(BaseModel):
    """One independent error source of a quantity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    u: FiniteFloat
    kind: Kind


class RecordedQuantity(BaseModel):
    """One `Estimate` as it stands in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    u: Annotated[FiniteFloat, Field(ge=0)]
    unit: str
    definition: str
    method: str
    symbol: str = ""
    words: str = ""
    plane: str = ""
    interval_68: tuple[FiniteFloat, FiniteFloat] | None = None
    interval_95: tuple[FiniteFloat, FiniteFloat] | None = None
    budget: tuple[BudgetLine, ...] = ()

    @model_validator(mode="after")
    def _budget_makes_u(self) -> RecordedQuantity:
        total = float(np.sqrt(sum(line.u**2 for line in self.budget)))
        if abs(total - self.u) > 1e-6 * max(total, self.u):
            raise ValueError(
                f"u is {self.u:g}, but its budget adds up to {total:g}; was the file edited?"
            )
        return self

    @classmethod
    def of(cls, estimate: Estimate) -> RecordedQuantity:
        """Return an estimate as the record holds it."""
        return cls(
            value=estimate.value,
            u=estimate.u,
            unit=estimate.unit,
            definition=estimate.definition,
            symbol=estimate.quantity.symbol,
            words=estimate.quantity.words,
            method=estimate.method,
            plane=estimate.plane,
            interval_68=estimate.interval_68,
            interval_95=estimate.interval_95,
            budget=tuple(BudgetLine(source=c.source, u=c.u, kind=c.kind) for c in estimate.budget),
        )

    def define(self, name: str) -> None:
        """Define a lab's own quantity as this record describes it."""
        if not (self.symbol and self.words and self.definition):
            raise ValueError(
                f"{name!r} is not a known quantity, and the record does not say what it is "
                "(symbol, words, definition)"
            )
        define(Quantity(name, self.unit, self.symbol, self.words, self.definition))

    def estimate(self, name: str) -> Estimate:
        """Return it as an estimate."""
        return Estimate(
            name=name,
            value=self.value,
            method=self.method,
            plane=self.plane,
            budget=tuple(Contribution(b.source, b.u, b.kind) for b in self.budget),
            interval_68=self.interval_68,
            interval_95=self.interval_95,
        )


class RawFile(BaseModel):
    """A raw file that the quantities were computed from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class TakenOver(BaseModel):
    """A measurement whose quantities were taken over instead of measured.

    Attributes
    ----------
    run
        Run folder in which it was measured.
    measured
        When, UTC.
    age_hours
        Its age when the record was made [h].
    why
        "resumed": this run was broken off after it, and went on. "earlier run": it is from another
        run, and the recipe allows that.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measurement: str
    quantities: tuple[str, ...]
    run: str
    measured: datetime
    age_hours: FiniteFloat
    why: Literal["resumed", "earlier run"]


class SourceRecord(BaseModel):
    """One source's quantities at one time.

    Attributes
    ----------
    created, valid_until
        UTC; past `valid_until` the source has to be measured again.
    tuning
        For which state of the source the quantities hold: piezo voltages, attenuation, light path.
    quantities
        Quantities by name; two that share a budget line are correlated through it.
    raw
        The raw files with their hashes.
    problems
        Reasons why a quantity cannot be trusted; empty if there is none.
    taken_over
        Measurements that were not made in one go with the others.
    resumed
        When the calibration went on after it was broken off, UTC; empty if it was not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal["qdchar/source-record/1", "qdchar/source-record/2"] = Field(
        default=SCHEMA, alias="schema"
    )
    qdchar_version: str
    source: str
    station: str
    simulated: bool
    created: datetime
    valid_until: datetime
    tuning: dict[str, FiniteFloat | str]
    quantities: dict[str, RecordedQuantity]
    raw: tuple[RawFile, ...] = ()
    problems: tuple[str, ...] = ()
    taken_over: tuple[TakenOver, ...] = ()
    resumed: tuple[datetime, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key != "correlation"}
        return data

    @model_validator(mode="after")
    def _rename_sources(self) -> SourceRecord:
        """Give error sources of a record of schema 1 their present names."""
        if self.schema_ == "qdchar/source-record/1":
            for name, recorded in self.quantities.items():
                budget = tuple(
                    line.model_copy(update={"source": current_source(line.source)})
                    for line in recorded.budget
                )
                self.quantities[name] = recorded.model_copy(update={"budget": budget})
        return self

    @model_validator(mode="after")
    def _units_are_those_of_the_quantities(self) -> SourceRecord:
        for name, recorded in self.quantities.items():
            if not is_known(name):
                recorded.define(name)
            if recorded.unit != quantity(name).unit:
                raise ValueError(
                    f"{name}: unit is {recorded.unit!r}, must be {quantity(name).unit!r}"
                )
        return self

    @computed_field  # type: ignore[prop-decorator]
    @property
    def correlation(self) -> list[list[float]]:
        """Correlation matrix in the order of `quantities`, for readers in other languages."""
        cov = covariance([recorded.estimate(name) for name, recorded in self.quantities.items()])
        u = np.sqrt(np.diag(cov))
        scale = np.where(u > 0, u, 1.0)
        return [[float(f"{v:.6g}") for v in row] for row in cov / np.outer(scale, scale)]

    def estimate(self, name: str) -> Estimate:
        """Return one quantity.

        Raises
        ------
        RecordError
            If the record does not hold it.
        """
        if name not in self.quantities:
            raise RecordError(
                f"the record of {self.source} holds no {name}; it holds "
                f"{', '.join(self.quantities)}"
            )
        return self.quantities[name].estimate(name)

    def write(self, file: Path) -> None:
        """Write as JSON, in one piece."""
        write_text(file, self.model_dump_json(by_alias=True, indent=1) + "\n")


def make_record(
    estimates: Sequence[Estimate],
    *,
    qdchar_version: str,
    source: str,
    station: str,
    simulated: bool,
    valid_for: timedelta,
    tuning: Mapping[str, float | str],
    raw: Sequence[RawFile] = (),
    problems: Sequence[str] = (),
    taken_over: Sequence[TakenOver] = (),
    resumed: Sequence[datetime] = (),
    valid_until: datetime | None = None,
) -> SourceRecord:
    """Make a record of estimates and their provenance.

    Parameters
    ----------
    valid_until
        Where a quantity that was taken over is valid for a shorter time than `valid_for` from now.
    """
    now = datetime.now(UTC)
    return SourceRecord(
        schema=SCHEMA,
        qdchar_version=qdchar_version,
        source=source,
        station=station,
        simulated=simulated,
        created=now,
        valid_until=now + valid_for if valid_until is None else min(valid_until, now + valid_for),
        tuning=dict(tuning),
        quantities={e.name: RecordedQuantity.of(e) for e in estimates},
        raw=tuple(raw),
        problems=tuple(problems),
        taken_over=tuple(taken_over),
        resumed=tuple(resumed),
    )


def load_record(file: Path, *, now: datetime | None = None, stale_ok: bool = False) -> SourceRecord:
    """Read a record and check it.

    Parameters
    ----------
    file
        ``record.json``, or a run folder that holds one.
    now
        The time at which the record must be valid; the present by default.
    stale_ok
        Accept a record past its validity.

    Raises
    ------
    RecordError
        If it cannot be read, is invalid or stale; names the field.
    """
    if file.is_dir():
        file = file / "record.json"
    data = read_json(file)
    try:
        record = SourceRecord.model_validate(data)
    except ValidationError as error:
        raise RecordError(f"{file}: {explain(error)}") from None
    if not stale_ok and (now or datetime.now(UTC)) > record.valid_until:
        raise RecordError(
            f"{file}: stale: valid_until is {record.valid_until:%Y-%m-%d %H:%M} UTC; measure the "
            "source again"
        )
    return record


def explain(error: ValidationError, table: str = "") -> str:
    """Name each field that is wrong, with the reason.

    Parameters
    ----------
    table
        Name of the table of a file in which the fields are.
    """
    lines = []
    for item in error.errors():
        path = [table] if table else []
        where = ".".join([*path, *map(str, item["loc"])]) or "the file as a whole"
        reason = "unknown key" if item["type"] == "extra_forbidden" else item["msg"]
        value = item["input"]
        given = "" if isinstance(value, dict | BaseModel) else f" (given: {shown(value)})"
        lines.append(f"{where}: {reason}{given}")
    return "; ".join(lines)
