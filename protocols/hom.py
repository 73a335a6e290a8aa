"""Hong, Ou and Mandel: time tags behind an interferometer unbalanced by one pulse period.

Measures time tags with parallel and with orthogonal polarisations in the interferometer's arms.
Moves the polarisation and the light path. Leaves the polarisation parallel and the light path at
``interferometer``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about

ORDER = ("parallel", "orthogonal", "orthogonal", "parallel")
"""In this order a linear drift of the source has the same mean effect on both polarisations."""


class HomSettings(Settings):
    """How long to record.

    Attributes
    ----------
    duration_s
        Duration of each of the four recordings, two for each polarisation [s].
    """

    duration_s: float = Field(0.15, gt=0)


def dwell_s(settings: HomSettings) -> float:
    """Return the recording time [s], without moves and re-locks."""
    return len(ORDER) * settings.duration_s


def measure(
    light_path: LightPath,
    interferometer_polarisation: LightPath,
    tagger: TimeTagger,
    folder: PathLike,
    settings: HomSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> tuple[TagRun, ...]:
    """Record time tags with parallel, orthogonal, orthogonal and parallel polarisations.

    Parameters
    ----------
    interferometer_polarisation
        Polarisation in the interferometer's arms: positions ``parallel`` and ``orthogonal``.
    relock
        Locks the cavity to its resonance again; called first. It may change the light path.

    Returns
    -------
    tuple of TagRun
        The setting ``arms`` of each is the polarisation.
    """
    folder = Path(folder)
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
