"""Dead time: time tags of the source, long enough to see which pulse distances never occur.

Measures time tags before the transmitter. Moves nothing but the light path, and leaves it at
``before``.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about


class DeadTimeSettings(Settings):
    """How long to record.

    Attributes
    ----------
    duration_s
        Duration of the recording [s].
    """

    duration_s: float = Field(0.05, gt=0)


def dwell_s(settings: DeadTimeSettings) -> float:
    """Return the recording time [s], without moves."""
    return settings.duration_s


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    file: PathLike,
    settings: DeadTimeSettings,
    progress: Progress = silent,
) -> TagRun:
    """Record time tags of the source before the transmitter, with pump and cavity as they are."""
    file = Path(file)
    light_path.select("before")
    about = run_about("dead_time", "before", tagger, settings.duration_s)
    return record(tagger, file, settings.duration_s, about, progress)
