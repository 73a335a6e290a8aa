"""`qdchar fit` on data that hold nothing: no small uncertainty, and exit code 11."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qdchar.cli import run as qdchar
from qdchar.errors import InconclusiveError
from qdchar.raw_data import About, ScanWriter
from qdchar.roles import Counts

NAMES = ("rabi", "saturation", "cavity", "lifetime", "reflectivity", "etalon")
OPTIONS = {"etalon": ["--kappa", "5.4e9", "0.05e9", "--fsr", "100e9", "0.2e9"]}


def _write(name: str, file: Path, rng: np.random.Generator, mean: float) -> None:
    """Counts that do not depend on anything."""
    counts = rng.poisson(mean, (400, 2)).tolist()
    if name in ("lifetime", "reflectivity"):
        axis = "time_ns" if name == "lifetime" else "wavelength_nm"
        rows = [f"{900 + 0.01 * k:.3f} {a}" for k, (a, _) in enumerate(counts)]
        file.write_text("\n".join([f"{axis} counts", *rows]) + "\n", encoding="utf-8")
        return
    x_name = "power_W" if name in ("rabi", "saturation") else "voltage_V"
    top = 1e-7 if x_name == "power_W" else 60.0
    with ScanWriter(file, x_name, About(name)) as scan:
        for x, (a, b) in zip(np.linspace(0.01, 1.0, 400) * top, counts, strict=True):
            scan.add(float(x), Counts((a, b), 0.01))


@pytest.mark.parametrize("mean", [0.0, 30.0, 30_000.0])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_inconclusive(
    name: str, mean: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"{name}.csv"
    _write(name, file, np.random.default_rng(1), mean)
    code = qdchar(["fit", name, str(file), *OPTIONS.get(name, []), "--json"])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == line["exit_code"] == InconclusiveError.exit_code, line
    assert line.get("error") or line["problems"]


def test_what_is_given_is_in_the_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """P = 1.1 times the reading, known to 2 %: the pi power follows both."""
    file = tmp_path / "rabi.csv"
    rng = np.random.default_rng(2)
    readings = np.linspace(0.5e-9, 60e-9, 120)
    with ScanWriter(file, "power_W", About("rabi")) as scan:
        for reading in readings:
            mean = 4e4 * np.sin(0.5 * np.pi * np.sqrt(reading / 20e-9)) ** 2 + 10.0
            a, b = rng.poisson(mean, 2).tolist()
            scan.add(float(reading), Counts((a, b), 0.05))
    found = {}
    for gain, u in ((1.0, 0.0), (1.1, 0.022)):
        code = qdchar(["fit", "rabi", str(file), "--gain", str(gain), str(u), "--json"])
        out = capsys.readouterr().out
        assert code == 0, out
        found[u] = json.loads(out.splitlines()[-1])["quantities"]["pi_power"]
        assert "pi-pulse power = " in out
        assert "nW" in out
    plain, scaled = found[0.0], found[0.022]
    assert plain["value"] == pytest.approx(20e-9, rel=0.02)
    assert scaled["value"] == pytest.approx(1.1 * plain["value"], rel=1e-9)
    # 0.022/1.1 = 2 % of the value joins the scaled uncertainty in quadrature
    expected = np.hypot(1.1 * plain["u"], 0.02 * scaled["value"])
    assert scaled["u"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("verb", "option"), [("rabi", "--gain"), ("saturation", "--gain"), ("etalon", "--fsr")]
)
@pytest.mark.parametrize("numbers", [("nan", "0"), ("1", "-0.1"), ("1", "inf")])
def test_an_impossible_number_names_its_option(
    verb: str,
    option: str,
    numbers: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "any.csv"
    file.write_text("power_W,counts\n1e-9,3\n")
    assert qdchar(["fit", verb, str(file), option, *numbers]) == 2
    assert option in capsys.readouterr().err


def test_help_of_every_analysis_is_light() -> None:
    """The group imports no analysis, and an analysis nothing heavy before it has a file."""
    code = (
        "import sys; from qdchar.cli import run;"
        "run(['fit', '--help']); run(['fit', 'rabi', '--help']);"
        "print([m for m in ('lmfit', 'numba', 'matplotlib', 'pandas', 'scipy', 'h5py', 'numpy')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.splitlines()[-1] == "[]"


_NUMBERS = {
    "hbt": ("--delay", "--period", "--window", "--range"),
    "hbt-cw": ("--delay", "--bin", "--range"),
    "lifetime": ("--period", "--response-u"),
    "rabi": ("--clock", "--lost-pulses", "--noise", "--dark"),
    "cavity": ("--wavelength",),
    "reflectivity": ("--wavelength", "--at-pixel"),
}


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400", "-1e300", "one"])
@pytest.mark.parametrize(("name", "option"), [(n, o) for n in _NUMBERS for o in _NUMBERS[n]])
def test_a_number_that_cannot_be_is_refused_before_a_file_is_read(
    name: str, option: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if (option, number) == ("--at-pixel", "-1e300"):
        pytest.skip("a pixel may be far away")
    assert qdchar(["fit", name, "missing.csv", option, number]) == 2
    assert option in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "1e-308", "2.0", "1e15"])
@pytest.mark.parametrize(
    ("name", "option"), [("hbt", "--period"), ("hbt", "--range"), ("hbt-cw", "--bin")]
)
def test_a_time_that_picoseconds_cannot_count_is_refused(
    name: str, option: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qdchar(["fit", name, "missing.h5", option, number]) == 2
    assert option in capsys.readouterr().err
