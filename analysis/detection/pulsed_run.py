"""A tag run laid on its pulse clock: which pulse every click belongs to, on both detectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
)
from qdchar.tags.counting.folding import Folder, GapCounter
from qdchar.tags.counting.pulse_statistics import PulseCounter
from qdchar.tags.source import count_in_one_pass
from qdchar.tags.timing.sync_regression import PulseWander, SyncRegression

from .detector_recovery import recovery_from_gaps

N_BLOCKS = 200
"""Time blocks of a run: enough for the jackknife's own error to be 5 %, each far longer than
anything that blinks."""

_PHASE_BINS = 256
_EIGHTHS = 8
_MAX_WANDER = 0.02
"""Largest wander of the laser's pulses that a run may have, in pulse periods."""


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
    expected_recovery_pulses
        Pulses that A and B need to recover after a click, from gaps rounded to whole periods; what
        `detector_recovery` finds with pulse windows is the one to use.
    """

    run: TagRun
    tags: TagSource
    clock: PulseClock
    offset_a_ps: float
    offset_b_ps: float
    wander_ps: float = 0.0
    phases: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    expected_recovery_pulses: tuple[int, int] = (0, 0)

    @property
    def label(self) -> str:
        """Name of the run in budgets: the same run is the same error source everywhere."""
        return self.run.file.name

    def period(self) -> Estimate:
        """Return the pulse period as a figure."""
        return Estimate(
            name="pulse_period",
            value=self.clock.period_ps * 1e-12,
            method="regression on the clock channel",
            plane="laser",
            budget=(
                Contribution(f"clock regression, {self.label}", self.clock.u_period_ps * 1e-12),
            ),
        )

    def count(
        self, *, veto_pulses: int, n_max: int = 0, n_blocks: int = N_BLOCKS
    ) -> PulseStatistics:
        """Count pulses, clicks and coincidences, see `qdchar.tags.pulse_statistics`."""
        counter = self.counter(veto_pulses=veto_pulses, n_max=n_max, n_blocks=n_blocks)
        count_in_one_pass(self.tags, counter)
        return counter.statistics()

    def counter(
        self, *, veto_pulses: int, n_max: int = 0, n_blocks: int = N_BLOCKS
    ) -> PulseCounter:
        """Return what counts as `count` does, to read the tags once for it and others."""
        return PulseCounter(
            self.clock,
            self.run.channel_a,
            self.run.channel_b,
            start_ps=self.tags.start_ps,
            stop_ps=self.tags.stop_ps,
            veto_pulses=veto_pulses,
            n_blocks=n_blocks,
            n_max=n_max,
            offset_a_ps=self.offset_a_ps,
            offset_b_ps=self.offset_b_ps,
        )

    def captured_fraction(self, dark_count_rate_Hz: float = 0.0) -> float:
        """Return the least share of the light that falls into the window of its own pulse.

        Parameters
        ----------
        dark_count_rate_Hz
            Of both detectors together [Hz].

        Raises
        ------
        ValueError
            If the windows were laid by other runs.

        Notes
        -----
        A window is a whole period long and begins a quarter of it before the peak. Clicks in its
        first eighth are late photons of the pulse before, 3/4 to 7/8 of a period after their peak.
        All that are later still are at most as many, if the decay falls to a half within an eighth
        of a period or faster. Steady light counts as late.
        """
        if self.phases is None:
            raise ValueError("the windows were laid by other runs")
        late = total = 0.0
        dark = 0.5 * dark_count_rate_Hz * self.run.duration_s
        for counts, offset_ps in zip(
            self.phases, (self.offset_a_ps, self.offset_b_ps), strict=True
        ):
            begin = round(offset_ps / self.clock.period_ps * len(counts))
            first = np.roll(counts, -begin)[: len(counts) // _EIGHTHS]
            late += float(first.sum()) - dark / _EIGHTHS
            total += float(counts.sum()) - dark
        return 1.0 - max(2.0 * late / total, 0.0)


def wired_run(path: Path, tags: TagSource) -> TagRun | None:
    """Return the run that an open file of time tags describes, if it names its channels."""
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


def open_run(
    run: TagRun, delay_s: float | None = None, *, tags: TagSource | None = None
) -> PulsedRun:
    """Open a run, find its clock and lay a pulse window on each detector.

    Parameters
    ----------
    run
        Time tags with a clock channel.
    delay_s
        Electronic delay of detector B against A, where it exceeds half a pulse period [s].
    tags
        The tags of the run where they are open already.

    Raises
    ------
    InconclusiveError
        If a detector has no clicks, or the clock cannot be found.

    Notes
    -----
    Reads the tags twice: for the clock, then for what needs it. All later counts go through the
    same open file.
    """
    if tags is None:
        tags = open_tags(run.file)
    sync = _sync_regression(run, tags)
    clock = sync.clock()
    wander = PulseWander(run.channel_sync, clock, run.sync_divider, sync.n_tags)
    pulsed = _with_windows(run, tags, clock, delay_s, wander)
    if wander.rms_ps() > _MAX_WANDER * clock.period_ps:
        raise InconclusiveError(
            f"{run.file}: the laser's pulses wander by {wander.rms_ps():.0f} ps about a regular "
            "train: its repetition rate drifted. Record shorter, or give the tagger the laser as "
            "its clock"
        )
    return replace(pulsed, wander_ps=wander.rms_ps())


def run_of_clock(
    run: TagRun, tags: TagSource, clock: PulseClock, delay_s: float | None = None
) -> PulsedRun:
    """Lay pulse windows on a run whose tags are counted from a known clock, as T3 tags are.

    Parameters are those of `open_run`; the run's own clock channel is not read.

    Raises
    ------
    InconclusiveError
        If a detector has no clicks.
    """
    return _with_windows(run, tags, clock, delay_s)


def _with_windows(
    run: TagRun, tags: TagSource, clock: PulseClock, delay_s: float | None, *also: PulseWander
) -> PulsedRun:
    """Lay a pulse window on each detector; `also` counts in the same pass over the tags."""
    folders = [
        Folder(channel, clock, n_bins=_PHASE_BINS) for channel in (run.channel_a, run.channel_b)
    ]
    gaps = [GapCounter(folder.channel, clock) for folder in folders]
    count_in_one_pass(tags, *also, *folders, *gaps)
    start = []
    for name, folder in zip("AB", folders, strict=True):
        _require_clicks(run, name, folder.counts)
        start.append(window_start_ps(folder.counts, clock))
    expected = start[0] + (0.0 if delay_s is None else delay_s * 1e12)
    # The detectors see the same pulse; a difference of whole periods is only the fold's doing.
    start[1] += round((expected - start[1]) / clock.period_ps) * clock.period_ps
    phases = folders[0].counts, folders[1].counts
    dead_a, dead_b = (recovery_from_gaps(g.gaps, g.clicks).recovery_pulses for g in gaps)
    return PulsedRun(run, tags, clock, start[0], start[1], 0.0, phases, (dead_a, dead_b))


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
    _require_clicks(run, detector, counts)
    return counts


def _require_clicks(run: TagRun, detector: str, counts: NDArray[np.int64]) -> None:
    channel = run.channel_a if detector == "A" else run.channel_b
    if not counts.any():
        raise InconclusiveError(
            f"{run.file}: detector {detector} (channel {channel}) has no clicks; is its light "
            "path open, and the channel number right?"
        )


def pulse_width_s(run: TagRun) -> float:
    """Return the half width that holds the middle 68 % of the light of a pulse [s].

    Of both detectors together. Steady light is taken off. A few clicks far from the pulse, which
    would make up most of an rms width, change it by next to nothing.
    """
    pulsed = open_run(run)
    assert pulsed.phases is not None
    square = weight = 0.0
    quarter = _PHASE_BINS // 4
    for counts in pulsed.phases:
        centred = np.roll(counts, _PHASE_BINS // 2 - round(_peak(counts) * _PHASE_BINS))
        middle = slice(_PHASE_BINS // 2 - quarter, _PHASE_BINS // 2 + quarter)
        light = centred[middle] - float(np.mean(np.delete(centred, middle)))
        so_far = np.maximum.accumulate(np.concatenate([[0.0], np.cumsum(light)]))
        ends = np.interp([0.16 * so_far[-1], 0.84 * so_far[-1]], so_far, np.arange(len(so_far)))
        half_width = 0.5 * float(ends[1] - ends[0]) * pulsed.clock.period_ps / _PHASE_BINS
        square += float(so_far[-1]) * half_width**2
        weight += float(so_far[-1])
    return 1e-12 * float(np.sqrt(square / weight))


def window_start_ps(phases: NDArray[np.int64], clock: PulseClock) -> float:
    """Return where a detector's pulse window begins after the clock's pulse [ps]."""
    return (_peak(phases) - 0.25) * clock.period_ps


def clock_of(run: TagRun, tags: TagSource) -> PulseClock:
    """Find the pulse clock from the run's clock channel."""
    return _sync_regression(run, tags).clock()


def _sync_regression(run: TagRun, tags: TagSource) -> SyncRegression:
    sync = SyncRegression(run.channel_sync, run.sync_divider)
    count_in_one_pass(tags, sync)
    if not sync.n_tags:
        raise InconclusiveError(
            f"{run.file}: the clock channel {run.channel_sync} has no tags; is the laser's sync "
            "connected, and its threshold right?"
        )
    return sync


def _peak(counts: NDArray[np.int64]) -> float:
    """Phase of the highest place, in periods, of a histogram smoothed over 1/32 of the period."""
    width = len(counts) // 32
    kernel = np.zeros(len(counts))
    kernel[:width] = 1.0
    smooth = np.fft.irfft(np.fft.rfft(counts) * np.fft.rfft(kernel), len(counts))
    return (float(np.argmax(smooth)) - (width - 1) / 2 + 0.5) / len(counts)
