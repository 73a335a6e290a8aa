"""One account of the paper's numbers, and what no account can meet.

Boundary and crossing. Without decoy states the best key per detection depends on D = p2 / Q alone,
at a given block of detections and error rate. With the pre-attenuation a, Q = a <n> eta and
D = g2 a <n> / (2 eta), so that the best rate is K eta^2 / g2, with K twice the largest D k(D): it
does not depend on <n>. Coherent light gives W. At no loss and <n> = 1 the boundary is where
K eta_0^2 / g2_4a = W(0); the crossing is where K eta_x^2 / g2 = W(14.6) eta_x / eta_14.6, because
the gain of weak light is linear. K drops out, and the crossing is at

    L_x = 10 log10(1.04 nu g2_4a / g2),    nu = W(0) / [W(14.6) 10^1.46],

where 1.04 stands for the second order of the gain at no loss and for dark counts. nu is 1 for a
gain linear in the mean photon number and 1.18 for threshold detectors, and 0.98 by the paper's own
advantages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from qdchar.link import Constant

from ..decoy.coherent_finite import best_coherent_key
from ..link_parameters import LinkParameters
from ..source import SourceFigures
from .reproduction import largest_g2, linear_gain_rate, smallest_mean
from .values import MEASURED, PAPER, PAPERS_LINK
from .variants import VARIANTS, Reproduction

Floats = NDArray[np.float64]

_CORRECTION = 1.04
_BOUNDARY, _CROSSING_DB, _G2 = 0.41, 19.0, 0.00698

# Three states, multi-photon pulses jointly, each yield's bound by itself.
_VARIANT = VARIANTS[3]
_DEAD_TIME_S = 20e-9


def crossing_from_boundary(nu: float, boundary: float = _BOUNDARY, g2: float = _G2) -> float:
    """Loss at which single photons lose their lead, from the boundary in g2 at no loss [dB].

    Parameters
    ----------
    nu
        W(0) / [W(14.6) 10^1.46], W the rate of coherent light at a loss in dB.
    boundary
        Largest g2 at <n> = 1 and no loss with which single photons lead.
    g2
        Of the source that loses its lead.
    """
    return 10 * math.log10(_CORRECTION * nu * boundary / g2)


def nu_for_crossing(
    loss_dB: float = _CROSSING_DB, boundary: float = _BOUNDARY, g2: float = _G2
) -> float:
    """Return the nu that a boundary and a crossing demand together."""
    return 10 ** (loss_dB / 10) * g2 / (_CORRECTION * boundary)


@dataclass(frozen=True)
class Nu:
    """Ratio of coherent light's rates at no loss and at 14.6 dB, over that of the transmissions.

    Attributes
    ----------
    advantages
        By the paper's measured rates and advantages.
    threshold
        By threshold detectors.
    """

    advantages: float
    threshold: float


@cache
def nu_of_the_paper() -> Nu:
    """Compute both."""
    near, field = (next(m for m in MEASURED if m.loss_dB == loss) for loss in (0.17, 14.6))
    w_near = near.rate_per_pulse / 10**0.540 * 10**0.017
    w_field = field.rate_per_pulse / 10**0.253
    given = LinkParameters.from_link(PAPERS_LINK, np.array([0.0, 14.6]))
    w = best_coherent_key(given, phase="lt")[0].rate
    return Nu(w_near / (w_field * 10**1.46), float(w[0] / (w[1] * 10**1.46)))


@dataclass(frozen=True)
class Pull:
    """What of one experiment's source alone makes its measured rate exact.

    Attributes
    ----------
    loss_dB
        Of the experiment.
    ratio_dB
        Computed over measured rate, with Table 1.
    n, g2, e_mis
        The value of each that makes it exact with the others as they are; None if none does.
    n_sigma, g2_sigma
        Distance from Table 1 in its standard uncertainties; None with the value.
    """

    loss_dB: float
    ratio_dB: float
    n: float | None
    g2: float | None
    e_mis: float | None
    n_sigma: float | None
    g2_sigma: float | None


def _given(loss_dB: float | Floats) -> LinkParameters:
    link = PAPERS_LINK.model_copy(update={"dead_time": Constant(value=_DEAD_TIME_S)})
    return LinkParameters.from_link(link, loss_dB, SourceFigures().clock_rate.value)


@cache
def pulls() -> tuple[Pull, ...]:
    """Compute the pulls of the five measured rates, by the account's variant."""
    source = SourceFigures()
    n, g2 = source.mean_photon_number, source.g2_zero
    found = []
    for m in MEASURED:
        given = _given(m.loss_dB)
        means = np.linspace(0.6, 1.4, 65) * n.value
        pairs = np.linspace(0.0, 3.0, 65) * g2.value
        errors = np.linspace(0.0, 2.0, 65) * float(given.e_mis)
        exact_n = _where(means, _VARIANT.rate(given, means), m.rate_per_pulse)
        exact_g2 = _where(pairs, _VARIANT.rate(given, n.value, pairs), m.rate_per_pulse)
        changed = replace(given, e_mis=errors)
        exact_e = _where(errors, _VARIANT.rate(changed), m.rate_per_pulse)
        ratio = 10 * math.log10(float(_VARIANT.rate(given)) / m.rate_per_pulse)
        found.append(
            Pull(
                m.loss_dB,
                ratio,
                exact_n,
                exact_g2,
                exact_e,
                None if exact_n is None else (exact_n - n.value) / n.u,
                None if exact_g2 is None else (exact_g2 - g2.value) / g2.u,
            )
        )
    return tuple(found)


@cache
def account() -> tuple[Reproduction, ...]:
    """Compute the figures' numbers by three states, joint, linear light gain, 20 ns dead time."""
    at_no_loss = _given(0.0)
    light = float(linear_gain_rate(at_no_loss))
    losses = np.array([0.17, 14.6])
    ours, others = _VARIANT.rate(_given(losses)), linear_gain_rate(_given(losses))
    simulated = 10 * math.log10(float(_VARIANT.rate(at_no_loss)) / light)
    field = next(m for m in MEASURED if m.loss_dB == 14.6)
    name = "joint, 3 states (each), linear light gain, dead time 20 ns"

    def row(quantity: str, unit: str, published: float, value: float | None) -> Reproduction:
        return Reproduction(quantity, unit, published, PAPER, ((name, value),))

    over = np.arange(10.0, 25.0, 0.5)
    lead = np.log(_VARIANT.rate(_given(over)) / linear_gain_rate(_given(over)))
    crossing = float(np.interp(0.0, -lead, over))
    mean = smallest_mean(_VARIANT, at_no_loss, light)
    pairs = largest_g2(_VARIANT, at_no_loss, light)
    return (
        row("advantage at no loss, computed", "dB", 5.40, simulated),
        row(
            "advantage at 14.6 dB, measured over computed",
            "dB",
            2.53,
            10 * math.log10(field.rate_per_pulse / float(others[1])),
        ),
        row("Fig. 4a, smallest <n> at g2 = 0", "1", 0.078, mean),
        row("Fig. 4a, largest g2 at <n> = 1", "1", _BOUNDARY, pairs),
        row("crossing with coherent light", "dB", _CROSSING_DB, crossing),
        row("rate at 0.17 dB", "bit/pulse", MEASURED[0].rate_per_pulse, float(ours[0])),
    )


def _where(x: Floats, rate: Floats, level: float) -> float | None:
    """Argument at which a monotonic rate has this level; None where it never has."""
    if rate[-1] < rate[0]:
        x, rate = x[::-1], rate[::-1]
    if not rate[0] <= level <= rate[-1]:
        return None
    return float(np.interp(level, rate, x))
