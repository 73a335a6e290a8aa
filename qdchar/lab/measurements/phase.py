"""Phase randomisation: fringes of consecutive pulses in an unbalanced interferometer."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.phase import PhaseSettings
from qdchar.raw_data import Progress

from ..measurement import MOVE_S, Measurement
from ..session import Session
from .interferometer import ASSUMED, CERTIFICATES, interferometer


def _run(s: Session, settings: PhaseSettings, progress: Progress) -> Result:
    scan = protocols.phase.measure(
        s.light_path,
        s.interferometer_polarisation,
        s.interferometer_phase,
        s.tagger,
        s.run.raw / "phase.csv",
        settings,
        s.relock_cavity,
        progress,
    )
    return analysis.phase.analyse(
        scan,
        fringe=s.certificate("interferometer_fringe"),
        interferometer=interferometer(s),
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=s.dead_pulses(),
    )


MEASUREMENT = Measurement(
    name="phase",
    title="phase randomisation",
    run=_run,
    settings=PhaseSettings,
    provides=("phase_visibility",),
    needs=("dead_time", "cavity_resonance_voltage"),
    roles=(
        "light_path",
        "interferometer_polarisation",
        "interferometer_phase",
        "tagger",
        "cavity_fine",
    ),
    certificates=("interferometer_fringe", *CERTIFICATES),
    optional_certificates=ASSUMED,
    at_pi_pulse=True,
    calibration="if possible",
    used_by_key_rate=False,
    ranges={"interferometer_phase": protocols.phase.sweep_range},
    take_over_hours=24.0,
    dwell_s=lambda settings, _: protocols.phase.dwell_s(settings),
    moves_s=lambda settings, _: MOVE_S * settings.points,
    relocks=lambda _settings, _limits: 1,
)
