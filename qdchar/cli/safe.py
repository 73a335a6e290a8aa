"""``qdchar safe``: bring every instrument to its safe state."""

from __future__ import annotations

import json
from pathlib import Path

import click

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
def safe(station_file: Path, json_line: bool) -> int:
    """Bring every instrument that can do harm to its safe state, whichever program moved it.

    If an instrument does not answer, the others are made safe all the same; the exit code is then
    22, and the message names the instrument.
    """
    from qdchar.lab.station import load_station

    station = load_station(station_file)
    with station.simulated_lab():
        names = station.make_safe()
    click.echo(f"safe: {', '.join(names)}")
    if json_line:
        click.echo(json.dumps({"exit_code": 0, "safe": names}))
    return 0
