"""Each exit code from the command line, as the number that scripts know.

A station of one instrument of the lab's own, and a measurement of the lab's own that ends as each
test wants.
"""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from qdchar.cli import run as qdchar_run
from qdchar.cli.fit._print import show
from qdchar.errors import (
    InconclusiveError,
    InstrumentError,
    LockLostError,
    RecordError,
    RefusedError,
    RunFolderError,
    UsageError,
)
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.interrupt import Terminated
from qdchar.keyrate import predict
from qdchar.lab import calibrate, preflight
from qdchar.lab.measurement import Measurement, NoSettings
from qdchar.lab.recipe import Recipe
from qdchar.lab.station import Station, load_station
from qdchar.link import Link
from qdchar.quantities import Quantity
from qdchar.record import make_record
from qdchar.roles import Identity
from qdchar.verdict import EXIT_CODES, Verdict

STATION = """
name = "lab"
source = "Q"
wavelength_m = 884.5e-9
nominal_clock_Hz = 76.13e6
measurements = { heating = "exit_code_lab:MEASUREMENT" }
[roles.heater]
driver = "exit_code_lab:Heater"
address = "test heater"
"""


class Heater:
    """An instrument that can do harm."""

    opens: ClassVar[bool] = True
    can_be_made_safe: ClassVar[bool] = True

    def __init__(self, address: str) -> None:
        self.address = address

    def open(self) -> None:
        if not self.opens:
            raise InstrumentError("the heater does not answer")

    def close(self) -> None: ...

    def make_safe(self) -> None:
        if not self.can_be_made_safe:
            raise InstrumentError("the heater stays on")

    def identify(self) -> Identity:
        return Identity("v", "m", "s", "f", self.address, False)

    def snapshot(self) -> dict[str, float]:
        return {"power_W": 3.0}


ENDS: list[BaseException | tuple[str, ...]] = [()]
"""How the measurement ends: with an error, or with these problems."""


def heat(session: Any, _settings: object, _progress: object) -> Result:
    session.station.role("heater", Heater)
    if isinstance(ENDS[0], BaseException):
        raise ENDS[0]
    return Result((), (), ENDS[0])


@pytest.fixture(autouse=True)
def _lab() -> Iterator[None]:
    module: Any = types.ModuleType("exit_code_lab")
    module.Heater = Heater
    module.MEASUREMENT = Measurement(
        name="heating",
        title="heating",
        run=heat,
        settings=NoSettings,
        provides=(Quantity("exit_code_heat", "W", "P", "heat", "of the heater"),),
        roles=("heater",),
    )
    sys.modules["exit_code_lab"] = module
    ENDS[0] = ()
    Heater.opens = Heater.can_be_made_safe = True
    yield
    del sys.modules["exit_code_lab"]


