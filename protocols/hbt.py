"""Hanbury Brown and Twiss: time tags behind a beam splitter, for g2(0)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about


class HbtSettings(Settings):
    """How long to record before and after the transmitter: coincidences go with n^2 g2."""

    before_s: float = Field(0.3, gt=0)
    after_s: float = Field(1.0, gt=0)


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    file: Path,
    settings: HbtSettings,
    *,
    path: Literal["before", "after"],
    progress: Progress = silent,
) -> TagRun:
    """Record tags before or after the transmitter, at the pump power and tuning as they stand."""
    light_path.select(path)
    duration_s = settings.before_s if path == "before" else settings.after_s
    about = run_about("hbt", path, tagger, duration_s)
    return record(tagger, file, duration_s, about, progress)
