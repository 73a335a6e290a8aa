"""The verdict: GO, NO-GO or inconclusive, with the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qdchar.errors import UsageError
from qdchar.estimate import Estimate
from qdchar.keyrate import KeyRate
from qdchar.notation import concise, number_text, text
from qdchar.record import SourceRecord

from .recipe import Recipe

Decision = Literal["GO", "NO-GO", "INCONCLUSIVE"]
EXIT_CODES: dict[Decision, int] = {"GO": 0, "NO-GO": 10, "INCONCLUSIVE": 11}


@dataclass(frozen=True)
class Verdict:
    """The decision and why."""

    decision: Decision
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """Exit code of the command line."""
        return EXIT_CODES[self.decision]

    def __str__(self) -> str:
        return f"{self.decision}: {'; '.join(self.reasons)}"


def judge(record: SourceRecord, rate: KeyRate, recipe: Recipe) -> Verdict:
    """Compare a record and its key rate with the demands of the recipe.

    A problem in a measurement makes the verdict inconclusive, whatever the values are. A quantity
    must be within its limits by its value, without regard to its uncertainty. The key rate must
    exceed its minimum by two standard uncertainties.
    """
    if record.problems:
        return Verdict("INCONCLUSIVE", record.problems)
    failures = [*_out_of_limits(record, recipe), *_poor_rate(rate, recipe)]
    if failures:
        return Verdict("NO-GO", tuple(failures))
    u = rate.rate_per_pulse_u
    reasons = [f"key rate {concise(rate.rate_per_pulse, u)} bit per pulse at {rate.loss_dB:g} dB"]
    for c in rate.comparators:
        if c.advantage_dB is None:
            reasons.append(f"{c.name} gives no key here")
        else:
            word = "above" if c.advantage_dB >= 0 else "below"
            reasons.append(f"{abs(c.advantage_dB):.2f} dB {word} {c.name}")
    return Verdict("GO", tuple(reasons))


def _out_of_limits(record: SourceRecord, recipe: Recipe) -> list[str]:
    failures = []
    for name, bound in recipe.limits.items():
        estimate = record.estimate(name)
        if bound.min is not None and estimate.value < bound.min:
            failures.append(_beyond(estimate, "below", bound.min))
        if bound.max is not None and estimate.value > bound.max:
            failures.append(_beyond(estimate, "above", bound.max))
    return failures


def _beyond(estimate: Estimate, side: str, limit: float) -> str:
    at = number_text(limit, estimate.unit)
    return (
        f"{estimate.quantity.words} = {text(estimate)} is {side} {at}, its limit in the recipe "
        f"(limits.{estimate.name})"
    )


def _poor_rate(rate: KeyRate, recipe: Recipe) -> Sequence[str]:
    failures = []
    if rate.rate_per_pulse - 2.0 * rate.rate_per_pulse_u <= recipe.min_rate_per_pulse:
        failures.append(
            f"key rate {concise(rate.rate_per_pulse, rate.rate_per_pulse_u)} bit per pulse at "
            f"{rate.loss_dB:g} dB is not above {recipe.min_rate_per_pulse:g} by two standard "
            "uncertainties"
        )
    known = {c.name: c for c in rate.comparators}
    for name, least in recipe.min_advantage_dB.items():
        if name not in known:
            raise UsageError(f"min_advantage_dB: {name!r} is not one of {', '.join(known)}")
        advantage = known[name].advantage_dB
        if rate.rate_per_pulse > 0 and advantage is not None and advantage < least:
            failures.append(f"{advantage:.2f} dB over {name}, {least:g} dB demanded")
    return failures
