"""``qdchar history DIR``: how a source changed over many runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from qdchar.errors import RecordError

from ._options import as_json

_SHOWN = (
    "collection_efficiency",
    "mean_photon_number",
    "g2_zero",
    "lifetime",
    "linewidth",
    "pi_power",
)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--quantity", "names", multiple=True, help="Which figures; may be repeated.")
@click.option(
    "--figure", "figure_file", type=click.Path(path_type=Path), help="Draw them to this file."
)
@as_json
def history(folder: Path, names: tuple[str, ...], figure_file: Path | None, json_line: bool) -> int:
    """Show how the source changed over the runs in FOLDER, oldest first."""
    from qdchar.notation import text
    from qdchar.record import load_record

    records = sorted(
        (load_record(f, stale_ok=True) for f in folder.glob("*/record.json")),
        key=lambda r: r.created,
    )
    if not records:
        raise RecordError(f"{folder}: holds no runs with a record.json")
    shown = names or _SHOWN
    for name in shown:
        click.echo(name)
        for record in records:
            if name in record.quantities:
                click.echo(
                    f"  {record.created:%Y-%m-%d %H:%M}  {text(record.estimate(name)):<22}"
                    f"{record.source}"
                )
    if figure_file is not None:
        from qdchar.report.figures import draw_history

        draw_history(records, shown).savefig(figure_file)
        click.echo(f"figure: {figure_file}")
    if json_line:
        series = {
            name: [
                {
                    "created": r.created.isoformat(),
                    "value": r.quantities[name].value,
                    "u": r.quantities[name].u,
                    "unit": r.quantities[name].unit,
                }
                for r in records
                if name in r.quantities
            ]
            for name in shown
        }
        click.echo(json.dumps({"exit_code": 0, "quantities": series}))
    return 0
