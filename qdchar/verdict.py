"""GO, NO-GO or inconclusive, as the record keeps it: demands, decision, and the rate behind it.

A calibration makes the verdict once (`qdchar.lab.verdict.judge`); who shows it later reads it from
the record. Here stand the rules that the verdict of a record must obey, whoever made it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, FiniteFloat

if TYPE_CHECKING:
    from .keyrate import KeyRate

Decision = Literal["GO", "NO-GO", "INCONCLUSIVE"]
State = Literal["kept", "broken", "undecided"]
EXIT_CODES: dict[Decision, int] = {"GO": 0, "NO-GO": 10, "INCONCLUSIVE": 11}

COVERAGE_FACTOR = 2.0
"""A demand is kept, or broken, by this many standard uncertainties; in between it is undecided."""

_STRICT = ConfigDict(extra="forbid")
_Uncertainty = Annotated[FiniteFloat, Field(ge=0)]
_Rate = Annotated[FiniteFloat, Field(ge=0)]


def state_of(margin: float | None, u: float) -> State:
    """Say whether a demand is kept by two standard uncertainties, broken by as much, or neither.

    Parameters
    ----------
    margin
        Distance from the bound, positive on the demanded side; None if nothing was found.
    u
        Standard uncertainty of the margin.
    """
    if margin is None:
        return "undecided"
    if margin >= COVERAGE_FACTOR * u:
        return "kept"
    return "broken" if margin < -COVERAGE_FACTOR * u else "undecided"


@dataclass(frozen=True)
class Demand:
    """One demand of a recipe, and how what was found compares.

    Attributes
    ----------
    demanded, found
        In words, with unit and uncertainty.
    margin
        Distance from the bound, positive on the demanded side; None if nothing was found, or if
        there is no finite distance (a lead over light that gives no key).
    u
        Standard uncertainty of the margin.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    demanded: str
    found: str
    state: State
    margin: FiniteFloat | None
    u: _Uncertainty = 0.0

    @classmethod
    def of(cls, demanded: str, found: str, margin: float | None, u: float = 0.0) -> Demand:
        """Compare what was found with a demand; the margin may be infinite."""
        finite = margin if margin is not None and math.isfinite(margin) else None
        return cls(demanded, found, state_of(margin, u), finite, u)

    def __str__(self) -> str:
        return f"{self.found}; {self.demanded} demanded"


@dataclass(frozen=True)
class PredictedLead:
    """What coherent light gives on the same link, and the source's lead over it.

    Attributes
    ----------
    rate_per_pulse
        Of the light [1].
    advantage_dB, advantage_dB_u
        None where either gives no key.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    rate_per_pulse: _Rate
    advantage_dB: FiniteFloat | None
    advantage_dB_u: _Uncertainty | None


@dataclass(frozen=True)
class PredictedRate:
    """The key rate that a verdict rests on.

    Attributes
    ----------
    loss_dB
        Channel loss of the link.
    rate_per_pulse, rate_per_pulse_u
        Secret bits per sent pulse, and the standard uncertainty.
    rate_bps
        Secret bits per second.
    comparators
        Coherent light on the same link, by name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    loss_dB: FiniteFloat
    protocol: str
    accounting: str
    block: FiniteFloat
    block_kind: str
    rate_per_pulse: _Rate
    rate_per_pulse_u: _Uncertainty
    rate_bps: _Rate
    comparators: dict[str, PredictedLead]

    @classmethod
    def of(cls, rate: KeyRate) -> PredictedRate:
        """Return a predicted rate as the record holds it."""
        return cls(
            loss_dB=rate.loss_dB,
            protocol=rate.protocol,
            accounting=rate.accounting,
            block=rate.block,
            block_kind=rate.block_kind,
            rate_per_pulse=rate.rate_per_pulse,
            rate_per_pulse_u=rate.rate_per_pulse_u,
            rate_bps=rate.rate_bps,
            comparators={
                c.name: PredictedLead(c.rate_per_pulse, c.advantage_dB, c.advantage_dB_u)
                for c in rate.comparators
            },
        )


@dataclass(frozen=True)
class Verdict:
    """The decision and why.

    Attributes
    ----------
    decision
        "GO", "NO-GO" or "INCONCLUSIVE".
    reasons
        For a GO what was found, otherwise what stands against it.
    demands
        All that a GO demands, and how what was found compares.
    rate
        The key rate that it rests on; None where none could be predicted.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    decision: Decision
    reasons: tuple[str, ...]
    demands: tuple[Demand, ...] = ()
    rate: PredictedRate | None = None

    @property
    def exit_code(self) -> int:
        """Exit code of the command line."""
        return EXIT_CODES[self.decision]

    @property
    def demanded(self) -> tuple[str, ...]:
        """All that a GO demands, in words."""
        return tuple(d.demanded for d in self.demands)

    def __str__(self) -> str:
        return f"{self.decision}: {'; '.join(self.reasons)}"


def decide(problems: Sequence[str], demands: Sequence[Demand]) -> Decision:
    """Decide by problems and demands.

    A problem met while measuring makes the outcome inconclusive, whatever the values are. One
    broken demand is a NO-GO; a GO keeps all of them.
    """
    states = {d.state for d in demands}
    if problems:
        return "INCONCLUSIVE"
    if "broken" in states:
        return "NO-GO"
    return "INCONCLUSIVE" if "undecided" in states else "GO"
