"""Recipes that come with the package, one's own, and what they may leave out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from qdchar.cli import run
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import UsageError
from qdchar.lab import preflight
from qdchar.lab.expected import expected_steps
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import SHIPPED, Recipe, load_recipe
from qdchar.lab.station import Station, StationFile


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Station file of a simulated lab; nothing here ever connects to it."""
    file = tmp_path_factory.mktemp("station") / "station.toml"
    with serve(Truth(), 1) as served:
        file.write_text(station_toml(served), encoding="utf-8")
    return file


def loaded(station: Path) -> Station:
    return Station(StationFile.model_validate(tomllib.loads(station.read_text())), "station.toml")


def test_full_is_what_a_calibration_does_without_a_recipe() -> None:
    assert load_recipe("full", MEASUREMENTS) == load_recipe(None, MEASUREMENTS)


def test_quick_and_pre_qkd_ask_for_less(station: Path) -> None:
    dwells, made = [], []
    for name in SHIPPED:
        recipe = load_recipe(name, MEASUREMENTS)
        plan = preflight.plan_calibration(loaded(station), MEASUREMENTS, recipe)
        limits = loaded(station).limits
        chosen = [MEASUREMENTS[m] for m in plan.measurements]
        dwells.append(sum(m.dwell_s(recipe.settings_of(m), limits) for m in chosen))
        made.append(set(plan.measurements))
    assert SHIPPED == ("quick", "pre-qkd", "full")
    assert dwells[0] < 15.0 < 30.0 < dwells[1] < 60.0 < 120.0 < dwells[2]
    assert made[2] - made[0] == {"phase", "hom"}
    assert made[2] - made[1] == {"hom"}


@pytest.mark.parametrize(
    ("left_out", "complaint"),
    [
        ("hbt_after", "leave_out: hbt_after cannot be left out: the key rate needs its g2_zero"),
        ("transmitter", "cannot be left out: the key rate needs its mean_photon_number"),
        ("rabi", "leave_out: rabi cannot be left out: lifetime needs it"),
        ("dead_time", "leave_out: dead_time cannot be left out: cavity needs it"),
        ("purcell", "leave_out: purcell is not part of a calibration"),
    ],
)
def test_what_is_needed_cannot_be_left_out(station: Path, left_out: str, complaint: str) -> None:
    recipe = Recipe(leave_out=("hom", left_out))
    with pytest.raises(UsageError, match="nothing was opened or moved") as caught:
        preflight.plan_calibration(loaded(station), MEASUREMENTS, recipe)
    assert complaint in str(caught.value)
    assert "hom cannot" not in str(caught.value)


def test_a_measurement_that_nothing_needs_is_left_out_by_the_recipe(station: Path) -> None:
    recipe = Recipe(leave_out=("hbt_before", "misalignment"))
    plan = preflight.plan_calibration(loaded(station), MEASUREMENTS, recipe)
    assert plan.left_out == {"hbt_before": "by the recipe", "misalignment": "by the recipe"}
    everything = preflight.plan_calibration(loaded(station), MEASUREMENTS, Recipe())
    assert set(everything.measurements) - set(plan.measurements) == set(recipe.leave_out)


def test_unknown_names_are_refused(
    tmp_path: Path,
    station: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UsageError, match=r"neither a file nor one of .*: quick, pre-qkd, full"):
        load_recipe("quik", MEASUREMENTS)
    file = tmp_path / "recipe.toml"
    file.write_text('leave_out = ["homm"]\n', encoding="utf-8")
    asked = ["calibrate", "--station", str(station), "--recipe", str(file), "--out", str(tmp_path)]
    assert run([*asked, "--json"]) == 2
    seen = capfd.readouterr()
    error = json.loads(seen.out.splitlines()[-1])["error"]
    assert "leave_out: 'homm' is not a measurement" in error
    file.write_text('leave_out = ["hbt_after"]\n', encoding="utf-8")
    assert run(asked) == 2
    assert "the key rate needs its g2_zero" in capfd.readouterr().err


def test_a_file_of_the_name_of_a_recipe_is_reached_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quick").write_text("valid_hours = 3.0\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("./quick", MEASUREMENTS).valid_hours == 3.0
    assert load_recipe("quick", MEASUREMENTS).leave_out == ("phase", "hom")


@pytest.fixture
def never_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(self: Station) -> Station:
        raise AssertionError("the station was opened")

    monkeypatch.setattr(Station, "__enter__", opened)


@pytest.mark.usefixtures("never_opened")
def test_a_dry_run_prints_ranges_dwells_and_lab_time_and_leaves_no_trace(
    tmp_path: Path, station: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'leave_out = ["hom", "phase"]\n[cavity]\nstop_V = 31.5\nsettle_s = 100.0\n', "utf-8"
    )
    out = tmp_path / "runs"
    asked = ["--station", str(station), "--recipe", str(recipe), "--out", str(out)]
    assert run(["calibrate", *asked, "--dry-run", "--json"]) == 0
    seen = capfd.readouterr().out.splitlines()
    assert "    cavity_fine: sweep from 0 to 31.5 V" in seen
    assert "    etalon_piezo: sweep from 12 to 150 V" in seen
    assert "    pump_attenuator: sweep from 0 to 60 dB" in seen
    assert any("survey_dwell_s = 0.005, settle_s = 100" in line for line in seen)
    assert "hom: left out: by the recipe" in seen
    line = json.loads(seen[-1])
    assert line["lab_s"] == pytest.approx(sum(step["lab_s"] for step in line["steps"]))
    assert [s["measurement"] for s in line["steps"]][:3] == ["dark", "cavity", "dead_time"]
    assert line["steps"][-1]["title"] == "last look"
    # 1051 + 201 points of 5 ms and about 6 ms for the commands, 100 s of waiting, one re-lock
    assert line["steps"][1]["lab_s"] == pytest.approx(100.0 + 1252 * 0.011 + 0.3, rel=0.03)
    assert set(line["left_out"]) == {"hom", "phase"}
    assert not out.exists()


@pytest.mark.usefixtures("never_opened")
def test_a_dry_run_of_one_measurement_shows_what_it_needs_first(
    tmp_path: Path, station: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["measure", "rabi", "--station", str(station), "--out", str(tmp_path / "runs")]
    assert run([*asked, "--dry-run", "--json"]) == 0
    line = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert [s["measurement"] for s in line["steps"]] == ["dark", "cavity", "dead_time", "rabi"]
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("never_opened")
def test_a_dry_run_refuses_what_the_run_would_refuse(tmp_path: Path, station: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[cavity]\nstop_V = 70.0\n", encoding="utf-8")
    asked = ["calibrate", "--station", str(station), "--recipe", str(recipe), "--dry-run"]
    assert run([*asked, "--out", str(tmp_path / "runs")]) == 21


def test_a_slow_piezo_takes_longer(station: Path) -> None:
    data = tomllib.loads(station.read_text())
    data["roles"]["etalon_piezo"]["slew_V_per_s"] = 10.0
    slow = Station(StationFile.model_validate(data), "station.toml")
    (usual,) = expected_steps(loaded(station), MEASUREMENTS, Recipe(), ["etalon"])
    (longer,) = expected_steps(slow, MEASUREMENTS, Recipe(), ["etalon"])
    # two scans over 138 V, up and back
    assert longer.lab_s - usual.lab_s == pytest.approx(4 * 138.0 * (1 / 10.0 - 1 / 1000.0))
