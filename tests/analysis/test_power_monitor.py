"""Zero and nonlinearity of the power meter, from readings that this file makes of true powers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click_scans import CLOCK_HZ, given, pulsed

from qdchar.analysis import detector_efficiency, rabi, saturation
from qdchar.analysis.models.power_monitor import (
    MeterErrors,
    gain_at,
    linear_W,
    reading_of,
    zero_of,
)
from qdchar.estimate import Estimate
from qdchar.raw_data import About, Scan

GAIN, PER_DECADE, GAIN_POWER_W, ZERO_W = 1.2, -0.04, 1e-5, 3e-10
"""A meter far from an ideal one; at 1 nW, four decades below its certificate, its gain is 1.392."""
ETA, PATH_DB, WAVELENGTH_M = 0.7, 30.0, 885e-9
PHOTON_J = 6.62607015e-34 * 299792458.0 / WAVELENGTH_M


def meter(zero: tuple[float, float], per_decade: tuple[float, float]) -> MeterErrors:
    return MeterErrors(
        zero=given("power_meter_zero", *zero),
        linearity=given("power_meter_linearity", *per_decade),
        gain_power=given("power_meter_gain_power", GAIN_POWER_W, 0.2 * GAIN_POWER_W),
        tap=given("power_tap", 0.02, 0.0),
    )


METER = meter((ZERO_W, 4e-12), (PER_DECADE, 0.001))


def reading_W(power_W: np.ndarray) -> np.ndarray:
    """Solve P = g r (1 + k log10(g r/P_G)) by bisection, and add the zero."""
    low, high = power_W / GAIN / 3.0, power_W / GAIN * 3.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        linear = GAIN * middle
        above = linear * (1.0 + PER_DECADE * np.log10(linear / GAIN_POWER_W)) > power_W
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return low + ZERO_W


def test_readings_and_powers() -> None:
    """1 nW by the certificate's gain is four decades below: 1.16 nW."""
    gain = given("power_meter_gain", GAIN, 0.01)
    assert linear_W(1e-9 / GAIN, gain, METER) == pytest.approx(1.16e-9 / GAIN)
    assert linear_W([0.0, -2e-12], gain, METER).tolist() == [0.0, -2e-12 * 1.0]
    assert linear_W(1e-9, gain, None) == 1e-9
    assert reading_of(1.16e-9, gain, METER) == pytest.approx(1e-9 / GAIN, rel=1e-6)
    assert reading_of(1.2e-9, gain, None) == pytest.approx(1e-9)


@pytest.mark.parametrize("held", ["gain", "linearity", "gain_power"])
def test_the_lines_of_a_power_against_a_finite_difference(held: str) -> None:
    gain, reading = given("power_meter_gain", GAIN, 0.01), 2e-9

    def power(by: float) -> float:
        if held == "gain":
            changed = _moved(gain, by)
            return changed.value * float(linear_W(reading, changed, METER))
        changed_meter = replace(METER, **{held: _moved(getattr(METER, held), by)})
        return gain.value * float(linear_W(reading, gain, changed_meter))

    linear = float(linear_W(reading, gain, METER))
    lines = {c.source: linear * c.u for c in gain_at(gain, METER, linear, "scan").budget}
    u = {"gain": 0.01, "linearity": 0.001, "gain_power": 2e-6}[held]
    slope = (power(1e-3 * u) - power(-1e-3 * u)) / (2e-3 * u)
    assert lines[f"power_meter_{held} certificate"] == pytest.approx(slope * u, rel=1e-4)
    assert lines["tap of the power monitor, scan"] == pytest.approx(0.02 * GAIN * linear)
    assert gain_at(gain, None, linear, "scan").u == pytest.approx(0.01)


def _moved(estimate: Estimate, by: float) -> Estimate:
    return replace(estimate, value=estimate.value + by)


def laser_scan() -> Scan:
    """Expected clicks of two detectors without dead time, against the meter's readings."""
    power_W = np.geomspace(0.5e-9, 10e-9, 6)
    pulses = 4e9
    photons = power_W * 10 ** (-0.1 * PATH_DB) / PHOTON_J / CLOCK_HZ
    clicks = np.rint(-pulses * np.expm1(-ETA * np.outer(photons, [0.45, 0.55])))
    dwell = np.full(len(power_W), pulses / CLOCK_HZ)
    about = About("detector_efficiency", settings={"power_zero_u_W": 2e-13})
    x = reading_W(power_W)
    return Scan(about, "power_W", x, clicks.astype(np.int64), dwell, Path("laser.csv"))


