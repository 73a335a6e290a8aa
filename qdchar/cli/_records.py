"""Records on the command line: those that may be used, and those that are used nevertheless."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qdchar.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qdchar.lab.outcome import Outcome
    from qdchar.record import SourceRecord
    from qdchar.record_checks import Objection

accept_option = click.option(
    "--accept",
    is_flag=True,
    help="Go on with a record that is inconclusive, NO-GO, stale, edited or in contradiction with "
    "itself; what speaks against it is said first.",
)


def record_to_use(file: Path, accept: bool) -> SourceRecord:
    """Read a record; what speaks against it is an error, with ``--accept`` a warning."""
    from qdchar.record import load_record

    record = load_record(file, accept=True)
    warn_or_refuse(file, record.objections, accept)
    return record


def warn_or_refuse(path: Path, against: Iterable[Objection], accept: bool) -> None:
    """Say all that speaks against a record or run, and go on only if that is accepted."""
    reasons = [str(objection) for objection in against]
    if reasons and not accept:
        raise RecordError(f"{path}: {'; '.join(reasons)}. To go on nevertheless: --accept")
    for reason in reasons:
        click.echo(f"warning: {path}: {reason}", err=True)


def verdict_text(record: SourceRecord) -> str:
    """Write verdict and key rate of a record in one line."""
    from qdchar.notation import concise

    verdict = record.verdict
    if verdict is None:
        return "not judged"
    if verdict.rate is None:
        return f"{verdict.decision}, no key rate"
    rate = verdict.rate
    value = concise(rate.rate_per_pulse, rate.rate_per_pulse_u)
    return f"{verdict.decision}, {value} bit per pulse at {rate.loss_dB:g} dB"


def verdict_json(record: SourceRecord) -> dict[str, Any]:
    """Verdict, key rate, problems and objections of a record, for ``--json``."""
    verdict = record.verdict
    rate = None if verdict is None else verdict.rate
    return {
        "verdict": None if verdict is None else verdict.decision,
        "rate_per_pulse": None if rate is None else rate.rate_per_pulse,
        "rate_per_pulse_u": None if rate is None else rate.rate_per_pulse_u,
        "problems": record.problems,
        "objections": [str(o) for o in record.objections],
    }


def outcome_json(outcome: Outcome, run: Path, report: Path) -> dict[str, Any]:
    """Outcome of a run for ``--json``: the same from ``calibrate`` and ``report``."""
    rate, verdict = outcome.rate, outcome.verdict
    return {
        "verdict": verdict.decision,
        "reasons": verdict.reasons,
        "demands": verdict.demanded,
        "problems": outcome.record.problems,
        "faults": [str(fault) for fault in outcome.faults],
        "run": str(run),
        "record": str(run / "record.json"),
        "report": str(report),
        "rate_per_pulse": rate.rate_per_pulse,
        "rate_per_pulse_u": rate.rate_per_pulse_u,
        "rate_bps": rate.rate_bps,
        "advantage_dB": {c.name: c.advantage_dB for c in rate.comparators},
        "advantage_dB_u": {c.name: c.advantage_dB_u for c in rate.comparators},
        "comparator": rate.comparator_name,
        "assumptions": outcome.assumptions,
    }
