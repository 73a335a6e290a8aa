"""Live-gated counts of one run: the gate its detectors need, and how much the source blinks."""

from __future__ import annotations

from dataclasses import dataclass

from qdchar.errors import InconclusiveError
from qdchar.tags import PulseStatistics

from ._blinking import Blinking, blinking, far_lags
from ._pulses import PulsedRun
from .dead_time import Recovery, blind_pulses, recoveries

FAR_PEAKS = 32


@dataclass(frozen=True)
class LiveCounts:
    """Everything that brightness and correlation need to know about one run.

    Attributes
    ----------
    statistics
        Live-gated counts by time block.
    recovery_a, recovery_b
        How the detectors come back after a click.
    blinking
        Amplitude from the far side peaks.
    """

    statistics: PulseStatistics
    recovery_a: Recovery
    recovery_b: Recovery
    blinking: Blinking


def live_counts(pulsed: PulsedRun) -> LiveCounts:
    """Count a run with the gate that its detectors need."""
    ungated = pulsed.count(blind_pulses=0)
    blind = blind_pulses(ungated)
    recovery_a, recovery_b = recoveries(ungated)
    pulses = float(ungated.n_pulses.sum())
    first = max(
        far_lags(r.blind_pulses, float(s.sum()) / pulses)
        for r, s in ((recovery_a, ungated.s_a), (recovery_b, ungated.s_b))
    )
    statistics = pulsed.count(blind_pulses=blind, n_max=first + FAR_PEAKS)
    if not statistics.n_live.all():
        raise InconclusiveError(
            f"{pulsed.run.file}: no pulse is live in some time blocks: at this count rate the "
            f"detectors, blind for {blind} pulses, are saturated; attenuate"
        )
    return LiveCounts(statistics, recovery_a, recovery_b, blinking(statistics, first))
