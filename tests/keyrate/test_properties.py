"""What must hold for every protocol, at random points: links, sources and settings at once.

A key rate never rises with loss, error, dark counts or g2, never falls with the block, stays below
that of an infinitely long block, and is zero without a test basis. All at fixed settings, from
which it follows for the best ones: the largest of functions that fall falls too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qdchar.keyrate.decoy.attenuated_source import (
    AttenuatedSource,
    AttenuatorBounds,
    asymptotic_rate,
)
from qdchar.keyrate.decoy.attenuated_source_finite import AttenuatorSettings, attenuator_key
from qdchar.keyrate.decoy.attenuated_source_finite import expected_counts as attenuator_counts
from qdchar.keyrate.decoy.coherent import infinite_decoy_rate
from qdchar.keyrate.decoy.coherent_bounds import CoherentBounds, elementary_eps
from qdchar.keyrate.decoy.coherent_finite import coherent_key, coherent_settings
from qdchar.keyrate.decoy.coherent_finite import expected_counts as coherent_counts
from qdchar.keyrate.decoy.finite_key import DecoyCounts, decoy_key
from qdchar.keyrate.ideal import coherent_rate, single_photon_rate
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.single_photon.finite_key import BasisCounts, key_from_counts
from qdchar.keyrate.single_photon.rate import single_photon_key
from qdchar.link import Link

Floats = NDArray[np.float64]

SIZE = 12_000
SLACK = 1e-12  # rounding of a difference of large counts


@dataclass(frozen=True)
class Case:
    """A protocol at random settings: (g2, conditions) -> rate; every other output is checked."""

    rate: Callable[[Floats, LinkParameters], Floats]
    g2: Floats | None = None
    blocks: bool = True


def finite(key: Any) -> Floats:
    for f in fields(key):
        assert np.all(np.isfinite(getattr(key, f.name))), f.name
    return np.asarray(key.rate)


def source_light(rng: np.random.Generator) -> tuple[Floats, Floats]:
    return rng.uniform(0.01, 0.9, SIZE), 10 ** rng.uniform(-4.5, -0.6, SIZE)


def single(phase: Any, accounting: Any) -> Callable[[np.random.Generator], Case]:
    def case(rng: np.random.Generator) -> Case:
        n, g2 = source_light(rng)
        p_z, attenuation = rng.uniform(0.5, 0.999, SIZE), 10 ** rng.uniform(-1, 0, SIZE)

        def rate(g2: Floats, given: LinkParameters) -> Floats:
            key = single_photon_key(n, g2, p_z, attenuation, given, phase, accounting)
            return finite(key)

        return Case(rate, g2)

    return case


def coherent(decoys: Any, phase: Any) -> Callable[[np.random.Generator], Case]:
    def case(rng: np.random.Generator) -> Case:
        d = 4 if decoys == "one-decoy" else 5
        # one decoy and three states have a key in a corner of the settings only
        low, high = [1.0, -1.2, -1.5, -1.0, -1.0][:d], [5.0, -0.1, -0.3, 3.0, 3.0][:d]
        settings = coherent_settings(rng.uniform(low, high, (SIZE, d)), decoys)
        return Case(lambda g2, given: finite(coherent_key(settings, given, phase)))

    return case


def infinite(rng: np.random.Generator) -> Case:
    mean = 10 ** rng.uniform(-2, 0.2, SIZE)
    return Case(lambda g2, given: infinite_decoy_rate(mean, given), blocks=False)


def ideal_coherent(rng: np.random.Generator) -> Case:
    return Case(lambda g2, given: coherent_rate(given.eta), blocks=False)


def ideal_single(rng: np.random.Generator) -> Case:
    n, g2 = source_light(rng)
    return Case(lambda g2, given: single_photon_rate(n, g2, given.eta), g2, blocks=False)


def attenuated(rng: np.random.Generator) -> tuple[Callable[[Floats], AttenuatedSource], Floats]:
    n, g2 = source_light(rng)
    rest, weak_share = rng.uniform(0.02, 0.3, SIZE), rng.uniform(0.3, 0.95, SIZE)
    ones = np.ones(SIZE)
    transmission = np.stack([ones, rng.uniform(0.1, 0.8, SIZE), 0 * ones])
    share = np.stack([1 - rest, rest * weak_share, rest * (1 - weak_share)])
    return lambda g2: AttenuatedSource(n, g2, transmission, share, np.asarray(0.0)), g2


def attenuator(phase: Any) -> Callable[[np.random.Generator], Case]:
    def case(rng: np.random.Generator) -> Case:
        source, g2 = attenuated(rng)
        p_z = rng.uniform(0.6, 0.98, SIZE)

        def rate(g2: Floats, given: LinkParameters) -> Floats:
            return finite(attenuator_key(AttenuatorSettings(p_z, source(g2)), given, phase))

        return Case(rate, g2)

    return case


def asymptotic_attenuator(rng: np.random.Generator) -> Case:
    source, g2 = attenuated(rng)
    return Case(lambda g2, given: asymptotic_rate(source(g2), given), g2, blocks=False)


SINGLE = {
    f"single photons {phase} {accounting}": single(phase, accounting)
    for phase in ("eb", "lt", "lt-each")
    for accounting in ("alice", "joint")
}
PROTOCOLS = {
    **SINGLE,
    **{
        f"coherent {decoys} {phase}": coherent(decoys, phase)
        for decoys in ("vacuum+weak", "one-decoy")
        for phase in ("eb", "lt")
    },
    "coherent infinite": infinite,
    "coherent ideal": ideal_coherent,
    "single photons ideal": ideal_single,
    "decoy eb": attenuator("eb"),
    "decoy lt": attenuator("lt"),
    "decoy asymptotic": asymptotic_attenuator,
}
RARELY_A_KEY = {"coherent one-decoy lt"}


def links(rng: np.random.Generator, **changes: Any) -> LinkParameters:
    return replace(
        LinkParameters.from_link(Link(), 0.0),
        eta=10 ** -rng.uniform(0.3, 4.5, SIZE),
        p_dark=10 ** rng.uniform(-9, -5, SIZE),
        p_background=10 ** rng.uniform(-9, -5, SIZE),
        e_mis=rng.uniform(0, 0.09, SIZE),
        block=10 ** rng.uniform(5, 12, SIZE),
        **changes,
    )


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("kind", ["received", "sent"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_nothing_raises_the_rate_that_should_lower_it(name: str, kind: Any, active: bool) -> None:
    rng = np.random.default_rng([11, len(name)])
    given = links(rng, block_kind=kind, active=active)
    case = PROTOCOLS[name](rng)
    g2 = np.zeros(SIZE) if case.g2 is None else case.g2
    before = case.rate(g2, given)
    if name not in RARELY_A_KEY:
        assert np.mean(before > 0) > 0.02
    for worse in (
        {"e_mis": given.e_mis * 1.1 + 1e-4},
        {"p_dark": given.p_dark * 1.5},
        {"p_background": given.p_background * 1.5},
        {"eta": given.eta * 0.97},
        {"block": given.block * 0.7},
    ):
        if "block" in worse and not case.blocks:
            continue
        assert np.all(case.rate(g2, replace(given, **worse)) <= before + SLACK), worse.keys()
    if case.g2 is not None:
        assert np.all(case.rate(1.1 * g2, given) <= before + SLACK)
        assert np.all(case.rate(0.0 * g2, given) >= before - SLACK)


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("name", SINGLE)
def test_an_infinite_block_is_best_and_behaves_like_the_others(name: str, active: bool) -> None:
    rng = np.random.default_rng([12, len(name)])
    given = links(rng, active=active)
    case = SINGLE[name](rng)
    assert case.g2 is not None
    asymptotic = replace(given, block_kind="asymptotic")
    limit = case.rate(case.g2, asymptotic)
    assert np.mean(limit > 0) > 0.05
    assert np.all(case.rate(case.g2, given) <= limit)
    assert np.all(case.rate(1.1 * case.g2, asymptotic) <= limit + SLACK)
    for worse in (
        {"e_mis": given.e_mis * 1.1 + 1e-4},
        {"p_dark": given.p_dark * 1.5},
        {"p_background": given.p_background * 1.5},
        {"eta": given.eta * 0.97},
    ):
        assert np.all(case.rate(case.g2, replace(asymptotic, **worse)) <= limit + SLACK)


@pytest.mark.parametrize("accounting", ["alice", "joint"])
@pytest.mark.parametrize("phase", ["eb", "lt", "lt-each"])
@pytest.mark.parametrize("emptied", ["test", "sifted"])
def test_no_key_of_single_photons_from_an_empty_basis(
    phase: Any, accounting: Any, emptied: str
) -> None:
    rng = np.random.default_rng(13)
    given = links(rng)
    sifted, test, crossed = 10 ** rng.uniform(4, 9, (3, SIZE))
    counts = BasisCounts(sifted, 0.01 * sifted, test, 0.01 * test, crossed, crossed / 2)
    few = rng.uniform(0, 2, SIZE).round()
    counts = replace(counts, **{emptied: few, f"{emptied}_errors": np.minimum(few, 1)})
    p_z = rng.uniform(0, 1, SIZE)
    key = key_from_counts(
        counts, 1e3 * sifted, np.zeros(SIZE), p_z, np.ones(SIZE), given, phase, accounting
    )
    assert np.all(finite(key) == 0)


@pytest.mark.parametrize("phase", ["eb", "lt"])
@pytest.mark.parametrize("emptied", ["test", "sifted"])
@pytest.mark.parametrize("light", ["vacuum+weak", "one-decoy", "attenuator"])
def test_no_key_with_decoy_states_from_an_empty_basis(light: Any, emptied: str, phase: Any) -> None:
    rng = np.random.default_rng(14)
    given = links(rng)
    p_z = rng.uniform(0.01, 0.99, SIZE)
    bounds: Any
    counts: DecoyCounts
    if light == "attenuator":
        source, g2 = attenuated(rng)
        counts, sent = attenuator_counts(AttenuatorSettings(p_z, source(g2)), given)
        bounds = AttenuatorBounds(source(g2), elementary_eps(given))
    else:
        d = 4 if light == "one-decoy" else 5
        low, high = [1.0, -1.2, -1.5, -1.0, -1.0][:d], [5.0, -0.1, -0.3, 3.0, 3.0][:d]
        settings = coherent_settings(rng.uniform(low, high, (SIZE, d)), light)
        counts, sent = coherent_counts(settings, given)
        bounds = CoherentBounds(settings.light, elementary_eps(given))
    few = np.zeros_like(counts.test)
    few[0] = rng.uniform(0, 2, SIZE).round()
    counts = replace(counts, **{emptied: few, f"{emptied}_errors": np.minimum(few, 1)})
    assert np.all(finite(decoy_key(counts, sent, p_z, bounds, given, phase)) == 0)
