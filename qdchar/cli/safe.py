"""``qdchar safe``: bring everything to safety."""

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
    """Bring everything that can do harm to safety, whatever moved it.

    An instrument that does not answer does not keep the others from safety; the exit code is then
    22, and the message names it.
    """
    from qdchar.lab.station import load_station

    names = load_station(station_file).make_safe()
    click.echo(f"safe: {', '.join(names)}")
    if json_line:
        click.echo(json.dumps({"exit_code": 0, "safe": names}))
    return 0
