"""Two-photon interference of consecutive photons: visibility and indistinguishability."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.hom import HomSettings
from qdchar.raw_data import Progress

from ..measurement import Measurement
from ..session import Session
from .interferometer import ASSUMED, CERTIFICATES, interferometer


def _run(s: Session, settings: HomSettings, progress: Progress) -> Result:
    runs = protocols.hom.measure(
        s.light_path,
        s.interferometer_polarisation,
        s.tagger,
        s.run.raw,
        settings,
        s.relock_cavity,
        progress,
    )
    return analysis.hom.analyse(
        runs,
        g2=s.known("g2_zero"),
        interferometer=interferometer(s),
        dark_count_rate=s.known("dark_count_rate"),
        blinking=s.maybe("blinking_amplitude_sent"),
    )


MEASUREMENT = Measurement(
    name="hom",
    title="two-photon interference",
    run=_run,
    settings=HomSettings,
    provides=("visibility", "indistinguishability"),
    needs=("dark_count_rate", "g2_zero"),
    roles=("light_path", "interferometer_polarisation", "tagger", "cavity_fine"),
    certificates=CERTIFICATES,
    optional_certificates=ASSUMED,
    at_pi_pulse=True,
    calibration="if possible",
    used_by_key_rate=False,
    dwell_s=lambda settings, _: protocols.hom.dwell_s(settings),
    relocks=lambda _settings, _limits: 1,
    tags_s=protocols.hom.dwell_s,
)
