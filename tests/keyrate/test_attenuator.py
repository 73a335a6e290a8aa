from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from qdchar.keyrate.decoy.attenuated_source import (
    AttenuatedSource,
    AttenuatorBounds,
    asymptotic_rate,
    single_yield_lower,
    single_yield_upper,
    vacuum_yield,
)
from qdchar.keyrate.decoy.attenuated_source_finite import (
    AttenuatorSettings,
    attenuator_key,
    best_attenuator_key,
    expected_counts,
)
from qdchar.keyrate.decoy.coherent import yield_and_error
from qdchar.keyrate.decoy.coherent_bounds import elementary_eps
from qdchar.keyrate.decoy.coherent_finite import best_coherent_key
from qdchar.keyrate.decoy.finite_key import decoy_key
from qdchar.keyrate.decoy.linear_program import AttenuatorProgram
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.single_photon.rate import best_single_photon_key, detection
from qdchar.link import Link

N, G2 = 0.292, 0.00698


PAPERS_DARK_COUNTS = {"dark_count_rate": 0.0, "background_count_rate": 43.0}


def conditions(loss_dB: Any, **link: Any) -> LinkParameters:
    """Conditions of the check values: dark counts divide between the bases like light."""
    return LinkParameters.from_link(Link.model_validate(PAPERS_DARK_COUNTS | link), loss_dB)


def source(
    weak: float = 0.3, *, p3_max: float = 0.0, n: float = N, g2: float = G2, points: int = 0
) -> AttenuatedSource:
    shape = (3, 1) if points else (3,)
    return AttenuatedSource(
        np.asarray(n),
        np.asarray(g2),
        np.array([1.0, weak, 0.0]).reshape(shape),
        np.array([0.7, 0.2, 0.1]).reshape(shape),
        np.asarray(p3_max),
    )


@pytest.mark.parametrize("p3", [0.0, 3e-5])
def test_thinning_is_binomial_and_keeps_what_was_measured(p3: float) -> None:
    p = source().photons(p3)
    k = np.arange(4)
    for j, a in enumerate((1.0, 0.3, 0.0)):
        expected = [sum(binom.pmf(i, m, a) * p[0, m] for m in k) for i in k]
        assert p[j] == pytest.approx(expected, abs=1e-15)
        assert p[j].sum() == pytest.approx(1.0)
        mean = p[j] @ k
        assert mean == pytest.approx(a * N)
        assert p[j] @ (k * (k - 1)) == pytest.approx(G2 * (a * N) ** 2, abs=1e-17)


def test_gain_is_that_of_the_protocol_without_decoys() -> None:
    given = conditions([0.0, 12.0])
    gain, wrong = source(points=1).light(given)
    clicks = detection(N, G2, 0.9, given)
    assert gain[0] == pytest.approx(clicks.z, rel=1e-12)
    assert wrong[0] == pytest.approx(clicks.wrong_z, rel=1e-12)
    assert gain[2] == pytest.approx(given.p_background, rel=1e-9)


def test_the_asymptotic_table() -> None:
    """An independent computation, three digits: a = 0.3, 9:1 receiver."""
    losses = [0, 10, 14.6, 20, 25, 30, 35, 40]
    published = [7.07e-2, 7.07e-3, 2.45e-3, 7.06e-4, 2.23e-4, 7.03e-5, 2.20e-5, 6.70e-6]
    rate = asymptotic_rate(source(points=8), conditions(losses))
    assert [f"{r:.2e}" for r in rate] == [f"{p:.2e}" for p in published]


def test_the_asymptotic_table_beyond_its_printed_digits() -> None:
    """The same table from its two formulas, one number at a time, in plain Python."""
    dark, e_mis, f_ec, a = 43 * 3.42e-9, 0.0254, 1.16, 0.3
    losses = [0, 10, 14.6, 20, 25, 30, 35, 40]

    def h(x: float) -> float:
        return -x * math.log2(x) - (1 - x) * math.log2(1 - x)

    def photons(to: float) -> list[float]:
        pair = G2 * (N * to) ** 2 / 2
        return [1 - N * to + pair, N * to - 2 * pair, pair]

    by_hand = []
    for loss in losses:
        eta = 10 ** (-loss / 10) * 0.6 * 0.712
        clicks = [1 - (1 - dark) * (1 - eta) ** k for k in range(3)]
        wrong = [e_mis * (y - dark) + dark / 2 for y in clicks]
        ones = []
        for of in (clicks, wrong):  # the yield of one photon from settings 1 and a, and the vacuum
            q, q_a = (sum(p * y for p, y in zip(photons(to), of, strict=True)) for to in (1.0, a))
            vacuum = (photons(a)[0] - a**2 * photons(1.0)[0]) * of[0]
            ones.append((q_a - a**2 * q - vacuum) / (a * (1 - a) * N))
        p0, p1, _ = photons(1.0)
        q, errors = (
            sum(p * y for p, y in zip(photons(1.0), of, strict=True)) for of in (clicks, wrong)
        )
        secret = p0 * clicks[0] + p1 * ones[0] * (1 - h(ones[1] / ones[0]))
        by_hand.append(0.9 * (secret - f_ec * q * h(errors / q)))
    assert asymptotic_rate(source(points=8), conditions(losses)) == pytest.approx(by_hand, rel=1e-6)


