"""Brightness: time tags of both detectors with the pulse clock, for photons per pulse.

Measures time tags before or after the transmitter. Moves nothing but the light path, and leaves it
at that position.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about


class BrightnessSettings(Settings):
    """How long to record.

    Attributes
    ----------
    duration_s
        Duration of the recording [s].
    """

    duration_s: float = Field(0.1, gt=0)


def dwell_s(settings: BrightnessSettings) -> float:
    """Return the recording time [s], without moves."""
    return settings.duration_s


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    file: PathLike,
    settings: BrightnessSettings,
    *,
    path: Literal["before", "after"] = "before",
    progress: Progress = silent,
) -> TagRun:
    """Record time tags before or after the transmitter, with pump and cavity as they are."""
    file = Path(file)
    light_path.select(path)
    about = run_about("brightness", path, tagger, settings.duration_s)
    return record(tagger, file, settings.duration_s, about, progress)
