r"""Thorlabs MDT693A / MDT694A piezo controllers: the etalon.

A serial device (115200 baud), reached through a serial-to-TCP server as ``tcp://host:port``; CR
ends a request. The controller answers ``*`` if it accepts a request and ``!`` if not; after the
``*`` of a query comes its value in brackets: ``XR?`` gives ``*[  12.50]\r``. Reconstructed from
public drivers; it has not met the real device yet.

``XR?`` is a measurement with an error of a few tenths of a volt: the first step of a ramp, which
starts from it, can be larger by this error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from qdchar.errors import InstrumentError, UsageError
from qdchar.interrupt import signals_held
from qdchar.roles import Identity, Reading

from ._arguments import interval, positive
from ._instrument import LineInstrument
from ._line import Line, retry_once
from ._ramp import LimitedVoltage, ramp
from ._scpi import strict_float

READBACK_V = 1.5
"""Differences of 0.6 V between display and set point are known; more is a failed setting."""
_VALUE = re.compile(rb"\[[^\]]*\]|!")


class MDT69x(LineInstrument, LimitedVoltage):
    """One output of the controller.

    Parameters
    ----------
    address
        ``tcp://host:port`` of the serial-to-TCP server.
    axis
        Which output: ``"X"``, ``"Y"`` or ``"Z"``.
    limits_V
        Lowest and highest voltage allowed [V].
    slew_V_per_s
        How fast to ramp [V/s].
    timeout_s
        How long a reply may take [s].
    """

    def __init__(
        self,
        address: str,
        *,
        limits_V: Sequence[float],
        slew_V_per_s: float,
        axis: str = "X",
        timeout_s: float = 2.0,
    ) -> None:
        if axis not in ("X", "Y", "Z"):
            raise UsageError(f'axis = {axis!r}: "X", "Y" or "Z" is needed')
        self._axis = axis
        self._limits_V = interval("limits_V", limits_V, low=0.0, high=150.0)
        self._slew_V_per_s = positive("slew_V_per_s", slew_V_per_s)
        self._line = Line(
            address,
            name="piezo controller",
            timeout_s=positive("timeout_s", timeout_s),
            ending=b"\r",
            ignored=b"*> \r\n\0",
            on_connect=self._switch_echo_off,
        )

    def open(self) -> None:
        """Connect; changes no output. Raises InstrumentError, UsageError.

        The controller's own limit (75, 100 or 150 V, a switch on its back) must not be below
        `limits_V`.
        """
        super().open()
        most = self._ask("%")
        if self._limits_V[1] > most:
            self.close()
            raise UsageError(
                f"limits_V = {list(self._limits_V)}: {self._name} has its own limit at {most:g} V. "
                "Lower limits_V in the station file, or change the switch on its back"
            )

    def identify(self) -> Identity:
        """Ask the controller who it is.

        The reply is text of unknown length without a terminator, so the voltage is asked for in
        the same request: its reply marks the end of the text.
        """
        text = self._line.query(f"I\r{self._axis}R?", lambda: self._line.read_until(_VALUE))
        model = re.search(r"MDT69\w*", text)
        firmware = re.search(r"[Ff]irmware(?: [Vv]ersion)?:?\s*(\S+)", text)
        serial = re.search(r"[Ss]erial(?: [Nn]umber)?:?\s*(\S+)", text)
        if model is None:
            raise self._line.unexpected("I", text, "the model of an MDT69x")
        return Identity(
            vendor="Thorlabs",
            model=model[0],
            serial=serial[1] if serial else "",
            firmware=firmware[1] if firmware else "",
            address=self._line.address,
            simulated="simulated" in text.lower(),
        )

    def snapshot(self) -> Mapping[str, Reading]:
        """Read the voltage and the controller's own limit."""
        return {"voltage_V": self.voltage(), "controller_limit_V": self._ask("%")}

    def set_voltage(self, voltage_V: float) -> None:
        """Ramp to a voltage [V] from the present one; returns when it is reached.

        Raises
        ------
        RefusedError
            Outside of `limits_V`; nothing was moved.
        InstrumentError
            If the controller does not confirm the voltage.
        """
        self.check(voltage_V)
        self._ramp_to(voltage_V)

    def voltage(self) -> float:
        """Measure the voltage [V]."""
        return self._ask(f"{self._axis}R?")

    def make_safe(self) -> None:
        """Ramp to 0 V; takes the voltage divided by the slew."""
        with signals_held():
            self._line.open()
            retry_once(lambda: self._ramp_to(0.0))

    @property
    def _name(self) -> str:
        return f"{self._line.label}, output {self._axis}"

    def _ramp_to(self, voltage_V: float) -> None:
        ramp(self.voltage(), voltage_V, self._slew_V_per_s, self._write)
        reached = self.voltage()
        if abs(reached - voltage_V) > READBACK_V:
            raise InstrumentError(
                f"{self._name}: {voltage_V:g} V was set, but {reached:g} V is read back. Check the "
                "cable to the piezo, and that nobody turns the knob of this output"
            )

    def _write(self, voltage_V: float) -> None:
        """Set a voltage, with a query in the same request that shows that it was accepted."""
        asked = f"{self._axis}V{voltage_V:.3f}"
        reply = self._line.command(
            f"{asked}\r{self._axis}R?", lambda: self._line.read_until(_VALUE)
        )
        self._bracketed(asked, reply)

    def _ask(self, asked: str) -> float:
        reply = self._line.query(asked, lambda: self._line.read_until(_VALUE))
        return strict_float(self._line, asked, self._bracketed(asked, reply))

    def _bracketed(self, asked: str, reply: str) -> str:
        if reply.endswith("!"):
            self._line.drop()  # the reply to the second query of the request is still to come
            raise InstrumentError(
                f"{self._name}: {asked!r} was answered with '!': refused. Check that the "
                "controller has this output and allows this voltage"
            )
        return reply[reply.index("[") + 1 : -1]

    def _switch_echo_off(self, line: Line) -> None:
        """Toggle the echo until the controller reports that it is off."""
        for _ in range(2):
            line.send("E", shown="'E'")
            if "off" in line.read_until(_VALUE).lower():
                return
        raise InstrumentError(
            f"{self._name}: 'E' was sent twice, but the echo is still on. Check that this is an "
            "MDT693A or MDT694A, and restart it"
        )
