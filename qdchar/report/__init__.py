"""Pages and figures of a run."""

from .measured import is_measured, write_measured_report
from .page import write_report
from .unfinished import (
    UnfinishedRun,
    is_unfinished,
    read_unfinished_run,
    write_unfinished_report,
)

__all__ = [
    "UnfinishedRun",
    "is_measured",
    "is_unfinished",
    "read_unfinished_run",
    "write_measured_report",
    "write_report",
    "write_unfinished_report",
]
