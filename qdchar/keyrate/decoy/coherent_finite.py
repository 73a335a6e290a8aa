"""Phase-randomised coherent light with finite decoy states, all parameters optimised.

References
----------
C. C. W. Lim et al., Phys. Rev. A 89, 022307 (2014), https://doi.org/10.1103/PhysRevA.89.022307.
D. Rusca et al., Appl. Phys. Lett. 112, 171104 (2018), https://doi.org/10.1063/1.5023340.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..link_parameters import LinkParameters
from ..optimise import Effort, Rows, maximise
from ..single_photon.finite_key import Phase
from .coherent import coherent_gain
from .coherent_bounds import Bound, CoherentBounds, Intensities, elementary_eps
from .finite_key import DecoyCounts, DecoyKey, counts_per_setting, decoy_key

Floats = NDArray[np.float64]
Decoys = Literal["vacuum+weak", "one-decoy"]

# The box of the search: logit p_z, log10 signal mean, log10 decoy/signal, logit of the signal's
# share, logit of the decoy's share of the rest (vacuum + weak only).
SEARCH_LOWER = np.array([-3.0, -2.5, -3.0, -9.0, -9.0])
SEARCH_UPPER = np.array([12.0, 0.3, -0.02, 9.0, 9.0])
_EFFORT = Effort(samples=512, starts=6, steps=6, chunk=64)
# Settings near the optima that are known.
TYPICAL = np.array(
    [
        [2.5, -0.3, -0.6, 1.0, 1.0],
        [1.7, -0.45, -1.0, 0.8, 1.7],
        [4.0, -0.3, -1.2, 2.0, 1.5],
        [3.0, -0.3, -0.8, 3.0, 1.0],
        # where keys end: few clicks, so that all settings and both bases are sent alike
        [0.28, -0.12, -0.55, -0.6, 1.4],
        [0.2, -0.05, -1.0, -0.6, 1.4],
    ]
)


@dataclass(frozen=True)
class CoherentSettings:
    """What Alice sets: her Z probability, the means, and how often each is sent."""

    p_z: Floats
    light: Intensities


def expected_counts(
    settings: CoherentSettings, given: LinkParameters
) -> tuple[DecoyCounts, Floats]:
    """Return the counts of a block as expected on a link, and the number of pulses sent."""
    light = coherent_gain(settings.light.mean, given)
    return counts_per_setting(*light, settings.light.share, settings.p_z, given)


def coherent_key(
    settings: CoherentSettings,
    given: LinkParameters,
    phase: Phase = "eb",
    bound: Bound = "yin",
    capped: bool = True,
) -> DecoyKey:
    """Key of given settings, from the counts expected on a link."""
    counts, sent = expected_counts(settings, given)
    bounds = CoherentBounds(settings.light, elementary_eps(given), bound, capped)
    return decoy_key(counts, sent, settings.p_z, bounds, given, phase)


def coherent_settings(x: Floats, decoys: Decoys) -> CoherentSettings:
    """Make settings from a point of the search box, shape (..., 5) or (..., 4)."""

    def sigmoid(v: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-v)))

    p_z, strong = sigmoid(x[..., 0]), 10 ** x[..., 1]
    weak = strong * 10 ** x[..., 2]
    p_strong, p_other = sigmoid(x[..., 3]), sigmoid(-x[..., 3])
    if decoys == "one-decoy":
        return CoherentSettings(
            p_z, Intensities(np.stack([strong, weak]), np.stack([p_strong, p_other]))
        )
    p_weak, p_vacuum = p_other * sigmoid(x[..., 4]), p_other * sigmoid(-x[..., 4])
    return CoherentSettings(
        p_z,
        Intensities(
            np.stack([strong, weak, np.zeros_like(weak)]), np.stack([p_strong, p_weak, p_vacuum])
        ),
    )


def best_coherent_key(
    given: LinkParameters,
    decoys: Decoys = "vacuum+weak",
    phase: Phase = "eb",
    bound: Bound = "yin",
    effort: Effort | None = None,
    capped: bool = True,
) -> tuple[DecoyKey, CoherentSettings]:
    """Key with all parameters optimised, of each point by itself.

    Parameters
    ----------
    given
        Channel, receiver, block and security; the block is finite.
    decoys, phase, bound
        The protocol.
    effort
        How hard to search.
    capped
        As in `qdchar.keyrate.decoy.CoherentBounds`.

    Returns
    -------
    key, settings
        Arrays of the link parameters' shape; the settings' means and shares with a first axis more.
    """
    if given.block_kind == "asymptotic":
        raise ValueError("a finite-key protocol needs a block; take infinite decoy states instead")
    shape = given.shape
    flat = given.flat()
    dimensions = 4 if decoys == "one-decoy" else 5

    def score(x: Floats, rows: Rows) -> Floats:
        settings, part = coherent_settings(x, decoys), flat.part(rows)
        return coherent_key(settings, part, phase, bound, capped).score

    best = maximise(
        score,
        int(np.prod(shape)),
        SEARCH_LOWER[:dimensions],
        SEARCH_UPPER[:dimensions],
        effort or _EFFORT,
        known=TYPICAL[:, :dimensions],
    )
    settings = coherent_settings(best[:, None, :], decoys)
    key = coherent_key(settings, flat, phase, bound, capped)
    light = settings.light
    return (
        DecoyKey(*(getattr(key, f.name).reshape(shape) for f in fields(key))),
        CoherentSettings(
            settings.p_z.reshape(shape),
            Intensities(light.mean.reshape(-1, *shape), light.share.reshape(-1, *shape)),
        ),
    )
