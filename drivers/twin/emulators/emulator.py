"""What emulators share: lines of text, and the part of SCPI that they need."""

from __future__ import annotations

import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from qdchar.roles import TagBlock

from ..._listener import LineReader, Listener

COMMAND_S = 1e-3
"""Simulated time that a command costs [s]."""


class LabControls(Protocol):
    """What emulators ask of the simulated lab; safe to call from several threads."""

    channel_a: int
    channel_b: int
    channel_sync: int
    sync_divider: int
    resolution_ps: float
    serial: str

    def set_piezo(self, axis: int, voltage_V: float) -> None:
        """Apply a voltage to a piezo [V]."""

    def piezo_voltage(self, axis: int) -> float:
        """Get the voltage on a piezo [V]."""

    def step(self, axis: int, n: int) -> None:
        """Take slip-stick steps."""

    def set_attenuation(self, dB: float) -> None:
        """Set the pump attenuation [dB]."""

    def attenuation(self) -> float:
        """Get the pump attenuation [dB]."""

    def set_shutter(self, open: bool) -> None:
        """Open or close the pump's shutter."""

    def shutter(self) -> bool:
        """Tell whether the pump's shutter is open."""

    def power_reading_W(self) -> float:
        """Take one noisy reading of the pump power [W]."""

    def set_etalon_voltage(self, V: float) -> None:
        """Apply a voltage to the etalon [V]."""

    def etalon_voltage(self) -> float:
        """Get the voltage on the etalon [V]."""

    def set_modulator(self, channel: int, voltage_V: float) -> None:
        """Apply a voltage to an input of the polarisation modulator's amplifiers [V]."""

    def turn_plate(self, name: str, angle_deg: float) -> None:
        """Turn the mount of one of the analyser's wave plates [degrees]."""

    def plate_deg(self, name: str) -> float:
        """Get the angle of a wave plate's mount [degrees]."""

    def set_phase_voltage(self, V: float) -> None:
        """Apply a voltage to the piezo of the interferometer's phase [V]."""

    def phase_voltage(self) -> float:
        """Get the voltage on the piezo of the interferometer's phase [V]."""

    def select_arms(self, name: str) -> None:
        """Set the polarisations in the interferometer's arms, parallel or orthogonal."""

    def selected_arms(self) -> str:
        """Tell the polarisations in the interferometer's arms."""

    def select_path(self, name: str) -> None:
        """Select which light reaches the detectors."""

    def selected_path(self) -> str:
        """Tell which light reaches the detectors."""

    def count(self, dwell_s: float) -> tuple[int, int]:
        """Count clicks of the two signal detectors."""

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        """Yield time tags."""

    def advance(self, seconds: float) -> None:
        """Let simulated time pass [s]."""


class Emulator(Listener):
    """An emulated instrument of the simulated lab."""

    def __init__(self, lab: LabControls, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__(host, port)
        self.lab = lab
        self.one_command = threading.RLock()
        """Held while a command is carried out, so that clients do not mix theirs."""


class LineEmulator(Emulator):
    """An instrument that answers lines with text."""

    endings = b"\n"
    reply_ending = "\n"

    def answer(self, line: str) -> str | None:
        """Carry a line out; None where the instrument says nothing."""
        raise NotImplementedError

    def serve(self, client: socket.socket, name: str) -> None:
        """Answer one client, line by line."""
        lines = LineReader(client, endings=self.endings)
        while (line := lines.next()) is not None:
            with self.one_command:
                self.lab.advance(COMMAND_S)
                reply = self.answer(line)
            if reply is not None:
                client.sendall(f"{reply}{self.reply_ending}".encode())


class ScpiError(Exception):
    """An entry for the error queue."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f'{number},"{text}"')


OUT_OF_RANGE = (-222, "Data out of range")
PARAMETER = (-224, "Illegal parameter value")
UNDEFINED = (-113, "Undefined header")
TYPE = (-104, "Data type error")


def header(specification: str) -> re.Pattern[str]:
    """Compile a SCPI header: short and long forms, ``[:optional]`` nodes, any case.

    Examples
    --------
    >>> bool(header("OUTPut1[:STATe]?").fullmatch(":outp1?"))
    True
    """
    node = specification.removesuffix("?")
    pattern = re.sub(r"([A-Z]+)([a-z]+)", lambda m: f"{m[1]}(?:{m[2].upper()})?", node)
    pattern = pattern.replace("[", "(?:").replace("]", ")?").replace("1", "1?").replace("*", r"\*")
    if specification.endswith("?"):
        pattern += r"\?"
    return re.compile(f":?{pattern}", re.IGNORECASE)


class ScpiEmulator(LineEmulator):
    """An instrument that speaks SCPI: its commands by header, and an error queue."""

    vendor = model = firmware = ""

    def __init__(self, lab: LabControls, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__(lab, port, host)
        self._errors: deque[str] = deque(maxlen=30)
        common: dict[str, Callable[[str], str | None]] = {
            "*IDN?": lambda _: (
                f"{self.vendor} (simulated),{self.model},{lab.serial},{self.firmware}"
            ),
            "*OPC?": lambda _: "1",
            "*CLS": lambda _: self._errors.clear(),
            "SYSTem:ERRor[:NEXT]?": lambda _: self._next_error(),
        }
        self._table = [(header(h), do) for h, do in {**common, **self.commands()}.items()]

    def commands(self) -> dict[str, Callable[[str], str | None]]:
        """Give the instrument's own commands: what to do with the argument text, by header."""
        raise NotImplementedError

    def answer(self, line: str) -> str | None:
        """Carry out one or, with semicolons, several commands."""
        replies = [self._one(command.strip()) for command in line.split(";") if command.strip()]
        answered = [reply for reply in replies if reply is not None]
        return ";".join(answered) if answered else None

    def _one(self, command: str) -> str | None:
        name, _, argument = command.partition(" ")
        for pattern, do in self._table:
            if pattern.fullmatch(name):
                try:
                    return do(argument.strip())
                except ScpiError as error:
                    self._errors.append(str(error))
                    return None
        self._errors.append(str(ScpiError(*UNDEFINED)))
        return None

    def _next_error(self) -> str:
        return self._errors.popleft() if self._errors else '+0,"No error"'


def scpi_number(text: str, *, low: float, high: float, unit: str = "") -> float:
    """Take a number, with its unit or without. Raises ScpiError for what is not within range."""
    bare = re.sub(rf"\s*{unit}$", "", text, flags=re.IGNORECASE) if unit else text
    try:
        value = float(bare)
    except ValueError:
        raise ScpiError(*TYPE) from None
    if not low <= value <= high:
        raise ScpiError(*OUT_OF_RANGE)
    return value


def scpi_switch(text: str) -> bool:
    """Take ON, OFF, 1 or 0. Raises ScpiError."""
    if text.upper() not in ("ON", "OFF", "1", "0"):
        raise ScpiError(*PARAMETER)
    return text.upper() in ("ON", "1")
