"""A source as the key rate sees it: mean photon number, g2 and clock, with their errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, UsageError
from qdchar.estimate import Contribution, Estimate, covariance, propagate

from .photon_statistics import check_physical

if TYPE_CHECKING:
    from qdchar.link import Link
    from qdchar.record import SourceRecord

_PAPER = "Zhang et al., PRL 134, 210801, Table 1"
_PLANE = "transmitter output"


def _given(name: str, value: float, u: float, method: str) -> Estimate:
    if not 0 <= u < np.inf:
        raise UsageError(f"source: {name}: u = {u:g}: a standard uncertainty is 0 or more")
    budget = (Contribution(f"source: {name}", u, "B"),) if u else ()
    return Estimate(
        name=name,
        value=value,
        method=method,
        plane=_PLANE,
        budget=budget,
    )


@dataclass(frozen=True)
class SourceFigures:
    """The three quantities of a source that a key rate uses; by default the paper's.

    Attributes
    ----------
    mean_photon_number
        Per pulse, at the transmitter's output [1].
    g2_zero
        At the same plane: raw, time-averaged, nothing subtracted [1].
    clock_rate
        Pulses sent per second [Hz].
    """

    mean_photon_number: Estimate = field(
        default_factory=lambda: _given("mean_photon_number", 0.292, 0.008, _PAPER)
    )
    g2_zero: Estimate = field(default_factory=lambda: _given("g2_zero", 0.00698, 0.00064, _PAPER))
    clock_rate: Estimate = field(default_factory=lambda: _given("clock_rate", 76.13e6, 0.0, _PAPER))

    def __post_init__(self) -> None:
        check_physical(self.mean_photon_number.value, self.g2_zero.value)
        if self.clock_rate.value <= 0:
            raise UsageError(f"source: clock_rate = {self.clock_rate.value:g} Hz must be above 0")

    @classmethod
    def from_estimates(cls, n: Estimate, g2: Estimate, clock: Estimate) -> SourceFigures:
        """Quantities from a record's ``mean_photon_number``, ``g2_zero`` and ``clock_rate``."""
        wanted = ("mean_photon_number", "g2_zero", "clock_rate")
        for estimate, name in zip((n, g2, clock), wanted, strict=True):
            if estimate.name != name:
                raise UsageError(f"source: asked for {name}, given {estimate.name}")
        return cls(n, g2, clock)

    @classmethod
    def from_record(cls, record: SourceRecord) -> SourceFigures:
        """Quantities of a source record.

        Raises
        ------
        RecordError
            The record does not hold one of the three.
        InconclusiveError
            Its g2 is negative, so that no key rate follows from it.
        """
        n, g2, clock = (
            record.estimate(name) for name in ("mean_photon_number", "g2_zero", "clock_rate")
        )
        if g2.value < 0.0:
            raise InconclusiveError(
                f"{g2}: more dark counts were subtracted than coincidences were recorded; no key "
                "rate follows from a negative g2. Record for longer (hbt.after_s in the recipe)"
            )
        return cls.from_estimates(n, g2, clock)

    @classmethod
    def from_values(
        cls,
        n: float,
        g2: float,
        *,
        n_u: float = 0.0,
        g2_u: float = 0.0,
        clock_rate_hz: float = 76.13e6,
    ) -> SourceFigures:
        """Quantities from plain numbers with independent errors."""
        return cls(
            _given("mean_photon_number", n, n_u, "given"),
            _given("g2_zero", g2, g2_u, "given"),
            _given("clock_rate", clock_rate_hz, 0.0, "given"),
        )

    @property
    def multiphoton(self) -> Estimate:
        """Upper bound g2 <n>^2 / 2 of the multi-photon probability, with what n and g2 share."""
        n, g2 = self.mean_photon_number, self.g2_zero
        return Estimate(
            name="p2",
            value=g2.value * n.value**2 / 2,
            method="from mean_photon_number and g2_zero",
            plane=n.plane,
            budget=propagate([(n, g2.value * n.value), (g2, n.value**2 / 2)]),
        )

    def multiphoton_margin(self, eps: float) -> float:
        """Return what to add to `multiphoton` for an upper limit that fails with probability `eps`.

        Takes the uncertainty as normal. With the coincidences themselves at hand,
        `qdchar.keyrate.photon_statistics.multiphoton_limit` needs no such assumption.
        """
        return -NormalDist().inv_cdf(eps) * self.multiphoton.u

    def multiphoton_upper(self, eps: float) -> float:
        """Upper limit of `multiphoton` that fails with probability `eps`.

        Raises
        ------
        UsageError
            <n> or g2 has no uncertainty, so that there is no limit.
        """
        self.check_uncertain()
        return self.multiphoton.value + self.multiphoton_margin(eps)

    def check_uncertain(self) -> None:
        """Refuse <n> or g2 without an uncertainty: a limit cannot be computed from an estimate.

        Raises
        ------
        UsageError
            Names what lacks its uncertainty.
        """
        for symbol, estimate in (("<n>", self.mean_photon_number), ("g2", self.g2_zero)):
            if estimate.u == 0:
                raise UsageError(f"source: {symbol} = {estimate.value:g} has no uncertainty")

    def limits(self, eps: float) -> tuple[tuple[float, float], ...]:
        """Corners (<n>, g2) of the box that misses the source with probability `eps` at most.

        Takes the uncertainties as normal; a g2 below 0 counts as 0.
        """
        z = -NormalDist().inv_cdf(eps / 4)
        n, g2 = self.mean_photon_number, self.g2_zero
        corners = tuple(
            (n.value + s * z * n.u, max(g2.value + t * z * g2.u, 0.0))
            for s in (-1, 1)
            for t in (-1, 1)
        )
        check_physical(*zip(*corners, strict=True))
        return corners

    @property
    def covariance(self) -> NDArray[np.float64]:
        """Covariance of mean photon number and g2, shape (2, 2), from what they share."""
        return covariance([self.mean_photon_number, self.g2_zero])


def source_and_link(record: SourceRecord, link: Link) -> tuple[SourceFigures, Link]:
    """Source and link of every prediction that is made from a record.

    Calibration, report and command line all use this function, so that they predict alike.

    Parameters
    ----------
    record
        The source record.
    link
        The link file's; a misalignment that the record holds takes the place of the link's.

    Raises
    ------
    RecordError, InconclusiveError
        As in `SourceFigures.from_record` and `qdchar.link.Link.measured_in`.
    """
    return SourceFigures.from_record(record), link.measured_in(record)
