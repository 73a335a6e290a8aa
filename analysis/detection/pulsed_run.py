"""A tag run laid on its pulse clock: which pulse every click belongs to, on both detectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate
from qdchar.raw_data import About, TagRun
from qdchar.tags import (
    PulseClock,
    PulseStatistics,
    TagSource,
    folded_histogram,
    open_tags,
    pulse_statistics,
    sync_clock,
)

N_BLOCKS = 200
"""Time blocks of a run: enough for the jackknife's own error to be 5 %, each far longer than
anything that blinks."""

_PHASE_BINS = 256
_STRETCHES = 32
_MOST_WANDER = 0.02


@dataclass(frozen=True)
class PulsedRun:
    """A tag run with its pulse clock.

    Attributes
    ----------
    run, tags, clock
        The run, its time tags and its pulse clock.
    offset_a_ps, offset_b_ps
        Where the pulse windows of the two detectors begin after the clock's pulse: a quarter of
        a period before the emission peak, so that no window cuts the decay [ps].
    wander_ps
        How far the laser's pulses wander about that regular clock, rms [ps].
    phases
        Clicks of A and of B by phase after the clock's pulse, shape (256,) each; None where the
        windows were laid by other runs.
    """

    run: TagRun
    tags: TagSource
    clock: PulseClock
    offset_a_ps: float
    offset_b_ps: float
    wander_ps: float = 0.0
    phases: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @property
    def label(self) -> str:
        """Name of the run in budgets: the same run is the same error source everywhere."""
        return self.run.file.name

    def period(self) -> Estimate:
        """Return the pulse period as a figure."""
        return Estimate(
            name="pulse_period",
            value=self.clock.period_ps * 1e-12,
            unit="s",
            definition="time between excitation pulses",
            method="regression on the clock channel",
            plane="laser",
            budget=(
                Contribution(f"clock regression, {self.label}", self.clock.u_period_ps * 1e-12),
            ),
        )

    def count(
        self, *, blind_pulses: int, n_max: int = 0, n_blocks: int = N_BLOCKS
    ) -> PulseStatistics:
        """Count pulses, clicks and coincidences, see `qdchar.tags.pulse_statistics`."""
        return pulse_statistics(
            self.tags,
            self.clock,
            self.run.channel_a,
            self.run.channel_b,
            blind_pulses=blind_pulses,
            n_blocks=n_blocks,
            n_max=n_max,
            offset_a_ps=self.offset_a_ps,
            offset_b_ps=self.offset_b_ps,
        )


def wired_run(path: Path) -> TagRun | None:
    """Return the run that a file of time tags describes, if it names its channels."""
    tags = open_tags(path)
    wiring = tags.metadata.attributes
    channels = [wiring.get(n) for n in ("channel_a", "channel_b", "channel_sync", "sync_divider")]
    if not all(isinstance(n, int) for n in channels):
        return None
    a, b, sync, divider = (int(n) for n in channels if n is not None)
    about = About(
        protocol=str(wiring.get("protocol", "")),
        started=tags.metadata.created,
        path=str(wiring.get("light_path", "")),
        simulated=bool(wiring.get("simulated", False)),
    )
    return TagRun(about, path, a, b, sync, divider, tags.duration_s)


def open_run(run: TagRun, delay_s: float | None = None) -> PulsedRun:
    """Open a run, find its clock and lay a pulse window on each detector.

    Parameters
    ----------
    run
        Time tags with a clock channel.
    delay_s
        Electronic delay of detector B against A, where it exceeds half a pulse period [s].

    Raises
    ------
    InconclusiveError
        If a detector has no clicks, or the clock cannot be found.
    """
    tags = open_tags(run.file)
    sync = _sync_times(run, tags)
    clock = sync_clock(sync, run.sync_divider)
    wander = wander_ps(sync, clock, run.sync_divider)
    if wander > _MOST_WANDER * clock.period_ps:
        raise InconclusiveError(
            f"{run.file}: the laser's pulses wander by {wander:.0f} ps about a regular train: its "
            "repetition rate drifted. Record shorter, or give the tagger the laser as its clock"
        )
    phases = phase_histogram(run, tags, clock, "A"), phase_histogram(run, tags, clock, "B")
    start = [window_start_ps(counts, clock) for counts in phases]
    expected = start[0] + (0.0 if delay_s is None else delay_s * 1e12)
    # The detectors see the same pulse; a difference of whole periods is only the fold's doing.
    start[1] += round((expected - start[1]) / clock.period_ps) * clock.period_ps
    return PulsedRun(run, tags, clock, start[0], start[1], wander, phases)


def phase_histogram(
    run: TagRun, tags: TagSource, clock: PulseClock, detector: str
) -> NDArray[np.int64]:
    """Count the clicks of detector "A" or "B" by their phase after the clock's pulse.

    Raises
    ------
    InconclusiveError
        If the detector has no clicks.
    """
    channel = run.channel_a if detector == "A" else run.channel_b
    counts = folded_histogram(tags, channel, clock, n_bins=_PHASE_BINS).counts
    if not counts.any():
        raise InconclusiveError(
            f"{run.file}: detector {detector} (channel {channel}) has no clicks; is its light "
            "path open, and the channel number right?"
        )
    return counts


def window_start_ps(phases: NDArray[np.int64], clock: PulseClock) -> float:
    """Return where a detector's pulse window begins after the clock's pulse [ps]."""
    return (_peak(phases) - 0.25) * clock.period_ps


def clock_of(run: TagRun, tags: TagSource) -> PulseClock:
    """Find the pulse clock from the run's clock channel."""
    return sync_clock(_sync_times(run, tags), run.sync_divider)


def _sync_times(run: TagRun, tags: TagSource) -> NDArray[np.int64]:
    sync = [chunk.times_ps[chunk.channels == run.channel_sync] for chunk in tags.chunks()]
    if not sum(map(len, sync)):
        raise InconclusiveError(
            f"{run.file}: the clock channel {run.channel_sync} has no tags; is the laser's sync "
            "connected, and its threshold right?"
        )
    return np.concatenate(sync)


def wander_ps(sync_ps: NDArray[np.int64], clock: PulseClock, divider: int) -> float:
    """Return how far the laser's pulses wander about a regular train, rms [ps].

    From the means of up to 32 stretches of the clock signal, less what its jitter leaves in them. A
    drift of the repetition rate by 1e-10 moves the pulses by 0.3 ns within 10 s.
    """
    since = (sync_ps - clock.reference_ps).astype(np.float64) - clock.t0_ps
    interval = clock.period_ps * divider
    residual = since - np.rint(since / interval) * interval
    stretches = np.array_split(residual, max(min(_STRETCHES, len(residual) // 10), 1))
    means = np.array([r.mean() for r in stretches])
    white = float(np.mean([r.var(ddof=1) / len(r) for r in stretches]))
    return math.sqrt(max(float(means.var()) - white, 0.0))


def _peak(counts: NDArray[np.int64]) -> float:
    """Phase of the highest place, in periods, of a histogram smoothed over 1/32 of the period."""
    width = len(counts) // 32
    kernel = np.zeros(len(counts))
    kernel[:width] = 1.0
    smooth = np.fft.irfft(np.fft.rfft(counts) * np.fft.rfft(kernel), len(counts))
    return (float(np.argmax(smooth)) - (width - 1) / 2 + 0.5) / len(counts)
