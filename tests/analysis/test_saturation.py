"""Saturation scans simulated from the formulas, with known truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click_scans import CLOCK_HZ, coverage, given, pulsed

from qdchar.analysis import saturation
from qdchar.cli import run as qdchar
from qdchar.errors import InconclusiveError, RecordError
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.raw_data import Scan, ScanWriter
from qdchar.roles import Counts

SATURATION_W, BLIND = 2e-6, 2


def _scan(
    rng: np.random.Generator,
    pumping: saturation.Pumping = "pulsed",
    top: float = 5.0,
    brightness: float = 0.3,
    dwell_s: float = 0.02,
) -> Scan:
    true = SATURATION_W * np.linspace(0.05, top, 40)
    ratio = true / SATURATION_W
    share = 1 - np.exp(-ratio) if pumping == "pulsed" else ratio / (1 + ratio)
    p = brightness / 2 * (share + 0.02 * ratio) + 20 / CLOCK_HZ
    reading = true * (1 + 0.005 * rng.standard_normal(40))
    return pulsed(rng, "power_W", reading, (p, p), dwell_s, BLIND)


def _fit(scan: Scan, gain: float = 1.0, u_gain: float = 0.0, **more) -> Result:
    return saturation.analyse(
        scan,
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=BLIND,
        power_gain=given("power_meter_gain", gain, u_gain),
        dark_count_rate_Hz=40.0,
        **more,
    )


@pytest.mark.parametrize("pumping", ["pulsed", "continuous"])
def test_intervals_cover(pumping: saturation.Pumping) -> None:
    rng = np.random.default_rng(1)
    truth = {"saturation_power": SATURATION_W, "saturated_rate": 0.3 * CLOCK_HZ}

    def run() -> dict[str, Estimate]:
        return {e.name: e for e in _fit(_scan(rng, pumping), pumping=pumping).estimates}

    for name, (mean, sd, at_68, at_95) in coverage(run, truth, 100).items():
        # 100 runs: mean to 0.1, sd to 0.07, coverages to 0.047 and 0.022; three of each
        assert abs(mean) < 0.3, name
        assert 0.78 < sd < 1.22, name
        assert 0.54 < at_68 < 0.83, name
        assert at_95 > 0.885, name


def test_intervals_cover_where_the_scan_ends_at_the_knee() -> None:
    rng = np.random.default_rng(6)
    truth = {"saturation_power": SATURATION_W, "saturated_rate": 0.003 * CLOCK_HZ}
    lopsided = []

    def run() -> dict[str, Estimate]:
        scan = _scan(rng, top=2.0, brightness=0.003, dwell_s=0.05)
        found = {e.name: e for e in _fit(scan).estimates}
        power = found["saturation_power"]
        assert power.interval_95 is not None
        low, high = power.interval_95
        lopsided.append((high - power.value) / (power.value - low))
        return found

    for name, (_, _, at_68, at_95) in coverage(run, truth, 40).items():
        # 40 runs: 0.074 and 0.034; three of each
        assert at_68 > 0.46, name
        assert at_95 > 0.84, name
    assert np.median(lopsided) > 1.3


def test_the_wrong_law_does_not_fit() -> None:
    assert _fit(_scan(np.random.default_rng(2), "continuous"), pumping="pulsed").problems


@pytest.mark.parametrize("top", [5.0, 2.0], ids=["normal", "near a bound"])
def test_the_true_power_is_the_gain_times_the_reading(top: float) -> None:
    """A meter that reads 1/1.2 of the true power; its budget line against a finite difference."""
    scan = _scan(np.random.default_rng(7), top=top)
    scan = replace(scan, x=scan.x / 1.2)
    found = _fit(scan, 1.2, 0.01)["saturation_power"]
    assert abs(found.value - SATURATION_W) < 3 * found.u
    step = 1e-3
    above, below = (_fit(scan, 1.2 + s)["saturation_power"].value for s in (step, -step))
    slope = (above - below) / (2 * step)
    assert slope > 0.8 * SATURATION_W / 1.2
    line = {c.source: c.u for c in found.budget}["power_meter_gain certificate"]
    assert line == pytest.approx(slope * 0.01, rel=1e-4)


@pytest.mark.parametrize(("pumping", "code"), [("pulsed", 0), ("continuous", 11)])
def test_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pumping: str, code: int
) -> None:
    scan, file = _scan(np.random.default_rng(5)), tmp_path / "saturation.csv"
    with ScanWriter(file, scan.x_name, scan.about) as writer:
        for power, (a, b), dwell in zip(scan.x, scan.clicks.tolist(), scan.dwell_s, strict=True):
            writer.add(float(power), Counts((a, b), float(dwell)))
    options = ["--clock", str(CLOCK_HZ), "--lost-pulses", str(BLIND), "--dark", "40"]
    options += ["--gain", "1.05", "0.02", "--pumping", pumping, "--json"]
    assert qdchar(["fit", "saturation", str(file), *options]) == code
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert bool(line["problems"]) == (code != 0)
    if code == 0:
        power = line["quantities"]["saturation_power"]
        assert power["value"] == pytest.approx(1.05 * SATURATION_W, abs=3 * power["u"])
        assert power["u"] > 0.02 * SATURATION_W  # the meter's certificate is in it


def test_unusable_data_are_refused() -> None:
    scan = _scan(np.random.default_rng(3))
    with pytest.raises(RecordError, match="power_W"):
        _fit(replace(scan, x_name="voltage_V"))
    with pytest.raises(InconclusiveError, match="at least 5"):
        _fit(replace(scan, x=0 * scan.x))
    # a straight line up to 0.3 saturation powers: dot and background are alike
    with pytest.raises(InconclusiveError, match="saturation scan"):
        _fit(_scan(np.random.default_rng(4), top=0.3))


def _seeded(seed: int, brightness: np.ndarray, ratio: np.ndarray) -> Scan:
    """Clicks of a dot with a given brightness at P/P_sat, without dead time."""
    rng = np.random.default_rng(seed)
    reading = SATURATION_W * ratio * (1 + 0.003 * rng.standard_normal(len(ratio)))
    return pulsed(rng, "power_W", reading, (brightness / 2, brightness / 2), 0.1, 0)


@pytest.mark.parametrize("background", [0.002, 0.02])
def test_a_steady_background_that_was_not_told_is_none_of_the_dot(background: float) -> None:
    ratio = np.geomspace(0.05, 6.0, 30)
    scan = _seeded(3, 0.05 * (1 - np.exp(-ratio)) + background, ratio)
    found = saturation.analyse(
        scan, clock_rate_Hz=CLOCK_HZ, dead_pulses=0, power_gain=given("power_meter_gain", 1.0, 0.0)
    )
    assert not found.problems
    for name, right in (("saturation_power", SATURATION_W), ("saturated_rate", 0.05 * CLOCK_HZ)):
        assert abs(found[name].value - right) < 3 * min(found[name].u, 0.01 * right), name


@pytest.mark.parametrize("seed", range(4))
def test_the_law_that_describes_the_scan_is_named(seed: int) -> None:
    ratio = np.geomspace(0.05, 6.0, 30)
    scan = _seeded(seed, 0.05 * ratio / (1 + ratio), ratio)
    gain = given("power_meter_gain", 1.0, 0.0)
    told = {"clock_rate_Hz": CLOCK_HZ, "dead_pulses": 0, "power_gain": gain}
    assert "--pumping continuous" in " ".join(saturation.analyse(scan, **told).problems)
    right = saturation.analyse(scan, pumping="continuous", **told)
    assert not right.problems
    power = right["saturation_power"]
    assert abs(power.value - SATURATION_W) < 3 * power.u


def test_a_brightness_that_falls_is_no_saturation() -> None:
    ratio = np.geomspace(0.05, 6.0, 30)
    scan = _seeded(5, 0.05 * (1 - np.exp(-ratio)) / (1 + 0.02 * ratio), ratio)
    found = saturation.analyse(
        scan, clock_rate_Hz=CLOCK_HZ, dead_pulses=0, power_gain=given("power_meter_gain", 1.0, 0.0)
    )
    assert "the brightness falls by" in found.problems[0]
