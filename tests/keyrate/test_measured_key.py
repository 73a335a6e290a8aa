from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdchar.errors import InconclusiveError, UsageError
from qdchar.keyrate import SourceFigures
from qdchar.keyrate.decoy.attenuated_source_finite import best_attenuator_key
from qdchar.keyrate.decoy.attenuated_source_finite import expected_counts as attenuator_counts
from qdchar.keyrate.decoy.coherent_finite import best_coherent_key
from qdchar.keyrate.decoy.coherent_finite import expected_counts as coherent_counts
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.measured.key import attenuator_session, coherent_session, single_photon_session
from qdchar.keyrate.photon_statistics import multiphoton_limit
from qdchar.keyrate.predict import predict_with_decoy
from qdchar.keyrate.result import Protocol
from qdchar.keyrate.single_photon.finite_key import BasisCounts
from qdchar.keyrate.single_photon.rate import detection, single_photon_key
from qdchar.link import Link

LINK = Link(channel_loss=12.0, security="rigorous")  # type: ignore[arg-type]
SOURCE = SourceFigures()
P_Z = 0.96
P2 = 0.00698 * 0.292**2 / 2
"""The source's best estimate, as the limit of sessions that are compared with predictions."""

SENT = 12_000_000_000


def whole(counts: Any) -> Any:
    """Expected counts as a session would have them."""
    return type(counts)(**{k: np.round(v) for k, v in vars(counts).items()})


def session_counts(seed: int | None = None) -> BasisCounts:
    """Counts of a session on the link; drawn where a seed is given, else rounded expectations."""
    clicks = detection(0.292, 0.00698, 0.9, LinkParameters.from_link(LINK))
    in_z, in_x, crossed = (SENT * p for p in (P_Z * 0.9, (1 - P_Z) * 0.1, P_Z * 0.1 * clicks.x))
    expected = BasisCounts(
        in_z * clicks.z,
        in_z * clicks.wrong_z,
        in_x * clicks.x,
        in_x * clicks.wrong_x,
        np.asarray(crossed),
        np.asarray(crossed / 2),
    )
    if seed is None:
        return whole(expected)
    rng = np.random.default_rng(seed)
    ok = {k: rng.poisson(v) for k, v in vars(expected).items()}
    return BasisCounts(**ok)


@pytest.mark.parametrize("protocol", ["efficient-bb84", "three-state"])
def test_expected_counts_give_the_predicted_key(protocol: Protocol) -> None:
    session = single_photon_session(
        session_counts(),
        SENT,
        SOURCE,
        LINK,
        p_z=P_Z,
        p2_limit=P2,
        eps_source=1e-10,
        protocol=protocol,
    )
    phase: Any = {"efficient-bb84": "eb", "three-state": "lt"}[protocol]
    given = replace(
        LinkParameters.from_link(LINK), block=np.asarray(float(SENT)), block_kind="sent"
    )
    predicted = single_photon_key(0.292, 0.00698, P_Z, 1.0, given, phase)
    # half a test error in 6000, by rounding, moves the rate by 1e-5 of itself
    assert session.rate_per_pulse == pytest.approx(float(predicted.rate), rel=3e-5)
    assert session.qber == pytest.approx(float(predicted.qber), rel=1e-5)
    assert session.key_length == np.floor(session.rate_per_pulse * SENT)


def test_drawn_counts_scatter_about_the_prediction() -> None:
    lengths = [
        single_photon_session(
            session_counts(seed), SENT, SOURCE, LINK, p_z=P_Z, p2_limit=P2, eps_source=1e-10
        ).key_length
        for seed in range(8)
    ]
    expected = single_photon_session(
        session_counts(), SENT, SOURCE, LINK, p_z=P_Z, p2_limit=P2, eps_source=1e-10
    ).key_length
    # the test errors (6000) scatter by 1.3 %, which moves h(phase error) by about 0.4 %
    assert np.mean(lengths) == pytest.approx(expected, rel=0.01)
    assert 0 < np.std(lengths) < 0.01 * expected


