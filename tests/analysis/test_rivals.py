"""Models that notice when they are wrong: rivals, and tests that a free noise cannot satisfy.

The data come from first principles written down here, not from the models of the analyses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdchar.analysis import rabi, reflectivity, saturation
from qdchar.analysis.hbt.g2_comb_fit import analyse_histogram
from qdchar.analysis.hbt_cw.g2_cw import analyse as analyse_dip
from qdchar.analysis.statistics.model_criticism import (
    correlated_problem,
    group_bins,
    grouped_deviance,
)
from qdchar.errors import InconclusiveError
from qdchar.estimate import Estimate, Uncertain
from qdchar.raw_data import About, Scan
from qdchar.tags.formats.delay_histogram import DelayHistogram

GAIN = Estimate(name="power_meter_gain", value=1.0, method="exact")


def _scan(reading: np.ndarray, mean: np.ndarray, rng: np.random.Generator) -> Scan:
    """Two detectors that share the light; readings with 0.5 % of noise."""
    clicks = rng.poisson(0.5 * np.stack([mean, mean], axis=1))
    return Scan(
        About("test"),
        "power_W",
        reading * (1.0 + 0.005 * rng.standard_normal(len(reading))),
        clicks,
        np.full(len(reading), 1.0),
        Path("scan.csv"),
    )


@pytest.mark.parametrize("offset", [0.0, 0.3e-9])
def test_saturation_with_a_meter_whose_zero_is_off(offset: float) -> None:
    rng = np.random.default_rng(1)
    true = np.linspace(1e-9, 60e-9, 40)
    mean = 2e5 * -np.expm1(-true / 10e-9)
    result = saturation.analyse(
        _scan(true + offset, mean, rng), clock_rate_Hz=76e6, dead_pulses=0, power_gain=GAIN
    )
    power = result["saturation_power"]
    assert power.value == pytest.approx(10e-9, abs=3 * power.u)
    assert power.u < 0.2e-9
    assert result.problems == ()
    assert ("reported: meter zero" in power.method) == (offset > 0.0)


@pytest.mark.parametrize(
    ("offset", "renormalised", "reported"),
    [
        (0.0, 0.0, "area sqrt(P)"),
        (0.2e-9, 0.0, "meter zero"),
        (0.0, 0.01, "renormalised area"),
    ],
)
def test_rabi_and_its_rivals(offset: float, renormalised: float, reported: str) -> None:
    rng = np.random.default_rng(2)
    true = np.linspace(1.5e-9, 60e-9, 40)
    area = np.pi * np.sqrt(true / 10e-9) * (1.0 + renormalised * true / 10e-9)
    mean = 7e5 * 0.5 * (1.0 - np.exp(-0.012 * area**2) * np.cos(area))
    mean += 2e4 * true / 60e-9  # leaked laser; near 0 its bound asks for slow profiles
    result = rabi.analyse(
        _scan(true + offset, mean, rng), clock_rate_Hz=76e6, dead_pulses=0, power_gain=GAIN
    )
    # area = pi: P (1 + r P/P0)^2 = P0
    right = 10e-9 if renormalised == 0.0 else 9.8076e-9
    power = result["pi_power"]
    assert power.value == pytest.approx(right, abs=3 * power.u)
    assert power.u < 0.1e-9
    assert f"reported: {reported}" in power.method
    assert result.problems == ()


@pytest.mark.parametrize(
    ("constant", "exponent", "reported"),
    [(1e5, 2.0, "constant light"), (0.0, 1.0, "another dephasing")],
)
def test_rabi_with_room_light_or_another_dephasing(
    constant: float, exponent: float, reported: str
) -> None:
    """5 % of the brightest point at all powers; or exp(-0.1 theta)."""
    rng = np.random.default_rng(12)
    power = np.linspace(0.3e-9, 60e-9, 45)
    area = np.pi * np.sqrt(power / 10e-9)
    damping = 0.1 * area if exponent == 1.0 else 0.01 * area**2
    mean = 2e6 * 0.5 * (1.0 - np.exp(-damping) * np.cos(area)) + constant
    result = rabi.analyse(
        _scan(power, mean, rng), clock_rate_Hz=76e6, dead_pulses=0, power_gain=GAIN
    )
    theta = np.linspace(0.5 * np.pi, np.pi, 100_001)
    lost = 0.1 * theta if exponent == 1.0 else 0.01 * theta**2
    top = 10e-9 * (theta[np.argmin(np.exp(-lost) * np.cos(theta))] / np.pi) ** 2
    for name, right in (("pi_power", 10e-9), ("max_power", top)):
        assert result[name].value == pytest.approx(right, abs=3 * result[name].u)
        assert result[name].u < 0.03 * right
    assert f"reported: {reported}" in result["pi_power"].method
    assert result.problems == ()


def test_rabi_of_a_source_that_fades_during_the_scan() -> None:
    """10 % less at the highest power: bleaching, or a cavity that drifts away."""
    rng = np.random.default_rng(13)
    power = np.linspace(0.3e-9, 60e-9, 45)
    area = np.pi * np.sqrt(power / 10e-9)
    mean = 2e6 * 0.5 * (1.0 - np.exp(-0.01 * area**2) * np.cos(area)) * (1.0 - power / 600e-9)
    result = rabi.analyse(
        _scan(power, mean, rng), clock_rate_Hz=76e6, dead_pulses=0, power_gain=GAIN
    )
    found = result["pi_power"]
    assert found.value == pytest.approx(10e-9, abs=2 * found.u)
    assert "changing brightness" in found.method
    assert found.u < 0.05 * 10e-9


@pytest.mark.parametrize("apart_pm", [0.0, 50.0])
def test_reflectivity_of_one_and_of_two_modes(apart_pm: float) -> None:
    rng = np.random.default_rng(3)
    nm = 884.0 + 0.002 * np.arange(500)
    dips = sum(
        0.3 / (1.0 + (2.0 * (nm - 884.5 + side * 0.5e-3 * apart_pm) / 0.07) ** 2)
        for side in (-1.0, 1.0)
    )
    counts = rng.poisson(20_000 * (1.0 - dips))
    result = reflectivity.analyse(
        nm, counts, dispersion=Uncertain(1e-9), wavelength_m=0.0, at_point=0.0
    )
    q = result["cavity_quality_factor"]
    assert q.value == pytest.approx(884.5 / 0.07, abs=3 * q.u)
    assert ("reported: two modes" in q.method) == (apart_pm > 0.0)
    assert result.problems == ()


def test_a_hole_in_the_zero_peak_is_no_comb() -> None:
    """16 pairs 1 to 2 ns off the middle of the zero peak, side peaks of 1000 within 0.2 ns."""
    rng = np.random.default_rng(4)
    peaks = [
        k * 12.5 + rng.laplace(0.0, 0.16, rng.poisson(1000)) for k in (*range(-9, 0), *range(1, 10))
    ]
    zero = rng.choice([-1.0, 1.0], 16) * rng.uniform(1.0, 2.0, 16)
    counts = np.histogram(np.concatenate([*peaks, zero]), 0.064 * np.arange(-1850, 1851))[0]
    histogram = DelayHistogram(-1850 * 0.064e-9, 0.064e-9, counts[:, None])
    result = analyse_histogram(histogram, "hole")
    g2 = result["g2_zero"]  # a comb's height has less than 0.001
    assert result.problems == ()
    assert g2.value == pytest.approx(16 / 1000, abs=2.0 * g2.u)
    assert g2.u < 0.006


def test_lines_of_cross_talk_are_no_area_of_the_zero_peak() -> None:
    """20 pairs of the light, and 40 at 2.5 ns on either side, spread over 0.4 ns."""
    rng = np.random.default_rng(11)
    peaks = [
        k * 13.1 + rng.laplace(0.0, 0.7, rng.poisson(20 if k == 0 else 1000)) for k in range(-9, 10)
    ]
    lines = [side * 2.5 + rng.normal(0.0, 0.16, 40) for side in (-1.0, 1.0)]
    counts = np.histogram(np.concatenate([*peaks, *lines]), 0.128 * np.arange(-1000, 1001))[0]
    result = analyse_histogram(DelayHistogram(-1000 * 0.128e-9, 0.128e-9, counts[:, None]), "lines")
    assert "cross-talk" in result.problems[0]


def _dip(shape: np.ndarray, seed: int) -> DelayHistogram:
    counts = np.random.default_rng(seed).poisson(400.0 * shape)
    return DelayHistogram(-200e-9, 1e-9, counts[:, None])


def test_a_peak_and_an_oscillation_are_no_plain_dip() -> None:
    tau = np.abs(np.arange(-199.5, 200.0))
    sound = analyse_dip(_dip(1.0 - 0.9 * np.exp(-tau / 12.0), 5), "dip")
    assert sound.problems == ()
    assert sound["g2_zero"].value == pytest.approx(0.1, abs=3 * sound["g2_zero"].u)
    with pytest.raises(InconclusiveError, match="better than a dip"):
        analyse_dip(_dip(1.0 + 0.9 * np.exp(-tau / 12.0), 6), "peak")
    turn = 2.0 * np.pi / 10.0
    fine = np.abs(np.arange(-199.95, 200.0, 0.1))[:3990]
    swing = np.cos(turn * fine) + np.sin(turn * fine) / (turn * 12.0)
    driven = (1.0 - 0.9 * np.exp(-fine / 12.0) * swing).reshape(-1, 10).mean(axis=1)
    result = analyse_dip(_dip(driven, 7), "driven")
    assert result.problems == ()
    assert "strongly driven" in result["g2_zero"].method
    assert result["g2_zero"].value == pytest.approx(0.1, abs=3 * result["g2_zero"].u)
    turns_hz = result["rabi_frequency"]
    assert turns_hz.value == pytest.approx(1e8, abs=3 * turns_hz.u)
    growing = 1.0 - 0.9 * np.exp(-tau / 12.0) + 0.1 * np.cos(2.0 * np.pi * tau / 10.0)
    assert "oscillate" in analyse_dip(_dip(growing, 8), "echo").problems[0]  # no such emitter


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_tail_of_the_response_of_one_detector(share: float) -> None:
    """A dip of 1.5 ns and g2 = 0.1, by sums on a grid; share of the pairs late by 1 ns."""
    step, sigma = 0.0125, 0.4
    t = step * (np.arange(-9600, 9600) + 0.5)
    k = step * np.arange(-1200, 1201)
    late = np.where(k >= 0.0, np.exp(-k), 0.0)
    gauss = np.exp(-0.5 * (k / sigma) ** 2)
    kernel = (1.0 - share) * gauss / gauss.sum() + share * late / late.sum()
    seen = 1.0 - 0.9 * np.convolve(np.exp(-np.abs(t) / 1.5), kernel, "same")
    inside = seen[np.abs(t) < 60.0].reshape(-1, 8).mean(axis=1)
    counts = np.random.default_rng(12).poisson(1500.0 * inside)
    histogram = DelayHistogram(-60e-9, 0.1e-9, counts[:, None])
    result = analyse_dip(histogram, "tail", pair_sigma=Uncertain(1e-9 * sigma))
    g2 = result["g2_zero"]
    assert ("share" in g2.method) == (share > 0.0)
    assert result.problems == ()
    assert g2.value == pytest.approx(0.1, abs=3 * g2.u)
    assert g2.u < 0.04  # without the tail 0.1 becomes 0.2


@pytest.mark.parametrize("mean", [0.02, 0.3, 6.0])
def test_grouped_deviance_of_a_right_model(mean: float) -> None:
    """2000 sparse bins: the p-value is uniform, as far as 100 draws tell."""
    rng = np.random.default_rng(8)
    expected = np.full(2000, mean)
    p = [grouped_deviance(rng.poisson(expected), expected, 0).p_value for _ in range(100)]
    assert np.mean(np.array(p) < 0.2) == pytest.approx(0.2, abs=4 * 0.04)
    assert min(p) > 1e-4
    assert np.bincount(group_bins(expected)).min() * mean >= 5.0


def test_correlated_residuals_are_reported() -> None:
    rng = np.random.default_rng(9)
    white = rng.standard_normal(60)
    assert correlated_problem("scan", white) == ()
    wave = white + 2.0 * np.sin(np.arange(60) / 8.0)
    assert "deviate alike" in correlated_problem("scan", wave)[0]
