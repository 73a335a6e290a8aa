"""The pages: every file that they name is there, and their complete examples run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qdchar.cli import run
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.lab.measurements.registry import MEASUREMENTS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = {f.name for f in ROOT.iterdir() if f.is_dir()}


@pytest.mark.parametrize("page", PAGES, ids=lambda f: str(f.relative_to(ROOT)))
def test_every_path_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [p for p in re.findall(r"`([\w./-]+/[\w./-]*)`", text) if p.split("/")[0] in FOLDERS]
    linked = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    missing = [p for p in named if not (ROOT / p).exists()]
    linked = [
        p for p in linked if not p.startswith("generated/")
    ]  # tests/test_handbook.py has those
    missing += [p for p in linked if not (page.parent / p).exists()]
    assert not missing


def test_the_table_of_words_has_each_measurement() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    protocols = {f.stem for f in (ROOT / "protocols").glob("[a-z]*.py")} - {"pump"}
    assert [p for p in protocols if not re.search(rf"(protocols|analysis)/{p}\b", page)] == []


def _blocks(page: str, language: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def test_the_listing_is_that_of_the_declaration() -> None:
    page = (ROOT / "docs" / "add-a-measurement.md").read_text(encoding="utf-8")
    listed = re.findall(r"^ (\S+\.py) +\|", page, re.M)
    assert sum(f"{MEASUREMENTS['stability'].name}.py" in f for f in listed) == 5
    edited = [f for f in listed if "stability" not in f]
    assert len(edited) == 3  # what a built-in measurement costs at most, beside its own files
    assert all((ROOT / f).is_file() for f in listed)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a lab, with the station file of a simulated one that has ended."""
    with serve(Truth(), 1) as served:
        text = station_toml(served)
    (tmp_path / "station.toml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _check(lab: Path, text: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run the check of a station whose simulated instruments no longer answer."""
    (lab / "station.toml").write_text(text, encoding="utf-8")
    run(["check", "--station", "station.toml", "--json"])
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


def test_the_measurement_of_the_page_is_known(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tests/lab/test_own_measurement.py` measures with the same files."""
    (station,) = _blocks("add-a-measurement.md", "toml")
    (code,) = _blocks("add-a-measurement.md", "python")
    (lab / "my_cryostat.py").write_text(code, encoding="utf-8")
    (lab / "my_thermometer.py").write_text(
        "from qdchar.roles import Identity\n"
        "class Thermometer:\n"
        "    def __init__(self, address, offset_K): ...\n"
        "    def open(self): ...\n"
        "    def close(self): ...\n"
        "    def identify(self): return Identity('', '', '', '', '', False)\n"
        "    def snapshot(self): return {}\n",
        encoding="utf-8",
    )
    line = _check(lab, (lab / "station.toml").read_text() + station, capsys)
    assert line["measurements"]["cryostat"] == {"possible": True, "missing": []}


def test_the_driver_of_the_page_fits_its_role(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (station,) = _blocks("add-a-driver.md", "toml")
    (code,) = _blocks("add-a-driver.md", "python")
    (lab / "our_meter.py").write_text(code, encoding="utf-8")
    text = re.sub(
        r"^\[roles\.pump_power\].*?(?=^\[)",
        station + "\n",
        (lab / "station.toml").read_text(),
        flags=re.M | re.S,
    )
    line = _check(lab, text, capsys)
    meter = line["instruments"]["pump_power"]
    assert meter["state"] == {"power_W": 1.25e-8, "wavelength_m": 884.5e-9}
    assert line["measurements"]["rabi"]["possible"]
