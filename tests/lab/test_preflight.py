"""What cannot be done is refused before any instrument is opened, all of it at once."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from qdchar.cli import run
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import InconclusiveError, InstrumentError, UsageError
from qdchar.lab import preflight
from qdchar.lab.calibrate import _make
from qdchar.lab.extensions import measurements_of
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.lab.station import Station, StationFile, load_station
from qdchar.link import Link

OPTIONAL = [m.name for m in MEASUREMENTS.values() if m.calibration == "if possible"]


@pytest.fixture(scope="module")
def station_text() -> str:
    """Station file of a simulated lab; nothing here ever connects to it."""
    with serve(Truth(), 1) as served:
        text = station_toml(served)
    return text


@pytest.fixture
def never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(self: Station) -> Station:
        raise AssertionError("the station was opened")

    monkeypatch.setattr(Station, "__enter__", opened)


def without(text: str, *tables: str) -> str:
    """Leave tables of a station file out, with their sub-tables."""
    kept, keep = [], True
    for line in text.splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            keep = not any(name == t or name.startswith(f"{t}.") for t in tables)
        if keep:
            kept.append(line)
    return "\n".join(kept) + "\n"


def needed(name: str) -> list[str]:
    """Tables of the station file that a measurement's closure needs."""
    closure = [MEASUREMENTS[n] for n in preflight.closure(MEASUREMENTS, name)]
    roles = dict.fromkeys(f"roles.{r}" for m in closure for r in m.all_roles)
    certificates = dict.fromkeys(f"calibrations.{c}" for m in closure for c in m.all_certificates)
    return [*roles, *certificates]


