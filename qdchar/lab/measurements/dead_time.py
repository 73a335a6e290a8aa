"""Detector dead time: times between clicks of the light that is on the detectors."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.dead_time import DeadTimeSettings
from qdchar.raw_data import Progress

from ..measurement import Measurement
from ..session import Session


def _run(s: Session, settings: DeadTimeSettings, progress: Progress) -> Result:
    file = s.run.raw / "dead_time.h5"
    run = protocols.dead_time.measure(s.light_path, s.tagger, file, settings, progress)
    return analysis.dead_time.analyse(run)


MEASUREMENT = Measurement(
    name="dead_time",
    title="detector dead time",
    run=_run,
    settings=DeadTimeSettings,
    provides=("dead_time", "dead_pulses", "blinking_amplitude"),
    roles=("light_path", "tagger", "pump_attenuator"),
    # the cavity tuning makes it, on the light that it has found
    calibration="on request",
    take_over_hours=168.0,
    dwell_s=lambda settings, _: protocols.dead_time.dwell_s(settings),
    tags_s=protocols.dead_time.dwell_s,
)
