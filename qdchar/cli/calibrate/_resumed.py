"""Options of ``qdchar calibrate --resume``: what the run was asked for holds."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from qdchar.errors import UsageError
from qdchar.lab.measurement import Registry
from qdchar.lab.recipe import Recipe, load_recipe
from qdchar.lab.request import Request, read_request, refuse_other, refuse_other_station
from qdchar.lab.run import read_kept
from qdchar.link import Link, load_link

_OF_A_NEW_RUN = {
    "out": "--out",
    "seed": "--seed",
    "settings": "--set",
    "ideal": "--ideal",
    "faults": "--fault",
    "earlier_folder": "--take-over",
}


def resumed_request(context: click.Context, folder: Path) -> Request:
    """Read what the run in a folder was asked for, and refuse options that say something else.

    Raises
    ------
    UsageError
        If an option of a new run is given, or the station file is another one.
    RecordError
        If the folder is not a run.
    """
    for name, option in _OF_A_NEW_RUN.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(
                f"{option} does not go with --resume: the run goes on in its folder, as it was "
                "begun"
            )
    request = read_request(folder)
    given: Path | None = context.params["station_file"]
    if request.station is None:
        if given is not None:
            raise UsageError(
                f"{folder}: is a run of the simulated lab, --station {given} is another one"
            )
        return request
    if given is not None:
        request = request.model_copy(update={"station": str(given.absolute())})
    assert request.station is not None
    refuse_other_station(folder, Path(request.station))
    return request


def resumed_settings(
    folder: Path, recipe_name: str | None, link_file: Path | None, registry: Registry
) -> tuple[Recipe, Link]:
    """Read recipe and link of a run, and refuse files that say something else.

    Raises
    ------
    UsageError
        Names each key that differs.
    RecordError
        If the run's own copy is damaged.
    """
    recipe = read_kept(Recipe, folder / "recipe.json")
    link = read_kept(Link, folder / "link.json")
    if recipe_name is not None:
        now = load_recipe(recipe_name, registry).complete(registry)
        refuse_other("recipe", folder, recipe.model_dump(), now.model_dump())
    if link_file is not None:
        refuse_other("link", folder, link.model_dump(), load_link(link_file).model_dump())
    return recipe, link
