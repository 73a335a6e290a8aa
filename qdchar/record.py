"""The source record: one source's quantities with covariance and provenance, as JSON.

The record is what a calibration hands to the program that runs the key exchange, so it is strict:
an undefined quantity, a unit that is not that of its definition, a negative uncertainty is an error
that names the field. So is a record that was edited, contradicts itself, is past its validity or
has another verdict than GO, unless whoever loads it accepts that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PrivateAttr,
    ValidationError,
    computed_field,
    field_validator,
    model_validator,
)

from qdchar.errors import RecordError
from qdchar.estimate import Contribution, Estimate, Kind, covariance
from qdchar.files import PathLike, is_folder, read_json, shown, write_text
from qdchar.quantities import Quantity, define, is_known, quantity
from qdchar.record_checks import Objection, digest_of, objections
from qdchar.verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

SCHEMA: Literal["qdchar/source-record/3"] = "qdchar/source-record/3"
"""Schema 3 has `verdict`, `assumptions` and `digest`; schemas 1 and 2 can be read, if accepted."""

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


_LARGEST = 1e100


def _has_a_square(number: float) -> float:
    """Refuse a number that no quantity has: arithmetic with it would overflow."""
    if abs(number) > _LARGEST:
        raise ValueError(f"at most {_LARGEST:g} is possible")
    return number


_Number = Annotated[FiniteFloat, AfterValidator(_has_a_square)]


class BudgetLine(BaseModel):
    """One independent error source of a quantity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    u: _Number
    kind: Kind
    sensitivity: _Number | None = None

    @classmethod
    def of(cls, c: Contribution) -> BudgetLine:
        """Return a contribution as the record holds it."""
        return cls(source=c.source, u=c.u, kind=c.kind, sensitivity=c.sensitivity)


