"""The public messages of the two sides, and the bits of the key that they disclose.

The channel is not authenticated: somebody who can change messages can stand between the two sides.
By the digests that the sides compare at the end, a message is noticed that did not arrive as it was
sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["alice", "bob"]
Parts = tuple[NDArray[Any], ...]


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes
    ----------
    number
        From 0, over both directions.
    sender
        "alice" or "bob".
    subject
        What it is about, in words.
    parts
        Its content.
    disclosed_bits
        Bits of the sifted key that it gives away.
    """

    number: int
    sender: Side
    subject: str
    parts: Parts
    disclosed_bits: int = 0


@dataclass(frozen=True)
class Traffic:
    """All messages of one subject: how many, how long, and what they gave away."""

    messages: int = 0
    bytes: int = 0
    disclosed_bits: int = 0

    def with_message(self, message: Message) -> Traffic:
        """Count one more."""
        return Traffic(
            self.messages + 1,
            self.bytes + sum(part.nbytes for part in message.parts),
            self.disclosed_bits + message.disclosed_bits,
        )


class PublicChannel:
    """Carries the messages, counts them, and keeps a digest of them on each side.

    Parameters
    ----------
    change
        Changes a message on its way, for tests; default none.

    Attributes
    ----------
    traffic
        Subject to what was sent of it.
    """

    def __init__(self, change: Callable[[Message], Message] | None = None) -> None:
        self.traffic: dict[str, Traffic] = {}
        self._change = change
        self._count = 0
        self._digests = {"alice": hashlib.sha256(), "bob": hashlib.sha256()}

    def to_alice(self, subject: str, *parts: NDArray[Any], disclosed_bits: int = 0) -> Parts:
        """Send from Bob to Alice; returns what arrives."""
        return self._send("bob", subject, parts, disclosed_bits)

    def to_bob(self, subject: str, *parts: NDArray[Any], disclosed_bits: int = 0) -> Parts:
        """Send from Alice to Bob; returns what arrives."""
        return self._send("alice", subject, parts, disclosed_bits)

    def disclosed_bits(self, subject: str) -> int:
        """Bits of the sifted key that the messages of a subject gave away."""
        return self.traffic.get(subject, Traffic()).disclosed_bits

    def digest(self, side: Side) -> NDArray[np.uint8]:
        """SHA-256 of all messages as a side sent or received them, shape (32,)."""
        return np.frombuffer(self._digests[side].digest(), np.uint8)

    def _send(self, sender: Side, subject: str, parts: Parts, disclosed_bits: int) -> Parts:
        sent = Message(self._count, sender, subject, parts, disclosed_bits)
        self._count += 1
        self.traffic[subject] = self.traffic.get(subject, Traffic()).with_message(sent)
        # a copy: what one side changes afterwards does not reach the other
        arrived = replace(sent, parts=tuple(part.copy() for part in parts))
        if self._change is not None:
            arrived = self._change(arrived)
        receiver: Side = "bob" if sender == "alice" else "alice"
        for side, message in ((sender, sent), (receiver, arrived)):
            digest = self._digests[side]
            digest.update(f"{message.number} {message.sender} {message.subject}".encode())
            for part in message.parts:
                digest.update(f" {part.dtype.str} {part.shape}".encode())
                digest.update(part.tobytes())
        return arrived.parts
