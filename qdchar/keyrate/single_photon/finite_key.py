"""Key of single photons without decoy states, from the counts of a block.

Multi-photon pulses are counted by their upper bound and given to the eavesdropper. Which of them
are counted into a basis is the accounting:

"alice"
    All multi-photon pulses that Alice prepares in the basis, whether or not Bob detects them in
    it. The literature's more conservative convention, not a proof with fewer assumptions.
"joint"
    Those that Alice prepares in the basis and for which Bob chooses it. Argued to be sound where
    his choice is independent of the signal for every pulse, undetected ones included.

Both need Bob's basis choice to be independent of the signal for every pulse, because the phase
error of the key basis is sampled in the other basis. An eavesdropper who measures in a random
basis and steers a passive receiver into the same one (by a splitting ratio that depends on the
wavelength) causes errors in neither basis. An active choice by Bob's own random numbers is
independent; a passive one is if nothing in the signal can steer the beam splitter. Two photons of a
pulse change the shares of the bases behind it, so that "joint" with a passive receiver also assumes
that at most one reaches it.

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

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..link_parameters import LinkParameters
from ..tail_bounds import (
    binary_entropy,
    expected_lower,
    expected_upper,
    observed_upper,
    sampling_deviation,
)

Floats = NDArray[np.float64]
Phase = Literal["eb", "lt"]
SinglePhotonPhase = Phase | Literal["lt-each"]
Accounting = Literal["alice", "joint"]


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


def key_from_counts(
    counts: BasisCounts,
    sent: Floats,
    p2: Floats,
    p_z: Floats,
    attenuation: Floats,
    given: LinkParameters,
    phase: SinglePhotonPhase = "eb",
    accounting: Accounting = "alice",
    leaked_bits: float | None = None,
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
    leaked_bits
        Bits that error correction disclosed; None for f h(QBER) N_Z.
    """
    p_z_bob = given.bob(p_z)
    p_x, p_x_bob = 1 - p_z, 1 - p_z_bob
    joint = accounting == "joint"
    eps = given.eps_bound(number_of_tail_bounds(phase, accounting))
    multi = observed_upper(sent * p_z * (p_z_bob if joint else 1.0) * p2, eps)
    multi_test = observed_upper(sent * p_x * (p_x_bob if joint else 1.0) * p2, eps)
    good, good_test = counts.sifted - multi, counts.test - multi_test
    # with less than one such pulse in a basis there is no bound, whatever the ratios are
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
        - (
            given.f_ec * binary_entropy(qber) * counts.sifted
            if leaked_bits is None
            else leaked_bits
        )
        - constant
    )
    key = has_basis & (raw_phase < 0.5) & (length > 0)
    rate = np.where(key, length / np.where(sent > 0, sent, 1.0), 0.0)
    # where there is no key: by how much key fraction, phase error and samples miss it
    shortfall = np.minimum(length / (counts.sifted + constant), 0.0)
    shortfall -= np.clip(raw_phase - 0.5, 0.0, 1.0)
    emptiest = np.minimum(good / (counts.sifted + 1), good_test / (counts.test + 1))
    shortfall += np.clip(emptiest, -1e3, 0.0)
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
            np.where(key, rate, shortfall - 1e-9),
        )
    )


def number_of_tail_bounds(phase: SinglePhotonPhase, accounting: Accounting) -> int:
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
