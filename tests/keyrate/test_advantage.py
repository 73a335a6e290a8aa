from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.advantage import advantage_map, maximum_g2, minimum_mean
from qdchar.keyrate.sensitivity import sensitivities
from qdchar.link import Link

SOURCE, LINK = SourceFigures(), Link()
PAPER = "wcp-vacuum-weak-three-state"


def test_boundaries_at_no_loss() -> None:
    """The paper's Fig. 4 within what an independent computation of this variant gives."""
    n = minimum_mean([0.0], LINK, loss_dB=0.0, comparator=PAPER)
    assert n == pytest.approx([0.0887], abs=5e-4)
    g2 = maximum_g2([1.0], LINK, loss_dB=0.0, comparator=PAPER)
    assert g2 == pytest.approx([0.356], abs=1e-3)
    asymptotic = Link(block_kind="asymptotic")
    n = minimum_mean([0.0], asymptotic, loss_dB=0.0, comparator="wcp-infinite-decoy")
    assert n == pytest.approx([0.268], rel=5e-3)


def test_boundaries_and_map_agree() -> None:
    n, g2 = np.linspace(0.05, 1.0, 12), np.linspace(0.0, 0.45, 10)
    with ThreadPoolExecutor(2) as pool:
        plane = advantage_map(n, g2, LINK, loss_dB=3.0, comparator=PAPER, executor=pool)
    alone = advantage_map(n, g2, LINK, loss_dB=3.0, comparator=PAPER)
    assert np.array_equal(plane.rate, alone.rate)
    assert plane.rate.shape == (10, 12)
    smallest = minimum_mean(g2, LINK, loss_dB=3.0, comparator=PAPER)
    largest = maximum_g2(n, LINK, loss_dB=3.0, comparator=PAPER)
    columns, rows = np.meshgrid(n, g2)
    ahead = plane.advantage_dB > 0
    assert np.array_equal(ahead, columns > smallest[:, None])
    assert np.array_equal(ahead, rows < largest[None, :])


def test_what_no_source_can_have_is_not_a_number() -> None:
    plane = advantage_map([0.5, 1.0], [0.1, 2.0], LINK, loss_dB=0.0, comparator="wcp-ideal")
    assert np.array_equal(np.isnan(plane.rate), [[False, False], [False, True]])


def test_sensitivities_are_derivatives() -> None:
    ordered = sensitivities(SOURCE, LINK, loss_dB=5.0)
    found = {s.name: s for s in ordered}
    (before,) = predict(loss_dB=5.0, comparators=())
    brighter = SourceFigures.from_values(0.292 * 1.01, 0.00698)
    (after,) = predict(brighter, loss_dB=5.0, comparators=())
    change = after.rate_per_pulse - before.rate_per_pulse
    assert found["mean_photon_number"].per_percent == pytest.approx(change, rel=0.02)
    signs = {name: np.sign(s.per_percent) for name, s in found.items()}
    for name in ("mean_photon_number", "fiber_optics_efficiency", "detector_efficiency", "block"):
        assert signs[name] > 0
    for name in ("g2_zero", "misalignment", "channel_loss", "dark_count_rate"):
        assert signs[name] < 0
    assert found["detector_efficiency"].per_percent == pytest.approx(
        found["fiber_optics_efficiency"].per_percent
    )
    sizes = [abs(s.per_percent) for s in ordered]
    assert sizes == sorted(sizes, reverse=True)
