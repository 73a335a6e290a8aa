"""What speaks against using a record: it was edited, contradicts itself, is stale, or is no GO.

A record that passes pydantic has the right fields and types. Here stand the checks between fields:
each fault names the field.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import __version__
from .quantities import quantity
from .verdict import Demand, PredictedRate, Verdict, decide, state_of

if TYPE_CHECKING:
    from .record import RecordedQuantity, SourceRecord

CLOCK_SKEW = timedelta(minutes=5)
"""By so much the clocks of two computers may differ."""

_ROUNDING = 1e-6
"""Relative; numbers are written with all their digits, the correlation with six."""
_FAR = 4.0
"""Standard uncertainties by which no value lies beyond what is possible: odds of 1 in 30 000."""
_NEAR = 2.0
"""Within so many standard uncertainties of a bound an interval need not contain the value."""


@dataclass(frozen=True)
class Objection:
    """One reason not to use a record.

    Attributes
    ----------
    field
        Where in the record, e.g. ``quantities.p2.value``; a file of the run for its other files.
    kind
        "fault": edited, damaged, or in contradiction with itself; "stale"; "verdict": measured and
        found inconclusive or a NO-GO.
    """

    field: str
    reason: str
    kind: Literal["fault", "stale", "verdict"] = "fault"

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of a record's content, its ``digest`` left out, as 64 hexadecimal digits.

    The content is written as JSON with sorted keys, no white space, and characters beyond ASCII as
    they are, in UTF-8; numbers as Python writes them.
    """
    rest = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def objections(
    record: SourceRecord, content: Mapping[str, Any], now: datetime
) -> tuple[Objection, ...]:
    """Return all that speaks against using a record at a time; faults first.

    Parameters
    ----------
    record, content
        The record, and the JSON that it was read from.
    now
        With a time zone.
    """
    return (
        *_digest(content),
        *_times(record, now),
        *_quantities(record),
        *_photon_numbers(record),
        *_correlation(record, content),
        *_raw(record),
        *_verdict(record),
        *_standing(record, now),
    )


def _digest(content: Mapping[str, Any]) -> Iterator[Objection]:
    if "digest" not in content:
        yield Objection(
            "digest",
            f"missing (schema {content.get('schema')}): nobody can tell whether the record was "
            "edited; measure the source again, or accept it",
        )
    elif content["digest"] != digest_of(content):
        yield Objection("digest", "is not that of the content: the record was edited or damaged")


def _times(record: SourceRecord, now: datetime) -> Iterator[Objection]:
    if record.created > now + CLOCK_SKEW:
        yield Objection(
            "created",
            f"{record.created:%Y-%m-%d %H:%M} is in the future; it is {now:%Y-%m-%d %H:%M %Z}",
        )
    if record.valid_until <= record.created:
        yield Objection("valid_until", "is not after created")


def _quantities(record: SourceRecord) -> Iterator[Objection]:
    for name, held in record.quantities.items():
        where = f"quantities.{name}"
        total = math.hypot(*(line.u for line in held.budget))
        if abs(total - held.u) > _ROUNDING * max(total, held.u):
            yield Objection(f"{where}.u", f"is {held.u:g}, but its budget adds up to {total:g}")
        yield from _range(name, held, where)
        yield from _intervals(name, held, where)
        if record.qdchar_version == __version__ and held.definition != quantity(name).definition:
            yield Objection(
                f"{where}.definition",
                f"is {held.definition!r}, but qdchar {__version__} defines it as "
                f"{quantity(name).definition!r}",
            )


def _range(name: str, held: RecordedQuantity, where: str) -> Iterator[Objection]:
    low, high = quantity(name).low, quantity(name).high
    if held.value < low - _FAR * held.u or held.value > high + _FAR * held.u:
        span = f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} or more"
        yield Objection(
            f"{where}.value",
            f"{held.value:g} +- {held.u:g} is more than {_FAR:g} u beyond what is possible: {span}",
        )


def _intervals(name: str, held: RecordedQuantity, where: str) -> Iterator[Objection]:
    """Intervals lie around the value, the one of 68 % within the one of 95 %.

    Near a bound, an interval holds only what is possible and may exclude the value: 1.0000007 of
    the light within the gate, no count at all.
    """
    slack = _ROUNDING * max(held.u, abs(held.value) * _ROUNDING)
    bounds = (0.0, 1.0) if held.unit == "1" else (0.0,)
    low, high = quantity(name).low, quantity(name).high
    near = held.value <= low or held.value >= high
    near = near or any(abs(held.value - bound) <= _NEAR * held.u for bound in bounds)
    for level in ("interval_68", "interval_95"):
        interval = getattr(held, level)
        inside = (
            interval is None or interval[0] - slack <= held.value <= interval[1] + slack or near
        )
        if not inside:
            yield Objection(
                f"{where}.{level}",
                f"{list(interval)} does not contain the value, {held.value:g}",
            )
    if held.interval_68 is not None and held.interval_95 is not None:
        (a, b), (c, d) = held.interval_68, held.interval_95
        if a < c - slack or b > d + slack:
            yield Objection(f"{where}.interval_68", "is not within interval_95")


