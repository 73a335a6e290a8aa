"""Thorlabs PM100 class power meters (PM100A/D/USB, PM101, PM103, PM400): the pump's monitor.

SCPI over a TCP socket, LF at the end of lines; a USB meter needs a bridge from USBTMC to TCP.
Reconstructed from public drivers; it has not met the real device yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from qdchar.errors import InstrumentError, RefusedError
from qdchar.roles import Identity, Reading

from ._arguments import positive
from ._scpi import ScpiLine

WAVELENGTH_READBACK_NM = 0.5
"""Some meters of the class round to whole nanometres."""
OVER_RANGE_W = 1e30
"""SCPI answers 9.9E37 for a reading beyond the range."""


class PM100:
    """A power meter whose wavelength correction is set, and read back, before it is believed.

    Parameters
    ----------
    address
        ``tcp://host:port``.
    wavelength_m
        Wavelength of the light that it monitors, vacuum [m].
    timeout_s
        How long a reply may take; a slow average needs more [s].
    """

    def __init__(self, address: str, *, wavelength_m: float, timeout_s: float = 5.0) -> None:
        self._wavelength_nm = positive("wavelength_m", wavelength_m, high=1e-4) * 1e9
        self._line = ScpiLine(
            address,
            name="power meter",
            timeout_s=positive("timeout_s", timeout_s),
            models=r"PM\d",
        )
        self._configured_session = 0

    def open(self) -> None:
        """Connect; sets nothing. Raises InstrumentError."""
        self._line.open()

    def close(self) -> None:
        """Disconnect; sets nothing."""
        self._line.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def identify(self) -> Identity:
        """Ask the meter who it is."""
        return self._line.identify()

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
            If the meter is over its range or says something that is not a power.
        """
        self._configure()
        power = self._line.ask_float("MEAS:POW?")
        if self._configured_session != self._line.session:  # restarted? then at another wavelength
            self._configure()
            power = self._line.ask_float("MEAS:POW?")
        if abs(power) > OVER_RANGE_W:
            raise InstrumentError(
                f"power meter at {self._line.address}: over its range (MEAS:POW? gave {power:g}). "
                "Attenuate the light or use another sensor"
            )
        return power

    def _configure(self) -> None:
        """Set wavelength, unit and range once a connection: the meter may have been restarted."""
        line, asked = self._line, self._wavelength_nm
        if self._configured_session == line.session:
            return
        lowest, highest = (line.ask_float(f"SENS:CORR:WAV? {end}") for end in ("MIN", "MAX"))
        if not lowest <= asked <= highest:
            raise RefusedError(
                f"power meter at {line.address}: wavelength_m = {asked * 1e-9:g}, but its sensor "
                f"is calibrated from {lowest:g} to {highest:g} nm; nothing was set"
            )
        line.do(f"SENS:CORR:WAV {asked:.3f}")
        line.do("SENS:POW:UNIT W")
        line.do("SENS:POW:RANG:AUTO ON")
        found = line.ask_float("SENS:CORR:WAV?")
        if abs(found - asked) > WAVELENGTH_READBACK_NM:
            raise InstrumentError(
                f"power meter at {line.address}: {asked:.3f} nm was set, {found:g} nm read back"
            )
        if (unit := line.ask("SENS:POW:UNIT?").strip()) != "W":
            raise InstrumentError(
                f"power meter at {line.address}: W was set as the unit, {unit!r} read back"
            )
        self._configured_session = line.session
