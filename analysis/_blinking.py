"""Blinking seen in the areas of far side peaks, and what it does to rates under dead time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qdchar.estimate import Contribution, Estimate
from qdchar.tags import PulseStatistics

from ._blocks import Table, jackknife

MEMORY = 1e-4
"""Part of its size to which the ripple of the dead time in the side peaks must have decayed."""


def far_lags(blind_pulses: int, clicks_per_pulse: float) -> int:
    """Return the lag beyond which dead time no longer shapes the side peaks [pulses].

    Notes
    -----
    The click rate after a click rings: with m blind pulses and click probability p its slowest
    part decays by about p**(1/m) a pulse, from the equation z**(m+1) = (1-p) z**m + p of a
    renewal process.
    """
    if blind_pulses == 0:
        return 1
    p = min(max(clicks_per_pulse / (1.0 - blind_pulses * clicks_per_pulse), 1e-12), 0.99)
    return math.ceil(math.log(MEMORY) * blind_pulses / math.log(p)) + blind_pulses + 1


@dataclass(frozen=True)
class Blinking:
    """How much more often two clicks far apart come together than independent ones would.

    Attributes
    ----------
    amplitude, u
        b of the side-peak areas A_inf (1 + b exp(-|n| T/tau_b)), and its standard uncertainty.
    first_lag, last_lag
        The lags it was averaged over [pulses].
    """

    amplitude: float
    u: float
    first_lag: int
    last_lag: int

    @property
    def on_fraction(self) -> float:
        """Part of the time the source is bright, if it is dark the rest (ideal telegraph)."""
        return 1.0 / (1.0 + max(self.amplitude, 0.0))

    @property
    def significant(self) -> bool:
        """Whether there is blinking beyond the statistics."""
        return self.amplitude > 3.0 * self.u

    def estimate(self, label: str) -> Estimate:
        """Return the amplitude as a figure of the record."""
        return Estimate(
            name="blinking_amplitude",
            value=self.amplitude,
            unit="1",
            definition="b: excess of the side-peak areas over uncorrelated light, slow blinking",
            method=(
                f"peak areas at {self.first_lag} to {self.last_lag} pulses over singles products "
                "of time blocks"
            ),
            plane="detectors",
            budget=(Contribution(f"side peaks, {label}", self.u),),
        )


def blinking(statistics: PulseStatistics, first_lag: int) -> Blinking:
    """Measure the blinking amplitude from the peaks at `first_lag` to the last lag counted.

    Notes
    -----
    Normalised by the singles products of each block, so that a drift from block to block is not
    taken for blinking. Dead time lowers on-state clicks and their pairs alike and drops out.
    """
    lags = np.abs(np.arange(-statistics.n_max, statistics.n_max + 1))
    areas = statistics.peak_areas[:, lags >= first_lag].mean(axis=1)
    product = statistics.s_a * (statistics.s_b / statistics.n_pulses)
    table = np.column_stack([areas, product]).astype(np.float64)
    return Blinking(_excess(table), jackknife(_excess, table), first_lag, statistics.n_max)


def _excess(table: Table) -> float:
    areas, product = table.sum(axis=0)
    return float(areas / product - 1.0)


def on_state_probability(clicks_per_pulse: float, lost_pulses: float, on_fraction: float) -> float:
    """Return the click probability of a live detector while the source is on.

    Parameters
    ----------
    clicks_per_pulse
        R, over all pulses.
    lost_pulses
        m, pulses lost after each click.
    on_fraction
        q, part of the time the source is on.

    Notes
    -----
    R = q p/(1 + m p), so p = R/(q - m R). With q = 1 this is the pulsed dead-time formula.
    """
    return clicks_per_pulse / (on_fraction - lost_pulses * clicks_per_pulse)
