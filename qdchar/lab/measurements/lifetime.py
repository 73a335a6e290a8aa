"""Lifetime: records the emission and the laser on the same detectors, and fits the decay."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.analysis.detuning import DetuningCorrection
from qdchar.fit import Result
from qdchar.protocols.lifetime import LifetimeSettings
from qdchar.raw_data import Progress, TagRun

from ..knowledge import Knowledge
from ..measurement import Measurement
from ..session import Session
from . import off_resonance


def _run(s: Session, settings: LifetimeSettings, progress: Progress) -> Result:
    first_relock = s.lock_count
    runs = protocols.lifetime.measure(
        s.light_path,
        s.pump_attenuator,
        s.tagger,
        s.run.raw,
        settings,
        s.relock_cavity,
        progress,
    )
    s.keep_run("lifetime", runs.emission)
    s.light.add_run(runs.emission)
    recorded = runs.emission.file.name, runs.emission.duration_s
    correction = off_resonance.detuning_correction(s, first_relock, recorded)
    return analyse(s, runs.emission, runs.response, correction)


def analyse(
    k: Knowledge,
    emission: TagRun,
    response: TagRun,
    correction: DetuningCorrection | None,
) -> Result:
    """Fit the decay with what is known besides both recordings."""
    return analysis.lifetime.analyse(
        emission,
        response,
        response_width=k.certificate("response_width"),
        detuning_correction=None if correction is None else correction.lifetime,
        tagger_clock=k.certificate("tagger_clock"),
    )


MEASUREMENT = Measurement(
    name="lifetime",
    title="lifetime",
    run=_run,
    settings=LifetimeSettings,
    provides=("lifetime", "temporal_fwhm", "response_fwhm"),
    needs=off_resonance.NEEDS,
    roles=("light_path", "pump_attenuator", "tagger", "cavity_fine"),
    certificates=off_resonance.CERTIFICATES,
    optional_certificates=("response_width", "tagger_clock"),
    at_pi_pulse=True,
    dwell_s=lambda settings, _: protocols.lifetime.dwell_s(settings),
    relocks=lambda _settings, _limits: 2,
    tags_s=protocols.lifetime.dwell_s,
)
