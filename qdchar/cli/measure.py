"""``qdchar measure NAME``: one measurement, with whatever it needs to know first."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path

import click

from qdchar.errors import InconclusiveError, UsageError
from qdchar.lab.display import Display

from ._options import as_json, recipe_option
from ._quantities import quantities


@click.command()
@click.argument("name")
@click.option(
    "--station",
    "station_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The lab's instruments (TOML).",
)
@recipe_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Where the run's folder is made.",
)
@as_json
def measure(
    name: str, station_file: Path, recipe_file: Path | None, out: Path, json_line: bool
) -> int:
    """Make one measurement at the tuning as it stands, and analyse it.

    NAME is dark, cavity, dead_time, rabi, saturation, lifetime, etalon, brightness, hbt_before,
    transmitter, hbt_after, gate, detector_efficiency, misalignment, phase, hom, purcell or leak.
    What it needs to know from another one is measured first.
    """
    from qdchar.lab.recipe import load_recipe
    from qdchar.lab.run import Run
    from qdchar.lab.session import MEASUREMENTS, Session
    from qdchar.lab.station import load_station

    if name not in MEASUREMENTS:
        raise UsageError(f"measure: {name!r} is not one of {', '.join(MEASUREMENTS)}")
    recipe, display = load_recipe(recipe_file), Display()
    station = load_station(station_file, display.say)
    with ExitStack() as stack:
        run = stack.enter_context(Run.create(out, station.file.source, name))
        shutil.copyfile(station_file, run.folder / "station.toml")
        stack.enter_context(station)
        session = Session(station, run, recipe, display)
        if name != "dark":
            session.pump.open_shutter()
        result = session.make(name)
        run.finish(f"measured {name}")
    click.echo(f"run folder: {run.folder}")
    code = InconclusiveError.exit_code if session.problems else 0
    if json_line:
        line = {
            "exit_code": code,
            "run": str(run.folder),
            "problems": session.problems,
            "quantities": quantities(result),
        }
        click.echo(json.dumps(line))
    return code
