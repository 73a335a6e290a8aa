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
    stand in for the missing fourth state. The multi-photon bound is on the sum of their yields;
    "lt-each" takes it for each of the three by itself, which is looser.

All assume phase-randomised photon-number states, pulses independent of one another, the same
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
SinglePhotonPhase = Phase | Literal["lt-each"]
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
    qber, phase_error
        Error rate of the key, bound on its phase-error rate.
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
    qber: Floats
    phase_error: Floats
    score: Floats


@dataclass(frozen=True)
class BasisCounts:
    """What a block holds, expected or observed.

    Attributes
    ----------
    sifted, sifted_errors
        Alice and Bob in the key basis Z.
    test, test_errors
        Both in the other basis.
    crossed, crossed_right
        Alice in Z, Bob in the other basis; those of the outcome that Alice also sends. Used by
        three states only; zeros elsewhere.
    """

    sifted: Floats
    sifted_errors: Floats
    test: Floats
    test_errors: Floats
    crossed: Floats
    crossed_right: Floats


def detection(n: ArrayLike, g2: ArrayLike, given: Conditions) -> tuple[Floats, Floats]:
    """Gain and error rate of a source at threshold detectors.

    The gain is 1 - (1 - p_dark)(1 - n eta + g2 n^2 eta^2 / 2); photons err with probability
    e_mis, dark counts with 1/2.

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
    gain, qber = detection(used, g2, given)
    p2 = multiphoton_probability(used, g2) + attenuation**2 * np.asarray(p2_margin)
    if given.block_kind == "asymptotic":
        return _asymptotic(p2, gain, qber, p_z, attenuation, given, phase, accounting)
    sent = given.pulses_sent(gain)
    p_z_bob = given.bob(p_z)
    sifted = sent * p_z * p_z_bob * gain
    test = sent * (1 - p_z) * (1 - p_z_bob) * gain
    crossed = sent * p_z * (1 - p_z_bob) * gain
    counts = BasisCounts(sifted, qber * sifted, test, qber * test, crossed, crossed / 2)
    return key_from_counts(counts, sent, p2, p_z, attenuation, given, phase, accounting)


def key_from_counts(
    counts: BasisCounts,
    sent: Floats,
    p2: Floats,
    p_z: Floats,
    attenuation: Floats,
    given: Conditions,
    phase: SinglePhotonPhase = "eb",
    accounting: Accounting = "alice",
) -> SinglePhotonKey:
    """Key of a block of counts, expected or observed.

    The length is N (1 - h(phase error)) - f h(QBER) N_Z - 2 log2(1/(2 eps_pa)) - log2(2/eps_cor)
    with N the sifted bits that did not come from multi-photon pulses.

    Parameters
    ----------
    counts
        Of the block.
    sent
        Pulses sent.
    p2
        Upper limit of the probability that a sent pulse holds more than one photon.
    p_z, attenuation
        What Alice set; the attenuation is already in `p2`.
    given
        Bob's basis choice and the security constants; the link's other constants are not used:
        the counts hold them.
    phase, accounting
        The proof and what it counts.
    """
    p_z_bob = given.bob(p_z)
    p_x, p_x_bob = 1 - p_z, 1 - p_z_bob
    joint = accounting == "joint"
    eps = given.eps_bound(tail_bounds(phase, accounting))
    multi = observed_upper(sent * p_z * (p_z_bob if joint else 1.0) * p2, eps)
    multi_test = observed_upper(sent * p_x * (p_x_bob if joint else 1.0) * p2, eps)
    good, good_test = counts.sifted - multi, counts.test - multi_test
    # a basis of less than one good pulse tells nothing, however the ratios come out
    has_basis = (good >= 1) & (good_test >= 1)
    if phase == "eb":
        bound = counts.test_errors / np.where(has_basis, good_test, 1.0)
    else:
        multi_crossed = observed_upper(sent * p_z * (p_x_bob if joint else 1.0) * p2, eps)
        in_x, in_z = sent * p_x * p_x_bob, sent * p_z * p_x_bob
        each = 3 if phase == "lt-each" else 1
        bound = _three_state_phase_error(counts, in_x, in_z, multi_test, each * multi_crossed, eps)
    deviation = sampling_deviation(good, good_test, bound, eps, tail=given.rigorous)
    raw_phase = np.where(has_basis, bound + deviation, 1.0)
    phase_error = np.clip(raw_phase, 0.0, 0.5)
    some = counts.sifted > 0
    qber = np.where(some, counts.sifted_errors / np.where(some, counts.sifted, 1.0), 0.5)
    constant = -2 * np.log2(2 * given.eps_pa) - np.log2(given.eps_cor) + 1
    length = (
        np.where(has_basis, good * (1 - binary_entropy(phase_error)), 0.0)
        - given.f_ec * binary_entropy(qber) * counts.sifted
        - constant
    )
    key = has_basis & (raw_phase < 0.5) & (length > 0)
    rate = np.where(key, length / np.where(sent > 0, sent, 1.0), 0.0)
    # without a key: how far the key fraction, the phase error and the bases are from one
    lack = np.minimum(length / (counts.sifted + constant), 0.0)
    lack -= np.clip(raw_phase - 0.5, 0.0, 1.0)
    emptiest = np.minimum(good / (counts.sifted + 1), good_test / (counts.test + 1))
    lack += np.clip(emptiest, -1e3, 0.0)
    return SinglePhotonKey(
        *np.broadcast_arrays(
            rate,
            np.where(key, length, 0.0),
            sent,
            counts.sifted,
            good,
            p_z,
            attenuation,
            qber,
            phase_error,
            np.where(key, rate, lack - 1e-9),
        )
    )


def tail_bounds(phase: SinglePhotonPhase, accounting: Accounting) -> int:
    """Count the tail bounds of a proof, among which a shared failure probability is divided.

    Efficient BB84: multi-photon pulses in Z and in X, and the sampling bound. Three states: these,
    four yields, and under "joint" the mismatched multi-photon pulses apart from the sifted ones.
    """
    if phase == "eb":
        return 3
    return 8 if accounting == "joint" else 7


def _three_state_phase_error(
    counts: BasisCounts,
    in_x: Floats,
    in_z: Floats,
    multi_test: Floats,
    multi_crossed: Floats,
    eps: Floats,
) -> Floats:
    """Phase-error rate of the loss-tolerant proof, multi-photon bounds on the sums of yields.

    In the other basis Bob's outcomes are R and L; Alice sends H, V (together Z) and R. Yields are
    per pulse that Alice sends in the state and Bob measures in the other basis, of which there are
    `in_x` and `in_z`. The result is [y(L|R) + 2 y(R|Z) - y(R|R)] / [2 y(any|Z)].
    """
    some_x, some_z = np.where(in_x > 0, in_x, 1.0), np.where(in_z > 0, in_z, 1.0)
    left_of_r = expected_upper(counts.test_errors, eps) / some_x
    right_of_r = expected_lower(counts.test - counts.test_errors, eps) / some_x
    right_of_z = expected_upper(counts.crossed_right, eps) / some_z
    any_of_z = expected_lower(counts.crossed, eps) / some_z
    single_z = 2 * (any_of_z - multi_crossed / some_z)
    valid = (single_z > 0) & (in_x > 0)
    wrong = np.maximum(left_of_r + 2 * right_of_z - (right_of_r - multi_test / some_x), 0.0)
    return np.asarray(np.where(valid, wrong / np.where(valid, single_z, 1.0), 1.0))


def _asymptotic(
    p2: Floats,
    gain: Floats,
    qber: Floats,
    p_z: Floats,
    attenuation: Floats,
    given: Conditions,
    phase: SinglePhotonPhase,
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
    if phase == "eb":
        bound = qber / (1 - multi)
    else:
        mismatched = np.minimum((3 if phase == "lt-each" else 1) * multi, 1 - 1e-12)
        bound = (qber + multi / 2) / (1 - mismatched)
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
            qber,
            phase_error,
            np.where(key, rate, lack - 1e-9),
        )
    )


def best_single_photon_key(
    n: ArrayLike,
    g2: ArrayLike,
    given: Conditions,
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
    lower, upper = _LOWER.copy(), _UPPER.copy()
    endless_test = given.block_kind == "asymptotic" and (not given.active or accounting == "joint")
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
