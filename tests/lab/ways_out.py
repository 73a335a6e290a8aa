"""The ways in which a measurement can end, and what they leave of piezo and shutter.

The simulated lab and the measurement are programs of their own. `leave` watches the piezo's
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Self

from qdchar.cli import main
from qdchar.lab.run import read_log

POLICIES = ("hold", "ramp_ground")
MOVED_V = 20.0
"""Where the sweep is when the measurement is ended [V]."""
_OPPOSITE = {"hold": "ramp_ground", "ramp_ground": "hold"}
_SHUTTER = {"hold": "hold", "ramp_ground": "block"}


class Console:
    """A plain client of the piezo controller's console."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("tcp://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=10)
        self.ask("123456")
        self.ask("echo off")

    def ask(self, line: str) -> str:
        self._socket.sendall(line.encode() + b"\r\n")
        answer = b""
        while not re.search(rb"(OK|ERROR|success|failed)\s*(\r\n)?(> )?$", answer):
            more = self._socket.recv(4096)
            if not more:
                break
            answer += more
        return answer.decode("latin-1")  # it starts with telnet negotiation

    def voltage(self) -> float:
        answer = self.ask("geta 3")
        match = re.search(r"voltage = ([-\d.]+) V", answer)
        assert match, answer
        return float(match.group(1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@contextmanager
def simulated_station(folder: Path) -> Iterator[str]:
    """Run a simulated lab; yields the text of its station file."""
    file = folder / "station.toml"
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


Spoil = Callable[[bytes], bytes]


class Proxy:
    """Passes bytes between a driver and the piezo's console until it is told to break them."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("tcp://").split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[socket.socket] = []
        self._spoil: Spoil = bytes
        self._to_spoil = 0.0
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(self._target)
                self._pairs += [here, there]
                for a, b, spoils in ((here, there, False), (there, here, True)):
                    threading.Thread(target=self._pass, args=(a, b, spoils), daemon=True).start()

    def _pass(self, a: socket.socket, b: socket.socket, spoils: bool) -> None:
        with suppress(OSError):
            while data := a.recv(65536):
                if spoils and self._to_spoil > 0:
                    self._to_spoil -= 1
                    data = self._spoil(data)
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)

    def spoil(self, change: Spoil, replies: float) -> None:
        """Change the next replies of the console."""
        self._spoil, self._to_spoil = change, replies

    def drop(self, *, for_good: bool) -> None:
        if for_good:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        while self._pairs:
            connection = self._pairs.pop()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self) -> None:
        """End all threads."""
        with suppress(OSError):
            self.drop(for_good=True)


_FAULTY = """
import asyncio
from qdchar.drivers.attocube_anc300 import OffsetAxis

class Vendor(Exception):
    def __str__(self):
        return "vendor's error -37"

class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Odd(BaseException):
    pass

class Stopped(KeyboardInterrupt):
    pass

def recurse():
    recurse()

class Axis(OffsetAxis):
    def set_voltage(self, voltage_V):
        super().set_voltage(voltage_V)
        if voltage_V > 20.0:
            {statement}
"""


@dataclass(frozen=True)
class WayOut:
    """How a measurement ends, and what must come of it."""

    name: str
    occasion: str
    """Empty for whichever it is."""
    code: int | tuple[int, ...]
    end: Callable[[ForkServerProcess, Proxy], None] = lambda _process, _proxy: None
    statement: str = ""
    """What the driver of the piezo does after it has passed 20 V."""
    says: str = ""
    closed: tuple[int, ...] = ()
    largest_file: int = 0
    """Bytes that a file may have, as on a disk that is full; 0 for any."""
    reads_one_line: bool = False
    link_dies: bool = False
    like: str = ""
    """Another way that the program takes for the same; the tests take one policy of this one."""


def _sends(number: int, times: int = 1) -> Callable[[ForkServerProcess, Proxy], None]:
    def send(process: ForkServerProcess, _proxy: Proxy) -> None:
        for _ in range(times):
            assert process.pid is not None
            with suppress(ProcessLookupError):  # it may have ended after the first
                os.kill(process.pid, number)
            time.sleep(0.02)

    return send


def _spoils(change: Spoil, replies: float) -> Callable[[ForkServerProcess, Proxy], None]:
    return lambda _process, proxy: proxy.spoil(change, replies)


def _garbled(data: bytes) -> bytes:
    return re.sub(rb"[^\r\n]", b"\xa5", data)


def _wrong_number(data: bytes) -> bytes:
    return re.sub(rb"\d", b"?", data)


def _late(data: bytes) -> bytes:
    time.sleep(3.0)  # the driver waits for 2 s
    return data


def _lost(_data: bytes) -> bytes:
    return b""


def _driver(
    name: str, statement: str, says: str, occasion: str = "on_error", code: int = 20
) -> WayOut:
    like = "" if name == "vendor's exception" else "vendor's exception"
    return WayOut(name, occasion, code, statement=statement, says=says, like=like)


_FOREVER = float("inf")
WAYS = [
    WayOut("success", "on_success", 0),
    WayOut("head -1", "on_success", 0, reads_one_line=True, like="success"),
    _driver("vendor's exception", "raise Vendor", "vendor's error -37"),
    _driver("exception without text", "raise Wordless", "Wordless"),
    _driver("zero division", "1 / 0", "ZeroDivisionError"),
    _driver("permission", "raise PermissionError(13, 'tty')", "tty"),
    _driver("no space in the driver", "raise OSError(28, 'buffer')", "buffer"),
    _driver("memory", "bytearray(1 << 62)", "MemoryError"),
    _driver("recursion", "recurse()", "RecursionError"),
    _driver("stop iteration", "next(iter(()))", "StopIteration"),
    _driver("group", "raise ExceptionGroup('two', [OSError(5, 'io')])", "ExceptionGroup"),
    _driver("warning", "raise UserWarning('hot')", "hot"),
    _driver("sys.exit", "raise SystemExit(0)", "SystemExit"),
    _driver("base exception", "raise Odd", "Odd"),
    _driver("generator exit", "raise GeneratorExit", "GeneratorExit"),
    _driver("cancelled", "raise asyncio.CancelledError", "CancelledError"),
    _driver("own interrupt", "raise Stopped", "interrupted", "on_interrupt", 130),
    WayOut("Ctrl-C", "on_interrupt", 130, _sends(signal.SIGINT)),
    WayOut("four Ctrl-C", "on_interrupt", 130, _sends(signal.SIGINT, 4)),
    WayOut("SIGTERM", "on_interrupt", 143, _sends(signal.SIGTERM)),
    WayOut("SIGHUP", "on_interrupt", 129, _sends(signal.SIGHUP)),
    WayOut("SIGQUIT", "on_interrupt", 131, _sends(signal.SIGQUIT), like="SIGHUP"),
    WayOut("stderr closed", "on_success", 0, closed=(2,), like="success"),
    WayOut("stderr closed, SIGTERM", "on_interrupt", 143, _sends(signal.SIGTERM), closed=(2,)),
    WayOut("all closed, SIGHUP", "on_interrupt", 129, _sends(signal.SIGHUP), closed=(0, 1, 2)),
    WayOut(
        "head -1, then SIGTERM", "on_interrupt", 143, _sends(signal.SIGTERM), reads_one_line=True
    ),
    # the driver reconnects; depending on the moment the measurement goes on, or ends
    WayOut("socket dropped", "", (0, 20), lambda _, proxy: proxy.drop(for_good=False)),
    WayOut("reply garbled", "on_error", 20, _spoils(_garbled, 1), says="not text"),
    WayOut("reply with a wrong number", "on_error", 20, _spoils(_wrong_number, 2), like="garbled"),
    WayOut("reply late", "on_error", 20, _spoils(_late, 1), says="no answer", like="reply lost"),
    WayOut("reply lost", "on_error", 20, _spoils(_lost, 1), says="no answer"),
    WayOut("disk full", "on_error", 23, says="cavity_survey.csv", largest_file=40_000),
    WayOut("link dead", "on_error", 20, lambda _, p: p.drop(for_good=True), link_dies=True),
    WayOut(
        "all replies lost", "on_error", 20, _spoils(_lost, _FOREVER), link_dies=True, like="dead"
    ),
    WayOut(
        "all replies garbled",
        "on_error",
        20,
        _spoils(_garbled, _FOREVER),
        link_dies=True,
        like="dead",
    ),
]


@dataclass(frozen=True)
class Left:
    """What a measurement left.

    Attributes
    ----------
    code
        Its exit code.
    voltage_V
        Of the piezo, from its console.
    shutter_open
        From the attenuator's wire.
    told
        What it wrote to standard error; empty where that was not kept.
    line
        The last line of its standard output; None where that was not kept.
    reason
        Why it ended, from the log of its run.
    too_early
        Whether the sweep was never seen beyond 20 V, as where a loaded machine kept an instrument
        from answering in time: then the way out was not tried.
    """

    code: int
    voltage_V: float
    shutter_open: bool
    told: str
    line: str | None
    reason: str = ""
    too_early: bool = False


def wrong_with(left: Left, way: WayOut, policy: str) -> list[str]:
    """Say in what a measurement did not end as it must; empty if it did."""
    if left.too_early:
        return [f"the sweep never passed {MOVED_V} V: exit {left.code}: {left.reason}"]
    ramps = policy == "ramp_ground"
    faults = []
    if way.link_dies and ramps:
        codes, moved = (22,), True
        if not ("MAKE-SAFE FAILED" in left.told and "cavity_fine" in left.told):
            faults.append(f"the piezo that could not be made safe is not named: {left.told!r}")
    else:
        codes, moved = (way.code if isinstance(way.code, tuple) else (way.code,)), not ramps
    if left.code not in codes:
        faults.append(
            f"exit code {left.code}, not {codes}: {left.reason} {left.told[-2000:]} {left.line}"
        )
    if moved != (left.voltage_V != 0.0):
        faults.append(f"the piezo is at {left.voltage_V} V")
    if left.shutter_open == ramps:
        faults.append(f"the shutter is {'open' if left.shutter_open else 'closed'}")
    if way.says not in left.told:
        faults.append(f"{way.says!r} is not in {left.told!r}")
    if left.line is not None and json.loads(left.line)["exit_code"] != left.code:
        faults.append(f"the JSON line says {left.line}")
    return faults


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
    if way.statement:
        (folder / "faulty.py").write_text(_FAULTY.format(statement=way.statement))
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
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # a shell ignores it for what it starts with &
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = ["qdchar", *arguments]
    main()


def start(
    arguments: Sequence[str],
    out: Path,
    err: Path,
    closed: Sequence[int] = (),
    hangup: int = signal.SIG_DFL,
    largest_file: int = 0,
) -> ForkServerProcess:
    """Start the command ``qdchar`` with its output going to files."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["qdchar.cli.measure", "qdchar.lab.extensions", __name__])
    process = context.Process(
        target=_program, args=(arguments, out, err, closed, hangup, largest_file)
    )
    sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it finds this module
    try:
        process.start()
    finally:
        del sys.path[0]
    return process


def finished(process: ForkServerProcess) -> int:
    """Wait for the end of a program; returns its exit code."""
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


def leave(lab: str, folder: Path, way: WayOut, policy: str) -> Left:
    """Start the tuning of the cavity, end it in one way, and see what is left.

    Parameters
    ----------
    lab
        Station file of a simulated lab that runs.
    folder
        Empty, for the run folder and the output.
    """
    address = tomllib.loads(lab)["links"]["anc"]["address"]
    proxy = Proxy(address)
    file = _station(lab, folder, way, policy, proxy, address)
    out, err = folder / "out.txt", folder / "err.txt"
    arguments = ["measure", "cavity", "--json", "--station", str(file), "--out", str(folder)]
    with Console(address) as console:
        console.ask("setm 3 off")
        console.ask("seta 3 0")
        if way.reads_one_line:
            os.mkfifo(err)
            process = start(arguments, err, err)
            with err.open() as reader:
                reader.readline()
        else:
            process = start(arguments, out, err, way.closed, largest_file=way.largest_file)
        deadline = time.monotonic() + 60
        while (seen_V := console.voltage()) < MOVED_V and process.is_alive():
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        way.end(process, proxy)
        code = finished(process)
        voltage = console.voltage()
    proxy.close()
    return Left(
        code,
        voltage,
        _shutter_is_open(lab),
        "" if way.reads_one_line else err.read_text(),
        None
        if way.reads_one_line or 1 in way.closed
        else (out.read_text().splitlines() or ["{}"])[-1],
        _reason(folder),
        way.end is not WayOut.end and seen_V < MOVED_V,
    )


def _reason(out: Path) -> str:
    """Read why the run in a folder ended, whatever was closed or dropped of what it told."""
    ends = [
        str(document["reason"])
        for log in out.glob("*/run.jsonl")
        for name, document in read_log(log.parent)
        if name == "stop"
    ]
    return ends[-1] if ends else "there is no run"
