"""What decides: demands of a recipe, what a verdict rests on, what earlier runs may give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import RefusedError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.keyrate import SourceFigures, predict
from qdchar.lab import preflight
from qdchar.lab.earlier_runs import known_quantities
from qdchar.lab.measurements import (
    detector_efficiency,
    hbt,
    leak,
    off_resonance,
    rabi,
    saturation,
    transmitter,
)
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.outcome import conclude, load_outcome, predict_and_judge
from qdchar.lab.recipe import QuantityLimits, Recipe
from qdchar.lab.run import Run, Step
from qdchar.lab.station import Station, load_station
from qdchar.lab.verdict import judge
from qdchar.link import Link
from qdchar.raw_data import About, Scan
from qdchar.record import SourceRecord, make_record

LINK = Link(
    channel_loss=9.0,
    misalignment={"value": 0.013, "u": 0.002},
    dark_count_rate=120.0,
    block_kind="asymptotic",
)
N, G2, CLOCK_HZ, MISALIGNMENT = 0.37, 0.021, 81e6, 0.031


def estimate(name: str, value: float, u: float) -> Estimate:
    return Estimate(name=name, value=value, method="m", budget=(Contribution(name, u),))


def record(**more: Any) -> SourceRecord:
    return make_record(
        [
            estimate("mean_photon_number", N, 0.004),
            estimate("g2_zero", G2, 0.0006),
            estimate("clock_rate", CLOCK_HZ, 1.0),
            estimate("misalignment", MISALIGNMENT, 1e-3),
        ],
        **{
            "qdchar_version": "0",
            "source": "QD7",
            "station": "lab",
            "simulated": False,
            "valid_for": timedelta(hours=5),
            "tuning": {},
            **more,
        },
    )


def test_a_record_is_valid_as_long_as_it_was_given() -> None:
    made = record()
    assert made.valid_until - made.created == timedelta(hours=5)
    assert record(problems=["x", "y"]).problems == ("x", "y")
    assert Recipe().valid_hours == 24.0


@pytest.mark.parametrize("accounting", ["alice", "joint"])
@pytest.mark.parametrize("protocol", ["efficient-bb84", "three-state"])
def test_the_recipe_s_proof_and_the_record_s_misalignment_make_the_rate(
    protocol: Any, accounting: Any
) -> None:
    recipe = Recipe(protocol=protocol, accounting=accounting)
    rate, _ = predict_and_judge(record(), LINK, recipe)
    source = SourceFigures.from_values(N, G2, clock_rate_hz=CLOCK_HZ)
    link = LINK.model_copy(update={"misalignment": Link(misalignment=MISALIGNMENT).misalignment})
    (expected,) = predict(source, link, protocol=protocol, accounting=accounting, comparators=())
    assert rate.rate_per_pulse == pytest.approx(expected.rate_per_pulse, rel=1e-12)
    assert (rate.protocol, rate.accounting) == (protocol, accounting)


def test_a_no_go_without_key_says_why() -> None:
    """Asymptotic single photons give no key where (1 + f) h(e) is 1: e = 9.8 % with f = 1.16."""
    made = make_record(
        [
            estimate("mean_photon_number", N, 0.004),
            estimate("g2_zero", 1e-4, 1e-5),
            estimate("clock_rate", CLOCK_HZ, 1.0),
            estimate("misalignment", 0.2, 1e-3),
        ],
        qdchar_version="0",
        source="QD7",
        station="lab",
        simulated=False,
        valid_for=timedelta(hours=5),
        tuning={},
    )
    _, verdict = predict_and_judge(made, LINK, Recipe())
    assert verdict.decision == "NO-GO"
    assert verdict.reasons[0].startswith("no key: ")
    (lift,) = (r for r in verdict.reasons if r.startswith("there is one with misalignment"))
    limit = float(lift.split("at most ")[1].split()[0])
    assert limit == pytest.approx(0.0983, rel=0.02)


def test_the_four_proofs_give_four_rates() -> None:
    rates = {
        predict_and_judge(record(), LINK, Recipe(protocol=p, accounting=a))[0].rate_per_pulse
        for p in ("efficient-bb84", "three-state")
        for a in ("alice", "joint")
    }
    assert len(rates) == 4
    assert min(rates) > 0


def test_a_lead_of_a_source_with_a_key_over_light_without_one_is_without_bound() -> None:
    rate, _ = predict_and_judge(record(), LINK, Recipe())
    (light, *_) = rate.comparators
    without = light.__class__(light.name, 0.0, None)
    alone = rate.__class__(**{**vars(rate), "comparators": (without,)})
    demanded = Recipe(min_advantage_dB={light.name: 30.0})
    assert judge(record(), alone, demanded).decision == "GO"
    none = alone.__class__(**{**vars(alone), "rate_per_pulse": 0.0, "budget": ()})
    assert judge(record(), none, demanded).decision == "NO-GO"


@pytest.mark.parametrize(("lead", "word"), [(1.5, "above"), (-1.5, "below")])
def test_a_verdict_says_on_which_side_the_source_is(lead: float, word: str) -> None:
    rate, _ = predict_and_judge(record(), LINK, Recipe())
    light = rate.comparators[0].__class__("wcp-ideal", 1e-4, lead, (Contribution("x", 0.2),))
    moved = rate.__class__(**{**vars(rate), "comparators": (light,)})
    said = str(judge(record(), moved, Recipe()))
    assert f"1.50(20) dB {word} wcp-ideal" in said


def finished(folder: Path) -> Path:
    recipe = Recipe(limits={"g2_zero": QuantityLimits(max=0.05)})
    with Run.create(folder, "QD7", "calibrate") as run:
        run.keep_text("recipe.json", recipe.model_dump_json())
        run.keep_text("link.json", LINK.model_dump_json())
        conclude(run, record(), LINK, recipe)
    return run.folder


@pytest.mark.parametrize("name", ["recipe.json", "link.json", "record.json", "keyrate.json"])
def test_each_file_under_a_verdict_is_missed_when_it_changes(tmp_path: Path, name: str) -> None:
    folder = finished(tmp_path)
    assert load_outcome(folder).faults == ()
    file = folder / name
    file.write_text(file.read_text() + "\n")
    assert [fault.field for fault in load_outcome(folder).faults] == [name]


def test_a_recipe_edited_later_leaves_no_go_to_a_run(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    recipe = json.loads((folder / "recipe.json").read_text())
    recipe["limits"]["g2_zero"]["max"] = 0.01
    (folder / "recipe.json").write_text(json.dumps(recipe))
    outcome = load_outcome(folder)
    assert (outcome.verdict.decision, outcome.own) == ("GO", True)
    assert outcome.unless_faulty().verdict.decision == "INCONCLUSIVE"


STATION_TOML = 'name = "lab"\nsource = "QD7"\n'
STATION: Any = SimpleNamespace(name="lab", source="QD7")


def earlier_run(folder: Path, age_h: float, lifetime: float, problems: tuple[str, ...]) -> None:
    """A run that began so many hours ago."""
    with Run.create(folder, "QD7", "measure") as run:
        run.keep_text("station.toml", STATION_TOML)
        result = Result((estimate("lifetime", lifetime, 1e-12),), (), problems)
        run.keep_step(Step("lifetime", "lifetime", result, ()))
    log = run.folder / "run.jsonl"
    first, *rest = log.read_text().splitlines()
    start = json.loads(first)
    start["doc"]["time"] -= 3600.0 * age_h
    log.write_text("\n".join([json.dumps(start), *rest]) + "\n")


def test_alone_takes_the_newest_value_without_problems_within_its_validity(tmp_path: Path) -> None:
    earlier_run(tmp_path, 30.0, 61e-12, ())
    valid = timedelta(hours=24)
    assert known_quantities(tmp_path, STATION, valid) == {}
    earlier_run(tmp_path, 20.0, 62e-12, ())
    earlier_run(tmp_path, 10.0, 63e-12, ())
    earlier_run(tmp_path, 1.0, 64e-12, ("drifted",))
    found, _ = known_quantities(tmp_path, STATION, valid)["lifetime"]
    assert found.value == 63e-12
    another: Any = SimpleNamespace(name="lab", source="QD8")
    assert known_quantities(tmp_path, another, valid) == {}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Station:
    """Station of a simulated lab that has ended; nothing connects to it."""
    file = tmp_path_factory.mktemp("lab") / "station.toml"
    with serve(Truth(), 1) as served:
        file.write_text(station_toml(served))
    return load_station(file)


def test_a_scan_beyond_the_limits_is_refused_for_safety(lab: Station, tmp_path: Path) -> None:
    recipe = Recipe(tables={"cavity": {"stop_V": 90.0}})
    with pytest.raises(RefusedError, match=r"cavity: .*90") as caught:
        preflight.check(lab, MEASUREMENTS, recipe, ["cavity"], folder=tmp_path)
    assert caught.value.exit_code == 21


def test_a_disk_without_room_for_the_tags_is_refused(
    lab: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead time 0.05 s, lifetime 0.44 s with its probes: at 20 M/s 9.8 M tags, 39.2 MB."""
    free = SimpleNamespace(free=0)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: free)  # type: ignore[attr-defined]
    names = ("dead_time", "lifetime")
    free.free = 39_300_000
    preflight.check(lab, MEASUREMENTS, Recipe(), names, folder=tmp_path)
    free.free = 39_100_000
    with pytest.raises(UsageError, match=r"GB free, 0\.039 GB needed .* \(recipe\)"):
        preflight.check(lab, MEASUREMENTS, Recipe(), names, folder=tmp_path)
    # a fainter source, and longer recordings, as the recipe says
    preflight.check(lab, MEASUREMENTS, Recipe(tag_rate_Hz=1.9e7), names, folder=tmp_path)
    longer = Recipe(tag_rate_Hz=1.9e7, tables={"dead_time": {"duration_s": 0.1}})
    with pytest.raises(UsageError, match=r"0\.041 GB needed for 0\.54 s"):
        preflight.check(lab, MEASUREMENTS, longer, names, folder=tmp_path)


