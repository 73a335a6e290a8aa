"""Emulator of the power meter: a PM100D with a silicon sensor, which speaks SCPI."""

from __future__ import annotations

from collections.abc import Callable

from .emulator import ScpiEmulator, ScpiError, scpi_number, scpi_switch

LOWEST_NM, HIGHEST_NM = 400.0, 1100.0


class PowerMeterEmulator(ScpiEmulator):
    """SCPI of the PM100D class. It starts, as a real one may, at another laser's wavelength."""

    vendor, model, firmware = "Thorlabs", "PM100D", "2.5.0"

    def commands(self) -> dict[str, Callable[[str], str | None]]:
        """Give the meter's own commands."""
        self._wavelength_nm = 635.0
        self._auto_range = True
        return {
            "SYSTem:SENSor:IDN?": lambda _: f"S130C,{self.lab.serial},01-JAN-2026,1,18,33",
            "SENSe:CORRection:WAVelength?": self._tell_wavelength,
            "SENSe:CORRection:WAVelength": self._set_wavelength,
            "SENSe:POWer[:DC]:UNIT?": lambda _: "W",
            "SENSe:POWer[:DC]:UNIT": self._set_unit,
            "SENSe:POWer[:DC]:RANGe:AUTO?": lambda _: str(int(self._auto_range)),
            "SENSe:POWer[:DC]:RANGe:AUTO": self._set_auto_range,
            "MEASure[:SCALar][:POWer]?": self._measure,
            "READ?": self._measure,
        }

    def _tell_wavelength(self, which: str) -> str:
        ends = {"MIN": LOWEST_NM, "MAX": HIGHEST_NM}
        return f"{ends.get(which.upper()[:3], self._wavelength_nm):.6E}"

    def _set_wavelength(self, text: str) -> None:
        self._wavelength_nm = scpi_number(text, low=LOWEST_NM, high=HIGHEST_NM)

    def _set_unit(self, text: str) -> None:
        if text.upper() != "W":
            raise ScpiError(-221, "Settings conflict")  # dBm is not simulated

    def _set_auto_range(self, text: str) -> None:
        self._auto_range = scpi_switch(text)

    def _measure(self, _: str) -> str:
        return f"{self.lab.power_reading_W():.8E}"
