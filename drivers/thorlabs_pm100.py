"""Thorlabs PM100 class power meters (PM100A/D/USB, PM101, PM103, PM400): the pump power.

SCPI over a TCP socket, LF at the end of lines; a USB meter needs a bridge from USBTMC to TCP.
Reconstructed from public drivers; it has not met the real device yet.
"""

from __future__ import annotations

from collections.abc import Mapping

from qdchar.errors import InstrumentError, RefusedError
from qdchar.roles import Reading

from ._arguments import positive
from ._instrument import ScpiInstrument
from ._scpi import ScpiLine

WAVELENGTH_READBACK_NM = 0.5
"""Some meters of the class round to whole nanometres."""
OVER_RANGE_W = 1e30
"""SCPI answers 9.9E37 for a reading beyond the range."""


class PM100(ScpiInstrument):
    """A power meter; its wavelength correction is set and read back before the first reading.

    Parameters
    ----------
    address
        ``tcp://host:port``.
    wavelength_m
        Vacuum wavelength of the light that it measures [m].
    timeout_s
        How long a reply may take [s]; longer where the meter averages slowly.
    """

    def __init__(self, address: str, *, wavelength_m: float, timeout_s: float = 5.0) -> None:
        self._wavelength_nm = positive("wavelength_m", wavelength_m, high=1e-4) * 1e9
        self._line = ScpiLine(
            address,
            name="power meter",
            timeout_s=positive("timeout_s", timeout_s),
            models=r"PM\d",
        )
        self._configured_at_connect = 0

    def snapshot(self) -> Mapping[str, Reading]:
        """Read sensor, wavelength, unit, range and power."""
        return {
            "sensor": self._line.ask("SYST:SENS:IDN?"),
            "wavelength_m": self._line.ask_float("SENS:CORR:WAV?") * 1e-9,
            "unit": self._line.ask("SENS:POW:UNIT?"),
            "auto_range": self._line.ask_float("SENS:POW:RANG:AUTO?") != 0,
            "power": self._line.ask_float("MEAS:POW?"),
        }

    def power_W(self) -> float:
        """Measure the optical power [W].

        Raises
        ------
        RefusedError
            If the sensor's calibration does not reach the wavelength.
        InstrumentError
            If the power is beyond the meter's range, or the reply is not a number.
        """
        self._configure()
        power = self._line.ask_float("MEAS:POW?")
        if (
            self._configured_at_connect != self._line.connects
        ):  # restarted: its wavelength may differ
            self._configure()
            power = self._line.ask_float("MEAS:POW?")
        if abs(power) > OVER_RANGE_W:
            raise InstrumentError(
                f"{self._line.label}: the power is beyond its range (MEAS:POW? gave {power:g}). "
                "Attenuate the light or use another sensor"
            )
        return power

    def _configure(self) -> None:
        """Set wavelength, unit and range after each connect: the meter may have been restarted."""
        line, asked = self._line, self._wavelength_nm
        if self._configured_at_connect == line.connects:
            return
        lowest, highest = (line.ask_float(f"SENS:CORR:WAV? {end}") for end in ("MIN", "MAX"))
        if not lowest <= asked <= highest:
            raise RefusedError(
                f"{line.label}: wavelength_m in the station file is {asked * 1e-9:g}, but the "
                f"sensor is calibrated from {lowest:g} to {highest:g} nm; nothing was set. Correct "
                "it, or use another sensor"
            )
        line.do(f"SENS:CORR:WAV {asked:.3f}")
        line.do("SENS:POW:UNIT W")
        line.do("SENS:POW:RANG:AUTO ON")
        found = line.ask_float("SENS:CORR:WAV?")
        if abs(found - asked) > WAVELENGTH_READBACK_NM:
            raise InstrumentError(
                f"{line.label}: a wavelength of {asked:.3f} nm was set, but {found:g} nm is read "
                "back. Check that no other program uses the meter"
            )
        if (unit := line.ask("SENS:POW:UNIT?").strip()) != "W":
            raise InstrumentError(
                f"{line.label}: the unit W was set, but {unit!r} is read back. Check that no other "
                "program uses the meter"
            )
        self._configured_at_connect = line.connects
