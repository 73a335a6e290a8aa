"""`qdchar fit` on data that hold nothing: no figure with a small error, and exit code 11."""

from __future__ import annotations

import json
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
