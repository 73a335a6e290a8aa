"""Blinking seen in the areas of far side peaks, and what it does to rates under dead time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from qdchar.estimate import Contribution, Estimate
from qdchar.tags import PulseStatistics

from ..statistics.jackknife import Table, jackknife, joined, product_of_rates

Array = NDArray[np.float64]

MEMORY = 1e-4
"""Part of its size to which the ripple of the dead time in the side peaks must have decayed."""

_DARK_TIMES = "dark times that were met"

_SIGNIFICANT = 3.0
_BLOCKS = 40
"""At most, for the scatter: pairs over the border of two blocks come with the singles of one, which
cancels in the sum of all blocks but not in their scatter; so blocks are long against the lags."""


def far_lags(recovery_pulses: int, clicks_per_pulse: float) -> int:
    """Return the lag beyond which dead time no longer shapes the side peaks [pulses].

    Notes
    -----
    The click rate after a click rings: with m dead pulses and click probability p its slowest
    part decays by about p**(1/m) a pulse, from the equation z**(m+1) = (1-p) z**m + p of a
    renewal process.
    """
    if recovery_pulses == 0:
        return 1
    p = min(max(clicks_per_pulse / (1.0 - recovery_pulses * clicks_per_pulse), 1e-12), 0.99)
    return math.ceil(math.log(MEMORY) * recovery_pulses / math.log(p)) + recovery_pulses + 1


@dataclass(frozen=True)
class Blinking:
    """How much more often two clicks far apart come together than independent ones would.

    Attributes
    ----------
    amplitude, u
        b of the side-peak areas A_inf (1 + b exp(-|n| T/tau_b)), and its standard uncertainty.
    decay_per_pulse
        T/tau_b; 0 where no decay is seen within the lags counted.
    lags
        Lags that it rests on, both signs together, shape (n,) [pulses].
    weights
        The amplitude is this combination of the excess areas at the lags, shape (n,).
    """

    amplitude: float
    u: float
    decay_per_pulse: float
    lags: NDArray[np.int64]
    weights: Array

    @property
    def on_fraction(self) -> float:
        """Part of the time the source is bright, if it is dark the rest (ideal telegraph)."""
        return on_fraction(self.amplitude)

    @property
    def significant(self) -> bool:
        """Whether there is blinking beyond the statistics."""
        return is_significant(self.amplitude, self.u)

    def of(self, table: Table) -> float:
        """Return the amplitude of a table of blocks as made by `blinking_table`."""
        return float(self.weights @ _excess(table))

    def estimate(self, label: str, period_s: float) -> Estimate:
        """Return the amplitude as a figure of the record."""
        method = (
            f"peak areas at {self.lags[0]} to {self.lags[-1]} pulses over the product of "
            "the singles"
        )
        if self.decay_per_pulse > 0.0:
            method += f", decaying in {period_s / self.decay_per_pulse * 1e6:.3g} us"
        return Estimate(
            name="blinking_amplitude",
            value=self.amplitude,
            method=method,
            plane="detectors",
            budget=(Contribution(f"side peaks, {label}", self.u),),
        )


def is_significant(amplitude: float, u: float) -> bool:
    """Whether an amplitude is more than statistics."""
    return amplitude > _SIGNIFICANT * u


def blinks(amplitude: Estimate | None) -> bool:
    """Whether a blinking amplitude of the record is more than statistics.

    How many dark times a recording met leaves open how much the source blinks, not whether it does.
    """
    if amplitude is None:
        return False
    seen = [c.u for c in amplitude.budget if not c.source.startswith(_DARK_TIMES)]
    return is_significant(amplitude.value, math.hypot(*seen))


def with_dark_times(amplitude: Estimate, flicker: float, label: str) -> Estimate:
    """Return the amplitude of a blinking source with what the dark times met leave uncertain.

    Parameters
    ----------
    amplitude
        Blinking amplitude b, with the scatter within the recording in its budget.
    flicker
        Relative standard deviation of the mean light of recordings as long as this one, beyond
        counting, from the scatter within all recordings of the light.
    label
        Name of the recording.

    Notes
    -----
    A recording that meets few dark times, or short ones, has too low an amplitude and too little
    scatter, both at once: its own scatter then says least where it would have to say most. Others
    tell how much the next recording would differ. With the part on q = 1/(1 + b) and dark times of
    correlation time tau, its mean light has the relative variance 2 b tau/T. 1 + b is the inverse
    of that light, so that u(b) = (1 + b) sqrt(2 b tau/T). One dark time more than was met is
    counted, b + tau/T instead of b, because by chance few may be met; it adds at most half of the
    variance.
    """
    if flicker == 0.0:
        return amplitude
    one_more = 0.5 * (flicker / max(amplitude.value, flicker)) ** 2
    u = (1.0 + max(amplitude.value, 0.0)) * flicker * math.sqrt(1.0 + one_more)
    if u <= amplitude.u:
        return amplitude
    missing = math.sqrt(u**2 - amplitude.u**2)
    return amplitude.with_contribution(f"{_DARK_TIMES}, {label}", missing, "A")


def on_fraction(amplitude: float) -> float:
    """Return the on-fraction q = 1/(1 + b) of an ideal telegraph."""
    return 1.0 / (1.0 + max(amplitude, 0.0))


def blinking_table(statistics: PulseStatistics, first_lag: int) -> Table:
    """Return pulses, singles and the areas at each lag from `first_lag`, block by block.

    A record of N pulses holds N - n pairs of pulses n apart; areas are scaled to N.
    """
    n_max = statistics.n_max
    later = statistics.peak_areas[:, n_max + first_lag :]
    earlier = statistics.peak_areas[:, n_max - first_lag :: -1]
    singles = [statistics.n_pulses, statistics.s_a, statistics.s_b]
    pulses = statistics.n_pulses.sum()
    complete = pulses / (pulses - np.arange(first_lag, n_max + 1))
    return np.column_stack([*singles, complete * (later + earlier) / 2]).astype(np.float64)


def blinking(statistics: PulseStatistics, first_lag: int) -> Blinking:
    """Measure the blinking amplitude from the peaks at `first_lag` to the last lag counted.

    Notes
    -----
    Normalised by the singles of long blocks, so that a drift is not taken for blinking. Dead time
    lowers on-state clicks and their pairs alike and drops out.

    Where there is a significant excess its decay is fitted and followed back to lag 0; the result
    is then the linear combination of the areas that least squares makes at the solution.
    """
    table = blinking_table(statistics, first_lag)
    blocks = joined(table, min(_BLOCKS, len(table)))
    lags = np.arange(first_lag, statistics.n_max + 1)
    flat = np.full(len(lags), 1.0 / len(lags))

    def measured(weights: Array, decay: float) -> Blinking:
        u = jackknife(lambda t: float(weights @ _excess(t)), blocks)
        return Blinking(float(weights @ _excess(table)), u, decay, lags, weights)

    average = measured(flat, 0.0)
    if not average.significant:
        return average
    excess = _excess(table)
    decay = _decay(lags, excess)
    shape = np.exp(-decay * lags)
    amplitude = float(excess @ shape / (shape @ shape))
    jacobian = np.stack([shape, -amplitude * lags * shape])
    weights = np.linalg.solve(jacobian @ jacobian.T, jacobian)[0]
    return measured(weights, decay)


def _excess(table: Table) -> Array:
    return np.asarray(table[:, 3:].sum(axis=0) / product_of_rates(table) - 1.0, dtype=np.float64)


def _decay(lags: NDArray[np.int64], excess: Array) -> float:
    """Return the decay a pulse of an exponential through the excess areas.

    A slightly rising one is allowed, or the amplitude of slow blinking would come out high.
    """

    def misfit(decay: float) -> float:
        shape = np.exp(-decay * lags)
        return -(float(excess @ shape) ** 2) / float(shape @ shape)

    steepest = 5.0 / lags[0]
    found = optimize.minimize_scalar(
        misfit, bounds=(-0.5 / len(lags), steepest), method="bounded", options={"xatol": 1e-7}
    )
    return float(found.x)


def on_state_probability(clicks_per_pulse: float, dead_pulses: float, on_fraction: float) -> float:
    """Return the click probability of a live detector while the source is on.

    Parameters
    ----------
    clicks_per_pulse
        R, over all pulses.
    dead_pulses
        m, pulses that the detector is dead after each click.
    on_fraction
        q, part of the time the source is on.

    Notes
    -----
    R = q p/(1 + m p), so p = R/(q - m R). With q = 1 this is the pulsed dead-time formula.
    """
    return clicks_per_pulse / (on_fraction - dead_pulses * clicks_per_pulse)
