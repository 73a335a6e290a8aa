"""``qdchar init DIR``: the first files of a lab."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from qdchar.errors import UsageError

from ._options import as_json
from ._outputs import make_output_folder, writing_output


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@as_json
def init(folder: Path, json_line: bool) -> int:
    """Write commented station, recipe and link files to the folder DIR.

    They run as they are, on the simulated lab, and say line by line what to change for a lab of
    one's own. Nothing is overwritten.
    """
    from qdchar.lab.first_files import first_files

    make_output_folder("DIR", folder)
    texts = first_files()
    there = [name for name in texts if os.path.lexists(folder / name)]
    if there:
        raise UsageError(
            f"init {folder}: {', '.join(there)} exists already, and is not overwritten; give "
            "another folder"
        )
    for name, text in texts.items():
        with writing_output("init", folder / name):
            (folder / name).write_text(text, encoding="utf-8")
        click.echo(f"wrote {folder / name}")
    station, recipe, link = (folder / name for name in texts)
    click.echo("\nTry them, and then change them for your lab:")
    click.echo(f"  qdchar check --station {station}")
    click.echo(f"  qdchar calibrate --station {station} --recipe {recipe} --link {link}")
    if json_line:
        click.echo(json.dumps({"exit_code": 0, "files": [str(folder / n) for n in texts]}))
    return 0
