"""Afterpulsing: clicks that a detector makes by itself some time after a click.

Once neither detector has clicked for longer than their dead time, both have recovered. Clicks of A
between the pulses are then dark counts, background and late photons, and as likely after a click of
A as after one of B. If they are more likely after one of A, and the less so the longer ago that
was, then A's own click has made them. Neither blinking nor drift of the brightness looks like that,
because both detectors see them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from qdchar.estimate import Contribution, Uncertain

Array = NDArray[np.float64]

_DECAYS_PULSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Decay times that are tried [pulses]: at 76 MHz 13 to 420 ns, as traps in detectors have."""

_CHANCE = 1e-8
"""Of so few recordings with healthy detectors one may be taken for afterpulsing."""

_MODEL = 0.1
"""Relative standard uncertainty of a correction: real traps do not decay by one exponential."""

_STEPS = 1000
_SOON_PULSES = 5
_SHARE_BETWEEN = 0.5
"""Share of the time that lies between the pulses, from 1/4 to 3/4 of a period after each."""


@dataclass(frozen=True)
class Afterpulsing:
    """Afterpulses of one detector.

    Attributes
    ----------
    per_pulse, u_per_pulse
        Probability of an afterpulse in one period, at the first pulse after recovery.
    decay_pulses
        In so many pulses it falls to 1/e; the likeliest of those that were tried.
    first
        First pulse after recovery.
    older
        Afterpulses of the clicks before the last one, over those of the last one.
    chance
        Probability that a healthy detector looks like that.
    """

    per_pulse: float
    u_per_pulse: float
    decay_pulses: float
    first: int
    older: float
    chance: float

    @property
    def significant(self) -> bool:
        """Whether it is there."""
        return self.chance < _CHANCE

    def per_click(self, label: str) -> Uncertain:
        """Return the afterpulses a click, after recovery."""
        return self.times(self.pulses_after, label)

    @property
    def pulses_after(self) -> float:
        """Afterpulses a click, over `per_pulse`."""
        return 1.0 / (1.0 - math.exp(-1.0 / self.decay_pulses))

    def times(self, factor: float, label: str) -> Uncertain:
        """Return `per_pulse` times a factor, with what counting and the model leave uncertain."""
        budget = (
            Contribution(f"afterpulses, {label}", factor * self.u_per_pulse),
            Contribution(f"decay of afterpulses, {label}", _MODEL * factor * self.per_pulse, "B"),
        )
        return Uncertain(factor * self.per_pulse, budget)

    def on_live_pulses(self, gaps: NDArray[np.int64], clicks: float, pulses: float) -> float:
        """Return the afterpulses on a live pulse, over `per_pulse`.

        Parameters
        ----------
        gaps
            Successive clicks of this detector g pulses apart, g = 0, 1, ..., shape (n,).
        clicks, pulses
            All its clicks, and all pulses.
        """
        waiting = clicks - np.cumsum(gaps)  # clicks not followed by another within g pulses
        ages = np.arange(self.first, len(gaps))
        at_risk = pulses - float(waiting[: self.first - 1].sum())
        # a pulse's window begins 1/4 period before its peak
        shape = np.exp(-(ages - 0.25 - self.first) / self.decay_pulses)
        return (1.0 + self.older) * float(np.sum(shape * waiting[ages - 1])) / at_risk


def afterpulsing(
    counts: NDArray[np.int64], clicks: tuple[int, int], first: int
) -> tuple[Afterpulsing, Afterpulsing]:
    """Find the afterpulsing of two detectors.

    Parameters
    ----------
    counts
        As `qdchar.tags.counting.after_clicks.AfterClicks` counts them.
    clicks
        All clicks of A and of B.
    first
        First pulse after a click at which both detectors have recovered.

    Notes
    -----
    Maximum likelihood of Poisson counts. The x clicks by light at the end of a gap tell how often
    neither detector had clicked until then; before them, between the pulses, A clicks
    ``x (beta + alpha exp(-g/tau))`` times by itself if the last click was its own, and sum of
    ``R exp(-k/tau)`` times as often by those before it, R its clicks a pulse and k from the first
    pulse after recovery on; from 1 on if the last click was B's. Of the decay times
    tau that are tried the likeliest is taken, and the chance is multiplied by their number.
    """
    # chance of a click by light soon after a click, while a source that blinks is still on
    soon = slice(first, first + _SOON_PULSES)
    waiting = np.sum(clicks) - np.cumsum(counts.sum(axis=(0, 2, 3)))
    at_risk = float(waiting[first - 1 : first - 1 + _SOON_PULSES].sum())
    p = counts[:, soon, :, 0].sum(axis=(0, 1)) / max(at_risk, 1.0)
    return _of_one(counts, 0, first, p), _of_one(counts, 1, first, p)


