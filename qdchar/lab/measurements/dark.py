"""Dark counts: clicks with the light blocked."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.dark import DarkSettings
from qdchar.raw_data import Progress

from ..measurement import Measurement
from ..session import Session


def _run(s: Session, settings: DarkSettings, progress: Progress) -> Result:
    file = s.run.raw / "dark.csv"
    scan = protocols.dark.measure(
        s.light_path, s.pump_attenuator, s.tagger, file, settings, progress
    )
    return analysis.dark.analyse(scan)


MEASUREMENT = Measurement(
    name="dark",
    title="dark counts",
    run=_run,
    settings=DarkSettings,
    provides=("dark_count_rate",),
    roles=("light_path", "pump_attenuator", "tagger"),
    take_over_hours=12.0,
    dwell_s=lambda settings, _: protocols.dark.dwell_s(settings),
)
