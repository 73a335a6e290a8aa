"""Dead time: a short stretch of tags, long enough to see which pulse gaps never occur."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about


class DeadTimeSettings(Settings):
    """How long to record."""

    duration_s: float = Field(0.05, gt=0)


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    file: Path,
    settings: DeadTimeSettings,
    progress: Progress = silent,
) -> TagRun:
    """Record tags of the source before the transmitter."""
    light_path.select("before")
    about = run_about("dead_time", "before", tagger, settings.duration_s)
    return record(tagger, file, settings.duration_s, about, progress)
