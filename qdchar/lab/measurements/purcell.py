"""Purcell factor: lifetime and count rate against the detuning of the cavity."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.purcell import PurcellSettings
from qdchar.raw_data import Progress

from ..measurement import MOVE_S, Measurement
from ..session import Session
from .reception import ASSUMED, CERTIFICATES, efficiency_from_fibre


def _run(s: Session, settings: PurcellSettings, progress: Progress) -> Result:
    detuned = protocols.purcell.measure(
        s.light_path,
        s.cavity_fine,
        s.pump_attenuator,
        s.tagger,
        s.run.raw,
        settings,
        s.known("cavity_count_fwhm_voltage").value,
        s.relock_cavity,
        progress,
    )
    return analysis.purcell.analyse_runs(
        detuned.voltage_V,
        detuned.u_voltage_V,
        detuned.runs,
        detuned.response,
        response_width=s.certificate("response_width"),
        dark_count_rate=s.known("dark_count_rate"),
        detector_efficiency=efficiency_from_fibre(s, "the Purcell measurement"),
        vibration_m=s.certificate("cavity_vibration"),
        metres_per_volt=s.known("cavity_metres_per_volt"),
        hertz_per_metre=s.optional_certificate("cavity_tuning"),
    )


MEASUREMENT = Measurement(
    name="purcell",
    title="Purcell factor",
    run=_run,
    settings=PurcellSettings,
    provides=(
        "purcell_factor",
        "beta_factor",
        "lifetime_on_resonance",
        "lifetime_detuned",
        "cavity_fwhm_voltage",
        "cavity_fwhm",
        "laser_leakage",
    ),
    needs=("dark_count_rate", "cavity_count_fwhm_voltage", "cavity_metres_per_volt"),
    roles=("light_path", "cavity_fine", "pump_attenuator", "tagger"),
    certificates=(*CERTIFICATES, "path_before", "cavity_vibration"),
    optional_certificates=(*ASSUMED, "response_width", "cavity_tuning"),
    # there the excitation hardly depends on what detuning does to the pump
    at_pi_pulse=True,
    calibration="on request",
    dwell_s=lambda settings, _: protocols.purcell.dwell_s(settings),
    moves_s=lambda settings, _: 4 * MOVE_S * len(settings.detunings),
    relocks=lambda settings, _: len(settings.detunings) + 2,
    tags_s=protocols.purcell.dwell_s,
)
