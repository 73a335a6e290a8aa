"""The main job from the command line to the number on the page, on a source of its own.

The truth is asked of the simulated lab by this test alone; the calibration sees sockets.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qdchar.cli import run as qdchar
from qdchar.lab import expected, preflight
from qdchar.lab.loaded_run import load_run
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import read_steps
from qdchar.lab.station import load_station
from qdchar.raw_data import read_scan
from qdchar.record import load_record

SETTINGS = (
    "source.lifetime=65e-12",
    "source.g2=0.04",
    "source.collection_efficiency=0.5",
    "source.pi_power=17e-9",
    "cavity.resonance_V=24.3",
    "modulator.misalignment=0.06",
)
REQUIRED = (
    "collection_efficiency",
    "mean_photon_number",
    "g2_zero",
    "g2_zero_source",
    "lifetime",
    "linewidth",
    "pi_power",
    "transmitter_efficiency",
    "misalignment",
    "detector_efficiency_measured",
    "visibility",
    "indistinguishability",
)


def _qdchar(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qdchar", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


@dataclass(frozen=True)
class Outcome:
    """One calibration, with what was true."""

    done: subprocess.CompletedProcess[str]
    line: dict[str, Any]
    truth: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    out = tmp_path_factory.mktemp("runs")
    given = [word for s in SETTINGS for word in ("--set", s)]
    truth = _last_line(_qdchar("twin", "--truth", "--json", *given))["quantities"]
    done = _qdchar("calibrate", "--json", "--seed", "4", "--out", str(out), *given)
    assert done.returncode == 0, done.stderr
    line = _last_line(done)
    return Outcome(done, line, truth, Path(line["record"]).parent)


@pytest.mark.parametrize("name", REQUIRED)
def test_the_truth_lies_within_four_u(outcome: Outcome, name: str) -> None:
    figure = outcome.line["quantities"][name]
    # 4 u: a dozen figures of one seed; a miss by chance has odds of 1 in 1300
    assert abs(figure["value"] - outcome.truth[name]["value"]) < 4 * figure["u"]
    assert figure["u"] < 0.1 * figure["value"]


def test_the_json_line_holds_what_a_key_exchange_needs(outcome: Outcome) -> None:
    line = outcome.line
    assert line["verdict"] == "GO"
    assert line["exit_code"] == 0
    assert 0 < line["rate_per_pulse_u"] < 0.2 * line["rate_per_pulse"]
    # the time tagger's clock is certified to 1e-6
    assert line["rate_bps"] == pytest.approx(line["rate_per_pulse"] * 76.13e6, rel=5e-6)
    assert "wcp-ideal" in line["advantage_dB"]
    assert Path(line["report"]).exists()


def test_the_lab_time_is_the_expected_one(outcome: Outcome) -> None:
    station, recipe = load_station(outcome.folder / "station.toml"), Recipe()
    names = preflight.plan_calibration(station, MEASUREMENTS, recipe).measurements
    steps = expected.expected_steps(station, MEASUREMENTS, recipe, names)
    expected_s = sum(s.lab_s for s in steps) + expected.last_look(recipe).lab_s
    assert outcome.line["lab_s"] == pytest.approx(expected_s, rel=0.2)
    assert f"lab time: {outcome.line['lab_s']:.1f} s" in outcome.done.stdout
    assert f"step {len(steps) + 1} of {len(steps) + 1}: last look ... 2 s" in outcome.done.stderr


def test_the_log_of_the_run_holds_what_was_said_and_when(outcome: Outcome) -> None:
    log = (outcome.folder / "run.log").read_text(encoding="utf-8")
    assert "last look: done in" in log
    assert "rabi: settings" in log
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", log)


def test_table_1_is_printed_beside_the_paper(outcome: Outcome) -> None:
    text = outcome.done.stdout
    assert "SIMULATED LAB" in text
    for word in ("75.8 ps", "2.73 GHz", "0.712(18)", "6.98(64)e-3", "measured", "given", "GO"):
        assert word in text
    lines = text[text.index("Table 1") : text.index("key rate at")].splitlines()
    assert max(map(len, lines)) <= 80


def test_the_run_folder_is_complete(outcome: Outcome) -> None:
    names = {f.name for f in outcome.folder.iterdir()}
    assert names >= {
        "environment.txt",
        "keyrate.json",
        "link.json",
        "raw",
        "recipe.json",
        "record.json",
        "report.html",
        "results",
        "run.jsonl",
        "snapshot_after.json",
        "snapshot_before.json",
        "station.toml",
    }
    log = [json.loads(x) for x in (outcome.folder / "run.jsonl").read_text().splitlines()]
    assert [log[0]["name"], log[-1]["name"]] == ["start", "stop"]
    assert log[-1]["doc"]["exit_status"] == "success"
    assert {entry["name"] for entry in log} == {"start", "descriptor", "event", "stop"}


def test_the_record_rests_on_hashed_raw_files(outcome: Outcome) -> None:
    record = load_record(outcome.folder)
    assert record.simulated
    assert {f.file for f in record.raw} >= {"raw/rabi.csv", "raw/hbt_after.h5", "raw/dark.csv"}
    for raw in record.raw:
        data = (outcome.folder / raw.file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == raw.sha256
    assert len(read_scan(outcome.folder / "raw" / "rabi.csv")) > 50
    assert record.estimate("mean_photon_number").plane == "transmitter output"
    assert record.tuning["light_path"] == "after"  # a key exchange can begin


def test_every_output_shows_the_same_rate_and_verdict(outcome: Outcome) -> None:
    """To the last digit, on a source that is misaligned more than the link file says."""
    line, runs = outcome.line, str(outcome.folder.parent)
    record = json.loads((outcome.folder / "record.json").read_text())
    rate, u = line["rate_per_pulse"], line["rate_per_pulse_u"]
    made = record["verdict"]
    assert (made["decision"], made["reasons"]) == (line["verdict"], line["reasons"])
    assert (made["rate"]["rate_per_pulse"], made["rate"]["rate_per_pulse_u"]) == (rate, u)
    assert made["rate"]["rate_bps"] == line["rate_bps"]
    assert [d["demanded"] for d in made["demands"]] == line["demands"]
    leads = made["rate"]["comparators"]
    assert {n: c["advantage_dB"] for n, c in leads.items()} == line["advantage_dB"]
    assert record["assumptions"] == line["assumptions"]

    again = _last_line(_qdchar("report", str(outcome.folder), "--json"))
    for key in ("verdict", "reasons", "demands", "rate_per_pulse", "rate_bps", "advantage_dB"):
        assert again[key] == line[key]
    (run,) = _last_line(history := _qdchar("history", runs, "--json"))["runs"]
    assert (run["rate_per_pulse"], run["rate_per_pulse_u"]) == (rate, u)
    assert run["verdict"] == line["verdict"]
    compared = _qdchar("compare", *2 * [str(outcome.folder)], "--json")
    for which in ("first", "second"):
        shown = _last_line(compared)[which]
        assert (shown["verdict"], shown["rate_per_pulse"]) == (line["verdict"], rate)

    # for people: the digits that the uncertainty allows, made here from the JSON line
    exponent = math.floor(math.log10(rate))
    digits = 1 - math.floor(math.log10(u / 10.0**exponent))
    text = (
        f"{rate / 10.0**exponent:.{digits}f}({round(u * 10.0 ** (digits - exponent))})e{exponent}"
    )
    # the page writes the power of ten as such
    page = (outcome.folder / "report.html").read_text()
    superscript = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    page = re.sub(rf"\s*×\s*10{superscript}", f"e{exponent}", page)
    for output in (outcome.done.stdout, page, history.stdout, compared.stdout):
        assert text in output
        assert line["verdict"] in output
    for demand in line["demands"]:
        assert demand in outcome.done.stdout
        assert demand in page


def test_verify_finds_the_run_as_it_was_left(outcome: Outcome) -> None:
    done = _qdchar("verify", str(outcome.folder), "--json")
    assert (done.returncode, _last_line(done)["faults"]) == (0, [])


def test_figures_that_share_a_certificate_are_correlated(outcome: Outcome) -> None:
    record = load_record(outcome.folder)
    names = list(record.quantities)
    i, j = names.index("collection_efficiency"), names.index("mean_photon_number")
    # the certificate's 2.5 % are shared; of each, 0.05 dB and 5 % of polarisation are its own
    of_path = 0.0115**2 + (0.05 / np.sqrt(12)) ** 2 / 2
    assert record.correlation[i][j] == pytest.approx(0.025**2 / (0.025**2 + of_path), abs=0.05)
    assert abs(record.correlation[i][names.index("lifetime")]) < 0.01


def test_the_report_can_be_made_again_from_the_folder(outcome: Outcome) -> None:
    page = outcome.folder / "report.html"
    page.unlink()
    assert _qdchar("report", str(outcome.folder)).returncode == 0
    text = page.read_text()
    assert "SIMULATED LAB" in text
    assert text.count("<img") == 1 + sum(
        len(fit.curves) for step in read_steps(outcome.folder) for fit in step.result.fits
    )


def test_the_key_rate_verb_takes_the_record(outcome: Outcome) -> None:
    done = _qdchar("keyrate", str(outcome.folder / "record.json"), "--json")
    (point,) = _last_line(done)["points"]
    assert point["rate_per_pulse"] == pytest.approx(outcome.line["rate_per_pulse"], rel=1e-9)


@pytest.mark.parametrize(
    ("step", "verb", "name"),
    [
        ("cavity", "cavity", "cavity_fine.csv"),
        ("cavity", "cavity", "cavity_survey.csv"),
        ("rabi", "rabi", "rabi.csv"),
        ("lifetime", "lifetime", "lifetime_emission.h5"),
        ("etalon", "etalon", "etalon_source.csv"),
        ("hbt_before", "hbt", "hbt_before.h5"),
        ("hbt_after", "hbt", "hbt_after.h5"),
    ],
)
def test_a_fit_of_a_raw_file_gives_the_quantities_of_the_run(
    outcome: Outcome, step: str, verb: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qdchar(["fit", verb, str(outcome.folder / "raw" / name), "--json"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])["quantities"]
    of_run = load_run(outcome.folder)[step].quantities
    assert set(again) == set(of_run)
    for quantity, estimate in of_run.items():
        # the same files, inputs and program: only the order of additions may differ
        assert again[quantity]["value"] == pytest.approx(estimate.value, rel=1e-6), quantity
        assert again[quantity]["u"] == pytest.approx(estimate.u, rel=1e-6), quantity


def test_compare_and_history_read_the_folder(outcome: Outcome) -> None:
    folder = str(outcome.folder)
    same = _last_line(_qdchar("compare", folder, folder, "--json"))["quantities"]
    assert all(c["difference"] == 0 for c in same.values())
    series = _last_line(_qdchar("history", str(outcome.folder.parent), "--json"))["quantities"]
    assert len(series["g2_zero"]) == 1


def test_its_own_files_can_be_given_again(outcome: Outcome, tmp_path: Path) -> None:
    files = {name: str(outcome.folder / name) for name in ("station.toml", "recipe.json")}
    given = ["--station", files["station.toml"], "--recipe", files["recipe.json"]]
    link = str(outcome.folder / "link.json")
    planned = _last_line(_qdchar("calibrate", *given, "--link", link, "--dry-run", "--json"))
    assert planned["lab_s"] > 60
    # the same lab, with what was set in it: 9 % of counting noise, and another start of the lab
    done = _qdchar("measure", "dark", *given, "--out", str(tmp_path), "--json")
    measured = _last_line(done)["quantities"]["dark_count_rate"]
    assert abs(measured["value"] - outcome.truth["dark_count_rate"]["value"]) < 4 * measured["u"]
