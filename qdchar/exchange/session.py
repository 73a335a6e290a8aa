"""A whole exchange: from Alice's pattern and Bob's time tags to the same key on both sides.

The two sides see one another's messages and nothing else. What each computes from them is the same:
counts, length of the key, orders of Cascade, hashes. Not part of it is authentication: whoever can
change messages can stand between the two sides. A real channel needs it, and key for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.keyrate.measured.correction import Correction
from qdchar.keyrate.measured.key import SessionKey, single_photon_session
from qdchar.keyrate.single_photon.finite_key import BasisCounts
from qdchar.keyrate.tail_bounds import binary_entropy
from qdchar.roles import TagBlock

from . import cascade, sifting
from .hashing import seed_bytes, toeplitz_hash
from .messages import PublicChannel
from .pattern import Pattern
from .prediction import Plan
from .receiver import Detections, Receiver, detect

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class ErrorRate:
    """Errors of a basis, with the exact 95 % interval of Clopper and Pearson."""

    errors: int
    detections: int

    @property
    def rate(self) -> float:
        """Errors per detection."""
        return self.errors / self.detections

    @property
    def interval(self) -> tuple[float, float]:
        """Central 95 % interval."""
        from scipy.stats import binomtest

        found = binomtest(self.errors, self.detections).proportion_ci(0.95, "exact")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Step:
    """A step of the exchange: how many bits it took in, and processor time of both sides."""

    bits: int
    seconds: float

    @property
    def Mbit_per_s(self) -> float:
        """Throughput [Mbit/s]."""
        return self.bits / self.seconds / 1e6


@dataclass(frozen=True)
class MadeKey:
    """What an exchange made, and how.

    Attributes
    ----------
    alice, bob
        The key of either side, 0 and 1, shape (bits,). Empty where there is none.
    counts
        Of the session, with the errors that Bob corrected.
    from_counts
        Key of these counts with the leak that error correction is expected to have.
    final
        Key of these counts with the leak that was counted; its length is that of `alice`.
    leaked_bits
        Parities that Alice disclosed.
    efficiency
        `leaked_bits` over the Shannon limit, f; None without errors, whose limit is 0.
    key_errors, test_errors
        Error rates of the two bases.
    sifted_pulses
        Alice's numbers of the pulses of the sifted key.
    detections
        What Bob had before sifting.
    steps
        Sifting, correction, verification, and amplification if there was a key.
    """

    alice: Bits
    bob: Bits
    counts: BasisCounts
    from_counts: SessionKey
    final: SessionKey
    leaked_bits: int
    efficiency: float | None
    key_errors: ErrorRate
    test_errors: ErrorRate
    sifted_pulses: NDArray[np.int64]
    detections: Detections
    steps: dict[str, Step]

    @property
    def identical(self) -> bool:
        """Whether both sides have the same key; neither side can see this by itself."""
        return np.array_equal(self.alice, self.bob)


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def of(self, step: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.process_time() - began


def make_key(
    plan: Plan,
    pattern: Pattern,
    blocks: Iterable[TagBlock],
    receiver: Receiver,
    rng_alice: np.random.Generator,
    rng_bob: np.random.Generator,
    channel: PublicChannel | None = None,
) -> MadeKey:
    """Make a key.

    Parameters
    ----------
    plan
        What both sides agreed on.
    pattern
        What Alice sent; hers alone.
    blocks
        Bob's time tags; his alone.
    receiver
        Bob's.
    rng_alice
        Makes the public seeds of Cascade and of the hashes. Alice makes them when Bob's detections
        are over: they have to be unknown before.
    rng_bob
        Bob's coin for gates with several clicks.
    channel
        Carries the messages; default a new one.

    Raises
    ------
    InconclusiveError
        No pulses in the tags; the first pulse is not found; the keys differ after error
        correction; a message was changed on its way. There is no key then.
    """
    channel = channel or PublicChannel()
    clock = _Clock()
    detections = detect(blocks, receiver, rng_bob)
    with clock.of("sifting"):
        alice, bob = _sift(pattern, detections, channel)
    sifted = len(alice.key)
    if sifted == 0 or alice.counts.test == 0:
        raise InconclusiveError(
            f"exchange: {sifted} sifted and {float(alice.counts.test):g} test detections: there is "
            "no key without both; exchange for longer"
        )
    with clock.of("correction"):
        corrected, errors = _correct(alice, bob, rng_alice, channel)
    leaked = channel.disclosed_bits(cascade.PARITIES)
    hash_bits = math.ceil(-math.log2(plan.link.epsilon_correctness))
    with clock.of("verification"):
        _verify(alice.key, corrected, hash_bits, rng_alice, channel)
    correction = Correction(leaked, hash_bits)
    hers, his = (int(_key(plan, side.counts, correction).key_length) for side in (alice, bob))
    keys = (alice.key[:0], corrected[:0])
    if hers or his:
        with clock.of("amplification"):
            keys = _amplify((alice.key, hers), (corrected, his), rng_alice, channel)
    _compare_digests(channel)
    counts = replace(bob.counts, sifted_errors=np.asarray(float(errors)))
    shannon = float(binary_entropy(errors / sifted)) * sifted
    return MadeKey(
        alice=keys[0],
        bob=keys[1],
        counts=counts,
        from_counts=_key(plan, counts, Correction(None, hash_bits)),
        final=_key(plan, counts, correction),
        leaked_bits=leaked,
        efficiency=leaked / shannon if shannon > 0 else None,
        key_errors=ErrorRate(errors, sifted),
        test_errors=ErrorRate(int(counts.test_errors), int(counts.test)),
        sifted_pulses=alice.pulses,
        detections=detections,
        steps={
            name: Step(sifted, seconds) for name, seconds in clock.seconds.items() if seconds > 0
        },
    )


def _sift(
    pattern: Pattern, detections: Detections, channel: PublicChannel
) -> tuple[sifting.Sifted, sifting.Sifted]:
    announced = sifting.Announcement.of(detections)
    heard = sifting.Announcement.from_parts(channel.to_alice("detections", *announced.parts()))
    reply, alice = sifting.answer(pattern, heard)
    arrived = channel.to_bob("bases and test bits", *reply.parts())
    return alice, sifting.keep(detections, announced, sifting.Answer.from_parts(arrived, announced))


def _correct(
    alice: sifting.Sifted, bob: sifting.Sifted, rng: np.random.Generator, channel: PublicChannel
) -> tuple[Bits, int]:
    if len(alice.key) != len(bob.key):
        raise InconclusiveError(
            f"exchange: Alice sifted {len(alice.key)} bits and Bob {len(bob.key)}: a message was "
            "changed on its way"
        )
    seed = rng.integers(0, 2**64, 1, np.uint64)
    (told,) = channel.to_bob("orders of the passes", seed)
    hers = cascade.Terms(_expected_error_rate(alice.counts), int(seed[0]))
    his = cascade.Terms(_expected_error_rate(bob.counts), int(told[0]))
    return cascade.correct(alice.key, bob.key, hers, his, channel)


def _expected_error_rate(counts: BasisCounts) -> float:
    """Guess the key's error rate from the test: Laplace's rule, neither 0 nor 1 for few counts."""
    wrong, test = float(counts.test_errors), float(counts.test)
    rate = (wrong + 1) / (test + 2)
    if rate >= 0.5:
        raise InconclusiveError(
            f"exchange: {wrong:g} of {test:g} test detections are wrong: there is no key"
        )
    return rate


def _verify(
    alice: Bits, bob: Bits, bits: int, rng: np.random.Generator, channel: PublicChannel
) -> None:
    seed = _random_bytes(rng, seed_bytes(len(alice), bits))
    hers = toeplitz_hash(alice, bits, seed)
    told, hash_told = channel.to_bob(
        "verification hash", seed, np.packbits(hers), disclosed_bits=bits
    )
    his = toeplitz_hash(bob, bits, told)
    equal = np.array_equal(np.packbits(his), hash_told)
    (heard,) = channel.to_alice("verification", np.array([equal]))
    if not (equal and heard[0]):
        raise InconclusiveError(
            "exchange: verification failed: the keys differ after error correction, or a message "
            "was changed on its way; there is no key"
        )


def _amplify(
    alice: tuple[Bits, int],
    bob: tuple[Bits, int],
    rng: np.random.Generator,
    channel: PublicChannel,
) -> tuple[Bits, Bits]:
    """Hash each side's key to the length that it has computed."""
    (hers, bits), (his, expected) = alice, bob
    seed = _random_bytes(rng, seed_bytes(len(hers), bits))
    length, told = channel.to_bob("amplification", np.array([bits]), seed)
    if int(length[0]) != expected:
        raise InconclusiveError(
            f"exchange: Alice has a key of {int(length[0])} bits and Bob of {expected}: a message "
            "was changed on its way"
        )
    return toeplitz_hash(hers, bits, seed), toeplitz_hash(his, expected, told)


def _compare_digests(channel: PublicChannel) -> None:
    """Compare what either side sent and received, so that no changed message goes unnoticed."""
    hers, his = channel.digest("alice"), channel.digest("bob")
    (told,) = channel.to_bob("digest", hers)
    (heard,) = channel.to_alice("digest", his)
    if not (np.array_equal(told, his) and np.array_equal(heard, hers)):
        raise InconclusiveError(
            "exchange: the two sides have not sent and received the same messages; there is no key"
        )


def _key(plan: Plan, counts: BasisCounts, correction: Correction) -> SessionKey:
    return single_photon_session(
        counts,
        plan.pulses,
        plan.source,
        plan.link,
        p_z=plan.p_z,
        protocol=plan.protocol,
        accounting=plan.accounting,
        attenuation=plan.attenuation,
        p2_limit=plan.p2_limit,
        eps_source=plan.eps_source,
        correction=correction,
    )


def _random_bytes(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    return rng.integers(0, 256, count, dtype=np.uint8)
