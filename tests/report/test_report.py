"""A run's page, its record and the key-rate verb say the same."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qdchar.cli.keyrate import keyrate
from qdchar.cli.report import report
from qdchar.cli.verify import verify
from qdchar.errors import InconclusiveError, RecordError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.lab.integrity import hashes, run_faults
from qdchar.lab.outcome import conclude, load_outcome
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run, Step
from qdchar.link import Link
from qdchar.record import SourceRecord, load_record, make_record

RECIPE = Recipe(min_rate_per_pulse=1e-4)
RAW = b"power_W,clicks_a\n1e-9,17\n"
LINK = Link(block_kind="asymptotic")  # two comparators, so that the tests are quick


def estimate(name: str, value: float, u: float) -> Estimate:
    return Estimate(name=name, value=value, method="measured", budget=(Contribution(name, u),))


FIGURES = {
    "mean_photon_number": (0.31, 0.004),
    "g2_zero": (0.0065, 0.0002),
    "clock_rate": (80e6, 1.0),
}


def record_of(run: Run, figures: Mapping[str, tuple[float, float]]) -> SourceRecord:
    return make_record(
        [estimate(name, value, u) for name, (value, u) in figures.items()],
        qdchar_version="0",
        source="QD7",
        station="lab",
        simulated=True,
        valid_for=timedelta(hours=1),
        tuning={},
        raw=run.raw_files(),
    )


def make_run(parent: Path, misalignment: float) -> Path:
    """Run folder of a finished calibration of a source of its own."""
    with Run.create(parent, "QD7", "calibrate") as run:
        (run.raw / "rabi.csv").write_bytes(RAW)
        with run.another_attempt("again"):
            (run.raw / "dark.csv").write_bytes(RAW)
        run.keep_step(Step("misalignment", "Misalignment", Result((), (), ()), ()))
        run.keep_text("recipe.json", RECIPE.model_dump_json())
        run.keep_text("link.json", LINK.model_dump_json())
        run.keep_json("snapshot_after.json", {})
        figures = {**FIGURES, "misalignment": (misalignment, 1e-3)}
        conclude(run, record_of(run, figures), LINK, RECIPE)
    return run.folder


def test_a_run_killed_before_its_verdict_is_unfinished(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 0.02)
    (folder / "verdict.json").unlink()
    log = folder / "run.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    line = line_of_report(folder, code=11)
    assert line["verdict"] is None
    assert "UNFINISHED" in (folder / "report.html").read_text()


def rate_of_verb(folder: Path) -> tuple[float, float]:
    arguments = [str(folder / "record.json"), "--block-kind", "asymptotic", "--accept", "--json"]
    done = CliRunner().invoke(keyrate, arguments)
    assert done.exit_code == 0, done.output
    (point,) = json.loads(done.stdout.splitlines()[-1])["points"]
    return point["rate_per_pulse"], point["rate_per_pulse_u"]


def line_of_report(folder: Path, *options: str, code: int = 0) -> dict[str, Any]:
    arguments = [str(folder), "--json", *options]
    done = CliRunner().invoke(report, arguments, standalone_mode=False)
    assert done.exception is None, done.output
    assert done.return_value == code
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


@pytest.mark.parametrize(("misalignment", "verdict"), [(0.016, "GO"), (0.09, "NO-GO")])
def test_page_and_verb_predict_with_the_measured_misalignment(
    tmp_path: Path, misalignment: float, verdict: str
) -> None:
    folder = make_run(tmp_path, misalignment)
    kept = json.loads((folder / "verdict.json").read_text())
    assert (kept["verdict"], kept["exit_code"]) == (verdict, {"GO": 0, "NO-GO": 10}[verdict])
    rate, u = rate_of_verb(folder)
    line = line_of_report(folder)
    assert line["rate_per_pulse"] == pytest.approx(rate, rel=1e-12)
    assert line["rate_per_pulse_u"] == pytest.approx(u, rel=1e-12)
    assert line["verdict"] == verdict
    page = (folder / "report.html").read_text()
    assert f"<strong>{verdict}</strong>" in page
    shown = re.search(
        r"([\d.]+)\(\d+\)(?:\s×\s10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?</b> secret bits per pulse", page
    )
    assert shown is not None
    power = int((shown[2] or "0").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))
    assert float(shown[1]) * 10.0**power == pytest.approx(rate, abs=u)


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
    assert outcome.own
    assert outcome.faults == ()
    assert json.loads(json.dumps(outcome.rate.as_document())) == own
    assert outcome.verdict.decision == "GO"
    assert str(outcome.verdict) in (folder / "run.jsonl").read_text()


def edit_record(folder: Path, misalignment: float) -> None:
    """Edit a value, and give the record the digest of its content."""
    file = folder / "record.json"
    record = load_record(file)
    figures = dict(record.quantities)
    figures["misalignment"] = figures["misalignment"].model_copy(update={"value": misalignment})
    record.model_copy(update={"quantities": figures}).write(file)


def test_an_edited_record_is_no_go_to_anybody(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 0.02)
    edit_record(folder, 0.09)
    line = line_of_report(folder, code=30)
    assert line["verdict"] == "INCONCLUSIVE"
    assert line["faults"] == ["record.json: changed after the calibration"]
    page = (folder / "report.html").read_text()
    assert "record.json: changed after the calibration" in page
    assert "<strong>INCONCLUSIVE</strong>" in page
    # accepted: what the files say as they are, never the verdict of others
    line = line_of_report(folder, "--accept")
    assert line["verdict"] == "NO-GO"
    assert line["rate_per_pulse"] == pytest.approx(rate_of_verb(folder)[0], rel=1e-12)
    assert "computed from the files as they are" in (folder / "report.html").read_text()


def test_a_run_without_its_verdict_file_is_not_complete(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 0.09)
    (folder / "verdict.json").unlink()
    line = line_of_report(folder, code=30)
    assert line["verdict"] == "INCONCLUSIVE"
    assert "verdict.json" in (folder / "report.html").read_text()


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("raw changed", lambda f: (f / "raw/rabi.csv").write_bytes(RAW[:-2] + b"8\n"), "raw/rabi.csv"),
    ("raw missing", lambda f: (f / "raw/rabi.csv").unlink(), "raw/rabi.csv"),
    ("raw added", lambda f: (f / "raw/new.csv").write_bytes(RAW), "raw/new.csv"),
    (
        "raw in a folder",
        lambda f: (f / "raw/again/dark.csv").write_bytes(b""),
        "raw/again/dark.csv",
    ),
    ("link", lambda f: edit_json(f / "link.json", "block", 1e9), "link.json"),
    ("recipe", lambda f: edit_json(f / "recipe.json", "min_rate_per_pulse", 0.0), "recipe.json"),
    ("recipe gone", lambda f: (f / "recipe.json").unlink(), "recipe.json"),
    ("rate", lambda f: edit_json(f / "keyrate.json", "rate_per_pulse", 0.1), "keyrate.json"),
    ("rate gone", lambda f: (f / "keyrate.json").unlink(), "keyrate.json"),
    ("verdict gone", lambda f: (f / "verdict.json").unlink(), "verdict.json"),
    ("verdict broken", lambda f: (f / "verdict.json").write_text("[]"), "verdict.json"),
    ("source", lambda f: edit_json(f / "record.json", "source", "QD8"), "digest"),
    ("record gone", lambda f: (f / "record.json").unlink(), "record.json"),
    ("record broken", lambda f: (f / "record.json").write_text("{"), "record.json"),
]


def edit_json(file: Path, key: str, value: object) -> None:
    data = json.loads(file.read_text())
    assert data[key] != value
    file.write_text(json.dumps({**data, key: value}))


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("healthy"), 0.02)


@pytest.mark.parametrize(("break_it", "field"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_verify_names_what_is_not_as_it_was_left(
    healthy: Path, tmp_path: Path, break_it: Callable[[Path], object], field: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(healthy, folder)
    break_it(folder)
    done = CliRunner().invoke(verify, [str(folder), "--json"], standalone_mode=False)
    assert done.exception is None, done.output
    assert done.return_value == 30
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["exit_code"] == 30
    assert field in [fault["field"] for fault in line["faults"]]
    assert f"FAULT {field}: " in done.stdout


def test_a_rate_that_was_exchanged_with_its_hash_is_not_the_record_s(
    healthy: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(healthy, folder)
    edit_json(folder / "keyrate.json", "rate_per_pulse", 0.1)
    edit_json(folder / "verdict.json", "sha256", hashes(folder))
    (fault,) = run_faults(folder, load_record(folder, accept=True))
    assert fault.field == "keyrate.json"
    assert "not the same prediction" in fault.reason


def test_verify_finds_nothing_at_a_run_as_it_was_left(healthy: Path, tmp_path: Path) -> None:
    for path in (healthy, healthy / "record.json"):
        done = CliRunner().invoke(verify, [str(path), "--json"], standalone_mode=False)
        assert done.return_value == 0
        line = json.loads(done.stdout.splitlines()[-1])
        assert (line["faults"], line["raw_files"], line["verdict"]) == ([], 2, "GO")
    alone = shutil.copy(healthy / "record.json", tmp_path)
    done = CliRunner().invoke(verify, [str(alone), "--json"], standalone_mode=False)
    assert json.loads(done.stdout.splitlines()[-1])["raw_files"] is None
    done = CliRunner().invoke(verify, [str(tmp_path / "nowhere")], standalone_mode=False)
    assert isinstance(done.exception, RecordError)


def test_the_page_says_that_a_raw_file_changed(healthy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(healthy, folder)
    (folder / "raw/rabi.csv").write_bytes(b"")
    line = line_of_report(folder, code=30)
    assert line["verdict"] == "INCONCLUSIVE"
    own = json.loads((folder / "keyrate.json").read_text())["rate_per_pulse"]
    assert line["rate_per_pulse"] == own
    assert "raw/rabi.csv: changed" in (folder / "report.html").read_text()
    assert line_of_report(folder, "--accept")["verdict"] == "GO"


def test_a_record_without_a_key_rate_is_inconclusive(tmp_path: Path) -> None:
    """A negative g2 gives no key rate: the record is written, and says so."""
    figures = {**FIGURES, "g2_zero": (-2e-4, 2e-4)}
    with pytest.raises(InconclusiveError), Run.create(tmp_path, "QD7", "calibrate") as run:
        conclude(run, record_of(run, figures), LINK, RECIPE)
    record = load_record(run.folder, accept=True)
    assert record.verdict is not None
    assert (record.verdict.decision, record.verdict.rate) == ("INCONCLUSIVE", None)
    assert record.faults == ()
    assert "negative g2" in record.verdict.reasons[0]
