"""Brightness: time tags of both detectors with their pulse clock, for photons per pulse."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about


class BrightnessSettings(Settings):
    """How long to count."""

    duration_s: float = Field(0.1, gt=0)


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    file: Path,
    settings: BrightnessSettings,
    *,
    path: Literal["before", "after"] = "before",
    progress: Progress = silent,
) -> TagRun:
    """Record tags before or after the transmitter, at the pump power and tuning as they stand."""
    light_path.select(path)
    about = run_about("brightness", path, tagger, settings.duration_s)
    return record(tagger, file, settings.duration_s, about, progress)
