"""Distribution of a key rate when the source and the link are as uncertain as they are.

GUM Supplement 1: every independent error source is drawn once per trial and moves all the
quantities that share it. Needed beside the linear budget where the rate is not smooth, near the
largest loss, and for the probability that the source beats coherent light.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import draw
from qdchar.link import Link

from .comparators import COMPARATORS
from .link_parameters import LinkParameters
from .optimise import LIGHT_EFFORT
from .result import PHASE, Protocol
from .single_photon.finite_key import Accounting
from .single_photon.rate import best_single_photon_key
from .source import SourceFigures

Floats = NDArray[np.float64]

_LINK_INPUTS = (
    "channel_loss",
    "fiber_optics_efficiency",
    "detector_efficiency",
    "dark_count_rate",
    "background_count_rate",
    "gate_width",
    "misalignment",
)


@dataclass(frozen=True)
class RateDistribution:
    """Rates of many draws of source and link.

    Attributes
    ----------
    rates
        Secret bits per sent pulse, shape (draws,).
    comparators
        Name -> rate of coherent light under the same draws of the link, shape (draws,).
    rejected
        Share of draws that no source or link can have (g2 below 0, an efficiency above 1, ...)
        and that were left out.
    """

    rates: Floats
    rejected: float
    comparators: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean rate."""
        return float(self.rates.mean())

    @property
    def u(self) -> float:
        """Standard deviation of the rates."""
        return float(self.rates.std(ddof=1))

    def interval(self, probability: float = 0.6827) -> tuple[float, float]:
        """Central interval of the rates."""
        tails = (1 - probability) / 2
        low, high = np.quantile(self.rates, [tails, 1 - tails])
        return float(low), float(high)

    def probability_of_key(self) -> float:
        """Share of draws with a rate above zero."""
        return float(np.mean(self.rates > 0))

    def probability_of_beating(self, comparator: str) -> float:
        """Share of draws in which the source gives more than coherent light."""
        return float(np.mean(self.rates > self.comparators[comparator]))


def draw_source_and_link(
    source: SourceFigures,
    link: Link,
    draws: int,
    rng: np.random.Generator,
    loss_dB: float | None = None,
) -> tuple[Floats, Floats, LinkParameters]:
    """Draw source and link from their uncertainties, without draws that none can have.

    Parameters
    ----------
    source, link
        With their budgets; normal contributions.
    draws
        Number of trials.
    rng
        Random generator.
    loss_dB
        An exact loss; default the link's own with its uncertainty.

    Returns
    -------
    ndarray, ndarray
        <n> and g2, shape (possible draws,).
    LinkParameters
        With efficiency, dark counts, background and misalignment of that shape.
    """
    given = link.estimates()
    inputs = [source.mean_photon_number, source.g2_zero, *(given[name] for name in _LINK_INPUTS)]
    n, g2, loss, optics, detector, dark, background, gate, e_mis = draw(inputs, draws, rng)
    if loss_dB is not None:
        loss = np.full(draws, loss_dB)
    possible = (n > 0) & (g2 >= 0) & (g2 * n <= 1) & (n - g2 * n**2 / 2 <= 1)
    possible &= (loss >= 0) & (optics > 0) & (optics <= 1) & (detector > 0) & (detector <= 1)
    possible &= (
        (background >= 0)
        & (background * gate <= 1)
        & (dark >= 0)
        & (gate > 0)
        & (dark * gate <= 1)
        & (e_mis >= 0)
        & (e_mis < 0.5)
    )
    link_draws = replace(
        LinkParameters.from_link(link, None, source.clock_rate.value),
        eta=(10 ** (-loss / 10) * optics * detector)[possible],
        p_dark=(dark * gate)[possible],
        p_background=(background * gate)[possible],
        e_mis=e_mis[possible],
    )
    return n[possible], g2[possible], link_draws


def sample_rates(
    source: SourceFigures,
    link: Link,
    *,
    draws: int,
    rng: np.random.Generator,
    loss_dB: float | None = None,
    protocol: Protocol = "efficient-bb84",
    accounting: Accounting = "alice",
    comparators: Sequence[str] = (),
) -> RateDistribution:
    """Draw source and link from their uncertainties, and optimise the settings of each draw.

    Parameters
    ----------
    source, link
        With their budgets; normal contributions.
    draws
        Number of trials.
    rng
        Random generator.
    loss_dB
        An exact loss; default the link's own with its uncertainty.
    protocol, accounting
        As in `qdchar.keyrate.predict`.
    comparators
        Names of protocols for coherent light to run on the same draws.
    """
    n, g2, link_draws = draw_source_and_link(source, link, draws, rng, loss_dB)
    key = best_single_photon_key(
        n, g2, link_draws, PHASE[protocol], accounting, effort=LIGHT_EFFORT
    )
    given = link.estimates()
    link_is_exact = loss_dB is not None and all(given[name].u == 0 for name in _LINK_INPUTS[1:])
    clock = source.clock_rate.value
    one = LinkParameters.from_link(link, loss_dB, clock) if link_is_exact else link_draws
    return RateDistribution(
        rates=key.rate,
        rejected=(draws - len(n)) / draws,
        comparators={
            name: COMPARATORS[name].rate(one) * np.ones_like(key.rate) for name in comparators
        },
    )
