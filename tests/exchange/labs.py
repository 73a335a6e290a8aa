"""Simulated links for the tests of the exchange."""

from __future__ import annotations

from dataclasses import replace

from qdchar.drivers.twin.exchange_lab import Eavesdropper, ExchangeLab, QuantumLink
from qdchar.exchange.pattern import Pattern

LINK = QuantumLink(
    one_photon=0.4,
    two_photons=0.006,
    attenuation=0.9,
    channel=0.2,
    receiver=0.43,
    misalignment=0.03,
    to_z=0.8,
    dark_Hz=(300.0, 100.0, 700.0, 200.0),
    background_Hz=2000.0,
    dead_time_s=0.0,
    jitter_s=25e-12,
    resolution_ps=42,
    clock_Hz=76.13e6,
    lifetime_s=80e-12,
)


def lab_of(
    pattern: Pattern, seed: int, eavesdropper: Eavesdropper | None = None, **changes: float
) -> ExchangeLab:
    """A lab with this link, or with some of its values changed."""
    return ExchangeLab(pattern, replace(LINK, **changes), seed, eavesdropper)  # type: ignore[arg-type]
