"""A run's page, its record and the key-rate verb say the same."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qdchar.cli.keyrate import keyrate
from qdchar.cli.report import report
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.lab.outcome import keep_outcome, load_outcome, predict_and_judge
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run, Step
from qdchar.link import Link
from qdchar.record import SourceRecord, make_record

RECIPE = Recipe(min_rate_per_pulse=1e-4)
LINK = Link(block_kind="asymptotic")  # two comparators, so that the tests are quick


def estimate(name: str, value: float, u: float) -> Estimate:
    return Estimate(name=name, value=value, method="measured", budget=(Contribution(name, u),))


def make_run(parent: Path, misalignment: float) -> Path:
    """Run folder of a finished calibration of a source of its own."""
    record = make_record(
        [
            estimate("mean_photon_number", 0.31, 0.004),
            estimate("g2_zero", 0.0065, 0.0002),
            estimate("clock_rate", 80e6, 1.0),
            estimate("misalignment", misalignment, 1e-3),
        ],
        qdchar_version="0",
        source="QD7",
        station="lab",
        simulated=True,
        valid_for=timedelta(hours=1),
        tuning={},
    )
    with Run.create(parent, "QD7", "calibrate") as run:
        run.keep_step(Step("misalignment", "Misalignment", Result((), (), ()), ()))
        run.keep_text("recipe.json", RECIPE.model_dump_json())
        run.keep_text("link.json", LINK.model_dump_json())
        run.keep_json("snapshot_after.json", {})
        record.write(run.folder / "record.json")
        keep_outcome(run, *predict_and_judge(record, LINK, RECIPE))
    return run.folder


def rate_of_verb(folder: Path) -> tuple[float, float]:
    arguments = [str(folder / "record.json"), "--block-kind", "asymptotic", "--json"]
    done = CliRunner().invoke(keyrate, arguments)
    assert done.exit_code == 0, done.output
    (point,) = json.loads(done.stdout.splitlines()[-1])["points"]
    return point["rate_per_pulse"], point["rate_per_pulse_u"]


def line_of_report(folder: Path) -> dict[str, Any]:
    done = CliRunner().invoke(report, [str(folder), "--json"], standalone_mode=False)
    assert done.exception is None, done.output
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


@pytest.mark.parametrize(("misalignment", "verdict"), [(0.016, "GO"), (0.09, "NO-GO")])
def test_page_and_verb_predict_with_the_measured_misalignment(
    tmp_path: Path, misalignment: float, verdict: str
) -> None:
    folder = make_run(tmp_path, misalignment)
    rate, u = rate_of_verb(folder)
    line = line_of_report(folder)
    assert line["rate_per_pulse"] == pytest.approx(rate, rel=1e-12)
    assert line["rate_per_pulse_u"] == pytest.approx(u, rel=1e-12)
    assert line["verdict"] == verdict
    page = (folder / "report.html").read_text()
    assert f"<strong>{verdict}</strong>" in page
    shown = re.search(r"([\d.]+)\(\d+\)(e-?\d+)?</b> bit per pulse", page)
    assert shown is not None
    assert float(shown[1] + (shown[2] or "")) == pytest.approx(rate, abs=u)


def test_the_rate_falls_by_two_orders_with_the_measured_misalignment(tmp_path: Path) -> None:
    good, bad = (line_of_report(make_run(tmp_path, m)) for m in (0.0254, 0.09))
    # of each sifted bit 1 - h(E) - f h(E) is left: 63 % at an error of 2.54 %, 6 % at 9 %, before
    # multi-photon pulses take the larger part of it
    assert bad["rate_per_pulse"] < 0.02 * good["rate_per_pulse"]


def test_the_run_s_own_rate_and_verdict_are_shown(tmp_path: Path) -> None:
    """Not predicted again: another version's prediction may differ, the run's does not."""
    folder = make_run(tmp_path, 0.02)
    own = json.loads((folder / "keyrate.json").read_text())
    outcome = load_outcome(folder)
    assert outcome.changed == ()
    assert json.loads(json.dumps(outcome.rate.as_document())) == own
    assert outcome.verdict.decision == "GO"
    assert str(outcome.verdict) in (folder / "run.jsonl").read_text()


def edit_record(folder: Path, misalignment: float) -> SourceRecord:
    file = folder / "record.json"
    record = SourceRecord.model_validate_json(file.read_text())
    figures = dict(record.quantities)
    figures["misalignment"] = figures["misalignment"].model_copy(update={"value": misalignment})
    changed = record.model_copy(update={"quantities": figures})
    changed.write(file)
    return changed


def test_an_edited_record_is_predicted_again_and_the_page_says_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 0.02)
    edit_record(folder, 0.09)
    line = line_of_report(folder)
    assert line["verdict"] == "NO-GO"
    assert line["rate_per_pulse"] == pytest.approx(rate_of_verb(folder)[0], rel=1e-12)
    assert "record.json changed after the calibration" in (folder / "report.html").read_text()


def test_a_run_of_an_earlier_version_has_no_verdict_of_its_own(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 0.09)
    (folder / "verdict.json").unlink()
    (folder / "keyrate.json").unlink()
    assert line_of_report(folder)["verdict"] == "NO-GO"
    assert "changed after" not in (folder / "report.html").read_text()