def efficiency(errors: MeterErrors) -> dict[str, Estimate]:
    found = detector_efficiency.analyse(
        laser_scan(),
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=0,
        wavelength_m=WAVELENGTH_M,
        power_gain=given("power_meter_gain", GAIN, 0.01),
        path_attenuation=given("laser_path_attenuation", PATH_DB, 0.05),
        dark_count_rate=given("dark_count_rate", 0.0, 1.0),
        linearity=given("detector_linearity", 0.0, 5e-10),
        certified_rate=given("detector_efficiency_rate", 2e5, 0.0),
        polarisation=given("detector_polarisation", 0.04, 0.0),
        repeatability=given("light_path_repeatability", 0.02, 0.0),
        reading_u_rel=1e-3,
        meter=errors,
    )
    assert not found.problems
    return {e.name: e for e in found.estimates}


def test_a_detector_efficiency_with_such_a_meter() -> None:
    found = efficiency(METER)
    assert found["detector_efficiency_measured"].value == pytest.approx(ETA, rel=1e-4)
    assert found["detector_linearity_measured"].value == pytest.approx(0.0, abs=1e-11)


@pytest.mark.parametrize(
    ("held", "source", "u"),
    [
        ("zero", "power_meter_zero", 4e-12),
        ("linearity", "power_meter_linearity", 0.001),
        ("gain_power", "power_meter_gain_power", 2e-6),
    ],
)
def test_the_meters_lines_in_the_efficiency_against_a_finite_difference(
    held: str, source: str, u: float
) -> None:
    found = efficiency(METER)
    step = 0.1 * u
    up, down = (
        efficiency(replace(METER, **{held: _moved(getattr(METER, held), s)})) for s in (step, -step)
    )
    for name in found:
        slope = (up[name].value - down[name].value) / (2.0 * step)
        line = {c.source: c.u for c in found[name].budget}.get(f"{source} certificate", 0.0)
        # the power of the gain's certificate moves the change with the rate in second order alone
        assert line == pytest.approx(slope * u, rel=0.02, abs=0.15 * found[name].u), name


def rotation(rng: np.random.Generator) -> Scan:
    """A damped Rabi oscillation with its pi pulse at 10 nW."""
    power_W = 10e-9 * np.linspace(0.05, 2.2, 70) ** 2
    angle = np.pi * np.sqrt(power_W / 10e-9)
    p = 0.5 * 0.3 * (1.0 - np.exp(-0.012 * angle**2) * np.cos(angle)) / 2.0 + 20.0 / CLOCK_HZ
    x = ZERO_W + (reading_W(power_W) - ZERO_W) * (1.0 + 0.0025 * rng.standard_normal(70))
    return pulsed(rng, "power_W", x, (p, p), 0.01, 2)


def filling(rng: np.random.Generator) -> Scan:
    """A saturation at 5 nW."""
    power_W = 5e-9 * np.linspace(0.05, 5.0, 50)
    p = 0.15 * (1.0 - np.exp(-power_W / 5e-9)) + 20.0 / CLOCK_HZ
    x = ZERO_W + (reading_W(power_W) - ZERO_W) * (1.0 + 0.0025 * rng.standard_normal(50))
    return pulsed(rng, "power_W", x, (p, p), 0.02, 2)


@pytest.mark.parametrize(
    ("draw", "analyse", "name", "true_W"),
    [
        (rotation, rabi.analyse, "pi_power", 10e-9),
        (filling, saturation.analyse, "saturation_power", 5e-9),
    ],
)
def test_a_power_scan_with_such_a_meter(
    draw: Callable[[np.random.Generator], Scan],
    analyse: Callable[..., rabi.Result],
    name: str,
    true_W: float,
) -> None:
    """A zero of 3 % and a gain of 1.36; both lines against a finite difference."""
    scan = draw(np.random.default_rng(21))

    def power(errors: MeterErrors) -> Estimate:
        return analyse(
            scan,
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            power_gain=given("power_meter_gain", GAIN, 0.001),
            meter=errors,
            reading_u_rel=0.0025,
            dark_count_rate_Hz=40.0,
        )[name]

    found = power(METER)
    lines = {c.source: c.u for c in found.budget}
    # the meter is exactly as its certificates say
    given_before = ("certificate", "tap of")
    own = [u for source, u in lines.items() if not any(g in source for g in given_before)]
    assert found.value == pytest.approx(true_W, abs=3.0 * float(np.hypot.reduce(own)))
    for held, u in (("zero", 4e-12), ("linearity", 0.001)):
        step = u
        up, down = (
            power(replace(METER, **{held: _moved(getattr(METER, held), s)})) for s in (step, -step)
        )
        slope = (up.value - down.value) / (2.0 * step)
        assert lines[f"power_meter_{held} certificate"] == pytest.approx(
            slope * u, rel=0.1, abs=0.02 * found.u
        )


def test_the_zero_as_read_and_what_is_left() -> None:
    scan = laser_scan()
    left = zero_of(scan, METER)
    assert left.value == ZERO_W
    assert left.u == pytest.approx(np.hypot(2e-13, 4e-12))
    assert zero_of(scan, None).u == pytest.approx(2e-13)
    assert zero_of(replace(scan, about=About("a lab's own")), None).budget == ()
