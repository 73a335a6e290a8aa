"""The table of many records, as a spreadsheet would read it."""

from __future__ import annotations

import csv
from datetime import timedelta
from pathlib import Path

import pytest

from qdchar.cli import run
from qdchar.estimate import Contribution, Estimate
from qdchar.record import load_record, make_record
from qdchar.verdict import PredictedRate, Verdict


def _write_run(folder: Path, name: str, lifetime_ps: float, problems: tuple[str, ...] = ()) -> str:
    estimates = [
        Estimate(
            name="lifetime",
            value=lifetime_ps * 1e-12,
            method="reconvolution",
            budget=(Contribution("counting", 2e-12),),
        ),
        Estimate(
            name="g2_zero",
            value=0.02,
            method="live gating",
            plane="transmitter output",
            budget=(Contribution("pairs", 0.003), Contribution("dark counts", 0.004, "B")),
            interval_68=(0.016, 0.026),
            interval_95=(0.011, 0.031),
        ),
    ]
    record = make_record(
        estimates,
        qdchar_version="0",
        source="QD7",
        station="lab",
        simulated=False,
        valid_for=timedelta(hours=24),
        tuning={},
        problems=problems,
    )
    (folder / name).mkdir()
    record.write(folder / name / "record.json")
    return record.created.isoformat(sep=" ")


def _history(folder: Path, *options: str) -> list[dict[str, str]]:
    table = folder / "history.csv"
    assert run(["history", str(folder), "--csv", str(table), *options]) == 0
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_one_row_per_run_and_quantity_oldest_first(tmp_path: Path) -> None:
    # names against the order of time, which is what counts
    first = _write_run(tmp_path, "z", 61.0)
    second = _write_run(tmp_path, "a", 64.0, ("laser unstable", "stale certificate, 2026-03"))
    rows = _history(tmp_path)
    assert [(r["created"], r["quantity"]) for r in rows] == [
        (first, "lifetime"),
        (first, "g2_zero"),
        (second, "lifetime"),
        (second, "g2_zero"),
    ]
    assert [float(r["value"]) for r in rows] == [61e-12, 0.02, 64e-12, 0.02]
    # 3, 4, 5: the two lines of the budget add in quadrature
    assert [float(r["u"]) for r in rows] == pytest.approx(
        [2e-12, 0.005, 2e-12, 0.005], rel=1e-9, abs=0.0
    )
    assert [r["unit"] for r in rows] == ["s", "1", "s", "1"]
    assert [r["plane"] for r in rows[:2]] == ["", "transmitter output"]
    ends = ("low_68", "high_68", "low_95", "high_95")
    assert [rows[0][end] for end in ends] == ["", "", "", ""]
    assert [float(rows[1][end]) for end in ends] == [0.016, 0.026, 0.011, 0.031]
    assert [r["problems"] for r in rows[::2]] == ["", "laser unstable; stale certificate, 2026-03"]


def test_verdict_and_rate_of_the_record_are_in_each_row(tmp_path: Path) -> None:
    _write_run(tmp_path, "a", 61.0)
    file = tmp_path / "a" / "record.json"
    rate = PredictedRate(
        loss_dB=14.6,
        protocol="efficient-bb84",
        accounting="alice",
        block=1e8,
        block_kind="received",
        rate_per_pulse=1.3e-3,
        rate_per_pulse_u=1.2e-4,
        rate_bps=9.9e4,
        comparators={},
    )
    load_record(file).judged(Verdict("GO", ("enough",), (), rate), ()).write(file)
    for row in _history(tmp_path):
        assert (row["verdict"], row["rate_per_pulse"]) == ("GO", "0.0013")
        assert float(row["rate_per_pulse_u"]) == 1.2e-4


def test_only_the_quantities_that_are_named(tmp_path: Path) -> None:
    _write_run(tmp_path, "a", 61.0)
    assert [r["quantity"] for r in _history(tmp_path, "--quantity", "g2_zero")] == ["g2_zero"]


def test_a_table_that_cannot_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_run(tmp_path, "a", 61.0)
    missing = tmp_path / "nowhere" / "history.csv"
    assert run(["history", str(tmp_path), "--csv", str(missing)]) == 2
    assert f"--csv {missing}: the folder {missing.parent} does not" in capsys.readouterr().err


def test_a_folder_without_records_is_an_error(tmp_path: Path) -> None:
    assert run(["history", str(tmp_path), "--csv", str(tmp_path / "history.csv")]) == 30
    assert not (tmp_path / "history.csv").exists()