@pytest.fixture
def qdchar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run a verb with --json; the exit code stands in the line of JSON, too."""
    (tmp_path / "station.toml").write_text(STATION)

    def run(*words: str, station: bool = True) -> tuple[int, dict[str, Any]]:
        given = ("--station", str(tmp_path / "station.toml")) if station else ()
        code = qdchar_run([*words, *given, "--json"])
        line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert line["exit_code"] == code, line
        return code, line

    return run


Qdchar = Callable[..., tuple[int, dict[str, Any]]]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ((), 0),
        (("it scatters",), 11),
        (UsageError("no"), 2),
        (InconclusiveError("no"), 11),
        (LockLostError("no"), 11),
        (InstrumentError("no"), 20),
        (RefusedError("no"), 21),
        (RunFolderError("no"), 23),
        (OSError(errno.ENOSPC, "No space left on device"), 23),
        (RecordError("no"), 30),
        (KeyboardInterrupt(), 130),
        (Terminated(signal.SIGTERM), 143),
        (Terminated(signal.SIGHUP), 129),
        (Terminated(signal.SIGQUIT), 131),
        (ZeroDivisionError("ours"), 1),
    ],
    ids=repr,
)
def test_a_measurement_ends_with_the_number_of_what_ended_it(
    qdchar: Qdchar, tmp_path: Path, end: Any, code: int
) -> None:
    ENDS[0] = end
    assert qdchar("measure", "heating", "--out", str(tmp_path / "runs"))[0] == code


def test_what_cannot_be_made_safe_is_louder_than_what_ended_the_run(
    qdchar: Qdchar, tmp_path: Path
) -> None:
    Heater.can_be_made_safe = False
    for end in (InconclusiveError("no"), KeyboardInterrupt()):
        ENDS[0] = end
        code, line = qdchar("measure", "heating", "--out", str(tmp_path / "runs"))
        assert code == 22
        assert "MAKE-SAFE FAILED" in line["error"]


def test_safe_and_check_say_that_an_instrument_is_dead(qdchar: Qdchar) -> None:
    assert qdchar("safe") == (0, {"exit_code": 0, "safe": ["heater"]})
    assert qdchar("check")[0] == 0
    Heater.opens = False
    assert qdchar("safe")[0] == 22
    code, line = qdchar("check")
    assert code == 20
    assert "does not answer" in line["instruments"]["heater"]["error"]


def test_check_says_that_a_role_is_unknown(qdchar: Qdchar, tmp_path: Path) -> None:
    file = tmp_path / "station.toml"
    more = '[roles.heeter]\ndriver = "exit_code_lab:Heater"\naddress = "test heeter"\n'
    file.write_text(STATION + more)
    code, line = qdchar("check")
    assert code == 2
    assert "[roles.heeter]: no measurement uses this role" in line["station_file"][0]


@pytest.mark.parametrize(
    "words", [("info",), ("info", "x", "--colour"), ("calibrate", "--seed", "x"), ("no-verb",)]
)
def test_a_wrong_command_line_ends_with_2(qdchar: Qdchar, words: tuple[str, ...]) -> None:
    assert qdchar(*words, station=False)[0] == 2


@pytest.mark.parametrize("code", [0, 10, 11])
def test_a_calibration_ends_with_its_verdict(
    qdchar: Qdchar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (rate,) = predict(link=Link(block_kind="asymptotic"), comparators=())
    decision = {code: decision for decision, code in EXIT_CODES.items()}[code]
    record = SimpleNamespace(quantities={}, problems=())
    outcome = SimpleNamespace(
        rate=rate, verdict=Verdict(decision, ()), record=record, faults=(), assumptions=()
    )
    monkeypatch.setattr(preflight, "check", lambda *_, **__: None)
    monkeypatch.setattr(calibrate, "calibrate", lambda *_, **__: outcome)
    monkeypatch.setattr("qdchar.report.write_report", lambda *_: tmp_path / "report.html")
    monkeypatch.setattr("qdchar.cli.calibrate._summary.print_summary", lambda _: None)
    ended, line = qdchar("calibrate", "--out", str(tmp_path / "runs"))
    assert (ended, line["exit_code"]) == (code, code)
    assert line["verdict"] == {0: "GO", 10: "NO-GO", 11: "INCONCLUSIVE"}[code]


def test_a_calibration_of_the_simulated_lab_is_given_its_options(
    qdchar: Qdchar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    judged: list[tuple[Recipe, Link]] = []

    def simulated(seed: int, settings: tuple[str, ...], say: Callable[[str], None]) -> Station:
        asked.append((seed, settings))
        return load_station(tmp_path / "station.toml", say)

    @contextmanager
    def lab(_: Station, folder: Path | None = None, faults: tuple[str, ...] = ()) -> Any:
        if folder is not None:  # not on entering the station
            asked.append(faults)
        yield SimpleNamespace(lab_s=lambda: 3.0)

    def run(_station: Any, _run: Any, recipe: Recipe, link: Link, *_: Any, **__: Any) -> Any:
        judged.append((recipe, link))
        raise InconclusiveError("enough")

    monkeypatch.setattr("qdchar.lab.simulated_station.simulated_station", simulated)
    monkeypatch.setattr(Station, "simulated_lab", lab)
    # its own instruments are not enough for a whole calibration
    monkeypatch.setattr("qdchar.lab.preflight.check", lambda *_, **__: None)
    monkeypatch.setattr(
        "qdchar.lab.preflight.plan_calibration", lambda *_: SimpleNamespace(measurements=())
    )
    monkeypatch.setattr(calibrate, "calibrate", run)
    (tmp_path / "link.toml").write_text("channel_loss = 21.5\n")
    (tmp_path / "recipe.toml").write_text("min_rate_per_pulse = 3e-4\n")
    files = ("--link", str(tmp_path / "link.toml"), "--recipe", str(tmp_path / "recipe.toml"))
    lab_of = ("--seed", "41", "--set", "source.g2=0.05", "--fault", "room_light")
    out = ("--out", str(tmp_path / "runs"))
    code, line = qdchar("calibrate", *files, *lab_of, *out, station=False)
    assert (code, line["error"]) == (11, "enough")
    assert asked == [(41, ("source.g2=0.05",)), ("room_light",)]
    ((recipe, link),) = judged
    assert (recipe.min_rate_per_pulse, link.channel_loss.value) == (3e-4, 21.5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "source.g2=0.05"), "--set changes the simulated lab"),
        (("--ideal",), "--ideal changes the simulated lab"),
        (("--fault", "room_light"), "--fault changes the simulated lab"),
        (("--dry-run", "--resume", "run"), "--dry-run shows a calibration that measures"),
        (("--dry-run", "--take-over", "run"), "--dry-run shows a calibration that measures"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_options_that_would_be_ignored_are_refused(
    qdchar: Qdchar, words: tuple[str, ...], says: str
) -> None:
    code, line = qdchar("calibrate", *words)
    assert code == 2
    assert says in line["error"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_is_lost_ends_with_23() -> None:
    command = [sys.executable, "-m", "qdchar", "--version"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 23
    assert "standard output cannot be written" in done.stderr


def write_record(folder: Path, valid_for: timedelta) -> str:
    values = (("mean_photon_number", 0.3, 0.01), ("g2_zero", 0.01, 1e-4), ("clock_rate", 8e7, 1.0))
    record = make_record(
        [
            Estimate(name=name, value=value, method="", budget=(Contribution(name, u),))
            for name, value, u in values
        ],
        qdchar_version="0",
        source="Q",
        station="lab",
        simulated=False,
        valid_for=valid_for,
        tuning={},
    )
    record.write(folder / "record.json")
    return str(folder / "record.json")


def test_a_stale_record_ends_with_30(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--block-kind", "asymptotic", "--p-z", "0.9")
    fresh = write_record(tmp_path, timedelta(hours=1))
    assert qdchar_run(["keyrate", fresh, *words]) == 0
    stale = write_record(tmp_path, timedelta(hours=-1))
    assert qdchar_run(["keyrate", stale, *words]) == 30
    assert "stale" in capsys.readouterr().err


def test_a_damaged_file_ends_with_30(qdchar: Qdchar, tmp_path: Path) -> None:
    file = tmp_path / "x.ptu"
    file.write_bytes(b"PQTTTR\0\0")
    assert qdchar("info", str(file), station=False)[0] == 30
    assert qdchar("reprocess", str(file), "--executor", "serial", station=False)[0] == 30


def test_a_fit_with_a_problem_ends_with_11(capsys: pytest.CaptureFixture[str]) -> None:
    for problems, code in (((), 0), (("an extrapolation",), 11)):
        assert show(Result((), (), problems), None, json_line=True) == code
        line = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (line["exit_code"], line["problems"]) == (code, list(problems))
