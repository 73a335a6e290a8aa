"""What is printed: Table 1, budgets, intervals, comparisons, on values unlike their defaults."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qdchar.cli import run as qdchar
from qdchar.cli._records import outcome_json
from qdchar.cli.calibrate._summary import print_summary
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.keyrate import KeyRate
from qdchar.lab.outcome import Outcome, conclude, predict_and_judge
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run, Step
from qdchar.link import Link
from qdchar.notation import prefixed
from qdchar.record import SourceRecord, TakenOver, make_record
from qdchar.report import write_report
from qdchar.report.comparison import compare_records
from qdchar.report.figures import draw_history
from qdchar.report.table1 import PUBLISHED, provenance, table

LINK = Link(
    channel_loss={"value": 8.5, "u": 0.2},
    fiber_optics_efficiency=0.55,
    detector_efficiency=0.8,
    dark_count_rate=130.0,
    gate_width=2.5e-9,
    misalignment=0.012,
    block_kind="asymptotic",
)
SHARED = Contribution("calibration detector_efficiency", 0.003, "B")


def estimate(name: str, value: float, *u: float, **more: Any) -> Estimate:
    budget = tuple(Contribution(f"{name} {k}", x) for k, x in enumerate(u))
    return Estimate(name=name, value=value, method="m", budget=budget, **more)


N = Estimate(
    name="mean_photon_number",
    value=0.37,
    method="m",
    budget=(Contribution("counting", 0.004), SHARED),
)
G2 = estimate(
    "g2_zero", 0.021, 0.0003, 0.0004, interval_68=(0.0204, 0.0217), interval_95=(0.0196, 0.0226)
)


def record(n: Estimate = N, *, simulated: bool = False) -> SourceRecord:
    estimates = [
        *(n, G2, estimate("clock_rate", 81e6, 20.0), estimate("misalignment", 0.031, 1e-3)),
        *(estimate("lifetime", 63.2e-12, 0.4e-12), estimate("detector_efficiency", 0.9, 0.01)),
    ]
    return make_record(
        estimates,
        qdchar_version="0",
        source="QD7",
        station="lab",
        simulated=simulated,
        valid_for=timedelta(hours=1),
        tuning={},
    )


@pytest.fixture(scope="module", params=[False, True], ids=["real", "simulated"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Page of a run, with the rate of its own in front."""
    made, recipe = record(simulated=request.param), Recipe()
    with Run.create(tmp_path_factory.mktemp("runs"), "QD7", "calibrate") as run:
        result = Result((G2,), (), ("the light was unsteady",))
        run.keep_step(Step("hbt_after", "g2 at the output", result, ("raw/hbt.h5",)))
        run.keep_text("recipe.json", recipe.model_dump_json())
        run.keep_text("link.json", LINK.model_dump_json())
        run.keep_json("snapshot_after.json", {})
        rate = conclude(run, made, LINK, recipe).rate
    text = write_report(run.folder).read_text()
    return f"{request.param}\n{rate.rate_per_pulse!r} {rate.rate_per_pulse_u!r}\n{text}"


def number(text: str) -> tuple[float, float]:
    """Value and u of a text such as 1.30(12)e-3, or 1.30(12) × 10⁻³ on a page."""
    text = re.sub(r"\s×\s10", "e", text).translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    match = re.fullmatch(r"([\d.]+)\((\d+)\)(e-?\d+)?", text)
    assert match is not None, text
    exponent = match[3] or ""
    decimals = len(match[1].partition(".")[2])
    return float(match[1] + exponent), int(match[2]) * float(f"1e-{decimals}") * float(
        "1" + exponent
    )


def test_the_page_s_rate_is_the_run_s_with_its_uncertainty(page: str) -> None:
    rate, u = map(float, page.splitlines()[1].split())
    found = re.search(r"<b[^>]*>([^<]+)</b> secret bits per pulse", page)
    kbps_shown = re.search(r'<span class="num">([^<]+)</span> kbit/s', page)
    assert found is not None
    assert kbps_shown is not None
    # two digits of u are printed
    per_pulse, per_pulse_u = number(found[1])
    assert (per_pulse, per_pulse_u) == (
        pytest.approx(rate, abs=0.03 * u),
        pytest.approx(u, rel=0.05),
    )
    kbps, kbps_u = number(kbps_shown[1])
    assert kbps == pytest.approx(81e3 * rate, abs=0.05 * 81e3 * u)
    assert kbps_u == pytest.approx(81e3 * u, rel=0.05)


