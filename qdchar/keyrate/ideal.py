"""Ideal key rates and the boundary between single photons and coherent light, in closed form.

No errors, no dark counts, no finite statistics: what the photon statistics alone allow. A source
is <n> (mean photon number at the channel's input) and g2 (zero-delay, time-averaged); eta is the
whole transmission to a click.

References
----------
Y. Zhang et al., Phys. Rev. Lett. 134, 210801 (2025), https://doi.org/10.1103/PhysRevLett.134.210801.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def coherent_rate(eta: ArrayLike) -> Floats:
    """Key rate of coherent light with infinite decoy states at its best mean, eta/e [bit/pulse].

    Parameters
    ----------
    eta
        Transmission, 0 to 1.
    """
    return np.asarray(np.asarray(eta, dtype=np.float64) / np.e)


def optimum_mean(g2: ArrayLike, eta: ArrayLike) -> Floats:
    """Mean photon number to attenuate to, eta / (g2 (1 + eta^2)); infinite at g2 = 0."""
    g2, eta = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (g2, eta)))
    perfect = g2 == 0
    return np.asarray(np.where(perfect, np.inf, eta / (np.where(perfect, 1.0, g2) * (1 + eta**2))))


def attenuation_threshold(n: ArrayLike, g2: ArrayLike) -> Floats:
    """Transmission below which pre-attenuation pays (stable root of eta/(1+eta^2) = g2 <n>).

    Parameters
    ----------
    n, g2
        The source.

    Returns
    -------
    ndarray
        The threshold; infinite (always attenuate) where 2 g2 <n> > 1, 0 at g2 <n> = 0.
    """
    gn = np.asarray(g2, dtype=np.float64) * np.asarray(n, dtype=np.float64)
    always = 2 * gn > 1
    inside = np.where(always, 0.0, 1 - 4 * gn**2)
    return np.asarray(np.where(always, np.inf, 2 * gn / (1 + np.sqrt(inside))))


def single_photon_rate(
    n: ArrayLike, g2: ArrayLike, eta: ArrayLike, *, attenuate: bool = True
) -> Floats:
    """Key rate of a single-photon source without decoy states: gain less multi-photon part.

    Parameters
    ----------
    n, g2
        The source.
    eta
        Transmission, 0 to 1.
    attenuate
        Pre-attenuate to the optimum mean where that is below <n>.

    Returns
    -------
    ndarray
        n eta - g2 n^2 (1 + eta^2) / 2, or 0 where that is negative [bit/pulse]. Exact for at most
        two photons a pulse; a lower bound for every other photon statistics, because the gain is
        at least eta <N> - eta^2 <N(N-1)>/2 (Bonferroni) and P(N >= 2) at most g2 <n>^2 / 2.
    """
    n, g2, eta = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (n, g2, eta)))
    used = np.minimum(n, optimum_mean(g2, eta)) if attenuate else n
    return np.asarray(np.maximum(used * eta - g2 * used**2 * (1 + eta**2) / 2, 0.0))


def minimum_mean(g2: ArrayLike, eta: ArrayLike) -> Floats:
    """Smallest <n> with which a source of this g2 equals coherent light.

    Parameters
    ----------
    g2
        Zero-delay correlation.
    eta
        Transmission, more than 0.

    Returns
    -------
    ndarray
        The boundary; 1/e at g2 = 0 whatever the loss; infinite where no <n> reaches it.
    """
    g2, eta = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (g2, eta)))
    square = eta**2 - 2 * g2 * eta * (1 + eta**2) / np.e
    none = square < 0
    root = np.sqrt(np.where(none, 0.0, square))
    return np.asarray(np.where(none, np.inf, 2 * (eta / np.e) / (eta + root)))


def maximum_g2(n: ArrayLike, eta: ArrayLike) -> Floats:
    """Largest g2 with which a source of this <n> equals coherent light, with pre-attenuation.

    Parameters
    ----------
    n
        Mean photon number, more than 0.
    eta
        Transmission.

    Returns
    -------
    ndarray
        The boundary; 0 where <n> is below 1/e: not even a perfect g2 then helps.
    """
    n, eta = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (n, eta)))
    used = np.minimum(n, 2 / np.e)
    return np.asarray(np.maximum(2 * eta * (used - 1 / np.e) / (used**2 * (1 + eta**2)), 0.0))
