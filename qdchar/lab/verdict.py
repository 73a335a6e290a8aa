"""Judge a record and its key rate by a recipe: what was demanded, what was found, the reasons."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qdchar.keyrate import Comparison, KeyRate
from qdchar.keyrate.no_key import NoKey
from qdchar.notation import concise, number_text, text
from qdchar.quantities import quantity
from qdchar.record import SourceRecord
from qdchar.verdict import Decision, Demand, PredictedRate, Verdict, decide

from .recipe import Recipe


def judge(
    record: SourceRecord, rate: KeyRate, recipe: Recipe, no_key: NoKey | None = None
) -> Verdict:
    """Compare a record and its key rate with the demands of a recipe.

    Parameters
    ----------
    record, rate, recipe
        What was measured, what is predicted from it, and what is demanded.
    no_key
        Why there is no key, where the rate is 0; with the two smallest changes that would give one
        it leads the reasons of a NO-GO.

    Notes
    -----
    A problem met while measuring makes the outcome inconclusive, whatever the values are. Each
    demand must be kept by two standard uncertainties for a GO; one that is broken by as much is a
    NO-GO; in between the outcome is inconclusive.
    """
    demands = (*_on_quantities(record, recipe), _on_rate(rate, recipe), *_on_lead(rate, recipe))
    decision = decide(record.problems, demands)
    reasons = record.problems or _reasons(decision, demands, rate)
    if no_key is not None and decision == "NO-GO":
        reasons = (f"no key: {no_key.term}", *map(str, no_key.lifts[:2]), *reasons)
    return Verdict(decision, reasons, demands, PredictedRate.of(rate))


def _reasons(decision: Decision, demands: tuple[Demand, ...], rate: KeyRate) -> tuple[str, ...]:
    if decision == "GO":
        return (f"key rate {_rate_text(rate)}", *(_lead_text(c) for c in rate.comparators))
    if decision == "NO-GO":
        return tuple(str(d) for d in demands if d.state == "broken")
    return tuple(f"undecided: {d}" for d in demands if d.state == "undecided")


def _on_quantities(record: SourceRecord, recipe: Recipe) -> Iterator[Demand]:
    for name, bound in recipe.limits.items():
        words = quantity(name).words
        for limit, side, sign in ((bound.min, "at least", 1.0), (bound.max, "at most", -1.0)):
            if limit is None:
                continue
            demanded = f"{words} {side} {number_text(limit, quantity(name).unit)} (limits.{name})"
            if name not in record.quantities:
                yield Demand.of(demanded, f"{words} was not measured", None)
                continue
            estimate = record.estimate(name)
            yield Demand.of(
                demanded, f"{words} {text(estimate)}", sign * (estimate.value - limit), estimate.u
            )


def _on_rate(rate: KeyRate, recipe: Recipe) -> Demand:
    # no key at all is no key rate, also where nothing is demanded of its size
    margin = rate.rate_per_pulse - recipe.min_rate_per_pulse if rate.rate_per_pulse > 0 else -1.0
    u = rate.rate_per_pulse_u if rate.rate_per_pulse > 0 else 0.0
    least = recipe.min_rate_per_pulse
    return Demand.of(
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
        yield Demand.of(demanded, _lead_text(comparison), margin, u)


def _rate_text(rate: KeyRate) -> str:
    value = concise(rate.rate_per_pulse, rate.rate_per_pulse_u)
    return f"{value} bit per pulse at {rate.loss_dB:g} dB"


def _lead_text(comparison: Comparison) -> str:
    if comparison.advantage_dB is None:
        return f"{comparison.name} or the source gives no key here"
    word = "above" if comparison.advantage_dB >= 0 else "below"
    lead = concise(abs(comparison.advantage_dB), comparison.advantage_dB_u or 0.0)
    return f"{lead} dB {word} {comparison.name}"
