"""GO, NO-GO or inconclusive: what was demanded, what was found, and the reasons."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from qdchar.keyrate import Comparison, KeyRate
from qdchar.notation import concise, number_text, text
from qdchar.quantities import quantity
from qdchar.record import SourceRecord

from .recipe import Recipe

Decision = Literal["GO", "NO-GO", "INCONCLUSIVE"]
EXIT_CODES: dict[Decision, int] = {"GO": 0, "NO-GO": 10, "INCONCLUSIVE": 11}

COVERAGE_FACTOR = 2.0
"""A demand is kept, or broken, by this many standard uncertainties; in between it is undecided."""


@dataclass(frozen=True)
class Demand:
    """One demand of a recipe, and how what was found compares.

    Attributes
    ----------
    demanded, found
        In words, with unit and uncertainty.
    margin
        Distance from the bound, positive on the demanded side; None if nothing was found.
    u
        Standard uncertainty of the margin.
    """

    demanded: str
    found: str
    margin: float | None
    u: float = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether it is kept by two standard uncertainties."""
        return self.margin is not None and self.margin >= COVERAGE_FACTOR * self.u

    @property
    def is_broken(self) -> bool:
        """Whether it is broken by two standard uncertainties."""
        return self.margin is not None and self.margin < -COVERAGE_FACTOR * self.u

    def __str__(self) -> str:
        return f"{self.found}; {self.demanded} demanded"


@dataclass(frozen=True)
class Verdict:
    """The decision and why.

    Attributes
    ----------
    reasons
        For a GO what was found, otherwise what stands against it.
    demands
        All that a GO demands, in words.
    """

    decision: Decision
    reasons: tuple[str, ...]
    demands: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Exit code of the command line."""
        return EXIT_CODES[self.decision]

    def __str__(self) -> str:
        return f"{self.decision}: {'; '.join(self.reasons)}"


def judge(record: SourceRecord, rate: KeyRate, recipe: Recipe) -> Verdict:
    """Compare a record and its key rate with the demands of a recipe.

    A problem met while measuring makes the outcome inconclusive, whatever the values are. Each
    demand must be kept by two standard uncertainties for a GO; one that is broken by as much is a
    NO-GO; in between the outcome is inconclusive.
    """
    demands = (*_on_quantities(record, recipe), _on_rate(rate, recipe), *_on_lead(rate, recipe))
    demanded = tuple(d.demanded for d in demands)
    if record.problems:
        return Verdict("INCONCLUSIVE", record.problems, demanded)
    broken = tuple(str(d) for d in demands if d.is_broken)
    if broken:
        return Verdict("NO-GO", broken, demanded)
    undecided = tuple(f"undecided: {d}" for d in demands if not d.is_kept)
    if undecided:
        return Verdict("INCONCLUSIVE", undecided, demanded)
    found = (f"key rate {_rate_text(rate)}", *(_lead_text(c) for c in rate.comparators))
    return Verdict("GO", found, demanded)


def _on_quantities(record: SourceRecord, recipe: Recipe) -> Iterator[Demand]:
    for name, bound in recipe.limits.items():
        words = quantity(name).words
        for limit, side, sign in ((bound.min, "at least", 1.0), (bound.max, "at most", -1.0)):
            if limit is None:
                continue
            demanded = f"{words} {side} {number_text(limit, quantity(name).unit)} (limits.{name})"
            if name not in record.quantities:
                yield Demand(demanded, f"{words} was not measured", None)
                continue
            estimate = record.estimate(name)
            yield Demand(
                demanded, f"{words} {text(estimate)}", sign * (estimate.value - limit), estimate.u
            )


def _on_rate(rate: KeyRate, recipe: Recipe) -> Demand:
    # no key at all is no key rate, also where nothing is demanded of its size
    margin = rate.rate_per_pulse - recipe.min_rate_per_pulse if rate.rate_per_pulse > 0 else -1.0
    u = rate.rate_per_pulse_u if rate.rate_per_pulse > 0 else 0.0
    least = recipe.min_rate_per_pulse
    return Demand(
        f"a key rate above {least:g} bit per pulse", f"key rate {_rate_text(rate)}", margin, u
    )


def _on_lead(rate: KeyRate, recipe: Recipe) -> Iterator[Demand]:
    known = {c.name: c for c in rate.comparators}
    for name, least in recipe.min_advantage_dB.items():
        demanded = f"a lead of {least:g} dB over {name}"
        comparison = known[name]
        if comparison.advantage_dB is not None:
            margin, u = comparison.advantage_dB - least, comparison.advantage_dB_u or 0.0
        else:  # one of the two gives no key
            margin, u = (math.inf if rate.rate_per_pulse > 0 else -math.inf), 0.0
        yield Demand(demanded, _lead_text(comparison), margin, u)


def _rate_text(rate: KeyRate) -> str:
    value = concise(rate.rate_per_pulse, rate.rate_per_pulse_u)
    return f"{value} bit per pulse at {rate.loss_dB:g} dB"


def _lead_text(comparison: Comparison) -> str:
    if comparison.advantage_dB is None:
        return f"{comparison.name} or the source gives no key here"
    word = "above" if comparison.advantage_dB >= 0 else "below"
    lead = concise(abs(comparison.advantage_dB), comparison.advantage_dB_u or 0.0)
    return f"{lead} dB {word} {comparison.name}"
