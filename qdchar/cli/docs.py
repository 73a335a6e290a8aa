"""``qdchar docs``: build the handbook from the clone, and open it."""

from __future__ import annotations

import json
import subprocess
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path

import click

from qdchar.errors import UsageError

from ._options import as_json
from ._outputs import make_output_folder

_SOURCES = Path(__file__).parents[2] / "docs"


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pages; docs/_build of the clone where not given.",
)
@click.option("--open/--no-open", "open_page", default=True, help="Open the pages in a browser.")
@as_json
def docs(out: Path | None, open_page: bool, json_line: bool) -> int:
    """Build the handbook, say where it is, and open it.

    Its sources are in the folder docs of the clone, and can be read there as Markdown, too. An
    installed wheel does not hold it. Building takes half a minute the first time, and needs
    `pip install -e '.[docs]'`.
    """
    if not (_SOURCES / "conf.py").is_file():
        raise UsageError(
            "docs: the handbook is not part of an installed wheel; it is in the folder docs of the "
            "sources. Clone them, pip install -e '.[docs]', and call `qdchar docs` there"
        )
    if any(find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")):
        raise UsageError(
            f"docs: Sphinx is not installed: pip install -e '.[docs]'; or read {_SOURCES}/index.md"
        )
    folder = _SOURCES / "_build" if out is None else out
    make_output_folder("--out", folder)
    click.echo("building the handbook ...", err=True)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto"]
    done = subprocess.run([*command, str(_SOURCES), str(folder)], check=False)
    if done.returncode != 0:
        raise UsageError("docs: the handbook could not be built; Sphinx says above why")
    page = (folder / "index.html").absolute()
    click.echo(f"handbook: {page}")
    if open_page:
        webbrowser.open(page.as_uri())
    if json_line:
        click.echo(json.dumps({"exit_code": 0, "page": str(page)}))
    return 0
