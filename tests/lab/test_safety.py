"""What happens to the instruments when a program is broken off or refused, read from the wire.

The simulated lab runs as a program of its own, the calibration as another; this test is a third,
which talks to the piezo console directly.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .ways_out import Console


@pytest.fixture
def station_file(tmp_path: Path) -> Iterator[Path]:
    """Station file of a simulated lab that is running."""
    file = tmp_path / "station.toml"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "qdchar", "twin", "--json", "--until-stdin-closes"),
            *("--port", "0", "--station", str(file)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as lab:
        assert lab.stdout is not None
        assert lab.stdin is not None
        assert "ports" in json.loads(lab.stdout.readline())
        yield file
        lab.stdin.close()
        lab.wait(10)


def _nobody_listens() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{free.getsockname()[1]}"


def _console(station_file: Path) -> Console:
    return Console(tomllib.loads(station_file.read_text())["links"]["anc"]["address"])


def _change(station_file: Path, old: str, new: str) -> None:
    text = station_file.read_text()
    assert old in text
    station_file.write_text(text.replace(old, new))


def _calibration(station_file: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "qdchar", "calibrate", "--json", "--station", str(station_file)),
        *("--out", str(station_file.parent / "runs")),
    ]


def _calibrate(station_file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_calibration(station_file), *more],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _wait_for(console: Console, voltage: float) -> None:
    deadline = time.monotonic() + 60
    while console.voltage() < voltage and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("policy", ["hold", "ramp_ground"])
def test_a_signal_during_the_cavity_scan(
    station_file: Path, number: signal.Signals, policy: str
) -> None:
    _change(station_file, 'on_interrupt = "ramp_ground"', f'on_interrupt = "{policy}"')
    code = {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    with (
        _console(station_file) as console,
        subprocess.Popen(
            _calibration(station_file),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as calibration,
    ):
        _wait_for(console, 20.0)
        calibration.send_signal(number)
        time.sleep(0.02)
        calibration.send_signal(signal.SIGINT)  # a second one must not stop the ramp
        out, err = calibration.communicate(timeout=60)
        assert calibration.returncode == code, err
        assert json.loads(out.splitlines()[-1])["exit_code"] == code
        if policy == "hold":
            assert console.voltage() >= 20.0
        else:
            assert console.voltage() == 0.0
    # what was measured until then is on disk
    (survey,) = (station_file.parent / "runs").glob("*/raw/cavity_survey.csv")
    assert len(survey.read_text().splitlines()) > 100


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_after_the_terminal_has_gone(
    station_file: Path, number: signal.Signals, code: int
) -> None:
    """Whatever is printed to standard error raises by then: make-safe must happen all the same."""
    reading_end, writing_end = os.pipe()
    with (
        _console(station_file) as console,
        subprocess.Popen(
            _calibration(station_file), stdout=subprocess.PIPE, stderr=writing_end, text=True
        ) as calibration,
    ):
        os.close(writing_end)
        _wait_for(console, 20.0)
        os.close(reading_end)
        calibration.send_signal(number)
        out, _ = calibration.communicate(timeout=60)
        assert console.voltage() == 0.0
        assert calibration.returncode == code
        assert json.loads(out.splitlines()[-1])["exit_code"] == code


@pytest.mark.parametrize(
    ("recipe", "code", "says"),
    [
        ("[cavity]\nstop_V = 90.0\n", 21, "60"),
        ("[etalon]\nstop_V = 200.0\n", 21, "150"),
        ("[dark]\ndwell_s = -1.0\n", 2, "dark.dwell_s"),
        ("[dark]\ncolour = 1\n", 2, "dark.colour"),
        ("[limits.g3_zero]\nmax = 1.0\n", 2, "g3_zero"),
    ],
)
def test_a_recipe_is_refused_before_anything_moves(
    station_file: Path, recipe: str, code: int, says: str
) -> None:
    file = station_file.parent / "recipe.toml"
    file.write_text(recipe)
    with _console(station_file) as console:
        console.ask("setm 3 off")  # the cavity is tuned, and must stay so
        console.ask("seta 3 12.5")
        done = _calibrate(station_file, "--recipe", str(file))
        assert done.returncode == code, done.stderr
        assert says in json.loads(done.stdout.splitlines()[-1])["error"]
        assert console.voltage() == 12.5


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("slew_V_per_s", "slow_V_per_s", 2, "roles.cavity_fine: unknown key 'slow_V_per_s'"),
        ("limits_V = [0.0, 60.0]", "limits_V = [0.0, 500.0]", 2, "roles.cavity_fine"),
        ('password = "123456"', 'password = "wrong"', 20, "password"),
    ],
)
def test_a_station_is_refused_by_key(
    station_file: Path, old: str, new: str, code: int, says: str
) -> None:
    _change(station_file, old, new)
    done = _calibrate(station_file)
    assert done.returncode == code, done.stderr
    assert says in json.loads(done.stdout.splitlines()[-1])["error"]


@pytest.mark.parametrize("certificate", ["detector_efficiency", "cavity_vibration", "etalon_fsr"])
def test_a_missing_certificate_is_told_before_anything_moves(
    station_file: Path, certificate: str
) -> None:
    _change(station_file, f"[calibrations.{certificate}]", "[calibrations.of_another_name]")
    with _console(station_file) as console:
        console.ask("setm 3 off")
        console.ask("seta 3 12.5")
        done = _calibrate(station_file)
        assert done.returncode == 2, done.stderr
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        assert f"[calibrations.{certificate}] is missing" in error
        assert "[calibrations.of_another_name]: no measurement uses this certificate" in error
        assert console.voltage() == 12.5
    assert not list((station_file.parent / "runs").glob("*/raw/*"))


def test_a_wrong_port_says_where(station_file: Path) -> None:
    address = tomllib.loads(station_file.read_text())["roles"]["tagger"]["address"]
    dead = _nobody_listens()
    _change(station_file, address, dead)
    done = _calibrate(station_file)
    assert done.returncode == 20
    assert dead.removeprefix("tcp://") in json.loads(done.stdout.splitlines()[-1])["error"]


def _run(station_file: Path, *verb: str) -> tuple[int, dict[str, Any]]:
    """Exit code and line of JSON of a verb."""
    done = subprocess.run(
        [sys.executable, "-m", "qdchar", *verb, "--station", str(station_file), "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_check_reads_and_safe_grounds(station_file: Path) -> None:
    with _console(station_file) as console:
        console.ask("setm 3 off")
        console.ask("seta 3 12.5")
        code, answer = _run(station_file, "check")
        assert code == 0, answer
        assert answer["instruments"]["cavity_fine"]["identity"]["simulated"] is True
        assert console.voltage() == 12.5
        code, answer = _run(station_file, "safe")
        assert code == 0, answer
        assert console.voltage() == 0.0


def test_a_dead_instrument_does_not_keep_the_others_from_safety(station_file: Path) -> None:
    """The dead one stands between the piezo and the modulator in the station file."""
    roles = tomllib.loads(station_file.read_text())["roles"]
    order = list(roles)
    assert order.index("cavity_fine") < order.index("pump_attenuator") < order.index("modulator")
    _change(station_file, roles["pump_attenuator"]["address"], _nobody_listens())
    with _console(station_file) as console:
        console.ask("setm 3 off")
        console.ask("seta 3 12.5")
        code, answer = _run(station_file, "safe")
        assert console.voltage() == 0.0
    assert (code, answer["exit_code"]) == (22, 22)
    dead, _, alive = answer["error"].partition(" Safe: ")
    assert "pump_attenuator" in dead
    assert not any(role in dead for role in ("cavity_fine", "etalon_piezo", "modulator"))
    assert {"cavity_fine", "etalon_piezo", "modulator"} <= set(alive.split(", "))


@pytest.mark.parametrize("error", ["ConnectionRefusedError", "RuntimeError"])
def test_a_driver_of_the_lab_that_cannot_open(station_file: Path, error: str) -> None:
    (station_file.parent / "own_meter.py").write_text(
        "from qdchar.drivers.thorlabs_pm100 import PM100\n\n\n"
        "class OwnMeter(PM100):\n"
        "    def open(self):\n"
        f"        raise {error}('its library says -7')\n"
    )
    _change(station_file, "qdchar.drivers.thorlabs_pm100:PM100", "own_meter:OwnMeter")
    says = f"OwnMeter cannot be opened: {error}: its library says -7"
    code, answer = _run(station_file, "check")
    assert (code, answer["exit_code"]) == (20, 20)
    assert says in answer["instruments"]["pump_power"]["error"]
    assert "identity" in answer["instruments"]["cavity_fine"]
    code, answer = _run(station_file, "measure", "dark", "--out", str(station_file.parent / "runs"))
    assert (code, answer["exit_code"]) == (20, 20)
    assert says in answer["error"]
