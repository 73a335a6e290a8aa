"""Derivatives of a rate by every uncertain input, for linear budgets of uncertainty.

The settings are held: at an optimum they move the rate in second order only (envelope theorem).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Estimate
from qdchar.link import Constant, Link

from .link_parameters import LinkParameters
from .source import SourceFigures

Floats = NDArray[np.float64]

# (<n>, g2, link parameters) -> some function of the rate at each loss
Response = Callable[[float, float, LinkParameters], Floats]

# Relative step of the numerical derivatives: truncation and rounding both stay below 1e-5.
_STEP = 1e-3


def derivatives(
    source: SourceFigures,
    link: Link,
    losses: Floats,
    response: Response,
    *,
    own_loss: bool,
    background_Hz: Floats | None = None,
) -> list[tuple[Estimate, Floats]]:
    """Return every uncertain input with the response's derivative by it at each loss.

    Parameters
    ----------
    source, link
        The inputs; those known exactly are left out.
    losses
        Channel losses [dB], shape (losses,).
    response
        What to differentiate.
    own_loss
        The losses are the link's own, whose uncertainty then counts.
    background_Hz
        Background counts of all detectors at each loss; None for the link's.
    """
    clock = source.clock_rate.value

    def at(n: float, g2: float, changed: Link) -> Floats:
        shift = changed.channel_loss.value - link.channel_loss.value
        return response(
            n, g2, LinkParameters.from_link(changed, losses + shift, clock, background_Hz)
        )

    n, g2 = source.mean_photon_number, source.g2_zero
    result: list[tuple[Estimate, Floats]] = []
    for estimate in (n, g2):
        if estimate.u == 0:
            continue
        low, high = _around(estimate.value, estimate.u)
        pair = [
            at(x if estimate is n else n.value, x if estimate is g2 else g2.value, link)
            for x in (low, high)
        ]
        result.append((estimate, (pair[1] - pair[0]) / (high - low)))
    for name, estimate in link.estimates().items():
        given = getattr(link, name)
        if estimate.u == 0 or not isinstance(given, Constant):
            continue
        if name == "channel_loss" and not own_loss:
            continue
        low, high = _around(estimate.value, estimate.u)
        pair = [
            at(n.value, g2.value, link.model_copy(update={name: Constant(value=x)}))
            for x in (low, high)
        ]
        result.append((estimate, (pair[1] - pair[0]) / (high - low)))
    return result


def _around(value: float, u: float) -> tuple[float, float]:
    """Two arguments for a derivative, neither of them below zero."""
    step = _STEP * (value or u)
    return max(value - step, 0.0), value + step
