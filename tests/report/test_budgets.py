"""Budgets as tables, on a record in which no number is 0, 1 or a default."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdchar.cli import run as qdchar
from qdchar.estimate import Contribution, Estimate, merge
from qdchar.fit import Result
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run, Step, read_steps
from qdchar.record import SourceRecord, make_record
from qdchar.report.budgets import Budgets

# u of n: 3, 4, 12 and 84 make 85 (in units of 1e-4), by name of the source
N = Estimate(
    name="mean_photon_number",
    value=0.37,
    method="live gating",
    budget=(
        Contribution("photon counting, transmitter_after.h5", 12e-4),
        Contribution("switching to after, transmitter_after.h5", 4e-4, "B"),
        Contribution("calibration detector_efficiency", -84e-4, "B", -0.42),
        Contribution("dark counts, dark.csv", -3e-4),
    ),
)
DARK = Estimate(
    name="dark_count_rate",
    value=130.0,
    method="counted",
    budget=(Contribution("dark counts, dark.csv", 7.0),),
)
# u of 5 GHz/100, in two lines of one fit
WIDTH = Estimate(
    name="linewidth",
    value=2.7e9,
    method="fit",
    budget=(
        Contribution("etalon scan[2]", -0.03e9),
        Contribution("etalon scan[5]", 0.024e9),
        Contribution("etalon scan[5], excess scatter", 0.032e9),
    ),
)
PI = Estimate(
    name="pi_power",
    value=9.6e-9,
    method="fit",
    budget=(Contribution("calibration power_meter_gain", 0.4e-10, "B", 8e-9),),
)
UPPER = Estimate(name="g2_zero_upper", value=0.023, method="upper end")


def record(*estimates: Estimate) -> SourceRecord:
    return make_record(
        estimates or (DARK, WIDTH, N, PI, UPPER),
        qdchar_version="0",
        source="QD7",
        station="lab",
        simulated=False,
        valid_for=timedelta(hours=3),
        tuning={},
    )


def test_each_line_has_share_sensitivity_and_what_is_correlated_through_it() -> None:
    rows = Budgets(record()).table("mean_photon_number").rows
    assert [row.source.split(",")[0] for row in rows] == [
        "calibration detector_efficiency",
        "photon counting",
        "switching to after",
        "dark counts",
    ]
    assert [row.kind for row in rows] == ["B", "A", "B", "A"]
    shares = [(84 / 85) ** 2, (12 / 85) ** 2, (4 / 85) ** 2, (3 / 85) ** 2]
    assert [row.share for row in rows] == pytest.approx(shares)
    assert [row.sensitivity for row in rows] == [-0.42, None, None, None]
    assert [row.correlated_with for row in rows] == [(), (), (), ("dark_count_rate",)]
    (gain,) = Budgets(record()).table("pi_power").rows
    assert (gain.sensitivity, gain.sensitivity_unit) == (8e-9, "W")


def test_lines_too_small_to_matter_are_counted() -> None:
    noisy = replace(
        N,
        budget=tuple(Contribution(f"part {k}", u) for k, u in enumerate((0.9, -0.012, 7e-3, 2e-3))),
    )
    table = Budgets(record(noisy)).table("mean_photon_number")
    assert [row.source for row in table.shown] == ["part 0", "part 1"]
    # (49 + 4)/810193 of the variance
    assert table.hidden_text == "2 lines below 0.01 %, 0.0065 % together"
    assert len(table.as_json()["budget"]) == 4
    assert Budgets(record()).table("mean_photon_number").hidden_text == ""


def test_a_certificate_falls_by_a_calibration_and_counting_by_lab_time() -> None:
    first, second, *_ = Budgets(record()).table("mean_photon_number").reductions
    assert (first.certificate, first.measurement, first.time_factor) == (
        "detector_efficiency",
        "",
        None,
    )
    assert first.u_if_zero == pytest.approx(13e-4)  # 3, 4, 12, 13
    assert first.u_if_halved == pytest.approx((13**2 + 42**2) ** 0.5 * 1e-4)
    # four times the counting halves a contribution
    assert (second.certificate, second.measurement, second.time_factor) == ("", "transmitter", 4.0)
    assert second.u_if_halved == pytest.approx((84**2 + 6**2 + 5**2) ** 0.5 * 1e-4)
    assert second.more_s is None  # nobody knows the settings


def test_lines_of_one_measurement_are_reduced_together_and_scatter_is_not() -> None:
    counted, scatter = sorted(
        Budgets(record()).table("linewidth").reductions, key=lambda way: way.time_factor is None
    )
    assert counted.sources == ("etalon scan[2]", "etalon scan[5]")
    assert counted.measurement == "etalon"
    assert counted.u_if_zero == pytest.approx(0.032e9)
    assert scatter.u_if_zero == pytest.approx((0.03**2 + 0.024**2) ** 0.5 * 1e9)
    assert "more points" in scatter.how


def test_the_recipe_says_what_counting_longer_costs() -> None:
    recipe = Recipe.model_validate({"dark": {"dwell_s": 0.5, "repeats": 15}})
    (way,) = Budgets(record(), recipe).table("dark_count_rate").reductions
    assert (way.measurement, way.time_factor) == ("dark", 4.0)
    assert way.more_s == pytest.approx(3 * 15 * 0.5)
    assert "22.5 s more" in way.how


def test_a_sensitivity_is_carried_along() -> None:
    gain = Contribution("calibration power_meter_gain", 0.01, "B", 1.0)
    assert gain.times(-3.0) == Contribution(gain.source, -0.03, "B", -3.0)
    both = merge([gain.times(5.0), gain.times(-2.0)])
    assert both == (Contribution(gain.source, pytest.approx(0.03), "B", 3.0),)
    unknown = Contribution(gain.source, 0.02, "B")
    assert merge([gain, unknown]) == (Contribution(gain.source, pytest.approx(0.03), "B", None),)


def test_record_and_run_keep_sensitivities_and_read_budgets_without(tmp_path: Path) -> None:
    held = record()
    assert held.estimate("pi_power") == PI
    old = json.loads(held.model_dump_json(by_alias=True))
    for quantity in old["quantities"].values():
        for line in quantity["budget"]:
            del line["sensitivity"]
    assert SourceRecord.model_validate(old).estimate("pi_power").budget[0].sensitivity is None
    with Run.create(tmp_path, "QD7", "measure") as run:
        run.keep_step(Step("rabi", "Rabi scan", Result((PI,), (), ()), ()))
        (file,) = (run.folder / "results").glob("*.json")
        assert read_steps(run.folder)[0].result["pi_power"] == PI
        step = json.loads(file.read_text())
        del step["estimates"][0]["budget"][0]["sensitivity"]
        file.write_text(json.dumps(step))
        assert read_steps(run.folder)[0].result["pi_power"].budget[0].sensitivity is None


def last_line(capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    out = capsys.readouterr().out
    line: dict[str, Any] = json.loads(out.splitlines()[-1])
    return out, line


def test_the_command_prints_table_and_ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "record.json"
    record().write(file)
    assert qdchar(["budget", str(file), "mean_photon_number", "--json"]) == 0
    out, line = last_line(capsys)
    (counted,) = (x for x in out.splitlines() if x.startswith("photon counting"))
    assert counted.split()[-4:] == ["A", "0.0012", "1.99", "%"]
    (dark,) = (x for x in out.splitlines() if x.startswith("dark counts"))
    assert dark.endswith("dark_count_rate")
    assert "by a better calibration of detector_efficiency" in out
    assert "u with half of it: 0.0044, without it: 0.0013" in out
    held = line["quantities"]["mean_photon_number"]
    assert (held["u"], held["unit"]) == (pytest.approx(85e-4), "1")
    assert held["budget"][0]["sensitivity"] == -0.42
    assert held["reductions"][1]["measurement"] == "transmitter"


def test_without_a_quantity_each_has_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.json").write_text(
        Recipe.model_validate({"dark": {"dwell_s": 0.5, "repeats": 15}}).model_dump_json()
    )
    record().write(tmp_path / "record.json")
    assert qdchar(["budget", str(tmp_path), "--json"]) == 0
    out, line = last_line(capsys)
    assert list(line["quantities"]) == [e.name for e in (DARK, WIDTH, N, PI, UPPER)]
    assert line["quantities"]["dark_count_rate"]["reductions"][0]["more_s"] == 22.5
    assert "97.7 %  B  calibration detector_efficiency" in out
    assert any(
        x.startswith("g2_zero_upper") and x.endswith("no uncertainty") for x in out.split("\n")
    )
    assert qdchar(["budget", str(tmp_path), "g2_zero_upper"]) == 0
    assert capsys.readouterr().out.endswith("no uncertainty\n")


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "record.json"
    record().write(file)
    assert qdchar(["budget", str(file), "lifetime"]) == 2
    assert "'lifetime' is not in the record" in capsys.readouterr().err
    text = file.read_text()
    file.write_text(text.replace('"value": 0.37', '"value": 0.36'))
    assert qdchar(["budget", str(file), "mean_photon_number"]) == 30
    assert "edited" in capsys.readouterr().err
    assert qdchar(["budget", str(file), "mean_photon_number", "--accept"]) == 0
    assert qdchar(["budget", str(tmp_path / "none.json")]) == 30
