"""Key of phase-randomised coherent light with infinitely many decoy states (asymptotic).

With infinite decoy states the yield and error rate of single photons are known exactly, so this
is what a laser gives at its best on the same link; finite decoy protocols stay below.

References
----------
H.-K. Lo, X. Ma, K. Chen, Phys. Rev. Lett. 94, 230504 (2005),
https://doi.org/10.1103/PhysRevLett.94.230504.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..link_parameters import LinkParameters
from ..optimise import Effort, Rows, maximise
from ..receiver import live_shares, receive
from ..tail_bounds import binary_entropy

Floats = NDArray[np.float64]


def yield_and_error(photons: ArrayLike, given: LinkParameters) -> tuple[Floats, Floats]:
    """Click probability of an n-photon pulse from light, and that of a wrong click.

    Parameters
    ----------
    photons
        Photon number, any shape that broadcasts with `given`.

    Returns
    -------
    clicks, errors
        Before the receiver's dark counts and dead time, see `qdchar.keyrate.receiver`.
    """
    number = np.asarray(photons, dtype=np.float64)
    clicks = 1 - (1 - given.p_background) * (1 - given.eta) ** number
    errors = given.e_mis * (clicks - given.p_background) + given.p_background / 2
    return np.asarray(clicks), np.asarray(errors)


def coherent_gain(mean: ArrayLike, given: LinkParameters) -> tuple[Floats, Floats]:
    """Click probability of a coherent pulse from light, and that of a wrong click.

    The first is 1 - (1 - p_background) exp(-mean eta); dark counts and dead time come after it, see
    `qdchar.keyrate.receiver`.

    Parameters
    ----------
    mean
        Mean photon number of the pulse at the channel's input.
    """
    transmitted = given.eta * np.asarray(mean, dtype=np.float64)
    gain = given.p_background - (1 - given.p_background) * np.expm1(-transmitted)
    wrong = given.e_mis * (gain - given.p_background) + given.p_background / 2
    return np.asarray(gain), np.asarray(wrong)


def infinite_decoy_rate(mean: ArrayLike, given: LinkParameters) -> Floats:
    """Secret bits per sent pulse with infinite decoy states at a given mean.

    R = pB {e^-m Y0 + m e^-m Y1 [1 - h(e1)] - f Q h(E)} at mean m, where e1 is that of basis X and
    all else that of Z.

    Alice sends the key basis and the signal mean almost always; behind an active receiver Bob
    measures in the key basis almost always, behind a passive one with his splitter's share.
    """
    mean = np.asarray(mean, dtype=np.float64)
    return np.maximum(_infinite_decoy_balance(mean, given), 0.0)


def _infinite_decoy_balance(mean: Floats, given: LinkParameters) -> Floats:
    p_z_bob = np.asarray(1.0) if given.active else given.p_z_bob
    clicks = receive(*coherent_gain(mean, given), given)
    live_z, _ = live_shares(clicks, p_z_bob, given)
    none, one = (receive(*yield_and_error(k, given), given) for k in (0.0, 1.0))
    some = np.where(one.x > 0, one.x, 1.0)
    phase_error = np.where(one.x > 0, one.wrong_x / some, 0.5)
    gain = clicks.z
    qber = np.where(gain > 0, clicks.wrong_z / np.where(gain > 0, gain, 1.0), 0.5)
    secret = none.z + mean * one.z * (1 - binary_entropy(phase_error))
    leak = given.f_ec * gain * binary_entropy(qber)
    return np.asarray(p_z_bob * live_z * (np.exp(-mean) * secret - leak))


def best_infinite_decoy(
    given: LinkParameters, effort: Effort | None = None
) -> tuple[Floats, Floats]:
    """Secret bits per sent pulse with infinite decoy states at the best mean.

    Returns
    -------
    rate, mean
        Arrays of the link parameters' shape.
    """
    shape = given.shape
    flat = given.flat()

    def score(x: Floats, rows: Rows) -> Floats:
        part = flat.part(rows)
        mean = 10 ** x[..., 0]
        # relative to the loss, so that the climb is the same at every loss
        return _infinite_decoy_balance(mean, part) / (
            part.eta + part.p_dark + part.p_background + 1e-300
        )

    best = maximise(
        score,
        int(np.prod(shape)),
        np.array([-6.0]),
        np.array([0.5]),
        effort or Effort(samples=64, starts=1),
    )
    mean = 10**best
    rate = np.maximum(_infinite_decoy_balance(mean, flat), 0.0)
    return rate.reshape(shape), mean.reshape(shape)
