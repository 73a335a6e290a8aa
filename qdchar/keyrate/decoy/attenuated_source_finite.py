"""Finite key of single photons with an attenuator as decoy, all parameters optimised.

The proof and its assumptions stand in `qdchar.keyrate.decoy.attenuated_source`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..link_parameters import LinkParameters
from ..optimise import Effort, Rows, maximise
from ..photon_statistics import largest_three_photon
from ..single_photon.finite_key import Phase
from .attenuated_source import AttenuatedSource, AttenuatorBounds
from .coherent_bounds import elementary_eps
from .finite_key import DecoyCounts, DecoyKey, counts_per_setting, decoy_key

Floats = NDArray[np.float64]

# The box of the search: logit p_z, log10 weak transmission, logit of the open setting's share,
# logit of the weak setting's share of the rest.
SEARCH_LOWER = np.array([-3.0, -2.5, -4.0, -12.0])
SEARCH_UPPER = np.array([12.0, -0.02, 12.0, 9.0])
# The best bound is a maximum of several, so that there are several optima: the weak setting serves
# both bases, or mostly the test basis, or is left out where multi-photon pulses hardly matter. The
# last row is where keys end: few clicks, so that all settings and both bases are sent alike.
_TYPICAL = np.array(
    [
        *([z, -0.3, o, 2.0] for z, o in ((2.0, 1.5), (3.2, 2.7), (4.2, 3.7), (5.0, 4.2))),
        *([z, -0.32, o, 1.2] for z, o in ((4.0, 4.0), (5.0, 5.0), (6.0, 6.0))),
        *([z, -0.03, o, -9.0] for z, o in ((2.5, 4.5), (4.0, 6.5))),
        *([z, -0.35, o, 1.0] for z, o in ((-0.7, -0.6), (0.4, 0.0))),
    ]
)


@dataclass(frozen=True)
class AttenuatorSettings:
    """What Alice sets: her Z probability, and the source behind its attenuator."""

    p_z: Floats
    source: AttenuatedSource


def expected_counts(
    settings: AttenuatorSettings, given: LinkParameters
) -> tuple[DecoyCounts, Floats]:
    """Return the counts of a block as expected on a link, and the number of pulses sent.

    The expectation is that of a source without three-photon pulses, whatever `p3_max` allows.
    """
    light = settings.source.light(given)
    return counts_per_setting(*light, settings.source.share, settings.p_z, given)


def attenuator_key(
    settings: AttenuatorSettings,
    given: LinkParameters,
    phase: Phase = "eb",
    assumed: tuple[ArrayLike, ArrayLike] | None = None,
) -> DecoyKey:
    """Key of given settings, from the counts expected on a link, by the closed-form bounds.

    Parameters
    ----------
    settings
        What Alice sets, and the source that makes the counts.
    given
        Channel, receiver, block and security.
    phase
        The proof.
    assumed
        <n> and g2 that the proof takes for the source's; default the source's own.
    """
    counts, sent = expected_counts(settings, given)
    believed = settings.source
    if assumed is not None:
        n, g2 = (np.asarray(x, dtype=np.float64) for x in assumed)
        most = np.minimum(believed.p3_max, largest_three_photon(n, g2))
        believed = replace(believed, n=n, g2=g2, p3_max=most)
    bounds = AttenuatorBounds(believed, elementary_eps(given))
    return decoy_key(counts, sent, settings.p_z, bounds, given, phase)


def attenuator_settings(x: Floats, n: Floats, g2: Floats, p3_max: Floats) -> AttenuatorSettings:
    """Return the settings at coordinates of the optimiser's search, shape (..., 4)."""

    def sigmoid(v: Floats) -> Floats:
        return np.asarray(1 / (1 + np.exp(-v)))

    weak = 10 ** x[..., 1]
    p_open, p_other = sigmoid(x[..., 2]), sigmoid(-x[..., 2])
    p_weak, p_blocked = p_other * sigmoid(x[..., 3]), p_other * sigmoid(-x[..., 3])
    return AttenuatorSettings(
        sigmoid(x[..., 0]),
        AttenuatedSource(
            n,
            g2,
            np.stack([np.ones_like(weak), weak, np.zeros_like(weak)]),
            np.stack([p_open, p_weak, p_blocked]),
            p3_max,
        ),
    )


def best_attenuator_key(
    n: ArrayLike,
    g2: ArrayLike,
    given: LinkParameters,
    *,
    p3_max: ArrayLike = 0.0,
    phase: Phase = "eb",
    effort: Effort | None = None,
) -> tuple[DecoyKey, AttenuatorSettings]:
    """Key at the best basis ratio, weak transmission and shares, of each point by itself.

    Parameters
    ----------
    n, g2
        The source at the attenuator's input.
    given
        Channel, receiver, block and security; the block is finite.
    p3_max
        Largest probability of three photons in a pulse; at most g2 n^2 / 6. The closed-form
        bounds used here are loose where it is not 0: see `qdchar.keyrate.decoy.linear_program`.
    phase
        "eb" (four states) or "lt" (three states).
    effort
        How hard to search.

    Returns
    -------
    key, settings
        Arrays of the common shape; transmissions and shares with a first axis more.
    """
    if given.block_kind == "asymptotic":
        raise ValueError("a finite key needs a block; see asymptotic_rate")
    inputs = [np.asarray(a, dtype=np.float64) for a in (n, g2, p3_max)]
    shape = np.broadcast_shapes(*(a.shape for a in inputs), given.shape)
    flat = given.flat()
    n_, g2_, p3_ = (np.broadcast_to(a, shape).reshape(-1, 1) for a in inputs)

    def score(x: Floats, rows: Rows) -> Floats:
        settings = attenuator_settings(x, n_[rows], g2_[rows], p3_[rows])
        return attenuator_key(settings, flat.part(rows), phase).score

    best = maximise(
        score,
        int(np.prod(shape)),
        SEARCH_LOWER,
        SEARCH_UPPER,
        effort or Effort(samples=256, starts=3, steps=6, chunk=64),
        known=_TYPICAL,
    )
    settings = attenuator_settings(best[:, None, :], n_, g2_, p3_)
    key = attenuator_key(settings, flat, phase)
    source = settings.source
    return (
        DecoyKey(*(getattr(key, f.name).reshape(shape) for f in fields(key))),
        AttenuatorSettings(
            settings.p_z.reshape(shape),
            replace(
                source,
                n=n_.reshape(shape),
                g2=g2_.reshape(shape),
                p3_max=p3_.reshape(shape),
                transmission=source.transmission.reshape(-1, *shape),
                share=source.share.reshape(-1, *shape),
            ),
        ),
    )
