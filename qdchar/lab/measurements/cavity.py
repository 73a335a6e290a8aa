"""Cavity tuning: find a resonance, come to it from below, and lock the piezo on its light."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.cavity import CavitySettings
from qdchar.raw_data import Progress

from ..measurement import Measurement
from ..session import Session


def _run(s: Session, settings: CavitySettings, progress: Progress) -> Result:
    tuning = protocols.cavity.measure(
        s.light_path,
        s.cavity_fine,
        s.pump_attenuator,
        s.pump_power,
        s.tagger,
        s.run.raw,
        settings,
        progress,
    )
    s.make_needed("dead_time")
    clock_rate_Hz, dead_pulses = s.clock_rate_Hz(), s.dead_pulses()
    wavelength_m = s.station.file.wavelength_m
    orders = analysis.cavity.orders(
        tuning.survey,
        clock_rate_Hz=clock_rate_Hz,
        dead_pulses=dead_pulses,
        wavelength_m=wavelength_m,
    )
    resonance = analysis.cavity.analyse(
        tuning.fine,
        clock_rate_Hz=clock_rate_Hz,
        dead_pulses=dead_pulses,
        wavelength_m=wavelength_m,
        metres_per_volt=orders["cavity_metres_per_volt"],
        purcell_factor=s.certificate("purcell_expected"),
    )
    return Result(
        (*orders.estimates, *resonance.estimates),
        (*orders.fits, *resonance.fits),
        (*orders.problems, *resonance.problems),
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
)
