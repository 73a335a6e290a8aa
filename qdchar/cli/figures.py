"""``qdchar figures NAME``: the paper's key-rate figures with one's own source as a star."""

from __future__ import annotations

import json
from pathlib import Path

import click

from qdchar.errors import UsageError

from ._outputs import writing_output
from ._records import accept_option
from ._source import given_source_and_link

NAMES = ("fig1", "fig3", "fig4a", "fig4b")


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(NAMES))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for PNG and PDF."
)
@click.option("--record", type=click.Path(path_type=Path), help="Source record of the star.")
@click.option(
    "--source",
    metavar="n=0.292,g2=0.00698",
    help="<n> and g2 of the star instead of a record; without either, the paper's Table 1.",
)
@click.option(
    "--link", "link_file", type=click.Path(path_type=Path), help="Link file; default the paper's."
)
@accept_option
@click.option("--json", "as_json", is_flag=True, help="Result as one line of JSON at the end.")
def figures(
    names: tuple[str, ...],
    out: Path,
    record: Path | None,
    source: str | None,
    link_file: Path | None,
    accept: bool,
    as_json: bool,
) -> None:
    """Draw NAMES (fig1, fig3, fig4a, fig4b) in the layout of the paper."""
    from qdchar.keyrate.published.figures import FIGURES
    from qdchar.keyrate.source import SourceFigures

    given, link = given_source_and_link(record, source, link_file, accept)
    star = given or SourceFigures()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--out {out}: cannot be written ({reason})") from error
    files = []
    for name in names:
        figure = FIGURES[name](star, link)
        for suffix in ("png", "pdf"):
            file = out / f"{name}.{suffix}"
            with writing_output("--out", file):
                figure.savefig(file, dpi=200)
            files.append(str(file))
            click.echo(file)
    if as_json:
        click.echo(json.dumps({"files": files}))
