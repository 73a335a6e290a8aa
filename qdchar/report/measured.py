"""The page of single measurements, made by ``qdchar measure``: no verdict is asked of them."""

from __future__ import annotations

from pathlib import Path

from qdchar.errors import RecordError
from qdchar.files import PathLike, is_there, write_text
from qdchar.history import SINGLE
from qdchar.lab.run import read_log, read_steps
from qdchar.record import load_record

from .cards import cards
from .page import template
from .provenance import provenance_of


def is_measured(folder: PathLike) -> bool:
    """Whether a run folder holds single measurements that were finished, and no calibration.

    Parameters
    ----------
    folder
        The run folder.
    """
    folder = Path(folder)
    log = read_log(folder)
    stopped = bool(log) and log[-1][0] == "stop" and log[-1][1].get("exit_status") == "success"
    return stopped and is_there(folder / SINGLE)


def write_measured_report(folder: PathLike) -> Path:
    """Write ``report.html`` of a folder with single measurements; returns the page.

    Parameters
    ----------
    folder
        Run folder of ``qdchar measure``.

    Raises
    ------
    RecordError
        If it is no such folder, or a file in it is damaged.
    """
    folder = Path(folder)
    if not is_measured(folder):
        raise RecordError(f"{folder}: not a folder of finished single measurements")
    record = load_record(folder, accept=True)
    page = template("measured.html.j2").render(
        folder=folder.resolve().name,
        record=record,
        simulated=record.simulated,
        cards=cards(read_steps(folder)),
        provenance=provenance_of(folder),
    )
    file = folder / "report.html"
    write_text(file, page)
    return file
