"""Photon-number statistics from what is measured: mean <n> and g2(0).

Both are those at the channel's input, residual laser light included, g2 neither background-
subtracted nor normalised to a blinking-free level: an eavesdropper may use everything emitted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.errors import UsageError

Floats = NDArray[np.float64]


def multiphoton_probability(n: ArrayLike, g2: ArrayLike) -> Floats:
    """P(N >= 2) of at most g2 <n>^2 / 2, for every photon statistics.

    N (N - 1) is at least 2 where N is at least 2; equality holds without three-photon events.
    """
    n = np.asarray(n, dtype=np.float64)
    return np.asarray(np.asarray(g2, dtype=np.float64) * n**2 / 2)


def largest_three_photon(n: ArrayLike, g2: ArrayLike) -> Floats:
    """Largest P(N = 3) without larger photon numbers, g2 <n>^2 / 6; P(N = 2) is then 0."""
    n = np.asarray(n, dtype=np.float64)
    return np.asarray(np.asarray(g2, dtype=np.float64) * n**2 / 6)


def two_photon_distribution(n: ArrayLike, g2: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """p0, p1, p2 of a source that never emits three photons."""
    n, g2 = np.broadcast_arrays(np.asarray(n, dtype=np.float64), np.asarray(g2, dtype=np.float64))
    p2 = multiphoton_probability(n, g2)
    p1 = n - g2 * n**2
    return np.asarray(1 - p1 - p2), np.asarray(p1), p2


def multiphoton_limit(
    coincidences: int, pulses: float, efficiency_a: float, efficiency_b: float, eps: float
) -> float:
    """Upper limit of g2 <n>^2 / 2 from the coincidences behind it, at failure probability `eps`.

    In a Hanbury Brown-Twiss measurement g2 = C N / (A B) and <n> = A / (N eta_a) = B / (N eta_b),
    so that g2 <n>^2 / 2 = C / (2 N eta_a eta_b): a coincidence rate, in which the singles cancel.
    Limiting <n> and g2 as if they were independent is looser, and wrong in sign where they share
    an error.

    Parameters
    ----------
    coincidences
        Zero-delay coincidences, nothing subtracted.
    pulses
        Pulses during which both detectors were live.
    efficiency_a, efficiency_b
        From the plane of <n> to a click, beam splitter included; at their lower limits, where
        they are uncertain.
    eps
        One-sided failure probability.

    Returns
    -------
    float
        Clopper and Pearson's limit for a Poisson count, over 2 N eta_a eta_b.
    """
    from scipy.special import gammainccinv

    if coincidences < 0 or pulses <= 0 or not (0 < eps < 1):
        raise UsageError("multi-photon limit: counts are 0 or more, pulses above 0, eps in (0, 1)")
    if not (0 < efficiency_a <= 1 and 0 < efficiency_b <= 1):
        raise UsageError("multi-photon limit: an efficiency is above 0 and at most 1")
    most = float(gammainccinv(coincidences + 1, eps))
    return most / (2 * pulses * efficiency_a * efficiency_b)


def check_physical(n: ArrayLike, g2: ArrayLike) -> None:
    """Refuse <n> and g2 that no source of at most two photons can have.

    Raises
    ------
    UsageError
        A value is negative, g2 <n> > 1 (p1 < 0), or <n> - g2 <n>^2 / 2 > 1 (p0 < 0).
    """
    n, g2 = np.broadcast_arrays(np.asarray(n, dtype=np.float64), np.asarray(g2, dtype=np.float64))
    for bad, why in (
        (~(np.isfinite(n) & np.isfinite(g2)), "must be finite numbers"),
        ((n <= 0) | (g2 < 0), "must be more than 0 (<n>) and at least 0 (g2)"),
        (g2 * n > 1, "give a negative one-photon probability: g2 <n> must be at most 1"),
        (n - g2 * n**2 / 2 > 1, "give a negative vacuum probability: <n> - g2 <n>^2/2 exceeds 1"),
    ):
        if np.any(bad):
            i = np.unravel_index(int(np.argmax(bad)), bad.shape)
            raise UsageError(f"source: <n> = {n[i]:g} and g2 = {g2[i]:g} {why}")
