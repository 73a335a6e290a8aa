"""Coherent light on the same link, by name: what a source has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .coherent import best_infinite_decoy
from .coherent_finite import Decoys, best_coherent_key
from .conditions import Conditions
from .ideal import coherent_rate
from .single_photon_counts import Phase

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparator:
    """A protocol for coherent light.

    Attributes
    ----------
    name
        As it stands in every output.
    description
        One line for a table's foot.
    rate
        Best secret bits per sent pulse under given conditions, all parameters optimised.
    finite
        A finite-key protocol: not defined without a block.
    """

    name: str
    description: str
    rate: Callable[[Conditions], Floats]
    finite: bool = False


def _ideal(given: Conditions) -> Floats:
    return coherent_rate(given.eta) * np.ones(given.shape)


def _finite(decoys: Decoys, phase: Phase) -> Callable[[Conditions], Floats]:
    return lambda given: best_coherent_key(given, decoys, phase)[0].rate


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
            lambda given: best_infinite_decoy(given)[0],
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
    )
}


def comparators_for(given: Conditions) -> tuple[str, ...]:
    """Names of the comparators that are defined under these conditions."""
    endless = given.block_kind == "asymptotic"
    return tuple(c.name for c in COMPARATORS.values() if not (endless and c.finite))
