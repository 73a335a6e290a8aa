"""Every way out of a measurement leaves piezo and shutter as the station's policy says.

The simulated lab and the measurement are programs of their own. This test watches the piezo's
console until the sweep of the cavity has passed 20 V, then ends the measurement in one of many
ways, and reads piezo and shutter from their wires. The policy under test stands for the occasion
that is expected; for the other occasions the opposite one stands, so that a mix-up shows.

The programs are forked from one that has imported qdchar, because importing it takes longer than
the sweep.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from qdchar.cli import main

from .test_safety import Console

_OPPOSITE = {"hold": "ramp_ground", "ramp_ground": "hold"}
_SHUTTER = {"hold": "hold", "ramp_ground": "block"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Station file of a simulated lab that runs for all tests here."""
    file = tmp_path_factory.mktemp("lab") / "station.toml"
    command = [sys.executable, "-m", "qdchar", "twin", "--json", "--until-stdin-closes"]
    with subprocess.Popen(
        [*command, "--port", "0", "--station", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdout is not None
        assert served.stdin is not None
        assert "ports" in json.loads(served.stdout.readline())
        yield file.read_text()
        served.stdin.close()
        served.wait(10)


class Proxy:
    """Passes bytes between a driver and the piezo's console until it is told to drop them."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("tcp://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[socket.socket] = []
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(self._target)
                self._pairs += [here, there]
                for a, b in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=(a, b), daemon=True).start()

    def _pass(self, a: socket.socket, b: socket.socket) -> None:
        with suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)

    def drop(self, *, for_good: bool) -> None:
        if for_good:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        while self._pairs:
            connection = self._pairs.pop()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


_FAULTY = """
from qdchar.drivers.attocube_anc300 import OffsetAxis

class Vendor(Exception):
    def __str__(self):
        return "vendor's error -37"

class Odd(BaseException):
    pass

class Axis(OffsetAxis):
    def set_voltage(self, voltage_V):
        super().set_voltage(voltage_V)
        if voltage_V > 20.0:
            raise {error}
"""


@dataclass(frozen=True)
class WayOut:
    """How a measurement ends, and what must come of it."""

    name: str
    occasion: str
    """Empty for whichever it is."""
    code: int | tuple[int, ...]
    end: Callable[[ForkServerProcess, Proxy], None] = lambda _process, _proxy: None
    error: str = ""
    says: str = ""
    closed: tuple[int, ...] = ()
    largest_file: int = 0
    """Bytes that a file may have, as on a disk that is full; 0 for any."""
    reads_one_line: bool = False
    link_dies: bool = False


def _sends(number: int, times: int = 1) -> Callable[[ForkServerProcess, Proxy], None]:
    def send(process: ForkServerProcess, _proxy: Proxy) -> None:
        for _ in range(times):
            assert process.pid is not None
            with suppress(ProcessLookupError):  # it may have ended after the first
                os.kill(process.pid, number)
            time.sleep(0.02)

    return send


_WAYS = [
    WayOut("success", "on_success", 0),
    WayOut("head -1", "on_success", 0, reads_one_line=True),
    WayOut("vendor's exception", "on_error", 20, error="Vendor", says="vendor's error -37"),
    WayOut("zero division", "on_error", 20, error="ZeroDivisionError", says="ZeroDivisionError"),
    WayOut("permission", "on_error", 20, error="PermissionError(13, 'tty')", says="tty"),
    WayOut("sys.exit", "on_error", 1, error="SystemExit(0)"),
    WayOut("base exception", "on_error", 1, error="Odd"),
    WayOut("Ctrl-C", "on_interrupt", 130, _sends(signal.SIGINT)),
    WayOut("four Ctrl-C", "on_interrupt", 130, _sends(signal.SIGINT, 4)),
    WayOut("SIGTERM", "on_interrupt", 143, _sends(signal.SIGTERM)),
    WayOut("SIGHUP", "on_interrupt", 129, _sends(signal.SIGHUP)),
    WayOut("SIGQUIT", "on_interrupt", 131, _sends(signal.SIGQUIT)),
    WayOut("stderr closed", "on_interrupt", 143, _sends(signal.SIGTERM), closed=(2,)),
    WayOut("all closed", "on_interrupt", 129, _sends(signal.SIGHUP), closed=(0, 1, 2)),
    WayOut(
        "head -1, then SIGTERM", "on_interrupt", 143, _sends(signal.SIGTERM), reads_one_line=True
    ),
    # the driver reconnects; depending on the moment the measurement goes on, or ends
    WayOut("socket dropped", "", (0, 20), lambda _, proxy: proxy.drop(for_good=False)),
    WayOut("disk full", "on_error", 23, says="cavity_survey.csv", largest_file=40_000),
    WayOut("link dead", "on_error", 20, lambda _, p: p.drop(for_good=True), link_dies=True),
]


def _station(lab: str, folder: Path, way: WayOut, policy: str, proxy: Proxy, address: str) -> Path:
    text = lab.replace(address, proxy.address)
    for occasion in ("on_success", "on_error", "on_interrupt"):
        p = policy if way.occasion in ("", occasion) else _OPPOSITE[policy]
        cavity, pump = f'{occasion} = "{p}"', f'{occasion} = "{_SHUTTER[p]}"'
        head, cavity_table, rest = re.split(r"(?s)(\[roles.cavity_fine\].*?\n\n)", text)
        cavity_table = re.sub(f"(?m)^{occasion} = .*$", cavity, cavity_table)
        text = head + cavity_table + rest
        head, pump_table, rest = re.split(r"(?s)(\[roles.pump_attenuator\].*?\n\n)", text)
        pump_table = re.sub(f"(?m)^{occasion} = .*$", pump, pump_table)
        text = head + pump_table + rest
    if way.error:
        (folder / "faulty.py").write_text(_FAULTY.format(error=way.error))
        text = text.replace("qdchar.drivers.attocube_anc300:OffsetAxis", "faulty:Axis")
    file = folder / "station.toml"
    file.write_text(text)
    return file


def _shutter_is_open(lab: str) -> bool:
    host, port = (
        tomllib.loads(lab)["roles"]["pump_attenuator"]["address"].removeprefix("tcp://").split(":")
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"OUTP1?\n")
        return bool(int(float(connection.recv(100).decode())))


def _program(
    arguments: Sequence[str],
    out: Path,
    err: Path,
    closed: Sequence[int],
    hangup: int,
    largest_file: int,
) -> None:
    """Be the command ``qdchar``, in a process of its own."""
    for number, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number in closed:
        os.close(number)
    signal.signal(signal.SIGHUP, hangup)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = ["qdchar", *arguments]
    main()


def _start(
    arguments: Sequence[str],
    out: Path,
    err: Path,
    closed: Sequence[int] = (),
    hangup: int = signal.SIG_DFL,
    largest_file: int = 0,
) -> ForkServerProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qdchar.cli.measure", "qdchar.lab.extensions", __name__])
    process = context.Process(
        target=_program, args=(arguments, out, err, closed, hangup, largest_file)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2])  # so that it finds this module
        process.start()
    return process


def _finished(process: ForkServerProcess) -> int:
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


@pytest.mark.parametrize("policy", ["hold", "ramp_ground"])
@pytest.mark.parametrize("way", _WAYS, ids=lambda way: way.name)
def test_piezo_and_shutter_are_left_as_the_policy_says(
    lab: str, tmp_path: Path, way: WayOut, policy: str
) -> None:
    address = tomllib.loads(lab)["links"]["anc"]["address"]
    proxy = Proxy(address)
    file = _station(lab, tmp_path, way, policy, proxy, address)
    out, err = tmp_path / "out.txt", tmp_path / "err.txt"
    arguments = ["measure", "cavity", "--json", "--station", str(file)]
    with Console(address) as console:
        console.ask("setm 3 off")
        console.ask("seta 3 0")
        if way.reads_one_line:
            os.mkfifo(err)
            process = _start([*arguments, "--out", str(tmp_path)], err, err)
            with err.open() as reader:
                reader.readline()
        else:
            process = _start(
                [*arguments, "--out", str(tmp_path)],
                out,
                err,
                way.closed,
                largest_file=way.largest_file,
            )
        deadline = time.monotonic() + 60
        while console.voltage() < 20.0 and time.monotonic() < deadline and process.is_alive():
            time.sleep(0.01)
        way.end(process, proxy)
        code = _finished(process)
        voltage = console.voltage()
    told = "" if way.reads_one_line else err.read_text()
    if way.link_dies and policy == "ramp_ground":
        assert code == 22, told
        assert "MAKE-SAFE FAILED" in told
        assert "cavity_fine" in told
        assert voltage >= 20.0
    else:
        assert code in (way.code if isinstance(way.code, tuple) else (way.code,)), told
        assert (voltage == 0.0) == (policy == "ramp_ground")
    assert _shutter_is_open(lab) == (policy == "hold")
    assert way.says in told
    if not way.reads_one_line and 1 not in way.closed:
        assert json.loads(out.read_text().splitlines()[-1])["exit_code"] == code
    if way.largest_file:
        (survey,) = tmp_path.glob("*/raw/cavity_survey.csv")
        assert len(survey.read_text().splitlines()) > 300


def test_a_program_started_by_nohup_stays_when_the_terminal_goes(lab: str, tmp_path: Path) -> None:
    file, out, err = tmp_path / "station.toml", tmp_path / "out.txt", tmp_path / "err.txt"
    file.write_text(lab)
    arguments = ["measure", "dark", "--json", "--station", str(file), "--out", str(tmp_path)]
    process = _start(arguments, out, err, hangup=signal.SIG_IGN)
    while not (err.exists() and err.stat().st_size) and process.is_alive():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGHUP)
    assert _finished(process) == 0, err.read_text()
