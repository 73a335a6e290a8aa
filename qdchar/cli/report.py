"""``qdchar report RUN``: make the pages and figures of a run again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.errors import InconclusiveError, RecordError

from ._options import as_json
from ._outputs import make_output_folder
from ._records import accept_option, outcome_json, verdict_json

if TYPE_CHECKING:
    from qdchar.lab.outcome import Outcome
    from qdchar.lab.run import Step


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--figures",
    "figures",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write each figure to this folder too: SVG, PDF and PNG (300 dpi) as wide as a column of "
    "a journal (86 mm), and a CSV table of its points.",
)
@accept_option
@click.option("--pdf", is_flag=True, help="Print the page to report.pdf, too; needs Chromium.")
@as_json
def report(run: Path, figures: Path | None, accept: bool, pdf: bool, json_line: bool) -> int:
    """Make the pages and figures of the run in folder RUN.

    Rate and verdict are those that the calibration made. If a file of the run has changed since,
    page and verdict say so, and the exit code is 30; with --accept the page shows the verdict
    beside what changed. A calibration that was broken off is shown as far as it came, with exit
    code 11.
    """
    from qdchar.files import is_folder
    from qdchar.lab.outcome import load_outcome
    from qdchar.lab.run import read_steps
    from qdchar.notation import concise
    from qdchar.report import is_measured, is_unfinished, write_report
    from qdchar.report.budgets import Budgets

    if figures is not None:
        make_output_folder("--figures", figures)
    if is_folder(run) and is_measured(run):
        return _measured(run, figures, pdf, json_line)
    if is_folder(run) and is_unfinished(run):
        return _unfinished(run, figures, pdf, json_line)
    outcome = load_outcome(run)
    for fault in outcome.faults:
        click.echo(f"warning: {run}: {fault}", err=True)
    if not accept:
        outcome = outcome.unless_faulty()
    page = write_report(run, outcome)
    rate = outcome.rate
    click.echo(
        f"{outcome.verdict.decision}, {concise(rate.rate_per_pulse, rate.rate_per_pulse_u)} bit "
        f"per pulse at {rate.loss_dB:g} dB"
    )
    for problem in outcome.record.problems:
        click.echo(f"problem: {problem}")
    _say_where(page, pdf)
    if figures is not None:
        _write_figures(figures, read_steps(run), outcome)
    code = RecordError.exit_code if outcome.faults and not accept else 0
    if json_line:
        budgets = Budgets(outcome.record, outcome.recipe).tables()
        line = {
            **outcome_json(outcome, run, page),
            "budgets": {t.estimate.name: t.as_json() for t in budgets},
            "exit_code": code,
        }
        click.echo(json.dumps(line))
    return code


def _measured(folder: Path, figures: Path | None, pdf: bool, json_line: bool) -> int:
    """Show single measurements, of which no verdict was asked."""
    from qdchar.lab.run import read_steps
    from qdchar.record import load_record
    from qdchar.report import write_measured_report

    page = write_measured_report(folder)
    record = load_record(folder, accept=True)
    for problem in record.problems:
        click.echo(f"problem: {problem}")
    _say_where(page, pdf)
    if figures is not None:
        _write_figures(figures, read_steps(folder), None)
    code = InconclusiveError.exit_code if record.problems else 0
    if json_line:
        line = {
            "exit_code": code,
            **verdict_json(record),
            "run": str(folder),
            "record": str(folder / "record.json"),
            "report": str(page),
            "quantities": {
                name: q.model_dump(exclude={"budget"}) for name, q in record.quantities.items()
            },
        }
        click.echo(json.dumps(line))
    return code


def _write_figures(into: Path, steps: Iterable[Step], outcome: Outcome | None) -> None:
    """Write the figures of a run, and of its key rate where it has one."""
    from qdchar.files import writing
    from qdchar.report.figures import write_outcome_figure, write_step_figures

    with writing(into):
        files = [file for step in steps for file in write_step_figures(step, into)]
        if outcome is not None:
            files += write_outcome_figure(outcome, into)
    click.echo(f"figures: {len(files)} files in {into}")


def _unfinished(folder: Path, figures: Path | None, pdf: bool, json_line: bool) -> int:
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
    _say_where(page, pdf)
    if figures is not None:
        _write_figures(figures, run.steps, None)
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


def _say_where(page: Path, pdf: bool) -> None:
    """Say where the page is, and print it to a PDF if that is asked for."""
    click.echo(f"report: {page}")
    if pdf:
        from qdchar.report.pdf import write_pdf

        click.echo(f"pdf: {write_pdf(page)}")
