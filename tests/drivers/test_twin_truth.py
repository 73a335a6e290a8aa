"""What is true in the simulated lab: the published source, and what follows from settings."""

from __future__ import annotations

import math

import pytest

from qdchar.drivers.twin.piezo import Piezo
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import UsageError
from qdchar.quantities import BUILT_IN, quantity


def true(**settings: str) -> dict[str, float]:
    keys = {key.replace("__", "."): value for key, value in settings.items()}
    return {name: value for name, value, _ in Truth.from_settings(keys).quantities()}


def test_defaults_are_the_published_source() -> None:
    """Zhang et al., PRL 134, 210801: Table 1 and what it implies."""
    t = true()
    assert t["clock_rate"] == 76.13e6
    assert t["lifetime"] == 75.8e-12
    assert t["collection_efficiency"] == pytest.approx(0.712)
    assert t["transmitter_efficiency"] == pytest.approx(0.410)
    assert t["mean_photon_number"] == pytest.approx(0.292, abs=5e-4)
    assert t["g2_zero_source"] == pytest.approx(0.0205)
    assert t["g2_zero"] == pytest.approx(0.00698, rel=1e-3)
    assert t["linewidth"] == pytest.approx(2.73e9, rel=1e-3)
    assert t["fourier_linewidth"] == pytest.approx(2.100e9, rel=1e-3)
    assert t["linewidth_gauss"] == pytest.approx(1.276e9, rel=1e-3)
    assert t["p1"] == pytest.approx(0.29140, abs=1e-4)
    assert t["p2"] == pytest.approx(0.000298, abs=1e-6)
    assert t["max_power"] / t["pi_power"] == pytest.approx(1 - 0.046, abs=5e-4)
    assert t["blinking_amplitude"] == 0.0
    assert t["cavity_fwhm_displacement"] == pytest.approx(0.763e-9, rel=1e-3)
    # the share that goes into the cavity, F/(F + 1), is broader than F by the root of F_P + 1
    assert t["cavity_count_fwhm"] == pytest.approx(0.763e-9 * math.sqrt(15), rel=1e-3)
    assert t["dark_count_rate"] == 43.0


def test_etalon_shares_are_those_of_the_overlap_with_one_order() -> None:
    """0.706 for the dot, 0.1075 for the laser with one Lorentzian order; neighbours add 3 %."""
    dot, laser = Truth().etalon_shares()
    assert dot == pytest.approx(0.706, abs=0.002)
    assert laser == pytest.approx(0.1075, rel=0.035)
    assert laser > 0.1075


def test_shares_of_g2_are_near_those_inferred_from_the_paper() -> None:
    source = Truth().source
    x, g0 = source.leak_ratio, source.reexcitation_g2
    assert (g0 + 2 * x + x * x) / (1 + x) ** 2 == pytest.approx(0.0205)
    assert x == pytest.approx(0.00812, rel=0.01)
    assert g0 == pytest.approx(0.00452, rel=0.02)


def test_every_key_sets_what_it_says() -> None:
    assert true(source__lifetime="60e-12")["lifetime"] == 60e-12
    assert true(source__lifetime="60e-12")["fourier_linewidth"] == pytest.approx(2.6526e9, rel=1e-4)
    assert true(source__g2="0.05")["g2_zero_source"] == pytest.approx(0.05)
    assert true(source__collection_efficiency="0.45")["collection_efficiency"] == pytest.approx(
        0.45
    )
    assert true(source__linewidth="3.5e9")["linewidth"] == pytest.approx(3.5e9, rel=1e-6)
    assert true(source__pi_power="17e-9")["pi_power"] == 17e-9
    assert true(transmitter__efficiency="0.3")["transmitter_efficiency"] == pytest.approx(0.3)
    assert true(modulator__misalignment="0.01")["misalignment"] == 0.01
    assert true(cavity__resonance_V="24")["cavity_resonance_voltage"] == 24.0
    assert true(detector__efficiency="0.9")["detector_efficiency"] == 0.9
    assert true(detector__dead_time="50e-9")["dead_time"] == 50e-9
    assert true(detector__dark_count_rate="100")["dark_count_rate"] == 100.0
    assert true(detector__jitter="10e-12")["detector_jitter"] == 10e-12


