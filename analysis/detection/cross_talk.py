"""Cross-talk: a click of one detector makes the other one click, at a fixed short delay.

Two photons of one pulse, both of the source, come apart by no more than the decay allows: their
pairs lie under the zero peak as those of independent pulses lie under the side peaks, and there are
fewer. Pairs at a delay at which the zero peak is higher than that are no light of the source.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from qdchar.tags import PulseStatistics
from qdchar.tags.counting.correlation import Correlator

Array = NDArray[np.float64]

BINS = 128
"""Bins a period into which delays are gathered."""

_CHANCE = 1e-9
"""Highest probability by chance of bins that are taken for cross-talk."""

_CHANCE_OF_FLANK = 0.05
"""The same for bins beside such a bin."""

_TAIL_FACTOR = 5.0
"""A hole in the middle of the zero peak, as re-excitation leaves it, makes its tails this much
stronger against the whole than those of the side peaks, at most."""


_WIDTHS = (1, 2, 4, 8)
"""Numbers of neighbouring bins whose pairs are taken together."""


@dataclass(frozen=True)
class CrossTalk:
    """Pairs of clicks in the zero peak at delays at which light makes none.

    Attributes
    ----------
    delays_s
        Middle of each bin with such pairs, shape (n,) [s].
    pairs, expected
        Pairs in these bins, and how many light makes at most.
    share
        Excess pairs over the clicks of both detectors.
    g2_without
        Zero peak over side peaks at the delays of the other bins alone.
    """

    delays_s: Array
    pairs: float
    expected: float
    share: float
    g2_without: float

    def __str__(self) -> str:
        """Say in words what was found."""
        low, high = 1e9 * self.delays_s.min(), 1e9 * self.delays_s.max()
        where = f"{low:.2g} ns" if high - low < 0.01 else f"between {low:.2g} and {high:.2g} ns"
        return (
            f"cross-talk: at delays of {where} there are {self.pairs:.0f} pairs in the zero peak, "
            f"light makes at most {self.expected:.0f}: a click of one detector makes the other one "
            f"click, in {100 * self.share:.2g} % of cases. Without these delays the zero peak has "
            f"{self.g2_without:.3g} of a side peak. Shield the detectors' cables from each other"
        )


@dataclass(frozen=True)
class FarPairs:
    """Pairs in the zero peak at delays beyond its light, less what light and background make there.

    Attributes
    ----------
    seen, pairs
        Pairs at these delays, and those that neither light nor background makes.
    side
        Pairs of a side peak.
    u_shape
        Standard uncertainty of `g2` by the shape of the zero peak, which need not be that of the
        others.
    from_s
        Distance from the middle of the peak at which they begin [s].
    """

    seen: int
    pairs: float
    side: float
    u_shape: float
    from_s: float

    @property
    def g2(self) -> float:
        """What neither light nor background makes, over the pairs of a side peak."""
        return self.pairs / self.side


_HEALTHY, _MOST, _MOST_OF_MORE = 1e-4, 0.5, 0.2
"""Share of clicks that make the other detector click up to which cross-talk is usual; the part of
the zero peak that it may be, where all of it lies beyond the light; and that of stronger or partly
hidden cross-talk, of which some may not have been seen."""


@dataclass(frozen=True)
class Talk:
    """Cross-talk of two detectors: where it is plain, and what pairs it adds to the zero peak.

    Attributes
    ----------
    plain
        None where no delay has clearly more pairs than light makes.
    pairs
        None where the light leaves no delay free.
    is_whole
        Whether cross-talk the other way round, from B to A for one that is seen from A to B, would
        be at delays beyond the light as well. It comes as long after its click.
    """

    plain: CrossTalk | None
    pairs: FarPairs | None
    is_whole: bool = False

    def problems(self, added: float, left: float) -> tuple[str, ...]:
        """Say that cross-talk is more than a correction.

        Parameters
        ----------
        added, left
            What it adds to the zero peak, and what light makes there, in one unit.
        """
        if self.plain is None:
            return ()
        hidden = self.pairs is None or float(np.abs(self.plain.delays_s).min()) < self.pairs.from_s
        # pairs that all lie beyond the light are counted as exactly as those of the light
        is_usual = self.is_whole and self.plain.share < _HEALTHY
        most = _MOST if is_usual else _MOST_OF_MORE
        return (str(self.plain),) if hidden or added > most * abs(left) else ()


def cross_talk_of(s: PulseStatistics, delays: Correlator, recovery_pulses: int) -> Talk:
    """Find the cross-talk of the two detectors of a run.

    Parameters
    ----------
    delays
        Delays of B after A, see `coincidences.delay_counter`.
    recovery_pulses
        Pulses after a click until a detector has recovered.
    """
    electronic_ps = s.offset_b_ps - s.offset_a_ps
    centres = delays.start_ps + delays.bin_ps * np.arange(0.5, delays.n_bins, dtype=np.float64)
    centres -= electronic_ps
    lags = int(np.abs(np.floor(centres / s.clock.period_ps + 0.5)).max())
    nearest = min(1 + recovery_pulses, lags - 2)
    clicks = int(s.s_a.sum() + s.s_b.sum())
    plain = cross_talk(centres, delays.counts, s.clock.period_ps, clicks, nearest=nearest)
    pairs = far_pairs(centres, delays.counts, s.clock.period_ps, nearest)
    if plain is None or pairs is None:
        return Talk(plain, pairs)
    period_s = 1e-12 * s.clock.period_ps
    other_way_s = -(plain.delays_s + 2e-12 * electronic_ps)
    distance_s = np.abs(other_way_s - period_s * np.round(other_way_s / period_s))
    is_whole = bool((distance_s >= pairs.from_s).all())
    if not is_whole:
        # as many again may lie under the light
        pairs = replace(pairs, u_shape=float(np.hypot(pairs.u_shape, pairs.g2)))
    return Talk(plain, pairs, is_whole)


_FAR_SHARE = 1e-2
"""Largest share of a side peak's light at the delays that are beyond it."""


