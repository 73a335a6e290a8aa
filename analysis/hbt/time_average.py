"""From the g2(0) of live pulses to that of all pulses, and to that of the on-state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qdchar.estimate import Contribution

from ..detection.blinking import blinking_table, on_fraction, on_state_probability
from ..detection.live_gating import LiveCounts
from ..statistics.jackknife import Statistic, Table, jackknife

_MAX_UNCORRECTED_BIAS = 0.1
"""Largest bias that is not corrected, as a part of the statistical standard uncertainty."""


@dataclass(frozen=True)
class OnState:
    """The on-fraction q, and the blocks' uncertainty of g2_on = q g2_inf."""

    on_fraction: float
    u_blocks: float


@dataclass(frozen=True)
class TimeAverage:
    """From the live-gated g2 to the time-averaged one.

    `scale` is their ratio, `u_blocks` the jackknife's uncertainty of the product, `doubt` what the
    model of blinking adds to the budget, `on` the on-state where the source blinks significantly.
    """

    scale: float
    u_blocks: float
    doubt: tuple[Contribution, ...] = ()
    remark: str = ""
    on: OnState | None = None


def time_average(counts: LiveCounts, live: Table, g2: Statistic, label: str) -> TimeAverage:
    """Find what puts live pulses back into the proportion of all pulses.

    Parameters
    ----------
    counts
        Of the run.
    live
        Live pulses, clicks of A and B on them, and coincidences, block by block.
    g2
        The live-gated g2 of such a table.
    label
        Name of the run in the budget.
    """
    c0, b = float(live[:, 3].sum()), counts.blinking
    if not b.significant:
        return TimeAverage(1.0, jackknife(g2, live))
    table = np.hstack([live, blinking_table(counts.statistics, int(b.lags[0]))])

    def q(t: Table) -> float:
        return on_fraction(b.of(t[:, 4:]))

    if abs(counts.live_gating_bias) < _MAX_UNCORRECTED_BIAS / math.sqrt(c0 + 1.0):
        on = OnState(b.on_fraction, jackknife(lambda t: g2(t) * q(t), table))
        return TimeAverage(1.0, jackknife(g2, live), on=on)
    scale, live_gated = _live_on(counts, table), g2(live)
    u_blocks = jackknife(lambda t: g2(t) * _live_on(counts, t), table)
    on = OnState(b.on_fraction, jackknife(lambda t: g2(t) * _live_on(counts, t) * q(t), table))
    # an ideal telegraph moves the live-gated photon number and g2 by inverse factors
    doubt = live_gated * (1.0 + counts.live_gating_bias - scale)
    return TimeAverage(
        scale,
        u_blocks,
        (Contribution(f"telegraph model, {label}", doubt / math.sqrt(3.0), "B"),),
        f"; on-fraction {b.on_fraction:.3f} from the far side peaks takes the live-gated "
        f"{live_gated:.4g} to the time average (g2_on {live_gated * scale * b.on_fraction:.4g})",
        on,
    )


def _live_on(counts: LiveCounts, table: Table) -> float:
    """Share of live pulses on which the source is on, over its share of all: N_L,on/(q N_L).

    `table` holds live pulses, their clicks and coincidences, then a `blinking_table`.
    """
    n_live, n_a, n_b, _, pulses, s_a, s_b = (float(x) for x in table[:, :7].sum(axis=0))
    q = on_fraction(counts.blinking.of(table[:, 4:]))
    live_on = [  # counted by A and by B
        n / on_state_probability(s / pulses, r.dead_pulses, q)
        for n, s, r in ((n_a, s_a, counts.recovery_a), (n_b, s_b, counts.recovery_b))
    ]
    return math.sqrt(math.prod(live_on)) / n_live / q
