"""Ideal key rates and the boundary between single photons and coherent light, in closed form.

Bit errors, dark counts and finite block length are neglected; only the photon statistics count. A
source is described by <n> (mean photon number at the channel's input) and g2 (at zero delay,
time-averaged). eta is the total transmission from the channel's input to a click, with the
detector's efficiency.

References
----------
Y. Zhang et al., Phys. Rev. Lett. 134, 210801 (2025), https://doi.org/10.1103/PhysRevLett.134.210801.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def coherent_rate(eta: ArrayLike) -> Floats:
    """Key rate of coherent light with infinitely many decoy states, eta/e [bit/pulse].

    The mean photon number is the one with the highest rate.

    Parameters
    ----------
    eta
        Transmission, 0 to 1.
    """
    return np.asarray(np.asarray(eta, dtype=np.float64) / np.e)


def optimum_mean(g2: ArrayLike, eta: ArrayLike) -> Floats:
    """Mean photon number with the highest key rate, eta / (g2 (1 + eta^2)); infinite at g2 = 0."""
    g2, eta = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (g2, eta)))
    no_pairs = g2 == 0
    return np.asarray(
        np.where(no_pairs, np.inf, eta / (np.where(no_pairs, 1.0, g2) * (1 + eta**2)))
    )


def attenuation_threshold(n: ArrayLike, g2: ArrayLike) -> Floats:
    """Transmission below which pre-attenuation raises the key rate.

    It is the smaller root of eta/(1 + eta^2) = g2 <n>.

    Parameters
    ----------
    n, g2
        The source.

    Returns
    -------
    ndarray
        The threshold. Infinite (always attenuate) if 2 g2 <n> > 1; 0 (never) if g2 <n> = 0.
    """
    gn = np.asarray(g2, dtype=np.float64) * np.asarray(n, dtype=np.float64)
    always = 2 * gn > 1
    discriminant = np.where(always, 0.0, 1 - 4 * gn**2)
    return np.asarray(np.where(always, np.inf, 2 * gn / (1 + np.sqrt(discriminant))))


def single_photon_rate(
    n: ArrayLike, g2: ArrayLike, eta: ArrayLike, *, attenuate: bool = True
) -> Floats:
    """Key rate of a single-photon source without decoy states.

    It is the gain minus the probability of a multi-photon pulse.

    Parameters
    ----------
    n, g2
        The source.
    eta
        Transmission, 0 to 1.
    attenuate
        Pre-attenuate to `optimum_mean` if that is below <n>.

    Returns
    -------
    ndarray
        n eta - g2 n^2 (1 + eta^2) / 2, or 0 if that is negative [bit/pulse]. It is exact if no
        pulse has more than two photons. Otherwise it is a lower bound, because the gain is at least
        eta <N> - eta^2 <N(N-1)>/2 (Bonferroni) and P(N >= 2) is at most g2 <n>^2 / 2.
    """
    n, g2, eta = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (n, g2, eta)))
    used = np.minimum(n, optimum_mean(g2, eta)) if attenuate else n
    return np.asarray(np.maximum(used * eta - g2 * used**2 * (1 + eta**2) / 2, 0.0))


def minimum_mean(g2: ArrayLike, eta: ArrayLike) -> Floats:
    """Smallest <n> at which a source with this g2 has the key rate of coherent light.

    Parameters
    ----------
    g2
        Zero-delay correlation.
    eta
        Transmission, more than 0.

    Returns
    -------
    ndarray
        The smallest <n>: 1/e at g2 = 0, at any loss; infinite if no <n> is large enough.
    """
    g2, eta = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (g2, eta)))
    discriminant = eta**2 - 2 * g2 * eta * (1 + eta**2) / np.e
    unreachable = discriminant < 0
    root = np.sqrt(np.where(unreachable, 0.0, discriminant))
    return np.asarray(np.where(unreachable, np.inf, 2 * (eta / np.e) / (eta + root)))


def maximum_g2(n: ArrayLike, eta: ArrayLike) -> Floats:
    """Largest g2 at which a source with this <n> has the key rate of coherent light.

    Pre-attenuation is allowed.

    Parameters
    ----------
    n
        Mean photon number, more than 0.
    eta
        Transmission.

    Returns
    -------
    ndarray
        The largest g2. It is 0 if <n> is below 1/e: then no g2 is low enough.
    """
    n, eta = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (n, eta)))
    used = np.minimum(n, 2 / np.e)
    return np.asarray(np.maximum(2 * eta * (used - 1 / np.e) / (used**2 * (1 + eta**2)), 0.0))