def test_an_upper_limit_of_p2_shortens_the_key() -> None:
    counts = session_counts()
    best = single_photon_session(counts, SENT, SOURCE, LINK, p_z=P_Z, p2_limit=P2, eps_source=1e-10)
    pulses, eta = 1e9, 0.2
    coincidences = round(2 * P2 * pulses * eta**2)
    limit = multiphoton_limit(coincidences, pulses, eta, eta, 1e-10)
    assert P2 < limit < 1.1 * P2  # 24 000 coincidences: 6.4 sigma are 4 %
    limited = single_photon_session(
        counts, SENT, SOURCE, LINK, p_z=P_Z, p2_limit=limit, eps_source=1e-10
    )
    assert 0.9 < limited.key_length / best.key_length < 1


def test_multiphoton_limit_of_no_coincidence_is_exact() -> None:
    assert multiphoton_limit(0, 1e6, 1.0, 1.0, 0.05) == pytest.approx(-np.log(0.05) / 2e6)
    for wrong in ((-1, 1e6, 0.5, 0.5, 0.1), (1, 1e6, 1.5, 0.5, 0.1), (1, 0.0, 0.5, 0.5, 0.1)):
        with pytest.raises(UsageError):
            multiphoton_limit(*wrong)


def test_coherent_session_gives_the_predicted_key() -> None:
    given = LinkParameters.from_link(LINK)
    for decoys in ("vacuum+weak", "one-decoy"):
        key, settings = best_coherent_key(given, decoys)  # type: ignore[arg-type]
        counts, sent = coherent_counts(settings, given)
        session = coherent_session(
            whole(counts), float(sent), settings.light, LINK, p_z=float(settings.p_z)
        )
        # rounding moves the few counts of the vacuum setting
        assert session.rate_per_pulse == pytest.approx(float(key.rate), rel=1e-3)


def test_attenuator_session_gives_the_predicted_key() -> None:
    given = LinkParameters.from_link(LINK)
    key, settings = best_attenuator_key(0.292, 0.00698, given)
    counts, sent = attenuator_counts(settings, given)
    setting = (settings.source.transmission, settings.source.share, LINK)
    p_z = float(settings.p_z)
    session = attenuator_session(whole(counts), float(sent), SOURCE, *setting, p_z=p_z)
    limited = predict_with_decoy(SOURCE, LINK, eps_source=1e-10, comparators=())[0]
    # the linear program is at least as tight as the closed form of the prediction
    assert limited.rate_per_pulse < 0.998 * float(key.rate)
    assert 0.999 < session.rate_per_pulse / limited.rate_per_pulse < 1.02
    brighter = replace(SOURCE.mean_photon_number, value=0.35)
    with pytest.raises(InconclusiveError, match="no photon-number yields"):
        attenuator_session(
            replace(
                whole(counts),
                sifted=whole(counts).sifted[[1, 0, 2]] + 1e6,
                sifted_errors=np.zeros(3),
            ),
            float(sent),
            replace(SOURCE, mean_photon_number=brighter),
            *setting,
            p_z=p_z,
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sifted": -1}, "whole numbers"),
        ({"test": 10.5}, "whole numbers"),
        ({"test": float("nan")}, "whole numbers"),
        ({"test_errors": 10**12}, "test_errors exceeds test"),
        ({"sifted": np.array([1, 2])}, "one number"),
    ],
)
def test_what_cannot_be_counts_is_refused(change: dict[str, Any], words: str) -> None:
    counts = replace(session_counts(), **change)
    with pytest.raises(UsageError, match=words):
        single_photon_session(counts, SENT, SOURCE, LINK, p_z=P_Z)


def test_more_clicks_than_photons_is_a_contradiction() -> None:
    with pytest.raises(InconclusiveError, match="measure the source again"):
        single_photon_session(session_counts(), 1e8, SOURCE, LINK, p_z=P_Z)


def test_an_empty_session_has_no_key() -> None:
    nothing = BasisCounts(*(np.asarray(0) for _ in range(6)))  # type: ignore[arg-type]
    session = single_photon_session(nothing, SENT, SOURCE, LINK, p_z=P_Z)
    assert (session.key_length, session.rate_per_pulse, session.qber) == (0, 0, 0.5)
    no_test = replace(session_counts(), test=0, test_errors=0)
    assert single_photon_session(no_test, SENT, SOURCE, LINK, p_z=P_Z).key_length == 0