class Recorder:
    """Stands for a session, a protocol and an analysis; remembers what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.given: dict[str, Any] = {}
        self.calls: list[dict[str, Any]] = []

    def __getattr__(self, _: str) -> Recorder:
        return self

    def __call__(self, *_: Any, **given: Any) -> Recorder:
        self.given |= given
        self.calls.append(given)
        return self

    def __iter__(self) -> Iterator[Recorder]:
        return iter((self, self, self, self))

    def __getitem__(self, _: Any) -> Recorder:
        return self

    def __truediv__(self, _: Any) -> Path:
        return self.folder

    def __rtruediv__(self, _: Any) -> float:
        return 1.0


def test_the_noise_of_averaged_readings_is_that_of_one_over_the_root_of_their_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A recipe's key for one reading, in each measurement against the pump power."""
    monkeypatch.setattr(off_resonance, "detuning_correction", Recorder(tmp_path))
    monkeypatch.setattr(leak, "efficiency_from_fibre", Recorder(tmp_path))
    clicks, x_W = np.array([[10, 9], [30, 28]]), np.array([1e-9, 3e-9])
    scan = Scan(About("laser"), "power_W", x_W, clicks, np.full(2, 0.05), tmp_path / "laser.csv")
    bench = Recorder(tmp_path)
    bench.detector_efficiency = SimpleNamespace(measure=lambda *_: scan)  # its counts are looked at
    for module in (rabi, saturation, detector_efficiency, leak):
        s = Recorder(tmp_path)
        monkeypatch.setattr(module, "protocols", bench)
        monkeypatch.setattr(module, "analysis", s)
        kind = module.MEASUREMENT.settings
        settings = kind.model_validate({"readings": 16, "reading_u_rel": 0.012})
        if "detuning_V" in kind.model_fields:
            settings = settings.model_copy(update={"detuning_V": 9.0})
        module._run(cast(Any, s), settings, cast(Any, None))
        assert s.given["reading_u_rel"] == pytest.approx(0.003), module.__name__


def test_the_etalon_counts_where_the_light_has_passed_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Detuned photons are broader, and the etalon passes fewer of them: behind it alone."""
    correction, s = Recorder(tmp_path), Recorder(tmp_path)
    monkeypatch.setattr(off_resonance, "detuning_correction", correction)
    for module in (hbt, transmitter):
        monkeypatch.setattr(module, "protocols", Recorder(tmp_path))
        monkeypatch.setattr(module, "analysis", Recorder(tmp_path))
    monkeypatch.setattr(transmitter, "with_chain", Recorder(tmp_path))
    monkeypatch.setattr(transmitter, "split_problems", lambda *_, **__: ())
    for module in (hbt, transmitter):
        monkeypatch.setattr(module, "dark_times", Recorder(tmp_path))
    for run in (hbt._before, hbt._after, transmitter._run):
        run(cast(Any, s), cast(Any, None), cast(Any, None))
    behind = [call["behind_etalon"] for call in correction.calls if "behind_etalon" in call]
    assert behind == [False, True, True]
