"""The predicted key against `qdchar.keyrate.predict`, and its intervals."""

from __future__ import annotations

import numpy as np
import pytest

from qdchar.errors import UsageError
from qdchar.exchange.prediction import Plan, predicted_key
from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.result import Protocol
from qdchar.lab.exchange import link_of_exchange
from qdchar.link import Link


def _plan(source: SourceFigures, protocol: Protocol = "efficient-bb84") -> Plan:
    link = link_of_exchange(Link(misalignment={"value": 0.02, "u": 0.001}), 1.5e6, 7.0)  # type: ignore[arg-type]
    return Plan.best(source, link, protocol=protocol, accounting="alice", eps_source=1e-9)


@pytest.mark.parametrize("protocol", ["efficient-bb84", "three-state"])
def test_length_and_detections_are_those_of_the_key_rate(protocol: Protocol) -> None:
    source = SourceFigures.from_values(0.25, 0.008, n_u=0.004, g2_u=0.0004)
    plan = _plan(source, protocol)
    assert plan.link.security == "rigorous"
    (key,) = predict(
        source, plan.link, protocol=protocol, eps_source=1e-9, block=1.5e6, comparators=()
    )
    found = predicted_key(plan, np.random.default_rng(1), draws=50)
    # the number of pulses is rounded up
    assert found.key_length == pytest.approx(key.key_length, rel=1e-5)
    # other than here, the key rate takes an exact number of detections
    assert found.detections == pytest.approx(1.5e6, rel=1e-3)
    assert plan.pattern(3).number_of_states == (3 if protocol == "three-state" else 4)
    # g2 n^2 / 2 = 2.5e-4, known to sqrt((2 * 0.004 / 0.25)^2 + (0.0004 / 0.008)^2) = 5.94 %, and
    # a normal number exceeds 5.998 sigma with probability 1e-9
    assert plan.p2_limit == pytest.approx(2.5e-4 * (1 + 5.998 * 0.0594), rel=1e-3)


def test_intervals_hold_chance_and_the_source() -> None:
    """The wider interval against the uncertainty of <n> alone, by hand."""
    plan = _plan(SourceFigures.from_values(0.25, 0.008, n_u=0.01, g2_u=0.0004))
    found = predicted_key(plan, np.random.default_rng(2))
    low, high = found.by_chance
    assert found.interval[0] < low < found.key_length < high < found.interval[1]
    # 4 % of <n> in the detections: twice that in 1.96 sigma, and what the error rate adds
    width = (found.interval[1] - found.interval[0]) / found.key_length
    assert 2 * 1.96 * 0.04 < width < 2 * 1.96 * 0.09


def test_uncertainties_that_leave_no_possible_draw_are_refused() -> None:
    plan = _plan(SourceFigures.from_values(0.25, 0.008, n_u=1e9, g2_u=0.0004))
    with pytest.raises(UsageError, match="none of 4000 draws"):
        predicted_key(plan, np.random.default_rng(4))


def test_fewer_test_detections_widen_the_interval() -> None:
    """Ten times the block: relative widths shrink by about the root of ten."""
    source = SourceFigures.from_values(0.25, 0.008, n_u=0.001, g2_u=0.0001)
    widths = []
    for block in (1e6, 1e7):
        plan = Plan.best(
            source,
            link_of_exchange(Link(), block, 7.0),
            protocol="efficient-bb84",
            accounting="joint",
            eps_source=1e-10,
        )
        found = predicted_key(plan, np.random.default_rng(3))
        widths.append((found.by_chance[1] - found.by_chance[0]) / found.key_length)
    assert 2 < widths[0] / widths[1] < 5
