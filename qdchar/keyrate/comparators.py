"""Coherent light on the same link, by name: what a source has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .decoy.coherent import best_infinite_decoy, infinite_decoy_rate
from .decoy.coherent_finite import Decoys, best_coherent_key, coherent_key
from .ideal import coherent_rate
from .link_parameters import BlockKind, LinkParameters
from .single_photon.finite_key import Phase

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Light:
    """Coherent light at its best settings.

    Attributes
    ----------
    rate
        Secret bits per sent pulse.
    rate_at
        Rate at these settings with other link parameters of the same shape.
    """

    rate: Floats
    rate_at: Callable[[LinkParameters], Floats]


@dataclass(frozen=True)
class Comparator:
    """A protocol for coherent light.

    Attributes
    ----------
    name
        As it stands in every output.
    description
        One line for a table's foot.
    best
        Coherent light on a given link, all parameters optimised.
    finite
        A finite-key protocol: not defined without a block.
    """

    name: str
    description: str
    best: Callable[[LinkParameters], Light]
    finite: bool = False

    def rate(self, given: LinkParameters) -> Floats:
        """Best secret bits per sent pulse on a given link."""
        return self.best(given).rate


def _ideal(given: LinkParameters) -> Light:
    def rate_at(other: LinkParameters) -> Floats:
        return coherent_rate(other.eta) * np.ones(other.shape)

    return Light(rate_at(given), rate_at)


def _infinite(given: LinkParameters) -> Light:
    rate, mean = best_infinite_decoy(given)
    return Light(rate, lambda other: infinite_decoy_rate(mean, other))


def _finite(decoys: Decoys, phase: Phase) -> Callable[[LinkParameters], Light]:
    def best(given: LinkParameters) -> Light:
        key, settings = best_coherent_key(given, decoys, phase)
        return Light(key.rate, lambda other: coherent_key(settings, other, phase).rate)

    return best


COMPARATORS = {
    c.name: c
    for c in (
        Comparator(
            "wcp-ideal",
            "coherent light, ideal: eta/e, no errors, no finite statistics, all pulses in the key",
            _ideal,
        ),
        Comparator(
            "wcp-infinite-decoy",
            "coherent light, infinitely many decoy states, asymptotic, with the link's errors",
            _infinite,
        ),
        Comparator(
            "wcp-vacuum-weak-three-state",
            "coherent light, three states, vacuum + weak decoy, same block, Yin's bounds; "
            "reproduces the paper's baseline within 1 %",
            _finite("vacuum+weak", "lt"),
            finite=True,
        ),
        Comparator(
            "wcp-vacuum-weak-bb84",
            "coherent light, efficient BB84, vacuum + weak decoy, same block, Yin's bounds",
            _finite("vacuum+weak", "eb"),
            finite=True,
        ),
        Comparator(
            "wcp-one-decoy-bb84",
            "coherent light, efficient BB84, one decoy state, same block, Yin's bounds",
            _finite("one-decoy", "eb"),
            finite=True,
        ),
        Comparator(
            "wcp-one-decoy-three-state",
            "coherent light, three states, one decoy state, same block, Yin's bounds",
            _finite("one-decoy", "lt"),
            finite=True,
        ),
    )
}


def same_protocol(protocol: str, block_kind: BlockKind) -> str:
    """Name of the comparator that compares like with like.

    Coherent light in the same states with vacuum + weak decoy, in the same block; in an endless
    block infinitely many decoy states, which is the limit of both.

    Parameters
    ----------
    protocol
        The source's, with or without decoy.
    block_kind
        Kind of its block.
    """
    if block_kind == "asymptotic":
        return "wcp-infinite-decoy"
    states = "three-state" if protocol.startswith("three-state") else "bb84"
    return f"wcp-vacuum-weak-{states}"


def comparators_for(block_kind: BlockKind) -> tuple[str, ...]:
    """Names of the comparators that are defined for this kind of block."""
    asymptotic = block_kind == "asymptotic"
    return tuple(c.name for c in COMPARATORS.values() if not (asymptotic and c.finite))