def test_the_page_s_error_rates_are_the_prediction_s(page: str) -> None:
    """Of the clicks behind 8.5 dB, darks are a few ppm: the errors are the misalignment."""
    found = re.search(r"QBER ([\d.]+) %, phase error at most ([\d.]+) %", page)
    assert found is not None
    assert float(found[1]) == pytest.approx(3.1, abs=0.01)
    assert float(found[2]) > 3.5  # multi-photon pulses give their part of the sample


def test_only_a_simulated_run_is_called_simulated(page: str) -> None:
    assert ("SIMULATED LAB" in page) is page.startswith("True")


def test_the_page_shows_problems_95_percent_intervals_and_budgets(page: str) -> None:
    assert "the light was unsteady" in page
    assert "[0.01960, 0.02260]" in page
    # 0.3 and 0.4 of 0.5: shares 36 % and 64 % of the variance, the larger first
    first, second = page.index(">64.0 %<"), page.index(">36.0 %<")
    assert first < second
    assert '>g2_zero 1</td><td>A</td><td class="num">0.0004<' in page
    assert "u = 0.00025 with half of that contribution, 0 without it" in page


def test_the_terminal_shows_rate_table_and_demands_of_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = Recipe(min_rate_per_pulse=2e-3)
    made = record(simulated=True)
    rate, verdict = predict_and_judge(made, LINK, recipe)
    rate = replace(rate, p_z=0.83, attenuation=0.61)  # without a block both are 1
    print_summary(Outcome(made, LINK, recipe, rate, verdict))
    out = capsys.readouterr().out
    found = re.search(r"key rate at 8.5 dB: (\S+) bit per pulse, (\S+) kbit/s", out)
    assert found is not None
    per_pulse, per_pulse_u = number(found[1])
    assert per_pulse == pytest.approx(rate.rate_per_pulse, abs=0.05 * rate.rate_per_pulse_u)
    assert per_pulse_u == pytest.approx(rate.rate_per_pulse_u, rel=0.05)
    assert number(found[2])[0] == pytest.approx(81e3 * rate.rate_per_pulse, rel=0.01)
    (lifetime,) = (line for line in out.splitlines() if "lifetime" in line)
    cells = [cell.strip() for cell in re.split(r"[|│┃]", lifetime)]
    assert cells[:5] == ["lifetime", "63.20(40) ps", "75.8 ps", "0.8 ps", "measured"]
    assert "p_z 0.830, pre-attenuation 0.610" in out
    assert "SIMULATED LAB" in out
    assert "a GO demands a key rate above 0.002 bit per pulse" in out
    assert verdict.decision in out
    for light in rate.comparators:
        assert f"against {light.name}: {light.rate_per_pulse:.3g} bit per pulse" in out


