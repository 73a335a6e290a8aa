"""Key of a block from its counts per decoy setting, whatever the light source.

The key comes from all settings. "eb" is efficient BB84 with four states, "lt" the three-state
loss-tolerant protocol; see `qdchar.keyrate.single_photon.finite_key` for the two. What is known of
the photon numbers comes from a `DecoyBounds`: coherent light with decoy intensities, or single
photons behind a switched attenuator.

The published proofs take bounds on expectations for bounds on the block's own numbers; under
``security = "rigorous"`` the step between the two is made as well, which costs 3 % of the
rate at 1e8 pulses.

References
----------
C. C. W. Lim et al., Phys. Rev. A 89, 022307 (2014), https://doi.org/10.1103/PhysRevA.89.022307,
eq. 1. F. Xu et al., Phys. Rev. A 92, 032305 (2015), https://doi.org/10.1103/PhysRevA.92.032305.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..link_parameters import LinkParameters
from ..receiver import Clicks, live_shares, receive
from ..single_photon.finite_key import Phase
from ..tail_bounds import binary_entropy, observed_lower, observed_upper, sampling_deviation

Floats = NDArray[np.float64]


class DecoyBounds(Protocol):
    """What counts per setting, shape (settings, ...), say about the photon numbers behind them.

    `prepared` is the number of pulses that Alice sent in the counts' basis.
    """

    @property
    def eps(self) -> Floats:
        """Failure probability of each elementary bound."""

    def vacuum_upper(self, counts: Floats, errors: Floats) -> Floats | None:
        """Largest number of vacuum events; None where `lower` needs none."""

    def lower(
        self, counts: Floats, prepared: Floats, vacuum_max: Floats | None
    ) -> tuple[Floats, Floats]:
        """Least numbers of vacuum and of single-photon events."""

    def single_upper(self, counts: Floats, prepared: Floats) -> Floats:
        """Largest number of single-photon events."""


@dataclass(frozen=True)
class DecoyCounts:
    """What a block holds, per intensity; arrays of shape (settings, ...), strongest first.

    Attributes
    ----------
    sifted, sifted_errors
        Alice and Bob in the key basis Z.
    test, test_errors
        Both in the other basis.
    crossed, crossed_right
        Alice in Z, Bob in the other basis; those of Bob's outcome that Alice also sends. Used by
        three states only; zeros elsewhere.
    """

    sifted: Floats
    sifted_errors: Floats
    test: Floats
    test_errors: Floats
    crossed: Floats
    crossed_right: Floats


@dataclass(frozen=True)
class DecoyKey:
    """Key of one or many settings; all arrays of one shape.

    Attributes
    ----------
    rate
        Secret bits per sent pulse, 0 where there is no key.
    key_length, pulses_sent
        Of the block.
    vacuum, single
        Least vacuum and single-photon events in the sifted key.
    qber, phase_error
        Error rate of the key, bound on its single photons' phase-error rate.
    score
        Orders settings also where there is no key: `rate` where that is positive, else negative.
    """

    rate: Floats
    key_length: Floats
    pulses_sent: Floats
    vacuum: Floats
    single: Floats
    qber: Floats
    phase_error: Floats
    score: Floats


def counts_per_setting(
    light: Floats, wrong: Floats, share: Floats, p_z: Floats, given: LinkParameters
) -> tuple[DecoyCounts, Floats]:
    """Return the counts of a block as expected on a link, and the number of pulses sent.

    Parameters
    ----------
    light, wrong
        Click probability of each setting from light, and that of a wrong click, shape
        (settings, ...).
    share
        Probability of each setting, same shape.
    p_z
        Alice's Z probability.
    given
        Receiver and block.
    """
    p_z_bob = given.bob(p_z)
    lit = receive(light, wrong, given)
    each = Clicks(share * lit.z, share * lit.x, share * lit.wrong_z, share * lit.wrong_x)
    mean = Clicks(each.z.sum(axis=0), each.x.sum(axis=0), each.wrong_z, each.wrong_x)
    live_z, live_x = live_shares(mean, p_z_bob, given)
    sent = given.pulses_sent(p_z_bob * live_z * mean.z + (1 - p_z_bob) * live_x * mean.x)
    key = sent * p_z * p_z_bob * live_z
    in_x = sent * (1 - p_z_bob) * live_x
    test, crossed = (1 - p_z) * in_x, p_z * in_x * each.x
    return (
        DecoyCounts(
            key * each.z,
            key * each.wrong_z,
            test * each.x,
            test * each.wrong_x,
            crossed,
            crossed / 2,
        ),
        sent,
    )


def decoy_key(
    counts: DecoyCounts,
    sent: Floats,
    p_z: Floats,
    bounds: DecoyBounds,
    given: LinkParameters,
    phase: Phase = "eb",
    leaked_bits: float | None = None,
) -> DecoyKey:
    """Key of a block of counts, expected or observed.

    The length is s0 + s1 (1 - h(phase error)) less error correction, 6 log2(1/eps_pa) for privacy
    amplification and log2(2/eps_cor) for verification.

    Parameters
    ----------
    counts
        Of the block.
    sent
        Pulses sent.
    p_z
        Alice's Z probability.
    bounds
        What the counts say about photon numbers.
    given
        Security constants; the link's other constants are not used: the counts hold them.
    phase
        The proof.
    leaked_bits
        Bits that error correction disclosed; None for f h(QBER) N_Z.
    """
    vacuum_max_key = bounds.vacuum_upper(counts.sifted, counts.sifted_errors)
    vacuum_max_test = bounds.vacuum_upper(counts.test, counts.test_errors)
    in_z, in_x = sent * p_z, sent * (1 - p_z)
    vacuum, single = bounds.lower(counts.sifted, in_z, vacuum_max_key)
    if phase == "eb":
        _, sample = bounds.lower(counts.test, in_x, vacuum_max_test)
        wrong = bounds.single_upper(counts.test_errors, in_x)
        rate_x = wrong / np.where(sample >= 1, sample, 1.0)
    else:
        rate_x, sample = _three_states(counts, vacuum_max_test, in_z, in_x, bounds)
    if given.rigorous:
        # the bounds are on expectations; the block holds somewhat fewer good events, more bad ones
        vacuum, single = (observed_lower(x, bounds.eps) for x in (vacuum, single))
        rate_x = observed_upper(rate_x * sample, bounds.eps) / np.where(sample >= 1, sample, 1.0)
        sample = observed_lower(sample, bounds.eps)
    has_basis = (single >= 1) & (sample >= 1)
    deviation = sampling_deviation(single, sample, rate_x, bounds.eps, tail=given.rigorous)
    raw_phase = np.where(has_basis, rate_x + deviation, 1.0)
    phase_error = np.clip(raw_phase, 0.0, 0.5)
    sifted = counts.sifted.sum(axis=0)
    some = np.where(sifted > 0, sifted, 1.0)
    qber = np.where(sifted > 0, counts.sifted_errors.sum(axis=0) / some, 0.5)
    constant = -6 * np.log2(given.eps_pa) - np.log2(given.eps_cor) + 1
    length = (
        vacuum
        + np.where(has_basis, single * (1 - binary_entropy(phase_error)), 0.0)
        - (given.f_ec * binary_entropy(qber) * sifted if leaked_bits is None else leaked_bits)
        - constant
    )
    key = has_basis & (raw_phase < 0.5) & (length > 0)
    rate = np.where(key, length / np.where(sent > 0, sent, 1.0), 0.0)
    shortfall = np.minimum(length / (sifted + constant), 0.0) - np.clip(raw_phase - 0.5, 0.0, 1.0)
    return DecoyKey(
        *np.broadcast_arrays(
            rate,
            np.where(key, length, 0.0),
            sent,
            vacuum,
            single,
            qber,
            phase_error,
            np.where(key, rate, shortfall - 1e-9),
        )
    )


def _three_states(
    counts: DecoyCounts,
    vacuum_max_test: Floats | None,
    in_z: Floats,
    in_x: Floats,
    bounds: DecoyBounds,
) -> tuple[Floats, Floats]:
    """Phase-error rate of the single photons with three states, and the size of its sample.

    Numbers of events with Alice in Z count per pulse of Alice's other state by the ratio of how
    often she sends the two. Vacuum carries no state, so that the test events bound it everywhere.
    """
    per_z = in_x / np.where(in_z > 0, in_z, 1.0)
    vacuum_max_right = None if vacuum_max_test is None else vacuum_max_test / 2
    vacuum_max_crossed = (
        None if vacuum_max_test is None else vacuum_max_test / np.where(per_z > 0, per_z, 1.0)
    )
    left = bounds.single_upper(counts.test_errors, in_x)
    _, right = bounds.lower(counts.test - counts.test_errors, in_x, vacuum_max_right)
    crossed_right = bounds.single_upper(counts.crossed_right, in_z)
    _, crossed = bounds.lower(counts.crossed, in_z, vacuum_max_crossed)
    single_z = 2 * crossed * per_z
    valid = single_z > 0
    wrong = np.maximum(left + 2 * crossed_right * per_z - right, 0.0)
    return np.asarray(np.where(valid, wrong / np.where(valid, single_z, 1.0), 1.0)), right
