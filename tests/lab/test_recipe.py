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
