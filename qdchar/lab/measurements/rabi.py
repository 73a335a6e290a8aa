"""Pi pulse: count rate against pump power."""

from __future__ import annotations

import math

from qdchar import analysis, protocols
from qdchar.errors import InconclusiveError
from qdchar.fit import Result
from qdchar.protocols.rabi import RabiSettings
from qdchar.raw_data import Progress, Scan

from ..knowledge import Knowledge
from ..measurement import COMMAND_S, MOVE_S, POWER_METER, ZERO_S, Measurement
from ..session import Session

_WHAT_ELSE = (
    "If the light against the power is a smooth curve, something else than the dot's rotation "
    "changes with the power: does the pump heat the cavity off its resonance, is the laser "
    "detuned from the dot, does a detector saturate?"
)


def _run(s: Session, settings: RabiSettings, progress: Progress) -> Result:
    scan = protocols.rabi.measure(
        s.light_path,
        s.pump_attenuator,
        s.pump_power,
        s.tagger,
        s.run.raw / "rabi.csv",
        settings,
        s.relock_cavity,
        progress,
    )
    attenuation_dB = s.light.pump_attenuation_dB
    if attenuation_dB is not None:
        s.pump_attenuator.set_attenuation(attenuation_dB)
        s.light.add_pump(attenuation_dB, protocols.pump.mean_power(s.pump_monitor()))
    try:
        return analyse(s, scan, settings)
    except InconclusiveError as error:
        raise InconclusiveError(f"{error}. {_WHAT_ELSE} ({scan.file})") from error


def analyse(k: Knowledge, scan: Scan, settings: RabiSettings) -> Result:
    """Fit a scan with what is known besides it."""
    return analysis.rabi.analyse(
        scan,
        clock_rate_Hz=k.clock_rate_Hz(),
        dead_pulses=k.dead_pulses(),
        on_fraction=k.on_fraction(),
        power_gain=k.certificate("power_meter_gain"),
        meter=k.meter_errors(),
        reading_u_rel=settings.reading_u_rel / math.sqrt(settings.readings),
        dark_count_rate_Hz=k.known("dark_count_rate").value,
    )


MEASUREMENT = Measurement(
    name="rabi",
    title="pi pulse",
    run=_run,
    settings=RabiSettings,
    provides=("pi_power", "max_power", "rabi_damping"),
    needs=("dark_count_rate", "cavity_resonance_voltage", "dead_time"),
    roles=("light_path", "pump_attenuator", "pump_power", "tagger", "cavity_fine"),
    certificates=("power_meter_gain",),
    optional_certificates=POWER_METER,
    sets_pump=True,
    ranges={"pump_attenuator": protocols.rabi.sweep_range},
    dwell_s=lambda settings, _: protocols.rabi.dwell_s(settings),
    moves_s=lambda settings, _: (
        ZERO_S + protocols.rabi.points(settings) * (MOVE_S + settings.readings * COMMAND_S)
    ),
    relocks=lambda _settings, _limits: 4,
)
