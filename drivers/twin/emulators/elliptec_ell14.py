"""Emulator of the polarisation analyser: two ELL14 mounts on one serial bus, reached by TCP."""

from __future__ import annotations

import re
import socket

from .emulator import COMMAND_S, Emulator

PLATES = {"0": "quarter", "1": "half"}
"""Bus address of each plate's mount."""
PULSES_PER_TURN = 143360
TURN_S = 0.84
"""Time for one turn."""
_REQUEST = re.compile(rb"([0-9A-F])(in|gs|gp|ho[01]|ma[0-9A-F]{8})")
_LONGEST_REQUEST = 11
"""Length of the longest request, ``ma`` with a position [bytes]."""


class AnalyserEmulator(Emulator):
    """Requests have no terminator, replies end with CRLF."""

    def serve(self, client: socket.socket, name: str) -> None:
        """Answer one client; ignore bytes that form no request."""
        buffer = b""
        while received := client.recv(65536):
            buffer += received
            while match := _REQUEST.search(buffer):
                buffer = buffer[match.end() :]
                with self.one_command:
                    self.lab.advance(COMMAND_S)
                    reply = self._answer(match[1].decode(), match[2].decode())
                if reply:
                    client.sendall(f"{reply}\r\n".encode())
            buffer = buffer[-_LONGEST_REQUEST:]

    def _answer(self, mount: str, command: str) -> str:
        if mount not in PLATES:
            return ""  # no mount has that address
        plate = PLATES[mount]
        if command == "in":
            serial = f"S{self.lab.serial[-7:].replace('-', '0'):0>7}"
            return f"{mount}IN0E{serial}202617010168{PULSES_PER_TURN:08X}"
        if command == "gs":
            return f"{mount}GS00"
        if command.startswith("ho"):
            self._turn(plate, 0)
        elif command.startswith("ma"):
            pulses = int(command[2:], 16)
            self._turn(plate, pulses - 2**32 if pulses >= 2**31 else pulses)
        pulses = round(self.lab.plate_deg(plate) / 360.0 * PULSES_PER_TURN)
        return f"{mount}PO{pulses % 2**32:08X}"

    def _turn(self, plate: str, pulses: int) -> None:
        target_deg = pulses / PULSES_PER_TURN * 360.0
        self.lab.advance(abs(target_deg - self.lab.plate_deg(plate)) / 360.0 * TURN_S)
        self.lab.turn_plate(plate, target_deg)
