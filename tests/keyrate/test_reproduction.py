from __future__ import annotations

import pytest

from qdchar.keyrate.decoy.coherent_finite import best_coherent_key
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.published.account import (
    account,
    crossing_from_boundary,
    nu_for_crossing,
    nu_of_the_paper,
    pulls,
)
from qdchar.keyrate.published.morrison_pousa import DECOY_VARIANTS, last_leading_block
from qdchar.keyrate.published.reproduction import linear_gain_rate, reproduce
from qdchar.keyrate.published.values import MEASURED, measured_at
from qdchar.keyrate.published.variants import Reproduction
from qdchar.link import Link


@pytest.fixture(scope="module")
def rows() -> dict[str, Reproduction]:
    return {row.quantity: row for row in reproduce()}


# An independent computation of the same variants, to its printed digits: computed over measured
# rates, edges of Fig. 4, and the crossing.
RATIOS = {
    "alice, BB84, passive": [1.15, 1.21, 1.35, 1.21, 0.93],
    "joint, BB84, passive": [1.16, 1.23, 1.46, 1.96, 1.69],
    "joint, 3 states, passive": [1.05, 1.09, 1.20, 1.28, 1.04],
    "joint, 3 states (each), passive": [1.05, 1.09, 1.17, 1.13, 0.89],
    "alice, BB84, active": [1.19, 1.21, 1.28, 1.34, 1.10],
}
FIG_4 = {
    "Fig. 4a, largest g2 at <n> = 1": [0.356, None, 0.422, 0.338, 0.451],
    "Fig. 4b, smallest <n> at g2 = 0": [0.268, 0.268, 0.268, 0.268, 0.268],
    "Fig. 4b, largest g2 at <n> = 1": [0.124, 0.470, 0.162, 0.131, 0.136],
    "crossing with coherent light": [17.9, 24.4, 18.8, 17.7, 19.05],
}


def test_ratios_to_the_measured_rates(rows: dict[str, Reproduction]) -> None:
    for name, ratios in RATIOS.items():
        for measured, ratio in zip(MEASURED, ratios, strict=True):
            row = rows[f"rate at {measured.loss_dB:g} dB, {measured.where}"]
            value = dict(row.computed)[name]
            assert value is not None
            # both are rounded: the ratio to 0.005, the measured rate to 0.3 %
            assert value / row.published == pytest.approx(ratio, abs=0.011)


def test_edges_and_crossing(rows: dict[str, Reproduction]) -> None:
    for quantity, values in FIG_4.items():
        computed = dict(rows[quantity].computed)
        for name, value in zip(RATIOS, values, strict=True):
            found = computed[name]
            if value is None:
                assert found is None
            else:
                assert found == pytest.approx(value, abs=0.06 if value > 10 else 6e-4)


def test_what_is_reproduced_and_what_is_not(rows: dict[str, Reproduction]) -> None:
    assert rows["Fig. 4b, smallest <n> at g2 = 0"].reproduced
    assert abs(rows["Fig. 4b, smallest <n> at g2 = 0"].closest[1] or 1) < 5e-3
    assert abs(rows["crossing with coherent light"].closest[1] or 9) < 1.5
    assert rows["advantage at 14.6 dB, measured over computed"].reproduced
    light = dict(rows["coherent light at 14.6 dB, implied"].computed)
    assert light["3-state coherent light"] == pytest.approx(6.09e-4, rel=5e-3)
    assert light["BB84 coherent light"] == pytest.approx(1.30e-3, rel=5e-3)
    assert not rows["rate at 10.15 dB, laboratory"].reproduced
    assert not rows["rate at 14.6 dB, field"].reproduced


def test_the_fitted_anchors_of_the_other_paper(rows: dict[str, Reproduction]) -> None:
    rate = rows["rate at 100 km, 60 s (two constants fitted)"]
    assert rate.closest[1] == pytest.approx(0, abs=2e-3)
    reach = rows["reach, endless block (two constants fitted)"]
    assert reach.closest[1] == pytest.approx(0, abs=6e-3)


