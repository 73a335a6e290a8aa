"""No NaN, no warning and no impossible rate anywhere, extremes included (warnings are errors)."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from qdchar.keyrate.attenuator import AttenuatedSource, asymptotic_rate
from qdchar.keyrate.attenuator_finite import best_attenuator_key
from qdchar.keyrate.coherent import best_infinite_decoy
from qdchar.keyrate.coherent_finite import best_coherent_key
from qdchar.keyrate.conditions import BlockKind, Conditions
from qdchar.keyrate.optimise import Effort
from qdchar.keyrate.single_photon import best_single_photon_key
from qdchar.link import Link

SIZE = 150
LITTLE = Effort(samples=64, starts=1, steps=15)


def draw(rng: np.random.Generator, usual: Any, extremes: list[float]) -> Any:
    return np.where(rng.random(SIZE) < 0.3, rng.choice(extremes, SIZE), usual)


@pytest.mark.parametrize("kind", ["received", "sent", "asymptotic"])
@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("rigorous", [False, True])
def test_every_protocol_everywhere(kind: BlockKind, active: bool, rigorous: bool) -> None:
    rng = np.random.default_rng([ord(kind[0]), active, rigorous])
    given = replace(
        Conditions.from_link(Link(), 0.0),
        eta=draw(rng, 10 ** -rng.uniform(0, 8, SIZE), [0.0, 1.0, 1e-300, 1e-12]),
        p_dark=draw(rng, 10 ** rng.uniform(-12, 0, SIZE), [0.0, 1.0, 1e-300]),
        e_mis=draw(rng, rng.uniform(0, 0.49, SIZE), [0.0, 0.4999]),
        block=draw(rng, 10 ** rng.uniform(0, 20, SIZE), [1.0, 1e-3, 1e30]),
        eps_pe=draw(rng, 10 ** -rng.uniform(1, 30, SIZE), [1e-200, 0.5]),
        active=active,
        block_kind=kind,
        rigorous=rigorous,
    )
    n = draw(rng, 10 ** rng.uniform(-6, 0, SIZE), [1.0, 1e-12])
    g2 = draw(rng, 10 ** rng.uniform(-6, 0, SIZE), [0.0, 1.0])
    photons_in = np.minimum(1.0, n * given.eta + given.p_dark)

    def check(key: Any, most: Any) -> None:
        for f in fields(key):
            assert np.all(np.isfinite(getattr(key, f.name))), f.name
        assert np.all((key.rate >= 0) & (key.rate <= most + 1e-9))
        assert np.all((key.phase_error >= 0) & (key.phase_error <= 0.5))

    for phase in ("eb", "lt", "lt-each"):
        for accounting in ("alice", "joint"):
            options: Any = (phase, accounting)
            check(best_single_photon_key(n, g2, given, *options, effort=LITTLE), photons_in)
    rate, mean = best_infinite_decoy(given)
    assert np.all(np.isfinite(mean))
    assert np.all((rate >= 0) & (rate <= given.eta / np.e + given.p_dark + 1e-12))
    if kind == "asymptotic":
        settings = np.array([1.0, 0.3, 0.0])[:, None]
        share = np.array([1.0, 0.0, 0.0])[:, None]
        source = AttenuatedSource(n, g2, settings, share, np.asarray(0.0))
        rate = asymptotic_rate(source, given)
        assert np.all((rate >= 0) & (rate <= photons_in + 1e-12))
        return
    for decoys in ("vacuum+weak", "one-decoy"):
        for phase in ("eb", "lt"):
            for bound in ("yin", "hoeffding"):
                variant: Any = (decoys, phase, bound)
                key, _ = best_coherent_key(given, *variant, effort=LITTLE)
                check(key, given.eta + given.p_dark)
    for phase in ("eb", "lt"):
        for p3_max in (0.0, g2 * n**2 / 6):
            proof: Any = phase
            key, _ = best_attenuator_key(n, g2, given, p3_max=p3_max, phase=proof, effort=LITTLE)
            check(key, photons_in)
