"""``qdchar check``: identity and state of the instruments, and what can be measured."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from qdchar.errors import InstrumentError, UsageError

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
    """Identify and read every instrument, and say which measurements the station can make.

    Nothing is changed. If an instrument does not answer, the others are read all the same; the exit
    code is then 20. An unknown role or certificate in the station file ends with exit code 2.
    """
    from qdchar.lab import preflight
    from qdchar.lab.extensions import measurements_of
    from qdchar.lab.station import load_station

    station = load_station(station_file)
    registry = measurements_of(station)
    found: dict[str, object] = {}
    failures = []
    with station.simulated_lab():
        answers = list(station.survey())
    for name, answer in answers:
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
    click.echo("measurements")
    possible: dict[str, object] = {}
    for name, measurement in registry.items():
        missing = preflight.lacks(station, registry, measurement)
        possible[name] = {"possible": not missing, "missing": missing}
        says = "can be made" if not missing else f"cannot be made: {'; '.join(missing)}"
        click.echo(f"  {name:<20} {says}")
    faults = tuple(preflight.station_faults(station, registry))
    for fault in faults:
        click.echo(f"station file: {fault}")
    code = UsageError.exit_code if faults else 0
    code = InstrumentError.exit_code if failures else code
    if json_line:
        line = {
            "exit_code": code,
            "instruments": found,
            "measurements": possible,
            "station_file": faults,
        }
        click.echo(json.dumps(line, default=str))
    return code
