"""Emulator of the light path: two 1 x N optical switches that speak the SCPI of the N773x class."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .emulator import PARAMETER, ScpiEmulator, ScpiError

PORTS = ("before", "after", "laser", "narrow", "blocked", "receiver", "interferometer")
"""Ports of the first switch, from 1 on."""
ARMS = ("parallel", "orthogonal")
"""Ports of the second one, which turns the polarisation in one arm of the interferometer."""


class SwitchEmulator(ScpiEmulator):
    """SCPI of the N773x class, with two switches."""

    vendor, model, firmware = "Keysight Technologies", "N7731A", "1.19"

    def commands(self) -> dict[str, Callable[[str], str | None]]:
        """Give the switches' own commands."""
        return {
            "ROUTe1[:CHANnel1]?": lambda _: f"A,{PORTS.index(self.lab.selected_path()) + 1}",
            "ROUTe1[:CHANnel1]": lambda text: self.lab.select_path(_port(text, PORTS)),
            "ROUTe1[:CHANnel1]:CONFig?": lambda _: f"A,A;1,{len(PORTS)}",
            "ROUTe2[:CHANnel1]?": lambda _: f"A,{ARMS.index(self.lab.selected_arms()) + 1}",
            "ROUTe2[:CHANnel1]": lambda text: self.lab.select_arms(_port(text, ARMS)),
            "ROUTe2[:CHANnel1]:CONFig?": lambda _: f"A,A;1,{len(ARMS)}",
        }


def _port(text: str, ports: Sequence[str]) -> str:
    match = re.fullmatch(r"A\s*,\s*([1-9]\d*)", text, re.IGNORECASE)
    if match is None or int(match[1]) > len(ports):
        raise ScpiError(*PARAMETER)
    return ports[int(match[1]) - 1]
