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
    given, clock = link.estimates(), source.clock_rate.value
    names = [
        "channel_loss",
        "fiber_optics_efficiency",
        "detector_efficiency",
        "dark_count_rate",
        "background_count_rate",
        "gate_width",
        "misalignment",
    ]
    inputs = [source.mean_photon_number, source.g2_zero, *(given[name] for name in names)]
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
        LinkParameters.from_link(link, None, clock),
        eta=(10 ** (-loss / 10) * optics * detector)[possible],
        p_dark=(dark * gate)[possible],
        p_background=(background * gate)[possible],
        e_mis=e_mis[possible],
    )
    key = best_single_photon_key(
        n[possible], g2[possible], link_draws, PHASE[protocol], accounting, effort=LIGHT_EFFORT
    )
    link_is_exact = loss_dB is not None and all(given[name].u == 0 for name in names[1:])
    one = LinkParameters.from_link(link, loss_dB, clock) if link_is_exact else link_draws
    return RateDistribution(
        rates=key.rate,
        rejected=float(np.mean(~possible)),
        comparators={
            name: COMPARATORS[name].rate(one) * np.ones_like(key.rate) for name in comparators
        },
    )
