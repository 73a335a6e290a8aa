"""Error correction by Cascade: Bob asks for parities of parts of Alice's key.

In each pass both order the bits anew (the first pass keeps their order) and cut them into blocks,
and Alice tells the parity of each block. Where Bob's parity differs he halves the block by further
questions until he finds a wrong bit. A bit that he corrects changes the parity of the parts that
hold it in every other pass, and where one of them now differs he goes on there.

The parts whose parity is known are remembered, so that no parity is asked twice and each search
starts in the smallest known part. In one pass these parts never overlap: halving one makes two of
it. All searches of a pass go on at the same time, one halving a message.

Each parity that Alice tells discloses one bit of her key. Bob's questions follow from where the
keys differ; as usual, nothing is counted for them.

References
----------
G. Brassard, L. Salvail, Eurocrypt 1993, https://doi.org/10.1007/3-540-48285-7_35.
J. Martinez-Mateo et al., Quantum Inf. Comput. 15, 453 (2015), https://arxiv.org/abs/1407.3257.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, UsageError

from .messages import PublicChannel
from .pattern import compiled

Bits = NDArray[np.uint8]
Places = NDArray[np.int32]

FRAME_BITS = 1 << 18
"""Bits that are corrected together: longer frames disclose little less, and need more memory."""

_HALVING_PASSES = 11
"""Passes with blocks of half a frame. If errors are left, each such pass finds some of them with
probability 1/2 or more; if none are left, it costs two parities."""

PARITIES = "parities"
"""Subject of the messages that disclose bits of the key."""

_UNKNOWN = np.uint8(255)


@dataclass(frozen=True)
class Terms:
    """What one side knows of the passes; both sides know the same.

    Attributes
    ----------
    error_rate
        Expected share of different bits; a wrong guess costs efficiency only.
    seed
        Of the orders.
    """

    error_rate: float
    seed: int


@dataclass(frozen=True)
class Schedule:
    """Orders and block lengths of the passes; public.

    Attributes
    ----------
    block
        Bits in a block, one number a pass.
    order
        One array a pass, int32, shape (n,): which bit stands at each place.
    place
        The inverse: where each bit stands.
    """

    block: tuple[int, ...]
    order: tuple[Places, ...]
    place: tuple[Places, ...]

    @classmethod
    def of(cls, bits: int, terms: Terms) -> Schedule:
        """Orders for a key of some bits, from what both sides know."""
        block = block_lengths(bits, terms.error_rate)
        rng = np.random.default_rng(terms.seed)
        first = np.arange(bits, dtype=np.int32)
        order = [first, *(rng.permutation(first) for _ in block[1:])]
        place = []
        for places in order:
            inverse = np.empty_like(places)
            inverse[places] = first
            place.append(inverse)
        return cls(block, tuple(order), tuple(place))

    def blocks(self, number: int) -> tuple[Places, Places]:
        """Blocks of a pass: first place, and the place behind the last."""
        n, block = len(self.order[number]), self.block[number]
        low = np.arange(0, n, block, dtype=np.int32)
        return low, np.minimum(low + block, n).astype(np.int32)


def block_lengths(bits: int, error_rate: float) -> tuple[int, ...]:
    """Block length of each pass.

    A block of the first holds 0.7 to 1.4 errors; those of the second and third are spaced evenly
    on a logarithmic scale up to 4096 bits (at very few errors up to 16 times the first), the others
    are halves of the key: after what Martinez-Mateo et al. recommend.
    """
    if not 0 < error_rate < 0.5:
        raise UsageError(f"Cascade: an error rate of {error_rate:g}: more than 0, less than 0.5")
    longest = max(bits // 2, 1)
    start = max(math.ceil(-math.log2(error_rate) - 0.5), 1)
    last = max(12, start + 4)
    middle = math.ceil((start + last) / 2)
    sizes = (1 << start, 1 << middle, 1 << last)
    return tuple(min(size, longest) for size in (*sizes, *[longest] * _HALVING_PASSES))


@compiled
def _running_parity(bits: Bits, order: Places) -> Bits:
    """Parity of the bits at all places before each, shape (n + 1,)."""
    parity = np.zeros(len(bits) + 1, np.uint8)
    for i in range(len(bits)):
        parity[i + 1] = parity[i] ^ bits[order[i]]
    return parity


class ParityOracle:
    """Alice's side: she knows her key, and tells parities.

    Parameters
    ----------
    bits
        Her key, 0 and 1.
    schedule
        The passes.
    """

    def __init__(self, bits: Bits, schedule: Schedule) -> None:
        self._schedule = schedule
        self._parity = [_running_parity(bits, order) for order in schedule.order]

    def of_blocks(self, number: int) -> Bits:
        """Parities of the blocks of a pass."""
        return self.of_parts(number, *self._schedule.blocks(number))

    def of_parts(self, number: int, low: Places, high: Places) -> Bits:
        """Parities of the parts [low, high) of a pass.

        Raises
        ------
        InconclusiveError
            There is no such pass or part.
        """
        ends = np.concatenate((low, high))
        n = len(self._parity[0]) - 1
        if number >= len(self._parity) or ends.min() < 0 or ends.max() > n:
            raise InconclusiveError(
                "exchange: a question about bits that do not exist: a message was changed"
            )
        parity = self._parity[number]
        return np.asarray(parity[low] ^ parity[high])


@compiled
def _odd(bits: Bits, order: Places, low: Places, high: Places, told: Bits) -> NDArray[np.bool_]:
    """Tell in which parts Bob's parity is not the one that Alice told."""
    odd = np.empty(len(low), np.bool_)
    for j in range(len(low)):
        parity = told[j]
        for i in range(low[j], high[j]):
            parity ^= bits[order[i]]
        odd[j] = parity == 1
    return odd


