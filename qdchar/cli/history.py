"""``qdchar history DIR``: a source's quantities over many runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import as_json
from ._outputs import refuse_output, writing_output
from ._records import verdict_json, verdict_text

if TYPE_CHECKING:
    from qdchar.record import SourceRecord
    from qdchar.trends import Trend

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
@click.option(
    "--quantity",
    "names",
    multiple=True,
    help="Name of a quantity to show, e.g. g2_zero; may be repeated.",
)
@click.option(
    "--figure", "figure_file", type=click.Path(path_type=Path), help="Draw them to this file."
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a table to this file, one row per run and quantity; all quantities unless named.",
)
@click.option(
    "--page",
    "page_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write table, trends and drawing to this file, as an HTML page.",
)
@click.option("--single", is_flag=True, help="Single measurements, too, beside calibrations.")
@as_json
def history(
    folder: Path,
    names: tuple[str, ...],
    figure_file: Path | None,
    csv_file: Path | None,
    page_file: Path | None,
    single: bool,
    json_line: bool,
) -> int:
    """Show how the source changed over the runs in FOLDER, oldest first.

    Scatter, a drift and a step of each quantity and of the key rate stand below its values with
    the probability p of seeing as much in a steady quantity; below 0.001 they are flagged. Errors
    that all runs share, such as those of certificates, are left out of the uncertainties for that.

    Runs that are stale, inconclusive, NO-GO, edited or in contradiction with themselves are shown
    and marked: with an asterisk, and with what speaks against them.
    """
    from qdchar.history import history_table, limits_text, load_history
    from qdchar.notation import text
    from qdchar.quantities import is_known, quantity
    from qdchar.trends import trends

    refuse_output("--figure", figure_file)
    refuse_output("--page", page_file)
    refuse_output("--csv", csv_file)
    skipped: list[str] = []

    def skip(reason: str) -> None:
        skipped.append(reason)
        click.echo(f"skipped: {reason}", err=True)

    records = load_history(folder, skip, single=single)
    click.echo("runs (*: not to be used without --accept)")
    for record in records:
        click.echo(f"{_time(record)}  {verdict_text(record):<50}{record.source}")
        if limits := limits_text(record):
            click.echo(f"    limits: {limits}")
        for objection in record.objections:
            click.echo(f"    {objection}")
    shown = names or _SHOWN
    found = {t.name: t for t in trends(records, (*shown, "rate_per_pulse"))}
    for name in shown:
        click.echo(f"{quantity(name).words} ({name})" if is_known(name) else name)
        for record in records:
            if name in record.quantities:
                click.echo(f"{_time(record)}  {text(record.estimate(name)):<22}{record.source}")
        _print_trend(found[name])
    click.echo(f"{quantity('rate_per_pulse').words} (rate_per_pulse)")
    _print_trend(found["rate_per_pulse"])
    if page_file is not None:
        from qdchar.report.over_runs import write_history_page

        with writing_output("--page", page_file):
            write_history_page(page_file, records, tuple(found.values()), skipped)
        click.echo(f"page: {page_file}")
    if figure_file is not None:
        from qdchar.report.figures import draw_history

        with writing_output("--figure", figure_file):
            draw_history(records, shown).savefig(figure_file)
        click.echo(f"figure: {figure_file}")
    if csv_file is not None:
        table = history_table(records, names)
        with writing_output("--csv", csv_file):
            table.to_csv(csv_file, index=False)
        click.echo(f"table: {csv_file}")
    if json_line:
        series = {
            name: [
                {
                    "created": r.created.isoformat(),
                    "value": r.quantities[name].value,
                    "u": r.quantities[name].u,
                    "unit": r.quantities[name].unit,
                    "objections": [str(o) for o in r.objections],
                }
                for r in records
                if name in r.quantities
            ]
            for name in shown
        }
        runs = [
            {
                "created": r.created.isoformat(),
                "source": r.source,
                **verdict_json(r),
                "limits": limits_text(r),
            }
            for r in records
        ]
        line = {
            "exit_code": 0,
            "runs": runs,
            "quantities": series,
            "trends": {name: _trend_json(trend) for name, trend in found.items()},
            "skipped": skipped,
        }
        click.echo(json.dumps(line))
    return 0


def _print_trend(trend: Trend) -> None:
    """Print the trend below the values; nothing where there are fewer than two."""
    from qdchar.report.over_runs import trend_row

    if trend.runs < 2:
        return
    _, _, scatter_p, drift, drift_p, step, step_p, at, flags = trend_row(trend)
    parts = [f"scatter p = {scatter_p}"]
    if drift:
        parts.append(f"drift {drift} per day, p = {drift_p}")
    parts.append(f"step {step} at {at}, p = {step_p}")
    click.echo(f"    {'; '.join(parts)}{f'   FLAGGED: {flags}' if flags else ''}")


def _trend_json(trend: Trend) -> dict[str, Any]:
    """Return a trend for ``--json``, in SI units and days."""
    document = asdict(trend) | {"flags": trend.flags}
    document["step_at"] = None if trend.step_at is None else trend.step_at.isoformat()
    return document


def _time(record: SourceRecord) -> str:
    return f"{'*' if record.objections else ' '} {record.created:%Y-%m-%d %H:%M}"
