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
    from qdchar.lab.outcome import load_outcome
    from qdchar.report import write_report

    page = write_report(run)
    click.echo(f"report: {page}")
    if json_line:
        outcome = load_outcome(run)
        rate = outcome.rate
        line = {
            "exit_code": 0,
            "verdict": outcome.verdict.decision,
            "reasons": outcome.verdict.reasons,
            "demands": outcome.verdict.demands,
            "problems": outcome.record.problems,
            "run": str(run),
            "record": str(run / "record.json"),
            "report": str(page),
            "rate_per_pulse": rate.rate_per_pulse,
            "rate_per_pulse_u": rate.rate_per_pulse_u,
            "rate_bps": rate.rate_bps,
            "advantage_dB": {c.name: c.advantage_dB for c in rate.comparators},
        }
        click.echo(json.dumps(line))
    return 0
