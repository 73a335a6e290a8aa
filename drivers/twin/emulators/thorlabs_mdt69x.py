"""Emulators of the etalon piezo and the phase piezo: each an MDT694A behind serial-to-TCP."""

from __future__ import annotations

import re
import socket

from ..._listener import LineReader
from .emulator import COMMAND_S, Emulator

LIMIT_V = 150.0


class EtalonPiezoEmulator(Emulator):
    """Requests end with CR; the echo is on when a client connects, as after power-on."""

    def serve(self, client: socket.socket, name: str) -> None:
        """Answer one client: ``*`` for taken, ``!`` for refused."""
        echo = True
        lines = LineReader(client, endings=b"\r\n")
        while (line := lines.next()) is not None:
            if not line:
                continue  # the second half of a CRLF
            self.lab.advance(COMMAND_S)
            reply = f"{line}\r" if echo else ""
            if line.upper() == "E":
                echo = not echo
                reply += f"*[Echo {'On' if echo else 'Off'}]\r"
            else:
                reply += self._answer(line.upper())
            client.sendall(reply.encode())

    def _answer(self, line: str) -> str:
        if line == "XR?":
            return f"*[{self._voltage():7.3f}]\r"
        if line == "%":
            return f"*[{LIMIT_V:7.2f}]\r"
        if line == "I":
            return (
                "*\r\r\rModel MDT694A Piezo Control Module (simulated)\r"
                f"Firmware Version: 1.09\rSerial Number: {self.lab.serial}\r"
            )
        match = re.fullmatch(r"XV(\d+(?:\.\d*)?)", line)
        if match is None or float(match[1]) > LIMIT_V:
            return "!"
        self._set_voltage(float(match[1]))
        return "*"

    def _voltage(self) -> float:
        return self.lab.etalon_voltage()

    def _set_voltage(self, voltage_V: float) -> None:
        self.lab.set_etalon_voltage(voltage_V)


class PhasePiezoEmulator(EtalonPiezoEmulator):
    """The same controller, on the phase of the interferometer."""

    def _voltage(self) -> float:
        return self.lab.phase_voltage()

    def _set_voltage(self, voltage_V: float) -> None:
        self.lab.set_phase_voltage(voltage_V)
