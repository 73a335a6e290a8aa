"""Transmitter efficiency: time tags before the transmitter, after it, and before it again.

Measures recordings of the source before and after the transmitter in turn. Moves nothing but the
light path, and leaves it at ``before``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Settings, TagRun, silent
from qdchar.roles import LightPath, TimeTagger

from ._tags import record, run_about


class TransmitterSettings(Settings):
    """How long to record.

    Attributes
    ----------
    before_s
        Duration of each of the recordings before the transmitter [s].
    after_s
        Duration of each of the recordings after it [s].
    alternations
        Number of recordings after the transmitter, each between two before it. Their scatter shows
        how well the light path's switching and the source repeat.
    """

    before_s: float = Field(0.05, gt=0)
    after_s: float = Field(0.07, gt=0)
    alternations: int = Field(3, ge=1)


@dataclass(frozen=True)
class Throughput:
    """Runs before the transmitter, and those after it, each between two of the former.

    The mean has no error from a linear drift of the source.
    """

    before: tuple[TagRun, ...]
    after: tuple[TagRun, ...]

    @property
    def after_s(self) -> float:
        """Time recorded after the transmitter [s]."""
        return sum(run.duration_s for run in self.after)

    @property
    def in_order(self) -> tuple[TagRun, ...]:
        """All runs in the order of their recording."""
        pairs = zip(self.before[:-1], self.after, strict=True)
        return (*(run for pair in pairs for run in pair), self.before[-1])


def dwell_s(settings: TransmitterSettings) -> float:
    """Return the recording time [s], without moves and re-locks."""
    n = settings.alternations
    return (n + 1) * settings.before_s + n * settings.after_s


def measure(
    light_path: LightPath,
    tagger: TimeTagger,
    folder: PathLike,
    settings: TransmitterSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Throughput:
    """Record time tags before the transmitter and after it in turn, beginning and ending before it.

    Parameters
    ----------
    relock
        Locks the cavity to its resonance again; called before each recording. It may change the
        light path.
    """
    folder = Path(folder)

    def run(name: str, path: Literal["before", "after"], duration_s: float) -> TagRun:
        relock()
        light_path.select(path)
        about = run_about("transmitter", path, tagger, duration_s)
        return record(tagger, folder / f"{name}.h5", duration_s, about, progress)

    before = [run("transmitter_before_1", "before", settings.before_s)]
    after = []
    for k in range(1, settings.alternations + 1):
        name = "transmitter_after" if k == 1 else f"transmitter_after_{k}"
        after.append(run(name, "after", settings.after_s))
        before.append(run(f"transmitter_before_{k + 1}", "before", settings.before_s))
    return Throughput(tuple(before), tuple(after))
