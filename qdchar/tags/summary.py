"""What is in a tag file, in figures: for ``qdchar info`` and for reports."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .source import SYNC_CHANNEL, TagSource


@dataclass(frozen=True)
class TagSummary:
    """One pass over a source.

    Attributes
    ----------
    format, instrument, created, comment
        As the file gives them.
    duration_s
        Time covered [s].
    resolution_ps
        Step of the time-to-digital converter [ps].
    sync_period_ps
        Sync period of a T3 file [ps], else None.
    clicks
        Clicks by channel number.
    warnings
        What was found and put right.
    """

    format: str
    instrument: str
    created: str
    comment: str
    duration_s: float
    resolution_ps: float
    sync_period_ps: float | None
    clicks: dict[int, int]
    warnings: tuple[str, ...]

    @property
    def total(self) -> int:
        """All clicks."""
        return sum(self.clicks.values())


def summarise(source: TagSource) -> TagSummary:
    """Go through a source once and say what is in it."""
    counts = np.zeros(256, np.int64)
    for chunk in source.chunks():
        counts += np.bincount(chunk.channels, minlength=256)
    about = source.metadata
    return TagSummary(
        format=about.format,
        instrument=about.instrument,
        created=about.created,
        comment=about.comment,
        duration_s=source.duration_s,
        resolution_ps=source.resolution_ps,
        sync_period_ps=about.sync_period_ps,
        clicks={int(channel): int(counts[channel]) for channel in np.flatnonzero(counts)},
        warnings=source.warnings,
    )


def channel_name(number: int) -> str:
    """Name a channel for a reader."""
    return "sync" if number == SYNC_CHANNEL else str(number)