def test_what_is_not_set_follows() -> None:
    """g2 after the etalon goes with g2; the order of settings does not matter."""
    assert true(source__g2="0.0")["g2_zero"] == 0.0
    more = true(source__g2="0.05")
    assert 0.3 < more["g2_zero"] / 0.05 < 0.4
    assert more["transmitter_efficiency"] == pytest.approx(0.41)
    both = {"source.linewidth": "2.8e9", "source.lifetime": "60e-12"}
    assert Truth.from_settings(both) == Truth.from_settings(dict(reversed(both.items())))


def test_blinking_averages_over_time() -> None:
    """On for q of the time: n q, g2/q, b = (1 - q)/q but for the leaked laser."""
    t = true(source__blinking_on_fraction="0.75", source__g2="0.0205")
    assert t["collection_efficiency"] == pytest.approx(0.534, rel=0.003)
    assert t["g2_zero_source"] == pytest.approx(0.0273, rel=0.02)
    # p_on p_off (I_on - I_off)^2/<I>^2 by hand
    on, off = 0.712, Truth().source.leaked_photons
    mean = 0.75 * on + 0.25 * off
    assert t["blinking_amplitude"] == pytest.approx(0.75 * 0.25 * (on - off) ** 2 / mean**2)
    assert t["transmitter_efficiency"] == pytest.approx(0.41)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("source.lifetme", "60e-12", "unknown"),
        ("source.lifetime", "60 ps", "must be a number, in s"),
        ("source.lifetime", "nan", "must be a number"),
        ("source.lifetime", "60", "must be 5e-12 to 2e-09 s"),
        ("source.linewidth", "1.0e9", "2.09967e.09 to 5e.10 Hz .from the Fourier limit"),
        ("source.g2", "-0.01", "must be 0 to 0.2"),
        ("source.collection_efficiency", "1.1", "to 0.95"),
        ("transmitter.efficiency", "0.8", "to 0.70"),
        ("source.blinking_on_fraction", "0", "must be 0.05 to 1"),
        ("detector.dead_time", "1e-3", "must be 0 to 1e-06 s"),
    ],
)
def test_impossible_settings_are_refused_by_name(key: str, value: str, says: str) -> None:
    with pytest.raises(UsageError, match=rf"{key}.*{says}"):
        Truth.from_settings({key: value})


def test_a_line_too_broad_for_the_default_transmitter_is_refused() -> None:
    with pytest.raises(UsageError, match=r"transmitter.efficiency: 0.41 is its default"):
        Truth.from_settings({"source.linewidth": "20e9"})
    wide = {"source.linewidth": "20e9", "transmitter.efficiency": "0.1"}
    assert Truth.from_settings(wide).passage < 1.0


def test_names_and_units_are_those_of_the_record() -> None:
    quantities = Truth().quantities()
    names = [name for name, _, _ in quantities]
    assert len(set(names)) == len(names)
    for name, value, unit in quantities:
        assert math.isfinite(value)
        if name in BUILT_IN:
            assert unit == quantity(name).unit, name
    assert set(names) - set(BUILT_IN) <= {
        "wavelength",
        "laser_leakage",
        "blinking_on_fraction",
        "blinking_time",
        "detector_jitter",
    }


def test_probabilities_hold_at_the_corners_of_what_can_be_set() -> None:
    """Brightest source, most multi-photon, any pulse area the laser can give."""
    import numpy as np

    from qdchar.drivers.twin.lab import Lab

    corner = {"source.g2": "0.2", "source.collection_efficiency": "0.95", "source.pi_power": "2e-9"}
    lab = Lab(Truth.from_settings(corner), 1)
    lab.set_shutter(True)
    lab.select_path("before")
    mirror = np.linspace(0.0, 3e-9, 31)
    for decibels in np.linspace(0.0, 60.0, 400):
        lab.set_attenuation(float(decibels))
        light = lab._light_model.light(mirror, np.zeros_like(mirror))
        assert light.single.min() >= 0.0
        assert light.pair.min() >= 0.0
        assert (light.single + light.pair).max() <= 1.0


def test_the_scale_of_small_loops_is_that_of_the_piezo() -> None:
    """A small step back after a long wait, seen a second later."""
    truth = Truth()
    piezo = Piezo(truth.piezo.hysteresis, truth.piezo.creep)
    piezo.set(31.0, 0.0)
    before = float(piezo.effective_V(1e6))
    piezo.set(30.9, 1e6)
    moved_m = truth.piezo.gain_m_per_V * (float(piezo.effective_V(1e6 + 1.0)) - before)
    scale = {name: value for name, value, _ in truth.quantities()}["cavity_metres_per_volt"]
    assert -moved_m / 0.1 == pytest.approx(scale, rel=2e-3)
