"""Rabi scans simulated from the formulas, with known truth."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from click_scans import CLOCK_HZ, coverage, given, pulsed
from scipy import integrate, optimize

from qdchar.analysis import rabi
from qdchar.analysis.detection.dead_time_model import corrected_counts
from qdchar.analysis.models.rabi_rotation import brightest, excitation, reexcitation
from qdchar.errors import InconclusiveError, RecordError
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.raw_data import Scan

PI_W, DAMPING, DARK_HZ, BLIND = 10e-9, 0.012, 40.0, 2
SHARES = (0.52, 0.48)


def _scan(
    rng: np.random.Generator,
    top: float,
    *,
    points: int = 60,
    noise: float = 0.005,
    pi_W: float = PI_W,
    damping: float = DAMPING,
    dwell_s: float = 0.02,
    brightness: float = 0.5,
    leak: float = 0.008,
    reexcitation: float = 0.005,
    flicker: float = 0.0,
    dark_Hz: float = DARK_HZ,
) -> Scan:
    """Powers evenly spaced in pulse area up to `top` pi powers.

    A detector stays dark if it gets no photon of the dot's none, one or two, and none of the
    laser's. The second photon comes with the probability that a pulse which has rotated the dot
    half-way and lost it does so again.
    """
    true = top * pi_W * np.linspace(0.12, 1.0, points) ** 2
    theta = np.pi * np.sqrt(true / pi_W)
    excited = (1 - np.exp(-damping * theta**2) * np.cos(theta)) / 2 / 0.944
    n = brightness * excited * (1 + flicker * rng.standard_normal(points))
    pairs = reexcitation / 2 * brightness**2 * _second_photon(theta)
    p = [
        1
        - (1 - s * n + s**2 * pairs) * np.exp(-s * brightness * leak * true / pi_W)
        + dark_Hz / 2 / CLOCK_HZ
        for s in SHARES
    ]
    reading = true * (1 + noise * rng.standard_normal(points))
    return pulsed(rng, "power_W", reading, (p[0], p[1]), dwell_s, BLIND)


def _second_photon(theta: np.ndarray) -> np.ndarray:
    """Emission after a part of a Gaussian pulse, then excitation by the rest; 1 at theta = pi."""
    return np.array([_integral(float(a)) for a in theta]) / _integral(math.pi)


@cache  # the scans of a test have the same powers
def _integral(area: float) -> float:
    def rate(t: float) -> float:
        part = area * (1 + math.erf(t / math.sqrt(2))) / 2
        return (math.sin(part / 2) * math.sin((area - part) / 2)) ** 2

    return integrate.quad(rate, -6, 6)[0]


def _fit(
    scan: Scan, noise: float = 0.005, gain: Estimate | None = None, dark_Hz: float = DARK_HZ
) -> Result:
    return rabi.analyse(
        scan,
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=BLIND,
        power_gain=gain or given("power_meter_gain", 1.0, 0.0),
        reading_u_rel=noise,
        dark_count_rate_Hz=dark_Hz,
    )


def test_dark_counts_are_not_taken_for_damping() -> None:
    """3 M of them a second; left out of the model, they move the pi power by 3 %."""
    found = _fit(_scan(np.random.default_rng(13), 4.5, dark_Hz=3e6), dark_Hz=3e6)
    damping = found["rabi_damping"]
    assert damping.value == pytest.approx(DAMPING, abs=3 * damping.u)
    assert found["pi_power"].value == pytest.approx(PI_W, abs=3 * found["pi_power"].u)
    assert not found.problems


@pytest.mark.parametrize("damping", [DAMPING, 0.0], ids=["normal", "near a bound"])
def test_the_true_power_is_the_gain_times_the_reading(damping: float) -> None:
    """A meter that reads 1/1.2 of the true power; its budget line against a finite difference."""
    scan = _scan(np.random.default_rng(12), 4.0, damping=damping)
    scan = replace(scan, x=scan.x / 1.2)
    found = _fit(scan, gain=given("power_meter_gain", 1.2, 0.01))
    assert abs(found["pi_power"].value - PI_W) < 3 * found["pi_power"].u
    step = 1e-3
    above, below = (
        _fit(scan, gain=given("power_meter_gain", 1.2 + s, 0.01)) for s in (step, -step)
    )
    for name in ("pi_power", "max_power"):
        slope = (above[name].value - below[name].value) / (2 * step)
        assert slope > 0.9 * PI_W / 1.2
        line = {c.source: c.u for c in found[name].budget}["power_meter_gain certificate"]
        assert line == pytest.approx(slope * 0.01, rel=1e-4)


def test_brightest_power_lies_below_the_pi_power() -> None:
    """k = 0.012: theta = 0.977 pi, power 4.6 % lower, excitation 0.944 at pi."""
    assert math.sqrt(brightest(0.012)) == pytest.approx(0.977, abs=5e-4)
    assert 1 - brightest(0.012) == pytest.approx(0.046, abs=5e-4)
    assert float(excitation(1.0, 1.0, 0.012)) == pytest.approx(0.944, abs=5e-4)
    powers = np.linspace(0.5, 1.2, 200_001)
    for k in (0.0, 0.003, 0.05):
        by_eye = powers[np.argmax(excitation(powers, 1.0, k))]
        assert brightest(k) == pytest.approx(by_eye, abs=1e-5)


def test_second_photon_against_quadrature() -> None:
    areas = np.array([0.3, 1.0, math.pi, 5.0, 2 * math.pi, 14.0])
    expected = _second_photon(areas)
    assert reexcitation((areas / math.pi) ** 2, 1.0) == pytest.approx(expected, rel=1e-3)


def test_intervals_cover() -> None:
    """200 scans over two lobes: power noise 0.5 %, dead time 2 pulses, leak, dark counts."""
    rng = np.random.default_rng(1)
    truth = {
        "pi_power": PI_W,
        "max_power": PI_W * brightest(DAMPING),
        "rabi_damping": DAMPING,
    }

    def run() -> dict[str, Estimate]:
        # the analysis judges re-excitation to 0.01 +- 0.01: draw it so
        scan = _scan(rng, 9.0, reexcitation=rng.normal(0.01, 0.01))
        return {e.name: e for e in _fit(scan).estimates}

    for name, (mean, sd, at_68, at_95) in coverage(run, truth, 200).items():
        # 200 runs: mean to 0.07, sd to 0.05, coverages to 0.033 and 0.015; three of each
        assert abs(mean) < 0.21, name
        assert 0.85 < sd < 1.15, name
        assert 0.58 < at_68 < 0.78, name
        assert at_95 > 0.905, name


def test_power_noise_left_out_quotes_errors_far_too_small() -> None:
    """Against least squares with sigma = sqrt(N), by scipy."""
    rng = np.random.default_rng(2)

    def counts(power, pi_W, k, amplitude, slope):
        theta2 = np.pi**2 * power / pi_W
        return amplitude * (1 - np.exp(-k * theta2) * np.cos(np.sqrt(theta2))) + slope * power

    aware, naive = [], []
    for _ in range(40):
        scan = _scan(rng, 4.0)
        aware.append(_fit(scan)["pi_power"])
        y = corrected_counts(scan, CLOCK_HZ, BLIND).counts
        start = [PI_W, DAMPING, y.max() / 2, 0.01 * y.max() / PI_W]
        x_scale = [1e-9, 1e-3, 1e4, 1e12]
        found, cov = optimize.curve_fit(
            counts, scan.x, y, start, np.sqrt(y), absolute_sigma=True, method="trf", x_scale=x_scale
        )
        naive.append((found[0], math.sqrt(cov[0, 0])))
    scatter_naive = np.std([v for v, _ in naive])
    assert np.mean([u for _, u in naive]) < 0.5 * scatter_naive
    scatter = np.std([e.value for e in aware])
    assert np.mean([e.u_statistical for e in aware]) == pytest.approx(scatter, rel=0.3)
    assert scatter < scatter_naive  # and it is the better estimator


@pytest.mark.parametrize("top", [1.4, 2.0, 2.5, 4.0, 9.0, 20.0, 64.0, 400.0])
@pytest.mark.parametrize("pi_W", [0.3e-9, 2e-3])
def test_start_values_come_from_the_data(top: float, pi_W: float) -> None:
    """Any pi power, the scan covering from not quite one lobe to ten."""
    rng = np.random.default_rng(3)
    result = _fit(_scan(rng, top, pi_W=pi_W, points=80))
    e = result["pi_power"]
    low, high = e.interval_95 or (e.value - 2 * e.u, e.value + 2 * e.u)
    assert low - e.u < pi_W < high + e.u
    assert e.u < (0.4 if top < 2 else 0.06 if top < 4 else 0.004) * pi_W


def test_pi_pulse_outside_the_scan_is_a_problem() -> None:
    result = _fit(_scan(np.random.default_rng(4), 0.8))
    assert any("extrapolation" in p or "relative uncertainty" in p for p in result.problems)


@pytest.mark.parametrize(
    ("pi_W", "u_W", "says"),
    [
        (20e-9, 1e-9, None),
        (20e-9, 2.4e-9, "relative uncertainty of the pi power is 12%"),
        (60.1e-9, 1e-9, "extrapolation"),
        (2.9e-9, 0.1e-9, "fewer than 3 points below"),
    ],
)
def test_a_pi_power_that_the_scan_does_not_hold_is_a_problem(
    pi_W: float, u_W: float, says: str | None
) -> None:
    class Solution:
        def __getitem__(self, _: str) -> float:
            return pi_W

        def u(self, _: str) -> float:
            return u_W

    power = np.linspace(1e-9, 60e-9, 60)
    problems = rabi._problems(Solution(), power)  # type: ignore[arg-type]
    assert len(problems) == (says is not None)
    assert all(says is not None and says in p for p in problems)


def test_scale_of_the_meter_stays_one_error_source() -> None:
    scan = _scan(np.random.default_rng(5), 4.0)
    meter = given("power_meter_gain", 1.02, 0.01)
    plain, scaled = _fit(scan), _fit(scan, gain=meter)
    assert scaled["pi_power"].value == pytest.approx(1.02 * plain["pi_power"].value)
    shared = {c.source: c.u for c in scaled["pi_power"].budget}["power_meter_gain certificate"]
    assert shared == pytest.approx(0.01 * plain["pi_power"].value)
    assert scaled["rabi_damping"].value == plain["rabi_damping"].value


def test_undamped_rotation_has_one_sided_intervals() -> None:
    rng = np.random.default_rng(6)
    inside, one_sided = [], 0
    for _ in range(8):
        e = _fit(_scan(rng, 4.0, damping=0.0))["rabi_damping"]
        assert e.value >= 0.0
        low, high = e.interval_95 or (e.value - 1.96 * e.u, e.value + 1.96 * e.u)
        inside.append(low <= 0.0 < high)
        one_sided += low == 0.0
    assert sum(inside) >= 6  # of 8 at 95 %
    assert one_sided >= 5


def test_one_detector_and_a_lab_s_own_file(tmp_path: Path) -> None:
    scan = _scan(np.random.default_rng(7), 6.0)
    file = tmp_path / "rabi.csv"
    rows = zip(scan.x, scan.clicks[:, 0], scan.dwell_s, strict=True)
    text = "power_W,counts,dwell_s\n" + "".join(f"{x!r},{c},{d}\n" for x, c, d in rows)
    file.write_text(text.replace("np.float64(", "").replace(")", ""))
    result = rabi.analyse_file(
        file,
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=BLIND,
        power_gain=given("power_meter_gain", 1.0, 0.005),
    )
    e = result["pi_power"]
    assert abs(e.value - PI_W) < 4 * e.u
    assert result.fits[0].dof == 60 + 1 - 5  # points, the given nuisance, parameters
    assert result.problems == ()


def test_unusable_data_are_refused() -> None:
    scan = _scan(np.random.default_rng(8), 4.0)
    with pytest.raises(RecordError, match="power_W"):
        _fit(replace(scan, x_name="voltage_V"))
    few = replace(scan, x=scan.x[:5], clicks=scan.clicks[:5], dwell_s=scan.dwell_s[:5])
    with pytest.raises(InconclusiveError, match="at least 6"):
        _fit(few)
    with pytest.raises(InconclusiveError, match="no clicks"):
        _fit(replace(scan, clicks=0 * scan.clicks))


def test_blinking_is_noise_and_a_jump_is_a_problem() -> None:
    """Brightness noise of 20 % from point to point: found, allowed for, no reason for alarm."""
    rng = np.random.default_rng(9)
    pulls = []
    for _ in range(12):
        result = _fit(_scan(rng, 6.0, points=80, flicker=0.2))
        e = result["pi_power"]
        pulls.append((e.value - PI_W) / e.u)
        assert not any("drift" in p for p in result.problems)
    noise = float(e.method.split("noise of ")[1].split()[0])
    assert noise == pytest.approx(0.2, rel=0.3)
    assert 0.5 < np.std(pulls) < 1.6  # three standard errors of 12
    assert abs(np.mean(pulls)) < 0.9
    jumped = _scan(rng, 4.0)
    clicks = jumped.clicks.copy()
    clicks[30:] = clicks[30:] * 0.9
    assert "drifted or jumped" in _fit(replace(jumped, clicks=clicks)).problems[0]
