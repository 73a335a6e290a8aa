"""Key of a single-photon source without decoy states: asymptotic and finite.

Multi-photon pulses are counted by their upper bound and given to the eavesdropper. Which of them
are counted into a basis is the accounting:

"alice"
    All multi-photon pulses that Alice prepares in the basis, whether or not Bob detects them in
    it. Needs no assumption on Bob's basis choice.
"joint"
    Those that Alice prepares and Bob detects in the basis. Needs Bob's choice to be independent
    of the signal: an active choice, or a passive one with squashing (random assignment of
    cross-basis clicks) and no way to steer the beam splitter.

The phase error comes from one of two proofs:

"eb"
    Efficient BB84 with four states: all errors of the test basis are charged to its
    non-multi-photon part.
"lt"
    Three states (H, V and one of the other basis), loss tolerant: events with mismatched bases
    stand in for the missing fourth state.

Both assume phase-randomised photon-number states, pulses independent of one another, the same
detection efficiency in both bases, and double clicks assigned at random.

References
----------
E. Waks, C. Santori, Y. Yamamoto, Phys. Rev. A 66, 042315 (2002),
https://doi.org/10.1103/PhysRevA.66.042315.
K. Tamaki et al., Phys. Rev. A 90, 052314 (2014), https://doi.org/10.1103/PhysRevA.90.052314.
C. L. Morrison et al., Nat. Commun. 14, 3573 (2023), https://doi.org/10.1038/s41467-023-39219-5.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bounds import (
    binary_entropy,
    expected_lower,
    expected_upper,
    observed_upper,
    sampling_deviation,
)
from .conditions import Conditions
from .optimise import Effort, Rows, maximise
from .photons import multiphoton_probability

Floats = NDArray[np.float64]
Phase = Literal["eb", "lt"]
Accounting = Literal["alice", "joint"]

# logit of Alice's Z probability, and log10 of the pre-attenuation
_LOWER = np.array([-4.0, -6.0])
_UPPER = np.array([14.0, 0.0])


@dataclass(frozen=True)
class SinglePhotonKey:
    """Key of one or many settings; all arrays of one shape.

    Attributes
    ----------
    rate
        Secret bits per sent pulse, 0 where there is no key.
    key_length
        Secret bits of the block; 0 in the asymptotic case, which has no block.
    pulses_sent
        Pulses of the block; 0 in the asymptotic case.
    sifted, sifted_nonmultiphoton
        Z-basis detections, and the least number that did not come from multi-photon pulses; per
        sent pulse in the asymptotic case.
    p_z, attenuation
        The settings.
    gain, qber, phase_error
        Detection probability per pulse, error rate of the key, bound on the phase-error rate.
    score
        Orders settings also where there is no key: `rate` where that is positive, else negative.
    """

    rate: Floats
    key_length: Floats
    pulses_sent: Floats
    sifted: Floats
    sifted_nonmultiphoton: Floats
    p_z: Floats
    attenuation: Floats
    gain: Floats
    qber: Floats
    phase_error: Floats
    score: Floats


def detection(n: ArrayLike, g2: ArrayLike, given: Conditions) -> tuple[Floats, Floats]:
    """Gain and error rate of a source that a threshold detector sees (F14, F15).

    Parameters
    ----------
    n, g2
        The source after any pre-attenuation.
    given
        Channel and receiver.

    Returns
    -------
    gain, qber
        Probability of a click per pulse, and of an error per click; 1/2 where nothing clicks.
    """
    n = np.asarray(n, dtype=np.float64)
    signal = given.eta * n - multiphoton_probability(n, g2) * given.eta**2
    gain = np.asarray(given.p_dark + (1 - given.p_dark) * signal)
    silent = gain <= 0
    clicks = np.where(silent, 1.0, gain)
    qber = (given.e_mis * (gain - given.p_dark) + given.p_dark / 2) / clicks
    return gain, np.asarray(np.where(silent, 0.5, qber))


def single_photon_key(
    n: ArrayLike,
    g2: ArrayLike,
    p_z: ArrayLike,
    attenuation: ArrayLike,
    given: Conditions,
    phase: Phase = "eb",
    accounting: Accounting = "alice",
) -> SinglePhotonKey:
    """Key of given settings, finite (F16-F21) or asymptotic.

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

    Returns
    -------
    SinglePhotonKey
        Arrays of the broadcast shape of all arguments.
    """
    p_z = np.asarray(p_z, dtype=np.float64)
    used = np.asarray(attenuation, dtype=np.float64) * np.asarray(n, dtype=np.float64)
    gain, qber = detection(used, g2, given)
    p2 = multiphoton_probability(used, g2)
    if given.block_kind == "asymptotic":
        return _asymptotic(p2, gain, qber, p_z, np.asarray(attenuation), given, phase, accounting)
    sent = given.pulses_sent(gain)
    p_z_bob = given.bob(p_z)
    p_x, p_x_bob = 1 - p_z, 1 - p_z_bob
    joint = accounting == "joint"
    eps = given.eps_bound(tail_bounds(phase, accounting))

    sifted = sent * p_z * p_z_bob * gain
    test = sent * p_x * p_x_bob * gain
    multi_test = observed_upper(sent * p_x * (p_x_bob if joint else 1.0) * p2, eps)
    good = sifted - observed_upper(sent * p_z * (p_z_bob if joint else 1.0) * p2, eps)
    good_test = test - multi_test
    # a basis of less than one good pulse tells nothing, however the ratios come out
    has_basis = (good >= 1) & (good_test >= 1)
    if phase == "eb":
        bound = qber * test / np.where(has_basis, good_test, 1.0)
    else:
        bound = _three_state_phase_error(
            gain, qber, p2, sent, p_z, p_x_bob, multi_test, eps, joint=joint
        )
    deviation = sampling_deviation(good, good_test, bound, eps, tail=given.rigorous)
    raw_phase = np.where(has_basis, bound + deviation, 1.0)
    phase_error = np.clip(raw_phase, 0.0, 0.5)
    constant = -2 * np.log2(2 * given.eps_pa) - np.log2(given.eps_cor) + 1
    length = (
        np.where(has_basis, good * (1 - binary_entropy(phase_error)), 0.0)
        - given.f_ec * binary_entropy(qber) * sifted
        - constant
    )
    key = has_basis & (raw_phase < 0.5) & (length > 0)
    sent_or_one = np.where(sent > 0, sent, 1.0)
    # without a key: how far the key fraction, the phase error and the bases are from one
    lack = np.minimum(length / (sifted + constant), 0.0) - np.clip(raw_phase - 0.5, 0.0, 1.0)
    lack += np.minimum(np.minimum(good / (sifted + 1), good_test / (test + 1)), 0.0).clip(-1e3)
    rate = np.where(key, length / sent_or_one, 0.0)
    return SinglePhotonKey(
        *np.broadcast_arrays(
            rate,
            np.where(key, length, 0.0),
            sent,
            sifted,
            good,
            p_z,
            np.asarray(attenuation, dtype=np.float64),
            gain,
            qber,
            phase_error,
            np.where(key, rate, np.minimum(lack, 0.0) - 1e-9),
        )
    )


def tail_bounds(phase: Phase, accounting: Accounting) -> int:
    """Count the tail bounds of a proof, among which a shared failure probability is divided.

    Efficient BB84: multi-photon pulses in Z and in X, and the sampling bound. Three states: these,
    four yields, and under "joint" the mismatched multi-photon pulses apart from the sifted ones.
    """
    if phase == "eb":
        return 3
    return 8 if accounting == "joint" else 7


def _three_state_phase_error(
    gain: Floats,
    qber: Floats,
    p2: Floats,
    sent: Floats,
    p_z: Floats,
    p_x_bob: Floats,
    multi_test: Floats,
    eps: Floats,
    *,
    joint: bool,
) -> Floats:
    """Phase-error rate of the loss-tolerant proof (F19), multi-photon bounds on the sums.

    In the other basis Bob's outcomes are R and L; Alice sends H, V (together Z) and R. Yields are
    per pulse that Alice sends in the state and Bob measures in the other basis.
    """
    sent_r, sent_z = sent * (1 - p_z) * p_x_bob, sent * p_z * p_x_bob
    some_r, some_z = np.where(sent_r > 0, sent_r, 1.0), np.where(sent_z > 0, sent_z, 1.0)
    left_of_r = expected_upper(qber * gain * sent_r, eps) / some_r
    right_of_r = expected_lower((1 - qber) * gain * sent_r, eps) / some_r
    right_of_z = expected_upper(gain / 2 * sent_z, eps) / some_z
    any_of_z = expected_lower(gain * sent_z, eps) / some_z
    multi_r = multi_test / some_r
    multi_z = observed_upper(sent * p_z * (p_x_bob if joint else 1.0) * p2, eps) / some_z
    single_z = 2 * (any_of_z - multi_z)
    valid = (single_z > 0) & (sent_r > 0)
    wrong = np.maximum(left_of_r + 2 * right_of_z - (right_of_r - multi_r), 0.0)
    return np.asarray(np.where(valid, wrong / np.where(valid, single_z, 1.0), 1.0))


def _asymptotic(
    p2: Floats,
    gain: Floats,
    qber: Floats,
    p_z: Floats,
    attenuation: Floats,
    given: Conditions,
    phase: Phase,
    accounting: Accounting,
) -> SinglePhotonKey:
    """Key per sent pulse of an endless block: the tail bounds become their expectations."""
    p_z_bob = given.bob(p_z)
    p_x_bob = 1 - p_z_bob
    if accounting == "joint":
        share_z = share_x = p2
    else:
        share_z = p2 / np.where(p_z_bob > 0, p_z_bob, 1.0)
        share_x = p2 / np.where(p_x_bob > 0, p_x_bob, 1.0)
        share_x = np.where((p_x_bob > 0) | (p2 == 0), share_x, np.inf)
    clicks = np.where(gain > 0, gain, 1.0)
    in_z, in_x = share_z / clicks, share_x / clicks
    has_basis = (gain > 0) & (in_z < 1) & (in_x < 1)
    multi = np.where(has_basis, in_x, 0.0)
    errors = qber if phase == "eb" else qber + multi / 2
    bound = errors / (1 - multi)
    raw_phase = np.where(has_basis, bound, 1.0)
    phase_error = np.clip(raw_phase, 0.0, 0.5)
    sifted = p_z * p_z_bob * gain
    good = sifted - p_z * p_z_bob * share_z
    balance = (
        np.where(has_basis, good * (1 - binary_entropy(phase_error)), 0.0)
        - given.f_ec * binary_entropy(qber) * sifted
    )
    key = has_basis & (raw_phase < 0.5) & (balance > 0)
    rate = np.where(key, balance, 0.0)
    per_click = balance / np.where(sifted > 0, sifted, 1.0)
    worst = np.clip(np.maximum(in_z, in_x) - 1, 0.0, 1e3)
    lack = np.minimum(per_click, 0.0) - np.clip(raw_phase - 0.5, 0.0, 1.0) - worst
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
            gain,
            qber,
            phase_error,
            np.where(key, rate, lack - 1e-9),
        )
    )


def best_single_photon_key(
    n: ArrayLike,
    g2: ArrayLike,
    given: Conditions,
    phase: Phase = "eb",
    accounting: Accounting = "alice",
    p_z: float | None = None,
    attenuation: float | None = None,
    effort: Effort | None = None,
) -> SinglePhotonKey:
    """Key at the best basis ratio and pre-attenuation, of each point by itself.

    Parameters
    ----------
    n, g2
        The source, any shape that broadcasts with `given`.
    given
        Channel, receiver, block and security.
    phase, accounting
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
    flat = given.flat()
    lower, upper = _LOWER.copy(), _UPPER.copy()
    endless_test = given.block_kind == "asymptotic" and not given.active
    if p_z is not None or endless_test:
        lower[0] = upper[0] = 0.0
    if attenuation is not None:
        lower[1] = upper[1] = 0.0

    def settings(x: Floats) -> tuple[Floats, Floats]:
        z = 1 / (1 + np.exp(-x[..., 0]))
        a = 10.0 ** x[..., 1]
        if p_z is not None:
            z = np.full_like(z, p_z)
        elif endless_test:
            z = np.ones_like(z)
        return z, np.full_like(a, attenuation) if attenuation is not None else a

    def score(x: Floats, rows: Rows) -> Floats:
        z, a = settings(x)
        part = flat.part(rows)
        return single_photon_key(n_flat[rows], g2_flat[rows], z, a, part, phase, accounting).score

    start = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, -0.5]]).clip(lower, upper)
    best = maximise(score, points, lower, upper, effort or Effort(), known=start)
    z, a = settings(best[:, None, :])
    key = single_photon_key(n_flat, g2_flat, z, a, flat, phase, accounting)
    return SinglePhotonKey(
        *(getattr(key, name).reshape(shape) for name in (f.name for f in fields(key)))
    )
