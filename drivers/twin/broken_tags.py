"""Turns the clicks of healthy detectors and the tags of a healthy tagger into those of broken ones.

It works on blocks of tags after the sampler, so that the sampler of a healthy lab stays as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qdchar.roles import TagBlock

from .defects import TagDefects

Times = NDArray[np.int64]

_SYNC, _SIGNALS = 0, (1, 2)
_DOUBLE_PS = 10_000
_LONG_AGO_PS = -(2**62)


class BrokenTags:
    """Spoils the tags of one stream, block by block.

    Parameters
    ----------
    rng
        Not one of those that a healthy lab draws from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._later: dict[int, Times] = {c: np.empty(0, np.int64) for c in (_SYNC, *_SIGNALS)}
        self._last_ps = dict.fromkeys(_SIGNALS, _LONG_AGO_PS)
        self._dead_until_ps = dict.fromkeys(_SIGNALS, _LONG_AGO_PS)

    def spoil(
        self,
        block: TagBlock,
        defects: TagDefects,
        dead_s: float,
        kept: tuple[float, float],
        *,
        recorded: bool,
    ) -> TagBlock:
        """Return the block as broken detectors and a broken tagger give it.

        Parameters
        ----------
        dead_s
            Dead time of the detectors [s].
        kept
            Shares of the clicks of A and B that the detectors keep.
        recorded
            Whether the tags are recorded rather than counted: tags are lost on the way to the
            recording, so that counts do not miss them.
        """
        clicks: dict[int, Times] = {}
        for c in _SIGNALS:
            clicks[c] = block.times_ps[block.channels == c]
            if kept[c - 1] < 1.0:
                clicks[c] = self._some(clicks[c], kept[c - 1])
        if defects.afterpulsing > 0.0 or defects.cross_talk > 0.0:
            extra = self._extra_clicks(clicks, defects, dead_s)
            for c in _SIGNALS:
                due = self._take_due(c, extra[c], block.stop_ps)
                clicks[c] = self._merge(c, clicks[c], due, round(dead_s * 1e12))
        if defects.swapped:
            clicks = {1: clicks[2], 2: clicks[1]}
        if recorded:
            clicks = {c: self._as_recorded(t, defects) for c, t in clicks.items()}
        clock = self._clock(block, defects)
        times = np.concatenate((clock, clicks[1], clicks[2]))
        channels = np.repeat(
            np.array([_SYNC, *_SIGNALS], np.uint8), [len(clock), len(clicks[1]), len(clicks[2])]
        )
        order = np.argsort(times, kind="stable")
        times, channels = times[order], channels[order]
        within = (times >= block.start_ps) & (times < block.stop_ps)
        return TagBlock(
            times[within],
            channels[within],
            block.start_ps,
            block.stop_ps,
            block.overflow or (recorded and defects.overflow),
        )

    def _some(self, times: Times, share: float) -> Times:
        return times[self._rng.random(len(times)) < share]

    def _extra_clicks(
        self, clicks: dict[int, Times], defects: TagDefects, dead_s: float
    ) -> dict[int, Times]:
        extra = {}
        for c, other in zip(_SIGNALS, reversed(_SIGNALS), strict=True):
            origin = self._some(clicks[c], defects.afterpulsing)
            wait_s = dead_s + self._rng.exponential(defects.trap_s, len(origin))
            after = origin + np.rint(1e12 * wait_s).astype(np.int64)
            across = self._some(clicks[other], defects.cross_talk)
            extra[c] = np.concatenate((after, across + round(1e12 * defects.cross_talk_s)))
        return extra

    def _take_due(self, channel: int, new: Times, stop_ps: int) -> Times:
        """Return the extra tags of this block, in order, and keep the later ones."""
        times = np.sort(np.concatenate((self._later[channel], new)))
        due = int(np.searchsorted(times, stop_ps))
        self._later[channel] = times[due:]
        return times[:due]

    def _merge(self, channel: int, clicks: Times, extra: Times, dead_ps: int) -> Times:
        """Add extra clicks with the dead time: of a detector that is dead, and after themselves.

        A click that an extra click suppresses would itself have suppressed others; those of them
        that this brings back are neglected.
        """
        clicks = clicks[clicks >= self._dead_until_ps[channel]]
        before = np.concatenate(([self._last_ps[channel]], clicks))
        extra = extra[extra - before[np.searchsorted(clicks, extra, "right")] >= dead_ps]
        extra = extra[np.diff(extra, prepend=_LONG_AGO_PS) >= dead_ps]
        change = np.zeros(len(clicks) + 1, np.int64)
        np.add.at(change, np.searchsorted(clicks, extra), 1)
        np.add.at(change, np.searchsorted(clicks, extra + dead_ps), -1)
        merged = np.sort(np.concatenate((clicks[np.cumsum(change)[:-1] == 0], extra)))
        if len(extra):
            self._dead_until_ps[channel] = int(extra[-1]) + dead_ps
        if len(merged):
            self._last_ps[channel] = int(merged[-1])
        return merged

    def _as_recorded(self, times: Times, defects: TagDefects) -> Times:
        if defects.lost > 0.0:
            times = self._some(times, 1.0 - defects.lost)
        if defects.doubled > 0.0:
            times = np.concatenate((times, self._some(times, defects.doubled) + _DOUBLE_PS))
        return times

    def _clock(self, block: TagBlock, defects: TagDefects) -> Times:
        clock: Times = block.times_ps[block.channels == _SYNC]
        if defects.lost_clock > 0.0:
            clock = self._some(clock, 1.0 - defects.lost_clock)
        if defects.shift_ps:
            clock = self._take_due(_SYNC, clock + defects.shift_ps, block.stop_ps)
        return clock
