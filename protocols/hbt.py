"""Hanbury Brown and Twiss: time tags of both detectors behind a beam splitter, for g2(0).

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


class HbtSettings(Settings):
    """How long to record.

    Attributes
    ----------
    before_s, after_s
        Duration before and after the transmitter [s]. The rate of coincidences is proportional to
        the square of the photon number times g2(0), so faint light takes longer.
    """

    before_s: float = Field(0.3, gt=0)
    after_s: float = Field(1.0, gt=0)


def dwell_s(settings: HbtSettings, path: Literal["before", "after"]) -> float:
    """Return the recording time before or after the transmitter [s], without moves."""
    return settings.before_s if path == "before" else settings.after_s


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    file: PathLike,
    settings: HbtSettings,
    *,
    path: Literal["before", "after"],
    progress: Progress = silent,
) -> TagRun:
    """Record time tags before or after the transmitter, with pump and cavity as they are."""
    file = Path(file)
    light_path.select(path)
    duration_s = dwell_s(settings, path)
    about = run_about("hbt", path, tagger, duration_s)
    return record(tagger, file, duration_s, about, progress)
