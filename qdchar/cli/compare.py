"""``qdchar compare A B``: the differences between two records of a source."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ._options import as_json
from ._outputs import refuse_output, writing_output
from ._records import accept_option, record_to_use, verdict_json, verdict_text


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@accept_option
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a table to this file, one row per quantity.",
)
@click.option(
    "--page",
    "page_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the comparison to this file, as an HTML page.",
)
@as_json
def compare(
    first: Path,
    second: Path,
    accept: bool,
    csv_file: Path | None,
    page_file: Path | None,
    json_line: bool,
) -> int:
    """Compare the records FIRST and SECOND (files or run folders), quantity by quantity.

    The difference is given in units of its own uncertainty: an error that both records share, such
    as that of a detector's certificate, cancels. Of a certificate that was renewed between them,
    as the station files in the run folders say, it does not. p is the probability of so large a
    change by chance.
    """
    from qdchar.notation import text
    from qdchar.report.comparison import changes_table, compare_records, renewed_certificates
    from qdchar.report.over_runs import p_text, renewed_text, write_comparison_page
    from qdchar.trends import FLAGGED

    refuse_output("--csv", csv_file)
    refuse_output("--page", page_file)
    a, b = record_to_use(first, accept), record_to_use(second, accept)
    for which, record in (("first", a), ("second", b)):
        click.echo(f"{which:<7} {record.created:%Y-%m-%d %H:%M}  {verdict_text(record)}")
    renewed = renewed_certificates(first, second)
    changes = compare_records(a, b, renewed)
    if renewed:
        click.echo(renewed_text(renewed))
    width = max((len(c.first.quantity.words) for c in changes), default=0) + 2
    click.echo(f"{'quantity':<{width}}{'first':>20}{'second':>20}{'change / u':>12}{'p':>10}")
    for c in changes:
        pull = f"{c.pull:+.1f}" if c.pull is not None else "exact"
        click.echo(
            f"{c.first.quantity.words:<{width}}{text(c.first):>20}{text(c.second):>20}{pull:>12}"
            f"{p_text(c.p):>10}{'  CHANGED' if c.p is not None and c.p < FLAGGED else ''}"
        )
    if csv_file is not None:
        with writing_output("--csv", csv_file):
            changes_table(changes).to_csv(csv_file, index=False)
        click.echo(f"table: {csv_file}")
    if page_file is not None:
        with writing_output("--page", page_file):
            write_comparison_page(page_file, a, b, changes, renewed)
        click.echo(f"page: {page_file}")
    if json_line:
        line = {
            "exit_code": 0,
            "first": verdict_json(a),
            "second": verdict_json(b),
            "renewed_certificates": renewed,
            "quantities": {
                c.name: {
                    "first": c.first.value,
                    "second": c.second.value,
                    "difference": c.difference,
                    "u": c.u,
                    "unit": c.first.unit,
                    "p": c.p,
                }
                for c in changes
            },
        }
        click.echo(json.dumps(line))
    return 0
