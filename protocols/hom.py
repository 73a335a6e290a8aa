"""Hong, Ou and Mandel: time tags behind an interferometer unbalanced by one pulse period."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about

ORDER = ("parallel", "orthogonal", "orthogonal", "parallel")
"""A linear drift of the source falls on both alike."""


class HomSettings(Settings):
    """How long to record in each of the two settings of the arms, twice."""

    duration_s: float = Field(0.15, gt=0)


def measure(
    light_path: LightPath,
    interferometer_polarisation: LightPath,
    tagger: TimeTagger,
    folder: Path,
    settings: HomSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> tuple[TagRun, ...]:
    """Record tags with the arms polarised alike and not, in an order that brackets.

    Parameters
    ----------
    interferometer_polarisation
        Polarisation in the interferometer's arms: positions ``parallel`` and ``orthogonal``.
    relock
        Called first, to bring the source onto its resonance; it may change the light path.

    Returns
    -------
    tuple of TagRun
        ``arms`` stands in their settings.
    """
    relock()
    light_path.select("interferometer")
    runs = []
    for k, position in enumerate(ORDER):
        interferometer_polarisation.select(position)
        about = run_about("hom", "interferometer", tagger, settings.duration_s)
        about = replace(about, settings={**about.settings, "arms": position})
        file = folder / f"hom_{k + 1}_{position}.h5"
        runs.append(record(tagger, file, settings.duration_s, about, progress))
    return tuple(runs)
