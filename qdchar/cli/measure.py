"""``qdchar measure NAME``: one measurement, and those that it needs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from qdchar.errors import InconclusiveError
from qdchar.lab.display import Display, Level

from ._options import as_json, dry_run_option, level_options, recipe_option
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
@level_options
@as_json
def measure(
    name: str,
    station_file: Path,
    recipe_name: str | None,
    out: Path,
    alone: bool,
    dry_run: bool,
    json_line: bool,
    level: Level,
) -> int:
    """Make one measurement, and analyse it.

    NAME is one of those listed below, or one of the lab's own from the station file. What it needs
    to know from another one is measured first, unless --alone is given.
    """
    from qdchar.lab.single_measurement import carry_out, plan_measurement
    from qdchar.report import write_measured_report

    from ._plan import print_plan
    from ._print import print_estimates

    display = Display(level)
    plan = plan_measurement(
        name, station_file, display, out=out, recipe_name=recipe_name, alone=alone
    )
    if dry_run:
        print_plan(plan.steps, {}, json_line)
        return 0
    measured = carry_out(plan, display)
    report = write_measured_report(measured.folder)
    print_estimates(measured.result.estimates)
    for problem in measured.problems:
        click.echo(f"PROBLEM: {problem}")
    click.echo(f"run folder: {measured.folder}")
    click.echo(f"report: {report}")
    code = InconclusiveError.exit_code if measured.problems else 0
    if json_line:
        line = {
            "exit_code": code,
            "run": str(measured.folder),
            "record": str(measured.folder / "record.json"),
            "report": str(report),
            "measured": measured.made,
            "problems": measured.problems,
            "quantities": quantities(measured.result),
        }
        click.echo(json.dumps(line))
    return code
