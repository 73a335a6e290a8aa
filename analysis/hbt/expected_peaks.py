"""Peak areas that a pulsed source makes on two detectors with dead time, and those of a run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Estimate
from qdchar.fit import Curve, Fit

from ..detection.blinking import on_state_probability
from ..detection.coincidences import DelayHistogram, coincidence_curve
from ..detection.live_gating import LiveCounts
from ..statistics.jackknife import product_of_rates

Array = NDArray[np.float64]

_MAX_STATIONARY_CHANGE = 1e-12
"""Largest change of a state's probability from pulse to pulse in the stationary state."""

_MAX_SIMULATED_PULSES = 100_000
"""Largest number of simulated pulses until the detectors' state must be stationary."""

_BESIDE = 8
_LOW, _MANY_u = 0.8, 8.0
"""Lags [pulses] at which a side peak is looked at, and the part of its expected area, by so many
standard deviations of counting, below which it is a problem."""


def peaks(counts: LiveCounts, g2: Estimate, delays: DelayHistogram) -> tuple[Fit, tuple[str, ...]]:
    """Raw areas of all peaks, beside those expected from the light, dead time and blinking.

    `delays` are those of all pairs of clicks; they are drawn as they are.
    """
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
        title="Coincidence peak areas, normalised",
        x_label="delay τ (ns)",
        y_label="normalised peak area",
        x=x,
        y=y,
        u_y=u,
        model=model,
        residuals=pulls,
        x_line=x,
        y_line=model,
        line_label="expected",
        quantities=("blinking_amplitude", "blinking_amplitude_sent"),
    )
    histogram = coincidence_curve(
        "Coincidences of the two detectors",
        delays,
        quantities=(g2.name,),
    )
    fit = Fit(
        model="expected from g2(0), dead time and blinking",
        names=("g2_zero", "blinking_amplitude"),
        values=np.array([g2.value, blinking.amplitude]),
        covariance=np.diag([g2.u**2, blinking.u**2]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=len(lags) - 2,
        curves=(histogram, curve),
    )
    zero, lowest = int(areas[lags == 0][0]), int(np.argmin(areas))
    if zero - areas[lowest] > 5.0 * math.sqrt(zero + areas[lowest] + 1.0):
        return fit, (
            f"the peak at {lags[lowest]:+d} pulses is lower than the one at zero: is there an "
            "electronic delay between the detectors? Give it",
        )
    beside = np.abs(lags) <= _BESIDE
    low = (lags != 0) & beside & (y < _LOW * model) & (pulls < -_MANY_u)
    if low.any():
        n = int(lags[np.argmin(np.where(low, y / model, np.inf))])
        return fit, (
            f"the peak at {n:+d} pulses has {100 * float((y / model)[lags == n][0]):.0f} % of the "
            "expected area: did the electronic delay between the detectors jump by whole pulse "
            "periods in the recording?",
        )
    return fit, ()


def expected_areas(
    p_a: float, p_b: float, p_both: float, relative_a: Array, relative_b: Array, n_max: int
) -> Array:
    """Return the peak areas over those of independent clicks at the same rates.

    Parameters
    ----------
    p_a, p_b, p_both
        Probability that a live A, a live B, and both live detectors click on a pulse.
    relative_a, relative_b
        Efficiency of a detector 1, 2, ... pulses after its click over that of the recovered one,
        shapes (m_a,) and (m_b,); it has recovered after that.
    n_max
        Largest lag [pulses].

    Returns
    -------
    ndarray
        Shape (2 n_max + 1,), lags of B after A from -n_max to n_max.

    Notes
    -----
    A single photon that clicked on B at pulse i did not click on A: A is more likely to be live at
    the pulses that follow, and the peaks next to zero rise, 20 to 25 % at the source of Ding et al.
    with 15 to 30 ns dead time. Exact for pulses independent of each other: a Markov chain in the
    pulses since the last click of either detector.
    """
    a = np.append(relative_a, 1.0)
    b = np.append(relative_b, 1.0)
    after = _from_zero(p_a, p_b, p_both, a, b, n_max)
    before = _from_zero(p_b, p_a, p_both, b, a, n_max)
    return np.concatenate([before[:0:-1], after])


def _from_zero(p_a: float, p_b: float, p_both: float, a: Array, b: Array, n_max: int) -> Array:
    """Areas for lags 0 to n_max of B after A; `a` and `b` end with the recovered state."""
    both = p_both * np.outer(a, b)
    only_a = p_a * a[:, None] - both
    only_b = p_b * b[None, :] - both
    none = 1.0 - only_a - only_b - both

    def a_clicked(state: Array) -> Array:
        new = np.zeros_like(state)
        new[0, 0] = np.sum(state * both)
        new[0, :] += _older((state * only_a).sum(axis=0))
        return new

    def step(state: Array) -> Array:
        new = a_clicked(state)
        new[:, 0] += _older((state * only_b).sum(axis=1))
        return new + _older(_older((state * none).T).T)

    state = np.zeros_like(both)
    state[-1, -1] = 1.0  # both recovered
    for _ in range(_MAX_SIMULATED_PULSES):
        last, state = state, step(state)
        if np.abs(state - last).max() < _MAX_STATIONARY_CHANGE:
            break
    rate_a, rate_b = float(np.sum(state * (only_a + both))), float(np.sum(state * (only_b + both)))
    areas = [float(np.sum(state * both))]
    state = a_clicked(state)
    for _ in range(n_max):
        areas.append(float(np.sum(state * (only_b + both))))
        state = step(state)
    return np.array(areas) / (rate_a * rate_b)


def _older(state: Array) -> Array:
    """Let a pulse pass without a click, along the first axis."""
    new = np.zeros_like(state)
    new[1:] = state[:-1]
    new[-1] += state[-1]
    return new
