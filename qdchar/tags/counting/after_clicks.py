"""Clicks of two detectors by the time since the last click, and by which detector clicked then."""

from __future__ import annotations

import numpy as np

from ..source import TagChunk
from . import numba_loops as compiled
from .pulse_statistics import GAP_PULSES

_LONG_AGO_PS = 1 << 50


class AfterClicks:
    """Count clicks by the gap to the last click of either detector, in pulse periods.

    Attributes
    ----------
    clicks
        Clicks of A and of B.
    counts
        int64, shape (2, 66, 2, 2): by the detector that clicked last (A, B), by the gap g in
        periods, by the detector that clicks now, and by place: 0 within a quarter of a period
        of g periods, where pulsed light makes its clicks, 1 from ``g + 1/4`` to ``g + 3/4``.
        Gaps that begin with a click between the pulses are left out.
    """

    def __init__(
        self, channel_a: int, channel_b: int, period_ps: float, delay_b_ps: float = 0.0
    ) -> None:
        self.clicks = (0, 0)
        self.counts = np.zeros((2, GAP_PULSES + 2, 2, 2), np.int64)
        self._channels = channel_a, channel_b
        self._delay_ps, self._per_ps = round(delay_b_ps), 1.0 / period_ps
        self._state = np.full(4, -_LONG_AGO_PS, np.int64)

    def add(self, chunk: TagChunk) -> None:
        """Count the clicks of this chunk."""
        times, channels = chunk.native()
        a, b = (int(np.count_nonzero(channels == c)) for c in self._channels)
        self.clicks = self.clicks[0] + a, self.clicks[1] + b
        compiled.count_after_clicks(
            times, channels, *self._channels, self._delay_ps, self._per_ps, self._state,
            self.counts,
        )  # fmt: skip
