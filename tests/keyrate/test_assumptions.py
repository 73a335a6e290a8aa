"""What must be said, whatever the protocol: read as a security reviewer would."""

from __future__ import annotations

from typing import Any

import pytest

from qdchar.keyrate import prediction_assumptions

SUBJECTS = (
    "Multi-photon pulses: ",
    "Source's uncertainty: ",
    "Basis choice: ",
    "Receiver: ",
    "Phase randomisation: ",
    "Source: ",
    "Not treated: ",
)


@pytest.mark.parametrize("receiver", ["passive", "active"])
@pytest.mark.parametrize("accounting", ["alice", "joint", "decoy"])
def test_every_subject_has_its_sentence(accounting: Any, receiver: Any) -> None:
    sentences = prediction_assumptions(accounting, receiver, None)
    assert len(sentences) == len(SUBJECTS)
    for sentence, subject in zip(sentences, SUBJECTS, strict=True):
        assert sentence.startswith(subject)
        assert sentence.endswith(".")


@pytest.mark.parametrize("receiver", ["passive", "active"])
@pytest.mark.parametrize("accounting", ["alice", "joint", "decoy"])
def test_every_accounting_samples_the_phase_error_in_the_test_basis(
    accounting: Any, receiver: Any
) -> None:
    """An eavesdropper who steers the basis choice makes no error in either basis."""
    choice = prediction_assumptions(accounting, receiver, None)[2]
    assert "independent of the signal" in choice
    assert ("beam splitter" in choice) == (receiver == "passive")
    # two photons at a 9:1 splitter: 0.81 both in Z, 0.18 one in each
    assert ("at most one" in choice) == (accounting == "joint" and receiver == "passive")


def test_a_limit_of_the_source_is_told_from_its_best_estimate() -> None:
    assert "best estimates" in prediction_assumptions("alice", "passive", None)[1]
    limited = prediction_assumptions("alice", "passive", 1e-10)[1]
    assert "1e-10" in limited
    assert "best estimates" not in limited
