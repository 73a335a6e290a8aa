from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import differential_evolution

from qdchar.keyrate.decoy.coherent import best_infinite_decoy, yield_and_error
from qdchar.keyrate.decoy.coherent_bounds import Bound, CoherentBounds, Intensities
from qdchar.keyrate.decoy.coherent_finite import (
    SEARCH_LOWER,
    SEARCH_UPPER,
    CoherentSettings,
    Decoys,
    best_coherent_key,
    coherent_key,
    coherent_settings,
)
from qdchar.keyrate.decoy.finite_key import DecoyKey
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.optimise import Effort
from qdchar.keyrate.single_photon.finite_key import Phase
from qdchar.link import Link

PROTOCOLS: list[tuple[Decoys, Phase]] = [
    ("vacuum+weak", "eb"),
    ("vacuum+weak", "lt"),
    ("one-decoy", "eb"),
    ("one-decoy", "lt"),
]


PAPERS_DARK_COUNTS = {"dark_count_rate": 0.0, "background_count_rate": 43.0}


def conditions(loss_dB: Any, **link: Any) -> LinkParameters:
    """Conditions of the check values: dark counts divide between the bases like light."""
    return LinkParameters.from_link(Link.model_validate(PAPERS_DARK_COUNTS | link), loss_dB)


def vacuum_weak(mu: float, nu: float, p_mu: float, p_nu: float) -> Intensities:
    return Intensities(np.array([mu, nu, 0.0]), np.array([p_mu, p_nu, 1 - p_mu - p_nu]))


def test_check_values(checks: dict[str, Any]) -> None:
    block = checks["wcp_fixed"]
    for row in block["rows"]:
        p_z, *light = row["xv"]
        settings = CoherentSettings(np.asarray(p_z), vacuum_weak(*light))
        given = conditions(row["loss_db"], background_count_rate=1.47e-7 / 3.42e-9)
        key = coherent_key(settings, given, row["phase"], row["bound"])
        for ours, theirs in {
            "rate": "rate",
            "phase_error": "phi",
            "single": "s1Z",
            "vacuum": "s0Z",
            "pulses_sent": "N_S",
            "qber": "qber",
        }.items():
            assert getattr(key, ours) == pytest.approx(row[theirs], rel=block["rtol"]), ours


def test_the_paper_s_baseline_and_the_standard_protocol() -> None:
    """Optimised at the field loss: 6.09e-4 (three states), 1.30e-3 (efficient BB84)."""
    given = conditions(14.6)
    three, _ = best_coherent_key(given, "vacuum+weak", "lt")
    bb84, _ = best_coherent_key(given, "vacuum+weak", "eb")
    assert three.rate == pytest.approx(6.09e-4, rel=5e-3)
    assert bb84.rate == pytest.approx(1.30e-3, rel=5e-3)


def test_one_decoy_wins_in_short_blocks_only() -> None:
    """Rusca 2018: with Hoeffding's bounds one decoy is ahead up to 1e8, two for long blocks."""
    ahead = []
    for block in (1e6, 1e7, 1e12):
        given = conditions(10.0, block=block)
        one, _ = best_coherent_key(given, "one-decoy", "eb", "hoeffding")
        two, _ = best_coherent_key(given, "vacuum+weak", "eb", "hoeffding")
        ahead.append(bool(one.rate > two.rate))
    assert ahead == [True, True, False]


def test_the_last_key_of_a_small_block_is_found() -> None:
    """Settings by hand give a key in 1e8 sent pulses at 29.5 dB: the optimum has one as well."""
    link = {
        "fiber_optics_efficiency": {"value": 1.0},
        "detector_efficiency": {"value": 0.6},
        "dark_count_rate": {"value": 142.0},
        "gate_width": {"value": 1e-9},
        "misalignment": {"value": 0.0041},
        "receiver": "active",
    }
    given = conditions(29.5, block=1e8, block_kind="sent", **link)
    by_hand = CoherentSettings(np.asarray(0.54), vacuum_weak(0.81, 0.18, 0.28, 0.54))
    least = coherent_key(by_hand, given).rate
    assert least > 0
    for decoys in ("vacuum+weak", "one-decoy"):
        assert best_coherent_key(given, decoys)[0].rate > 0, decoys
    assert best_coherent_key(given)[0].rate > least


@pytest.mark.parametrize(("decoys", "phase"), PROTOCOLS)
def test_a_block_tends_to_an_infinite_one_from_below(decoys: Decoys, phase: Phase) -> None:
    """Two decoys to infinitely many; one, which cannot tell multi-photon errors, to its own limit.

    Without failure probability (eps = 1 for each of 22 bounds) nothing scatters.
    """
    given = replace(conditions(5.0), block=np.array([1e6, 1e8, 1e11, 1e15, 1e19]))
    rates = best_coherent_key(given, decoys, phase)[0].rate
    assert np.all(np.diff(rates) > 0)
    certain = replace(conditions(5.0, block=1e25), eps_pe=np.asarray(22.0))
    own = best_coherent_key(certain, decoys, phase)[0].rate
    infinite, _ = best_infinite_decoy(conditions(5.0))
    assert rates[-1] < own < infinite
    # slow in the block, through the weak setting, whose mean must fall
    assert rates[-1] == pytest.approx(own, rel=0.01)
    if decoys == "vacuum+weak":
        # the search keeps the weak mean at a thousandth of the signal's or more
        assert own == pytest.approx(infinite, rel=5e-3)


