"""Table 1 of Zhang et al., PRL 134, 210801, beside what was measured or given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qdchar.estimate import Estimate
from qdchar.link import Link
from qdchar.notation import age_text, concise, prefixed, text
from qdchar.quantities import quantity
from qdchar.record import SourceRecord

from . import wording


@dataclass(frozen=True)
class Published:
    """A value of the paper; u is 0 where it gives none."""

    group: str
    value: float
    u: float = 0.0


PUBLISHED: Mapping[str, Published] = {
    "clock_rate": Published("Source", 76.13e6),
    "lifetime": Published("Source", 75.8e-12),
    "linewidth": Published("Source", 2.73e9),
    "collection_efficiency": Published("Source", 0.712, 0.018),
    "g2_zero_source": Published("Source", 0.0205, 0.0006),
    "transmitter_efficiency": Published("Transmitter", 0.410),
    "mean_photon_number": Published("Transmitter", 0.292, 0.008),
    "g2_zero": Published("Transmitter", 0.00698, 0.00064),
    "misalignment": Published("Transmitter", 0.0254),
    "channel_loss": Published("Link", 14.6),
    "fiber_optics_efficiency": Published("Receiver", 0.600),
    "detector_efficiency": Published("Receiver", 0.712),
    "dark_count_rate": Published("Receiver", 43.0),
    "gate_width": Published("Receiver", 3.42e-9),
    "dark_count_probability": Published("Receiver", 1.47e-7),
}

FROM_RECORD = tuple(n for n, p in PUBLISHED.items() if p.group in ("Source", "Transmitter"))
"""Quantities that are the record's where it holds them; all others are the link's."""


@dataclass(frozen=True)
class Row:
    """One line of the table, as text.

    Attributes
    ----------
    name, words
        Code name of the quantity, and what a person reads.
    expanded, band
        Twice the standard uncertainty, and the 95 % interval; empty if the quantity is exact.
    origin
        "measured", "given", or "taken over" with the age.
    """

    group: str
    name: str
    words: str
    symbol: str
    value: str
    paper: str
    expanded: str
    band: str
    origin: str
    method: str


def table(record: SourceRecord, link: Link) -> tuple[Row, ...]:
    """Put the table together: source and transmitter from the record, the rest from the link.

    Parameters
    ----------
    record
        Measured quantities. What it does not hold is taken from the link.
    link
        Channel and receiver constants. The receiver's detectors are those of the link, not those
        that the source was measured with.
    """
    given = link.estimates()
    taken = {
        name: f"taken over, {age_text(t.age_hours)} old"
        for t in record.taken_over
        if t.why == "earlier run"
        for name in t.quantities
    }
    rows = []
    for name, published in PUBLISHED.items():
        if name in record.quantities and name in FROM_RECORD:
            rows.append(_row(published, record.estimate(name), taken.get(name, "measured")))
        elif name in given:
            rows.append(_row(published, given[name], "given"))
    return tuple(rows)


def provenance(record: SourceRecord) -> tuple[str, ...]:
    """Say what was not measured in one go, one sentence each."""
    lines = []
    for time in record.resumed:
        lines.append(
            f"The calibration was broken off, and went on at {time:%Y-%m-%d %H:%M:%S} UTC."
        )
    for t in record.taken_over:
        where = "before the interruption" if t.why == "resumed" else f"in the run {t.run}"
        lines.append(f"{t.measurement}: taken over, measured {where}, {age_text(t.age_hours)} old.")
    return tuple(lines)


def _row(published: Published, estimate: Estimate, origin: str) -> Row:
    scale, unit = prefixed(published.value, estimate.unit)
    paper = f"{concise(published.value / scale, published.u / scale)} {unit}".rstrip()
    scale, unit = prefixed(estimate.value, estimate.unit)
    return Row(
        group=published.group,
        name=estimate.name,
        words=quantity(estimate.name).words,
        symbol=quantity(estimate.name).symbol,
        value=text(estimate),
        paper=paper,
        expanded=f"{2.0 * estimate.u / scale:.2g} {unit}".rstrip() if estimate.u else "",
        band=wording.band(estimate),
        origin=origin,
        method=estimate.method,
    )
