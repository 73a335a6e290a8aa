"""SCPI over a socket: strict numbers, the error queue, the four fields of ``*IDN?``."""

from __future__ import annotations

import math
import re

from qdchar.errors import InstrumentError
from qdchar.roles import Identity

from ._line import Line

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def strict_float(line: Line, asked: str, reply: str) -> float:
    """Take a reply that is one finite number and nothing else. Raises InstrumentError."""
    text = reply.strip()
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise InstrumentError(
            f"{line.name} at {line.address}: asked {asked!r}, got {reply!r} where a number belongs"
        )
    return value


class ScpiLine(Line):
    """A line to a SCPI instrument: LF ends requests and replies.

    Parameters
    ----------
    models
        What the model field of ``*IDN?`` has to match, so that the wrong instrument on a port is
        found out before it is asked for anything.
    """

    def __init__(self, address: str, *, name: str, timeout_s: float, models: str) -> None:
        super().__init__(address, name=name, timeout_s=timeout_s, greet=self._is_expected)
        self._models = re.compile(models)

    def ask(self, text: str) -> str:
        """Ask a query."""
        return self.query(text, self.line)

    def ask_float(self, text: str) -> float:
        """Ask a query whose answer is one number. Raises InstrumentError."""
        return strict_float(self, text, self.ask(text))

    def do(self, text: str, *, extra_s: float = 0.0) -> None:
        """Send a setting, wait for its end, and read what the instrument thought of it.

        Parameters
        ----------
        text
            The setting.
        extra_s
            What it may take beyond the timeout [s].

        Raises
        ------
        InstrumentError
            With the instrument's own words, if it did not like the setting.
        """
        self.command("*CLS", self.nothing)  # the errors of others are not this setting's
        self.command(text, self.nothing)
        self.command("*OPC?", self.line, timeout_s=self.timeout_s + extra_s)
        error = self.command("SYST:ERR?", self.line)
        if not re.match(r"[+-]?0+,", error):
            raise InstrumentError(f"{self.name} at {self.address}: {text!r} gave the error {error}")

    def identify(self) -> Identity:
        """Ask ``*IDN?``."""
        return self._parse_identity(self.ask("*IDN?"))

    def _parse_identity(self, reply: str) -> Identity:
        fields = [field.strip() for field in reply.split(",")]
        if len(fields) != 4:
            raise InstrumentError(
                f"{self.name} at {self.address}: asked '*IDN?', got {reply!r} where vendor, model, "
                "serial and firmware belong"
            )
        vendor, model, serial, firmware = fields
        simulated = "simulated" in reply.lower()
        return Identity(vendor, model, serial, firmware, self.address, simulated)

    def _is_expected(self, _: Line) -> None:
        self.send("*IDN?", shown="'*IDN?'")
        found = self._parse_identity(self.line())
        if not self._models.match(found.model):
            raise InstrumentError(
                f"{self.name} at {self.address}: a {found.vendor} {found.model} answers there. "
                "Check the address in the station file"
            )
