"""SCPI over a connection: numbers, the error queue, the four fields of ``*IDN?``."""

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
        raise line.unexpected(asked, reply, "a number")
    return value


class ScpiLine(Line):
    """A connection to a SCPI instrument: LF ends requests and replies.

    Parameters
    ----------
    models
        Regular expression for the model field of ``*IDN?``, so that a wrong instrument at the
        address is found before anything else is sent to it.
    """

    def __init__(self, address: str, *, name: str, timeout_s: float, models: str) -> None:
        super().__init__(address, name=name, timeout_s=timeout_s, on_connect=self._is_expected)
        self._models = re.compile(models)

    def ask(self, text: str) -> str:
        """Ask a query."""
        return self.query(text, self.read_line)

    def ask_float(self, text: str) -> float:
        """Ask a query whose answer is one number. Raises InstrumentError."""
        return strict_float(self, text, self.ask(text))

    def do(self, text: str, *, extra_s: float = 0.0) -> None:
        """Send a setting, wait until it is done, and read the instrument's error queue.

        Parameters
        ----------
        text
            The setting.
        extra_s
            Time that it may take beyond the timeout [s].

        Raises
        ------
        InstrumentError
            If the instrument reports an error, with its text.
        """
        self.command(
            "*CLS", self.read_nothing
        )  # so that an older error is not taken for this setting's
        self.command(text, self.read_nothing)
        self.command("*OPC?", self.read_line, timeout_s=self.timeout_s + extra_s)
        error = self.command("SYST:ERR?", self.read_line)
        if not re.match(r"[+-]?0+,", error):
            raise InstrumentError(
                f"{self.label}: {text!r} was answered with the error {error}. Check that the model "
                "knows this setting and allows this value"
            )

    def identify(self) -> Identity:
        """Ask ``*IDN?``."""
        return self._parse_identity(self.ask("*IDN?"))

    def _parse_identity(self, reply: str) -> Identity:
        fields = [field.strip() for field in reply.split(",")]
        if len(fields) != 4:
            raise self.unexpected("*IDN?", reply, "vendor, model, serial number and firmware")
        vendor, model, serial, firmware = fields
        simulated = "simulated" in reply.lower()
        return Identity(vendor, model, serial, firmware, self.address, simulated)

    def _is_expected(self, _: Line) -> None:
        self.send("*IDN?", shown="'*IDN?'")
        found = self._parse_identity(self.read_line())
        if not self._models.match(found.model):
            raise InstrumentError(
                f"{self.label}: a {found.vendor} {found.model} answers there, which this driver is "
                "not for. Check address and driver in the station file"
            )
