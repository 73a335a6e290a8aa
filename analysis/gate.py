"""Time gate: the share of the signal in a gate of a given width, and its dark counts.

Clicks of the emission are folded into the pulse period. The gate is placed where it contains most
clicks. Clicks outside of it, less the expected dark counts, are lost signal.
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
"""Bin width of the folded clicks [s], far below the length of a gate."""
_SMOOTHING_S = 100e-12
"""Time over which clicks are summed to separate signal from dark counts [s]."""
_MIN_SIGNIFICANCE = 5.0
"""Clicks above the expected dark counts, in standard deviations, that are taken for signal."""
_MAX_LOST_SIGNAL = 0.01
"""Lost share of the signal above which the key rate would be wrong without it."""


@dataclass(frozen=True)
class _Gated:
    """Clicks of one detector outside of its gate and in all, and the dark counts among them.

    Attributes
    ----------
    per_width
        Clicks of the signal by which a longer gate holds more [1/s].
    """

    outside: float
    total: float
    dark_outside: float
    dark: float
    per_width: float


def analyse(
    run: TagRun, *, gate_width: Estimate, dark_count_rate: Estimate, dead_time: Estimate
) -> Result:
    """Find the share of the signal in a gate, and the probability of a dark count in it.

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
    The captured fraction includes the response of these detectors and of the tagger; with slower
    detectors a gate captures less. A gate does not change the light in the channel: <n> and g2
    stay the same, and the receiver's efficiency is multiplied by the captured fraction.

    The number of clicks outside is Poissonian. The lower end of the interval is from Jeffreys'
    interval, the upper end, which is at most 1, from Garwood's. The captured fraction itself can
    exceed 1 by the noise of the dark counts.
    """
    pulsed = open_run(run)
    parts = [
        _gated(pulsed, name, gate_width.value, 0.5 * dark_count_rate.value, dead_time.value)
        for name in "AB"
    ]
    outside, total, dark_outside, dark, per_width = (
        sum(getattr(p, name) for p in parts)
        for name in ("outside", "total", "dark_outside", "dark", "per_width")
    )
    signal = total - dark
    lost = (outside - dark_outside) / signal
    # Clicks inside and outside add up to the total: binomial, narrower than Poissonian by this.
    narrower = math.sqrt(max(1.0 - outside / total, 0.0))

    def interval(level: float) -> Interval:
        # Nothing is lost unless dark counts alone would rarely be as many.
        low = max(garwood(round(outside), level)[0] - dark_outside, 0.0) / signal
        high = jeffreys(round(outside), level, dark_outside)[1] / signal
        top = 1.0 - lost + narrower * (lost - low) if low > 0.0 else 1.0
        return 1.0 - lost - narrower * (high - lost), top

    few, many = jeffreys(round(max(outside, dark_outside)), LEVEL_68)
    u_outside = narrower * 0.5 * (many - few) / signal
    slope = (dark_outside - lost * dark) / dark_count_rate.value / signal if dark else 0.0
    # longer dead times leave less time for dark counts
    of_dead_time = (dark_outside / dark - lost) / signal if dark else 0.0
    of_dead_time *= -0.5 * dark_count_rate.value * total
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
            *propagate(
                [
                    (dark_count_rate, slope),
                    (dead_time, of_dead_time),
                    (gate_width, per_width / signal),
                ]
            ),
        ),
        interval_68=interval(LEVEL_68),
        interval_95=interval(LEVEL_95),
    )
    problems = []
    if lost > _MAX_LOST_SIGNAL:
        problems.append(
            f"a gate of {gate_width.value * 1e9:.4g} ns cuts off {100 * lost:.1f} % of the signal: "
            "use a wider gate_width, or reduce fiber_optics_efficiency in the link file"
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
    per_width = 0.0
    if bins < n:
        half = 0.5 * _SMOOTHING_S / _BIN_S
        longer, shorter = (float(_inside(counts, bins + h)[start]) for h in (half, -half))
        per_width = (longer - shorter) / _SMOOTHING_S - dark / period_s
    return _Gated(total - inside, total, dark * (1.0 - bins / n), dark, per_width)


def _inside(counts: Array, bins: float) -> Array:
    """Return the clicks in a gate that begins at each bin, shape (n,); bins count in part."""
    n = len(counts)
    cumulated = np.concatenate([[0.0], np.cumsum(np.tile(counts, 2))])
    begin = np.arange(n)
    end = begin + bins
    return np.asarray(np.interp(end, np.arange(2 * n + 1), cumulated) - cumulated[begin])


def _place(counts: Array, bins: float, dark: float) -> int:
    """Return the first bin of the gate with most clicks; the middle one of several alike.

    Only bins with significant signal are used. A gate that was chosen to include many dark counts
    would leave too few outside.
    """
    n = len(counts)
    half = max(round(0.5 * _SMOOTHING_S / _BIN_S), 1)
    near = np.convolve(np.tile(counts, 3), np.ones(2 * half + 1), mode="same")[n : 2 * n]
    expected = dark * (2 * half + 1) / n
    bright = np.where(near > expected + _MIN_SIGNIFICANCE * math.sqrt(expected + 1.0), counts, 0.0)
    inside = _inside(bright, bins)
    best = np.flatnonzero(inside > inside.max() - 0.5)
    # The best positions may continue across the end of the period: unwrap them at their gap.
    gap = int(np.argmax(np.diff(np.append(best, best[0] + n))))
    ordered = np.roll(best, -(gap + 1))
    return int(ordered[len(ordered) // 2])
