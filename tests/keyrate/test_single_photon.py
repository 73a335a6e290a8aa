from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdchar.errors import UsageError
from qdchar.keyrate.ideal import single_photon_rate
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.photon_statistics import check_physical, two_photon_distribution
from qdchar.keyrate.single_photon.finite_key import Accounting, SinglePhotonKey, SinglePhotonPhase
from qdchar.keyrate.single_photon.rate import best_single_photon_key, single_photon_key
from qdchar.keyrate.tail_bounds import binary_entropy
from qdchar.link import Link

VARIANTS: list[tuple[SinglePhotonPhase, Accounting]] = [
    ("eb", "alice"),
    ("eb", "joint"),
    ("lt", "alice"),
    ("lt", "joint"),
    ("lt-each", "joint"),
]


PAPERS_DARK_COUNTS = {"dark_count_rate": 0.0, "background_count_rate": 43.0}


def conditions(loss_dB: Any, **link: Any) -> LinkParameters:
    """Conditions of the check values: dark counts divide between the bases like light."""
    return LinkParameters.from_link(Link.model_validate(PAPERS_DARK_COUNTS | link), loss_dB)


def test_check_values(checks: dict[str, Any]) -> None:
    block = checks["sps_fixed"]
    system, source = block["system"], block["source"]
    for row in block["rows"]:
        sent = row["name"].endswith("sent1e9")
        given = conditions(
            row["loss_db"],
            background_count_rate=system["p_dc"] / 3.42e-9,
            block=1e9 if sent else 1e8,
            block_kind="sent" if sent else "received",
        )
        key = single_photon_key(
            source["n"],
            source["g2"],
            row["p_z"],
            row["att"],
            given,
            "eb" if "_eb_" in row["name"] else "lt",
            "alice" if row["name"].startswith("alice") else "joint",
        )
        for ours, theirs in {
            "rate": "rate",
            "key_length": "length",
            "pulses_sent": "N_S",
            "sifted": "N_Z",
            "sifted_nonmultiphoton": "N_Z_nmp",
            "qber": "qber",
            "phase_error": "phase_error",
        }.items():
            value = getattr(key, ours)
            assert value == pytest.approx(row[theirs], rel=block["rtol"]), (row["name"], ours)


@pytest.mark.parametrize(("phase", "accounting"), VARIANTS)
def test_perfect_source_without_loss_or_error_gives_the_ideal_rate(
    phase: SinglePhotonPhase, accounting: Accounting
) -> None:
    perfect = conditions(
        0.0,
        fiber_optics_efficiency=1.0,
        detector_efficiency=1.0,
        misalignment=0.0,
        background_count_rate=0.0,
        block_kind="asymptotic",
    )
    for n in (0.292, 1.0):
        key = best_single_photon_key(n, 0.0, perfect, phase, accounting)
        assert key.rate == pytest.approx(0.9 * single_photon_rate(n, 0.0, 1.0), rel=1e-12)


def test_asymptotic_joint_rate_is_the_paper_s_ideal_one_but_for_the_phase_error() -> None:
    """Without errors, h(phase) = 0: gain - p2, as F7, times Bob's share of the key basis."""
    clean = conditions(
        [0.0, 10.0, 20.0], misalignment=0.0, background_count_rate=0.0, block_kind="asymptotic"
    )
    key = best_single_photon_key(0.292, 0.00698, clean, "eb", "joint")
    ideal = single_photon_rate(0.292, 0.00698, clean.eta)
    # the optimum mean is found, not given: the rate is flat there
    assert key.rate == pytest.approx(0.9 * ideal, rel=1e-9)


@pytest.mark.parametrize(("phase", "accounting"), VARIANTS)
@pytest.mark.parametrize("receiver", ["passive", "active"])
def test_finite_key_tends_to_the_asymptotic_from_below(
    phase: SinglePhotonPhase, accounting: Accounting, receiver: str
) -> None:
    blocks = [1e5, 1e7, 1e9, 1e11, 1e13, 1e16]
    rates = [
        float(
            best_single_photon_key(
                0.292, 0.00698, conditions(8.0, block=b, receiver=receiver), phase, accounting
            ).rate
        )
        for b in blocks
    ]
    asymptotic = conditions(8.0, block_kind="asymptotic", receiver=receiver)
    limit = float(best_single_photon_key(0.292, 0.00698, asymptotic, phase, accounting).rate)
    assert np.all(np.diff(rates) > 0) or rates[0] == rates[1] == 0
    assert rates[-1] < limit
    assert rates[-1] == pytest.approx(limit, rel=2e-3)


