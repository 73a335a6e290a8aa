"""A session with measurements that are plain functions: needs, problems, doubts, values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qdchar import analysis
from qdchar.errors import InconclusiveError, LockLostError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.lab import calibrate as module
from qdchar.lab.calibrate import _make, calibrate
from qdchar.lab.expected import ExpectedStep
from qdchar.lab.last_look import _look_at_light, look_again
from qdchar.lab.measurement import Measurement, NoSettings
from qdchar.lab.measurements import dark_times
from qdchar.lab.preflight import Plan
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run
from qdchar.lab.session import Session
from qdchar.link import Link
from qdchar.protocols import last_look, pump
from qdchar.protocols._peak_lock import LockResult
from qdchar.protocols.hbt import HbtSettings
from qdchar.protocols.last_look import LastLook
from qdchar.raw_data import About, TagRun
from qdchar.record import load_record
from qdchar.roles import Counts

PI_W = 24e-9
CERTIFICATES = {
    "power_meter_gain": 1.1,
    "power_meter_gain_power": 2.2e-6,
    "power_meter_linearity": -0.1 / 2.2,
    "power_meter_zero": 3e-12,
    "power_tap": 0.03,
}
"""At the pi pulse the gain is 1.2, two decades below the power of its certificate: the meter reads
20 nW above its zero there."""


class Pump(SimpleNamespace):
    """An attenuator that remembers what it was asked for."""

    limits_dB = (0.0, 60.0)

    def __init__(self) -> None:
        super().__init__(done=[])

    def attenuation(self) -> float:
        return 17.0

    def set_attenuation(self, dB: float) -> None:
        self.done.append(dB)

    def open_shutter(self) -> None:
        self.done.append("open")


PUMP = Pump()


def estimate(name: str, value: float, u: float = 0.0) -> Estimate:
    budget = (Contribution(name, u),) if u else ()
    return Estimate(name=name, value=value, method="", budget=budget)


KNOWN = {
    "pi_power": PI_W,
    "dead_time": 30.0e-9,
    "blinking_amplitude": 0.25,
    "dark_count_rate": 43.0,
    "cavity_resonance_voltage": 21.0,
}


class Display:
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)

    def detail(self, text: str) -> None:
        """What only a verbose display shows."""

    def expect(self, steps: Iterable[ExpectedStep]) -> None:
        self.lines.append(", ".join(step.title for step in steps))

    @contextmanager
    def step(self, title: str, _name: str = "") -> Iterator[Callable[..., None]]:
        yield lambda *_: None


class Station:
    """Certificates alone; no instrument is there."""

    file = SimpleNamespace(calibrations={"power_meter_gain": None}, nominal_clock_Hz=80e6)

    def calibration(self, name: str) -> Estimate:
        return estimate(name, CERTIFICATES[name], 0.01 * CERTIFICATES[name])

    def role(self, name: str, _kind: type) -> object:
        return PUMP if name == "pump_attenuator" else name


def measurement(name: str, run: Callable[..., Result], **more: Any) -> Measurement[NoSettings]:
    given: dict[str, Any] = {"provides": (), **more}
    return Measurement(name=name, title=name.upper(), run=run, settings=NoSettings, **given)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Run]:
    with Run.create(tmp_path, "Q", "calibrate") as run:
        yield run


def session(
    run: Run, *measurements: Measurement[Any], known: dict[str, Estimate] | None = None
) -> Session:
    registry = {m.name: m for m in measurements}
    held = {n: estimate(n, v, 0.01 * v) for n, v in KNOWN.items()} if known is None else known
    return Session(Station(), run, Recipe(), Display(), registry, known=held)  # type: ignore[arg-type]


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Powers to which the pump was set [W]."""
    powers: list[float] = []
    monkeypatch.setattr(pump, "set_power", lambda _a, _p, W: powers.append(W))
    PUMP.done.clear()

    def zeroed(attenuator: Pump, meter: object) -> pump.Monitor:
        attenuator.done.append("zero")
        return pump.Monitor(meter, 20e-12, 1e-13)  # type: ignore[arg-type]

    monkeypatch.setattr(pump, "zeroed", zeroed)
    return powers


