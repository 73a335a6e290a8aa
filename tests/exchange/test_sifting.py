"""Sifting against a loop over pulses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qdchar.errors import UsageError
from qdchar.exchange.pattern import Pattern
from qdchar.exchange.receiver import Detections
from qdchar.exchange.sifting import Announcement, Answer, answer, find_offset, keep

PATTERNS = [Pattern(21, 60_000, 0.7, 4), Pattern(22, 60_000, 0.7, 3)]


def _detections(pattern: Pattern, offset: int, seed: int) -> Detections:
    """Detections of one pulse in twelve, some outside of what was sent, with 10 % errors."""
    rng = np.random.default_rng(seed)
    pulses = np.flatnonzero(rng.random(pattern.pulses + 400) < 1 / 12) - 200
    states = pattern.states(pulses)
    bases = (rng.random(len(pulses)) < 0.4).astype(np.uint8)
    wrong = rng.random(len(pulses)) < 0.1
    random = rng.integers(0, 2, len(pulses), dtype=np.uint8)
    outcomes = np.where(bases == states >> 1, (states & 1) ^ wrong, random).astype(np.uint8)
    return Detections(
        pulses=pulses - offset,
        bases=bases,
        outcomes=outcomes,
        period_ps=13_000.0,
        delays_ps=(0.0, 0.0, 0.0, 0.0),
        tags=len(pulses),
        gated=len(pulses),
        multiple_clicks=0,
        folded=np.zeros(1024, np.int64),
        gate_ps=(-1.0, 1.0),
    )


@pytest.mark.parametrize("pattern", PATTERNS, ids=["four", "three"])
def test_both_sides_keep_what_a_loop_keeps(pattern: Pattern) -> None:
    detections = _detections(pattern, offset=-731, seed=5)
    announced = Announcement.from_parts(Announcement.of(detections).parts())
    reply, alice = answer(pattern, announced)
    bob = keep(detections, announced, Answer.from_parts(reply.parts(), announced))

    hers, his, pulses = [], [], []
    test = test_errors = crossed = crossed_right = 0
    clicks = zip(detections.pulses, detections.bases, detections.outcomes, strict=True)
    for pulse, basis, outcome in clicks:
        number = int(pulse) - 731
        if not 0 <= number < pattern.pulses:
            continue
        state = int(pattern.states(np.array([number]))[0])
        if state < 2 and basis == 0:
            hers.append(state)
            his.append(int(outcome))
            pulses.append(number)
        elif state >= 2 and basis == 1:
            test += 1
            test_errors += state - 2 != outcome
        elif state < 2:
            crossed += 1
            crossed_right += outcome == 0
    assert alice.key.tolist() == hers
    assert bob.key.tolist() == his
    assert alice.pulses.tolist() == pulses
    assert (bob.pulses - 731).tolist() == pulses
    for side in (alice, bob):
        counts = side.counts
        assert (counts.sifted, counts.sifted_errors) == (len(hers), 0)
        assert (counts.test, counts.test_errors) == (test, test_errors)
        assert (counts.crossed, counts.crossed_right) == (crossed, crossed_right)


def test_no_outcome_of_the_key_basis_and_no_bit_of_it_is_told() -> None:
    pattern = PATTERNS[0]
    detections = _detections(pattern, offset=17, seed=6)
    announced = Announcement.of(detections)
    reply, _ = answer(pattern, announced)
    in_z = (detections.bases == 0).astype(np.uint8)
    flipped = replace(detections, outcomes=detections.outcomes ^ in_z)
    for one, other in zip(announced.parts(), Announcement.of(flipped).parts(), strict=True):
        assert np.array_equal(one, other)
    both_x = (reply.bases == 1) & (detections.bases == 1)
    assert len(reply.test_bits) == both_x.sum()


@pytest.mark.parametrize("offset", [-8192, -1, 8191])
def test_offset_is_found_up_to_the_ends_of_the_search(offset: int) -> None:
    pattern = PATTERNS[1]
    announced = Announcement.of(_detections(pattern, offset, seed=7))
    assert find_offset(pattern, announced) == offset


def test_states_are_as_likely_as_they_should_be() -> None:
    """5 sigma of 10^6 draws are at most 0.0025; neighbours are independent."""
    pulses = np.arange(3_000_000_000, 3_001_000_000)
    four = Pattern(31, 2**40, 0.83, 4).states(pulses)
    shares = np.bincount(four, minlength=4) / len(four)
    assert shares == pytest.approx([0.415, 0.415, 0.085, 0.085], abs=0.0025)
    in_z = four < 2
    assert np.mean(in_z[1:] & in_z[:-1]) == pytest.approx(0.83**2, abs=0.0025)
    three = Pattern(31, 2**40, 0.83, 3).states(pulses)
    assert np.bincount(three, minlength=4) / len(three) == pytest.approx(
        [0.415, 0.415, 0.17, 0], abs=0.0025
    )


def test_impossible_patterns_are_refused() -> None:
    with pytest.raises(UsageError, match="p_z = 1"):
        Pattern(1, 10, 1.0, 4)
    with pytest.raises(UsageError, match="0 pulses"):
        Pattern(1, 0, 0.9, 4)
