"""Emulator of the modulator's generator: a 33522B that speaks SCPI, with two amplifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from .emulator import PARAMETER, ScpiEmulator, ScpiError, scpi_number, scpi_switch

CHANNELS = (1, 2)
HIGHEST_V = 10.0
INFINITE_OHM = 9.9e37
OWN_OHM = 50.0


class ModulatorEmulator(ScpiEmulator):
    """SCPI of the 33500 class. It starts, as a real one does, with a sine and a load of 50 ohm."""

    vendor, model, firmware = "Keysight Technologies", "33522B", "4.00"

    def commands(self) -> dict[str, Callable[[str], str | None]]:
        """Give the generator's own commands."""
        self._function = dict.fromkeys(CHANNELS, "SIN")
        self._offset_V = dict.fromkeys(CHANNELS, 0.0)
        self._load_ohm = dict.fromkeys(CHANNELS, OWN_OHM)
        self._on = dict.fromkeys(CHANNELS, False)
        table: dict[str, Callable[[str], str | None]] = {}
        for n in CHANNELS:
            table |= {
                f"SOURce{n}:FUNCtion?": partial(self._tell, self._function, n),
                f"SOURce{n}:FUNCtion": partial(self._set_function, n),
                f"SOURce{n}:VOLTage:OFFSet?": partial(self._tell, self._offset_V, n),
                f"SOURce{n}:VOLTage:OFFSet": partial(self._set_offset, n),
                f"OUTPut{n}:LOAD?": partial(self._tell, self._load_ohm, n),
                f"OUTPut{n}:LOAD": partial(self._set_load, n),
                f"OUTPut{n}[:STATe]?": partial(self._tell, self._on, n),
                f"OUTPut{n}[:STATe]": partial(self._switch, n),
            }
        return table

    def _tell(self, values: Mapping[int, str | float | bool], n: int, _: str) -> str:
        value = values[n]
        if isinstance(value, bool):
            return str(int(value))
        return value if isinstance(value, str) else f"{value:+.15E}"

    def _set_function(self, n: int, text: str) -> None:
        if text.upper() not in ("DC", "SIN"):
            raise ScpiError(*PARAMETER)
        self._function[n] = text.upper()
        self._apply(n)

    def _set_offset(self, n: int, text: str) -> None:
        self._offset_V[n] = scpi_number(text, low=-HIGHEST_V, high=HIGHEST_V)
        self._apply(n)

    def _set_load(self, n: int, text: str) -> None:
        infinite = text.upper() in ("INF", "INFINITY")
        self._load_ohm[n] = INFINITE_OHM if infinite else scpi_number(text, low=1.0, high=10e3)
        self._apply(n)

    def _switch(self, n: int, text: str) -> None:
        self._on[n] = scpi_switch(text)
        self._apply(n)

    def _apply(self, n: int) -> None:
        """Put on the amplifier's input, of high impedance, what the settings make there.

        The offset of a sine is what of it stays at the modulator's slow amplifiers.
        """
        # its own 50 ohm and the load that it believes in divide the voltage; the input does not
        divided = 1.0 + OWN_OHM / self._load_ohm[n]
        self.lab.set_modulator(n, self._offset_V[n] * divided if self._on[n] else 0.0)
