"""Transmitter throughput: photons per pulse before, after, and before it again."""

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
    """How long to record in each position."""

    before_s: float = Field(0.05, gt=0)
    after_s: float = Field(0.2, gt=0)


@dataclass(frozen=True)
class Throughput:
    """Runs that bracket: a linear drift of the source drops out of the ratio."""

    before: tuple[TagRun, TagRun]
    after: TagRun


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    folder: Path,
    settings: TransmitterSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Throughput:
    """Record tags before the transmitter, after it, and before it once more.

    Parameters
    ----------
    relock
        Called before each recording, to keep the source tuned; it may change the light path.
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
