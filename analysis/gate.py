"""Time gate: the share of the signal that a gate of a given width captures, and its dark counts.

Clicks of the emission are folded into the pulse period. The gate lies where it captures most; of
the clicks outside of it, those that the dark count rate explains are no lost signal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Result
from qdchar.raw_data import TagRun
from qdchar.tags import folded_histogram

from .detection.pulsed_run import PulsedRun, open_run
from .statistics.intervals import LEVEL_68, LEVEL_95, Interval, garwood, jeffreys

Array = NDArray[np.float64]

_BIN_S = 2e-12
_STRAY_S = 100e-12
_STRAY_CLICKS = 5.0
"""A stretch with no more clicks than this beyond its dark counts does not draw the gate to it."""
_CUT_OFF = 0.01
"""Lost signal from which on a key rate without it would be wrong."""


@dataclass(frozen=True)
class _Gated:
    """Clicks of one detector outside of its gate, all of them, and the dark counts in both."""

    outside: float
    total: float
    dark_outside: float
    dark: float


def analyse(
    run: TagRun, *, gate_width: Estimate, dark_count_rate: Estimate, dead_time: Estimate
) -> Result:
    """Find what a gate captures of the signal, and how likely a dark count falls into it.

    Parameters
    ----------
    run
        Time tags of the emission with the pulse clock.
    gate_width
        Width of the gate per pulse [s].
    dark_count_rate
        Total of both detectors [Hz].
    dead_time
        Of a detector [s]; a dead detector has no dark counts.

    Returns
    -------
    Result
        ``gate_captured_fraction``: clicks of the signal in the gate over all of them, each
        detector's gate placed by itself; ``dark_count_probability``: per pulse, total over the
        detectors.

    Raises
    ------
    InconclusiveError
        If a detector is silent or the clock is lost.

    Notes
    -----
    The response of these detectors and of the tagger is in the captured fraction; behind slower
    detectors a gate captures less. Where a gate cuts signal off, the photons it loses are no
    fewer in the channel: <n> and g2 stay as they are, and the receiver's efficiency is lower by
    the captured fraction.

    With few clicks outside, their number is Poissonian: the lower end of the interval is Jeffreys',
    the upper one, which has 1 for a bound, Garwood's. What is captured may come out above 1 by the
    noise of the dark counts; its interval does not.
    """
    pulsed = open_run(run)
    parts = [
        _gated(pulsed, name, gate_width.value, 0.5 * dark_count_rate.value, dead_time.value)
        for name in "AB"
    ]
    outside, total, dark_outside, dark = (
        sum(getattr(p, name) for p in parts)
        for name in ("outside", "total", "dark_outside", "dark")
    )
    signal = total - dark
    lost = (outside - dark_outside) / signal
    # outside and inside share their total: binomial, narrower than Poissonian by this
    narrower = math.sqrt(max(1.0 - outside / total, 0.0))

    def interval(level: float) -> Interval:
        # from nothing lost, unless darks alone would rarely be as many
        low = max(garwood(round(outside), level)[0] - dark_outside, 0.0) / signal
        high = jeffreys(round(outside), level, dark_outside)[1] / signal
        top = 1.0 - lost + narrower * (lost - low) if low > 0.0 else 1.0
        return 1.0 - lost - narrower * (high - lost), top

    few, many = jeffreys(round(max(outside, dark_outside)), LEVEL_68)
    u_outside = narrower * 0.5 * (many - few) / signal
    slope = (dark_outside - lost * dark) / dark_count_rate.value / signal if dark else 0.0
    period_s = pulsed.clock.period_ps * 1e-12
    captured = Estimate(
        name="gate_captured_fraction",
        value=1.0 - lost,
        method=(
            f"{outside:.0f} of {total:.0f} clicks outside of the gate, {dark_outside:.1f} of them "
            "expected dark"
        ),
        plane="detectors",
        budget=(
            Contribution(f"clicks outside of the gate, {pulsed.label}", u_outside),
            *propagate([(dark_count_rate, slope)]),
        ),
        interval_68=interval(LEVEL_68),
        interval_95=interval(LEVEL_95),
    )
    problems = []
    if lost > _CUT_OFF:
        problems.append(
            f"a gate of {gate_width.value * 1e9:.4g} ns cuts {100 * lost:.1f} % of the signal off: "
            "widen gate_width, or take it off fiber_optics_efficiency in the link file"
        )
    if gate_width.value > period_s:
        problems.append(
            f"gate_width = {gate_width.value:.4g} s is longer than a pulse period of "
            f"{period_s:.4g} s: gates overlap"
        )
    return Result((captured, _dark(dark_count_rate, gate_width)), (), tuple(problems))


def _dark(rate: Estimate, width: Estimate) -> Estimate:
    def scaled(interval: Interval | None) -> Interval | None:
        if interval is None or width.u > 0:
            return None
        return interval[0] * width.value, interval[1] * width.value

    return Estimate(
        name="dark_count_probability",
        value=rate.value * width.value,
        method="dark_count_rate as measured x gate_width as given",
        plane="detectors",
        budget=propagate([(rate, width.value), (width, rate.value)]),
        interval_68=scaled(rate.interval_68),
        interval_95=scaled(rate.interval_95),
    )


def _gated(
    pulsed: PulsedRun, detector: str, width_s: float, dark_Hz: float, dead_s: float
) -> _Gated:
    """Fold one detector's clicks and place its gate."""
    run = pulsed.run
    channel, offset = (
        (run.channel_a, pulsed.offset_a_ps)
        if detector == "A"
        else (run.channel_b, pulsed.offset_b_ps)
    )
    period_s = pulsed.clock.period_ps * 1e-12
    n = round(period_s / _BIN_S)
    counts = folded_histogram(
        pulsed.tags,
        channel,
        pulsed.clock,
        n_bins=n,
        offset_ps=offset,
        dither_ps=pulsed.tags.resolution_ps,
    ).counts.astype(np.float64)
    total = float(counts.sum())
    live_s = run.duration_s - total * dead_s
    dark = dark_Hz * live_s
    bins = min(width_s / period_s, 1.0) * n
    start = _place(counts, bins, dark)
    inside = float(_inside(counts, bins)[start])
    return _Gated(total - inside, total, dark * (1.0 - bins / n), dark)


def _inside(counts: Array, bins: float) -> Array:
    """Clicks in a gate that begins with each bin, shape (n,); a part of a bin counts as such."""
    n = len(counts)
    cumulated = np.concatenate([[0.0], np.cumsum(np.tile(counts, 2))])
    begin = np.arange(n)
    end = begin + bins
    return np.asarray(np.interp(end, np.arange(2 * n + 1), cumulated) - cumulated[begin])


def _place(counts: Array, bins: float, dark: float) -> int:
    """First bin of the gate that captures most; in the middle where several capture the same.

    Stray clicks are left out here: a gate that picked those up by choice would count the darks
    outside of it too low.
    """
    n = len(counts)
    half = max(round(0.5 * _STRAY_S / _BIN_S), 1)
    near = np.convolve(np.tile(counts, 3), np.ones(2 * half + 1), mode="same")[n : 2 * n]
    expected = dark * (2 * half + 1) / n
    bright = np.where(near > expected + _STRAY_CLICKS * math.sqrt(expected + 1.0), counts, 0.0)
    inside = _inside(bright, bins)
    best = np.flatnonzero(inside > inside.max() - 0.5)
    # the run of best places goes round the period's end at most once: unwrap it at its gap
    gap = int(np.argmax(np.diff(np.append(best, best[0] + n))))
    ordered = np.roll(best, -(gap + 1))
    return int(ordered[len(ordered) // 2])