def test_the_page_shows_the_settings_and_leads_and_a_curve_through_its_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[KeyRate] = []
    monkeypatch.setattr("qdchar.report.page.draw_key_rate", lambda points, *_: drawn.extend(points))
    monkeypatch.setattr("qdchar.report.page.embedded", lambda _: "")
    recipe = Recipe(accounting="joint")
    with Run.create(tmp_path, "QD7", "calibrate") as run:
        run.keep_step(Step("dark", "dark counts", Result((), (), ()), ()))
        run.keep_text("recipe.json", recipe.model_dump_json())
        run.keep_text("link.json", LINK.model_dump_json())
        run.keep_json("snapshot_after.json", {})
        outcome = conclude(run, record(), LINK, recipe)
    shown = replace(outcome.rate, p_z=0.83, attenuation=0.61)
    page = write_report(run.folder, replace(outcome, rate=shown)).read_text()
    assert "basis ratio p_z = 0.830, pre-attenuation 0.610;" in page
    same = outcome.rate.comparator(outcome.rate.comparator_name)
    assert same.advantage_dB is not None
    sentence = re.search(r"([\d.]+\(\d+\)) dB (above|below)", page)
    assert sentence is not None
    assert number(sentence[1])[0] == pytest.approx(abs(same.advantage_dB), abs=0.006)
    assert (sentence[2] == "above") is (same.advantage_dB > 0)
    for light in outcome.rate.comparators:
        assert light.advantage_dB is not None
        assert light.advantage_dB_u is not None
        row = re.search(rf'<tr title="{light.name}">(.*?)</tr>', page, re.DOTALL)
        assert row is not None
        sign, lead = re.findall(r"([+−])([\d.]+\(\d+\)) dB", row[1])[-1]
        assert (sign == "+") is (light.advantage_dB > 0)
        assert number(lead)[0] == pytest.approx(abs(light.advantage_dB), abs=0.006)
        assert number(lead)[1] == pytest.approx(light.advantage_dB_u, rel=0.05)
        shown_rate = re.search(r'data-label="rate">([^<]+)<', row[1])
        assert shown_rate is not None
        (of_light,) = re.findall(r"^([\d.]+)", shown_rate[1])
        digits = f"{light.rate_per_pulse:.3e}".partition("e")[0]
        # its first digits; 4 of them are printed
        assert f"{float(of_light):.3e}".partition("e")[0] == digits
    (here,) = (point for point in drawn if point.loss_dB == 8.5)  # as the link has it
    assert here.accounting == "joint"
    assert here.rate_per_pulse == pytest.approx(outcome.rate.rate_per_pulse, rel=1e-9)


def test_what_was_taken_over_is_not_called_measured() -> None:
    when = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    made = record().model_copy(
        update={
            "taken_over": (
                TakenOver(
                    measurement="lifetime",
                    quantities=("lifetime",),
                    run="run_of_monday",
                    measured=when,
                    age_hours=3.24,
                    why="earlier run",
                ),
                TakenOver(
                    measurement="hbt_after",
                    quantities=("g2_zero",),
                    run="this_run",
                    measured=when,
                    age_hours=0.5,
                    why="resumed",
                ),
            ),
            "resumed": (when,),
        }
    )
    origins = {row.name: row.origin for row in table(made, LINK)}
    assert origins["lifetime"] == "taken over, 3.2 h old"
    assert origins["g2_zero"] == origins["clock_rate"] == "measured"
    assert provenance(made) == (
        "The calibration was broken off, and went on at 2026-01-05 09:30:00 UTC.",
        "lifetime: taken over, measured in the run run_of_monday, 3.2 h old.",
        "hbt_after: taken over, measured before the interruption, 30 min old.",
    )


def test_the_lines_of_json_hold_the_run_s_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe(min_rate_per_pulse=2e-3)
    made = record().model_copy(update={"problems": ("the light was unsteady",)})
    rate, verdict = predict_and_judge(made, LINK, recipe)
    line = outcome_json(Outcome(made, LINK, recipe, rate, verdict), tmp_path, tmp_path / "page")
    assert (line["verdict"], line["problems"]) == ("INCONCLUSIVE", ("the light was unsteady",))
    assert line["demands"] == ("a key rate above 0.002 bit per pulse",)
    assert line["rate_bps"] == pytest.approx(81e6 * line["rate_per_pulse"], rel=1e-12)
    for light in rate.comparators:
        lead = 10 * math.log10(rate.rate_per_pulse / light.rate_per_pulse)
        assert line["advantage_dB"][light.name] == pytest.approx(lead, rel=1e-9)
        assert line["advantage_dB_u"][light.name] == light.advantage_dB_u
    made.judged(verdict, rate.assumptions).write(tmp_path / "record.json")
    assert qdchar(["verify", str(tmp_path / "record.json"), "--json"]) == 0
    of_record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert of_record["verdict"] == "INCONCLUSIVE"
    assert of_record["problems"] == ["the light was unsteady"]
    assert of_record["rate_per_pulse"] == rate.rate_per_pulse
    assert of_record["rate_per_pulse_u"] == rate.rate_per_pulse_u


