"""The page of a calibration that has not come to its verdict: what there is, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qdchar.errors import RecordError
from qdchar.files import PathLike, write_text
from qdchar.lab.outcome import is_finished
from qdchar.lab.request import FILE
from qdchar.lab.run import Step, read_log, read_step

from .cards import cards
from .page import template
from .provenance import provenance_of


@dataclass(frozen=True)
class UnfinishedRun:
    """What a run holds that ended early, or has not ended yet.

    Attributes
    ----------
    folder
        The run folder.
    steps
        The measurements that were complete, in order.
    damaged
        Files in ``results/`` that cannot be read, and why.
    reason
        How it ended, as far as its log says.
    """

    folder: Path
    steps: tuple[Step, ...]
    damaged: tuple[str, ...]
    reason: str


def is_unfinished(folder: PathLike) -> bool:
    """Whether a run has not come to its verdict: it was ended before, or still runs.

    A finished run that lacks its verdict was changed: its log tells the two apart.

    Parameters
    ----------
    folder
        The run folder.
    """
    folder = Path(folder)
    if not (folder / "record.json").exists():
        return True
    log = read_log(folder)
    return not is_finished(folder) and bool(log) and log[-1][0] != "stop"


def read_unfinished_run(folder: PathLike) -> UnfinishedRun:
    """Read what there is, whatever is missing.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    RecordError
        If the folder is not that of a run.
    """
    folder = Path(folder)
    if not any((folder / name).exists() for name in ("run.jsonl", FILE, "results")):
        raise RecordError(f"{folder}: not a run folder: it holds no run.jsonl, {FILE} or results")
    log = read_log(folder)
    if log and log[-1][0] == "stop" and log[-1][1].get("exit_status") == "success":
        raise RecordError(
            f"{folder}: holds single measurements and no calibration: {log[-1][1].get('reason')}; "
            "its results are in the folder results"
        )
    steps: list[Step] = []
    damaged: list[str] = []
    for file in sorted((folder / "results").glob("*.json*")):
        try:
            steps.append(read_step(file))
        except RecordError as error:
            damaged.append(str(error))
    return UnfinishedRun(folder, tuple(steps), tuple(damaged), _reason(folder))


def _reason(folder: Path) -> str:
    """Say how a run ended."""
    log = read_log(folder)
    if log and log[-1][0] == "stop":
        return f"It ended with {log[-1][1].get('reason', 'no reason given')}."
    if not log:
        return "It ended before its log had a line."
    last = datetime.fromtimestamp(float(log[-1][1].get("time", 0.0)), UTC)
    return (
        "Its log has no end: it still runs, or it was killed. Its last entry is of "
        f"{last:%Y-%m-%d %H:%M:%S} UTC."
    )


def write_unfinished_report(run: UnfinishedRun) -> Path:
    """Write ``report.html`` of a run without a verdict; returns the page.

    Parameters
    ----------
    run
        From `read_unfinished_run`.
    """
    folder = run.folder.resolve()
    simulated = (folder / "simulated_lab.json").exists()
    page = template("unfinished.html.j2").render(
        folder=folder.name,
        simulated=simulated,
        reason=run.reason,
        advice=f"qdchar calibrate --resume {run.folder} goes on with it."
        if (folder / FILE).exists()
        else "It is not a calibration that can be resumed.",
        damaged=run.damaged,
        cards=cards(run.steps),
        provenance=provenance_of(folder),
    )
    file = run.folder / "report.html"
    write_text(file, page)
    return file
