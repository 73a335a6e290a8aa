"""Emulator of the attenuator: an N7761A with its shutter, which speaks SCPI."""

from __future__ import annotations

from collections.abc import Callable

from .emulator import ScpiEmulator, scpi_number, scpi_switch

HIGHEST_DB = 60.0
SPEED_DB_PER_S = 1000.0
LOWEST_M, HIGHEST_M = 800e-9, 1650e-9


class AttenuatorEmulator(ScpiEmulator):
    """SCPI of the N776x class."""

    vendor, model, firmware = "Keysight Technologies", "N7761A", "1.19"

    def commands(self) -> dict[str, Callable[[str], str | None]]:
        """Give the attenuator's own commands."""
        self._wavelength_m = 1.55e-6
        return {
            "INPut1[:CHANnel1]:ATTenuation?": self._tell_attenuation,
            "INPut1[:CHANnel1]:ATTenuation": self._set_attenuation,
            "INPut1[:CHANnel1]:ATTenuation:SPEed?": lambda _: f"{SPEED_DB_PER_S:+.8E}",
            "INPut1[:CHANnel1]:OFFSet?": lambda _: f"{0.0:+.8E}",
            "INPut1[:CHANnel1]:WAVelength?": lambda _: f"{self._wavelength_m:+.8E}",
            "INPut1[:CHANnel1]:WAVelength": self._set_wavelength,
            "OUTPut1[:CHANnel1][:STATe]?": lambda _: str(int(self.lab.shutter())),
            "OUTPut1[:CHANnel1][:STATe]": self._set_shutter,
        }

    def _tell_attenuation(self, which: str) -> str:
        ends = {"MIN": 0.0, "DEF": 0.0, "MAX": HIGHEST_DB}
        return f"{ends.get(which.upper()[:3], self.lab.attenuation()):+.8E}"

    def _set_attenuation(self, text: str) -> None:
        self.lab.set_attenuation(scpi_number(text, low=0.0, high=HIGHEST_DB, unit="DB"))

    def _set_wavelength(self, text: str) -> None:
        in_nm = text.upper().endswith("NM")
        low, high = (LOWEST_M * 1e9, HIGHEST_M * 1e9) if in_nm else (LOWEST_M, HIGHEST_M)
        value = scpi_number(text, low=low, high=high, unit="NM" if in_nm else "M")
        self._wavelength_m = value * 1e-9 if in_nm else value

    def _set_shutter(self, text: str) -> None:
        self.lab.set_shutter(scpi_switch(text))
