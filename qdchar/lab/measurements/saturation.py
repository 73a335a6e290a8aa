"""Saturation of a dot pumped above resonance: count rate against pump power."""

from __future__ import annotations

import math

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.saturation import SaturationSettings
from qdchar.raw_data import Progress, Scan

from ..knowledge import Knowledge
from ..measurement import COMMAND_S, MOVE_S, POWER_METER, ZERO_S, Measurement
from ..session import Session


def _run(s: Session, settings: SaturationSettings, progress: Progress) -> Result:
    scan = protocols.saturation.measure(
        s.light_path,
        s.pump_attenuator,
        s.pump_power,
        s.tagger,
        s.run.raw / "saturation.csv",
        settings,
        progress,
    )
    return analyse(s, scan, settings)


def analyse(k: Knowledge, scan: Scan, settings: SaturationSettings) -> Result:
    """Fit a scan with what is known besides it."""
    return analysis.saturation.analyse(
        scan,
        clock_rate_Hz=k.clock_rate_Hz(),
        dead_pulses=k.dead_pulses(),
        power_gain=k.certificate("power_meter_gain"),
        meter=k.meter_errors(),
        reading_u_rel=settings.reading_u_rel / math.sqrt(settings.readings),
        dark_count_rate_Hz=k.known("dark_count_rate").value,
        pumping=settings.pumping,
    )


MEASUREMENT = Measurement(
    name="saturation",
    title="saturation of a dot pumped above resonance",
    run=_run,
    settings=SaturationSettings,
    provides=("saturation_power", "saturated_rate"),
    needs=("dark_count_rate", "dead_time"),
    roles=("light_path", "pump_attenuator", "pump_power", "tagger"),
    certificates=("power_meter_gain",),
    optional_certificates=POWER_METER,
    sets_pump=True,
    calibration="on request",
    ranges={"pump_attenuator": protocols.saturation.sweep_range},
    dwell_s=lambda settings, _: protocols.saturation.dwell_s(settings),
    moves_s=lambda settings, _: ZERO_S + settings.points * (MOVE_S + settings.readings * COMMAND_S),
)
