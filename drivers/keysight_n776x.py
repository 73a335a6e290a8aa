"""Keysight N775x / N776x optical attenuators: the pump attenuator with its shutter.

SCPI over a TCP socket (port 5025), LF at the end of lines. Commands after the N77xx programming
guide; it has not met the real device yet.

The attenuation is the value that the instrument reports: that of its filter plus the user offset
stored in it (``INP:OFFS``), without the insertion loss. The safe state is a closed shutter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from qdchar.errors import InstrumentError
from qdchar.interrupt import signals_held
from qdchar.roles import Reading

from ._arguments import interval, positive, refuse_outside, whole
from ._instrument import ScpiInstrument
from ._line import retry_once
from ._scpi import ScpiLine

READBACK_DB = 0.02
READBACK_M = 0.5e-9


class N776x(ScpiInstrument):
    """One channel of the attenuator.

    Parameters
    ----------
    address
        ``tcp://host:5025``.
    limits_dB
        Lowest and highest attenuation allowed [dB]; the lowest one limits the power on the source.
    wavelength_m
        Wavelength of the pump, vacuum [m].
    channel
        Slot number of the attenuator.
    timeout_s
        How long a reply may take [s].
    """

    def __init__(
        self,
        address: str,
        *,
        limits_dB: Sequence[float],
        wavelength_m: float,
        channel: int = 1,
        timeout_s: float = 2.0,
    ) -> None:
        self._limits_dB = interval("limits_dB", limits_dB, low=0.0)
        self._wavelength_m = positive("wavelength_m", wavelength_m, high=1e-4)
        self._channel = whole("channel", channel, low=1, high=8)
        self._line = ScpiLine(
            address,
            name="attenuator",
            timeout_s=positive("timeout_s", timeout_s),
            models=r"N77[56]\d",
        )
        self._configured_at_connect = 0

    def snapshot(self) -> Mapping[str, Reading]:
        """Read attenuation, stored offset, wavelength, speed and shutter."""
        ask = self._line.ask_float
        return {
            "attenuation_dB": ask(f"INP{self._channel}:ATT?"),
            "offset_dB": ask(f"INP{self._channel}:OFFS?"),
            "wavelength_m": ask(f"INP{self._channel}:WAV?"),
            "speed_dB_per_s": ask(f"INP{self._channel}:ATT:SPE?"),
            "shutter_open": self._shutter_is_open(),
        }

    @property
    def limits_dB(self) -> tuple[float, float]:
        """Lowest and highest attenuation allowed [dB]."""
        return self._limits_dB

    def check(self, *attenuations_dB: float) -> None:
        """Refuse a whole scan before its first point. Raises RefusedError."""
        refuse_outside(self._line.label, "dB", self._limits_dB, "limits_dB", attenuations_dB)

    def set_attenuation(self, attenuation_dB: float) -> None:
        """Set the attenuation [dB]; returns when it has settled.

        Raises
        ------
        RefusedError
            Outside of `limits_dB`; nothing was moved.
        InstrumentError
            If the attenuator does not confirm the setting.
        """
        self.check(attenuation_dB)
        before = self.attenuation()
        self._set_wavelength()
        self._move(f"INP{self._channel}:ATT {attenuation_dB:.4f}", abs(attenuation_dB - before))
        found = self.attenuation()
        if abs(found - attenuation_dB) > READBACK_DB:
            raise InstrumentError(
                f"{self._line.label}: {attenuation_dB:g} dB was set, but {found:g} dB is read "
                "back. Compare limits_dB in the station file with the range of the instrument"
            )

    def attenuation(self) -> float:
        """Get the attenuation that is set [dB]."""
        return self._line.ask_float(f"INP{self._channel}:ATT?")

    def open_shutter(self) -> None:
        """Let the light through; returns when the shutter is open and the filter has settled.

        Raises
        ------
        InstrumentError
            If the shutter reports that it is closed.
        """
        self._move_shutter(open_=True)

    def close_shutter(self) -> None:
        """Block the light. Raises InstrumentError if the shutter reports that it is open."""
        self._move_shutter(open_=False)

    def make_safe(self) -> None:
        """Close the shutter; the attenuation stays."""
        with signals_held():
            self._line.open()
            retry_once(self.close_shutter)

    def _shutter_is_open(self) -> bool:
        return self._line.ask_float(f"OUTP{self._channel}?") != 0

    def _move_shutter(self, *, open_: bool) -> None:
        if self._shutter_is_open() != open_:
            if open_:  # the filter may first move, at its own speed, from its highest attenuation
                most = self._line.ask_float(f"INP{self._channel}:ATT? MAX")
                self._move(f"OUTP{self._channel} 1", most)
            else:  # at once: on the way to safety nothing else is asked
                self._line.do(f"OUTP{self._channel} 0")
            if self._shutter_is_open() != open_:
                wanted = "open" if open_ else "close"
                raise InstrumentError(
                    f"{self._line.label}: the shutter was told to {wanted}, but reports that it "
                    "did not. Look at the instrument before you continue"
                )

    def _move(self, setting: str, change_dB: float) -> None:
        """Send a setting and wait as long as the filter takes for it."""
        speed = self._line.ask_float(f"INP{self._channel}:ATT:SPE?")
        takes_s = change_dB / speed if speed > 0 else 0.0
        there = time.monotonic() + takes_s
        self._line.do(setting, extra_s=takes_s)
        time.sleep(max(0.0, there - time.monotonic()))

    def _set_wavelength(self) -> None:
        """Set it once after each connect: the attenuator may have been restarted."""
        if self._configured_at_connect == self._line.connects:
            return
        self._line.do(f"INP{self._channel}:WAV {self._wavelength_m * 1e9:.3f}NM")
        found = self._line.ask_float(f"INP{self._channel}:WAV?")
        if abs(found - self._wavelength_m) > READBACK_M:
            raise InstrumentError(
                f"{self._line.label}: wavelength_m = {self._wavelength_m:g} was set, but {found:g} "
                "m is read back. Compare wavelength_m in the station file with the range of the "
                "instrument"
            )
        self._configured_at_connect = self._line.connects