def refusal(folder: Path, text: str, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    file = folder / "station.toml"
    file.write_text(text, encoding="utf-8")
    began = time.process_time()
    code = run([*words, "--station", str(file), "--out", str(folder / "runs"), "--json"])
    assert time.process_time() - began < 1.0  # the promise is a second, imports aside
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == line["exit_code"] == 2
    assert not list((folder / "runs").glob("*"))
    return str(line["error"])


@pytest.mark.usefixtures("never_opened")
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_each_thing_that_a_measurement_needs_is_missed(
    tmp_path: Path, station_text: str, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    tables = needed(name)
    for table in tables:
        error = refusal(tmp_path, without(station_text, table), capsys, "measure", name)
        assert f"[{table}]" in error
        assert error.count("is missing") == 1
    everything = refusal(tmp_path, without(station_text, *tables), capsys, "measure", name)
    assert all(f"[{table}]" in everything for table in tables)


@pytest.mark.usefixtures("never_opened")
def test_a_calibration_names_all_that_is_wrong_at_once(
    tmp_path: Path, station_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = without(station_text, "roles.etalon_piezo", "calibrations.detector_efficiency")
    text += '[roles.etalon_pieso]\ndriver = "qdchar.drivers.thorlabs_pm100:PM100"\n'
    text += 'address = "tcp://127.0.0.1:1"\nwavelength_m = 9e-7\n'
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        "tag_rate_Hz = 1e15\n[cavity]\nstop_V = 70\n[limits.purcell_factor]\nmin = 5\n"
        "[limits.g3_zero]\nmax = 1\n[min_advantage_dB]\nwpc-ideal = 1.0\n"
    )
    error = refusal(tmp_path, text, capsys, "calibrate", "--recipe", str(recipe))
    for word in (
        "[roles.etalon_piezo] (VoltageAxis) is missing",
        "[calibrations.detector_efficiency] is missing",
        "[roles.etalon_pieso]: no measurement uses this role",
        "cavity: ",
        "70",
        "limits.purcell_factor: no measurement of this calibration provides it",
        "limits.g3_zero: not a known quantity",
        "'wpc-ideal' is not a comparator",
        "GB free",
    ):
        assert word in error


def test_a_lead_over_light_that_the_link_does_not_have_is_refused() -> None:
    """Without a block there is no finite-key protocol to compare with."""
    recipe = Recipe(min_advantage_dB={"wcp-vacuum-weak-bb84": 1.0, "wcp-infinite-decoy": 1.0})
    (fault,) = preflight._unknown_demands(recipe, (), Link(block_kind="asymptotic"))
    assert "'wcp-vacuum-weak-bb84' is not a comparator on this link" in fault
    assert not list(preflight._unknown_demands(recipe, (), Link(block_kind="sent")))


def test_a_driver_without_a_method_of_its_role_is_named(tmp_path: Path, station_text: str) -> None:
    data = tomllib.loads(station_text)
    data["roles"]["etalon_piezo"] = data["roles"]["pump_power"]
    station = Station(StationFile.model_validate(data), "station.toml")
    (fault,) = preflight.lacks(station, MEASUREMENTS, MEASUREMENTS["etalon"])
    assert "PM100 does not fit as VoltageAxis: it has no" in fault
    assert "set_voltage" in fault


def test_optional_measurements_are_left_out_with_the_reason(
    tmp_path: Path, station_text: str
) -> None:
    file = tmp_path / "station.toml"
    tables = ("roles.analyser", "calibrations.laser_path_attenuation")  # linearity needs no path
    file.write_text(without(station_text, *tables), encoding="utf-8")
    plan = preflight.plan_calibration(load_station(file), MEASUREMENTS, Recipe())
    assert set(plan.left_out) == {"misalignment"}
    assert "detector_efficiency" in plan.measurements
    assert "[roles.analyser]" in plan.left_out["misalignment"]
    assert "misalignment" not in plan.measurements
    first = "dark", "cavity", "dead_time", "detector_efficiency", "rabi"
    assert plan.measurements[:5] == first
    assert plan.measurements[-2:] == ("phase", "hom")


def test_a_closure_is_made_in_an_order_that_knows_what_it_needs() -> None:
    for name in MEASUREMENTS:
        known: set[str] = set()
        for step in preflight.closure(MEASUREMENTS, name):
            measurement = MEASUREMENTS[step]
            first = set(measurement.all_needs) - set(measurement.needs_afterwards)
            assert first <= known, (name, step)
            known |= set(measurement.quantities)


@pytest.mark.usefixtures("never_opened")
def test_alone_says_what_no_run_knows(
    tmp_path: Path, station_text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refusal(tmp_path, station_text, capsys, "measure", "transmitter", "--alone")
    assert "dark_count_rate (from dark)" in error
    assert "linewidth_lorentz (from etalon)" in error
    assert "pi_power (from rabi)" in error


def test_two_measurements_of_one_name_are_refused(tmp_path: Path, station_text: str) -> None:
    (tmp_path / "again.py").write_text(
        "from qdchar.lab.measurements.dark import MEASUREMENT as DARK\n"
    )
    file = tmp_path / "station.toml"
    head, rest = station_text.split("\n", 1)
    file.write_text(f'measurements = {{ dark = "again:DARK" }}\n{head}\n{rest}', encoding="utf-8")
    with pytest.raises(UsageError, match="two measurements are called 'dark'"):
        measurements_of(load_station(file))


class Session:
    """As much of a session as a calibration's loop sees: it makes nothing, and may fail."""

    def __init__(self, error: Exception) -> None:
        self.said: list[str] = []
        self.display = SimpleNamespace(say=self.said.append, warn=self.said.append)
        self.problems: list[str] = []
        self._error = error

    def make(self, name: str) -> None:
        raise self._error


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_inconclusive_optional_measurement_does_not_cost_the_others(name: str) -> None:
    session = Session(InconclusiveError("too faint"))
    _make(session, MEASUREMENTS, name)  # type: ignore[arg-type]
    assert "NOT MEASURED: too faint" in session.said[-1]
    # a key rate must not rest on a quantity that could not be measured without it being said
    assert bool(session.problems) is (name not in ("phase", "hom"))


@pytest.mark.parametrize(
    ("name", "error"),
    [("hbt_after", InconclusiveError("too faint")), ("misalignment", InstrumentError("cable"))],
)
def test_what_a_calibration_cannot_do_without_ends_it(name: str, error: Exception) -> None:
    with pytest.raises(type(error)):
        _make(Session(error), MEASUREMENTS, name)  # type: ignore[arg-type]
