"""Polarisation in the simulated lab: what the modulator sends, what the analyser transmits.

States are unit vectors on the Poincare sphere, (S1, S2, S3): H is +S1, D is +S2, R is +S3. Plain
functions, SI units, angles in degrees.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AXES: Mapping[str, tuple[float, float, float]] = {
    "H": (1.0, 0.0, 0.0),
    "V": (-1.0, 0.0, 0.0),
    "D": (0.0, 1.0, 0.0),
    "A": (0.0, -1.0, 0.0),
    "R": (0.0, 0.0, 1.0),
    "L": (0.0, 0.0, -1.0),
}

HALF_WAVES: Mapping[str, tuple[float, float]] = {
    "H": (0.0, 0.0),
    "V": (1.0, 0.0),
    "D": (0.5, 0.0),
    "A": (-0.5, 0.0),
    "R": (0.5, 0.5),
    "L": (0.5, -0.5),
}
"""Voltages of the two cells that make each state, in half-wave voltages."""


def sent(voltages_V: tuple[float, float], half_wave_V: float) -> Array:
    """State behind two Pockels cells, shape (3,).

    The first cell, at 45 degrees, turns H through D, V and A; the second, along H, turns D to R.
    """
    first, second = (np.pi * v / half_wave_V for v in voltages_V)
    sine = np.sin(first)
    return np.array([np.cos(first), sine * np.cos(second), sine * np.sin(second)])


def depolarised(state: Array, misalignment: Mapping[str, float]) -> Array:
    """State vector shortened so that each of the six states has its error probability.

    The error of any other state is a weighted mean of theirs.
    """
    shares = {name: max(float(state @ axis), 0.0) ** 2 for name, axis in AXES.items()}
    wrong = sum(share * misalignment[name] for name, share in shares.items())
    return np.asarray((1.0 - 2.0 * wrong) * state)


def analysed(
    quarter_deg: float, half_deg: float, excess_rad: tuple[float, float] = (0.0, 0.0)
) -> Array:
    """State that leaves by the beam splitter's H output, shape (3,).

    Parameters
    ----------
    quarter_deg, half_deg
        Fast axes of the plates against H; light meets the quarter-wave plate first.
    excess_rad
        Retardance of the two plates less a quarter and half of a wave [rad].
    """
    # backwards: what the half-wave plate makes H, then what the quarter-wave plate makes that
    state = _turned(np.array(AXES["H"]), half_deg, np.pi + excess_rad[1])
    return _turned(state, quarter_deg, 0.5 * np.pi + excess_rad[0])


def _turned(state: Array, plate_deg: float, retardance_rad: float) -> Array:
    """Turn a state about a plate's fast axis."""
    two = 2.0 * np.radians(plate_deg)
    axis = np.array([np.cos(two), np.sin(two), 0.0])
    along = (state @ axis) * axis
    sideways = np.cross(axis, state)
    turned = np.cos(retardance_rad) * (state - along) + np.sin(retardance_rad) * sideways
    return np.asarray(along + turned)


def passed(state: Array, analyser: Array) -> float:
    """Probability that a photon of a state leaves by the analyser's first output."""
    return 0.5 * (1.0 + float(state @ analyser))
