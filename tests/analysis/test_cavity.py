"""Cavity scans simulated from the formulas, with known truth."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from qdchar.analysis import cavity
from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate
from qdchar.raw_data import About, Scan

CLOCK_HZ, BLIND, WAVELENGTH_M = 76.13e6, 2, 884.5e-9
GIVEN = {"clock_rate_Hz": CLOCK_HZ, "dead_pulses": BLIND, "wavelength_m": WAVELENGTH_M}
F0, FWHM_M, SCALE = 14.0, 0.763e-9, 45e-9


def _simulate(
    rng: np.random.Generator, volts: np.ndarray, centres_V: tuple[float, ...], brightness: float
) -> Scan:
    """Clicks of two detectors, from beta(x) = F/(1 + F) with F = F0/(1 + x^2), dead time included.

    A detector that is blind for m pulses after a click clicks in a share p/(1 + m p) of all pulses,
    with the variance N p (1 - p)/(1 + m p)^3 of a renewal process.
    """
    p = np.full(len(volts), 1e-5)
    for centre in centres_V:
        x = 2.0 * (volts - centre) * SCALE / FWHM_M
        purcell = F0 / (1.0 + x**2)
        p = p + brightness * purcell / (1.0 + purcell)
    pulses = 0.005 * CLOCK_HZ
    mean = pulses * p / (1.0 + BLIND * p)
    sigma = np.sqrt(pulses * p * (1.0 - p) / (1.0 + BLIND * p) ** 3)
    clicks = np.round(rng.normal(mean[:, None], sigma[:, None], size=(len(volts), 2)))
    dwell = np.full(len(volts), 0.005)
    return Scan(
        About("cavity"), "voltage_V", volts, clicks.astype(np.int64), dwell, Path("cavity.csv")
    )


def _given(name: str, value: float, u: float) -> Estimate:
    return Estimate(
        name=name,
        value=value,
        method="",
        budget=(Contribution(name, u, "B"),),
    )


def test_the_count_resonance_is_wider_than_the_cavity_by_the_purcell_effect() -> None:
    scan = _simulate(np.random.default_rng(1), np.arange(29.5, 32.5, 0.015), (31.0,), 0.3)
    result = cavity.analyse(
        scan,
        **GIVEN,
        metres_per_volt=_given("cavity_metres_per_volt", SCALE, 0.0),
        purcell_factor=_given("purcell_expected", F0, 0.0),
    )
    assert result["cavity_count_fwhm"].value == pytest.approx(FWHM_M * math.sqrt(15), rel=0.005)
    assert result["cavity_fwhm_displacement"].value == pytest.approx(FWHM_M, rel=0.005)
    assert result["cavity_finesse"].value == pytest.approx(WAVELENGTH_M / 2 / FWHM_M, rel=0.005)
    assert result.problems == ()


@pytest.mark.parametrize("brightness", [0.02, 0.3])
def test_intervals_cover(brightness: float) -> None:
    """Pulls of centre and width over 200 scans: mean 0, standard deviation 1."""
    rng = np.random.default_rng(2)
    truth = {"cavity_resonance_voltage": 31.0, "cavity_count_fwhm_voltage": 0.065667}
    pulls: dict[str, list[float]] = {name: [] for name in truth}
    truth["cavity_count_fwhm_voltage"] = FWHM_M * math.sqrt(1 + F0) / SCALE
    for _ in range(200):
        scan = _simulate(rng, np.arange(30.5, 31.5, 0.015), (31.0,), brightness)
        result = cavity.analyse(scan, **GIVEN)
        for name, true in truth.items():
            pulls[name].append((result[name].value - true) / result[name].u)
    for name, found in pulls.items():
        # 200 runs fix the mean to 0.07, the standard deviation to 0.05: three of each
        assert abs(np.mean(found)) < 0.21, name
        assert 0.85 < np.std(found) < 1.15, name


def test_orders_calibrate_the_piezo_within_what_it_creeps() -> None:
    """Spacings that shrink along the sweep, as creep makes them."""
    nominal = WAVELENGTH_M / 2 / SCALE
    centres = (1.3 + nominal * np.array([0, 1.0, 1.98, 2.955, 3.93, 4.9])).tolist()
    scan = _simulate(np.random.default_rng(3), np.arange(0, 60, 0.03), tuple(centres), 0.05)
    found = cavity.orders(scan, **GIVEN)
    fsr, scale = found["cavity_fsr_voltage"], found["cavity_metres_per_volt"]
    assert abs(fsr.value - nominal) < fsr.u
    assert fsr.u == pytest.approx(0.05 * nominal, rel=0.1)
    # half a wavelength an order
    assert abs(scale.value - SCALE) < scale.u
    assert scale.u == pytest.approx(0.05 * SCALE, rel=0.1)


def test_a_missed_order_does_not_double_the_spacing() -> None:
    nominal = WAVELENGTH_M / 2 / SCALE
    centres = tuple(2.0 + nominal * np.array([0, 1, 3, 4, 5]))
    scan = _simulate(np.random.default_rng(4), np.arange(0, 60, 0.03), centres, 0.05)
    fsr = cavity.orders(scan, **GIVEN)["cavity_fsr_voltage"]
    assert fsr.value == pytest.approx(nominal, rel=1e-3)


def test_a_survey_is_fitted_at_its_strongest_peak() -> None:
    nominal = WAVELENGTH_M / 2 / SCALE
    centres = tuple(2.0 + nominal * np.arange(5))
    scan = _simulate(np.random.default_rng(5), np.arange(0, 60, 0.03), centres, 0.3)
    result = cavity.analyse(scan, **GIVEN)
    off = (result["cavity_resonance_voltage"].value - 2.0) / nominal
    assert off == pytest.approx(round(off), abs=1e-3)
    assert {"cavity_fsr_voltage", "cavity_metres_per_volt"} <= {e.name for e in result.estimates}


def test_unusable_data_are_refused() -> None:
    rng = np.random.default_rng(6)
    one = _simulate(rng, np.arange(29.5, 32.5, 0.015), (31.0,), 0.3)
    with pytest.raises(InconclusiveError, match="one order only"):
        cavity.orders(one, **GIVEN)
    edge = _simulate(rng, np.arange(31.01, 32.5, 0.015), (31.0,), 0.3)
    with pytest.raises(InconclusiveError, match="no complete peak"):
        cavity.analyse(edge, **GIVEN)


def test_a_tuning_uses_the_scale_of_its_survey() -> None:
    """Orders every 9 V, not the 45 nm/V of the scan's width: the survey's scale is the one used."""
    rng = np.random.default_rng(8)
    survey = _simulate(rng, np.arange(10.0, 46.0, 0.1), (14.0, 23.0, 32.0, 41.0), 0.3)
    fine = _simulate(rng, np.arange(30.5, 33.5, 0.015), (32.0,), 0.3)
    result = cavity.analyse_tuning(survey, fine, **GIVEN)
    per_volt = WAVELENGTH_M / 2 / 9.0 * 0.95  # 5 % less in small loops than in a long sweep
    assert result["cavity_metres_per_volt"].value == pytest.approx(per_volt, rel=0.01)
    volts = FWHM_M * math.sqrt(1 + F0) / SCALE
    assert result["cavity_count_fwhm_voltage"].value == pytest.approx(volts, rel=0.01)
    assert result["cavity_count_fwhm"].value == pytest.approx(volts * per_volt, rel=0.015)
    assert result["cavity_resonance_voltage"].value == pytest.approx(32.0, abs=0.01)
    assert [f.model for f in result.fits] == ["equidistant orders", "Lorentz + background"]


@pytest.mark.parametrize(("brightness", "named"), [(0.3, False), (3e-7, True)])
def test_a_peak_that_blinks_is_a_peak(brightness: float, named: bool) -> None:
    """Its points scatter by 40 %; a peak of 3 % of the 500 dark clicks is none."""
    said = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        volts = np.arange(30.9, 31.1, 0.015)
        p = 1e-5 + brightness / (1.0 + ((volts - 31.0) / 0.035) ** 2) * np.exp(
            0.4 * rng.standard_normal(len(volts))
        )
        clicks = rng.poisson(np.outer(0.3 * CLOCK_HZ * p / (1.0 + BLIND * p), (1.0, 1.0)))
        dwell = np.full(len(volts), 0.3)
        scan = Scan(About("cavity"), "voltage_V", volts, clicks, dwell, Path("cavity.csv"))
        try:
            problems = cavity.analyse(scan, **GIVEN).problems
        except InconclusiveError as error:
            problems = (str(error),)
        said.append(any("the signal is" in text for text in problems))
    assert sum(said) <= 1 if not named else sum(said) >= 9


def _of_light(rng: np.random.Generator, volts: np.ndarray, light: np.ndarray) -> Scan:
    clicks = rng.poisson(np.column_stack([light, light]))
    return Scan(
        About("cavity"), "voltage_V", volts, clicks, np.full(len(volts), 0.02), Path("cavity.csv")
    )


@pytest.mark.parametrize("apart", [0.6, 1.6])
def test_two_modes_are_no_wide_one_and_no_orders(apart: float) -> None:
    """Polarisations of one order, of one width."""
    rng, volts, width = np.random.default_rng(9), np.linspace(30.5, 31.5, 80), 0.07
    first, second = (
        1 / (1 + (2 * (volts - at) / width) ** 2) for at in (31.0, 31.0 + apart * width)
    )
    result = cavity.analyse(_of_light(rng, volts, 50 + 9000 * (first + 0.6 * second)), **GIVEN)
    found = result["cavity_count_fwhm_voltage"]
    assert found.value == pytest.approx(width, abs=3 * found.u)
    assert found.u < 0.03 * width
    assert "two modes" in result.problems[0]
    assert "cavity_fsr_voltage" not in {e.name for e in result.estimates}


def test_modes_too_near_to_tell_are_one_of_uncertain_width() -> None:
    """A quarter of a width apart: a piezo that creeps distorts a single mode by as much."""
    rng, volts, width = np.random.default_rng(9), np.linspace(30.5, 31.5, 80), 0.07
    first, second = (
        1 / (1 + (2 * (volts - at) / width) ** 2) for at in (31.0, 31.0 + 0.25 * width)
    )
    result = cavity.analyse(_of_light(rng, volts, 50 + 9000 * (first + 0.6 * second)), **GIVEN)
    found = result["cavity_count_fwhm_voltage"]
    assert found.value == pytest.approx(width, abs=3 * found.u)
    assert any("choice of model" in c.source for c in found.budget)
    assert not any("two modes" in text for text in result.problems)


def test_a_resonance_that_follows_its_light() -> None:
    """The width of the dark cavity, from points of the closed form x = s L +- sqrt(1/L - 1)/2."""
    rng, width, shift = np.random.default_rng(10), 0.07, 0.25
    light = np.concatenate([np.geomspace(0.02, 0.999, 40), np.geomspace(0.999, 0.02, 40)])
    side = np.repeat([-1.0, 1.0], 40)
    volts = 31.0 + width * (shift * light + side * np.sqrt(1 / light - 1) / 2)
    result = cavity.analyse(_of_light(rng, volts, 50 + 9000 * light), **GIVEN)
    found = result["cavity_count_fwhm_voltage"]
    assert found.value == pytest.approx(width, abs=3 * found.u)
    assert found.u < 0.03 * width
    assert "thermal shift" in result.problems[0]
