"""What detectors add to the coincidences of a run with a pulse clock: afterpulses, cross-talk."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qdchar.estimate import Contribution, Estimate, Uncertain
from qdchar.tags.counting.after_clicks import AfterClicks

from ..detection.afterpulsing import Afterpulsing, afterpulsing, describe_afterpulsing
from ..detection.cross_talk import Talk
from ..detection.live_gating import LiveCounts
from ..detection.pulsed_run import PulsedRun
from ..statistics.intervals import K_95, Interval, possible_part, widen

_FEWEST = 30
"""Clicks at a gap from which on it tells whether a detector was dead: half of them by chance in one
of 200 cases."""

_LARGE_CORRECTION = 0.2
"""Relative correction of g2 from which on it is no correction any more, where some of what is taken
off may not have been seen."""


@dataclass(frozen=True)
class BackgroundClicks:
    """Rate of clicks that the light did not make [Hz], and the shares of it on A and on B."""

    what: str
    rate: Uncertain
    shares: tuple[float, float]


def gap_counter(pulsed: PulsedRun) -> AfterClicks:
    """Return what counts clicks by the time since the last one."""
    return AfterClicks(
        pulsed.run.channel_a,
        pulsed.run.channel_b,
        pulsed.clock.period_ps,
        within_a_period(pulsed.offset_b_ps - pulsed.offset_a_ps, pulsed.clock.period_ps),
    )


def within_a_period(delay_ps: float, period_ps: float) -> float:
    """Return a delay less whole periods: gaps are of clicks in the order of their tags."""
    return delay_ps - round(delay_ps / period_ps) * period_ps


def afterpulsing_of(counts: LiveCounts, gaps: AfterClicks) -> tuple[Afterpulsing, Afterpulsing]:
    """Find the afterpulsing of both detectors beyond the gate."""
    return afterpulsing(gaps.counts, gaps.clicks, counts.statistics.veto_pulses + 1)


def afterpulses(
    counts: LiveCounts, found: tuple[Afterpulsing, Afterpulsing], label: str
) -> list[BackgroundClicks]:
    """Return the afterpulses on live pulses as clicks that the light did not make."""
    s = counts.statistics
    live, off = float(s.n_live.sum()), 0.0
    if counts.blinking.significant:
        off = (1.0 - counts.blinking.on_fraction) * float(s.n_pulses.sum())
    # light and its afterpulses meet in the time that the source is on
    crowded = live / (live - off)
    clicks = []
    for name, each, gaps, own, shares in zip(
        "AB", found, (s.gaps_a, s.gaps_b), (s.s_a, s.s_b), ((1.0, 0.0), (0.0, 1.0)), strict=True
    ):
        if each.significant:
            scale = (
                crowded
                * s.clock.frequency_hz
                * each.on_live_pulses(gaps, float(own.sum()), float(s.n_pulses.sum()))
            )
            rate = each.times(scale, f"detector {name}, {label}")
            clicks.append(BackgroundClicks("afterpulses", rate, shares))
    return clicks


def recovered_after(gaps: AfterClicks) -> int:
    """Return the first pulse after a click at which both detectors have recovered.

    Without a clock: the pulses on which a detector clicks much less often after its own click than
    after one of the other, from the click on until it is seen to be live. One that gets most of the
    light has more clicks of its own to follow.
    """
    clicks_a, clicks_b = (max(n, 1) for n in gaps.clicks)
    own = np.stack([gaps.counts[0, :, 0, 0], gaps.counts[1, :, 1, 0]])
    other = np.stack([gaps.counts[1, :, 0, 0], gaps.counts[0, :, 1, 0]])
    expected = other * np.array([[clicks_a / clicks_b], [clicks_b / clicks_a]])
    known, low = np.minimum(other, expected) >= _FEWEST, own < 0.5 * expected
    known[:, 0] = False  # on the pulse of the click itself no detector clicks twice
    dead = known & low & (np.cumsum(known & ~low, axis=1) == 0)
    return 1 + int(np.flatnonzero(dead.any(axis=0)).max(initial=0))


def without_cross_talk(g2: Estimate, talk: Talk, label: str) -> Estimate:
    """Take the pairs that come at delays beyond the light off a g2(0), where they are plain.

    The uncertainty by counting is that of all pairs, those that are taken off included. At delays
    without light some twenty pairs are plain, fewer than the zero peak's counting noise.
    """
    pairs = talk.pairs
    if pairs is None or talk.plain is None:
        return g2
    value = g2.value - pairs.g2

    def moved(interval: Interval | None, sigmas: float) -> Interval | None:
        if interval is None:
            return None
        low, high = (end - pairs.g2 for end in interval)
        return possible_part(widen(value, (low, high), sigmas, pairs.u_shape), least=0.0)

    shape = Contribution(f"pairs at the delays of cross-talk, {label}", pairs.u_shape, "B")
    return replace(
        g2,
        value=value,
        method=f"{g2.method}; {pairs.g2:.2g} taken off for cross-talk",
        budget=(*g2.budget, shape),
        interval_68=moved(g2.interval_68, 1.0),
        interval_95=moved(g2.interval_95, K_95),
    )


def detector_problems(
    counts: LiveCounts,
    found: tuple[Afterpulsing, Afterpulsing],
    talk: Talk,
    uncorrected: float,
    g2: Estimate,
) -> tuple[str, ...]:
    """Say what the detectors add to the coincidences, where it matters.

    Parameters
    ----------
    talk
        Of one detector with the other.
    uncorrected
        g2(0) with the afterpulses and cross-talk.
    """
    s, problems = counts.statistics, []
    if any(each.significant for each in found):
        words = describe_afterpulsing(found, s.clock.period_ps * 1e-12)
        problems += afterpulsing_problem(words, uncorrected, g2)
    problems += talk.problems(0.0 if talk.pairs is None else talk.pairs.g2, g2.value)
    return tuple(problems)


def afterpulsing_problem(words: str, uncorrected: float, g2: Estimate) -> list[str]:
    """Say what afterpulses do to a g2(0), where it is more than a correction."""
    if abs(uncorrected - g2.value) <= min(_LARGE_CORRECTION * abs(g2.value), 2.0 * g2.u):
        return []
    return [
        f"{words}. They are taken off: g2 falls from {uncorrected:.3g} to {g2.value:.3g}. "
        "Lower the detectors' bias, or attenuate less"
    ]
