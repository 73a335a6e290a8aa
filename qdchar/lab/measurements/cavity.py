"""Cavity tuning: find a resonance, approach it from below, and lock the piezo to its peak."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.cavity import CavitySettings
from qdchar.raw_data import Progress, Scan

from ..knowledge import Knowledge
from ..measurement import MOVE_S, Measurement
from ..session import Session


def _run(s: Session, settings: CavitySettings, progress: Progress) -> Result:
    s.light_path.select("before")
    monitor = s.pump_monitor()
    tuning = protocols.cavity.measure(
        s.light_path,
        s.cavity_fine,
        s.pump_attenuator,
        monitor,
        s.tagger,
        s.run.raw,
        settings,
        progress,
    )
    s.light.add_pump(s.pump_attenuator.attenuation(), protocols.pump.mean_power(monitor))
    s.make_needed("dead_time")
    return analyse(s, tuning.survey, tuning.fine)


def analyse(k: Knowledge, survey: Scan, fine: Scan, wavelength_m: float | None = None) -> Result:
    """Fit both scans of a tuning with what is known besides them."""
    return analysis.cavity.analyse_tuning(
        survey,
        fine,
        clock_rate_Hz=k.clock_rate_Hz(),
        dead_pulses=k.dead_pulses(),
        wavelength_m=k.wavelength_m if wavelength_m is None else wavelength_m,
        purcell_factor=k.certificate("purcell_expected"),
    )


MEASUREMENT = Measurement(
    name="cavity",
    title="cavity tuning",
    run=_run,
    settings=CavitySettings,
    provides=(
        "cavity_fsr_voltage",
        "cavity_metres_per_volt",
        "cavity_resonance_voltage",
        "cavity_count_fwhm_voltage",
        "cavity_count_fwhm",
        "cavity_fwhm_displacement",
        "cavity_finesse",
    ),
    needs_afterwards=("dead_time",),
    roles=("light_path", "cavity_fine", "pump_attenuator", "pump_power", "tagger"),
    certificates=("purcell_expected",),
    sets_pump=True,
    ranges={"cavity_fine": protocols.cavity.sweep_range},
    dwell_s=lambda settings, limits: protocols.cavity.dwell_s(settings, limits("cavity_fine")),
    moves_s=lambda settings, limits: (
        MOVE_S * protocols.cavity.points(settings, limits("cavity_fine"))
    ),
    relocks=lambda _settings, _limits: 1,
)
