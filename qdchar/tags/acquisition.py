"""Counting while the tagger runs: blocks go to disk and into histograms as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..roles import TagBlock
from .formats.photon_hdf5_writer import TagWriter
from .source import Accumulator, TagChunk


@dataclass(frozen=True)
class Target:
    """An uncertainty to be reached.

    Attributes
    ----------
    name
        Of the figure, for the message.
    uncertainty
        Gives the present uncertainty; called after every block, and may raise nothing. Infinity
        while there is too little to tell.
    goal
        Where to stop, in the same unit.
    """

    name: str
    uncertainty: Callable[[], float]
    goal: float


@dataclass(frozen=True)
class Running:
    """Where an acquisition is.

    Attributes
    ----------
    covered_s
        Time covered by tags that were counted [s].
    clicks
        Clicks counted.
    uncertainty
        The target's, or None without a target.
    """

    covered_s: float
    clicks: int
    uncertainty: float | None


@dataclass(frozen=True)
class Acquisition:
    """How an acquisition ended.

    Attributes
    ----------
    reason
        "target": the uncertainty was reached; "time": the time limit was; "overflow": the tagger
        lost tags, and only what came before was counted; "end": the stream ended by itself.
    message
        The same in words.
    state
        The last state.
    stop_ps
        End of the time counted, in the stream's own time [ps].
    """

    reason: Literal["target", "time", "overflow", "end"]
    message: str
    state: Running
    stop_ps: int


def acquire(
    blocks: Iterable[TagBlock],
    accumulators: Sequence[Accumulator],
    *,
    limit_s: float,
    target: Target | None = None,
    writer: TagWriter | None = None,
    show: Callable[[Running], None] | None = None,
    show_every_s: float = 0.5,
) -> Acquisition:
    """Count a stream of blocks until an uncertainty is reached or the time is over.

    Parameters
    ----------
    blocks
        From a tagger's `stream`, in order and without gaps.
    accumulators
        What counts; all see the same clicks.
    limit_s
        Longest time to count, of the stream's time [s].
    target
        Uncertainty to be reached.
    writer
        Where to keep the tags; flushed before each call of `show`.
    show
        Called at most every `show_every_s` seconds of real time, and at the end, from this thread:
        the accumulators' histograms may be read in it.

    Returns
    -------
    Acquisition
        Why it ended, and when.

    Notes
    -----
    A block with lost tags is not counted, nor is anything after it: correlations across the gap
    would be wrong without showing it.
    """
    start_ps: int | None = None
    stop_ps = clicks = 0
    uncertainty: float | None = None
    shown = 0.0

    def state() -> Running:
        return Running((stop_ps - (start_ps or 0)) * 1e-12, clicks, uncertainty)

    def end(reason: Literal["target", "time", "overflow", "end"], message: str) -> Acquisition:
        if writer is not None:
            writer.flush()
        if show is not None:
            show(state())
        return Acquisition(reason, message, state(), stop_ps)

    for block in blocks:
        if start_ps is None:
            start_ps = stop_ps = block.start_ps
        if block.overflow or block.start_ps != stop_ps:
            lost = "lost tags" if block.overflow else "left a gap"
            return end(
                "overflow",
                f"the tagger {lost} after {state().covered_s:.3f} s; only what came before counts. "
                "Lower the rate or shorten the run",
            )
        limit_ps = start_ps + round(limit_s * 1e12)
        chunk = TagChunk(block.times_ps, block.channels)
        covered = min(block.stop_ps, limit_ps)
        if block.stop_ps > limit_ps:
            inside = int(block.times_ps.searchsorted(limit_ps))
            chunk = TagChunk(block.times_ps[:inside], block.channels[:inside])
        for accumulator in accumulators:
            accumulator.add(chunk)
        if writer is not None:
            writer.append(chunk.times_ps, chunk.channels, covered_until_ps=covered)
        stop_ps = covered
        clicks += len(chunk)
        if target is not None:
            uncertainty = target.uncertainty()
            if uncertainty <= target.goal:
                return end(
                    "target",
                    f"{target.name} is known to {uncertainty:.3g} (asked: {target.goal:.3g}) after "
                    f"{state().covered_s:.3f} s",
                )
        if stop_ps >= limit_ps:
            reached = (
                f"; {target.name} is known to {uncertainty:.3g}, not to {target.goal:.3g}"
                if target is not None
                else ""
            )
            return end("time", f"the time limit of {limit_s:g} s is reached{reached}")
        if show is not None and time.monotonic() - shown >= show_every_s:
            if writer is not None:
                writer.flush()
            show(state())
            shown = time.monotonic()
    return end("end", f"the stream ended after {state().covered_s:.3f} s")
