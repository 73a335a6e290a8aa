"""``qdchar twin``: serve the simulated lab, for other programs."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.errors import UsageError

from ._options import as_json, fault_option, ideal_option
from ._outputs import refuse_output, writing_output

if TYPE_CHECKING:
    from qdchar.drivers.twin.lab import Lab


@click.command()
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Of all random numbers.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A true parameter, e.g. source.g2=0.05; may be repeated.",
)
@click.option(
    "--port",
    type=int,
    default=15000,
    show_default=True,
    help="First of consecutive ports, one an emulator; 0 takes free ones.",
)
@click.option(
    "--station",
    "station_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the station file here.",
)
@click.option("--truth", "truth_only", is_flag=True, help="Print what is true in it, and end.")
@ideal_option
@fault_option
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
@click.option("--restarts", type=click.IntRange(min=0), default=0, hidden=True)
@click.option("--clock", "clock_s", type=click.FloatRange(min=0.0), default=0.0, hidden=True)
@as_json
def twin(
    seed: int,
    settings: tuple[str, ...],
    ideal: bool,
    faults: tuple[str, ...],
    port: int,
    station_file: Path | None,
    truth_only: bool,
    until_stdin_closes: bool,
    restarts: int,
    clock_s: float,
    json_line: bool,
) -> int:
    """Serve the simulated lab until Ctrl-C or SIGTERM.

    Its instruments speak their own wire protocols on ports of this machine; `qdchar calibrate
    --station FILE` measures it with the station file that --station writes. With --json, one line
    says that everything listens.

    A fault that begins with a measurement needs to be told when that is: write a line such as
    "measurement hbt_after" to standard input, and one line of JSON says which faults begin. With
    faults, --truth prints what is true when all of them have begun.
    """
    from qdchar.drivers.twin.broken_lab import BrokenLab
    from qdchar.drivers.twin.imperfections import ideal_settings
    from qdchar.drivers.twin.serve import serve, station_toml
    from qdchar.drivers.twin.truth import Truth
    from qdchar.interrupt import Terminated, signals_unwind
    from qdchar.lab.simulated_station import settings_from_text

    from ._faults import list_asked, planned

    if list_asked(faults, json_line):
        return 0
    if seed < 0:
        raise UsageError(f"--seed {seed}: a seed is an integer of 0 or more")
    refuse_output("--station", station_file)
    if ideal:
        settings = (*settings, *ideal_settings(settings))
    truth = Truth.from_settings(settings_from_text(settings), ideal=False)
    plans = planned(faults)
    if truth_only:
        lab = BrokenLab(truth, seed, plans)
        lab.begin_all()
        _print_truth(lab.quantities(), json_line)
        return 0
    with (
        signals_unwind(),
        serve(
            truth, seed, port or None, faults=plans, restarts=restarts, clock_s=clock_s
        ) as served,
    ):
        station = station_toml(served)
        if station_file is not None:
            with writing_output("--station", station_file):
                station_file.write_text(station, encoding="utf-8")
        if json_line:
            where = station if station_file is None else str(station_file)
            click.echo(json.dumps({"station": where, "ports": served.ports}))
        else:
            click.echo(f"simulated lab, seed {seed}; Ctrl-C ends it")
            for name, address in served.addresses.items():
                click.echo(f"{name:<16} {address}")
        sys.stdout.flush()
        try:
            if until_stdin_closes or any(p.measurement for p in plans):
                _follow_measurements(served.lab)
            if not until_stdin_closes:
                threading.Event().wait()
        except (KeyboardInterrupt, Terminated):
            pass
    return 0


def _follow_measurements(lab: Lab) -> None:
    """Read which measurements begin from standard input until it closes; answer each line.

    The answer says which faults begin, and how much time has passed in the lab.
    """
    from qdchar.drivers.twin.broken_lab import BrokenLab

    for line in sys.stdin:
        word, _, name = line.strip().partition(" ")
        faults: list[str] = []
        if word == "measurement" and isinstance(lab, BrokenLab):
            faults = lab.begin_measurement(name)
        click.echo(json.dumps({"faults": faults, "lab_s": lab.now_s}))
        sys.stdout.flush()


def _print_truth(quantities: tuple[tuple[str, float, str], ...], json_line: bool) -> None:
    if json_line:
        line = {name: {"value": value, "unit": unit} for name, value, unit in quantities}
        click.echo(json.dumps({"quantities": line}))
        return
    for name, value, unit in quantities:
        click.echo(f"{name:<24} {value:.6g} {'' if unit == '1' else unit}".rstrip())
