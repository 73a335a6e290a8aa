"""`qdchar fit` of a file in a run folder: what the run knew is used and said; an option wins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdchar.analysis import rabi, saturation
from qdchar.analysis.models.power_monitor import MeterErrors
from qdchar.cli import run as qdchar
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.lab.run import Run, Step
from qdchar.raw_data import About, ScanWriter, read_scan
from qdchar.roles import Counts

STATION = """
name = "bench"
source = "QD7"
wavelength_m = 884.5e-9
nominal_clock_Hz = 80e6

[calibrations.power_meter_gain]
value = 1.1
u = 0.022
unit = "1"

[roles]
"""
DEAD_S = 30e-9  # 2.4 periods of 80 MHz: two pulses are missed
SETTINGS = {"readings": 4, "reading_u_rel": 0.01, "power_zero_u_W": 1e-13}


def estimate(name: str, value: float, u: float) -> Estimate:
    return Estimate(name=name, value=value, method="", budget=(Contribution(name, u),))


def write_scan(file: Path, light: Any) -> None:
    """Counts of two detectors that miss two pulses after a click, at 80 MHz and 50 ms a point."""
    rng = np.random.default_rng(7)
    with ScanWriter(file, "power_W", About(file.stem, settings=SETTINGS)) as scan:
        for reading in np.linspace(0.5e-9, 60e-9, 60):
            p = 0.05 * light(reading)
            a, b = rng.poisson(80e6 * 0.05 * p / (1.0 + 2.0 * p) + 10.0, 2).tolist()
            scan.add(float(reading), Counts((a, b), 0.05))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with Run.create(tmp_path_factory.mktemp("runs"), "QD7", "measure") as run:
        run.keep_text("station.toml", STATION)
        write_scan(run.raw / "rabi.csv", lambda p: np.sin(0.5 * np.pi * np.sqrt(p / 20e-9)) ** 2)
        write_scan(run.raw / "saturation.csv", lambda p: -np.expm1(-p / 20e-9))
        dark, dead = estimate("dark_count_rate", 400.0, 20.0), estimate("dead_time", DEAD_S, 2e-10)
        run.keep_step(Step("dark", "dark counts", Result((dark,)), ()))
        run.keep_step(Step("dead_time", "dead time", Result((dead,)), ()))
        later = estimate("dark_count_rate", 9e4, 1.0)
        for name in ("rabi", "saturation"):
            run.keep_step(Step(name, name, Result(()), (f"raw/{name}.csv",)))
        run.keep_step(Step("dark", "dark counts again", Result((later,)), ()))
    return run.folder


GAIN = Estimate(
    name="power_meter_gain",
    value=1.1,
    method="",
    budget=(Contribution("calibration power_meter_gain", 0.022, "B", 1.0),),
)


def assumed(name: str, value: float, u: float) -> Estimate:
    budget = (Contribution(f"assumed {name}", u, "B", 1.0),)
    return Estimate(name=name, value=value, method="", budget=budget)


METER = MeterErrors(
    zero=assumed("power_meter_zero", 0.0, 2e-12),
    linearity=assumed("power_meter_linearity", 0.0, 0.001),
    gain_power=assumed("power_meter_gain_power", 1e-5, 0.0),
    tap=assumed("power_tap", 0.005, 0.0),
)
EXPLICIT: dict[str, Any] = {
    "clock_rate_Hz": 80e6,
    "dead_pulses": 2.0,
    "power_gain": GAIN,
    "meter": METER,
    "reading_u_rel": 0.005,  # 0.01 over the root of 4 readings
    "dark_count_rate_Hz": 400.0,
}


def fitted(
    capsys: pytest.CaptureFixture[str], verb: str, file: Path, *options: str
) -> tuple[str, dict[str, Any]]:
    qdchar(["fit", verb, str(file), *options, "--json"])
    out = capsys.readouterr().out
    return out, json.loads(out.splitlines()[-1])


@pytest.mark.parametrize(
    ("verb", "name"), [("rabi", "pi_power"), ("saturation", "saturation_power")]
)
def test_what_the_run_knew_is_used_and_said(
    verb: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "raw" / f"{verb}.csv"
    out, line = fitted(capsys, verb, file)
    scan = read_scan(file)
    due = {"rabi": rabi.analyse, "saturation": saturation.analyse}[verb](scan, **EXPLICIT)[name]
    found = line["quantities"][name]
    assert found["value"] == pytest.approx(due.value, rel=1e-9)
    assert found["u"] == pytest.approx(due.u, rel=1e-9)
    assert found["value"] == pytest.approx(1.1 * 20e-9, rel=0.05)
    assert "dead time 30.00(20) ns from " in out
    assert line["inputs"]["dead_time"]["from"].endswith("02_dead_time.json")
    assert line["inputs"]["dark_count_rate"]["value"] == 400.0  # not the later one
    assert line["inputs"]["power_meter_gain"]["from"].endswith("station.toml")
    assert "assumed" in line["inputs"]["power_meter_zero"]["from"]


def test_an_option_wins_and_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "raw" / "rabi.csv"
    _, of_run = fitted(capsys, "rabi", file)
    out, line = fitted(capsys, "rabi", file, "--gain", "2.2", "0.044", "--lost-pulses", "2")
    ratio = line["quantities"]["pi_power"]["value"] / of_run["quantities"]["pi_power"]["value"]
    assert ratio == pytest.approx(2.0, rel=1e-3)
    assert "power meter gain 2.200(44) given on the command line" in out
    assert "2 pulses lost after a click, given on the command line" in out


def test_outside_of_a_run_nothing_is_taken(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "rabi.csv"
    shutil.copyfile(folder / "raw" / "rabi.csv", copy)
    out, line = fitted(capsys, "rabi", copy)
    assert line["inputs"] == {}
    assert " from " not in out.split("pi-pulse power")[0]
    assert qdchar(["fit", "etalon", str(copy), "--kappa", "5e9", "1e7"]) == 2
    assert "--fsr is needed" in capsys.readouterr().err
