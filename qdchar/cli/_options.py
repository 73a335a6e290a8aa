"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path

import click

PATH = click.Path(path_type=Path)

station_option = click.option(
    "--station",
    "station_file",
    type=PATH,
    help="The lab's instruments (TOML); the simulated lab where not given.",
)
recipe_option = click.option(
    "--recipe",
    "recipe_name",
    metavar="NAME|FILE",
    help="Settings of the measurements and limits of the verdict: quick, pre-qkd, full, or one's "
    "own (TOML). What full does where not given.",
)
fault_option = click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[@MEASUREMENT[+50%]]",
    help="Break the simulated lab: from its start, from the start of a measurement, or within its "
    "first recording of tags. May be repeated; `list` prints all faults.",
)
dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Print every range, every dwell and the expected lab time; open and move nothing.",
)
as_json = click.option(
    "--json", "json_line", is_flag=True, help="End with the result as one line of JSON."
)