def nothing(*_: object) -> Result:
    return Result(())


def test_problems_reach_the_record(opened: Run) -> None:
    s = session(opened, measurement("gate", lambda *_: Result((), (), ("too narrow",))))
    s.make("gate")
    assert s.problems == ["GATE: too narrow"]


def test_the_pump_is_set_by_the_meter_s_reading_before_what_needs_the_pi_pulse(
    opened: Run, set_to: list[float]
) -> None:
    s = session(
        opened,
        measurement("rabi", nothing, sets_pump=True),
        measurement("hbt", nothing, at_pi_pulse=True),
    )
    s.make("hbt")
    assert set_to == [pytest.approx(20e-9)]
    # behind the highest attenuation, and back
    assert PUMP.done == [60.0, "zero", 17.0, "open"]
    s.make("hbt")
    assert len(set_to) == 1  # it is there
    s.make("rabi")
    s.make("hbt")
    assert len(set_to) == 2  # the scan has moved it


def test_an_error_on_measuring_again_tells_why_it_was_measured_again(
    opened: Run, set_to: list[float]
) -> None:
    def doubtful(s: Session, *_: object) -> Result:
        s.light.doubts.append("the light changed by -60 %")
        return Result(())

    def cavity(*_: object) -> Result:
        raise InconclusiveError("no resonance was found")

    s = session(
        opened,
        measurement("cavity", cavity),
        measurement("hbt", doubtful, at_pi_pulse=True),
    )
    with pytest.raises(InconclusiveError) as raised:
        s.make("hbt")
    assert str(raised.value).splitlines() == [
        "no resonance was found",
        "HBT was measured again, because: the light changed by -60 %",
    ]
    assert set_to == [pytest.approx(20e-9)]


def test_what_this_run_has_found_goes_before_an_earlier_run_s(opened: Run) -> None:
    found = Result((estimate("dead_time", 55e-9, 1e-9),))
    s = session(opened, measurement("dead_time", lambda *_: found, provides=("dead_time",)))
    assert s.known("dead_time").value == 30e-9
    s.make("dead_time")
    assert s.known("dead_time").value == 55e-9


def test_dead_pulses_of_a_blinking_source_are_more(opened: Run) -> None:
    s = session(opened)
    # 30 ns at 80 MHz are 2.4 periods: two whole ones; on for 1/(1 + 0.25) of the time
    assert s.dead_pulses(of_source=False) == 2.0
    assert s.dead_pulses() == pytest.approx(2.0 * 1.25)


def test_the_pulse_rate_is_the_measured_one_as_soon_as_it_is_known(opened: Run) -> None:
    s = session(opened)
    assert s.clock_rate_Hz() == 80e6  # nominal, of the station file
    s.found["clock_rate"] = estimate("clock_rate", 111e6)
    assert s.clock_rate_Hz() == 111e6
    assert s.dead_pulses(of_source=False) == 3.0  # 30 ns are 3.3 of these periods


def doubtful(times: int) -> tuple[Callable[..., Result], list[int]]:
    """A measurement that is doubted the first times."""
    calls: list[int] = []

    def run(s: Session, *_: object) -> Result:
        calls.append(len(calls))
        if len(calls) <= times:
            s.light.doubts.append("the light changed")
        return Result((), (), ("own problem",))

    return run, calls


@pytest.mark.parametrize(
    ("times", "problems"), [(1, ["own problem"]), (2, ["own problem", "the light changed"])]
)
def test_a_doubt_means_tuning_and_measuring_once_more_then_it_is_a_problem(
    opened: Run, set_to: list[float], times: int, problems: list[str]
) -> None:
    run, calls = doubtful(times)
    s = session(
        opened,
        measurement("cavity", nothing, sets_pump=True),
        measurement("hbt", run, at_pi_pulse=True),
    )
    s.make("hbt")
    assert len(calls) == 2
    assert s.made == ["cavity", "hbt"]
    assert len(set_to) == 2  # before it, and after the cavity was tuned at another power
    assert s.problems == [f"HBT: {p}" for p in problems]