def far_pairs(
    centres_ps: Array, counts: NDArray[np.int64], period_ps: float, nearest: int = 1
) -> FarPairs | None:
    """Count what cross-talk adds to the zero peak; arguments as for `cross_talk`.

    Returns
    -------
    FarPairs or None
        None where the side peaks leave no delay free.

    Notes
    -----
    The side peaks S(x) hold light of share L beyond some distance, and a background V, which the
    zero peak holds as well: ``sum(zero - V) - g (S - V)`` is what neither makes. Pairs from
    re-excitation can be further apart by a factor of two: a rectangular distribution from none to
    twice the light there.
    """
    peaks = _peaks(centres_ps, counts, period_ps, nearest)
    if peaks is None:
        return None
    seen, side = peaks.seen, peaks.side
    valley = float(np.mean(np.concatenate([side[: BINS // 16], side[-(BINS // 16) :]])))
    light = np.maximum(side - valley, 0.0)
    # from the ends of the period inward
    order = np.argsort(-np.abs(np.arange(BINS) - 0.5 * (BINS - 1)), kind="stable")
    far = order[np.cumsum(light[order]) <= _FAR_SHARE * light.sum()]
    if len(far) < BINS // 4:
        return None
    near = np.setdiff1d(order, far)
    g = float((seen[near] - valley).sum() / light[near].sum())
    pairs = float((seen[far] - valley).sum()) - g * float((side[far] - valley).sum())
    tail = max(g, 0.0) * float(light[far].sum()) / float(side.sum())
    nearest_ps = (np.abs(far - 0.5 * (BINS - 1)).min() - 0.5) * period_ps / BINS
    return FarPairs(
        seen=int(seen[far].sum()),
        pairs=pairs,
        side=float(side.sum()),
        u_shape=tail / math.sqrt(3.0),
        from_s=1e-12 * nearest_ps,
    )


@dataclass(frozen=True)
class _Peaks:
    """Pairs of the zero peak and of a mean side peak against the delay, shape (BINS,)."""

    seen: NDArray[np.int64]
    side: Array
    n_sides: int


def _peaks(
    centres_ps: Array, counts: NDArray[np.int64], period_ps: float, nearest: int
) -> _Peaks | None:
    turns = centres_ps / period_ps
    lag = np.floor(turns + 0.5).astype(np.int64)
    place = np.clip(((turns - lag + 0.5) * BINS).astype(np.int64), 0, BINS - 1)
    # the first and last peaks of the histogram may be cut
    whole = np.abs(lag) < np.abs(lag).max()
    sides = whole & (np.abs(lag) >= nearest)
    n_sides = len(np.unique(lag[sides]))
    if n_sides < 2:
        return None
    seen = np.bincount(place[lag == 0], counts[lag == 0], BINS).astype(np.int64)
    side = np.bincount(place[sides], counts[sides], BINS) / n_sides
    # bins of the histogram may be wider than these, and fall on them unevenly
    weight = np.bincount(place[lag == 0], minlength=BINS)
    side_weight = np.bincount(place[sides], minlength=BINS) / n_sides
    side *= np.where(side_weight > 0, weight / np.maximum(side_weight, 1e-9), 0.0)
    return _Peaks(seen, side, n_sides) if side.sum() else None


def cross_talk(
    centres_ps: Array, counts: NDArray[np.int64], period_ps: float, clicks: int, nearest: int = 1
) -> CrossTalk | None:
    """Look for pairs in the zero peak where light makes none.

    Parameters
    ----------
    centres_ps, counts
        Histogram of the delays of B after A, less the electronic delay [ps], shape (n,).
    period_ps
        Pulse period [ps].
    clicks
        Clicks of both detectors.
    nearest
        Side peaks nearer than so many pulses, which dead time shapes, are left out.

    Returns
    -------
    CrossTalk or None
        None where there is none, or where there is nothing to compare with.

    Notes
    -----
    At each delay the side peaks S(x) hold what their own pulse makes, and V that lies between the
    peaks: background and late photons of other pulses. The zero peak holds at most
    ``min(S, 5 g (S - V) + 1.5 V)``, g its area over theirs; the first factor is for zero peaks with
    a hole in the middle, the second for tails of the zero peak itself. For light of g above 0.5
    it holds at most ``max(g, 1) S``.
    """
    peaks = _peaks(centres_ps, counts, period_ps, nearest)
    if peaks is None:
        return None
    seen, side, n_sides = peaks.seen, peaks.side, peaks.n_sides
    valley = float(np.mean(np.concatenate([side[: BINS // 16], side[-(BINS // 16) :]])))
    g = float(seen.sum() / side.sum())
    smooth = np.maximum(side, np.maximum(np.roll(side, 1), np.roll(side, -1)))
    light = max(g, 1.0) * smooth
    if g < 0.5:
        light = np.minimum(
            light, _TAIL_FACTOR * g * np.maximum(smooth - valley, 0.0) + 1.5 * valley
        )
    u_side = np.sqrt(smooth * n_sides + 1.0) / n_sides
    limit = light + 5.0 * u_side
    chance = stats.poisson.sf(seen - 1.0, limit)
    found = np.zeros(BINS, dtype=bool)
    for width in _WIDTHS:
        # jitter spreads it over several bins, each of which may hold few pairs
        together, at_most = _in_windows(seen, width), _in_windows(limit, width)
        for start in np.flatnonzero(stats.poisson.sf(together - 1.0, at_most) < _CHANCE):
            window = (start + np.arange(width)) % BINS
            found[window[seen[window] > limit[window]]] = True
    if not found.any():
        return None
    for _ in range(BINS // 16):  # its flanks: jitter spreads it
        beside = np.roll(found, 1) | np.roll(found, -1)
        found |= beside & (chance < _CHANCE_OF_FLANK) & (seen > 0)
    rest, rest_side = float(seen[~found].sum()), float(side[~found].sum())
    if not rest_side:
        return None
    excess = float(seen[found].sum() - g * side[found].sum())
    return CrossTalk(
        delays_s=((np.flatnonzero(found) + 0.5) / BINS - 0.5) * period_ps * 1e-12,
        pairs=float(seen[found].sum()),
        expected=float(light[found].sum()),
        share=excess / clicks,
        g2_without=rest / rest_side,
    )


_CHANCE_OF_LINE = 1e-4
"""Highest probability by chance, over all places, of a narrow line beside the middle of a peak."""


def has_line(centres_ps: Array, counts: NDArray[np.int64], period_ps: float) -> bool:
    """Whether the zero peak has a narrow line beside its middle; arguments as for `cross_talk`.

    Notes
    -----
    What light makes is smooth: pairs of one pulse come apart by decays, and a hole in the middle,
    as after re-excitation, leaves two wide humps. A line has many more pairs than the two stretches
    of equal width on either side of it: of k + m pairs in all three, k would be binomial with 1/3,
    or with 1/2 against the fuller neighbour, which also a steep flank has.
    """
    turns = centres_ps / period_ps
    inside = np.abs(turns) < 0.5
    place = np.minimum(((turns[inside] + 0.5) * BINS).astype(np.int64), BINS - 1)
    pairs = np.bincount(place, counts[inside], BINS)
    middle, chance = BINS // 2, 1.0
    for width in _WIDTHS:
        each = _in_windows(pairs, width)
        starts = np.arange(width, BINS - 2 * width)
        aside = np.abs(starts + 0.5 * width - middle) > 2.0 * width
        starts = starts[aside]
        fuller = np.maximum(each[starts - width], each[starts + width])
        p = stats.binom.sf(each[starts] - 1.0, each[starts] + fuller, 0.5)
        chance = min(chance, float(p.min()) * len(starts) * len(_WIDTHS))
    return chance < _CHANCE_OF_LINE


def _in_windows(values: ArrayLike, width: int) -> Array:
    """Return the sum over each bin and the next ones, `width` in all, around the period."""
    each = np.asarray(values, dtype=np.float64)
    total = np.cumsum(np.concatenate([[0.0], each, each[: width - 1]]))
    return np.asarray(total[width:] - total[:-width], dtype=np.float64)
