"""How far a source reaches: the loss at which its key ends, and at which its lead ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.link import Link

from .comparators import COMPARATORS, Comparator, Light
from .derivatives import derivatives
from .link_parameters import LinkParameters
from .operating_point import (
    OperatingPoint,
    attenuator_operating_point,
    single_photon_operating_point,
)
from .result import PHASE, DecoyProtocol, Protocol
from .single_photon.finite_key import Accounting
from .source import SourceFigures

Floats = NDArray[np.float64]

# Where the search for a crossing or a largest loss ends [dB].
_FARTHEST_DB = 80.0
_COARSE_DB = 4.0

# How far before the end of a key its slopes are taken, the step of a slope over loss, and the last
# Newton step, whose square is what is left [dB].
_BEFORE_THE_END_DB = 0.05
_STEP_DB = 0.005
_CLOSE_DB = 0.02


def maximum_loss(
    source: SourceFigures,
    link: Link,
    *,
    protocol: Protocol | DecoyProtocol = "efficient-bb84",
    accounting: Accounting = "alice",
) -> Estimate | None:
    """Largest channel loss with a key [dB]; None where even no loss gives one.

    Found to 1e-3 dB. Its budget follows from the rate just below it, dL = -(dR/dx) / (dR/dL) dx.
    The accounting is not used with decoy states. `beyond_search` recognises a loss at which the
    search ended without an end of the key.
    """
    return _Search(source, link, protocol, accounting).end


def crossing_loss(
    source: SourceFigures,
    link: Link,
    comparator: str,
    *,
    protocol: Protocol | DecoyProtocol = "efficient-bb84",
    accounting: Accounting = "alice",
) -> Estimate | None:
    """Largest channel loss at which the source is ahead of coherent light [dB].

    None where it is never ahead. With A = ln(R / W), R the source's rate and W that of coherent
    light, the budget is that of dL = -(dA/dx) / (dA/dL) dx, in which shared errors cancel as far
    as they do. Where the lead ends with the key itself, it is `maximum_loss`.
    """
    names = (comparator,)
    return crossings(source, link, names, protocol=protocol, accounting=accounting)[comparator]


def crossings(
    source: SourceFigures,
    link: Link,
    comparators: Sequence[str],
    *,
    protocol: Protocol | DecoyProtocol = "efficient-bb84",
    accounting: Accounting = "alice",
) -> dict[str, Estimate | None]:
    """`crossing_loss` over each of several comparators; what they share is done once."""
    search = _Search(source, link, protocol, accounting)
    return {name: search.crossing(COMPARATORS[name]) for name in comparators}


def beyond_search(loss: Estimate) -> bool:
    """Whether a loss is only a lower limit, because the search ended there."""
    return loss.value >= _FARTHEST_DB


class _Search:
    """The source's rate over loss, and the losses at which something about it ends."""

    def __init__(
        self,
        source: SourceFigures,
        link: Link,
        protocol: Protocol | DecoyProtocol,
        accounting: Accounting,
    ) -> None:
        self._source, self._link = source, link
        self._protocol, self._accounting = protocol, accounting

    @cached_property
    def end(self) -> Estimate | None:
        """Where the key ends."""
        name, what = "maximum_loss", f"largest loss with a key, {self._protocol}"
        coarse = np.arange(0.0, _FARTHEST_DB + 1, _COARSE_DB)
        keyed = np.flatnonzero(self._design(coarse).rate > 0)
        if not len(keyed):
            return None
        if keyed[-1] == len(coarse) - 1:
            return _at_least(name, what)
        low, width = float(coarse[keyed[-1]]), _COARSE_DB
        while width > 1e-3:
            width /= 8
            finer = low + width * np.arange(1.0, 8.0)
            low += width * int(np.count_nonzero(self._design(finer).rate > 0))
        # the rate has a kink where it ends: its slopes are those just before
        before = max(low - _BEFORE_THE_END_DB, 0.0)
        _, budget = self._move(np.array([before]), None)
        return _loss(name, what, low, budget)

    @cached_property
    def _over_loss(self) -> tuple[Floats, Floats]:
        """Losses 1 dB apart up to the end of the key, and the source's rate there."""
        end = 0.0 if self.end is None else self.end.value
        losses = np.append(np.arange(0.0, end, 1.0), end)
        return losses, self._design(losses).rate

    def crossing(self, light: Comparator) -> Estimate | None:
        """Where the lead over coherent light ends."""
        name = "crossing_loss"
        what = f"largest loss at which {self._protocol} is ahead of {light.name}"
        if self.end is None:
            return None
        losses, rate = self._over_loss
        other = light.rate(self._conditions(losses))
        ahead = np.flatnonzero(rate > other)
        if not len(ahead):
            return None
        last = int(ahead[-1])
        if last == len(losses) - 1:
            if beyond_search(self.end):
                return _at_least(name, what)
            return replace(self.end, name=name, method=f"{what}; {self.end.method}")
        low, high = float(losses[last]), float(losses[last + 1])
        # A = ln(R / W) is smooth: Newton's steps from where a straight line ends, between the two
        loss = (low + high) / 2
        if other[last] > 0:
            before, after = np.log(rate[last : last + 2] / other[last : last + 2])
            loss = low + (high - low) * float(before / (before - after))
        for _ in range(30):
            here = np.array([loss])
            best = light.best(self._conditions(here))
            lead = float(np.log(self._design(here).rate[0] / best.rate[0]))
            low, high = (loss, high) if lead > 0 else (low, loss)
            slope, budget = self._move(here, best)
            step = -lead / slope
            stays = low <= loss + step <= high
            loss = loss + step if stays else (low + high) / 2
            if stays and abs(step) < _CLOSE_DB:
                break
        return _loss(name, what, loss, budget)

    def _conditions(self, loss: Floats) -> LinkParameters:
        return LinkParameters.from_link(self._link, loss, self._source.clock_rate.value)

    def _design(self, loss: Floats) -> OperatingPoint:
        n, g2 = self._source.mean_photon_number.value, self._source.g2_zero.value
        given, protocol = self._conditions(loss), self._protocol
        if protocol == "efficient-bb84" or protocol == "three-state":
            phase = PHASE[protocol]
            return single_photon_operating_point(
                n, g2, given, phase, self._accounting, None, None, 0.0
            )
        return attenuator_operating_point(n, g2, given, PHASE[protocol.removesuffix("-decoy")], 0.0)

    def _move(self, here: Floats, light: Light | None) -> tuple[float, tuple[Contribution, ...]]:
        """Slope over loss of the rate, or of its logarithmic lead; what moves the loss it has."""
        own = self._design(here).rate_at

        def lead(n: float, g2: float, given: LinkParameters) -> Floats:
            rate = own(n, g2, given)
            return rate if light is None else np.log(rate / light.rate_at(given))

        n, g2 = self._source.mean_photon_number.value, self._source.g2_zero.value
        after, before = (lead(n, g2, self._conditions(here + s))[0] for s in (_STEP_DB, -_STEP_DB))
        slope = float(after - before) / (2 * _STEP_DB)
        inputs = derivatives(self._source, self._link, here, lead, own_loss=False)
        return slope, propagate((x, -float(by[0]) / slope) for x, by in inputs)


def _loss(name: str, what: str, value: float, budget: tuple[Contribution, ...]) -> Estimate:
    return Estimate(
        name=name,
        value=value,
        method=f"{what}; predicted from mean_photon_number, g2_zero and the link",
        plane="channel",
        budget=budget,
    )


def _at_least(name: str, what: str) -> Estimate:
    return _loss(name, f"at least; {what}", _FARTHEST_DB, ())