@pytest.mark.parametrize(("phase", "accounting"), VARIANTS)
@pytest.mark.parametrize("receiver", ["passive", "active"])
def test_no_key_beyond_the_cutoff_and_none_from_an_empty_basis(
    phase: SinglePhotonPhase, accounting: Accounting, receiver: str
) -> None:
    far = conditions([60.0, 90.0, 200.0, 4000.0], receiver=receiver)
    key = best_single_photon_key(0.292, 0.00698, far, phase, accounting)
    assert np.all(key.rate == 0)
    assert np.all(key.key_length == 0)
    # a test basis that is never used, or of a handful of pulses
    near = conditions(0.0, receiver=receiver)
    for p_z in (1.0, 1 - 1e-8):
        assert single_photon_key(0.292, 0.0, p_z, 1.0, near, phase, accounting).rate == 0
    tiny = conditions(0.0, receiver=receiver, block=np.array(50.0).item())
    assert best_single_photon_key(0.292, 0.0, tiny, phase, accounting).rate == 0


def test_no_observed_error_and_no_dark_counts_give_a_finite_answer() -> None:
    clean = conditions(5.0, misalignment=0.0, background_count_rate=0.0)
    key = best_single_photon_key(0.3, 0.0, clean)
    assert key.qber == 0
    assert 0 < key.phase_error < 1e-3
    assert 0 < key.rate < 0.3 * clean.eta


def test_an_unlit_receiver_without_dark_counts() -> None:
    dark = replace(conditions(0.0, background_count_rate=0.0), eta=np.asarray(0.0))
    for kind in ("received", "sent", "asymptotic"):
        key = single_photon_key(0.3, 0.01, 0.9, 1.0, replace(dark, block_kind=kind))
        assert key.rate == 0
        assert key.qber == 0.5


def test_efficient_bb84_asymptotics_by_hand() -> None:
    """One point of the asymptotic formulas, worked out in the test."""
    eta, n, g2, e = 0.04272, 0.292, 0.00698, 0.0254
    clean = conditions(10.0, background_count_rate=0.0, block_kind="asymptotic")
    gain = n * eta - g2 * n**2 * eta**2 / 2
    p2 = g2 * n**2 / 2
    phase_error = e / (1 - p2 / (0.1 * gain))
    expected = (0.9 * gain - p2) * (1 - binary_entropy(phase_error)) - 1.16 * 0.9 * gain * float(
        binary_entropy(e)
    )
    key = single_photon_key(n, g2, 1.0, 1.0, clean, "eb", "alice")
    assert key.rate == pytest.approx(expected, rel=1e-12)


def test_optimum_beats_a_dense_grid() -> None:
    rng = np.random.default_rng(3)
    p_z = 1 / (1 + np.exp(-np.linspace(-1, 12, 200)))[:, None]
    att = 10 ** np.linspace(-3, 0, 200)[None, :]
    for _ in range(12):
        n, g2 = rng.uniform(0.05, 0.9), 10 ** rng.uniform(-4, -1)
        given = conditions(rng.uniform(0, 14), block=10 ** rng.uniform(6, 10))
        for phase, accounting in VARIANTS:
            grid = single_photon_key(n, g2, p_z, att, given, phase, accounting).rate.max()
            best = best_single_photon_key(n, g2, given, phase, accounting).rate
            assert best >= grid * (1 - 1e-6)


def test_held_settings_are_held() -> None:
    key = best_single_photon_key(0.3, 0.01, conditions([3.0, 9.0]), p_z=0.9, attenuation=0.5)
    assert isinstance(key, SinglePhotonKey)
    assert np.all(key.p_z == 0.9)
    assert np.all(key.attenuation == 0.5)


def test_the_rigorous_reading_costs_little() -> None:
    published = best_single_photon_key(0.292, 0.00698, conditions(14.6)).rate
    rigorous = best_single_photon_key(0.292, 0.00698, conditions(14.6, security="rigorous")).rate
    assert 0.99 < rigorous / published < 0.999


def test_unphysical_sources_are_refused_in_words() -> None:
    for n, g2, word in (
        (-0.1, 0.1, "more than 0"),
        (0.5, -0.1, "at least 0"),
        (0.9, 1.5, "one-photon"),
        (1.5, 0.2, "vacuum"),
        (float("nan"), 0.1, "finite"),
    ):
        with pytest.raises(UsageError, match=word):
            check_physical(n, g2)
    p0, p1, p2 = two_photon_distribution(0.292, 0.00698)
    assert (p0, p1) == pytest.approx((0.7083, 0.2914), abs=5e-5)
    assert p2 == pytest.approx(0.000298, abs=5e-7)
