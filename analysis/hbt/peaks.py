"""Peak areas of a run beside those expected from its light, for the eye and as a check."""

from __future__ import annotations

import math

import numpy as np

from qdchar.estimate import Estimate
from qdchar.fit import Curve, Fit

from ..detection.blinking import on_state_probability
from ..detection.live_gating import LiveCounts
from ..statistics.jackknife import product_of_rates
from .expected_peaks import expected_areas


def peaks(counts: LiveCounts, g2: Estimate) -> tuple[Fit, tuple[str, ...]]:
    """Raw areas of all peaks, beside those expected from the light, dead time and blinking."""
    s, blinking = counts.statistics, counts.blinking
    lags = np.arange(-s.n_max, s.n_max + 1)
    product = product_of_rates(np.column_stack([s.n_pulses, s.s_a, s.s_b]))
    areas = s.peak_areas.sum(axis=0)
    pulses, q = float(s.n_pulses.sum()), blinking.on_fraction
    p_a, p_b = (
        on_state_probability(float(clicks.sum()) / pulses, r.dead_pulses, q)
        for clicks, r in ((s.s_a, counts.recovery_a), (s.s_b, counts.recovery_b))
    )
    model = expected_areas(
        p_a,
        p_b,
        max(g2.value, 0.0) * q * p_a * p_b,
        counts.recovery_a.until_recovered,
        counts.recovery_b.until_recovered,
        s.n_max,
    )
    model *= 1.0 + blinking.amplitude * np.exp(-blinking.decay_per_pulse * np.abs(lags))
    y, u = areas / product, np.sqrt(np.maximum(model * product, 0.5)) / product
    pulls = (y - model) / u
    x = np.asarray(lags * s.clock.period_ps * 1e-3, dtype=np.float64)
    curve = Curve(
        title="Peak areas, raw, over those of independent light",
        x_label="delay (ns)",
        y_label="normalised peak area",
        x=x,
        y=y,
        u_y=u,
        model=model,
        residuals=pulls,
        x_line=x,
        y_line=model,
    )
    fit = Fit(
        model="expected from g2(0), dead time and blinking",
        names=("g2_zero", "blinking_amplitude"),
        values=np.array([g2.value, blinking.amplitude]),
        covariance=np.diag([g2.u**2, blinking.u**2]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=len(lags) - 2,
        curves=(curve,),
    )
    zero, lowest = int(areas[lags == 0][0]), int(np.argmin(areas))
    if zero - areas[lowest] > 5.0 * math.sqrt(zero + areas[lowest] + 1.0):
        return fit, (
            f"the peak at {lags[lowest]:+d} pulses is lower than the one at zero: is there an "
            "electronic delay between the detectors? Give it",
        )
    return fit, ()
