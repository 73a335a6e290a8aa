"""Coherent light on the same link, by name: what a source has to beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .coherent import best_infinite_decoy
from .conditions import Conditions
from .ideal import coherent_rate

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
    """

    name: str
    description: str
    rate: Callable[[Conditions], Floats]


def _ideal(given: Conditions) -> Floats:
    return coherent_rate(given.eta) * np.ones(given.shape)


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
    )
}
