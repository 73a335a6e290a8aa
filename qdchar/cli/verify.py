"""``qdchar verify RUN``: whether a run is as the calibration left it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from qdchar.errors import RecordError

from ._options import as_json
from ._records import verdict_json, verdict_text


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@as_json
def verify(run: Path, json_line: bool) -> int:
    """Check that RUN, a run folder or a record, was not changed and does not contradict itself.

    The record's digest, the hashes of raw files (changed, missing, added), of link, recipe and key
    rate, and what must hold between the record's fields. Every fault is listed with its field; with
    one or more the exit code is 30. An old record, a NO-GO or a stale one is no fault by itself.
    """
    from qdchar.lab.integrity import verify as check

    checked = check(run)
    for fault in checked.faults:
        click.echo(f"FAULT {fault}")
    if checked.record is not None:
        click.echo(verdict_text(checked.record))
    if checked.raw_files is None:
        click.echo("no run folder around the record, or none that can be read: raw files unchecked")
    else:
        click.echo(f"{checked.raw_files} raw files checked")
    code = RecordError.exit_code if checked.faults else 0
    click.echo(f"{len(checked.faults)} faults" if code else "no fault")
    if json_line:
        line = {
            "exit_code": code,
            "faults": [{"field": f.field, "reason": f.reason} for f in checked.faults],
            "raw_files": checked.raw_files,
            **({} if checked.record is None else verdict_json(checked.record)),
        }
        click.echo(json.dumps(line))
    return code