def test_without_three_photon_pulses_the_yields_are_exact() -> None:
    """Whatever Eve does: random yields, not those of a lossy line."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        y = rng.uniform(0, 1, 4) * 10 ** rng.uniform(-4, 0)
        s = source(rng.uniform(0.05, 0.9))
        gain = s.photons() @ y
        assert single_yield_upper(gain, gain, s) == pytest.approx(y[1], rel=1e-9)
        assert single_yield_lower(gain, gain, s) == pytest.approx(y[1], rel=1e-9)


def test_bounds_hold_for_every_eve_and_every_p3_in_the_range() -> None:
    """Random yields and random three-photon probabilities, closed form and linear program."""
    rng = np.random.default_rng(3)
    p3_max = 0.05 * 0.5**2 / 6
    for i in range(3000):
        y = rng.uniform(0, 1, 4) ** rng.choice([1, 4, 12], 4)
        s = source(rng.uniform(0.02, 0.9), p3_max=p3_max, n=0.5, g2=0.05)
        gain = s.photons(rng.choice([0.0, rng.uniform(0, p3_max), p3_max])) @ y
        assert single_yield_lower(gain, gain, s) <= y[1] * (1 + 1e-9) + 1e-14
        assert single_yield_upper(gain, gain, s) >= y[1] * (1 - 1e-9) - 1e-14
        if i % 100 == 0:
            program = AttenuatorProgram(s, np.asarray(1 - 1e-12))
            counts, prepared = gain * s.share * 1e12, np.asarray(1e12)
            _, single = program.lower(counts, prepared, None)
            t1 = (s.share * s.photons(0.0)[:, 1]).sum(), (s.share * s.photons(p3_max)[:, 1]).sum()
            assert single <= 1e12 * y[1] * max(t1) * (1 + 1e-6)
            assert program.single_upper(counts, prepared) >= 0


def test_yield_bounds_hold_in_the_promised_share_of_trials() -> None:
    """Counts drawn from a source with three-photon pulses on a known line: 10 000 trials."""
    rng = np.random.default_rng(29)
    trials, prepared, eps, p3 = 10_000, 2e7, 1e-2, 2e-5
    given = replace(conditions(8.0, misalignment=0.03), p_background=np.asarray(1e-5))
    s = source(0.4, p3_max=p3)
    p = s.photons(p3)
    clicks, wrong = (
        np.array(v) for v in zip(*(yield_and_error(k, given) for k in range(4)), strict=True)
    )
    right = rng.poisson(prepared * s.share[:, None] * p * (clicks - wrong), (trials, 3, 4))
    errors = rng.poisson(prepared * s.share[:, None] * p * wrong, (trials, 3, 4))
    seen, seen_errors = (right + errors).sum(axis=2).T, errors.sum(axis=2).T
    of_vacuum, of_single = (right + errors).sum(axis=1)[:, :2].T
    wrong_single = errors.sum(axis=1)[:, 1]
    each = replace(s, transmission=s.transmission[:, None], share=s.share[:, None])
    bounds = AttenuatorBounds(each, np.asarray(eps))
    vacuum, single = bounds.lower(seen, np.asarray(prepared), None)
    worst = bounds.single_upper(seen_errors, np.asarray(prepared))
    # the numbers of the trial itself; each rests on three elementary bounds
    assert np.mean(single > of_single) <= 3 * eps
    assert np.mean(worst < wrong_single) <= 3 * eps
    assert np.mean(vacuum > prepared * (s.share @ p)[0] * clicks[0]) <= eps
    assert np.mean(of_vacuum) > 0
    assert single.mean() > 0.9 * of_single.mean()
    assert worst.mean() < 1.3 * wrong_single.mean()


@pytest.mark.parametrize("phase", ["eb", "lt"])
@pytest.mark.parametrize("loss", [0.0, 14.6, 30.0])
def test_finite_key_tends_to_the_asymptotic_from_below(loss: float, phase: Any) -> None:
    limit = asymptotic_rate(source(), conditions(loss))
    given = replace(conditions(loss), block=np.array([1e6, 1e8, 1e11, 1e18]))
    rates = best_attenuator_key(N, G2, given, phase=phase)[0].rate
    assert np.all(np.diff(rates) > 0)
    assert rates[-1] < limit
    assert rates[-1] == pytest.approx(limit, rel=3e-3)


def test_at_1e8_it_beats_both_laser_light_and_itself_without_decoys() -> None:
    given = conditions([14.6, 20.0, 30.0, 40.0])
    decoy = best_attenuator_key(N, G2, given)[0].rate
    assert np.all(decoy > best_coherent_key(given)[0].rate)
    assert np.all(decoy > best_single_photon_key(N, G2, given).rate)


def test_the_linear_program_is_never_looser_than_the_closed_form() -> None:
    p3_max = G2 * N**2 / 24
    for loss in (5.0, 20.0, 30.0):
        given = conditions(loss)
        key, settings = best_attenuator_key(N, G2, given, p3_max=p3_max)
        counts, sent = expected_counts(settings, given)
        program = AttenuatorProgram(settings.source, elementary_eps(given))
        tight = decoy_key(counts, sent, settings.p_z, program, given)
        assert tight.rate >= key.rate
    assert tight.rate > 1.05 * key.rate  # at 30 dB Y2 <= 1 is a poor bound


def test_counts_that_contradict_the_source_leave_no_key() -> None:
    """The weak setting brighter than the open one: no yields can do that."""
    given = conditions(10.0)
    settings = AttenuatorSettings(np.asarray(0.9), source(p3_max=1e-6))
    counts, sent = expected_counts(settings, given)
    swapped = replace(
        counts,
        sifted=counts.sifted[[1, 0, 2]],
        test=counts.test[[1, 0, 2]],
    )
    program = AttenuatorProgram(settings.source, elementary_eps(given), pieces=2)
    assert decoy_key(swapped, sent, settings.p_z, program, given).rate == 0


def test_edges_give_zero_without_a_warning() -> None:
    far, _ = best_attenuator_key(N, G2, conditions([80.0, 4000.0]))
    assert np.all(far.rate == 0)
    few, _ = best_attenuator_key(N, G2, conditions(0.0, block=100.0))
    assert few.rate == 0
    for p_z in (0.0, 1.0):
        key = attenuator_key(AttenuatorSettings(np.asarray(p_z), source()), conditions(0.0))
        assert key.rate == 0
    perfect, _ = best_attenuator_key(1.0, 0.0, conditions(0.0, background_count_rate=0.0))
    assert 0 < perfect.rate < 0.4272
    with pytest.raises(ValueError, match="block"):
        best_attenuator_key(N, G2, conditions(0.0, block_kind="asymptotic"))


def test_bounds_enclose_the_yields_behind_a_leaky_block() -> None:
    """Any yields at all, no statistics: what is true lies within what the gains allow."""
    rng = np.random.default_rng(61)
    for _ in range(300):
        n, g2 = rng.uniform(0.05, 0.9), 10 ** rng.uniform(-4, -1)
        a, blocked = rng.uniform(0.1, 0.8), 10 ** rng.uniform(-6, -2)
        p3 = rng.uniform(0, 1) * g2 * n**2 / 6
        behind = AttenuatedSource(
            np.asarray(n),
            np.asarray(g2),
            np.array([1.0, a, blocked]),
            np.array([0.8, 0.15, 0.05]),
            np.asarray(p3),
        )
        yields = np.sort(10 ** rng.uniform(-6, 0, 4))
        gains = behind.photons(rng.uniform(0, 1) * p3) @ yields
        dark = vacuum_yield(gains, gains, behind)
        # 1e-12: differences of gains of order 1
        assert dark[0] <= yields[0] * (1 + 1e-9) + 1e-12
        assert yields[0] <= dark[1] * (1 + 1e-9)
        assert single_yield_lower(gains, gains, behind) <= yields[1] * (1 + 1e-9) + 1e-12
        assert single_yield_upper(gains, gains, behind) >= yields[1] * (1 - 1e-9) - 1e-12
