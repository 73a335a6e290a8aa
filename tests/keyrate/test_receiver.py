"""What the receiver's parts do to a rate, against an independent derivation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qdchar.errors import UsageError
from qdchar.keyrate import SourceFigures, predict
from qdchar.keyrate.comparators import COMPARATORS
from qdchar.keyrate.crossing import maximum_loss
from qdchar.keyrate.link_parameters import LinkParameters
from qdchar.keyrate.single_photon.rate import best_single_photon_key, detection
from qdchar.link import Link

AS_LIGHT = {"dark_count_rate": 0.0, "background_count_rate": 43.0}


def link(**changes: Any) -> Link:
    return Link.model_validate(changes)


def rates(losses: list[float], **changes: Any) -> Any:
    given = LinkParameters.from_link(link(**changes), losses, 76.13e6)
    return best_single_photon_key(0.292, 0.00698, given).rate


def test_four_equal_detectors_put_half_of_the_dark_counts_in_each_basis() -> None:
    losses = [14.6, 22.0, 25.0, 28.0]
    ratio = rates(losses) / rates(losses, **AS_LIGHT)
    # three digits of an independent derivation
    assert ratio == pytest.approx([0.999, 0.958, 0.842, 0.483], abs=1e-3)
    reach = maximum_loss(SourceFigures(), Link())
    assert reach is not None
    assert reach.value == pytest.approx(29.7, abs=0.1)


def test_background_light_takes_the_way_of_the_signal() -> None:
    """Only noise: the bases share background 9:1, and dark counts as the detectors have them."""
    sky = detection(0.0, 0.0, 0.9, LinkParameters.from_link(link(**AS_LIGHT), 0.0))
    assert (0.9 * sky.z) / (0.1 * sky.x) == pytest.approx(9)
    one = {"detector_dark_shares": (0.5, 0.1, 0.1, 0.3)}
    dark = detection(0.0, 0.0, 0.9, LinkParameters.from_link(link(**one), 0.0))
    # double dark counts, of order 1e-7, are shared by the coin
    assert (0.9 * dark.z) / (0.1 * dark.x) == pytest.approx(0.6 / 0.4, rel=1e-6)
    for noise in (sky, dark):
        assert noise.wrong_z / noise.z == pytest.approx(0.5)
        assert noise.wrong_x / noise.x == pytest.approx(0.5)


@pytest.mark.parametrize(("dead_s", "cost"), [(20e-9, 0.08), (40e-9, 0.14)])
def test_dead_time_at_almost_no_loss(dead_s: float, cost: float) -> None:
    (live,) = predict(loss_dB=0.17, comparators=())
    assert live.detector_rate_hz == pytest.approx(4.1e6, rel=0.01)
    (dead,) = predict(link=link(dead_time=dead_s), loss_dB=0.17, comparators=())
    assert 1 - dead.rate_per_pulse / live.rate_per_pulse == pytest.approx(cost, abs=5e-3)
    assert dead.detector_rate_hz < live.detector_rate_hz


def test_a_click_rate_saturates_at_one_per_dead_time() -> None:
    bright = SourceFigures.from_values(0.7, 0.001, clock_rate_hz=2.5e9)
    short = {"gate_width": 0.3e-9}
    with pytest.raises(UsageError, match="gives no dead time"):
        predict(bright, link(**short), loss_dB=0.0, comparators=())
    (point,) = predict(bright, link(**short, dead_time=20e-9), loss_dB=0.0, comparators=())
    assert 0.8 / 20e-9 < point.detector_rate_hz < 1 / 20e-9
    # four detectors cannot give more than a bit a click
    assert point.rate_bps < 4 / 20e-9


@pytest.mark.parametrize("name", [n for n in COMPARATORS if n != "wcp-ideal"])
def test_coherent_light_meets_the_same_receiver(name: str) -> None:
    light = COMPARATORS[name]

    def rate(loss: float, **changes: Any) -> float:
        given = LinkParameters.from_link(link(**changes), [loss], 76.13e6)
        return float(light.rate(given)[0])

    assert 0.7 < rate(0.0, dead_time=40e-9) / rate(0.0) < 0.97
    noisy = {"dark_count_rate": 2000.0}
    as_light = {"dark_count_rate": 0.0, "background_count_rate": 2000.0}
    # half of the dark counts instead of a tenth disturb the test basis
    assert rate(20.0, **noisy) < 0.98 * rate(20.0, **as_light)


def test_a_gate_longer_than_the_period_is_refused() -> None:
    fast = SourceFigures.from_values(0.3, 0.01, clock_rate_hz=2.5e9)
    with pytest.raises(UsageError, match="longer than the time between two pulses"):
        predict(fast, link(gate_width=13e-9), loss_dB=10.0, comparators=())


def test_clicks_outside_of_the_gates_keep_detectors_busy() -> None:
    """Daylight of 20 MHz in all, a gate of a quarter of the period: a Z detector sees 9 MHz."""
    day = {"background_count_rate": 20e6, "gate_width": 3.28e-9, "dead_time": 50e-9}
    given = LinkParameters.from_link(link(**day), 100.0, 76.13e6)
    seen = detection(0.0, 0.0, 0.9, given)
    bare = given.p_background
    assert float(seen.z / bare) == pytest.approx(1 / (1 + 9e6 * 50e-9), rel=1e-3)
    assert float(seen.x / bare) == pytest.approx(1 / (1 + 1e6 * 50e-9), rel=1e-3)


@pytest.mark.parametrize("receiver", ["passive", "active"])
def test_an_active_receiver_has_two_detectors(receiver: str) -> None:
    changes = {"receiver": receiver, "dark_count_rate": 1e5}
    given = LinkParameters.from_link(link(**changes), 10.0)
    clicks = detection(0.3, 0.01, 0.9, given)
    both = float(clicks.total(np.asarray(0.9)))
    signal = 0.3 * float(given.eta)
    assert both == pytest.approx(signal + float(given.p_dark), rel=1e-3)
    if receiver == "active":
        assert clicks.z == clicks.x
    else:
        assert float(clicks.x - clicks.z) == pytest.approx(float(given.p_dark) * 4.44, rel=0.01)
