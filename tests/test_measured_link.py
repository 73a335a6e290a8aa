"""A misalignment that was measured with the source takes the place of the link's."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate
from qdchar.keyrate import SourceFigures, predict
from qdchar.link import Link
from qdchar.record import SourceRecord, make_record

SHARED = "a certificate of both"


def record(misalignment: float | None) -> SourceRecord:
    estimates = [
        Estimate(
            name="mean_photon_number",
            value=0.29,
            method="",
            budget=(Contribution(SHARED, 0.01, "B"),),
        ),
        Estimate(
            name="g2_zero",
            value=0.007,
            method="",
        ),
        Estimate(
            name="clock_rate",
            value=76e6,
            method="",
        ),
    ]
    if misalignment is not None:
        budget = (Contribution(SHARED, 1e-3, "B"), Contribution("counts", 2e-4))
        estimates.append(
            Estimate(
                name="misalignment",
                value=misalignment,
                method="",
                budget=budget,
            )
        )
    return make_record(
        estimates,
        qdchar_version="0",
        source="QD",
        station="lab",
        simulated=True,
        valid_for=timedelta(hours=1),
        tuning={},
    )


def rate(link: Link, held: SourceRecord):
    figures = [held.estimate(n) for n in ("mean_photon_number", "g2_zero", "clock_rate")]
    (point,) = predict(SourceFigures.from_estimates(*figures), link, loss_dB=10.0, comparators=())
    return point


def test_measured_value_and_its_covariance_enter_the_rate() -> None:
    held = record(0.03)
    link = Link().measured_in(held)
    assert link.misalignment.value == 0.03
    point = rate(link, held)
    same = rate(Link(misalignment={"value": 0.03, "u": 1.02e-3}), held)
    assert point.rate_per_pulse == same.rate_per_pulse
    budget = {c.source: c.u for c in point.budget}
    apart = {c.source: c.u for c in same.budget}
    assert set(budget) == {SHARED, "counts"}
    # more photons raise the rate, more errors lower it: in one certificate they cancel in part
    from_counts = budget["counts"]
    assert from_counts < 0
    assert budget[SHARED] == pytest.approx(apart[SHARED] + 5.0 * from_counts, rel=1e-6)
    assert link.estimates()["misalignment"].method != Link().estimates()["misalignment"].method


def test_a_record_without_it_leaves_the_link_as_it_is() -> None:
    assert Link().measured_in(record(None)) == Link()


def test_an_impossible_one_is_refused() -> None:
    with pytest.raises(InconclusiveError, match=r"misalignment was measured as 0\.7"):
        Link().measured_in(record(0.7))