@pytest.mark.parametrize("bound", ["yin", "hoeffding"])
@pytest.mark.parametrize("decoys", ["vacuum+weak", "one-decoy"])
def test_bounds_hold_for_simulated_counts(bound: Bound, decoys: Decoys) -> None:
    """Photon numbers drawn pulse by pulse: the truth is known, and the promise is kept."""
    rng = np.random.default_rng(17)
    trials, sent, eps = 4000, 3e7, 1e-2
    given = replace(
        conditions(12.0, misalignment=0.03), p_background=np.asarray(2e-5), p_dark=np.asarray(0.0)
    )
    light = vacuum_weak(0.5, 0.1, 0.7, 0.2)
    if decoys == "one-decoy":
        light = Intensities(np.array([0.5, 0.1]), np.array([0.7, 0.3]))
    k = np.arange(9)[:, None]
    factorial = np.cumprod(np.maximum(k, 1), axis=0)
    clicks, wrong = yield_and_error(k, given)
    photons = np.exp(-light.mean) * light.mean**k / factorial * light.share
    right = rng.poisson(sent * photons * (clicks - wrong), (trials, 9, len(light.mean)))
    errors = rng.poisson(sent * photons * wrong, (trials, 9, len(light.mean)))
    counts = right + errors
    seen, seen_errors = counts.sum(axis=1).T, errors.sum(axis=1).T
    each = Intensities(light.mean[:, None], light.share[:, None])
    bounds = CoherentBounds(each, np.asarray(eps), bound)
    dark = bounds.vacuum_upper(seen, seen_errors)
    if dark is not None:
        assert np.mean(dark < counts[:, 0].sum(axis=1)) <= 4 * eps
    vacuum, single = bounds.lower(seen, np.asarray(sent), dark)
    worst = bounds.single_upper(seen_errors, np.asarray(sent))
    # up to four elementary bounds stand behind each; expectations are bounded, and the truth of
    # a trial scatters about them by far less than the bounds' width
    assert np.mean(vacuum > sent * (photons * clicks)[0].sum()) <= 4 * eps
    assert np.mean(single > sent * (photons * clicks)[1].sum()) <= 4 * eps
    assert np.mean(worst < sent * (photons * wrong)[1].sum()) <= 4 * eps
    assert single.mean() > 0.5 * counts[:, 1].sum(axis=1).mean()


def test_edges_give_zero_without_a_warning() -> None:
    for decoys, phase in PROTOCOLS:
        far, _ = best_coherent_key(conditions([70.0, 4000.0]), decoys, phase)
        assert np.all(far.rate == 0)
        for block in (1.0, 300.0):
            few, _ = best_coherent_key(conditions(0.0, block=block), decoys, phase)
            assert few.rate == 0
        for p_z in (0.0, 1.0):
            settings = CoherentSettings(np.asarray(p_z), vacuum_weak(0.5, 0.1, 0.7, 0.2))
            key = coherent_key(settings, conditions(0.0), phase)
            assert isinstance(key, DecoyKey)
            assert key.rate == 0
    clean, _ = best_coherent_key(conditions(3.0, misalignment=0.0, background_count_rate=0.0))
    assert 0 < clean.rate < 10**-0.3 * 0.4272 / np.e


@pytest.mark.parametrize(("decoys", "phase"), PROTOCOLS[:3])
def test_optimum_against_differential_evolution(decoys: Decoys, phase: Phase) -> None:
    rng = np.random.default_rng(4)
    d = 4 if decoys == "one-decoy" else 5
    for _ in range(2):
        given = conditions(rng.uniform(0, 18), block=10 ** rng.uniform(7, 10))
        flat = given.flat()

        def loss(x: Any, flat: LinkParameters = flat) -> Any:
            settings = coherent_settings(x.T[None], decoys)
            return -coherent_key(settings, flat, phase).score[0]

        found = differential_evolution(
            loss,
            list(zip(SEARCH_LOWER[:d], SEARCH_UPPER[:d], strict=True)),
            popsize=12,
            maxiter=250,
            rng=rng,
            vectorized=True,
            updating="deferred",
            tol=1e-10,
            polish=False,
        )
        best, _ = best_coherent_key(given, decoys, phase)
        assert best.rate >= 0.9999 * max(-found.fun, 0.0)


@pytest.mark.parametrize(("decoys", "phase"), PROTOCOLS)
def test_optimum_of_any_link_against_a_longer_search(decoys: Decoys, phase: Phase) -> None:
    rng = np.random.default_rng(5)
    size = 16
    given = replace(
        conditions(0.0),
        eta=10 ** -rng.uniform(0.37, 3, size),
        p_dark=10 ** rng.uniform(-8, -5.5, size),
        e_mis=rng.uniform(0, 0.05, size),
        block=10 ** rng.uniform(5.5, 11, size),
    )
    long = Effort(samples=4096, starts=40, steps=12, last_steps=12, chunk=8)
    expected = best_coherent_key(given, decoys, phase, effort=long)[0].rate
    assert np.count_nonzero(expected) > 10
    assert np.all(best_coherent_key(given, decoys, phase)[0].rate >= expected * (1 - 1e-4))


def test_a_finite_protocol_needs_a_block() -> None:
    with pytest.raises(ValueError, match="block"):
        best_coherent_key(conditions(0.0, block_kind="asymptotic"))
