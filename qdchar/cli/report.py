"""``qdchar report RUN``: make the pages and figures of a run again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ._options import as_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@as_json
def report(run: Path, json_line: bool) -> int:
    """Make the pages and figures of the run in folder RUN."""
    from qdchar.report import write_report

    page = write_report(run)
    click.echo(f"report: {page}")
    if json_line:
        click.echo(json.dumps({"exit_code": 0, "report": str(page)}))
    return 0
