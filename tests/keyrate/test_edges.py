"""No NaN, no warning and no impossible rate anywhere, extremes included (warnings are errors)."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from qdchar.keyrate.decoy import attenuated_source_finite as attenuator_finite
from qdchar.keyrate.decoy.attenuated_source import AttenuatedSource, asymptotic_rate
from qdchar.keyrate.decoy.attenuated_source_finite import attenuator_key, best_attenuator_key
from qdchar.keyrate.decoy.coherent import best_infinite_decoy
from qdchar.keyrate.decoy.coherent_finite import (
    SEARCH_LOWER,
    SEARCH_UPPER,
    best_coherent_key,
    coherent_key,
    coherent_settings,
)
from qdchar.keyrate.link_parameters import BlockKind, LinkParameters
from qdchar.keyrate.optimise import Effort
from qdchar.keyrate.single_photon.rate import best_single_photon_key, single_photon_key
from qdchar.link import Link

LITTLE = Effort(samples=48, starts=1, steps=2, last_steps=1)


def draw(rng: np.random.Generator, usual: Any, extremes: list[float]) -> Any:
    return np.where(rng.random(len(usual)) < 0.3, rng.choice(extremes, len(usual)), usual)


def extreme_links(rng: np.random.Generator, size: int, **changes: Any) -> LinkParameters:
    return replace(
        LinkParameters.from_link(Link(), 0.0),
        eta=draw(rng, 10 ** -rng.uniform(0, 8, size), [0.0, 1.0, 1e-300, 1e-12]),
        p_dark=draw(rng, 10 ** rng.uniform(-12, 0, size), [0.0, 1.0, 1e-300]),
        p_background=draw(rng, 10 ** rng.uniform(-12, 0, size), [0.0, 1.0, 1e-300]),
        dark_share_z=draw(rng, rng.uniform(0, 1, size), [0.0, 0.5, 1.0]),
        dead_pulses=draw(rng, 10 ** rng.uniform(-2, 2, size), [0.0]),
        busy_z=draw(rng, 10 ** rng.uniform(-6, 2, size), [0.0]),
        busy_x=draw(rng, 10 ** rng.uniform(-6, 2, size), [0.0]),
        e_mis=draw(rng, rng.uniform(0, 0.49, size), [0.0, 0.4999]),
        block=draw(rng, 10 ** rng.uniform(0, 20, size), [1.0, 1e-3, 1e30]),
        eps_pe=draw(rng, 10 ** -rng.uniform(1, 30, size), [1e-200, 0.5]),
        **changes,
    )


def extreme_sources(rng: np.random.Generator, size: int) -> tuple[Any, Any]:
    n = draw(rng, 10 ** rng.uniform(-6, 0, size), [1.0, 1e-12])
    return n, draw(rng, 10 ** rng.uniform(-6, 0, size), [0.0, 1.0])


def noise(given: LinkParameters) -> Any:
    """Most clicks without a photon of Alice, per pulse that Bob measures in a basis."""
    return (given.p_dark + given.p_background) / np.minimum(given.p_z_bob, 1 - given.p_z_bob)


def check(key: Any, most: Any) -> None:
    for f in fields(key):
        assert np.all(np.isfinite(getattr(key, f.name))), f.name
    assert np.all((key.rate >= 0) & (key.rate <= most + 1e-9))
    assert np.all((key.phase_error >= 0) & (key.phase_error <= 0.5))


@pytest.mark.parametrize("kind", ["received", "sent", "asymptotic"])
@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("rigorous", [False, True])
def test_every_protocol_at_any_settings(kind: BlockKind, active: bool, rigorous: bool) -> None:
    size = 3000
    rng = np.random.default_rng([ord(kind[0]), active, rigorous])
    options: Any = {"block_kind": kind, "active": active, "rigorous": rigorous}
    given = extreme_links(rng, size, **options)
    n, g2 = extreme_sources(rng, size)
    photons_in = np.minimum(1.0, n * given.eta + noise(given))
    p_z = draw(rng, rng.uniform(0, 1, size), [0.0, 1.0, 1e-12])
    attenuation = draw(rng, 10 ** rng.uniform(-8, 0, size), [0.0, 1.0])
    proof: Any
    for proof in ((p, a) for p in ("eb", "lt", "lt-each") for a in ("alice", "joint")):
        check(single_photon_key(n, g2, p_z, attenuation, given, *proof), photons_in)
    if kind == "asymptotic":
        transmission = np.stack([np.ones(size), rng.uniform(0.01, 0.99, size), np.zeros(size)])
        share = np.array([1.0, 0.0, 0.0])[:, None]
        source = AttenuatedSource(n, g2, transmission, share, np.asarray(0.0))
        rate = asymptotic_rate(source, given)
        assert np.all((rate >= 0) & (rate <= photons_in + 1e-12))
        return
    for decoys, d in (("vacuum+weak", 5), ("one-decoy", 4)):
        x = rng.uniform(SEARCH_LOWER[:d], SEARCH_UPPER[:d], (size, d))
        light = coherent_settings(x, decoys)  # type: ignore[arg-type]
        for proof in ((p, b) for p in ("eb", "lt") for b in ("yin", "hoeffding")):
            check(coherent_key(light, given, *proof), 2 * given.eta + noise(given))
    low, high = attenuator_finite.SEARCH_LOWER, attenuator_finite.SEARCH_UPPER
    for p3_max in (np.zeros(size), g2 * n**2 / 6):
        x = rng.uniform(low, high, (size, len(low)))
        settings = attenuator_finite.attenuator_settings(x, n, g2, p3_max)
        for proof in ("eb", "lt"):
            check(attenuator_key(settings, given, proof), photons_in)


@pytest.mark.parametrize("kind", ["received", "sent", "asymptotic"])
@pytest.mark.parametrize("active", [False, True])
def test_every_optimum(kind: BlockKind, active: bool) -> None:
    size = 100
    rng = np.random.default_rng([ord(kind[0]), active])
    options: Any = {"block_kind": kind, "active": active, "rigorous": active}
    given = extreme_links(rng, size, **options)
    n, g2 = extreme_sources(rng, size)
    photons_in = np.minimum(1.0, n * given.eta + noise(given))
    proof: Any
    for proof in ((p, a) for p in ("eb", "lt", "lt-each") for a in ("alice", "joint")):
        check(best_single_photon_key(n, g2, given, *proof, effort=LITTLE), photons_in)
    rate, mean = best_infinite_decoy(given)
    assert np.all(np.isfinite(mean))
    assert np.all((rate >= 0) & (rate <= given.eta / np.e + noise(given) + 1e-12))
    if kind == "asymptotic":
        return
    for proof in ((d, p) for d in ("vacuum+weak", "one-decoy") for p in ("eb", "lt")):
        key, _ = best_coherent_key(given, *proof, effort=LITTLE)
        check(key, given.eta + noise(given))
    for proof in ("eb", "lt"):
        for p3_max in (0.0, g2 * n**2 / 6):
            key, _ = best_attenuator_key(n, g2, given, p3_max=p3_max, phase=proof, effort=LITTLE)
            check(key, photons_in)
