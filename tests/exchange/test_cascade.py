"""Cascade: it corrects, tells true parities only, and counts each of them."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, UsageError
from qdchar.exchange.cascade import PARITIES, ParityOracle, Schedule, Terms, block_lengths, correct
from qdchar.exchange.messages import Message, PublicChannel

Bits = NDArray[np.uint8]


def _keys(bits: int, error_rate: float, seed: int) -> tuple[Bits, Bits]:
    rng = np.random.default_rng(seed)
    alice = rng.integers(0, 2, bits, dtype=np.uint8)
    return alice, alice ^ (rng.random(bits) < error_rate).astype(np.uint8)


def _correct(alice: Bits, bob: Bits, error_rate: float, channel: PublicChannel) -> tuple[Bits, int]:
    terms = Terms(error_rate, seed=5)
    return correct(alice, bob, terms, terms, channel)


def _shannon(rate: float) -> float:
    return -rate * math.log2(rate) - (1 - rate) * math.log2(1 - rate)


@pytest.mark.parametrize(("error_rate", "seed"), [(0.004, 1), (0.0254, 2), (0.08, 3)])
def test_corrects_at_little_more_than_the_shannon_limit(error_rate: float, seed: int) -> None:
    alice, bob = _keys(100_003, error_rate, seed)
    channel = PublicChannel()
    key, errors = _correct(alice, bob, error_rate, channel)
    assert np.array_equal(key, alice)
    assert errors == np.count_nonzero(alice != bob)
    efficiency = channel.disclosed_bits(PARITIES) / len(alice) / _shannon(errors / len(alice))
    # no code can be below 1; that the blocks have powers of two as length costs up to 8 %
    assert 1 < efficiency < 1.08


@pytest.mark.parametrize(
    ("error_rate", "expected"),
    # 0.7 to 1.4 errors a block, and half way to the last on a logarithmic scale
    [
        (0.0254, (32, 512, 4096)),
        (0.012, (64, 512, 4096)),
        (0.18, (4, 128, 4096)),
        (1e-4, (8192, 32768, 131072)),
    ],
)
def test_blocks_of_the_first_passes(error_rate: float, expected: tuple[int, ...]) -> None:
    lengths = block_lengths(2**18, error_rate)
    assert lengths[:3] == expected
    assert set(lengths[3:]) == {2**17}
    assert max(block_lengths(50, error_rate)) == 25


@pytest.mark.parametrize("error_rate", [0.0, 0.5])
def test_error_rates_that_cannot_be_corrected_are_refused(error_rate: float) -> None:
    with pytest.raises(UsageError, match="more than 0, less than"):
        block_lengths(1000, error_rate)


def test_keys_without_errors_stay() -> None:
    alice, _ = _keys(3000, 0.0, 7)
    key, errors = _correct(alice, alice.copy(), 1e-3, PublicChannel())
    assert np.array_equal(key, alice)
    assert errors == 0


@pytest.mark.parametrize("guess", [0.008, 0.09])
def test_a_wrong_guess_costs_parities_and_no_errors(guess: float) -> None:
    alice, bob = _keys(30_000, 0.027, 4)
    right, wrong = PublicChannel(), PublicChannel()
    _correct(alice, bob, 0.027, right)
    key, _ = _correct(alice, bob, guess, wrong)
    assert np.array_equal(key, alice)
    assert wrong.disclosed_bits(PARITIES) > right.disclosed_bits(PARITIES)


def test_each_parity_is_true_asked_once_and_counted() -> None:
    """The messages themselves, against sums over Alice's key."""
    alice, bob = _keys(5000, 0.03, 6)
    schedule = Schedule.of(len(alice), Terms(0.03, seed=5))
    messages: list[Message] = []

    def keep(message: Message) -> Message:
        messages.append(message)
        return message

    channel = PublicChannel(keep)
    _correct(alice, bob, 0.03, channel)
    told = 0
    asked: set[tuple[int, int, int]] = set()
    passes = iter(range(len(schedule.block)))
    for question, reply in zip([None, *messages], messages, strict=False):
        if reply.subject != PARITIES:
            continue
        if question is not None and question.subject == "which parities":
            number = int(question.parts[0][0])
            low, high = question.parts[1], question.parts[2]
        else:
            number = next(passes)
            low = np.arange(0, len(alice), schedule.block[number])
            high = np.minimum(low + schedule.block[number], len(alice))
        parts = [(number, int(a), int(b)) for a, b in zip(low, high, strict=True)]
        assert not asked.intersection(parts)
        asked.update(parts)
        answers = np.unpackbits(reply.parts[0])[: len(parts)]
        for (which, a, b), parity in zip(parts, answers, strict=True):
            assert parity == alice[schedule.order[which][a:b]].sum() % 2
        assert reply.disclosed_bits == len(parts)
        told += len(parts)
    assert told == channel.disclosed_bits(PARITIES) == len(asked)


def test_orders_are_permutations_with_their_inverses() -> None:
    schedule = Schedule.of(777, Terms(0.02, seed=8))
    assert len(schedule.order) == len(block_lengths(777, 0.02))
    for order, place in zip(schedule.order, schedule.place, strict=True):
        assert np.array_equal(np.sort(order), np.arange(777))
        assert np.array_equal(place[order], np.arange(777))
    assert not np.array_equal(schedule.order[1], schedule.order[2])


@pytest.mark.parametrize(
    ("number", "low", "high"), [(14, 0, 5), (1, -1, 5), (1, 3, 101), (1, 200, 5), (1, 7, -2)]
)
def test_questions_about_bits_that_do_not_exist_are_refused(
    number: int, low: int, high: int
) -> None:
    oracle = ParityOracle(np.ones(100, np.uint8), Schedule.of(100, Terms(0.03, seed=1)))
    assert oracle.of_parts(1, np.array([3], np.int32), np.array([8], np.int32)).tolist() == [1]
    with pytest.raises(InconclusiveError, match="do not exist"):
        oracle.of_parts(number, np.array([low], np.int32), np.array([high], np.int32))


@pytest.mark.parametrize("which", [0, 3, 20, 60])
def test_a_false_parity_ends_in_different_keys_or_a_contradiction(which: int) -> None:
    alice, bob = _keys(8000, 0.03, 9)
    count = 0

    def flip(message: Message) -> Message:
        nonlocal count
        if message.subject == PARITIES:
            count += 1
            if count == which + 1:
                message.parts[0][0] ^= 0x80
        return message

    with suppress(InconclusiveError):
        key, _ = _correct(alice, bob, 0.03, PublicChannel(flip))
        assert not np.array_equal(key, alice)