@compiled
def _known_parts(
    places: Places, block: int, told: Bits, halves: Bits
) -> tuple[Places, Places, Bits]:
    """Smallest parts of known parity around some places: low, high, Alice's parity.

    `told` holds the parities of the blocks, `halves` that of the first half of each part that was
    halved, at the place where its second half begins.
    """
    n = len(halves)
    low, high = np.empty(len(places), np.int32), np.empty(len(places), np.int32)
    parity = np.empty(len(places), np.uint8)
    for j in range(len(places)):
        number = places[j] // block
        a, b, p = number * block, min((number + 1) * block, n), told[number]
        while b - a > 1:
            middle = (a + b) >> 1
            first = halves[middle]
            if first == _UNKNOWN:
                break
            if places[j] < middle:
                b, p = middle, first
            else:
                a, p = middle, p ^ first
        low[j], high[j], parity[j] = a, b, p
    return low, high, parity


class Corrector:
    """Bob's side: he asks, and corrects his key in place.

    Parameters
    ----------
    bits
        His key, 0 and 1; changed.
    schedule
        The passes.
    """

    def __init__(self, bits: Bits, schedule: Schedule) -> None:
        self._bits, self._schedule = bits, schedule
        self._told: list[Bits] = []
        self._halves: list[Bits] = []
        self._corrected: list[list[Places]] = []
        self._changed = np.zeros(len(bits), np.bool_)
        self._low = self._high = np.empty(0, np.int32)
        self._number = 0

    def begin(self, number: int, told: Bits) -> None:
        """Begin a pass with the parities of its blocks."""
        self._told.append(told)
        self._halves.append(np.full(len(self._bits), _UNKNOWN))
        self._corrected.append([])
        low, high = self._schedule.blocks(number)
        self._search(number, low, high, told)

    def _search(self, number: int, low: Places, high: Places, told: Bits) -> None:
        odd = _odd(self._bits, self._schedule.order[number], low, high, told)
        self._number, self._low, self._high = number, low[odd], high[odd]
        self._correct_single_bits()

    def next_questions(self) -> tuple[int, Places, Places] | None:
        """Return pass and parts of the next questions; None when every known parity agrees."""
        while len(self._low) == 0:
            number = next((p for p, found in enumerate(self._corrected) if found), None)
            if number is None:
                return None
            places = self._schedule.place[number][np.concatenate(self._corrected[number])]
            self._corrected[number] = []
            low, high, told = _known_parts(
                places, self._schedule.block[number], self._told[number], self._halves[number]
            )
            low, once = np.unique(low, return_index=True)
            self._search(number, low, high[once], told[once])
        return self._number, self._low, (self._low + self._high) >> 1

    def take(self, told: Bits) -> None:
        """Take the answers to `next_questions`: go on in the half that differs."""
        middle = (self._low + self._high) >> 1
        self._halves[self._number][middle] = told
        order = self._schedule.order[self._number]
        first = _odd(self._bits, order, self._low, middle, told)
        self._low = np.where(first, self._low, middle)
        self._high = np.where(first, middle, self._high)
        self._correct_single_bits()

    def _correct_single_bits(self) -> None:
        found = self._high - self._low == 1
        if not found.any():
            return
        wrong = self._schedule.order[self._number][self._low[found]]
        # with Alice's true parities each search ends at a wrong bit, and that is right from then on
        if self._changed[wrong].any():
            raise InconclusiveError(
                "exchange: parities contradict one another: a message was changed"
            )
        self._changed[wrong] = True
        self._bits[wrong] ^= 1
        for number, corrected in enumerate(self._corrected):
            if number != self._number:
                corrected.append(wrong)
        self._low, self._high = self._low[~found], self._high[~found]


