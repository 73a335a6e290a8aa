"""The run before: the newest earlier calibration of the same source at the same station."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdchar.errors import RecordError
from qdchar.files import is_there, read_json
from qdchar.notation import concise
from qdchar.record import SourceRecord, load_record

from . import wording
from .comparison import compare_records, renewed_certificates

_LOOKED_AT = 50
"""Run folders that are opened at most, the newest first."""

_CHANGED = 3.0
"""A change by so many of its standard uncertainties is marked: 0.3 % by chance."""


@dataclass(frozen=True)
class Since:
    """One quantity in the run before, as text.

    Attributes
    ----------
    before
        Its value then.
    change
        Change over the standard uncertainty of the change; errors that both share cancel.
    marked
        Whether it changed by more than chance explains.
    """

    before: str
    change: str
    marked: bool


@dataclass(frozen=True)
class LastRun:
    """The run before: its folder, when it was, and its quantities by name."""

    folder: str
    when: str
    rate: str
    quantities: dict[str, Since]


def last_run(folder: Path, record: SourceRecord) -> LastRun | None:
    """Compare a record with that of the run before, which lies beside its folder.

    Returns
    -------
    LastRun or None
        None if there is no earlier calibration of that source and station, simulated or not as
        the record is.
    """
    for name, earlier in _earlier_records(folder.resolve(), record):
        renewed = renewed_certificates(folder.resolve().parent / name, folder)
        rate = earlier.verdict.rate if earlier.verdict is not None else None
        return LastRun(
            folder=name,
            when=f"{earlier.created:%Y-%m-%d %H:%M} UTC",
            rate=""
            if rate is None
            else wording.powers(concise(rate.rate_per_pulse, rate.rate_per_pulse_u)),
            quantities={
                c.name: Since(
                    wording.value(c.first),
                    "exact" if c.pull is None else f"{c.pull:+.1f} u".replace("-", "−"),
                    c.pull is not None and abs(c.pull) > _CHANGED,
                )
                for c in compare_records(earlier, record, renewed)
            },
        )
    return None


def _earlier_records(folder: Path, record: SourceRecord) -> Iterator[tuple[str, SourceRecord]]:
    """Yield earlier records of the same source and station, the newest first, with their folder."""
    found = []
    beside = sorted(folder.parent.glob("*/verdict.json"), key=lambda f: f.parent.name, reverse=True)
    for file in beside[:_LOOKED_AT]:
        if file.parent == folder:
            continue
        try:
            data = read_json(file.parent / "record.json")
        except RecordError:
            continue  # it does not hide the others
        if _same(data, record):
            found.append((str(data.get("created")), file.parent))
    for created, other in sorted(found, reverse=True):
        if created >= record.created.isoformat() or not is_there(other / "record.json"):
            continue
        try:
            earlier = load_record(other, accept=True)
        except RecordError:
            continue
        if not earlier.faults and earlier.created < record.created:
            yield other.name, earlier


def _same(data: Any, record: SourceRecord) -> bool:
    if not isinstance(data, dict):
        return False
    of_run = (data.get("source"), data.get("station"), data.get("simulated"))
    return of_run == (record.source, record.station, record.simulated)
