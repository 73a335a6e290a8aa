"""Clicks of a pulsed run folded into the pulse period: the histograms that decays are fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.tags import PulseStatistics
from qdchar.tags.counting.folding import LiveFolder
from qdchar.tags.source import count_in_one_pass

from .detector_recovery import detector_recoveries
from .pulsed_run import PulsedRun

Array = NDArray[np.float64]

_BIN_S = 2e-12
"""Far below the response's width, as `models.decay.decayed` requires."""


@dataclass(frozen=True)
class Histograms:
    """Clicks of the two detectors folded into the pulse period.

    Attributes
    ----------
    a, b
        Clicks of detectors A and B, shape (n,); bin 0 begins where the detector's pulse window
        does.
    bin_s
        Bin width [s].
    ungated
        Pulse statistics without a veto, counted in the same pass.
    """

    a: Array
    b: Array
    bin_s: float
    ungated: PulseStatistics


def fold(pulsed: PulsedRun) -> Histograms:
    """Fold the clicks of both detectors into bins of about 2 ps.

    Notes
    -----
    A detector that recovers within a pulse window sees the late photons of that pulse and misses
    the early ones. Clicks that come before it had surely recovered from the last one are therefore
    left out; a hard dead time leaves none there. How long it takes to recover is expected from the
    gaps of the run's first look, so that folding and counting share a pass; in the rare case that
    the counts say otherwise the clicks are folded again.
    """
    expected = pulsed.expected_recovery_pulses
    folders = _folders(pulsed, expected)
    counter = pulsed.counter(veto_pulses=0)
    count_in_one_pass(pulsed.tags, counter, *folders)
    ungated = counter.statistics()
    a, b = detector_recoveries(ungated)
    if (a.recovery_pulses, b.recovery_pulses) != expected:
        folders = _folders(pulsed, (a.recovery_pulses, b.recovery_pulses))
        count_in_one_pass(pulsed.tags, *folders)
    bin_s = pulsed.clock.period_ps * 1e-12 / len(folders[0].counts)
    counts_a, counts_b = (folder.counts.astype(np.float64) for folder in folders)
    return Histograms(counts_a, counts_b, bin_s, ungated)


def _folders(pulsed: PulsedRun, recovery_pulses: tuple[int, int]) -> list[LiveFolder]:
    return [
        LiveFolder(
            channel,
            pulsed.clock,
            recovery_pulses=dead,
            n_bins=round(pulsed.clock.period_ps * 1e-12 / _BIN_S),
            offset_ps=offset_ps,
            dither_ps=pulsed.tags.resolution_ps,
        )
        for channel, offset_ps, dead in (
            (pulsed.run.channel_a, pulsed.offset_a_ps, recovery_pulses[0]),
            (pulsed.run.channel_b, pulsed.offset_b_ps, recovery_pulses[1]),
        )
    ]
