"""Stability: the count rate of the source, slice after slice, while nothing is touched.

Measures the clicks of both detectors against time, before the transmitter. Moves nothing but the
light path, and leaves it at ``before``. The cavity is not locked again meanwhile; a re-lock right
before and one right after tell how far it drifted.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, Settings, silent
from qdchar.roles import Counts, LightPath, TimeTagger

from ._scan import ScanLoop, scan_about


class StabilitySettings(Settings):
    """How long to watch, and in how many slices.

    Attributes
    ----------
    slices
        Number of slices.
    dwell_s
        Counting time of each slice [s]. Fluctuations that are faster average out within a slice.
    """

    slices: int = Field(50, ge=10)
    dwell_s: float = Field(0.2, gt=0)


def dwell_s(settings: StabilitySettings) -> float:
    """Return the counting time [s], without moves."""
    return settings.slices * settings.dwell_s


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    file: PathLike,
    settings: StabilitySettings,
    progress: Progress = silent,
) -> Scan:
    """Count slice after slice, with pump and cavity as they are.

    Returns
    -------
    Scan
        Against ``time_s``, the start of each slice [s]. It is counting time, by the tagger's clock:
        the pauses between slices, some milliseconds each, are left out.
    """
    file = Path(file)
    light_path.select("before")
    elapsed_s = 0.0

    def measure_point(_: float) -> tuple[float, Counts]:
        nonlocal elapsed_s
        start_s, counts = elapsed_s, tagger.count(settings.dwell_s)
        elapsed_s += counts.dwell_s
        return start_s, counts

    about = scan_about("stability", "before", tagger, settings)
    with ScanLoop(file, "time_s", about, settings.slices, progress) as loop:
        loop.measure(range(settings.slices), measure_point)
    return loop.scan()
