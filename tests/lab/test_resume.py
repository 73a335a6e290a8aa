"""A calibration that was broken off: what is taken over, what is refused, what is shown."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qdchar.cli import run as command
from qdchar.drivers.twin.lab import Lab
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import InconclusiveError, RecordError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.lab.calibrate import _taken_over
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.plausibility import LightLog, References
from qdchar.lab.recipe import Recipe
from qdchar.lab.request import Request, read_request, refuse_other, refuse_other_station
from qdchar.lab.resume import compare_with_before, read_unfinished, relative_change
from qdchar.lab.run import Run, Step, read_log, read_steps
from qdchar.lab.session_state import SessionState, read_state
from qdchar.lab.simulated import LabState, read_lab_state
from qdchar.lab.take_over import Earlier, compare_brightness, read_earlier, take
from qdchar.link import Link
from qdchar.raw_data import About, TagRun
from qdchar.roles import Counts

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
ORDER = ("dark", "dead_time", "cavity", "rabi", "lifetime", "etalon", "hbt_before", "brightness")


def estimate(name: str, value: float, u: float = 0.0) -> Estimate:
    return Estimate(
        name=name,
        value=value,
        method="test",
        budget=(Contribution("counting", u),) if u else (),
    )


def step(name: str, hours_old: float = 0.5, *, problem: str = "", value: float = 0.7) -> Step:
    found = tuple(estimate(q, value) for q in MEASUREMENTS[name].quantities)
    result = Result(found, problems=(problem,) if problem else ())
    return Step(name, name, result, (), NOW - timedelta(hours=hours_old))


def broken_off(
    parent: Path, *steps: Step, request: Request | None = None, recipe: Recipe | None = None
) -> Path:
    """Run folder of a calibration that was killed after these steps."""
    files = (request or Request()).files(recipe or Recipe(), Link(), MEASUREMENTS)
    run = Run.create(parent, "QD7", "calibrate", files)
    with run:
        for each in steps:
            run.keep_step(each)
    return run.folder


def taken(folder: Path, recipe: Recipe | None = None) -> tuple[list[str], dict[str, str]]:
    found = read_unfinished(folder, MEASUREMENTS, recipe or Recipe(), NOW)
    return [s.name for s in found.steps], found.left


def test_all_that_was_complete_is_taken_over(tmp_path: Path) -> None:
    names, left = taken(broken_off(tmp_path, *map(step, ORDER)))
    assert names == list(ORDER)
    assert left == {}


def test_a_step_with_a_problem_is_measured_again_and_so_is_what_rests_on_it(
    tmp_path: Path,
) -> None:
    steps = [step(n, problem="not a single decay" if n == "lifetime" else "") for n in ORDER]
    names, left = taken(broken_off(tmp_path, *steps))
    assert names == ["dark", "dead_time", "cavity", "rabi", "hbt_before", "brightness"]
    assert left["lifetime"] == "it had a problem"
    assert left["etalon"] == "it rests on lifetime, which is measured again"


def test_a_step_that_was_made_again_counts_as_it_was_the_last_time(tmp_path: Path) -> None:
    folder = broken_off(tmp_path, *map(step, ORDER), step("brightness", 0.1, value=0.6))
    found = read_unfinished(folder, MEASUREMENTS, Recipe(), NOW)
    assert found.steps[-1].result["collection_efficiency"].value == 0.6
    # but a new one is compared with the first: refused once must not be allowed the next time
    assert found.first_brightness is not None
    assert found.first_brightness.value == 0.7


def test_a_damaged_result_is_set_aside_and_measured_again(tmp_path: Path) -> None:
    folder = broken_off(tmp_path, *map(step, ORDER))
    (file,) = folder.glob("results/*_dark.json")
    file.write_text(file.read_text()[:100])
    names, left = taken(folder)
    # the pi pulse, and so all but the dead time, rests on the dark counts
    assert names == ["dead_time"]
    assert "damaged" in left["dark"]
    assert file.with_name(f"{file.name}.damaged").exists()


def test_a_tuning_without_its_pi_pulse_is_made_again(tmp_path: Path) -> None:
    names, left = taken(broken_off(tmp_path, *map(step, ORDER[:3])))
    assert names == ["dark", "dead_time"]
    assert list(left) == ["cavity"]


@pytest.mark.parametrize(("valid_hours", "old"), [(3.0, False), (2.9, True)])
def test_results_beyond_their_validity_are_refused(
    tmp_path: Path, valid_hours: float, old: bool
) -> None:
    steps = [step("dark", 2.95), *map(step, ORDER[1:])]
    folder, recipe = broken_off(tmp_path, *steps), Recipe(valid_hours=valid_hours)
    if not old:
        assert taken(folder, recipe)[0] == list(ORDER)
        return
    with pytest.raises(RecordError, match=r"dark counts was measured 3\.0 h ago") as refused:
        taken(folder, recipe)
    assert refused.value.exit_code == 30


def test_what_cannot_be_resumed_is_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = broken_off(tmp_path / "a", *map(step, ORDER))
    (finished / "verdict.json").write_text("{}")
    (finished / "record.json").write_text("{}")
    single = tmp_path / "b"
    with Run.create(single, "QD7", "rabi") as run:
        run.finish("measured rabi")
    other = broken_off(tmp_path / "c", request=Request(qdchar_version="0.0.1"))
    now = datetime.now(UTC)
    old = Step("dark", "dark", step("dark").result, (), now - timedelta(hours=25))
    stale = broken_off(tmp_path / "d", old)
    for folder, code, words in (
        (finished, 2, "is finished"),
        (run.folder, 2, "it is not a calibration"),
        (other, 2, "begun by qdchar 0.0.1"),
        (stale, 30, "25.0 h ago"),
        (tmp_path / "nothing", 30, "no such folder"),
        (tmp_path, 30, "not a run folder"),
    ):
        assert command(["calibrate", "--resume", str(folder)]) == code, folder
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--seed", "--set", "--fault", "--take-over"])
def test_options_of_a_new_run_do_not_go_with_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    folder = broken_off(tmp_path)
    assert command(["calibrate", "--resume", str(folder), option, "1"]) == 2
    assert f"{option} does not go with --resume" in capsys.readouterr().err


def test_another_recipe_or_link_is_refused_and_the_key_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = broken_off(tmp_path)
    recipe, link = tmp_path / "recipe.toml", tmp_path / "link.toml"
    recipe.write_text("[hbt]\nafter_s = 0.77\n")
    link.write_text("loss_dB = 11.25\n")
    for option, file, words in (
        ("--recipe", recipe, "tables.hbt.after_s was 1.0 and is 0.77 now"),
        ("--link", link, "loss_dB"),
        ("--station", recipe, "simulated lab"),
    ):
        code = command(["calibrate", "--resume", str(folder), option, str(file)])
        error = capsys.readouterr().err
        assert code == 2, error
        assert words in error


def test_another_station_is_refused_and_the_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    text = '[calibrations.x]\nvalue = 1.5\n[roles.tagger]\naddress = "tcp://a:1"\n'
    file.write_text(text)
    folder = broken_off(tmp_path, request=Request(station=str(file)))
    file.write_text("# the same, with a comment\n" + text)
    refuse_other_station(folder, file)
    file.write_text(text.replace("1.5", "1.6").replace("tcp://a:1", "tcp://b:1"))
    with pytest.raises(UsageError) as refused:
        refuse_other_station(folder, file)
    assert "calibrations.x.value was 1.5 and is 1.6 now" in str(refused.value)
    assert "roles.tagger.address was 'tcp://a:1' and is 'tcp://b:1' now" in str(refused.value)
    refuse_other("recipe", folder, {"a": {"b": 1}}, {"a": {"b": 1}})


def test_a_run_goes_on_in_its_folder(tmp_path: Path) -> None:
    folder = broken_off(tmp_path, step("dark"))
    log = folder / "run.jsonl"
    log.write_text(log.read_text() + '{"name": "event", "doc": {"uid": "12')  # cut by a power cut
    first = read_log(folder)[0][1]["uid"]
    for times in (1, 2):
        with Run.reopen(folder) as run:
            assert run.raw == folder / "raw" / f"resumed_{times}"
            with run.another_attempt("again_rabi"), run.another_attempt("deeper"):
                assert run.raw == folder / "raw" / f"resumed_{times}" / "again_rabi" / "deeper"
            assert run.raw == folder / "raw" / f"resumed_{times}"
            run.keep_step(step("dead_time"))
    assert [f.name for f in sorted((folder / "results").iterdir())] == [
        "01_dark.json",
        "02_dead_time.json",
        "03_dead_time.json",
    ]
    assert [json.loads(line)["name"] for line in log.read_text().splitlines()].count("start") == 3
    starts = [doc for name, doc in read_log(folder) if name == "start"]
    assert starts[1]["resumes"] == first
    assert starts[2]["times_resumed"] == 2
    assert read_steps(folder)[0].measured == NOW - timedelta(hours=0.5)


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    folder = broken_off(tmp_path)
    with (
        Run.reopen(folder),
        pytest.raises(UsageError, match="another process writes this run"),
        Run.reopen(folder),
    ):
        pass


def test_the_record_names_as_taken_over_what_no_other_measurement_found_anew() -> None:
    """The blinking amplitude comes from the dead time's clicks, and later from g2's."""
    old = step("dead_time")
    dead_time, dead_pulses, blinking = old.result.estimates
    anew = estimate(blinking.name, 0.4)
    found = {e.name: e for e in (dead_time, dead_pulses, anew)}
    session = SimpleNamespace(found=found, run=SimpleNamespace(folder=Path("run_1")))
    said = _taken_over(old, session, NOW)  # type: ignore[arg-type]
    assert said.quantities == ("dead_time", "dead_pulses")
    assert (said.run, said.why, said.age_hours) == ("run_1", "resumed", 0.5)


def test_a_folder_of_the_user_s_own_beside_the_raw_data_does_not_matter(tmp_path: Path) -> None:
    folder = broken_off(tmp_path, step("dark"))
    (folder / "raw" / "resumed_2").mkdir()
    (folder / "raw" / "resumed_old").mkdir()
    assert Run.reopen(folder).times_resumed == 3


def test_what_was_seen_of_the_light_comes_back(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "QD7", "calibrate")
    file = run.raw / "lifetime.h5"
    file.touch()
    clicks = np.array([[51, 49], [48, 53]], dtype=np.int64)
    recording = TagRun(
        About("lifetime", path="before"), file, 3, 5, 1, 64, 0.25, clicks, np.array([0.125, 0.125])
    )
    references = References((25.5, 9.7e-9), (3e-9, 41_000, 39_500, 0.05), ("lock", 0.41, 1e-3))
    SessionState(
        (1.1e7, 1.2e7), {"before": recording}, {"H": recording}, {"lifetime": recording}, references
    ).keep(run)
    state = read_state(run.folder)
    assert state.lock_rates_Hz == (1.1e7, 1.2e7)
    log = LightLog()
    log.go_on_from(state.lock_rates_Hz, state.looks, state.states, state.references)
    assert log.references == references
    log.add_laser(3e-9, Counts((36_900, 35_550), 0.05))
    assert "the laser at 3 nW makes -10 % clicks" in log.doubts[0]
    assert log.states == ("H",)
    assert log.lock_rates_Hz == state.lock_rates_Hz
    assert list(log.first_runs) == ["before"]
    back = state.recordings["lifetime"]
    assert (back.about, back.file, back.duration_s) == (recording.about, file, 0.25)
    assert (back.channel_a, back.channel_b, back.channel_sync, back.sync_divider) == (3, 5, 1, 64)
    assert np.array_equal(back.clicks, clicks)
    (run.folder / "session.json").write_text("{")
    with pytest.raises(RecordError, match=r"session.json: .*"):
        read_state(run.folder)


def test_the_change_of_a_quantity_counts_no_certificate() -> None:
    certificate = Contribution("calibration detector_efficiency", 0.02, "B")

    def brightness(value: float, u: float) -> Estimate:
        budget = (Contribution("counting", u), certificate)
        return Estimate(name="collection_efficiency", value=value, method="test", budget=budget)

    change, u = relative_change(brightness(0.5, 0.003), brightness(0.45, 0.0018))
    assert change == pytest.approx(-0.1)
    assert u == pytest.approx(math.hypot(0.006, 0.004))


class FakeSession:
    """What `resume` and `take_over` ask of a session to compare the brightness."""

    def __init__(self, after: Estimate, problems: tuple[str, ...] = ()) -> None:
        self.recipe = Recipe(max_brightness_change=0.04)
        self.result = Result((after,), problems=problems)
        self.problems: list[str] = []
        self.said: list[str] = []
        self.display = SimpleNamespace(say=self.said.append, warn=self.said.append)
        self.taken: list[Step] = []
        self.found: dict[str, Estimate] = {}
        self.station = SimpleNamespace()

    def make(self, name: str) -> Result:
        assert name == "brightness"
        return self.result


@pytest.mark.parametrize(
    ("after", "problems", "refusal"),
    [
        (0.500 * 1.039, (), ""),
        (0.500 * 0.961, (), ""),
        (0.500 * 1.041, (), r"changed by 4\.1"),
        (0.500 * 0.959, (), r"changed by -4\.1"),
        (0.500, ("the light changes within the recording",), "changes within the recording"),
    ],
)
def test_a_brightness_that_moved_beyond_its_limit_is_refused(
    after: float, problems: tuple[str, ...], refusal: str
) -> None:
    before = estimate("collection_efficiency", 0.5, 1e-4)
    session = FakeSession(estimate("collection_efficiency", after, 1e-4), problems)
    if refusal:
        with pytest.raises(InconclusiveError, match=refusal) as refused:
            compare_with_before(session, before)  # type: ignore[arg-type]
        assert refused.value.exit_code == 11
    else:
        compare_with_before(session, before)  # type: ignore[arg-type]
        assert "at most 4 % is allowed" in session.said[-1]


def test_without_a_brightness_before_that_is_said() -> None:
    session = FakeSession(estimate("collection_efficiency", 0.5))
    compare_with_before(session, None)  # type: ignore[arg-type]
    assert "the light at the cavity lock alone was compared" in session.said[-1]


def test_the_lab_s_time_goes_on_while_it_is_not_simulated(tmp_path: Path) -> None:
    assert read_lab_state(tmp_path).clock_s(5e9) == 0.0
    LabState(2, 120.0, 1e9, ("room_light",)).write(tmp_path)
    state = read_lab_state(tmp_path)
    assert state == LabState(2, 120.0, 1e9, ("room_light",))
    assert state.clock_s(1e9 + 30.0) == 150.0
    assert state.clock_s(1e9 - 30.0) == 120.0  # the computer's clock was set back


def test_a_lab_that_is_started_again_is_the_same_lab_with_other_noise() -> None:
    def light(restarts: int) -> tuple[Lab, tuple[int, int]]:
        lab = Lab(Truth(), 7, restarts=restarts, clock_s=100.0 * restarts)
        lab.select_path("blocked")
        return lab, lab.count(100.0)

    (first, counts), (again, others), (third, thirds) = map(light, range(3))
    assert first.errors == again.errors == third.errors
    assert len({counts, others, thirds}) == 3
    assert again.now_s == pytest.approx(200.0)
    assert light(1)[1] == others


def test_what_is_taken_over_from_an_earlier_run_has_an_age_of_its_own(tmp_path: Path) -> None:
    steps = [step("dark", 13.0), step("dead_time", 100.0), step("transmitter", 1.0), step("rabi")]
    folder = broken_off(tmp_path, *steps)

    def offered(**hours: float) -> tuple[list[str], dict[str, str]]:
        recipe = Recipe(take_over_hours=hours)
        earlier = read_earlier(folder, Request(), recipe, MEASUREMENTS, NOW)
        assert all(s.taken_from == folder.name for s in earlier.steps)
        return [s.name for s in earlier.steps], earlier.left

    (folder / "station.toml").write_text(
        'name = "bench"\nsource = "QD7"\nwavelength_m = 884e-9\nnominal_clock_Hz = 76e6\n[roles]\n'
    )
    names, left = offered()
    assert names == ["dead_time"]
    assert left["dark"] == "it is 13.0 h old, and may be 12 h"
    assert left["transmitter"] == "only a recipe may allow it, in take_over_hours"
    assert offered(dark=14.0, transmitter=2.0)[0] == ["dark", "dead_time", "transmitter"]
    with pytest.raises(RecordError, match="nothing of it may be taken over"):
        offered(dead_time=99.0)
    with pytest.raises(UsageError, match="of another lab: it has the simulated lab of seed 1"):
        read_earlier(folder, Request(seed=2), Recipe(), MEASUREMENTS, NOW)


def offered_by(folder: Path, source: str, brightness: float) -> Earlier:
    """A lifetime of an earlier run, and the brightness on which it rests."""
    station = SimpleNamespace(name="bench", source=source, calibrations={})
    found = estimate("collection_efficiency", brightness, 1e-4)
    return Earlier(folder, station, (step("lifetime"),), {}, found)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "change"), [(0.519, ""), (0.481, ""), (0.521, "+4.2 %"), (0.479, "-4.2 %")]
)
def test_what_was_taken_over_from_brighter_or_fainter_light_is_a_problem(
    tmp_path: Path, after: float, change: str
) -> None:
    session = FakeSession(estimate("collection_efficiency", after, 1e-4))
    session.taken = [replace(step("lifetime"), taken_from="monday")]
    session.found = {"collection_efficiency": session.result["collection_efficiency"]}
    compare_brightness(session, offered_by(tmp_path, "QD7", 0.5), MEASUREMENTS)  # type: ignore[arg-type]
    if change:
        assert f"brightness changed by {change}" in session.problems[0]
        assert "lifetime" in session.problems[0]
    else:
        assert session.problems == []


@pytest.mark.parametrize(("name", "source"), [("bench", "QD8"), ("attic", "QD7")])
def test_nothing_is_taken_over_from_another_station_or_source(
    tmp_path: Path, name: str, source: str
) -> None:
    session = FakeSession(estimate("collection_efficiency", 0.5))
    session.station = SimpleNamespace(file=SimpleNamespace(name=name, source=source))
    with pytest.raises(UsageError, match=f"this is {name} and {source}"):
        take(session, offered_by(tmp_path, "QD7", 0.5), MEASUREMENTS, ("lifetime",))  # type: ignore[arg-type]


def test_a_recipe_cannot_allow_what_must_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("take_over_hours = { rabi = 5.0 }\n")
    assert command(["calibrate", "--recipe", str(recipe), "--out", str(tmp_path / "runs")]) == 2
    assert "'rabi' cannot be taken over" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_unfinished_run_has_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = broken_off(tmp_path / "a", step("dark", value=43.0))
    (folder / "results" / "02_rabi.json").write_text('{"name": "ra')
    assert command(["report", str(folder), "--json"]) == 11
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["verdict"] is None
    assert line["measured"] == ["dark"]
    assert line["quantities"]["dark_count_rate"]["value"] == 43.0
    assert any("02_rabi.json" in problem for problem in line["problems"])
    page = (folder / "report.html").read_text()
    assert "UNFINISHED" in page
    assert "43 Hz" in page
    # killed in its first second: the folder and what was asked for
    nothing = tmp_path / "b" / "run"
    (nothing / "results").mkdir(parents=True)
    assert command(["report", str(nothing)]) == 11
    assert "complete: nothing" in capsys.readouterr().out
    assert command(["report", str(tmp_path)]) == 30


def test_a_run_folder_appears_with_what_it_was_asked_for(tmp_path: Path) -> None:
    request = Request(seed=9, settings=("source.g2=0.03",), faults=("room_light@rabi",))
    files = request.files(Recipe(valid_hours=7.5), Link(), MEASUREMENTS)
    folder = Run.create(tmp_path, "QD7", "calibrate", files).folder
    assert read_request(folder) == request
    assert json.loads((folder / "recipe.json").read_text())["valid_hours"] == 7.5
    assert [f.name for f in tmp_path.iterdir()] == [folder.name]
