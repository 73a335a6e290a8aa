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
    "recipe_file",
    type=PATH,
    help="Settings of the measurements and limits of the verdict (TOML).",
)
as_json = click.option(
    "--json", "json_line", is_flag=True, help="End with the result as one line of JSON."
)
