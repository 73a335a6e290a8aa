"""``qdchar figures NAME``: the paper's key-rate figures with one's own source as a star."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ._options import as_json
from ._outputs import make_output_folder, writing_output
from ._records import accept_option
from ._source import given_source_and_link, link_option, source_option

NAMES = ("fig1", "fig3", "fig4a", "fig4b")


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(NAMES))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for PNG and PDF."
)
@click.option("--record", type=click.Path(path_type=Path), help="Source record of the star.")
@source_option
@link_option
@click.option(
    "--width",
    type=click.Choice(["178", "86"]),
    default="178",
    show_default=True,
    help="Millimetres: two columns of a journal, or one with the panels below one another.",
)
@accept_option
@as_json
def figures(
    names: tuple[str, ...],
    out: Path,
    record: Path | None,
    source: str | None,
    link_file: Path | None,
    width: str,
    accept: bool,
    json_line: bool,
) -> None:
    """Draw NAMES (fig1, fig3, fig4a, fig4b) in the layout of the paper.

    The large star is the source of --record or --source; without either, the paper's Table 1.
    Files are PDF and PNG (300 dpi).
    """
    from matplotlib import rc_context

    from qdchar.keyrate.published.figures import FIGURES, STYLE
    from qdchar.keyrate.source import SourceFigures

    given, link = given_source_and_link(record, source, link_file, accept)
    star = given or SourceFigures()
    make_output_folder("--out", out)
    files = []
    for name in names:
        figure = FIGURES[name](star, link, 86 if width == "86" else 178)
        for suffix in ("png", "pdf"):
            file = out / f"{name}.{suffix}"
            with writing_output("--out", file), rc_context(STYLE):
                figure.savefig(file)
            files.append(str(file))
            click.echo(file)
    if json_line:
        click.echo(json.dumps({"files": files}))
