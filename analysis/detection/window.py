"""The pulse window that coincidences are counted in, and how much of the light it holds."""

from __future__ import annotations

import numpy as np

from .pulsed_run import PulsedRun

_EIGHTHS = 8


def captured_fraction(pulsed: PulsedRun, dark_count_rate_Hz: float = 0.0) -> float:
    """Return the least share of the light that falls into the window of its own pulse.

    Parameters
    ----------
    pulsed
        The run; its windows are a whole period long and begin a quarter of it before the peak.
    dark_count_rate_Hz
        Of both detectors together [Hz].

    Notes
    -----
    Clicks in the first eighth of a window are late photons of the pulse before, 3/4 to 7/8 of a
    period after their peak. All that are later still are at most as many, if the decay falls to a
    half within an eighth of a period or faster. Steady light counts as late.
    """
    if pulsed.phases is None:
        raise ValueError("the windows were laid by other runs")
    late = total = 0.0
    dark = 0.5 * dark_count_rate_Hz * pulsed.run.duration_s
    for counts, offset_ps in zip(
        pulsed.phases, (pulsed.offset_a_ps, pulsed.offset_b_ps), strict=True
    ):
        begin = round(offset_ps / pulsed.clock.period_ps * len(counts))
        first = np.roll(counts, -begin)[: len(counts) // _EIGHTHS]
        late += float(first.sum()) - dark / _EIGHTHS
        total += float(counts.sum()) - dark
    return 1.0 - max(2.0 * late / total, 0.0)
