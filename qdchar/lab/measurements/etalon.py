"""Linewidth: scans the etalon with a narrow laser and with the emission; locks it to the peak."""

from __future__ import annotations

import math

from qdchar import analysis, protocols
from qdchar.analysis.detuning import DetuningCorrection
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.protocols.etalon import EtalonSettings
from qdchar.raw_data import Progress, Scan

from ..knowledge import Knowledge
from ..measurement import MOVE_S, Limits, Measurement
from ..session import Session
from . import off_resonance


def _run(s: Session, settings: EtalonSettings, progress: Progress) -> Result:
    first_relock = s.lock_count
    scans = protocols.etalon.measure(
        s.light_path,
        s.etalon_piezo,
        s.tagger,
        s.run.raw,
        settings,
        s.relock_cavity,
        progress,
    )
    s.relock_cavity()
    correction = off_resonance.detuning_correction(s, first_relock, scanned(scans.source))
    result = analyse(s, scans.narrow, scans.source, correction)
    parked = protocols.etalon.park(
        s.light_path,
        s.etalon_piezo,
        s.tagger,
        s.run.raw / "etalon_park.csv",
        settings,
        result["etalon_peak_voltage"].value,
    )
    s.light.add_lock_after(parked)
    return result


def scanned(source: Scan) -> tuple[str, float]:
    """Say what was recorded between the re-locks, and for how long [s]."""
    return "the scan of the source", float(source.dwell_s.sum())


def analyse(
    k: Knowledge,
    narrow: Scan | None,
    source: Scan,
    correction: DetuningCorrection | None,
    kappa: Estimate | None = None,
) -> Result:
    """Fit both scans with what is known besides them."""
    return analysis.etalon.analyse(
        narrow,
        source,
        fsr=k.certificate("etalon_fsr"),
        clock_rate_Hz=k.clock_rate_Hz(),
        dead_pulses=k.dead_pulses(),
        dead_time=k.known("dead_time"),
        dark_count_rate_Hz=k.known("dark_count_rate").value,
        lifetime=k.known("lifetime"),
        detuning_correction=None if correction is None else correction.lifetime,
        mode=None if narrow is None else k.certificate("etalon_mode"),
        kappa=kappa,
    )


def _relocks(settings: EtalonSettings, limits: Limits) -> int:
    points = protocols.etalon.points(settings, limits("etalon_piezo"))
    return math.ceil(points / settings.hold_every) + 2  # one after the scan, one of the etalon


MEASUREMENT = Measurement(
    name="etalon",
    title="linewidth",
    run=_run,
    settings=EtalonSettings,
    provides=(
        "linewidth",
        "linewidth_lorentz",
        "linewidth_gauss",
        "fourier_linewidth",
        "linewidth_ratio",
        "etalon_fwhm",
        "etalon_fsr",
        "etalon_finesse",
        "etalon_peak_voltage",
    ),
    needs=("lifetime", "dark_count_rate", "dead_time", *off_resonance.NEEDS),
    roles=("light_path", "etalon_piezo", "tagger", "cavity_fine"),
    certificates=("etalon_fsr", *off_resonance.CERTIFICATES),
    optional_certificates=("etalon_mode",),
    at_pi_pulse=True,
    ranges={"etalon_piezo": protocols.etalon.sweep_range},
    dwell_s=lambda settings, limits: protocols.etalon.dwell_s(settings, limits("etalon_piezo")),
    moves_s=lambda settings, limits: (
        2 * MOVE_S * protocols.etalon.points(settings, limits("etalon_piezo"))
    ),
    sweeps=2,
    relocks=_relocks,
)
