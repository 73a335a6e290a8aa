"""Misalignment: each polarisation state against the analyser, both ways round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from qdchar.errors import UsageError
from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import (
    ORTHOGONAL,
    LightPath,
    PolarisationAnalyser,
    PolarisationModulator,
    TimeTagger,
)

from ._tags import record, run_about


class MisalignmentSettings(Settings):
    """How long to record each state in each of the two analyser settings."""

    duration_s: float = Field(0.05, gt=0)


def measure(
    light_path: LightPath,
    modulator: PolarisationModulator,
    analyser: PolarisationAnalyser,
    tagger: TimeTagger,
    folder: Path,
    settings: MisalignmentSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> tuple[TagRun, ...]:
    """Send every state, and turn first it, then the state orthogonal to it to detector A.

    Parameters
    ----------
    relock
        Called first, to bring the source onto its resonance; it may change the light path.

    Returns
    -------
    tuple of TagRun
        Two for each state; ``prepared`` and ``analysed`` stand in their settings.

    Raises
    ------
    UsageError
        If modulator and analyser have no whole basis in common; nothing was moved.
    """
    states = [
        s
        for s in modulator.states
        if {s, ORTHOGONAL[s]} <= set(analyser.states) and ORTHOGONAL[s] in modulator.states
    ]
    if not states:
        raise UsageError(
            "misalignment: modulator and analyser have no whole basis in common: the one has "
            f"{', '.join(modulator.states)}, the other {', '.join(analyser.states)}"
        )
    relock()
    light_path.select("receiver")
    runs = []
    for state in states:
        modulator.select(state)
        for analysed in (state, ORTHOGONAL[state]):
            analyser.select(analysed)
            about = run_about("misalignment", "receiver", tagger, settings.duration_s)
            known = {**about.settings, "prepared": state, "analysed": analysed}
            file = folder / f"misalignment_{state}_{analysed}.h5"
            runs.append(record(tagger, file, settings.duration_s, replace(about, settings=known)))
            progress(len(runs), 2 * len(states), f"{state} sent, {analysed} on detector A")
    return tuple(runs)
