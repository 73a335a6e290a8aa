"""Histogram of the delays between the clicks of two detectors, for a pulsed source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.fit import Curve, Series
from qdchar.tags.counting.correlation import Correlator

from .cross_talk import BINS
from .pulsed_run import PulsedRun

Array = NDArray[np.float64]

LAGS = 8
"""Side peaks on either side that the zero peak's shape is compared with."""
_DRAWN_LAGS = 4
"""Side peaks on either side that are drawn."""
_DRAWN_BINS = 512
"""Bins of a pulse period that are drawn: several in a peak."""


@dataclass(frozen=True)
class DelayHistogram:
    """Pairs of clicks by the delay of B after A.

    Attributes
    ----------
    delay_ps, pairs
        Middle of each bin, the electronic delay subtracted [ps], and the pairs in it, shape (n,).
    period_ps
        Pulse period [ps].
    """

    delay_ps: Array
    pairs: NDArray[np.int64]
    period_ps: float

    @classmethod
    def of(cls, counted: Correlator, pulsed: PulsedRun) -> DelayHistogram:
        """Return what was counted of a run."""
        between_ps = pulsed.offset_b_ps - pulsed.offset_a_ps
        middle_ps = counted.start_ps + counted.bin_ps * np.arange(0.5, counted.n_bins)
        return cls(middle_ps - between_ps, counted.counts, pulsed.clock.period_ps)


def delay_counter(pulsed: PulsedRun) -> Correlator:
    """Return what counts the delays of B after A over the nearest peaks."""
    return _counter(pulsed, LAGS, max(round(pulsed.clock.period_ps / BINS), 1))


def fine_delay_counter(pulsed: PulsedRun) -> Correlator:
    """Return what counts the delays of B after A for a drawing, in whole steps of the tagger."""
    step_ps = max(round(pulsed.tags.resolution_ps), 1)
    steps = max(round(pulsed.clock.period_ps / (_DRAWN_BINS * step_ps)), 1)
    return _counter(pulsed, _DRAWN_LAGS, steps * step_ps)


def _counter(pulsed: PulsedRun, lags: int, bin_ps: int) -> Correlator:
    delay_ps, period_ps = pulsed.offset_b_ps - pulsed.offset_a_ps, pulsed.clock.period_ps
    return Correlator(
        pulsed.run.channel_a,
        pulsed.run.channel_b,
        start_ps=round(delay_ps - (lags + 0.5) * period_ps),
        bin_ps=bin_ps,
        n_bins=round((2 * lags + 1) * period_ps / bin_ps),
    )


def coincidence_curve(
    title: str,
    histogram: DelayHistogram,
    *,
    label: str = "coincidences",
    others: tuple[tuple[str, NDArray[np.int64]], ...] = (),
    quantities: tuple[str, ...] = (),
) -> Curve:
    """Return the histogram of the delays, with the peak at zero enlarged, ready to draw.

    Parameters
    ----------
    label, others
        What the pairs are; pairs of other recordings in the same bins, by name.
    """
    period_ns = 1e-3 * histogram.period_ps
    drawn = np.abs(histogram.delay_ps) <= (_DRAWN_LAGS + 0.5) * histogram.period_ps
    delay_ns = 1e-3 * histogram.delay_ps[drawn]
    pairs = histogram.pairs[drawn].astype(np.float64)
    none = np.zeros(0)
    return Curve(
        title=title,
        x_label="delay τ (ns)",
        y_label="counts per bin",
        x=delay_ns,
        y=pairs,
        u_y=np.sqrt(pairs + 0.5),
        model=none,
        residuals=none,
        x_line=none,
        y_line=none,
        kind="histogram",
        data_label=label,
        quantities=quantities,
        others=tuple(
            Series(name, delay_ns, more[drawn].astype(np.float64), "steps") for name, more in others
        ),
        enlarged=(-0.5 * period_ns, 0.5 * period_ns),
    )
