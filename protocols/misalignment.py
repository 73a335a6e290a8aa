"""Misalignment: time tags of each polarisation state in both outputs of the analyser.

Measures two recordings for each state that the modulator can send. Moves the modulator, the
analyser and the light path. Leaves the modulator and the analyser at the last states, and the
light path at ``receiver``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from qdchar.errors import UsageError
from qdchar.files import PathLike
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
    """How long to record.

    Attributes
    ----------
    duration_s
        Duration of each recording [s]; there are two for each state.
    """

    duration_s: float = Field(0.05, gt=0)


def dwell_s(settings: MisalignmentSettings, states: int = 4) -> float:
    """Return the recording time [s], without moves and re-locks.

    Parameters
    ----------
    states
        Number of states that the modulator sends; BB84 has four.
    """
    return 2.0 * states * settings.duration_s


def measure(
    light_path: LightPath,
    modulator: PolarisationModulator,
    analyser: PolarisationAnalyser,
    tagger: TimeTagger,
    folder: PathLike,
    settings: MisalignmentSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> tuple[TagRun, ...]:
    """Send each state; record it with that state on detector A, then with the orthogonal one.

    Parameters
    ----------
    relock
        Locks the cavity to its resonance again; called first. It may change the light path.

    Returns
    -------
    tuple of TagRun
        Two for each state. The setting ``prepared`` of each is the state that was sent, and
        ``analysed`` the state that the analyser turned to detector A.

    Raises
    ------
    UsageError
        If modulator and analyser have no complete basis in common; nothing was moved.
    """
    folder = Path(folder)
    states = [
        s
        for s in modulator.states
        if {s, ORTHOGONAL[s]} <= set(analyser.states) and ORTHOGONAL[s] in modulator.states
    ]
    if not states:
        raise UsageError(
            "misalignment: both states of at least one basis (H and V, D and A, or R and L) are "
            "needed in the modulator and in the analyser; the modulator has "
            f"{', '.join(modulator.states)}, the analyser {', '.join(analyser.states)}. Add the "
            "missing states to their roles in the station file"
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
