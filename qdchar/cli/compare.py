"""``qdchar compare A B``: the differences between two records of a source."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ._options import as_json
from ._records import accept_option, record_to_use, verdict_json, verdict_text


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@accept_option
@as_json
def compare(first: Path, second: Path, accept: bool, json_line: bool) -> int:
    """Compare the records FIRST and SECOND (files or run folders), quantity by quantity.

    The difference is given in units of its own uncertainty: an error that both records share, such
    as that of a detector's certificate, cancels.
    """
    from qdchar.notation import text
    from qdchar.report.comparison import compare_records

    a, b = record_to_use(first, accept), record_to_use(second, accept)
    for which, record in (("first", a), ("second", b)):
        click.echo(f"{which:<7} {record.created:%Y-%m-%d %H:%M}  {verdict_text(record)}")
    changes = compare_records(a, b)
    width = max((len(c.first.quantity.words) for c in changes), default=0) + 2
    click.echo(f"{'quantity':<{width}}{'first':>20}{'second':>20}{'change / u':>12}")
    for c in changes:
        pull = f"{c.pull:+.1f}" if c.pull is not None else "exact"
        click.echo(
            f"{c.first.quantity.words:<{width}}{text(c.first):>20}{text(c.second):>20}{pull:>12}"
        )
    if json_line:
        line = {
            "exit_code": 0,
            "first": verdict_json(a),
            "second": verdict_json(b),
            "quantities": {
                c.name: {
                    "first": c.first.value,
                    "second": c.second.value,
                    "difference": c.difference,
                    "u": c.u,
                    "unit": c.first.unit,
                }
                for c in changes
            },
        }
        click.echo(json.dumps(line))
    return 0
