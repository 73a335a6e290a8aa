"""The first files of a lab: they run as they are, and nothing is overwritten."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from qdchar.cli import run
from qdchar.documented import key_texts
from qdchar.lab.first_files import recipe_text, toml_value
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import SHIPPED, Recipe, load_recipe
from qdchar.lab.simulated_station import ROLE_WORDS
from qdchar.lab.station import load_station
from qdchar.lab.station_file import (
    Certificate,
    InstrumentTable,
    RoleTable,
    SimulatedLabTable,
    StationFile,
)
from qdchar.link import Link, load_link
from qdchar.quantities import is_known
from qdchar.roles import ROLES


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first") / "lab"
    assert run(["init", str(folder)]) == 0
    return folder


def complete(recipe: str | Path) -> dict[str, Any]:
    return load_recipe(recipe, MEASUREMENTS).complete(MEASUREMENTS).model_dump()


def test_recipe_and_link_say_what_holds_without_them(lab: Path) -> None:
    assert complete(lab / "recipe.toml") == complete("quick")
    assert load_link(lab / "link.toml") == Link()


def test_each_key_that_is_commented_out_may_be_given(lab: Path) -> None:
    """Without the "#", the files still hold, and say the same as without the keys."""
    for name in ("recipe.toml", "link.toml"):
        shown = [
            line.removeprefix("# ")
            for line in (lab / name).read_text().splitlines()
            if not line.startswith("# ")
            or (" = " in line and line.removeprefix("# ").split(" = ")[0].isidentifier())
        ]
        full = lab / f"full_{name}"
        full.write_text("\n".join(shown))
        if name == "recipe.toml":
            assert len(tomllib.loads(full.read_text())["rabi"]) == 6
            assert complete(full) == complete("quick")
        else:
            assert set(tomllib.loads(full.read_text())) == set(Link.model_fields) - {"security"}
            assert load_link(full) == Link()


def test_every_instrument_is_simulated_and_every_table_has_its_comment(lab: Path) -> None:
    lines = (lab / "station.toml").read_text().splitlines()
    for k, line in enumerate(lines):
        if line.startswith(("[calibrations.", "[roles.")) and line != "[roles.modulator.states]":
            assert lines[k - 1].startswith("# "), line
        if line.startswith("address"):
            assert line.startswith('address = "simulated:')
    assert set(ROLE_WORDS) == set(ROLES)


def test_nothing_is_overwritten(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (lab / "link.toml").read_bytes()
    assert run(["init", str(lab)]) == 2
    assert "link.toml exists already, and is not overwritten" in capsys.readouterr().err
    assert (lab / "link.toml").read_bytes() == before


def test_the_files_run_as_they_are(
    lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The simulated lab starts and ends with the command; a calibration is in the notebook."""
    given = ["--station", str(lab / "station.toml"), "--recipe", str(lab / "recipe.toml")]
    link = ["--link", str(lab / "link.toml")]
    assert run(["calibrate", *given, *link, "--dry-run", "--json"]) == 0
    assert 20 < json.loads(capsys.readouterr().out.splitlines()[-1])["lab_s"] < 40
    assert run(["measure", "dark", *given, "--out", str(tmp_path), "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    # 43 Hz, the lab's default, in one second
    assert 43 - 4 * 43**0.5 < line["quantities"]["dark_count_rate"]["value"] < 43 + 4 * 43**0.5


def test_a_station_without_the_table_is_refused(lab: Path, tmp_path: Path) -> None:
    text = (lab / "station.toml").read_text()
    file = tmp_path / "station.toml"
    file.write_text(text.replace("[simulated_lab]\nseed = 1\nsettings = []\n", ""))
    with pytest.raises(Exception, match=r"roles.tagger.*add the table \[simulated_lab\]"):
        load_station(file)


@pytest.mark.parametrize(
    "kind",
    [
        *(Recipe, Link, StationFile, Certificate, SimulatedLabTable, InstrumentTable, RoleTable),
        *dict.fromkeys(m.settings for m in MEASUREMENTS.values()),
    ],
)
def test_every_key_has_a_text(kind: type) -> None:
    texts = key_texts(kind)
    fields = kind.model_fields  # type: ignore[attr-defined]
    assert [k for k in fields if not texts.get(k) and not is_known(k)] == []


def test_toml_values() -> None:
    value = {"a": [0.25, 'x"y'], "b": True, "c": {}}
    assert tomllib.loads(f"k = {toml_value(value)}") == {"k": value}


def test_shipped_recipes_are_all_written(tmp_path: Path) -> None:
    for name in SHIPPED:
        file = tmp_path / f"{name}.toml"
        file.write_text(recipe_text(name))
        assert complete(file) == complete(name)
