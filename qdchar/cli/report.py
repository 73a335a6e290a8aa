"""``qdchar report RUN``: make the pages and figures of a run again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from qdchar.errors import InconclusiveError

from ._options import as_json


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@as_json
def report(run: Path, json_line: bool) -> int:
    """Make the pages and figures of the run in folder RUN.

    A calibration that was broken off is shown as far as it came, with exit code 11.
    """
    from qdchar.lab.outcome import load_outcome
    from qdchar.report import write_report

    if run.is_dir() and not (run / "record.json").exists():
        return _unfinished(run, json_line)
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


def _unfinished(folder: Path, json_line: bool) -> int:
    """Show a calibration that has not come to its verdict."""
    from qdchar.report import read_unfinished_run, write_unfinished_report

    from ._quantities import quantities

    run = read_unfinished_run(folder)
    page = write_unfinished_report(run)
    code = InconclusiveError.exit_code
    click.echo(f"UNFINISHED: {run.reason}")
    click.echo(f"complete: {', '.join(step.title for step in run.steps) or 'nothing'}")
    for file in run.damaged:
        click.echo(f"cannot be read: {file}")
    click.echo(f"report: {page}")
    if json_line:
        line = {
            "exit_code": code,
            "verdict": None,
            "problems": [f"unfinished: {run.reason}", *run.damaged],
            "run": str(folder),
            "report": str(page),
            "measured": [step.name for step in run.steps],
            "quantities": {k: v for s in run.steps for k, v in quantities(s.result).items()},
        }
        click.echo(json.dumps(line))
    return code
