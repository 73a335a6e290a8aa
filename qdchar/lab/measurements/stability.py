"""Stability: drift and fluctuation of the brightness while nothing is touched."""

from __future__ import annotations

from qdchar.analysis import stability as analysis
from qdchar.estimate import Contribution, Uncertain
from qdchar.fit import Result
from qdchar.protocols import stability as protocol
from qdchar.protocols.stability import StabilitySettings
from qdchar.raw_data import Progress

from ..measurement import Measurement
from ..session import Session
from . import off_resonance


def _run(s: Session, settings: StabilitySettings, progress: Progress) -> Result:
    before = s.relock_cavity()
    file = s.run.raw / "stability.csv"
    scan = protocol.measure(s.light_path, s.tagger, file, settings, progress)
    after = s.relock_cavity()  # only now, so that it tells how far the cavity drifted meanwhile
    fwhm_V = s.known("cavity_count_fwhm").value / s.known("cavity_metres_per_volt").value
    end = Contribution("cavity re-lock after the last slice", after.u_offset_V / fwhm_V)
    return analysis.analyse(
        scan,
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=s.dead_pulses(),
        dark_count_rate=s.known("dark_count_rate"),
        end_detuning=Uncertain(after.offset_V / fwhm_V, (end,)),
        u_start_detuning=before.u_voltage_V / fwhm_V,
    )


MEASUREMENT = Measurement(
    name="stability",
    title="stability of the brightness",
    run=_run,
    settings=StabilitySettings,
    provides=("brightness_drift", "brightness_fluctuation"),
    needs=("dark_count_rate", *off_resonance.NEEDS, "dead_time"),
    roles=("light_path", "tagger", "cavity_fine"),
    at_pi_pulse=True,
    calibration="on request",
    used_by_key_rate=False,
    dwell_s=lambda settings, _: protocol.dwell_s(settings),
    relocks=lambda _settings, _limits: 2,
)
