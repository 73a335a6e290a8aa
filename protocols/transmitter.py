"""Transmitter efficiency: time tags before the transmitter, after it, and before it again.

Measures three recordings of the source. Moves nothing but the light path, and leaves it at
``before``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about


class TransmitterSettings(Settings):
    """How long to record.

    Attributes
    ----------
    before_s
        Duration of each of the two recordings before the transmitter [s].
    after_s
        Duration of the recording after it [s].
    """

    before_s: float = Field(0.05, gt=0)
    after_s: float = Field(0.2, gt=0)


@dataclass(frozen=True)
class Throughput:
    """Two runs before the transmitter, one earlier and one later than the run after it.

    Their mean has no error from a linear drift of the source.
    """

    before: tuple[TagRun, TagRun]
    after: TagRun


def dwell_s(settings: TransmitterSettings) -> float:
    """Return the recording time [s], without moves and re-locks."""
    return 2.0 * settings.before_s + settings.after_s


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    folder: Path,
    settings: TransmitterSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Throughput:
    """Record time tags before the transmitter, after it, and before it again.

    Parameters
    ----------
    relock
        Locks the cavity to its resonance again; called before each recording. It may change the
        light path.
    """

    def run(name: str, path: Literal["before", "after"], duration_s: float) -> TagRun:
        relock()
        light_path.select(path)
        about = run_about("transmitter", path, tagger, duration_s)
        return record(tagger, folder / f"{name}.h5", duration_s, about, progress)

    first = run("transmitter_before_1", "before", settings.before_s)
    after = run("transmitter_after", "after", settings.after_s)
    second = run("transmitter_before_2", "before", settings.before_s)
    return Throughput((first, second), after)
