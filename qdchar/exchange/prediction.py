"""How long a key is expected, and between which limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import UsageError
from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.monte_carlo import draw_source_and_link
from qdchar.keyrate.result import PHASE, Protocol
from qdchar.keyrate.single_photon.finite_key import Accounting, BasisCounts, key_from_counts
from qdchar.keyrate.single_photon.rate import detection, expected_counts
from qdchar.link import Constant, Link

from .pattern import Pattern

Floats = NDArray[np.float64]

CASCADE_EFFICIENCY = 1.03
"""Bits that Cascade discloses over the Shannon limit: 1.030 to 1.035 at error rates from 1 to 4 %,
measured with keys of 2^20 bits."""


@dataclass(frozen=True)
class Plan:
    """What both sides agree on before they begin.

    Attributes
    ----------
    protocol, accounting
        As in `qdchar.keyrate.predict`.
    p_z
        Alice's Z probability.
    attenuation
        Pre-attenuation.
    pulses
        How many are sent.
    source
        The source's record: <n> and g2 with their uncertainties.
    link
        The link, with rigorous bounds.
    eps_source
        Probability that the source exceeds the limit that follows from the record.
    """

    protocol: Protocol
    accounting: Accounting
    p_z: float
    attenuation: float
    pulses: int
    source: SourceFigures
    link: Link
    eps_source: float

    @classmethod
    def best(
        cls,
        source: SourceFigures,
        link: Link,
        *,
        protocol: Protocol,
        accounting: Accounting,
        eps_source: float,
    ) -> Plan:
        """Find the settings with the longest key for the link's block.

        Raises
        ------
        UsageError
            As in `qdchar.keyrate.predict`.
        """
        link = link.model_copy(update={"security": "rigorous"})
        (key,) = predict(
            source,
            link,
            protocol=protocol,
            accounting=accounting,
            eps_source=eps_source,
            comparators=(),
        )
        assert key.pulses_sent is not None
        pulses = int(np.ceil(key.pulses_sent))
        return cls(protocol, accounting, key.p_z, key.attenuation, pulses, source, link, eps_source)

    def pattern(self, seed: int) -> Pattern:
        """Alice's states of this plan, from a seed of her own."""
        return Pattern(seed, self.pulses, self.p_z, 3 if self.protocol == "three-state" else 4)

    @property
    def p2_limit(self) -> float:
        """Upper limit of the multi-photon probability before pre-attenuation."""
        return self.source.multiphoton_upper(self.eps_source)


@dataclass(frozen=True)
class PredictedKey:
    """Key that a plan is expected to give.

    Attributes
    ----------
    key_length
        Of the expected counts [bit].
    by_chance
        Central 95 % interval from counting statistics alone [bit].
    interval
        The same with the uncertainties of source and link [bit].
    detections
        Expected, before sifting.
    """

    key_length: float
    by_chance: tuple[float, float]
    interval: tuple[float, float]
    detections: float


def predicted_key(plan: Plan, rng: np.random.Generator, draws: int = 4000) -> PredictedKey:
    """Predict the key of a plan.

    Parameters
    ----------
    plan
        Its limit of the multi-photon probability stays: the key is computed with the record's.
    rng
        For the intervals.
    draws
        Of counts, and of source and link.

    Raises
    ------
    UsageError
        No draw of source and link is possible.
    """
    n, g2 = plan.source.mean_photon_number.value, plan.source.g2_zero.value
    exact = LinkParameters.from_link(plan.link, None, plan.source.clock_rate.value)
    middle = _expected(plan, np.float64(n), np.float64(g2), exact)
    length = float(_length(plan, middle, exact))
    # the gate is what Bob sets, and exact
    gated = plan.link.model_copy(update={"gate_width": Constant(value=plan.link.gate_width.value)})
    n_drawn, g2_drawn, link_drawn = draw_source_and_link(plan.source, gated, draws, rng)
    if len(n_drawn) == 0:
        raise UsageError(
            f"exchange: none of {draws} draws of source and link within their uncertainties is "
            "possible: correct the uncertainties of record or link"
        )
    uncertain = _expected(plan, n_drawn, g2_drawn, link_drawn)
    chance = _length(plan, _drawn(middle, draws, rng), exact)
    total = _length(plan, _drawn(uncertain, len(n_drawn), rng), exact)
    # pulses that Alice sent in X and Bob detected in Z are in none of the counts
    detections = float(middle.sifted + middle.test + middle.crossed) / (
        1 - (1 - plan.p_z) * plan.link.receiver_z_probability
    )
    return PredictedKey(length, _central(chance), _central(total), detections)


def _expected(plan: Plan, n: Any, g2: Any, given: LinkParameters) -> BasisCounts:
    p_z = np.asarray(plan.p_z)
    p_z_bob = given.bob(p_z)
    clicks = detection(plan.attenuation * n, g2, p_z_bob, given)
    return expected_counts(clicks, np.asarray(float(plan.pulses)), p_z, p_z_bob)


def _drawn(mean: BasisCounts, draws: int, rng: np.random.Generator) -> BasisCounts:
    """Draw counts, each independent part with Poisson's distribution."""

    def both(whole: Floats, part: Floats) -> tuple[Floats, Floats]:
        of_part = rng.poisson(part, draws).astype(np.float64)
        return of_part + rng.poisson(whole - part, draws), of_part

    return BasisCounts(
        *both(mean.sifted, mean.sifted_errors),
        *both(mean.test, mean.test_errors),
        *both(mean.crossed, mean.crossed_right),
    )


def _length(plan: Plan, counts: BasisCounts, given: LinkParameters) -> Floats:
    key = key_from_counts(
        counts,
        np.asarray(float(plan.pulses)),
        np.asarray(plan.attenuation**2 * plan.p2_limit),
        np.asarray(plan.p_z),
        np.asarray(plan.attenuation),
        given,
        PHASE[plan.protocol],
        plan.accounting,
    )
    return key.key_length


def _central(lengths: Floats) -> tuple[float, float]:
    low, high = np.quantile(lengths, [0.025, 0.975])
    return float(low), float(high)
