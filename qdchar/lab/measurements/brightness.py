"""Source efficiency: mean photon number per pulse in the fibre."""

from __future__ import annotations

from dataclasses import replace

from qdchar import analysis, protocols
from qdchar.fit import Result
from qdchar.protocols.brightness import BrightnessSettings
from qdchar.raw_data import Progress

from ..measurement import Measurement
from ..plausibility import clock_problem, slow_blinking_problem
from ..session import Session
from . import dark_times
from .loss_chain import with_chain
from .reception import ASSUMED, CERTIFICATES, reception


def _run(s: Session, settings: BrightnessSettings, progress: Progress) -> Result:
    s.relock_cavity()
    settings = dark_times.long_enough(s, settings, "duration_s")
    file = s.run.raw / "brightness.h5"
    run = protocols.brightness.measure(s.light_path, s.tagger, file, settings, progress=progress)
    s.light.add_run(run)
    result = analysis.brightness.analyse(
        run,
        detector_efficiency=s.certificate("detector_efficiency"),
        dark_count_rate=s.known("dark_count_rate"),
        reception=reception(s, "before"),
        tagger_clock=s.certificate("tagger_clock"),
    )
    result = dark_times.of_session(s, result, run)
    unusual = clock_problem(result["clock_rate"].value, s.station.file.nominal_clock_Hz)
    n = result["collection_efficiency"]
    flicker = s.light.flicker(run.duration_s)
    unusual += slow_blinking_problem(run, n.u_statistical / n.value, flicker)
    result = replace(result, problems=(*result.problems, *unusual))
    beta = s.maybe("beta_factor")
    return with_chain(
        s, result, "collection_efficiency", "collection_part_", [] if beta is None else [beta]
    )


MEASUREMENT = Measurement(
    name="brightness",
    title="brightness",
    run=_run,
    settings=BrightnessSettings,
    provides=("clock_rate", "collection_efficiency", "collection_efficiency_chain"),
    needs=("dark_count_rate", "cavity_resonance_voltage"),
    roles=("light_path", "tagger", "cavity_fine"),
    certificates=(*CERTIFICATES, "path_before"),
    optional_certificates=(*ASSUMED, "tagger_clock", "collection_part_"),
    at_pi_pulse=True,
    dwell_s=lambda settings, _: protocols.brightness.dwell_s(settings),
    relocks=lambda _settings, _limits: 1,
    tags_s=protocols.brightness.dwell_s,
)