@pytest.mark.parametrize(("receiver", "block"), [(0.55, 2.4e9), (0.60, 5.2e9), (0.65, 1.1e10)])
def test_where_the_lead_ends_in_a_longer_block(receiver: float, block: float) -> None:
    """An independent computation, to its printed digit: errors not capped, four bounds."""
    found = last_leading_block("alice", DECOY_VARIANTS[3], receiver)
    assert found == pytest.approx(block, rel=0.045)
    capped = last_leading_block("alice", DECOY_VARIANTS[0], receiver)
    assert capped is not None
    assert capped < 0.25 * block


def test_multi_photons_as_bob_detects_them_never_lose_the_lead() -> None:
    """With joint accounting there is no crossing, whatever the variant: not what is published."""
    for variant in DECOY_VARIANTS[::2]:
        assert last_leading_block("joint", variant, 0.60) is None


def test_linear_gain_is_the_limit_of_a_weak_channel() -> None:
    near, far = (
        LinkParameters.from_link(Link(dark_count_rate=0.0), loss)  # type: ignore[arg-type]
        for loss in (3.0, 50.0)
    )
    linear = float(linear_gain_rate(near))
    assert linear < 0.97 * float(best_coherent_key(near, phase="lt")[0].rate)
    # without dark counts, 47 dB more loss costs exactly 47 dB
    assert float(linear_gain_rate(far)) * 10**4.7 == pytest.approx(linear, rel=1e-4)
    assert float(best_coherent_key(far, phase="lt")[0].rate) * 10**4.7 == pytest.approx(
        linear, rel=1e-4
    )


def test_measurements_are_found_by_loss() -> None:
    field = measured_at(14.6)
    assert field is not None
    assert field.where == "field"
    assert measured_at(14.5) is None


def test_boundary_and_crossing_contradict_each_other(rows: dict[str, Reproduction]) -> None:
    """The relation predicts the crossing of every model from its boundary, within 0.09 dB."""
    boundary = dict(rows["Fig. 4a, largest g2 at <n> = 1"].computed)
    crossing = dict(rows["crossing with coherent light"].computed)
    threshold = nu_of_the_paper().threshold
    for name in RATIOS:
        g2, loss = boundary[name], crossing[name]
        if g2 is None:
            continue
        assert loss is not None
        # the active receiver's coherent light has a nu of its own, near that of the passive one
        assert crossing_from_boundary(threshold, g2) == pytest.approx(loss, abs=0.15)
    assert threshold == pytest.approx(1.18, abs=0.005)
    assert nu_of_the_paper().advantages == pytest.approx(0.98, abs=0.01)
    assert crossing_from_boundary(0.98) == pytest.approx(17.75, abs=0.03)
    assert nu_for_crossing() == pytest.approx(1.31, abs=0.015)


def test_one_account_meets_the_figures_but_for_the_crossing() -> None:
    found = {row.quantity: row for row in account()}
    missed = [quantity for quantity, row in found.items() if not row.reproduced]
    assert missed == ["crossing with coherent light"]
    computed = found["crossing with coherent light"].computed[0][1]
    assert computed == pytest.approx(17.75, abs=0.02)


def test_what_each_measured_rate_needs() -> None:
    """An independent derivation: ratios in dB, and single changes that make them exact."""
    at = {pull.loss_dB: pull for pull in pulls()}
    for loss, ratio in ((0.17, -0.13), (5.11, 0.23), (10.15, 0.64), (14.6, 0.53), (15.16, -0.53)):
        assert at[loss].ratio_dB == pytest.approx(ratio, abs=0.02)
    assert at[14.6].g2 == pytest.approx(0.0081, abs=1e-4)
    assert at[14.6].g2_sigma == pytest.approx(1.75, abs=0.15)
    assert at[15.16].g2 == pytest.approx(0.0061, abs=1e-4)
    assert at[10.15].n == pytest.approx(0.242, abs=0.002)
    assert at[10.15].e_mis == pytest.approx(0.032, abs=2e-4)
