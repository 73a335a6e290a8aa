"""g2(0) behind a beam splitter, in the source's fibre and at the transmitter output."""

from __future__ import annotations

from typing import Literal

from qdchar import analysis, protocols
from qdchar.analysis.detuning import DetuningCorrection
from qdchar.estimate import Uncertain
from qdchar.fit import Result
from qdchar.protocols.hbt import HbtSettings
from qdchar.raw_data import Progress, TagRun

from ..knowledge import Knowledge
from ..measurement import Measurement
from ..session import Session
from . import dark_times, off_resonance


def _run(
    s: Session,
    settings: HbtSettings,
    progress: Progress,
    path: Literal["before", "after"],
    name: str,
    plane: str,
) -> Result:
    first_relock = s.lock_count
    s.relock_cavity()
    settings = dark_times.long_enough(s, settings, f"{path}_s")
    file = s.run.raw / f"hbt_{path}.h5"
    run = protocols.hbt.measure(
        s.light_path, s.tagger, file, settings, path=path, progress=progress
    )
    s.light.add_run(run)
    s.relock_cavity()
    recorded = run.file.name, run.duration_s
    correction = off_resonance.detuning_correction(
        s, first_relock, recorded, behind_etalon=path == "after"
    )
    return dark_times.of_session(s, analyse(s, run, name, plane, correction), run)


def analyse(
    k: Knowledge,
    run: TagRun,
    name: str,
    plane: str,
    correction: DetuningCorrection | None,
    delay_s: float | None = None,
    background_rates: tuple[Uncertain, Uncertain] | None = None,
) -> Result:
    """Find g2(0) with what is known besides the recording."""
    return analysis.hbt.analyse(
        run,
        name=name,
        plane=plane,
        dark_count_rate=k.known("dark_count_rate"),
        detuning_correction=None if correction is None else correction.g2,
        delay_s=delay_s,
        background_rates=background_rates,
    )


BEFORE = ("g2_zero_source", "fibre")
AFTER = ("g2_zero", "transmitter output")
"""Name of g2(0) and its plane, by position of the light path."""


def _before(s: Session, settings: HbtSettings, progress: Progress) -> Result:
    return _run(s, settings, progress, "before", *BEFORE)


def _after(s: Session, settings: HbtSettings, progress: Progress) -> Result:
    return _run(s, settings, progress, "after", *AFTER)


BEFORE_TRANSMITTER = Measurement(
    name="hbt_before",
    title="g2 in the fibre",
    run=_before,
    settings=HbtSettings,
    table="hbt",
    provides=("g2_zero_source", "g2_zero_source_upper", "g2_zero_source_on", "blinking_amplitude"),
    needs=("dark_count_rate", *off_resonance.NEEDS),
    roles=("light_path", "tagger", "cavity_fine"),
    certificates=off_resonance.CERTIFICATES,
    at_pi_pulse=True,
    dwell_s=lambda settings, _: protocols.hbt.dwell_s(settings, "before"),
    relocks=lambda _settings, _limits: 2,
    tags_s=lambda settings: protocols.hbt.dwell_s(settings, "before"),
)

AFTER_TRANSMITTER = Measurement(
    name="hbt_after",
    title="g2 at the transmitter output",
    run=_after,
    settings=HbtSettings,
    table="hbt",
    provides=("g2_zero", "g2_zero_upper", "g2_zero_on", "blinking_amplitude_sent"),
    needs=("dark_count_rate", *off_resonance.NEEDS, *off_resonance.LINE),
    roles=("light_path", "tagger", "cavity_fine"),
    certificates=off_resonance.CERTIFICATES,
    at_pi_pulse=True,
    dwell_s=lambda settings, _: protocols.hbt.dwell_s(settings, "after"),
    relocks=lambda _settings, _limits: 2,
    tags_s=lambda settings: protocols.hbt.dwell_s(settings, "after"),
)
