"""What detectors add to the coincidences of a run with a pulse clock: afterpulses, cross-talk."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qdchar.estimate import Contribution, Estimate, Uncertain
from qdchar.tags.counting.after_clicks import AfterClicks
from qdchar.tags.counting.correlation import Correlator

from ..detection.afterpulsing import Afterpulsing, afterpulsing, describe_afterpulsing
from ..detection.coincidences import LAGS
from ..detection.cross_talk import CrossTalk, FarPairs, cross_talk, far_pairs
from ..detection.live_gating import LiveCounts
from ..detection.pulsed_run import PulsedRun
from ..statistics.intervals import K_95, Interval, possible_part, widen

_FEWEST = 30
"""Clicks at a gap from which on it tells whether a detector was dead: half of them by chance in one
of 200 cases."""

_LARGE_CORRECTION = 0.2
"""Relative correction of g2 from which on it is no correction any more, where some of what is taken
off may not have been seen."""

_HEALTHY_CROSS_TALK, _MOST_CROSS_TALK = 1e-4, 0.5
"""Share of clicks that make the other detector click, and part of g2, up to which cross-talk is
taken off without a word, where all of it lies beyond the light."""


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


@dataclass(frozen=True)
class Talk:
    """Cross-talk of two detectors: where it is plain, and what pairs it adds to the zero peak.

    Attributes
    ----------
    is_whole
        Whether cross-talk the other way round, from B to A for one that is seen from A to B, would
        be at delays beyond the light as well. It comes as long after its click.
    """

    plain: CrossTalk | None
    pairs: FarPairs | None
    is_whole: bool = False


def cross_talk_of(counts: LiveCounts, delays: Correlator) -> Talk:
    """Find the cross-talk of the two detectors."""
    s = counts.statistics
    centres = delays.start_ps + delays.bin_ps * np.arange(0.5, delays.n_bins, dtype=np.float64)
    centres -= s.offset_b_ps - s.offset_a_ps
    recovery = 1 + max(counts.recovery_a.recovery_pulses, counts.recovery_b.recovery_pulses)
    nearest = min(recovery, LAGS - 2)
    clicks = int(s.s_a.sum() + s.s_b.sum())
    plain = cross_talk(centres, delays.counts, s.clock.period_ps, clicks, nearest=nearest)
    if plain is None:
        return Talk(None, None)
    pairs = far_pairs(centres, delays.counts, s.clock.period_ps, nearest)
    if pairs is None:
        return Talk(plain, None)
    period_s = 1e-12 * s.clock.period_ps
    electronic_s = 1e-12 * (s.offset_b_ps - s.offset_a_ps)
    other_way_s = -(plain.delays_s + 2.0 * electronic_s)
    distance_s = np.abs(other_way_s - period_s * np.round(other_way_s / period_s))
    is_whole = bool((distance_s >= pairs.from_s).all())
    if not is_whole:
        # as many again may lie under the light
        pairs = replace(pairs, u_shape=float(np.hypot(pairs.u_shape, pairs.g2)))
    return Talk(plain, pairs, is_whole)


def without_cross_talk(g2: Estimate, talk: Talk, label: str) -> Estimate:
    """Take the pairs that come at delays beyond the light off a g2(0), where they are plain.

    The uncertainty by counting is that of all pairs, those that are taken off included. At delays
    without light some twenty pairs are plain, fewer than the zero peak's counting noise.
    """
    pairs = talk.pairs
    if pairs is None:
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
    if talk.plain is not None:
        pairs, nearest_s = talk.pairs, float(np.abs(talk.plain.delays_s).min())
        # pairs that all lie beyond the light are counted as exactly as those of the light
        is_usual = talk.is_whole and talk.plain.share < _HEALTHY_CROSS_TALK
        largest = _MOST_CROSS_TALK if is_usual else _LARGE_CORRECTION
        if pairs is None or nearest_s < pairs.from_s or pairs.g2 > largest * abs(g2.value):
            problems.append(str(talk.plain))
    return tuple(problems)


def afterpulsing_problem(words: str, uncorrected: float, g2: Estimate) -> list[str]:
    """Say what afterpulses do to a g2(0), where it is more than a correction."""
    if abs(uncorrected - g2.value) <= min(_LARGE_CORRECTION * abs(g2.value), 2.0 * g2.u):
        return []
    return [
        f"{words}. They are taken off: g2 falls from {uncorrected:.3g} to {g2.value:.3g}. "
        "Lower the detectors' bias, or attenuate less"
    ]
