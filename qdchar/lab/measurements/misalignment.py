"""Misalignment: wrong clicks of each polarisation state that the transmitter sends."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.misalignment import MisalignmentSettings
from qdchar.raw_data import Progress

from ..measurement import Measurement
from ..session import Session
from .reception import linearity


def _run(s: Session, settings: MisalignmentSettings, progress: Progress) -> Result:
    runs = protocols.misalignment.measure(
        s.light_path,
        s.modulator,
        s.analyser,
        s.tagger,
        s.run.raw,
        settings,
        s.relock_cavity,
        progress,
    )
    s.light.add_polarisation(runs)
    return analysis.misalignment.analyse(
        runs,
        dark_count_rate=s.known("dark_count_rate"),
        linearity=linearity(s),
        plate_retardance=s.certificate("plate_retardance"),
    )


TURN_S = 0.15
"""Lab time for turning the wave plates of an analyser from one state to another, about [s]."""

MEASUREMENT = Measurement(
    name="misalignment",
    title="misalignment",
    run=_run,
    settings=MisalignmentSettings,
    provides=("misalignment", "misalignment_worst"),
    needs=("dark_count_rate", "cavity_resonance_voltage"),
    roles=("light_path", "modulator", "analyser", "tagger", "cavity_fine"),
    optional_certificates=("detector_linearity", "plate_retardance"),
    at_pi_pulse=True,
    calibration="if possible",
    take_over_hours=24.0,
    dwell_s=lambda settings, _: protocols.misalignment.dwell_s(settings),
    # each of the two orientations for four states turns the wave plates
    moves_s=lambda _settings, _limits: 2 * 4 * TURN_S,
    relocks=lambda _settings, _limits: 1,
    tags_s=protocols.misalignment.dwell_s,
)
