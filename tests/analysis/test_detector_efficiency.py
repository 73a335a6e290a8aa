"""Detector efficiency by substitution against laser pulses drawn from first principles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click_scans import CLOCK_HZ, coverage, given

from qdchar.analysis.detector_efficiency import analyse
from qdchar.errors import InconclusiveError
from qdchar.estimate import Estimate, covariance
from qdchar.fit import Result
from qdchar.raw_data import About, Scan

WAVELENGTH_M = 884.5e-9
PHOTON_J = 6.62607015e-34 * 299792458.0 / WAVELENGTH_M
ETA = 0.712
PATH_DB, READING = 29.15, 1e-3
POWERS_W = np.geomspace(0.5e-9, 3e-9, 5)
FOUND_AT_HZ = 2e5
KNOWN = {
    "linearity": given("detector_linearity", 2e-10, 6e-10),
    "certified_rate": given("detector_efficiency_rate", FOUND_AT_HZ, 0.0),
    "polarisation": given("detector_polarisation", 0.04, 0.0),
    "repeatability": given("light_path_repeatability", 0.02, 0.0),
}


def clicks(rng: np.random.Generator, mean: float, pulses: int, blind: int) -> int:
    """Clicks of a detector that a click blinds for some pulses, from gap to gap."""
    p = 1.0 - np.exp(-mean)
    gaps = blind + rng.geometric(p, int(pulses * p * 1.05 + 200))
    return int(np.searchsorted(np.cumsum(gaps), pulses))


def experiment(
    rng: np.random.Generator,
    *,
    blind: int = 2,
    pulses: int = 400_000,
    certified: float = ETA,
    bend: float = 0.0,
) -> Result:
    """One lab: its certificates are off by their uncertainties, its readings by their noise."""
    gain = given("power_meter_gain", 1.0, 0.005)
    path = given("laser_path_attenuation", PATH_DB + rng.normal(0.0, 0.05), 0.05)
    true_gain = 1.0 + rng.normal(0.0, 0.005)  # true power over reading
    change_s = 2e-10 + rng.normal(0.0, 6e-10) + bend
    turned = 1.0 + 0.02 * rng.uniform(-1.0, 1.0, 2)  # any polarisation
    switched = 10 ** (-0.1 * rng.normal(0.0, 0.02))
    darks = 2000.0
    table = []
    for power in POWERS_W:
        mu = power * 10 ** (-PATH_DB / 10) / PHOTON_J / CLOCK_HZ * switched
        row = []
        for share, factor in zip((0.49, 0.51), turned, strict=True):
            dim = ETA * share * mu * factor
            rate_Hz = CLOCK_HZ * dim / (1.0 + blind * dim)
            mean = dim * (1.0 + change_s * (rate_Hz - FOUND_AT_HZ)) + darks / 2 / CLOCK_HZ
            row.append(clicks(rng, mean, pulses, blind))
        table.append(row)
    readings = POWERS_W / true_gain * (1.0 + rng.normal(0.0, READING, len(POWERS_W)))
    scan = Scan(
        About("test"),
        "power_W",
        readings,
        np.array(table, dtype=np.int64),
        np.full(len(POWERS_W), pulses / CLOCK_HZ),
        Path("laser.csv"),
    )
    return analyse(
        scan,
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=blind,
        wavelength_m=WAVELENGTH_M,
        power_gain=gain,
        path_attenuation=path,
        dark_count_rate=given("dark_count_rate", darks, 20.0),
        reading_u_rel=READING,
        **KNOWN,
        certificate=given("detector_efficiency", certified, 0.025 * certified),
    )


@pytest.mark.parametrize("blind", [0, 2, 5])
def test_intervals_cover(blind) -> None:
    rng = np.random.default_rng(3)
    runs = 300

    def simulate():
        return {e.name: e for e in experiment(rng, blind=blind).estimates}

    mean, sd, one, two = coverage(simulate, {"detector_efficiency_measured": ETA}, runs)[
        "detector_efficiency_measured"
    ]
    assert abs(mean) < 4 / np.sqrt(runs)
    assert 0.85 < sd < 1.15
    assert abs(one - 0.683) < 4 * np.sqrt(0.683 * 0.317 / runs)
    assert two > 0.95 - 4 * np.sqrt(0.95 * 0.05 / runs)


def test_counting_alone_covers_too() -> None:
    """The scatter of repeated scans is the budget without the certificates of power and path."""
    values, u = [], 0.0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        e = experiment(rng, pulses=100_000)["detector_efficiency_measured"]
        shared = {c.source: c.u for c in e.budget}
        of_lab = ("power_meter_gain certificate", "laser_path_attenuation certificate")
        u = np.sqrt(e.u**2 - sum(shared[name] ** 2 for name in of_lab))
        drawn = np.random.default_rng(seed).normal(0, 1, 2)  # what the lab drew first
        values.append(e.value * 10 ** (-0.005 * drawn[0]) / (1 + 0.005 * drawn[1]))
    assert np.std(values) == pytest.approx(u, rel=0.2)
    assert np.mean(values) == pytest.approx(ETA, abs=4 * u / np.sqrt(200))


def test_a_certificate_that_is_off_is_a_problem() -> None:
    rng = np.random.default_rng(1)
    assert not experiment(rng).problems
    for certified in (0.60, 0.85):
        (problem,) = experiment(rng, certified=certified).problems
        assert f"by substitution, {certified:.4f} by certificate" in problem
        assert "standard uncertainties apart" in problem


def test_detectors_that_are_not_linear_are_a_problem() -> None:
    result = experiment(np.random.default_rng(2), pulses=4_000_000, bend=-2e-8)
    assert "not proportional to the power" in result.problems[0]
    plain = experiment(np.random.default_rng(2), pulses=4_000_000)
    assert result.estimates[0].u_statistical > plain.estimates[0].u_statistical


def test_the_power_meter_is_one_error_source_with_other_figures() -> None:
    e = experiment(np.random.default_rng(4))["detector_efficiency_measured"]
    gain = given("power_meter_gain", 1.0, 0.005)
    assert covariance([e, gain])[0, 1] == pytest.approx(-e.value * 0.005**2)


def scan_of_readings(readings_W: np.ndarray, gain: float) -> Scan:
    """Expected clicks without noise and dead time: photon flux gain * reading * T/(h nu)."""
    pulses = 400_000_000
    mu = gain * readings_W * 10 ** (-PATH_DB / 10) / PHOTON_J / CLOCK_HZ
    clicks = np.rint(-pulses * np.expm1(-ETA * np.outer(mu, [0.49, 0.51])))
    dwell = np.full(len(readings_W), pulses / CLOCK_HZ)
    return Scan(
        About("test"), "power_W", readings_W, clicks.astype(np.int64), dwell, Path("laser.csv")
    )


def efficiency(scan: Scan, gain: float, u: float = 0.01) -> Estimate:
    return analyse(
        scan,
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=0,
        wavelength_m=WAVELENGTH_M,
        power_gain=given("power_meter_gain", gain, u),
        path_attenuation=given("laser_path_attenuation", PATH_DB, 0.05),
        dark_count_rate=given("dark_count_rate", 0.0, 1.0),
        reading_u_rel=READING,
        **KNOWN,
    )["detector_efficiency_measured"]


@pytest.mark.parametrize("of_laser", [2.0, 2.35, 2.8])
def test_dead_pulses_that_are_not_whole_are_those_of_the_laser(of_laser: float) -> None:
    """The source's 2.5 says only that the laser's are 2 to 3; up to 0.3 photons a pulse."""
    scan = scan_of_readings(np.geomspace(0.5e-9, 10e-9, 5), 1.2)
    p = scan.clicks / (scan.dwell_s[:, None] * CLOCK_HZ)
    clicks = np.rint(p / (1.0 + of_laser * p) * scan.dwell_s[:, None] * CLOCK_HZ)
    result = analyse(
        replace(scan, clicks=clicks.astype(np.int64)),
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=2.5,
        wavelength_m=WAVELENGTH_M,
        power_gain=given("power_meter_gain", 1.2, 0.01),
        path_attenuation=given("laser_path_attenuation", PATH_DB, 0.05),
        dark_count_rate=given("dark_count_rate", 0.0, 1.0),
        reading_u_rel=READING,
        **KNOWN,
    )
    assert not result.problems
    found = result["detector_efficiency_measured"]
    assert found.value == pytest.approx(ETA, rel=1e-3)
    recovery = next(c.u for c in found.budget if c.source.startswith("recovery while"))
    assert 1e-4 * ETA < recovery < 0.01 * ETA


@pytest.mark.parametrize(("loss_per_Mcps", "named"), [(0.0, False), (0.002, True)])
def test_without_the_path_s_certificate_there_is_its_linearity(
    loss_per_Mcps: float, named: bool
) -> None:
    """Detectors that lose 0.2 % of their efficiency per Mcps, on up to 20 Mcps."""
    scan = scan_of_readings(np.geomspace(0.5e-9, 10e-9, 5), 1.2)
    rate_Mcps = 1e-6 * scan.clicks / scan.dwell_s[:, None]
    clicks = np.rint(scan.clicks * (1.0 - loss_per_Mcps * rate_Mcps)).astype(np.int64)
    result = analyse(
        replace(scan, clicks=clicks),
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=0,
        wavelength_m=WAVELENGTH_M,
        power_gain=given("power_meter_gain", 1.2, 0.01),
        path_attenuation=None,
        dark_count_rate=given("dark_count_rate", 0.0, 1.0),
        reading_u_rel=READING,
        **KNOWN,
    )
    (change,) = result.estimates
    assert change.name == "detector_linearity_measured"
    if named:
        assert change.value == pytest.approx(-2e-9, rel=0.25)
    assert bool(result.problems) is named
    assert all("lose efficiency with their rate" in problem for problem in result.problems)


@pytest.mark.parametrize("gain", [1.0, 1.2, 0.8])
def test_a_meter_that_reads_too_low_by_its_gain(gain: float) -> None:
    """The true power is gain times the reading."""
    assert efficiency(scan_of_readings(POWERS_W, gain), gain).value == pytest.approx(ETA, rel=3e-4)


def test_a_larger_gain_means_more_photons_hence_a_lower_efficiency() -> None:
    scan = scan_of_readings(POWERS_W, 1.0)
    assert efficiency(scan, 1.0).value == pytest.approx(0.712, abs=5e-4)
    assert efficiency(scan, 1.03).value == pytest.approx(0.691, abs=5e-4)


def test_the_gain_s_budget_line_against_a_finite_difference() -> None:
    scan = scan_of_readings(POWERS_W, 1.2)
    step = 1e-4
    slope = (efficiency(scan, 1.2 + step).value - efficiency(scan, 1.2 - step).value) / (2 * step)
    line = {c.source: c.u for c in efficiency(scan, 1.2, u=0.01).budget}
    assert line["power_meter_gain certificate"] == pytest.approx(slope * 0.01, rel=1e-5)
    assert slope == pytest.approx(-ETA / 1.2, rel=1e-3)
    # 0.05 dB of the path are 1.158 %
    assert line["laser_path_attenuation certificate"] == pytest.approx(0.011513 * ETA, rel=1e-3)


def test_no_light_is_refused() -> None:
    dark = Scan(
        About("test"),
        "power_W",
        POWERS_W,
        np.zeros((5, 2), np.int64),
        np.ones(5),
        Path("laser.csv"),
    )
    one = given("power_meter_gain", 1.0, 0.0)
    with pytest.raises(InconclusiveError, match=r"laser\.csv: no click in the laser's path"):
        analyse(
            dark,
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            wavelength_m=WAVELENGTH_M,
            power_gain=one,
            path_attenuation=replace(one, value=29.0),
            dark_count_rate=one,
            reading_u_rel=READING,
            **KNOWN,
        )
