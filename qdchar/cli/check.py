"""``qdchar check``: who is there, and in which state; nothing is touched."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from qdchar.errors import InstrumentError

from ._options import as_json


@click.command()
@click.option(
    "--station",
    "station_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The lab's instruments (TOML).",
)
@as_json
def check(station_file: Path, json_line: bool) -> int:
    """Identify and read every instrument, touching nothing.

    An instrument that does not answer does not hide the others; the exit code is then 20.
    """
    from qdchar.lab.station import load_station

    station = load_station(station_file)
    found: dict[str, object] = {}
    failures = []
    for name, answer in station.survey():
        if isinstance(answer, InstrumentError):
            failures.append(f"{name}: {answer}")
            found[name] = {"error": str(answer)}
            click.echo(f"{name:<16} FAILED  {answer}")
            continue
        identity, state = answer
        found[name] = {"identity": asdict(identity), "state": dict(state)}
        mark = "  (simulated)" if identity.simulated else ""
        click.echo(
            f"{name:<16} {identity.vendor} {identity.model}, serial {identity.serial}, "
            f"at {identity.address}{mark}"
        )
        for key, value in state.items():
            click.echo(f"{'':<18}{key} = {value}")
    code = InstrumentError.exit_code if failures else 0
    if json_line:
        click.echo(json.dumps({"exit_code": code, "instruments": found}, default=str))
    return code
