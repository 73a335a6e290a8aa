"""Clicks of a pulsed run folded into the pulse period: the histograms that decays are fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.tags import TagChunk
from qdchar.tags.counting.folding import Folder

from .detector_recovery import recoveries
from .pulsed_run import PulsedRun

Array = NDArray[np.float64]

_BIN_S = 2e-12
"""Far below the response's width, as `_decay.decayed` wants it."""


@dataclass(frozen=True)
class Histograms:
    """Clicks of the two detectors folded into the pulse period."""

    a: Array
    b: Array
    bin_s: float


def fold(pulsed: PulsedRun) -> Histograms:
    """Fold the clicks of both detectors into bins of about 2 ps."""
    recovery_a, recovery_b = recoveries(pulsed.count(blind_pulses=0))
    n_bins = round(pulsed.clock.period_ps * 1e-12 / _BIN_S)
    run = pulsed.run
    return Histograms(
        _one_detector(pulsed, run.channel_a, pulsed.offset_a_ps, recovery_a.blind_pulses, n_bins),
        _one_detector(pulsed, run.channel_b, pulsed.offset_b_ps, recovery_b.blind_pulses, n_bins),
        pulsed.clock.period_ps * 1e-12 / n_bins,
    )


def _one_detector(
    pulsed: PulsedRun, channel: int, offset_ps: float, blind_pulses: int, n_bins: int
) -> Array:
    """Fold the clicks of one detector that was surely live.

    A detector that recovers within a pulse window sees the late photons of that pulse and misses
    the early ones. Clicks no more than `blind_pulses` after the last one are therefore left out;
    a hard dead time leaves none there.
    """
    folder = Folder(
        channel,
        pulsed.clock,
        n_bins=n_bins,
        offset_ps=offset_ps,
        dither_ps=pulsed.tags.resolution_ps,
    )
    origin, fraction = pulsed.clock.origin(offset_ps)
    last = -(1 << 62)
    for chunk in pulsed.tags.chunks():
        times = chunk.times_ps[chunk.channels == channel]
        if not len(times):
            continue
        pulse = np.floor((times - origin - fraction) / pulsed.clock.period_ps).astype(np.int64)
        live = np.diff(pulse, prepend=last) > blind_pulses
        folder.add(TagChunk(times[live], np.full(np.count_nonzero(live), channel, np.uint8)))
        last = int(pulse[-1])
    return np.asarray(folder.counts, dtype=np.float64)
