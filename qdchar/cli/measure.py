"""``qdchar measure NAME``: one measurement, and those that it needs."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import click

from qdchar.errors import InconclusiveError, UsageError
from qdchar.lab.display import Display

from ._options import as_json, dry_run_option, recipe_option
from ._quantities import quantities


class _Measure(click.Command):
    """A command whose help lists the measurements, from their declarations."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from qdchar.lab.measurements.registry import MEASUREMENTS

        with formatter.section("Measurements"):
            formatter.write_dl([(m.name, m.title) for m in MEASUREMENTS.values()])


@click.command(cls=_Measure)
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
    help="Folder in which the run folder is made.",
)
@click.option(
    "--alone",
    is_flag=True,
    help="Measure at the tuning as it stands, and use only what earlier runs in --out found.",
)
@dry_run_option
@as_json
def measure(
    name: str,
    station_file: Path,
    recipe_name: str | None,
    out: Path,
    alone: bool,
    dry_run: bool,
    json_line: bool,
) -> int:
    """Make one measurement, and analyse it.

    NAME is one of those listed below, or one of the lab's own from the station file. What it needs
    to know from another one is measured first, unless --alone is given.
    """
    from qdchar.lab import preflight
    from qdchar.lab.earlier_runs import known_quantities
    from qdchar.lab.expected import expected_steps
    from qdchar.lab.extensions import measurements_of
    from qdchar.lab.recipe import load_recipe
    from qdchar.lab.run import Run
    from qdchar.lab.session import Session
    from qdchar.lab.station import load_station
    from qdchar.notation import text

    from ._plan import print_plan

    display = Display()
    station = load_station(station_file, display.say)
    registry = measurements_of(station)
    if name not in registry:
        raise UsageError(
            f"measure: there is no measurement {name!r}; there are {', '.join(registry)}"
        )
    recipe = load_recipe(recipe_name, registry)
    measurement = registry[name]
    known = {}
    if alone:
        valid_for = timedelta(hours=recipe.valid_hours)
        known = known_quantities(out, station.file, valid_for)
        preflight.refuse_unknown(registry, name, known, out)
        used = [q for q in measurement.all_needs if q in known]
        for quantity in used:
            estimate, folder = known[quantity]
            display.say(f"{estimate.quantity.words} = {text(estimate)}, from the run {folder}")
        names: tuple[str, ...] = (name,)
    else:
        names = preflight.closure(registry, name)
        if len(names) > 1:
            others = ", ".join(n for n in names if n != name)
            display.say(f"{name} needs other quantities; these measurements are made too: {others}")
    preflight.check(station, registry, recipe, names, folder=out)
    steps = expected_steps(station, registry, recipe, names)
    if dry_run:
        print_plan(steps, {}, json_line)
        return 0
    display.expect(steps)
    with ExitStack() as stack:
        stack.callback(station.release)  # the run folder may not be writable
        station.reserve()
        run = stack.enter_context(Run.create(out, station.file.source, name))
        station.note_run(run.folder)
        shutil.copyfile(station_file, run.folder / "station.toml")
        stack.enter_context(station)
        session = Session(
            station,
            run,
            recipe,
            display,
            registry,
            known={quantity: estimate for quantity, (estimate, _) in known.items()},
            may_measure=not alone,
        )
        if "pump_attenuator" in measurement.all_roles and name != "dark":
            session.pump_attenuator.open_shutter()
        result = session.make(name)
        run.finish(f"measured {name}")
    click.echo(f"run folder: {run.folder}")
    code = InconclusiveError.exit_code if session.problems else 0
    if json_line:
        line = {
            "exit_code": code,
            "run": str(run.folder),
            "measured": session.made,
            "problems": session.problems,
            "quantities": quantities(result),
        }
        click.echo(json.dumps(line))
    return code