def _of_one(counts: NDArray[np.int64], which: int, first: int, hazards: Array) -> Afterpulsing:
    gaps = np.arange(first, counts.shape[1] - 2)
    order = (which, 1 - which)
    x = np.concatenate([counts[last, gaps + 1, :, 0].sum(axis=1) for last in order])
    n = np.concatenate([counts[last, gaps, which, 1] for last in order])
    x, n = x[x > 0].astype(np.float64), n[x > 0].astype(np.float64)
    used = np.concatenate([counts[last, gaps + 1, :, 0].sum(axis=1) > 0 for last in order])
    p = float(hazards[which])
    best = Afterpulsing(0.0, 0.0, 1.0, first, 0.0, 1.0)
    if not n.any():
        return best
    for decay in _DECAYS_PULSES:
        own = np.exp(-(gaps - first) / decay)
        fall = math.exp(-1.0 / decay)
        rate = p / (1.0 + (first - 1) * p) / (1.0 - fall)
        older = rate * fall**first
        shape = np.concatenate([(1.0 + older) * own, rate * fall * own])[used]
        gain, alpha, u = _likeliest(n, x, shape)
        chance = min(0.5 * len(_DECAYS_PULSES) * float(stats.chi2.sf(gain, 1)), 1.0)
        if chance < best.chance:
            scale = float(hazards.sum()) / _SHARE_BETWEEN
            best = Afterpulsing(scale * alpha, scale * u, decay, first, older, chance)
    return best


def _likeliest(n: Array, x: Array, shape: Array) -> tuple[float, float, float]:
    """Fit ``n = x (beta + alpha shape)``; returns twice the gain over alpha = 0, alpha, u."""
    beta0 = float(n.sum() / x.sum())
    beta, alpha = 0.5 * beta0, 0.5 * float(n.sum() / (x @ shape))
    for _ in range(_STEPS):  # expectation and maximisation: both stay positive
        ratio = n / (beta + alpha * shape)
        beta, alpha = (
            beta * float(ratio.sum() / x.sum()),
            alpha * float(ratio @ shape / (x @ shape)),
        )
    mean = x * (beta + alpha * shape)
    seen = n > 0
    gain = 2.0 * float(
        np.sum(n[seen] * np.log(mean[seen] / (beta0 * x[seen]))) - mean.sum() + beta0 * x.sum()
    )
    weight = x**2 / np.maximum(mean, 1e-300)
    bb, ab, aa = weight.sum(), weight @ shape, weight @ shape**2
    determinant = bb * aa - ab**2
    u = math.sqrt(float(bb / determinant)) if determinant > 0 else math.inf
    return max(gain, 0.0), alpha, u


def describe_afterpulsing(
    found: tuple[Afterpulsing, Afterpulsing], period_s: float, most_chance: float = _CHANCE
) -> str:
    """Say in words what was found, of detectors that look like that by less than a chance."""
    parts = []
    for name, each in zip("AB", found, strict=True):
        if each.chance < most_chance:
            share = each.per_click(name)
            parts.append(
                f"detector {name} clicks again by itself after {100 * share.value:.2g} % of its "
                f"clicks, from {1e9 * period_s * each.first:.0f} ns on and falling to 1/e in about "
                f"{1e9 * period_s * each.decay_pulses:.0f} ns"
            )
    return "afterpulsing: " + "; ".join(parts)