class RecordedQuantity(BaseModel):
    """One `Estimate` as it stands in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: _Number
    u: Annotated[_Number, Field(ge=0)]
    unit: str
    definition: str
    method: str
    symbol: str = ""
    words: str = ""
    plane: str = ""
    interval_68: tuple[_Number, _Number] | None = None
    interval_95: tuple[_Number, _Number] | None = None
    budget: tuple[BudgetLine, ...] = ()

    @field_validator("interval_68", "interval_95")
    @classmethod
    def _ends_in_order(cls, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        if interval is not None and interval[0] > interval[1]:
            raise ValueError("the lower end comes first")
        return interval

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
            budget=tuple(map(BudgetLine.of, estimate.budget)),
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
            budget=tuple(Contribution(b.source, b.u, b.kind, b.sensitivity) for b in self.budget),
            interval_68=self.interval_68,
            interval_95=self.interval_95,
        )


class RawFile(BaseModel):
    """A raw file that the quantities were computed from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[str, Field(pattern=r"^raw/")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @field_validator("file")
    @classmethod
    def _stays_in_the_folder(cls, file: str) -> str:
        if ".." in PurePosixPath(file).parts or "\0" in file:
            raise ValueError("a raw file is in the run's folder raw/")
        return file


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
    measured: AwareDatetime
    age_hours: FiniteFloat
    why: Literal["resumed", "earlier run"]


class SourceRecord(BaseModel):
    """One source's quantities at one time.

    Attributes
    ----------
    qdchar_version
        Of the program that wrote it.
    source, station
        Names, as in the station file.
    simulated
        Whether any instrument was a simulated one.
    created, valid_until
        UTC; past `valid_until` the source has to be measured again.
    verdict
        GO, NO-GO or inconclusive, with reasons, demands and the key rate it rests on; None where
        nobody has judged the record.
    problems
        Reasons why a quantity cannot be trusted; empty if there is none.
    assumptions
        What the predicted key rate takes for granted, and what stands for certificates that the
        station does not have; one sentence each.
    tuning
        For which state of the source the quantities hold: piezo voltages, attenuation, light path.
    quantities
        Quantities by name; two that share a budget line are correlated through it.
    raw
        The raw files with their hashes.
    taken_over
        Measurements that were not made in one go with the others.
    resumed
        When the calibration went on after it was broken off, UTC; empty if it was not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[
        "qdchar/source-record/1", "qdchar/source-record/2", "qdchar/source-record/3"
    ] = Field(default=SCHEMA, alias="schema")
    qdchar_version: str
    source: str
    station: str
    simulated: bool
    created: AwareDatetime
    valid_until: AwareDatetime
    verdict: Verdict | None = None
    problems: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    tuning: dict[str, FiniteFloat | str]
    quantities: dict[str, RecordedQuantity]
    raw: tuple[RawFile, ...] = ()
    taken_over: tuple[TakenOver, ...] = ()
    resumed: tuple[AwareDatetime, ...] = ()
    _objections: tuple[Objection, ...] = PrivateAttr(default=())

    @model_validator(mode="before")
    @classmethod
    def _drop_derived(cls, data: Any) -> Any:
        if isinstance(data, dict):
            derived = ("correlation", "digest")
            return {key: value for key, value in data.items() if key not in derived}
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

    @computed_field  # type: ignore[prop-decorator]
    @property
    def digest(self) -> str:
        """SHA-256 of the content, see `qdchar.record_checks.digest_of`."""
        return digest_of(json.loads(self.model_dump_json(by_alias=True, exclude={"digest"})))

    @property
    def objections(self) -> tuple[Objection, ...]:
        """All that spoke against using the record when it was loaded."""
        return self._objections

    @property
    def faults(self) -> tuple[Objection, ...]:
        """Those objections that say that it was edited, or contradicts itself."""
        return tuple(o for o in self._objections if o.kind == "fault")

    def judged(self, verdict: Verdict, assumptions: Sequence[str]) -> SourceRecord:
        """Return the record with its verdict, and what the key rate behind it assumes, too."""
        both = tuple(dict.fromkeys((*assumptions, *self.assumptions)))
        return self.model_copy(update={"verdict": verdict, "assumptions": both})

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

    def to_frame(self) -> pd.DataFrame:
        """Return the quantities as a table, one row each, with the columns of `estimates_table`."""
        from qdchar.tables import estimates_table

        return estimates_table([self.estimate(name) for name in self.quantities])

    def _repr_html_(self) -> str:
        from qdchar.html_tables import record_html

        return record_html(self)

    def write(self, file: PathLike) -> None:
        """Write as JSON, in one piece."""
        write_text(Path(file), self.model_dump_json(by_alias=True, indent=1) + "\n")


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
    assumptions: Sequence[str] = (),
    taken_over: Sequence[TakenOver] = (),
    resumed: Sequence[datetime] = (),
    valid_until: datetime | None = None,
) -> SourceRecord:
    """Make a record of estimates and their provenance.

    Parameters
    ----------
    assumptions
        What stands for certificates that the station does not have.
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
        assumptions=tuple(assumptions),
        taken_over=tuple(taken_over),
        resumed=tuple(resumed),
    )


def load_record(
    file: PathLike, *, now: datetime | None = None, accept: bool = False, stale_ok: bool = False
) -> SourceRecord:
    """Read a record that may be used: unchanged, consistent, valid, and not found wanting.

    Parameters
    ----------
    file
        ``record.json``, or a run folder that holds one.
    now
        The time at which the record must be valid; the present by default.
    accept
        Return the record whatever speaks against it, as long as it can be read; its `objections`
        say what that is.
    stale_ok
        Accept a record past its validity, and nothing else.

    Raises
    ------
    RecordError
        If it cannot be read, was edited, contradicts itself, is inconclusive, a NO-GO, or stale;
        names the field.
    """
    file = Path(file)
    if is_folder(file):
        file = file / "record.json"
    data = read_json(file)
    try:
        record = SourceRecord.model_validate(data)
    except ValidationError as error:
        raise RecordError(f"{file}: {explain(error)}") from None
    record._objections = objections(record, data, now or datetime.now(UTC))
    refused = [o for o in record.objections if not (accept or (stale_ok and o.kind == "stale"))]
    if refused:
        raise RecordError(f"{file}: {'; '.join(map(str, refused))}")
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
