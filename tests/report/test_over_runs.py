"""History and comparison of runs: pages, tables, JSON, and runs that are broken."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qdchar.cli import run as qdchar
from qdchar.estimate import Contribution, Estimate
from qdchar.record import make_record

STATION = """
name = "lab"
source = "QD <7>"
wavelength_m = 884.5e-9
nominal_clock_Hz = 80e6
[calibrations.detector_efficiency]
value = {value}
u = 0.02
unit = "1"
[roles]
"""
CERTIFICATE = "calibration detector_efficiency"


def write_run(parent: Path, day: int, efficiency: float, certificate: float = 0.7) -> Path:
    """Certified to 2 %, counted to 0.1 %; the lifetime is steady."""
    budget = (Contribution(CERTIFICATE, -0.014, "B"), Contribution("counting", 0.0007))
    found = [
        Estimate(name="collection_efficiency", value=efficiency, method="", budget=budget),
        Estimate(name="lifetime", value=76e-12, method="", budget=(Contribution("c", 1e-12),)),
    ]
    record = make_record(
        found,
        qdchar_version="0",
        source="QD <7>",
        station="lab",
        simulated=True,
        valid_for=timedelta(hours=24),
        tuning={},
    ).model_copy(update={"created": datetime(2026, 3, day, 12, tzinfo=UTC)})
    record = record.model_copy(update={"valid_until": record.created + timedelta(hours=24)})
    folder = parent / f"run_{day:02d}"
    folder.mkdir()
    record.write(folder / "record.json")
    (folder / "station.toml").write_text(STATION.format(value=certificate), encoding="utf-8")
    return folder


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, dict[str, Any]]:
    assert qdchar([*words, "--json"]) == 0
    out = capsys.readouterr().out
    line: dict[str, Any] = json.loads(out.splitlines()[-1])
    return out, line


def test_a_source_that_fades_is_flagged_and_a_broken_run_hides_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(1, 7):
        write_run(tmp_path, day, 0.70 - 0.001 * day)
    (tmp_path / "run_03" / "record.json").write_text("{")
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "run.jsonl").write_text("")
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "measure.json").write_text("{}")
    page = tmp_path / "history.html"
    names = ("--quantity", "collection_efficiency", "--quantity", "lifetime")
    out, line = asked(capsys, "history", str(tmp_path), "--page", str(page), *names)
    assert len(line["runs"]) == 5
    assert ["run_03" in s or "killed" in s for s in line["skipped"]] == [True, True]
    trend = line["trends"]["collection_efficiency"]
    assert trend["drift"] == pytest.approx(-0.001, rel=1e-6)  # per day
    # 5 points with 0.0007 each on days 1, 2, 4, 5, 6: the squares of the distances add up to 17.2
    assert trend["drift_u"] == pytest.approx(0.0007 / 17.2**0.5, rel=1e-6)
    assert "drift" in trend["flags"]
    assert line["trends"]["lifetime"]["flags"] == []
    assert "FLAGGED: " in out
    html = page.read_text(encoding="utf-8")
    assert "SIMULATED LAB" in html
    assert "run_03" in html
    assert "QD &lt;7&gt;" in html
    assert "<7>" not in html
    assert "http" not in html.replace("http://www.w3.org", "")


def test_a_shared_certificate_cancels_until_it_is_renewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = write_run(tmp_path, 1, 0.700), write_run(tmp_path, 2, 0.707)
    table, page = tmp_path / "changes.csv", tmp_path / "changes.html"
    files = ("--csv", str(table), "--page", str(page))
    out, line = asked(capsys, "compare", str(a), str(b), "--accept", *files)
    change = line["quantities"]["collection_efficiency"]
    assert change["u"] == pytest.approx(0.0007 * 2**0.5, rel=1e-9)  # 7.1 u
    assert change["p"] < 1e-10
    assert line["renewed_certificates"] == []
    assert "CHANGED" in out
    assert "CHANGED" in page.read_text(encoding="utf-8")
    with table.open(encoding="utf-8", newline="") as stream:
        rows = {row["quantity"]: row for row in csv.DictReader(stream)}
    assert float(rows["collection_efficiency"]["difference"]) == pytest.approx(0.007)
    assert float(rows["lifetime"]["p"]) == 1.0
    c = write_run(tmp_path, 3, 0.707, certificate=0.693)
    out, line = asked(capsys, "compare", str(a), str(c), "--accept")
    assert line["renewed_certificates"] == ["detector_efficiency"]
    change = line["quantities"]["collection_efficiency"]
    assert change["u"] == pytest.approx((2 * 0.014**2 + 2 * 0.0007**2) ** 0.5, rel=1e-9)
    assert "CHANGED" not in out
    assert "detector_efficiency" in out