def correct(
    alice: Bits, bob: Bits, hers: Terms, his: Terms, channel: PublicChannel
) -> tuple[Bits, int]:
    """Correct Bob's key, frame by frame.

    Parameters
    ----------
    alice, bob
        The two keys, 0 and 1, shape (n,). Alice's is seen by her side only.
    hers, his
        What either side knows of the passes.
    channel
        Takes every message; its transcript counts the parities that Alice told.

    Returns
    -------
    ndarray
        Bob's corrected key. Whether it is Alice's, a hash has to tell.
    int
        Number of bits that he corrected.

    Raises
    ------
    InconclusiveError
        The answers contradict one another.
    """
    frames = max(round(len(alice) / FRAME_BITS), 1)

    @lru_cache(maxsize=4)  # frames differ by one bit in length
    def schedule(bits: int, terms: Terms) -> Schedule:
        return Schedule.of(bits, terms)

    corrected = []
    for a, b in zip(np.array_split(alice, frames), np.array_split(bob, frames), strict=True):
        oracle = ParityOracle(a, schedule(len(a), hers))
        corrected.append(_correct_frame(oracle, b, schedule(len(b), his), channel))
    key = np.concatenate(corrected)
    return key, int(np.count_nonzero(key != bob))


def _correct_frame(
    oracle: ParityOracle, bob: Bits, schedule: Schedule, channel: PublicChannel
) -> Bits:
    key = bob.copy()
    corrector = Corrector(key, schedule)

    def tell(told: Bits, asked: int) -> Bits:
        (packed,) = channel.to_bob(PARITIES, np.packbits(told), disclosed_bits=len(told))
        return np.unpackbits(packed, count=asked)

    for number, block in enumerate(schedule.block):
        corrector.begin(number, tell(oracle.of_blocks(number), -(-len(key) // block)))
        while (questions := corrector.next_questions()) is not None:
            which, low, high = questions
            asked = channel.to_alice("which parities", np.array([which], np.uint8), low, high)
            told = oracle.of_parts(int(asked[0][0]), asked[1], asked[2])
            corrector.take(tell(told, len(low)))
    return key
