"""Dark counts: clicks of the detectors with all light blocked.

Measures the clicks of both detectors in repeated dwells. Closes the pump shutter and switches the
light path to ``blocked``, and leaves both like that.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, Settings, silent
from qdchar.roles import Attenuator, Counts, LightPath, TimeTagger

from ._scan import ScanLoop, scan_about


class DarkSettings(Settings):
    """How long to count in the dark.

    Attributes
    ----------
    dwell_s
        Counting time of each dwell [s].
    repeats
        Number of dwells.
    """

    dwell_s: float = Field(1.0, gt=0)
    repeats: int = Field(20, ge=2)


def dwell_s(settings: DarkSettings) -> float:
    """Return the counting time [s], without moves."""
    return settings.repeats * settings.dwell_s


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    tagger: TimeTagger,
    file: PathLike,
    settings: DarkSettings,
    progress: Progress = silent,
) -> Scan:
    """Count clicks with the shutter closed and the light path blocked.

    Returns
    -------
    Scan
        Against ``time_s``, the start of each dwell [s].
    """
    file = Path(file)
    pump_attenuator.close_shutter()
    light_path.select("blocked")

    def measure_point(start_s: float) -> tuple[float, Counts]:
        return start_s, tagger.count(settings.dwell_s)

    about = scan_about("dark", "blocked", tagger, settings)
    starts_s = [k * settings.dwell_s for k in range(settings.repeats)]
    with ScanLoop(file, "time_s", about, settings.repeats, progress) as loop:
        loop.measure(starts_s, measure_point)
    return loop.scan()
