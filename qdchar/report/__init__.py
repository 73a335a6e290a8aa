"""Pages and figures of a run."""

from .page import write_report
from .unfinished import (
    UnfinishedRun,
    is_unfinished,
    read_unfinished_run,
    write_unfinished_report,
)

__all__ = [
    "UnfinishedRun",
    "is_unfinished",
    "read_unfinished_run",
    "write_report",
    "write_unfinished_report",
]
