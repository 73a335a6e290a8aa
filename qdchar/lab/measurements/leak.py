"""Laser leakage and re-excitation: g2 at the pi pulse, and a power scan with the cavity detuned."""

from __future__ import annotations

import math

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.leak import LeakSettings
from qdchar.raw_data import Progress

from ..measurement import COMMAND_S, MOVE_S, POWER_METER, ZERO_S, Measurement
from ..session import Session
from . import off_resonance
from .reception import ASSUMED, CERTIFICATES, efficiency_from_fibre


def _run(s: Session, settings: LeakSettings, progress: Progress) -> Result:
    detuning_V = settings.detuning_V
    if detuning_V is None:
        detuning_V = 0.5 * s.known("cavity_fsr_voltage").value
    first_relock = s.lock_count
    leakage = protocols.leak.measure(
        s.light_path,
        s.cavity_fine,
        s.pump_attenuator,
        s.pump_monitor(),
        s.tagger,
        s.run.raw,
        settings,
        pi_reading_W=s.pi_reading_W(),
        detuning_V=detuning_V,
        relock=s.relock_cavity,
        progress=progress,
    )
    recorded = "the leak measurement", protocols.leak.dwell_s(settings)
    correction = off_resonance.detuning_correction(s, first_relock, recorded)
    return analysis.leak.analyse(
        leakage.tuned,
        leakage.detuned,
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=s.dead_pulses(),
        pi_power=s.known("pi_power"),
        damping=s.known("rabi_damping"),
        power_gain=s.certificate("power_meter_gain"),
        meter=s.meter_errors(),
        detector_efficiency=efficiency_from_fibre(s, "the leak measurement"),
        dark_count_rate=s.known("dark_count_rate"),
        reading_u_rel=settings.reading_u_rel / math.sqrt(settings.readings),
        detuning_correction=correction.lifetime,
    )


MEASUREMENT = Measurement(
    name="leak",
    title="laser leakage and re-excitation",
    run=_run,
    settings=LeakSettings,
    provides=("laser_leakage", "g2_reexcitation"),
    needs=(
        "cavity_fsr_voltage",
        "pi_power",
        "rabi_damping",
        "dark_count_rate",
        "dead_time",
        *off_resonance.NEEDS,
    ),
    roles=("light_path", "cavity_fine", "pump_attenuator", "pump_power", "tagger"),
    certificates=("power_meter_gain", *CERTIFICATES, "path_before", *off_resonance.CERTIFICATES),
    optional_certificates=(*ASSUMED, *POWER_METER),
    sets_pump=True,
    calibration="on request",
    dwell_s=lambda settings, _: protocols.leak.dwell_s(settings),
    moves_s=lambda settings, _: (
        ZERO_S
        + (settings.points + 1)
        * (3 * (MOVE_S + protocols.pump.READINGS * COMMAND_S) + settings.readings * COMMAND_S)
    ),
    relocks=lambda _settings, _limits: 2,
    tags_s=lambda settings: settings.tuned_s,
)
