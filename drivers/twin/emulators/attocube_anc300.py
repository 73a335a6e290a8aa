"""Emulator of the piezo controller: an ANC300 with three axes, behind its password."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field

from ..._listener import LineReader
from .emulator import COMMAND_S, Emulator, LabControls

AXES = (1, 2, 3)
LIMIT_V = 150.0
HIGHEST_HZ = 10_000
PASSWORD = "123456"
"""The controller's factory setting."""

BANNER = b"\xff\xfb\x01\r\nattocube ANC300 (simulated)\r\nAuthorization code: "
VERSION = (
    "attocube ANC300 controller (simulated) version 1.1.0-1304 2013-10-17 08:16\r\n"
    "ANC150 compatibility console"
)


class _RefusedError(Exception):
    """A command that is refused; its text is sent before ERROR."""


@dataclass
class _AxisState:
    mode: str = "gnd"
    offset_V: float = 0.0
    amplitude_V: float = 30.0
    frequency_Hz: int = 1000
    moving_until: float = 0.0
    endless: tuple[int, float] | None = field(default=None)
    """Direction and monotonic start of a motion without end."""


class AttocubeEmulator(Emulator):
    """An ANC300 on TCP; drivers of other programs can use it, too."""

    def __init__(
        self, lab: LabControls, port: int = 0, host: str = "127.0.0.1", password: str = PASSWORD
    ) -> None:
        super().__init__(lab, port, host)
        self._password = password
        self._axes = {n: _AxisState() for n in AXES}

    def serve(self, client: socket.socket, name: str) -> None:
        """Ask one client for the password, then answer its commands."""
        lines = LineReader(client)
        client.sendall(BANNER)
        while (given := lines.next()) != self._password:
            if given is None:
                return
            client.sendall(f"{'*' * len(given)}\r\nAuthorization failed\r\n".encode())
            client.sendall(b"Authorization code: ")
        client.sendall(f"{'*' * len(given)}\r\nAuthorization success\r\n> ".encode())
        echo = True
        while (line := lines.next()) is not None:
            self.lab.advance(COMMAND_S)
            reply = f"{line}\r\n" if echo else ""
            if line.startswith("echo "):
                echo = line != "echo off"
                reply += "OK\r\n"
            else:
                with self.one_command:
                    reply += self._answer(line.split())
            client.sendall((reply + ("> " if echo else "")).encode())

    def _answer(self, words: list[str]) -> str:
        try:
            reply = self._carry_out(words)
        except _RefusedError as error:
            return f"{error}\r\nERROR\r\n"
        return f"{reply}\r\nOK\r\n" if reply else "OK\r\n"

    def _carry_out(self, words: list[str]) -> str:
        match words:
            case ["ver"]:
                return VERSION
            case ["getcser"]:
                return f"ANC300-{self.lab.serial}"
            case ["getser", n]:
                self._axis(n)
                return f"ANM300-{self.lab.serial}-{n}"
            case ["getm", n]:
                return f"mode = {self._axis(n).mode}"
            case ["geta", n]:
                return f"voltage = {self._axis(n).offset_V:.6f} V"
            case ["getv", n]:
                return f"voltage = {self._axis(n).amplitude_V:.6f} V"
            case ["getf", n]:
                return f"frequency = {self._axis(n).frequency_Hz} Hz\n"  # as the device does
            case ["geto", n]:
                self._axis(n)
                return f"voltage = {self.lab.piezo_voltage(int(n)):.6f} V"
            case ["getc" | "capw" as verb, n]:
                self._axis(n)
                return f"capacitance = {0.0 if verb == 'capw' else 998.9:.6f} nF"
            case ["setm", n, mode]:
                self._set_mode(n, mode)
            case ["seta", n, text]:
                self._axis(n).offset_V = _number(text, 0.0, LIMIT_V)
                self._apply(n)
            case ["setv", n, text]:
                self._axis(n).amplitude_V = _number(text, 0.0, LIMIT_V)
            case ["setf", n, text]:
                self._axis(n).frequency_Hz = int(_number(text, 1, HIGHEST_HZ))
            case ["stepu" | "stepd" as verb, n, steps]:
                self._step(n, 1 if verb == "stepu" else -1, steps)
            case ["stepw", n]:
                self._wait(n)
            case ["stop", n]:
                self._stop(n)
            case _:
                raise _RefusedError("Unknown command or wrong number of arguments")
        return ""

    def _axis(self, n: str) -> _AxisState:
        if not n.isdigit() or int(n) not in self._axes:
            raise _RefusedError("Wrong axis type or axis not available")
        return self._axes[int(n)]

    def _set_mode(self, n: str, mode: str) -> None:
        axis = self._axis(n)
        if mode not in ("gnd", "inp", "cap", "stp", "off", "stp+", "stp-"):
            raise _RefusedError("Mode not available on this axis")
        self._stop(n)
        axis.mode = "gnd" if mode == "cap" else mode  # a capacitance is measured in no time
        self._apply(n)

    def _apply(self, n: str) -> None:
        axis = self._axis(n)
        offset_is_on = axis.mode in ("off", "stp+", "stp-")
        self.lab.set_piezo(int(n), axis.offset_V if offset_is_on else 0.0)

    def _step(self, n: str, direction: int, steps: str) -> None:
        axis = self._axis(n)
        if not axis.mode.startswith("stp"):
            raise _RefusedError("Axis not in stepping mode")
        if steps == "c":
            axis.endless = direction, time.monotonic()
            return
        if not re.fullmatch(r"[1-9]\d*", steps):
            raise _RefusedError("Wrong number of steps")
        self._take(int(n), axis, direction * int(steps))
        axis.moving_until = int(steps) / axis.frequency_Hz

    def _take(self, n: int, axis: _AxisState, steps: int) -> None:
        if axis.amplitude_V > 0 and steps != 0:
            self.lab.step(n, steps)

    def _wait(self, n: str) -> None:
        axis = self._axis(n)
        if axis.endless is not None:
            raise _RefusedError("Axis moves continuously")
        self.lab.advance(axis.moving_until)
        axis.moving_until = 0.0

    def _stop(self, n: str) -> None:
        axis = self._axis(n)
        if axis.endless is not None:
            direction, started = axis.endless
            steps = round((time.monotonic() - started) * axis.frequency_Hz)
            axis.endless = None
            self._take(int(n), axis, direction * steps)
        axis.moving_until = 0.0


def _number(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _RefusedError("Wrong parameter") from None
    if not low <= value <= high:
        raise _RefusedError(f"Parameter out of range ({low:g} to {high:g})")
    return value
