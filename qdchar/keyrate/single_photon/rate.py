"""Key of a single-photon source without decoy states on a link: asymptotic, finite, and optimum.

What is counted, and what the proofs assume: `qdchar.keyrate.single_photon.finite_key`.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..link_parameters import LinkParameters
from ..optimise import Effort, Rows, maximise
from ..photon_statistics import multiphoton_probability
from ..receiver import Clicks, live_shares, receive
from ..tail_bounds import binary_entropy
from .finite_key import (
    Accounting,
    BasisCounts,
    SinglePhotonKey,
    SinglePhotonPhase,
    key_from_counts,
)

Floats = NDArray[np.float64]

# logit of Alice's Z probability, and log10 of the pre-attenuation
SEARCH_LOWER = np.array([-4.0, -6.0])
SEARCH_UPPER = np.array([14.0, 0.0])


def detection(n: ArrayLike, g2: ArrayLike, p_z_bob: ArrayLike, given: LinkParameters) -> Clicks:
    """Clicks per pulse of a source in each basis, dark counts and dead time included.

    The probability of a click from light is 1 - (1 - p_background)(1 - n eta + g2 n^2 eta^2 / 2);
    photons err with probability e_mis, background light and dark counts with 1/2.

    Parameters
    ----------
    n, g2
        The source after any pre-attenuation.
    p_z_bob
        Bob's Z probability.
    given
        Channel and receiver.
    """
    n = np.asarray(n, dtype=np.float64)
    signal = given.eta * n - multiphoton_probability(n, g2) * given.eta**2
    photons = (1 - given.p_background) * signal
    light = given.p_background + photons
    clicks = receive(light, given.e_mis * photons + given.p_background / 2, given)
    return clicks.times(live_shares(clicks, np.asarray(p_z_bob), given))


def error_rate(clicks: Floats, wrong: Floats) -> Floats:
    """Errors per click; 1/2 where nothing clicks."""
    silent = clicks <= 0
    return np.asarray(np.where(silent, 0.5, wrong / np.where(silent, 1.0, clicks)))


def single_photon_key(
    n: ArrayLike,
    g2: ArrayLike,
    p_z: ArrayLike,
    attenuation: ArrayLike,
    given: LinkParameters,
    phase: SinglePhotonPhase = "eb",
    accounting: Accounting = "alice",
    p2_margin: ArrayLike = 0.0,
) -> SinglePhotonKey:
    """Key of given settings, finite or asymptotic, from the counts expected on a link.

    Parameters
    ----------
    n, g2
        The source at the transmitter's output before pre-attenuation; g2 does not change with
        loss.
    p_z
        Alice's Z probability, 0 to 1. The asymptotic key behind a passive receiver takes every
        p_z as given, and is largest at 1: the test basis then costs nothing.
    attenuation
        Pre-attenuation, a transmission of 0 to 1.
    given
        Channel, receiver, block and security.
    phase, accounting
        The proof and what it counts, see the module's text.
    p2_margin
        Added to g2 n^2 / 2, before attenuation, where multi-photon pulses are given up: what the
        source's uncertainty adds to an upper limit. The expected counts do not change.

    Returns
    -------
    SinglePhotonKey
        Arrays of the broadcast shape of all arguments.
    """
    p_z = np.asarray(p_z, dtype=np.float64)
    attenuation = np.asarray(attenuation, dtype=np.float64)
    used = attenuation * np.asarray(n, dtype=np.float64)
    p_z_bob = given.bob(p_z)
    clicks = detection(used, g2, p_z_bob, given)
    p2 = multiphoton_probability(used, g2) + attenuation**2 * np.asarray(p2_margin)
    if given.block_kind == "asymptotic":
        return _asymptotic(p2, clicks, p_z, attenuation, given, phase, accounting)
    sent = given.pulses_sent(clicks.total(p_z_bob))
    counts = expected_counts(clicks, sent, p_z, p_z_bob)
    return key_from_counts(counts, sent, p2, p_z, attenuation, given, phase, accounting)


def expected_counts(clicks: Clicks, sent: Floats, p_z: Floats, p_z_bob: Floats) -> BasisCounts:
    """Return the counts that are expected of some pulses.

    Parameters
    ----------
    clicks
        Per pulse.
    sent
        Pulses.
    p_z, p_z_bob
        Z probabilities of Alice and of Bob.
    """
    in_z, in_x = sent * p_z * p_z_bob, sent * (1 - p_z_bob)
    test, crossed = in_x * (1 - p_z), in_x * p_z * clicks.x
    return BasisCounts(
        in_z * clicks.z,
        in_z * clicks.wrong_z,
        test * clicks.x,
        test * clicks.wrong_x,
        crossed,
        crossed / 2,
    )


def _asymptotic(
    p2: Floats,
    clicks: Clicks,
    p_z: Floats,
    attenuation: Floats,
    given: LinkParameters,
    phase: SinglePhotonPhase,
    accounting: Accounting,
) -> SinglePhotonKey:
    """Key per sent pulse of an infinitely long block: the tail bounds become their expectations."""
    p_z_bob = given.bob(p_z)
    p_x_bob = 1 - p_z_bob
    if accounting == "joint":
        share_z = share_x = p2
    else:
        share_z = p2 / np.where(p_z_bob > 0, p_z_bob, 1.0)
        share_x = p2 / np.where(p_x_bob > 0, p_x_bob, 1.0)
        share_x = np.where((p_x_bob > 0) | (p2 == 0), share_x, np.inf)
    some = (clicks.z > 0) & (clicks.x > 0)
    in_z = share_z / np.where(some, clicks.z, 1.0)
    in_x = share_x / np.where(some, clicks.x, 1.0)
    has_basis = some & (in_z < 1) & (in_x < 1)
    multi = np.where(has_basis, in_x, 0.0)
    qber, error_x = error_rate(clicks.z, clicks.wrong_z), error_rate(clicks.x, clicks.wrong_x)
    if phase == "eb":
        bound = error_x / (1 - multi)
    else:
        mismatched = np.minimum((3 if phase == "lt-each" else 1) * multi, 1 - 1e-12)
        bound = (error_x + multi / 2) / (1 - mismatched)
    raw_phase = np.where(has_basis, bound, 1.0)
    phase_error = np.clip(raw_phase, 0.0, 0.5)
    sifted = p_z * p_z_bob * clicks.z
    good = sifted - p_z * p_z_bob * share_z
    balance = (
        np.where(has_basis, good * (1 - binary_entropy(phase_error)), 0.0)
        - given.f_ec * binary_entropy(qber) * sifted
    )
    key = has_basis & (raw_phase < 0.5) & (balance > 0)
    rate = np.where(key, balance, 0.0)
    per_click = balance / np.where(sifted > 0, sifted, 1.0)
    worst = np.clip(np.maximum(in_z, in_x) - 1, 0.0, 1e3)
    shortfall = np.minimum(per_click, 0.0) - np.clip(raw_phase - 0.5, 0.0, 1.0) - worst
    nothing = np.zeros_like(rate)
    return SinglePhotonKey(
        *np.broadcast_arrays(
            rate,
            nothing,
            nothing,
            sifted,
            good,
            p_z,
            attenuation,
            qber,
            phase_error,
            np.where(key, rate, shortfall - 1e-9),
        )
    )


def best_single_photon_key(
    n: ArrayLike,
    g2: ArrayLike,
    given: LinkParameters,
    phase: SinglePhotonPhase = "eb",
    accounting: Accounting = "alice",
    p_z: float | None = None,
    attenuation: float | None = None,
    p2_margin: ArrayLike = 0.0,
    effort: Effort | None = None,
) -> SinglePhotonKey:
    """Key at the best basis ratio and pre-attenuation, of each point by itself.

    Parameters
    ----------
    n, g2
        The source, any shape that broadcasts with `given`.
    given
        Channel, receiver, block and security.
    phase, accounting, p2_margin
        As in `single_photon_key`.
    p_z, attenuation
        Hold these instead of optimising them.
    effort
        How hard to search.

    Returns
    -------
    SinglePhotonKey
        Arrays of the common shape.
    """
    shape = np.broadcast_shapes(np.shape(n), np.shape(g2), given.shape)
    points = int(np.prod(shape))
    n_flat = np.broadcast_to(np.asarray(n, dtype=np.float64), shape).reshape(-1, 1)
    g2_flat = np.broadcast_to(np.asarray(g2, dtype=np.float64), shape).reshape(-1, 1)
    margin = np.broadcast_to(np.asarray(p2_margin, dtype=np.float64), shape).reshape(-1, 1)
    flat = given.flat()
    lower, upper = SEARCH_LOWER.copy(), SEARCH_UPPER.copy()
    test_is_free = given.block_kind == "asymptotic" and (not given.active or accounting == "joint")
    if p_z is not None or test_is_free:
        lower[0] = upper[0] = 0.0
    if attenuation is not None:
        lower[1] = upper[1] = 0.0

    def settings(x: Floats) -> tuple[Floats, Floats]:
        z = 1 / (1 + np.exp(-x[..., 0]))
        a = 10.0 ** x[..., 1]
        if p_z is not None:
            z = np.full_like(z, p_z)
        elif test_is_free:
            z = np.ones_like(z)
        return z, np.full_like(a, attenuation) if attenuation is not None else a

    def score(x: Floats, rows: Rows) -> Floats:
        z, a = settings(x)
        part = flat.part(rows)
        return single_photon_key(
            n_flat[rows], g2_flat[rows], z, a, part, phase, accounting, margin[rows]
        ).score

    start = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, -0.5]]).clip(lower, upper)
    best = maximise(score, points, lower, upper, effort or Effort(), known=start)
    z, a = settings(best[:, None, :])
    key = single_photon_key(n_flat, g2_flat, z, a, flat, phase, accounting, margin)
    return SinglePhotonKey(
        *(getattr(key, name).reshape(shape) for name in (f.name for f in fields(key)))
    )
