"""``qdchar calibrate``: the main job."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

import click

from qdchar.errors import UsageError
from qdchar.lab.display import Display, Level

from .._options import (
    as_json,
    dry_run_option,
    fault_option,
    ideal_option,
    level_options,
    recipe_option,
    station_option,
)


@click.command()
@station_option
@recipe_option
@click.option(
    "--link",
    "link_file",
    type=click.Path(path_type=Path),
    help="Channel and receiver; the paper's field link where not given.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder in which the run folder is made.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the simulated lab.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A true parameter of the simulated lab, e.g. source.g2=0.05; may be repeated.",
)
@ideal_option
@fault_option
@dry_run_option
@click.option(
    "--resume",
    "resume_folder",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with the calibration in folder RUN, which was broken off.",
)
@click.option(
    "--take-over",
    "earlier_folder",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Take quantities of the calibration in folder RUN over instead of measuring them, as far "
    "as they are valid and the recipe allows.",
)
@level_options
@click.option(
    "--live/--no-live",
    default=True,
    show_default=True,
    envvar="QDCHAR_LIVE",
    show_envvar=True,
    help="Keep report.html in the run folder up to date while it runs, by a process of its own.",
)
@as_json
@click.pass_context
def calibrate(
    context: click.Context,
    station_file: Path | None,
    recipe_name: str | None,
    link_file: Path | None,
    out: Path,
    seed: int,
    settings: tuple[str, ...],
    ideal: bool,
    faults: tuple[str, ...],
    dry_run: bool,
    resume_folder: Path | None,
    earlier_folder: Path | None,
    live: bool,
    json_line: bool,
    level: Level,
) -> int:
    """Tune the source, measure it, predict its key rate, and judge it.

    Without --station it starts the simulated lab and calibrates that. Exit code 0 is GO, 10 NO-GO,
    11 inconclusive; see `qdchar --help` for the others.

    A calibration that was broken off, even by kill -9 or a power cut, is finished with --resume:
    what is complete is taken over, cavity and pump are tuned again, and the brightness is measured
    once more. If it moved by more than the recipe's max_brightness_change, exit code 11. Station,
    recipe and link are those of the run; if they are given, they must say the same.
    """
    from qdchar.drivers.twin.imperfections import ideal_settings
    from qdchar.lab import expected, preflight
    from qdchar.lab.calibrate import calibrate as run_calibration
    from qdchar.lab.extensions import measurements_of
    from qdchar.lab.recipe import load_recipe
    from qdchar.lab.request import Request
    from qdchar.lab.resume import Unfinished, read_unfinished
    from qdchar.lab.run import Run
    from qdchar.lab.simulated_station import simulated_station
    from qdchar.lab.station import load_station
    from qdchar.lab.take_over import read_earlier
    from qdchar.link import load_link
    from qdchar.report import write_report
    from qdchar.report.live import live_page

    from .._faults import announcer, list_asked
    from .._plan import print_plan
    from .._records import outcome_json
    from ._resumed import resumed_request, resumed_settings
    from ._summary import print_summary

    if list_asked(faults, json_line):
        return 0
    if station_file is not None and (settings or ideal or faults):
        option = "--set" if settings else "--ideal" if ideal else "--fault"
        raise UsageError(f"{option} changes the simulated lab; it does not go with --station")
    if dry_run and (resume_folder or earlier_folder):
        raise UsageError(
            "--dry-run shows a calibration that measures everything; it goes neither with --resume "
            "nor with --take-over"
        )
    display = Display(level)
    if ideal:
        settings = (*settings, *ideal_settings(settings))
    if resume_folder is None:
        request = Request(
            station=None if station_file is None else str(station_file.absolute()),
            seed=seed,
            settings=settings,
            faults=faults,
            take_over=None if earlier_folder is None else str(earlier_folder.absolute()),
        )
    else:
        request = resumed_request(context, resume_folder)
    own = request.station is not None
    if request.station is not None:
        station = load_station(Path(request.station), display.say)
    else:
        station = simulated_station(request.seed, request.settings, display.say)
    registry = measurements_of(station)
    unfinished: Unfinished | None = None
    if resume_folder is None:
        recipe, link = load_recipe(recipe_name, registry), load_link(link_file)
    else:
        recipe, link = resumed_settings(resume_folder, recipe_name, link_file, registry)
        unfinished = read_unfinished(resume_folder, registry, recipe)
    plan = preflight.plan_calibration(station, registry, recipe)
    folder = out if resume_folder is None else resume_folder
    preflight.check(station, registry, recipe, plan.measurements, folder=folder, link=link)
    if dry_run:
        steps = expected.expected_steps(station, registry, recipe, plan.measurements)
        print_plan((*steps, expected.last_look(recipe)), plan.left_out, json_line)
        return 0
    earlier = None
    if request.take_over is not None:
        earlier = read_earlier(Path(request.take_over), request, recipe, registry)
    with ExitStack() as stack:
        stack.callback(station.release)  # the run folder may not be writable
        station.reserve()
        if resume_folder is None:
            source = station.file.source if own else "simulated"
            files = request.files(recipe, link, registry)
            run = stack.enter_context(Run.create(out, source, "calibrate", files))
        else:
            run = stack.enter_context(Run.reopen(resume_folder))
        stack.enter_context(display.logging(run.folder))
        if live:
            stack.enter_context(live_page(run.folder))
        display.say(f"run folder: {run.folder}")
        station.note_run(run.folder)
        if station.file.needs_simulated_lab():
            why = "[simulated_lab] of the station file" if own else "no --station given"
            display.say(f"{why}: starting the simulated lab (it compiles first)")
        lab = stack.enter_context(station.simulated_lab(run.folder, request.faults))
        if lab is not None:
            display.on_measurement = announcer(lab, display)
        lab_time = time.monotonic if lab is None else lab.lab_s
        began_s = lab_time()
        with station:
            outcome = run_calibration(
                station,
                run,
                recipe,
                link,
                display,
                registry,
                unfinished=unfinished,
                earlier=earlier,
            )
        lab_s = lab_time() - began_s
    report = write_report(run.folder, outcome)
    print_summary(outcome)
    click.echo(f"lab time: {lab_s:.1f} s")
    click.echo(f"report: {report}")
    if json_line:
        line = {
            **outcome_json(outcome, run.folder, report),
            "exit_code": outcome.verdict.exit_code,
            "lab_s": lab_s,
            "quantities": {
                name: recorded.model_dump(exclude={"budget"})
                for name, recorded in outcome.record.quantities.items()
            },
        }
        click.echo(json.dumps(line))
    return outcome.verdict.exit_code
