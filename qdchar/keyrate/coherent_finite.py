"""Finite key of phase-randomised coherent light: vacuum + weak and one decoy state.

The key comes from all intensities. "eb" is efficient BB84 with four states, "lt" the three-state
loss-tolerant protocol; see `qdchar.keyrate.single_photon` for the two.

References
----------
C. C. W. Lim et al., Phys. Rev. A 89, 022307 (2014), https://doi.org/10.1103/PhysRevA.89.022307.
D. Rusca et al., Appl. Phys. Lett. 112, 171104 (2018), https://doi.org/10.1063/1.5023340.
F. Xu et al., Phys. Rev. A 92, 032305 (2015), https://doi.org/10.1103/PhysRevA.92.032305.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .bounds import binary_entropy, sampling_deviation
from .coherent import coherent_gain
from .conditions import Conditions
from .decoy import TAIL_BOUNDS, Bound, Intensities, lower_bounds, single_upper, vacuum_upper
from .optimise import Effort, Rows, maximise
from .single_photon import Phase

Floats = NDArray[np.float64]
Decoys = Literal["vacuum+weak", "one-decoy"]

# The box of the search: logit p_z, log10 signal mean, log10 decoy/signal, logit of the signal's
# share, logit of the decoy's share of the rest (vacuum + weak only).
_LOWER = np.array([-3.0, -2.5, -3.0, -4.0, -4.0])
_UPPER = np.array([12.0, 0.3, -0.02, 9.0, 9.0])
_TYPICAL = np.array(
    [
        [2.5, -0.3, -0.6, 1.0, 1.0],
        [1.7, -0.45, -1.0, 0.8, 1.7],
        [4.0, -0.3, -1.2, 2.0, 1.5],
        [3.0, -0.3, -0.8, 3.0, 1.0],
    ]
)


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
class CoherentKey:
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


@dataclass(frozen=True)
class CoherentSettings:
    """What Alice sets: her Z probability, the means, and how often each is sent."""

    p_z: Floats
    light: Intensities


def expected_counts(settings: CoherentSettings, given: Conditions) -> tuple[DecoyCounts, Floats]:
    """Return the counts of a block as expected on a link, and the number of pulses sent."""
    p_z, share = settings.p_z, settings.light.share
    gain, wrong = coherent_gain(settings.light.mean, given)
    gain, wrong = share * gain, share * wrong
    sent = given.pulses_sent(gain.sum(axis=0))
    p_z_bob = given.bob(p_z)
    key = sent * p_z * p_z_bob
    test = sent * (1 - p_z) * (1 - p_z_bob)
    crossed = sent * p_z * (1 - p_z_bob)
    counts = DecoyCounts(
        key * gain, key * wrong, test * gain, test * wrong, crossed * gain, crossed * gain / 2
    )
    return counts, sent


def coherent_key(
    counts: DecoyCounts,
    sent: Floats,
    settings: CoherentSettings,
    given: Conditions,
    phase: Phase = "eb",
    bound: Bound = "yin",
) -> CoherentKey:
    """Key of a block of counts, expected or observed (F24-F30).

    Parameters
    ----------
    counts
        Of the block.
    sent
        Pulses sent.
    settings
        What Alice set.
    given
        Security constants; the link's other constants are not used: the counts hold them.
    phase, bound
        The proof and its tail bounds.
    """
    light = settings.light
    eps = given.eps_pe / TAIL_BOUNDS
    one_decoy = len(light.mean) == 2
    dark_key = dark_test = None
    if one_decoy:
        dark_key = vacuum_upper(counts.sifted, counts.sifted_errors, light, eps, bound)
        dark_test = vacuum_upper(counts.test, counts.test_errors, light, eps, bound)
    vacuum, single = lower_bounds(counts.sifted, dark_key, light, eps, bound)
    if phase == "eb":
        _, sample = lower_bounds(counts.test, dark_test, light, eps, bound)
        wrong = single_upper(counts.test_errors, light, eps, bound)
        rate_x = wrong / np.where(sample >= 1, sample, 1.0)
    else:
        rate_x, sample = _three_states(counts, dark_test, settings, eps, bound)
    has_basis = (single >= 1) & (sample >= 1)
    deviation = sampling_deviation(single, sample, rate_x, eps, tail=given.rigorous)
    raw_phase = np.where(has_basis, rate_x + deviation, 1.0)
    phase_error = np.clip(raw_phase, 0.0, 0.5)
    sifted = counts.sifted.sum(axis=0)
    some = np.where(sifted > 0, sifted, 1.0)
    qber = np.where(sifted > 0, counts.sifted_errors.sum(axis=0) / some, 0.5)
    constant = -6 * np.log2(given.eps_pa) - np.log2(given.eps_cor) + 1
    length = (
        vacuum
        + np.where(has_basis, single * (1 - binary_entropy(phase_error)), 0.0)
        - given.f_ec * binary_entropy(qber) * sifted
        - constant
    )
    key = has_basis & (raw_phase < 0.5) & (length > 0)
    rate = np.where(key, length / np.where(sent > 0, sent, 1.0), 0.0)
    lack = np.minimum(length / (sifted + constant), 0.0) - np.clip(raw_phase - 0.5, 0.0, 1.0)
    return CoherentKey(
        *np.broadcast_arrays(
            rate,
            np.where(key, length, 0.0),
            sent,
            vacuum,
            single,
            qber,
            phase_error,
            np.where(key, rate, lack - 1e-9),
        )
    )


def _three_states(
    counts: DecoyCounts,
    dark_test: Floats | None,
    settings: CoherentSettings,
    eps: Floats,
    bound: Bound,
) -> tuple[Floats, Floats]:
    """Phase-error rate of the single photons, and the size of its sample (F19 with F25, F26).

    Numbers of events with Alice in Z count per pulse of Alice's other state by the ratio of how
    often she sends the two. Vacuum carries no state, so that the test events bound it everywhere.
    """
    light, p_z = settings.light, settings.p_z
    per_z = (1 - p_z) / np.where(p_z > 0, p_z, 1.0)
    dark_right = None if dark_test is None else dark_test / 2
    dark_crossed = None if dark_test is None else dark_test / per_z
    left = single_upper(counts.test_errors, light, eps, bound)
    _, right = lower_bounds(counts.test - counts.test_errors, dark_right, light, eps, bound)
    crossed_right = single_upper(counts.crossed_right, light, eps, bound)
    _, crossed = lower_bounds(counts.crossed, dark_crossed, light, eps, bound)
    single_z = 2 * crossed * per_z
    valid = single_z > 0
    wrong = left + 2 * crossed_right * per_z - right
    return np.asarray(np.where(valid, wrong / np.where(valid, single_z, 1.0), 1.0)), right


def coherent_settings(x: Floats, decoys: Decoys) -> CoherentSettings:
    """Make settings from a point of the search box, shape (..., 5) or (..., 4)."""

    def sigmoid(v: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-v)))

    p_z, strong = sigmoid(x[..., 0]), 10 ** x[..., 1]
    weak = strong * 10 ** x[..., 2]
    p_strong, p_other = sigmoid(x[..., 3]), sigmoid(-x[..., 3])
    if decoys == "one-decoy":
        return CoherentSettings(
            p_z, Intensities(np.stack([strong, weak]), np.stack([p_strong, p_other]))
        )
    p_weak, p_vacuum = p_other * sigmoid(x[..., 4]), p_other * sigmoid(-x[..., 4])
    return CoherentSettings(
        p_z,
        Intensities(
            np.stack([strong, weak, np.zeros_like(weak)]), np.stack([p_strong, p_weak, p_vacuum])
        ),
    )


def best_coherent_key(
    given: Conditions,
    decoys: Decoys = "vacuum+weak",
    phase: Phase = "eb",
    bound: Bound = "yin",
    effort: Effort | None = None,
) -> tuple[CoherentKey, CoherentSettings]:
    """Key with all parameters optimised, of each point by itself.

    Parameters
    ----------
    given
        Channel, receiver, block and security; the block is finite.
    decoys, phase, bound
        The protocol.
    effort
        How hard to search.

    Returns
    -------
    key, settings
        Arrays of the conditions' shape; the settings' means and shares with a first axis more.
    """
    if given.block_kind == "asymptotic":
        raise ValueError("a finite-key protocol needs a block; take infinite decoy states instead")
    shape = given.shape
    flat = given.flat()
    dimensions = 4 if decoys == "one-decoy" else 5

    def score(x: Floats, rows: Rows) -> Floats:
        settings, part = coherent_settings(x, decoys), flat.part(rows)
        counts, sent = expected_counts(settings, part)
        return coherent_key(counts, sent, settings, part, phase, bound).score

    best = maximise(
        score,
        int(np.prod(shape)),
        _LOWER[:dimensions],
        _UPPER[:dimensions],
        effort or Effort(samples=512, starts=4, steps=160, chunk=64),
        known=_TYPICAL[:, :dimensions],
    )
    settings = coherent_settings(best[:, None, :], decoys)
    counts, sent = expected_counts(settings, flat)
    key = coherent_key(counts, sent, settings, flat, phase, bound)
    light = settings.light
    return (
        CoherentKey(*(getattr(key, f.name).reshape(shape) for f in fields(key))),
        CoherentSettings(
            settings.p_z.reshape(shape),
            Intensities(light.mean.reshape(-1, *shape), light.share.reshape(-1, *shape)),
        ),
    )
