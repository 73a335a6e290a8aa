from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.crossing import beyond_search, crossing_loss, crossings, maximum_loss
from qdchar.keyrate.published.values import PAPERS_LINK
from qdchar.keyrate.result import Protocol
from qdchar.keyrate.single_photon.finite_key import Accounting
from qdchar.link import Constant, Link

SOURCE, LINK = SourceFigures(), Link()
PAPER = "wcp-vacuum-weak-three-state"
UNCERTAIN = Link(
    detector_efficiency=Constant(value=0.712, u=0.01),
    misalignment=Constant(value=0.0254, u=0.002),
    dark_count_rate=Constant(value=43.0, u=4.0),
)


@pytest.mark.parametrize(
    ("protocol", "accounting", "crossing"),
    [
        ("efficient-bb84", "alice", 17.9),
        ("efficient-bb84", "joint", 24.4),
        ("three-state", "joint", 18.8),
    ],
)
def test_crossings(protocol: Protocol, accounting: Accounting, crossing: float) -> None:
    """An independent computation, to its printed digit; the paper says 19 dB."""
    found = crossing_loss(SOURCE, PAPERS_LINK, PAPER, protocol=protocol, accounting=accounting)
    assert found is not None
    assert found.value == pytest.approx(crossing, abs=0.06)


def test_the_crossing_is_where_the_advantage_ends() -> None:
    names = ("wcp-infinite-decoy", PAPER)
    for name, found in crossings(SOURCE, LINK, names).items():
        assert found is not None
        losses = [found.value - 2e-3, found.value + 2e-3]
        ahead, behind = (
            p.comparator(name).advantage_dB or 0.0
            for p in predict(loss_dB=losses, comparators=(name,))
        )
        assert 0 < ahead < 5e-3
        assert -5e-3 < behind < 0


def test_never_ahead_and_no_key() -> None:
    assert crossing_loss(SOURCE, LINK, "wcp-ideal") is None
    noisy = Link(misalignment=0.2)  # type: ignore[arg-type]
    assert maximum_loss(SOURCE, noisy) is None
    assert crossing_loss(SOURCE, noisy, PAPER) is None


def test_maximum_loss_is_where_the_key_ends() -> None:
    loss = maximum_loss(SOURCE, LINK)
    assert loss is not None
    near, far = predict(loss_dB=[loss.value, loss.value + 2e-3], comparators=())
    assert near.rate_per_pulse > 0
    assert far.rate_per_pulse == 0


def test_a_lead_that_lasts_as_long_as_the_key() -> None:
    proof: Any = {"protocol": "efficient-bb84-decoy"}
    crossing, reach = (
        crossing_loss(SOURCE, LINK, PAPER, **proof),
        maximum_loss(SOURCE, LINK, **proof),
    )
    assert crossing is not None
    assert reach is not None
    assert (crossing.value, crossing.budget) == (reach.value, reach.budget)
    assert PAPER in crossing.method


def test_where_the_search_ends_is_said() -> None:
    """Without dark counts and g2, a block of received pulses gives a key at every loss."""
    silent = Link(dark_count_rate=0.0)  # type: ignore[arg-type]
    perfect = SourceFigures.from_values(0.9, 0.0, n_u=0.01)
    for found in (maximum_loss(perfect, silent), crossing_loss(perfect, silent, PAPER)):
        assert found is not None
        assert beyond_search(found)
        assert found.method.startswith("at least")
        assert found.u == 0


def shifted(name: str, by: float) -> tuple[SourceFigures, Link]:
    if name in ("mean_photon_number", "g2_zero"):
        estimate = getattr(SOURCE, name)
        moved = replace(estimate, value=estimate.value + by * estimate.u)
        return replace(SOURCE, **{name: moved}), UNCERTAIN
    given = getattr(UNCERTAIN, name)
    moved = Constant(value=given.value + by * given.u)
    return SOURCE, UNCERTAIN.model_copy(update={name: moved})


@pytest.mark.parametrize(
    ("find", "protocol"),
    [
        (maximum_loss, "efficient-bb84"),
        (maximum_loss, "three-state"),
        (maximum_loss, "efficient-bb84-decoy"),
        (lambda s, k, **p: crossing_loss(s, k, PAPER, **p), "efficient-bb84"),
        (lambda s, k, **p: crossing_loss(s, k, "wcp-infinite-decoy", **p), "efficient-bb84"),
    ],
)
def test_the_budget_is_what_a_new_search_finds(find: Any, protocol: str) -> None:
    """Search again with the most important inputs moved by half an uncertainty each way."""
    found = find(SOURCE, UNCERTAIN, protocol=protocol)
    budget = {c.source.split(": ")[1]: c.u for c in found.budget}
    assert budget.keys() == {
        *("mean_photon_number", "g2_zero"),
        *("detector_efficiency", "misalignment", "dark_count_rate"),
    }
    most = 1 if protocol.endswith("decoy") else 2
    for name, u in sorted(budget.items(), key=lambda item: -abs(item[1]))[:most]:
        low, high = (find(*shifted(name, by), protocol=protocol).value for by in (-0.5, 0.5))
        # a reach is found to 1e-3 dB; half an uncertainty leaves the linear range by a little
        assert u == pytest.approx(high - low, rel=0.04, abs=3e-3), name


def test_transmission_moves_every_loss_by_itself() -> None:
    """Loss and receiver stand in one product: 1 % more efficiency is 0.043 dB more loss."""
    decibels = 10 / np.log(10) * 0.01 / 0.712
    (crossing,) = crossings(SOURCE, UNCERTAIN, (PAPER,)).values()
    for found in (maximum_loss(SOURCE, UNCERTAIN), crossing):
        assert found is not None
        parts = {c.source: c.u for c in found.budget}
        assert parts["link: detector_efficiency"] == pytest.approx(decibels, rel=1e-4)
