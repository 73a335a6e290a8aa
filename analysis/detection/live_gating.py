"""Live-gated counts of one run: the gate its detectors need, and how much the source blinks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.estimate import Estimate
from qdchar.tags import PulseStatistics
from qdchar.tags.source import Accumulator, count_in_one_pass

from .blinking import Blinking, blinking, far_lags, on_state_probability
from .detector_recovery import DetectorRecovery, detector_recoveries, veto_pulses
from .pulsed_run import PulsedRun

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
    recovery_a: DetectorRecovery
    recovery_b: DetectorRecovery
    blinking: Blinking

    @property
    def live_gating_bias(self) -> float:
        """Relative error of the live-gated photon number if the source is an ideal telegraph.

        Dark time is always live; of the live fraction f it makes up 1 - q, and the rest is on.
        """
        live = float(self.statistics.n_live.sum()) / float(self.statistics.n_pulses.sum())
        q = self.blinking.on_fraction
        return (1.0 - (1.0 - q) / live) / q - 1.0

    def blinking_amplitude(self, label: str) -> Estimate:
        """Return the blinking amplitude of the light as a figure of the record.

        Notes
        -----
        Leaked laser light does not blink. Dead time takes the clicks of the on-state alone, so that
        the laser's share s weighs more in them than in the light, and the amplitude is too low by
        s (m_A p_A + m_B p_B), p the on-state's click probability and m the dead pulses after each
        click. Of the laser no more is known than its largest share: half of what that would do is
        added, with a rectangular distribution from none to all.
        """
        s = self.statistics
        seen = self.blinking.estimate(label, s.clock.period_ps * 1e-12)
        if not self.blinking.significant:
            return seen
        pulses, q = float(s.n_pulses.sum()), self.blinking.on_fraction
        lost = sum(
            m * on_state_probability(float(clicks.sum()) / pulses, m, q)
            for m, clicks in (
                (self.recovery_a.dead_pulses, s.s_a),
                (self.recovery_b.dead_pulses, s.s_b),
            )
        )
        half = 0.5 * seen.value * largest_laser_share(s) * lost
        return replace(
            seen,
            value=seen.value + half,
            method=f"{seen.method}; {half:.2g} added for leaked laser, which does not blink",
        ).with_contribution(f"leaked laser, {label}", half / math.sqrt(3.0))


def live_counts(
    pulsed: PulsedRun, ungated: PulseStatistics | None = None, *also: Accumulator
) -> LiveCounts:
    """Count a run with the gate that its detectors need.

    Parameters
    ----------
    pulsed
        The run.
    ungated
        Its counts without a veto, where they were counted together with something else.
    also
        What else counts in the same pass over the tags.

    Raises
    ------
    InconclusiveError
        If a detector has no click on a live pulse, or no pulse of a time block is live.
    """
    if ungated is None:
        ungated = pulsed.count(veto_pulses=0)
    veto = veto_pulses(ungated)
    recovery_a, recovery_b = detector_recoveries(ungated)
    first = first_far_peak(ungated)
    counter = pulsed.counter(veto_pulses=veto, n_max=first + FAR_PEAKS)
    count_in_one_pass(pulsed.tags, counter, *also)
    statistics = counter.statistics()
    if not statistics.n_live.all():
        raise InconclusiveError(
            f"{pulsed.run.file}: no pulse is live in some time blocks: at this count rate the "
            f"detectors, dead for up to {veto} pulses after a click, are saturated; attenuate"
        )
    if not (statistics.n_a.any() and statistics.n_b.any()):
        raise InconclusiveError(
            f"{pulsed.run.file}: a detector has no click on a live pulse; record longer"
        )
    return LiveCounts(statistics, recovery_a, recovery_b, blinking(statistics, first))


def two_photon_shares(s: PulseStatistics) -> NDArray[np.float64]:
    """Return the share of the clicks of A and of B that were made by two photons."""
    c0, n_a, n_b = (float(n.sum()) for n in (s.c0, s.n_a, s.n_b))
    return np.array([c0 / (2.0 * n_b), c0 / (2.0 * n_a)])


def largest_laser_share(s: PulseStatistics) -> float:
    """Return the largest share of the laser in the clicks, g2(0)/2, as its root mean square.

    Of C0 coincidences, where uncorrelated light makes c, the likelihood is that of Poisson with
    mean ``c g2(0)``; before, any g2(0) from 0 to 1 is alike.
    """
    c0, n_a, n_b, pulses = (float(n.sum()) for n in (s.c0, s.n_a, s.n_b, s.n_live))
    uncorrelated = n_a * n_b / pulses
    g2 = np.linspace(0.0, 1.0, 20_001)[1:]
    log_likelihood = c0 * np.log(g2) - uncorrelated * g2
    likelihood = np.exp(log_likelihood - log_likelihood.max())
    return 0.5 * math.sqrt(float(likelihood @ g2**2) / float(likelihood.sum()))


def first_far_peak(statistics: PulseStatistics) -> int:
    """Return the lag beyond which neither detector's dead time shapes the side peaks [pulses]."""
    pulses = float(statistics.n_pulses.sum())
    singles = statistics.s_a, statistics.s_b
    return max(
        far_lags(r.recovery_pulses, float(s.sum()) / pulses)
        for r, s in zip(detector_recoveries(statistics), singles, strict=True)
    )