def test_history_prints_value_and_u(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    record().write(tmp_path / "run" / "record.json")
    assert qdchar(["history", str(tmp_path), "--quantity", "lifetime", "--json"]) == 0
    out = capsys.readouterr().out
    (found,) = json.loads(out.splitlines()[-1])["quantities"]["lifetime"]
    assert (found["value"], found["unit"]) == (63.2e-12, "s")
    assert found["u"] == pytest.approx(0.4e-12, rel=1e-9, abs=0.0)
    assert "63.20(40) ps" in out


def test_table_1_says_what_was_measured_and_prints_twice_u() -> None:
    rows = {row.name: row for row in table(record(), LINK)}
    origins = {name: row.origin for name, row in rows.items()}
    assert origins == {
        **dict.fromkeys(("clock_rate", "lifetime", "mean_photon_number"), "measured"),
        **dict.fromkeys(("g2_zero", "misalignment"), "measured"),
        **dict.fromkeys(("channel_loss", "fiber_optics_efficiency"), "given"),
        # the receiver's detectors, not those of the characterisation
        **dict.fromkeys(("detector_efficiency", "dark_count_rate", "gate_width"), "given"),
        "dark_count_probability": "given",
    }
    assert (rows["lifetime"].value, rows["lifetime"].expanded) == ("63.20(40) ps", "0.8 ps")
    assert rows["mean_photon_number"].expanded == "0.01"  # u is 0.005
    assert (rows["channel_loss"].value, rows["channel_loss"].expanded) == ("8.50(20) dB", "0.4 dB")
    assert rows["detector_efficiency"].value.startswith("0.8")
    assert rows["misalignment"].value == "0.0310(10)"


def test_the_paper_s_values_are_those_of_its_table_1() -> None:
    """Zhang et al., PRL 134, 210801."""
    assert {name: (p.value, p.u) for name, p in PUBLISHED.items()} == {
        "clock_rate": (76.13e6, 0.0),
        "lifetime": (75.8e-12, 0.0),
        "linewidth": (2.73e9, 0.0),
        "collection_efficiency": (0.712, 0.018),
        "g2_zero_source": (0.0205, 0.0006),
        "transmitter_efficiency": (0.41, 0.0),
        "mean_photon_number": (0.292, 0.008),
        "g2_zero": (0.00698, 0.00064),
        "misalignment": (0.0254, 0.0),
        "channel_loss": (14.6, 0.0),
        "fiber_optics_efficiency": (0.6, 0.0),
        "detector_efficiency": (0.712, 0.0),
        "dark_count_rate": (43.0, 0.0),
        "gate_width": (3.42e-9, 0.0),
        "dark_count_probability": (1.47e-7, 0.0),
    }


def test_a_comparison_is_second_minus_first_without_what_both_share() -> None:
    later = Estimate(
        name="mean_photon_number",
        value=0.35,
        method="m",
        budget=(Contribution("counting", 0.003), SHARED),
    )
    change = {c.name: c for c in compare_records(record(), record(later))}["mean_photon_number"]
    assert change.difference == pytest.approx(-0.02)
    # 3 and 4 of two runs; the certificate is the same in both
    assert change.u == pytest.approx(0.005)
    assert change.pull == pytest.approx(-4.0)


def test_compare_prints_the_direction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, n in (("1", 0.37), ("2", 0.35)):
        record(estimate("mean_photon_number", n, 0.003)).write(tmp_path / f"{name}.json")
    assert qdchar(["compare", str(tmp_path / "1.json"), str(tmp_path / "2.json"), "--json"]) == 0
    out = capsys.readouterr().out
    line = json.loads(out.splitlines()[-1])["quantities"]["mean_photon_number"]
    assert line["difference"] == pytest.approx(-0.02)
    assert "-4.7" in out  # 0.02 over 0.003 times the root of 2


def test_error_bars_of_the_history_are_one_u() -> None:
    figure = draw_history([record(), record()], ["lifetime"])
    (bars,) = figure.axes[0].containers
    (segments, *_) = bars.lines[2]
    ends = segments.get_segments()[0][:, 1]
    assert ends == pytest.approx([62.8, 63.6])  # ps


@pytest.mark.parametrize(
    ("value", "factor", "unit"),
    [(75.8e-12, 1e-12, "ps"), (999e-12, 1e-12, "ps"), (1.0e-9, 1e-9, "ns"), (2.73e9, 1e9, "Gs")],
)
def test_a_prefix_leaves_one_to_three_digits_before_the_point(
    value: float, factor: float, unit: str
) -> None:
    assert prefixed(value, "s") == (pytest.approx(factor), unit)