def test_a_lost_lock_is_measured_once_more(opened: Run, set_to: list[float]) -> None:
    calls: list[int] = []

    def run(s: Session, *_: object) -> Result:
        calls.append(1)
        if len(calls) == 1:
            s.light.doubts.append("the light changed")  # no problem of the tuning that follows
            raise LockLostError("no peak")
        return Result(())

    s = session(opened, measurement("cavity", nothing), measurement("hbt", run, at_pi_pulse=True))
    s.make("hbt")
    assert len(calls) == 2
    assert s.problems == []


def fails(*_: object) -> Result:
    raise LockLostError("no peak")


def test_what_cannot_be_measured_is_an_error_a_problem_or_nothing(opened: Run) -> None:
    s = session(
        opened,
        measurement("needed", fails),
        measurement("optional", fails, calibration="if possible"),
        measurement("other", fails, calibration="if possible", used_by_key_rate=False),
    )
    registry = s._registry
    _make(s, registry, "other")
    assert s.problems == []
    _make(s, registry, "optional")
    assert s.problems == ["OPTIONAL: not measured: no peak"]
    with pytest.raises(LockLostError):
        _make(s, registry, "needed")


@pytest.mark.usefixtures("set_to")
def test_what_the_last_look_finds_is_a_problem(
    opened: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pump has grown by 25 %, and the room light is on.

    The light is recorded right after a lock, and not after a second of dark counts, in which a
    piezo that was tuned just before creeps.
    """
    s = session(opened)
    done: list[str] = []
    monkeypatch.setattr(Session, "relock_cavity", lambda _: done.append("lock"))
    look = LastLook(25e-9, 0.0, Counts((500, 480), 1.0))
    monkeypatch.setattr(last_look, "measure", lambda *_: done.append("dark") or look)
    monkeypatch.setattr("qdchar.lab.last_look._look_at_light", lambda _: done.append("light"))
    s.found["transmitter_efficiency"] = estimate("transmitter_efficiency", 0.4, 0.004)
    look_again(s)
    assert done == ["dark", "lock", "light"]
    assert len(s.problems) == 2
    assert "pump power changed by +25 %" in s.problems[0]
    assert "980 counts/s now" in s.problems[1]


def test_the_last_look_compares_the_light_on_both_sides_of_the_transmitter(
    opened: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are at half of what they were; too faint for more than that."""

    def recorded(name: str, path: str, clicks: int) -> TagRun:
        return TagRun(
            about=About("hbt", path=path),
            file=opened.raw / f"{name}.h5",
            channel_a=1,
            channel_b=2,
            channel_sync=0,
            sync_divider=64,
            duration_s=0.2,
            clicks=np.full((10, 2), clicks),
            slice_s=np.full(10, 0.02),
        )

    def too_faint(*_: object, **__: object) -> Result:
        raise InconclusiveError("too faint")

    s = session(opened)
    s.light.add_run(recorded("brightness", "before", 100_000))
    s.light.add_run(recorded("hbt_after", "after", 40_000))
    light = recorded("look_before", "before", 50_000), recorded("look_after", "after", 20_000)
    monkeypatch.setattr(last_look, "record_light", lambda *_: light)
    monkeypatch.setattr(analysis.brightness, "analyse", too_faint)
    s.certificate = lambda name: estimate(name, 0.7)  # type: ignore[method-assign]
    _look_at_light(s)
    before, after, last = s.light.take_doubts()
    assert before.startswith("look_before.h5: the light changed by -50 % since brightness.h5")
    assert after.startswith("look_after.h5: the light changed by -50 % since hbt_after.h5")
    assert last == "too faint"


class WholeStation(Station):
    """With instruments that say where they are."""

    file = SimpleNamespace(source="QD9", name="cellar", calibrations={}, nominal_clock_Hz=80e6)

    def __init__(self) -> None:
        self.path = "nowhere"

    def limits(self, _role: str) -> tuple[float, float]:
        return 0.0, 60.0

    def snapshot(self) -> dict[str, str]:
        return {"light_path": self.path}

    def identities(self) -> dict[str, Any]:
        names = {"vendor": "Maker", "model": "M1", "serial": "17"}
        return {k: SimpleNamespace(simulated=k == "b", **names) for k in ("a", "b")}

    def role(self, name: str, _kind: type) -> Any:
        voltage = {"cavity_fine": 23.5, "etalon_piezo": 71.25}.get(name)
        return SimpleNamespace(
            voltage=lambda: voltage,
            attenuation=lambda: 17.75,
            select=lambda position: setattr(self, "path", position),
            selected=lambda: self.path,
        )


def test_the_record_of_a_calibration_holds_what_was_found_and_how_the_source_was_left(
    opened: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (opened.raw / "x.csv").write_text("1\n")
    values = {"mean_photon_number": 0.37, "g2_zero": 0.021, "clock_rate": 81e6}
    found = Result(tuple(estimate(n, v, 0.01 * v) for n, v in values.items()), (), ("unsteady",))
    registry = {"all": measurement("all", lambda *_: found)}
    monkeypatch.setattr(module.preflight, "plan_calibration", lambda *_: Plan(("all",), {}))
    monkeypatch.setattr(module.preflight, "check", lambda *_, **__: None)
    monkeypatch.setattr(module, "look_again", lambda _: None)
    recipe = Recipe(valid_hours=7.0, min_rate_per_pulse=1.0)
    station, link, display = WholeStation(), Link(block_kind="asymptotic"), Display()
    outcome = calibrate(station, opened, recipe, link, display, registry)  # type: ignore[arg-type]
    assert display.lines[0] == "ALL, last look"
    record = load_record(opened.folder, accept=True)
    assert record.model_dump() == outcome.record.model_dump()
    assert {name: record.estimate(name).value for name in values} == values
    # of two photons in half of g2 n^2, of one in what is left of n
    assert record.estimate("p2").value == pytest.approx(0.5 * 0.021 * 0.37**2)
    assert record.estimate("p1").value == pytest.approx(0.37 - 0.021 * 0.37**2)
    assert (record.source, record.station, record.simulated) == ("QD9", "cellar", True)
    assert (record.valid_until - record.created).total_seconds() == 7 * 3600
    assert record.tuning == {
        "cavity_fine_V": 23.5,
        "etalon_piezo_V": 71.25,
        "pump_attenuation_dB": 17.75,
        "light_path": "after",  # a key exchange can begin
    }
    assert [f.file for f in record.raw] == ["raw/x.csv"]
    assert record.problems == ("ALL: unsteady",)
    # measured with a problem: inconclusive, although the rate is far below what is demanded
    assert outcome.verdict.decision == "INCONCLUSIVE"
    assert "nowhere" in (opened.folder / "snapshot_before.json").read_text()
    assert "after" in (opened.folder / "snapshot_after.json").read_text()


@pytest.mark.parametrize(("scatter", "times"), [(0.0, 1), (0.019, 2), (0.024, 3), (0.5, 10)])
def test_recordings_of_light_that_blinks_slowly_are_longer(
    opened: Run, scatter: float, times: int
) -> None:
    """Light that scatters by s beyond counting over 10 ms does by s/sqrt(2) over 20 ms."""
    s = session(opened)
    readouts, rate_Hz = 12, 2e7
    u_rate_Hz = math.hypot(scatter * rate_Hz, math.sqrt(rate_Hz / 0.01)) / math.sqrt(readouts)
    s.light.add_lock(LockResult(10.5, 1e-4, 0.0, 1e-4, rate_Hz, u_rate_Hz, 0.12, readouts))
    settings = dark_times.long_enough(s, HbtSettings(before_s=0.02, after_s=7.0), "before_s")
    assert settings.before_s == pytest.approx(0.02 * times)
    assert settings.after_s == 7.0
