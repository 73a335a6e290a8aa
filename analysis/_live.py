"""Live-gated counts of one run: the gate its detectors need, and how much the source blinks."""

from __future__ import annotations

from dataclasses import dataclass

from qdchar.errors import InconclusiveError
from qdchar.tags import PulseStatistics

from ._blinking import Blinking, blinking, far_lags
from ._pulses import PulsedRun
from ._recovery import Recovery, blind_pulses, recoveries

FAR_PEAKS = 96
"""Side peaks that blinking is measured on."""


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

    @property
    def live_gating_bias(self) -> float:
        """Relative error of the live-gated photon number if the source is an ideal telegraph.

        Dark time is always live; of the live fraction f it makes up 1 - q, and the rest is on.
        """
        live = float(self.statistics.n_live.sum()) / float(self.statistics.n_pulses.sum())
        q = self.blinking.on_fraction
        return (1.0 - (1.0 - q) / live) / q - 1.0


def live_counts(pulsed: PulsedRun) -> LiveCounts:
    """Count a run with the gate that its detectors need.

    Raises
    ------
    InconclusiveError
        If a detector has no click on a live pulse, or no pulse of a time block is live.
    """
    ungated = pulsed.count(blind_pulses=0)
    blind = blind_pulses(ungated)
    recovery_a, recovery_b = recoveries(ungated)
    first = first_far_peak(ungated)
    statistics = pulsed.count(blind_pulses=blind, n_max=first + FAR_PEAKS)
    if not statistics.n_live.all():
        raise InconclusiveError(
            f"{pulsed.run.file}: no pulse is live in some time blocks: at this count rate the "
            f"detectors, blind for {blind} pulses, are saturated; attenuate"
        )
    if not (statistics.n_a.any() and statistics.n_b.any()):
        raise InconclusiveError(
            f"{pulsed.run.file}: a detector has no click on a live pulse; record longer"
        )
    return LiveCounts(statistics, recovery_a, recovery_b, blinking(statistics, first))


def first_far_peak(statistics: PulseStatistics) -> int:
    """Return the lag beyond which neither detector's dead time shapes the side peaks [pulses]."""
    pulses = float(statistics.n_pulses.sum())
    singles = statistics.s_a, statistics.s_b
    return max(
        far_lags(r.blind_pulses, float(s.sum()) / pulses)
        for r, s in zip(recoveries(statistics), singles, strict=True)
    )
