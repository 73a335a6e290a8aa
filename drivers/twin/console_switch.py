"""The simulated light path: a 1 x N optical switch behind the SCPI of the N773x class."""

from __future__ import annotations

import re
from collections.abc import Callable

from .console import PARAMETER, ScpiConsole, ScpiError

PORTS = ("before", "after", "laser", "narrow", "blocked", "receiver")
"""Ports from 1 on."""


class SwitchConsole(ScpiConsole):
    """SCPI of the N773x class."""

    vendor, model, firmware = "Keysight Technologies", "N7731A", "1.19"

    def commands(self) -> dict[str, Callable[[str], str | None]]:
        """Give the switch's own commands."""
        return {
            "ROUTe1[:CHANnel1]?": lambda _: f"A,{PORTS.index(self.lab.selected_path()) + 1}",
            "ROUTe1[:CHANnel1]": self._set_route,
            "ROUTe1[:CHANnel1]:CONFig?": lambda _: f"A,A;1,{len(PORTS)}",
        }

    def _set_route(self, text: str) -> None:
        match = re.fullmatch(r"A\s*,\s*([1-9]\d*)", text, re.IGNORECASE)
        if match is None or int(match[1]) > len(PORTS):
            raise ScpiError(*PARAMETER)
        self.lab.select_path(PORTS[int(match[1]) - 1])