def _photon_numbers(record: SourceRecord) -> Iterator[Objection]:
    held = record.quantities
    if not {"mean_photon_number", "g2_zero"} <= held.keys():
        return
    n, g2 = held["mean_photon_number"], held["g2_zero"]
    if n.plane and g2.plane and n.plane != g2.plane:
        yield Objection(
            "quantities.g2_zero.plane", f"is {g2.plane!r}, that of mean_photon_number {n.plane!r}"
        )
    pairs = g2.value * n.value * n.value  # ** raises where a float overflows
    due = {"p1": n.value - pairs, "p2": pairs / 2}
    for name, value in due.items():
        if name in held and abs(held[name].value - value) > _ROUNDING * abs(value):
            yield Objection(
                f"quantities.{name}.value",
                f"is {held[name].value:.9g}, but mean_photon_number and g2_zero make it "
                f"{value:.9g}",
            )


def _correlation(record: SourceRecord, content: Mapping[str, Any]) -> Iterator[Objection]:
    if "correlation" not in content:
        if "digest" in content:
            yield Objection("correlation", "missing")
        return
    count = len(record.quantities)
    try:
        given = np.array(content["correlation"], dtype=np.float64).reshape(count, -1)
    except (ValueError, TypeError, OverflowError):
        given = np.empty((0, 0))
    if given.shape != (count, count) or not np.all(np.isfinite(given)):
        yield Objection(
            "correlation", f"is not a matrix of {count} x {count} numbers, one a quantity"
        )
    elif not np.all(np.abs(given) <= 1.0 + _ROUNDING):
        yield Objection("correlation", "has an entry beyond 1")
    elif not np.array_equal(given, given.T):
        yield Objection("correlation", "is not symmetric")
    else:
        names = list(record.quantities)
        wrong = np.argwhere(np.abs(given - np.array(record.correlation)) > 10 * _ROUNDING)
        for i, k in wrong[:1]:
            yield Objection(
                f"correlation[{i}][{k}]",
                f"is {given[i, k]:g}, but the budgets of {names[i]} and {names[k]} make it "
                f"{record.correlation[i][k]:g}",
            )


def _raw(record: SourceRecord) -> Iterator[Objection]:
    files = [raw.file for raw in record.raw]
    for file in sorted({f for f in files if files.count(f) > 1}):
        yield Objection("raw", f"lists {file} more than once")


def _verdict(record: SourceRecord) -> Iterator[Objection]:
    verdict = record.verdict
    if verdict is None:
        return
    for i, demand in enumerate(verdict.demands):
        if demand.margin is not None and demand.state != state_of(demand.margin, demand.u):
            yield Objection(
                f"verdict.demands[{i}].state",
                f"is {demand.state}, but a margin of {demand.margin:g} +- {demand.u:g} is "
                f"{state_of(demand.margin, demand.u)}",
            )
    if verdict.rate is None:
        if verdict.decision != "INCONCLUSIVE":
            yield Objection("verdict.rate", f"missing, with the decision {verdict.decision}")
        return
    due = decide(record.problems, verdict.demands)
    if verdict.decision != due:
        yield Objection(
            "verdict.decision",
            f"is {verdict.decision}, but {_what_decides(record, verdict)} make it {due}",
        )
    if verdict.decision == "GO" and verdict.rate.rate_per_pulse == 0:
        yield Objection("verdict.decision", "is GO at a key rate of 0")
    yield from _rate(record, verdict.rate)


def _what_decides(record: SourceRecord, verdict: Verdict) -> str:
    broken: list[Demand] = [d for d in verdict.demands if d.state != "kept"]
    if record.problems:
        return f"its problems ({'; '.join(record.problems)})"
    return f"its demands ({'; '.join(map(str, broken)) or 'all kept'})"


def _rate(record: SourceRecord, rate: PredictedRate) -> Iterator[Objection]:
    clock = record.quantities.get("clock_rate")
    if clock is not None:
        due = rate.rate_per_pulse * clock.value
        if abs(rate.rate_bps - due) > _ROUNDING * due:
            yield Objection(
                "verdict.rate.rate_bps",
                f"is {rate.rate_bps:.9g}, but rate_per_pulse times clock_rate is {due:.9g}",
            )
    for name, light in rate.comparators.items():
        where = f"verdict.rate.comparators.{name}.advantage_dB"
        if rate.rate_per_pulse == 0 or light.rate_per_pulse == 0:
            if light.advantage_dB is not None:
                yield Objection(where, "is a number, but one of the two rates is 0")
            continue
        lead = 10 * math.log10(rate.rate_per_pulse / light.rate_per_pulse)
        if light.advantage_dB is None or abs(light.advantage_dB - lead) > _ROUNDING:
            yield Objection(where, f"is {light.advantage_dB}, but the two rates make it {lead:.9g}")


def _standing(record: SourceRecord, now: datetime) -> Iterator[Objection]:
    """Say what a record that is in order says against itself."""
    verdict = record.verdict
    if verdict is not None and verdict.decision != "GO":
        reasons = "; ".join(verdict.reasons)
        yield Objection("verdict.decision", f"{verdict.decision}: {reasons}", "verdict")
    elif record.problems:
        yield Objection("problems", "; ".join(record.problems), "verdict")
    if now > record.valid_until:
        yield Objection(
            "valid_until",
            f"stale since {record.valid_until:%Y-%m-%d %H:%M %Z}; measure the source again",
            "stale",
        )
