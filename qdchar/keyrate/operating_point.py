"""The best settings of a protocol at each loss, and the key rate there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from .decoy.attenuated_source import AttenuatedSource, asymptotic_phase_error, asymptotic_rate
from .decoy.attenuated_source_finite import attenuator_key, best_attenuator_key, expected_counts
from .decoy.finite_key import DecoyKey
from .link_parameters import LinkParameters
from .single_photon.finite_key import Accounting, Phase
from .single_photon.rate import (
    best_single_photon_key,
    detection,
    error_rate,
    single_photon_key,
)

Floats = NDArray[np.float64]

# Weak transmission of an infinitely long block, whose rate does not depend on it.
_ASYMPTOTIC_WEAK = 0.3


@dataclass(frozen=True)
class DecoySettings:
    """Settings of the switched attenuator: open, weak, blocked.

    Attributes
    ----------
    weak
        Transmission of the weak setting.
    p_open, p_weak, p_blocked
        How often each is sent.
    """

    weak: float
    p_open: float
    p_weak: float
    p_blocked: float


@dataclass(frozen=True)
class OperatingPoint:
    """Best settings at each loss and what they give; arrays of one shape.

    Attributes
    ----------
    rate, key_length, pulses_sent, qber, phase_error, gain
        As in `qdchar.keyrate.KeyRate`.
    busiest
        Clicks per pulse of the busiest detector.
    p_z, attenuation
        The settings.
    p2_given_up
        Multi-photon probability per sent pulse that is given to the eavesdropper.
    rate_at
        Rate at these settings with another <n>, g2 and link parameters.
    decoy
        Settings of the attenuator at each loss; None without decoy states.
    """

    rate: Floats
    key_length: Floats
    pulses_sent: Floats
    qber: Floats
    phase_error: Floats
    gain: Floats
    busiest: Floats
    p_z: Floats
    attenuation: Floats
    p2_given_up: Floats
    rate_at: Callable[[float, float, LinkParameters], Floats]
    decoy: tuple[DecoySettings, ...] | None = None


def single_photon_operating_point(
    n: float,
    g2: float,
    given: LinkParameters,
    phase: Phase,
    accounting: Accounting,
    p_z: float | None,
    attenuation: float | None,
    margin: float,
) -> OperatingPoint:
    """OperatingPoint without decoy states; parameters as in `best_single_photon_key`."""
    key = best_single_photon_key(n, g2, given, phase, accounting, p_z, attenuation, margin)
    p_z_bob = given.bob(key.p_z)
    clicks = detection(key.attenuation * n, g2, p_z_bob, given)

    def rate_at(n: float, g2: float, other: LinkParameters) -> Floats:
        return single_photon_key(
            n, g2, key.p_z, key.attenuation, other, phase, accounting, margin
        ).rate

    return OperatingPoint(
        rate=key.rate,
        key_length=key.key_length,
        pulses_sent=key.pulses_sent,
        qber=key.qber,
        phase_error=key.phase_error,
        gain=clicks.total(p_z_bob),
        busiest=clicks.busiest(p_z_bob, given),
        p_z=key.p_z,
        attenuation=key.attenuation,
        p2_given_up=key.attenuation**2 * (g2 * n**2 / 2 + margin),
        rate_at=rate_at,
    )


def attenuator_operating_point(
    n: float,
    g2: float,
    given: LinkParameters,
    phase: Phase,
    p3_max: float,
    limits: Sequence[tuple[float, float]] = (),
) -> OperatingPoint:
    """OperatingPoint with a switched attenuator; parameters as in `best_attenuator_key`.

    With `limits`, pairs of <n> and g2 between which the source is known to lie, the key is the
    shortest that the proof gives for any of them. Finite blocks only.
    """
    if given.block_kind == "asymptotic":
        return _asymptotic_attenuator_operating_point(n, g2, given, p3_max)
    key, settings = best_attenuator_key(n, g2, given, p3_max=p3_max, phase=phase)
    source = settings.source
    for corner in limits:
        other = attenuator_key(settings, given, phase, assumed=corner)
        shorter = other.rate < key.rate
        key = DecoyKey(
            *(
                np.where(shorter, getattr(other, f.name), getattr(key, f.name))
                for f in fields(DecoyKey)
            )
        )

    def rate_at(n: float, g2: float, other: LinkParameters) -> Floats:
        moved = replace(settings, source=replace(source, n=np.asarray(n), g2=np.asarray(g2)))
        rates = [attenuator_key(moved, other, phase, assumed=x).rate for x in (None, *limits)]
        return np.asarray(np.min(rates, axis=0))

    counts, sent = expected_counts(settings, given)
    in_z = np.where(sent > 0, sent * settings.p_z, 1.0)
    z, x = counts.sifted.sum(axis=0) / in_z, counts.crossed.sum(axis=0) / in_z
    gain = z + x
    return OperatingPoint(
        rate=key.rate,
        key_length=key.key_length,
        pulses_sent=key.pulses_sent,
        qber=key.qber,
        phase_error=key.phase_error,
        gain=gain,
        busiest=(gain if given.active else np.maximum(z, x)) / 2,
        p_z=settings.p_z,
        attenuation=np.ones_like(gain),
        p2_given_up=np.zeros_like(gain),
        rate_at=rate_at,
        decoy=tuple(
            DecoySettings(float(source.transmission[1, i]), *(float(q) for q in source.share[:, i]))
            for i in range(len(gain))
        ),
    )


def _asymptotic_attenuator_operating_point(
    n: float, g2: float, given: LinkParameters, p3_max: float
) -> OperatingPoint:
    """Infinitely long block: nearly all pulses in the key basis and with the attenuator open."""

    def source(n: float, g2: float) -> AttenuatedSource:
        settings = np.array([1.0, _ASYMPTOTIC_WEAK, 0.0])[:, None]
        share = np.array([1.0, 0.0, 0.0])[:, None]
        return AttenuatedSource(np.asarray(n), np.asarray(g2), settings, share, np.asarray(p3_max))

    def rate_at(n: float, g2: float, other: LinkParameters) -> Floats:
        return asymptotic_rate(source(n, g2), other)

    p_z_bob = np.ones(given.shape) if given.active else given.p_z_bob
    clicks = detection(n, g2, p_z_bob, given)
    gain, qber = clicks.total(p_z_bob), error_rate(clicks.z, clicks.wrong_z)
    nothing = np.zeros_like(gain)
    return OperatingPoint(
        rate=rate_at(n, g2, given),
        key_length=nothing,
        pulses_sent=nothing,
        qber=qber,
        phase_error=asymptotic_phase_error(source(n, g2), given),
        gain=gain,
        busiest=clicks.busiest(p_z_bob, given),
        p_z=np.ones_like(gain),
        attenuation=np.ones_like(gain),
        p2_given_up=nothing,
        rate_at=rate_at,
        decoy=(DecoySettings(_ASYMPTOTIC_WEAK, 1.0, 0.0, 0.0),) * len(gain),
    )
