"""Transmitter: photons per pulse at its output, and its throughput."""

from __future__ import annotations

from qdchar import analysis, protocols
from qdchar.analysis.detection.reception import split_problems
from qdchar.fit import Result
from qdchar.protocols.transmitter import TransmitterSettings
from qdchar.raw_data import Progress

from ..measurement import Measurement
from ..session import Session
from . import dark_times, off_resonance
from .loss_chain import with_chain
from .reception import ASSUMED, CERTIFICATES, reception


def _run(s: Session, settings: TransmitterSettings, progress: Progress) -> Result:
    first_relock = s.lock_count
    settings = dark_times.long_enough(s, settings, "before_s", "after_s")
    runs = protocols.transmitter.measure(
        s.light_path, s.tagger, s.run.raw, settings, s.relock_cavity, progress
    )
    for recording in runs.in_order:
        s.light.add_run(recording)
    s.relock_cavity()
    recorded = runs.after[0].file.name, runs.after_s
    correction = off_resonance.detuning_correction(s, first_relock, recorded, behind_etalon=True)
    result = analysis.transmitter.analyse(
        runs.before,
        runs.after,
        detector_efficiency=s.certificate("detector_efficiency"),
        dark_count_rate=s.known("dark_count_rate"),
        receptions=(reception(s, "before"), reception(s, "after")),
        detuning_correction=correction.transmission,
    )
    unlike = split_problems(
        runs.before[0],
        runs.after[0],
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=s.dead_pulses(),
        polarisation=s.certificate("detector_polarisation"),
    )
    result = Result(result.estimates, result.fits, (*result.problems, *unlike))
    lorentz, gauss, etalon, fsr = (s.known(name) for name in off_resonance.LINE)
    overlap = analysis.loss_budget.etalon_overlap(
        lorentz, gauss, etalon, fsr, s.maybe("g2_zero_source")
    )
    return with_chain(
        s,
        result,
        "transmitter_efficiency",
        "transmitter_part_",
        [overlap],
    )


MEASUREMENT = Measurement(
    name="transmitter",
    title="transmitter throughput",
    run=_run,
    settings=TransmitterSettings,
    provides=(
        "transmitter_efficiency",
        "mean_photon_number",
        "etalon_overlap",
        "transmitter_efficiency_chain",
    ),
    needs=("dark_count_rate", *off_resonance.NEEDS, *off_resonance.LINE),
    roles=("light_path", "tagger", "cavity_fine"),
    certificates=(*CERTIFICATES, "path_before", "path_after", *off_resonance.CERTIFICATES),
    optional_certificates=(*ASSUMED, "transmitter_part_"),
    at_pi_pulse=True,
    take_over_hours=0.0,
    dwell_s=lambda settings, _: protocols.transmitter.dwell_s(settings),
    relocks=lambda settings, _limits: 2 * settings.alternations + 2,
    tags_s=protocols.transmitter.dwell_s,
)
