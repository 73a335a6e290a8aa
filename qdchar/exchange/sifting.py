"""Sifting: which pulses of Alice Bob detected, where their bases agree, and the errors of the test.

Bob tells which pulses clicked, in which basis, and his outcomes in basis X, which never become key.
From these outcomes Alice finds which of her pulses they belong to. She answers with her bases and,
for the test, her bits in X. So it costs no key to find the first pulse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.keyrate.single_photon.finite_key import BasisCounts

from .messages import Parts
from .pattern import Pattern, X, Z, compiled, state_of
from .receiver import Detections

Bits = NDArray[np.uint8]

SEARCH_PULSES = 1 << 13
"""How far the two starts can be apart: 107 us at 76 MHz. Network clocks are better than that."""

_CLEAR_SIGMA = 8.0
"""Least significance of the alignment: noise exceeds it with probability 1e-11 in all trials."""

_NOT_SENT = 2
"""Alice's answer for a click outside of her pulses, where her basis would stand."""


@dataclass(frozen=True)
class Announcement:
    """What Bob tells of his detections; see `Detections`. Outcomes in X only, shape (n_x,)."""

    pulses: NDArray[np.int64]
    bases: Bits
    test_outcomes: Bits

    @classmethod
    def of(cls, detections: Detections) -> Announcement:
        """Leave out the outcomes in the key basis."""
        d = detections
        return cls(d.pulses, d.bases, d.outcomes[d.bases == X])

    def parts(self) -> Parts:
        """As parts of a message."""
        return (self.pulses, np.packbits(self.bases), np.packbits(self.test_outcomes))

    @classmethod
    def from_parts(cls, parts: Parts) -> Announcement:
        """Read a message."""
        pulses, bases, outcomes = parts
        in_x = np.unpackbits(bases, count=len(pulses))
        return cls(pulses, in_x, np.unpackbits(outcomes, count=int(in_x.sum())))


@dataclass(frozen=True)
class Answer:
    """What Alice tells: her basis of each click (2: she sent no such pulse); her bits in X, X."""

    bases: Bits
    test_bits: Bits

    def parts(self) -> Parts:
        """As parts of a message."""
        return (self.bases, np.packbits(self.test_bits))

    @classmethod
    def from_parts(cls, parts: Parts, announced: Announcement) -> Answer:
        """Read a message."""
        bases, bits = parts
        both = np.count_nonzero((bases == X) & (announced.bases == X))
        return cls(bases, np.unpackbits(bits, count=int(both)))


@compiled
def _agreement(
    seed: np.uint64,
    p_z: float,
    three_states: bool,
    sent: int,
    pulses: NDArray[np.int64],
    outcomes: Bits,
    first: int,
    last: int,
) -> NDArray[np.float64]:
    """Compute how well outcomes in X agree with her states, for offsets from `first` to `last`.

    In standard deviations of chance: (right - wrong) / sqrt(right + wrong).
    """
    score = np.zeros(last - first)
    for offset in range(first, last):
        right = wrong = 0
        for i in range(len(pulses)):
            pulse = pulses[i] + offset
            if 0 <= pulse < sent:
                state = state_of(seed, pulse, p_z, three_states)
                if state >= 2:
                    if state - 2 == outcomes[i]:
                        right += 1
                    else:
                        wrong += 1
        if right + wrong > 0:
            score[offset - first] = (right - wrong) / np.sqrt(right + wrong)
    return score


def find_offset(pattern: Pattern, announced: Announcement) -> int:
    """Find what to add to Bob's pulse numbers to have Alice's.

    Parameters
    ----------
    pattern
        Alice's states.
    announced
        Bob's detections; the first outcomes in X are used, as many as needed.

    Raises
    ------
    InconclusiveError
        No offset within `SEARCH_PULSES` agrees clearly, and better than all others.
    """
    pulses = announced.pulses[announced.bases == X]
    # about 500 of these meet a pulse that Alice sent in X: without errors that is 22 sigma, and 11
    # where an eavesdropper has measured and sent each of them again
    enough = int(np.ceil(600 / (1 - pattern.p_z)))
    score = _agreement(
        np.uint64(pattern.seed),
        pattern.p_z,
        pattern.three_states,
        pattern.pulses,
        pulses[:enough],
        announced.test_outcomes[:enough],
        -SEARCH_PULSES,
        SEARCH_PULSES,
    )
    best = int(np.argmax(score))
    others = np.delete(score, best)
    if score[best] < _CLEAR_SIGMA or others.max() > 0.8 * score[best]:
        raise InconclusiveError(
            f"exchange: no offset of the pulse numbers within {SEARCH_PULSES} pulses agrees with "
            f"what was sent (best {score[best]:.1f} sigma, next {others.max():.1f}): too many "
            "errors, too few detections, or the two sides did not start together"
        )
    return best - SEARCH_PULSES


@dataclass(frozen=True)
class Sifted:
    """One side's part of the sifted key, and the counts that both sides know.

    Attributes
    ----------
    key
        0 and 1, shape (n,).
    pulses
        Their numbers, as this side counts them, shape (n,).
    counts
        Without the errors of the key, which neither side knows: `sifted_errors` is 0.
    """

    key: Bits
    pulses: NDArray[np.int64]
    counts: BasisCounts


def answer(pattern: Pattern, announced: Announcement) -> tuple[Answer, Sifted]:
    """Alice's side of sifting: what she answers, and what she keeps.

    Raises
    ------
    InconclusiveError
        As in `find_offset`.
    """
    pulses = announced.pulses + find_offset(pattern, announced)
    sent = (pulses >= 0) & (pulses < pattern.pulses)
    states = pattern.states(pulses)
    bases = np.where(sent, states >> 1, _NOT_SENT).astype(np.uint8)
    reply = Answer(bases, (states & 1)[(bases == X) & (announced.bases == X)])
    both = (bases == Z) & (announced.bases == Z)
    return reply, Sifted((states & 1)[both], pulses[both], shared_counts(announced, reply))


def keep(detections: Detections, announced: Announcement, reply: Answer) -> Sifted:
    """Bob's side of sifting."""
    both = (reply.bases == Z) & (detections.bases == Z)
    return Sifted(
        detections.outcomes[both], detections.pulses[both], shared_counts(announced, reply)
    )


def shared_counts(announced: Announcement, reply: Answer) -> BasisCounts:
    """Count what both sides have told."""
    hers, his = reply.bases, announced.bases
    hers_of_test = hers[his == X]
    tested = announced.test_outcomes[hers_of_test == X]
    crossed = announced.test_outcomes[hers_of_test == Z]
    numbers = (
        np.count_nonzero((hers == Z) & (his == Z)),
        0,
        len(tested),
        np.count_nonzero(tested != reply.test_bits),
        len(crossed),
        np.count_nonzero(crossed == 0),
    )
    return BasisCounts(*(np.asarray(number, dtype=np.float64) for number in numbers))
