"""``qdchar budget RECORD QUANTITY``: an uncertainty budget, and what would reduce it most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.errors import UsageError

from ._options import as_json
from ._records import accept_option, record_to_use, verdict_json

if TYPE_CHECKING:
    from qdchar.report.budgets import BudgetTable

_SHOWN_WAYS = 0.01
"""Least share of the variance of a way to a smaller uncertainty that is printed."""


@click.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.argument("name", metavar="[QUANTITY]", required=False)
@accept_option
@as_json
def budget(record: Path, name: str | None, accept: bool, json_line: bool) -> int:
    """Print the uncertainty budget of QUANTITY in RECORD, a run folder or a record.

    Each error source with its type (A: observed, B: certificate or judgement), its contribution to
    u, its share of the variance, the derivative of the quantity where it is known, and up to three
    quantities that have the same error (--json lists all); then what would reduce u most. What
    counting adds falls as 1/sqrt(time); what a certificate adds falls by a better calibration
    alone. Without QUANTITY, one line for each quantity, with its largest contribution.
    """
    from qdchar.report.budgets import budgets_of_run

    held = record_to_use(record, accept)
    if name is not None and name not in held.quantities:
        raise UsageError(f"{name!r} is not in the record: {', '.join(held.quantities)} are")
    budgets = budgets_of_run(record, held)
    tables = budgets.tables() if name is None else (budgets.table(name),)
    if name is None:
        _print_overview(tables)
    else:
        _print_table(tables[0])
    if json_line:
        line = {
            "exit_code": 0,
            **verdict_json(held),
            "quantities": {t.estimate.name: t.as_json() for t in tables},
        }
        click.echo(json.dumps(line))
    return 0


def _print_overview(tables: tuple[BudgetTable, ...]) -> None:
    from qdchar.notation import text

    width = max((len(t.estimate.name) for t in tables), default=0) + 2
    for t in tables:
        e = t.estimate
        line = f"{e.name:<{width}}{text(e):<24}"
        if e.u > 0.0:
            first = t.rows[0]
            line += f"{100.0 * first.share:5.1f} %  {first.kind}  {first.source}"
        else:
            line += "no uncertainty"
        click.echo(line)


def _print_table(t: BudgetTable) -> None:
    from qdchar.notation import text
    from qdchar.report.budgets import sensitivity_text, some_of, u_text

    e = t.estimate
    click.echo(f"{e.quantity.words}, {e.quantity.symbol} ({e.name}) = {text(e)}")
    click.echo(f"{e.definition}; {e.method}\n")
    if e.u == 0.0:
        click.echo("no uncertainty")
        return
    rows = [("source", "type", "u", "share", "sensitivity", "correlated with")]
    rows += [
        (
            r.source,
            r.kind,
            u_text(r.u, e.unit),
            f"{100.0 * r.share:.2f} %",
            sensitivity_text(r),
            some_of(r.correlated_with),
        )
        for r in t.shown
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        cells = [cell.ljust(w) for cell, w in zip(row[:5], widths, strict=True)]
        click.echo("  ".join([*cells, row[5]]).rstrip())
    if t.hidden_text:
        click.echo(f"({t.hidden_text})")
    click.echo(f"\nu = {u_text(e.u, e.unit)}. What would reduce it, most first:")
    for way in t.reductions:
        if way.share >= _SHOWN_WAYS:
            click.echo(f"  {100.0 * way.share:.1f} %  {some_of(way.sources)}")
            click.echo(f"      by {way.how}")
            click.echo(
                f"      u with half of it: {u_text(way.u_if_halved, e.unit)}, "
                f"without it: {u_text(way.u_if_zero, e.unit)}"
            )
