"""Dark counts: the detectors with all light blocked."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import Attenuator, LightPath, TimeTagger


class DarkSettings(Settings):
    """How long to count in the dark."""

    dwell_s: float = Field(1.0, gt=0)
    repeats: int = Field(20, ge=2)


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    tagger: TimeTagger,
    file: Path,
    settings: DarkSettings,
    progress: Progress = silent,
) -> Scan:
    """Count clicks with the shutter closed and the light path blocked.

    Returns
    -------
    Scan
        Against ``time_s``, the start of each dwell [s].
    """
    pump_attenuator.close_shutter()
    light_path.select("blocked")
    about = About(
        protocol="dark",
        path="blocked",
        simulated=tagger.identify().simulated,
        settings=settings.model_dump(),
    )
    with ScanWriter(file, "time_s", about) as scan:
        for k in range(settings.repeats):
            counts = tagger.count(settings.dwell_s)
            scan.add(k * settings.dwell_s, counts)
            progress(k + 1, settings.repeats, f"{sum(counts.clicks)} clicks")
    return scan.scan()
