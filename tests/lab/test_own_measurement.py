"""A lab's own driver, measurement and quantity: three files of at most 60 lines, no edit here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import qdchar.lab

STATION = """
[measurements]
cryostat = "my_cryostat:MEASUREMENT"

[roles.thermometer]
driver = "my_thermometer:Thermometer"
address = "shelf 3"
offset_K = 0.25
"""
DRIVER = '''
"""A thermometer that reads 4.0 K and an offset."""

from qdchar.roles import Identity


class Thermometer:
    def __init__(self, address, offset_K):
        self._address, self._offset_K = address, offset_K

    def open(self):
        pass

    def close(self):
        pass

    def identify(self):
        return Identity("our workshop", "thermometer", "7", "1.0", self._address, False)

    def snapshot(self):
        return {"temperature_K": self.temperature_K()}

    def temperature_K(self):
        return 4.0 + self._offset_K
'''
MEASUREMENT = '''
"""Temperature of the cryostat's cold finger."""

from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.lab.measurement import Measurement
from qdchar.quantities import Quantity
from qdchar.raw_data import Settings


class CryostatSettings(Settings):
    readings: int = 3


def run(session, settings, progress):
    thermometer = session.station.role("thermometer", object)
    readings = [thermometer.temperature_K() for _ in range(settings.readings)]
    (session.run.raw / "cryostat.csv").write_text("\\n".join(map(str, readings)))
    value, u = sum(readings) / len(readings), (Contribution("thermometer", 0.05, "B"),)
    return Result((Estimate(name=TEMPERATURE.name, value=value, method="mean", budget=u),))


TEMPERATURE = Quantity("cryostat_temperature", "K", "T_c", "cryostat temperature", "cold finger")
MEASUREMENT = Measurement(name="cryostat", title="cryostat", run=run, settings=CryostatSettings,
                          provides=(TEMPERATURE,), roles=("thermometer",))
'''
GIVEN = ("--station", "station.toml", "--recipe", "recipe.toml")
QUICK = Path(qdchar.lab.__file__).parent / "recipes" / "quick.toml"
RECIPE = QUICK.read_text() + "\n[cryostat]\nreadings = 5\n"


def test_the_three_files_are_short() -> None:
    assert sum(len(text.strip().splitlines()) for text in (STATION, DRIVER, MEASUREMENT)) <= 60


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a lab that has the simulated instruments and a thermometer of its own."""
    folder = tmp_path_factory.mktemp("lab")
    file = folder / "station.toml"
    command = (sys.executable, "-m", "qdchar", "twin", "--json", "--until-stdin-closes")
    with subprocess.Popen(
        [*command, "--port", "0", "--station", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as twin:
        assert twin.stdout is not None
        assert twin.stdin is not None
        assert "ports" in json.loads(twin.stdout.readline())
        file.write_text(file.read_text() + STATION)
        (folder / "my_thermometer.py").write_text(DRIVER)
        (folder / "my_cryostat.py").write_text(MEASUREMENT)
        (folder / "recipe.toml").write_text(RECIPE)
        yield folder
        twin.stdin.close()
        twin.wait(10)


def run_qdchar(lab: Path, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "qdchar", *words, "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=lab,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def test_check_and_measure_know_it(lab: Path) -> None:
    checked = run_qdchar(lab, "check", "--station", "station.toml")
    assert checked["instruments"]["thermometer"]["state"] == {"temperature_K": 4.25}
    assert checked["measurements"]["cryostat"] == {"possible": True, "missing": []}
    assert checked["station_file"] == []
    measured = run_qdchar(lab, "measure", "cryostat", "--station", "station.toml")
    assert measured["quantities"]["cryostat_temperature"]["value"] == pytest.approx(4.25)
    assert measured["measured"] == ["cryostat"]


@pytest.fixture(scope="module")
def calibrated(lab: Path) -> dict[str, Any]:
    """What a calibration of this lab, in the folder ``own``, ends with."""
    return run_qdchar(lab, "calibrate", *GIVEN, "--out", "own")


def test_it_is_a_step_of_a_calibration(lab: Path, calibrated: dict[str, Any]) -> None:
    quantity = calibrated["quantities"]["cryostat_temperature"]
    assert (quantity["value"], quantity["u"]) == (pytest.approx(4.25), pytest.approx(0.05))
    assert (quantity["unit"], quantity["definition"]) == ("K", "cold finger")
    run = Path(calibrated["report"])
    page = (lab / run).read_text()
    assert "cryostat" in page
    assert "T_c" in page or "cryostat temperature" in page
    raw = (lab / run).parent / "raw" / "cryostat.csv"
    assert raw.read_text().split() == ["4.25"] * 5
    # a program that has never heard of this measurement reads the record
    told = run_qdchar(lab, "history", "own", "--quantity", "cryostat_temperature")
    assert [r["value"] for r in told["quantities"]["cryostat_temperature"]] == [4.25]


@pytest.mark.usefixtures("calibrated")
def test_alone_takes_what_the_calibration_found(lab: Path) -> None:
    line = run_qdchar(lab, "measure", "brightness", *GIVEN, "--out", "own", "--alone")
    assert line["measured"] == ["brightness"]
    before = run_qdchar(lab, "history", "own", "--quantity", "collection_efficiency")
    (calibrated,) = before["quantities"]["collection_efficiency"]
    again = line["quantities"]["collection_efficiency"]
    # the detector's certificate moves both alike; 1 % is what drift and re-locks may do
    assert again["value"] == pytest.approx(calibrated["value"], rel=0.01)
    assert {p.name for p in (lab / line["run"] / "raw").iterdir()} == {
        "brightness.h5",
        "cavity_lock_01.csv",
    }
