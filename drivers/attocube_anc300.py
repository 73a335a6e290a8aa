"""attocube ANC300: piezo offset and slip-stick steps.

Lines of text on TCP port 7230, after a password; CRLF ends a line, ``OK`` or ``ERROR`` a reply.
Reconstructed from public drivers and their recorded tests; it has not met the real device yet.

What the modes do to the output:

======================  ===========================================================
``gnd``                 grounded: the safe state
``off``                 stepping is off and the OFFSET IS ON
``stp``                 steps only; at rest the output is at 0 V
``stp+``, ``stp-``      steps on top of the offset
``inp``, ``cap``        an external voltage; a measurement of the capacitance
======================  ===========================================================
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from qdchar.errors import InstrumentError, RefusedError, UsageError
from qdchar.interrupt import signals_held
from qdchar.roles import Identity, Reading

from ._arguments import interval, positive, refuse_outside, whole
from ._instrument import InWith, LineInstrument
from ._line import Line, retry_once
from ._ramp import LimitedVoltage, ramp
from ._scpi import strict_float

CONTROLLER_LIMITS_V = (0.0, 150.0)
AXES = (1, 7)
MODES_WITH_OFFSET = ("off", "stp+", "stp-")
MODES = ("gnd", "inp", "cap", "stp", *MODES_WITH_OFFSET)
READBACK_V = 0.01
"""The 16-bit converter of the offset has steps of 2.3 mV; a larger difference is an error."""
STEPPER_SLEW_V_PER_S = 10.0
"""For an offset voltage that a stepper axis has to ramp down."""

_BANNER = re.compile(rb"[Aa]uthori[sz]ation code\W*$")
_VERSION = re.compile(r"(?P<vendor>\S+) (?P<model>ANC300\b).*?version (?P<firmware>.+)")


class ANC300(LineInstrument):
    """The controller: one connection that its axes share.

    Parameters
    ----------
    address
        ``tcp://host:7230``.
    password
        The controller's password, or ``env:NAME`` for the environment variable that holds it.
    timeout_s
        How long a reply may take [s].
    """

    def __init__(self, address: str, *, password: str, timeout_s: float = 2.0) -> None:
        self._password = _password(password)
        self._line = Line(
            address,
            name="attocube ANC300",
            timeout_s=positive("timeout_s", timeout_s),
            ending=b"\r\n",
            ignored=b"> \r\n\0",
            on_connect=self._log_in,
        )

    @property
    def address(self) -> str:
        """Where it is."""
        return self._line.address

    @property
    def is_open(self) -> bool:
        """Whether the line is open."""
        return self._line.is_open

    def identify(self) -> Identity:
        """Ask the controller who it is."""
        text = "\n".join(self.ask("ver"))
        match = _VERSION.search(text)
        if match is None:
            raise self.unexpected("ver", text, "the version of an ANC300")
        return Identity(
            vendor=match["vendor"],
            model=match["model"],
            serial=" ".join(self.ask("getcser")),
            firmware=match["firmware"],
            address=self.address,
            simulated="simulated" in text.lower(),
        )

    def snapshot(self) -> Mapping[str, Reading]:
        """Read the controller's version and serial number."""
        return {"ver": " / ".join(self.ask("ver")), "getcser": " ".join(self.ask("getcser"))}

    # for the axes

    def ask(self, text: str) -> list[str]:
        """Send a query; returns the lines before ``OK``."""
        return self._checked(text, self._line.query(text, self._reply))

    def do(self, text: str, *, extra_s: float = 0.0) -> None:
        """Send a command once; `extra_s` is the time it may take beyond the timeout [s]."""
        timeout_s = self._line.timeout_s + extra_s
        self._checked(text, self._line.command(text, self._reply, timeout_s=timeout_s))

    def ask_text(self, text: str, name: str) -> str:
        """Ask for a value that comes as ``name = value``."""
        return self._value(text, name, r"(\S+)")

    def ask_float(self, text: str, name: str, unit: str) -> float:
        """Ask for a number that comes as ``name = number unit``."""
        return strict_float(self._line, text, self._value(text, name, rf"(\S+) {unit}"))

    def unexpected(self, asked: str, got: object, wanted: str) -> InstrumentError:
        """Make the error for a reply that cannot be right."""
        return self._line.unexpected(asked, got, wanted)

    def _value(self, text: str, name: str, pattern: str) -> str:
        lines = self.ask(text)
        match = re.fullmatch(rf"{name}\s*=\s*{pattern}", lines[0]) if len(lines) == 1 else None
        if match is None:
            raise self.unexpected(text, "\n".join(lines), f"'{name} = ...'")
        return match[1]

    def _reply(self) -> list[str]:
        lines = [self._line.read_line().strip()]
        while lines[-1] not in ("OK", "ERROR"):
            lines.append(self._line.read_line().strip())
        return [line for line in lines if line]

    def _checked(self, text: str, lines: list[str]) -> list[str]:
        if lines[-1] == "ERROR":
            answer = "; ".join(lines[:-1]) or "no reason given"
            raise InstrumentError(
                f"{self._line.label}: {text!r} was answered with ERROR: {answer}. Check axis and "
                "values in the station file against the modules of the controller"
            )
        return lines[:-1]

    def _log_in(self, line: Line) -> None:
        line.skip_banner(_BANNER, quiet_s=1.0)
        line.send(self._password, shown="the password")
        while "uthorization success" not in (answer := line.read_line()):
            if re.search(r"uthori[sz]ation (?!code)", answer):
                raise InstrumentError(
                    f"{self._line.label}: the password was not accepted: {answer!r}. Check "
                    "`password` in the station file"
                )
        line.send("echo off", shown="'echo off'")
        self._checked("echo off", self._reply())


class _Axis(InWith):
    """What both kinds of axis have in common."""

    def __init__(self, controller: ANC300, axis: int) -> None:
        if not isinstance(controller, ANC300):
            raise UsageError(
                "link: an axis of the ANC300 needs the name of a [links.NAME] table whose driver "
                "is the ANC300"
            )
        self._controller = controller
        self._axis = whole("axis", axis, low=AXES[0], high=AXES[1])

    @property
    def _name(self) -> str:
        return f"attocube ANC300 at {self._controller.address}, axis {self._axis}"

    def open(self) -> None:
        """Check that the axis exists; changes no output. Raises InstrumentError."""
        self._controller.open()
        self._mode()

    def close(self) -> None:
        """Do nothing: the connection belongs to the controller, and the output stays."""

    def identify(self) -> Identity:
        """Ask the controller who it is, and the axis for its serial number."""
        whose = self._controller.identify()
        serial = " ".join(self._controller.ask(f"getser {self._axis}"))
        return Identity(
            whose.vendor,
            whose.model,
            f"{whose.serial}, axis {self._axis}: {serial}",
            whose.firmware,
            whose.address,
            whose.simulated,
        )

    def _mode(self) -> str:
        mode = self._controller.ask_text(f"getm {self._axis}", "mode")
        if mode not in MODES:
            raise self._controller.unexpected(
                f"getm {self._axis}", mode, f"one of {', '.join(MODES)}"
            )
        return mode

    def _offset(self) -> float:
        return self._controller.ask_float(f"geta {self._axis}", "voltage", "V")

    def _output(self) -> float:
        return self._controller.ask_float(f"geto {self._axis}", "voltage", "V")

    def _write_offset(self, voltage_V: float) -> None:
        self._controller.do(f"seta {self._axis} {voltage_V:.6f}")

    def _set_mode(self, mode: str) -> None:
        self._controller.do(f"setm {self._axis} {mode}")
        if (found := self._mode()) != mode:
            raise self._controller.unexpected(
                f"getm {self._axis}", found, f"{mode!r}, which was set"
            )

    def _ramp_and_ground(self, slew_V_per_s: float) -> None:
        """Ramp to 0 V, then ground; works from any state, and Ctrl-C waits until it is done."""

        def down() -> None:
            mode = self._mode()
            if mode.startswith("stp"):
                self._controller.do(f"stop {self._axis}")
            if mode in MODES_WITH_OFFSET:
                ramp(self._offset(), 0.0, slew_V_per_s, self._write_offset)
            self._set_mode("gnd")
            self._write_offset(0.0)  # so that a later 'off' does not switch an old voltage on

        with signals_held():
            self._controller.open()
            retry_once(down)


class OffsetAxis(_Axis, LimitedVoltage):
    """The offset voltage of one axis: the cavity's fine tuning.

    Parameters
    ----------
    controller
        The controller, in a station file named by `link`.
    axis
        Number of the axis, 1 to 7.
    limits_V
        Lowest and highest voltage allowed, within the controller's 0 to 150 V [V]. The limit
        of a piezo at 4 K differs from that at room temperature: see its data sheet.
    slew_V_per_s
        How fast to ramp [V/s].
    """

    def __init__(
        self, controller: ANC300, *, axis: int, limits_V: Sequence[float], slew_V_per_s: float
    ) -> None:
        super().__init__(controller, axis)
        low, high = CONTROLLER_LIMITS_V
        self._limits_V = interval("limits_V", limits_V, low=low, high=high)
        self._slew_V_per_s = positive("slew_V_per_s", slew_V_per_s)

    def set_voltage(self, voltage_V: float) -> None:
        """Ramp to a voltage [V] from the present one; returns when it is reached.

        Raises
        ------
        RefusedError
            Outside of `limits_V`, or in mode ``inp`` or ``cap``; nothing was moved.
        InstrumentError
            If the controller does not confirm the voltage.
        """
        self.check(voltage_V)
        self._take_over()
        ramp(self._offset(), voltage_V, self._slew_V_per_s, self._write_offset)
        reached = self._offset()
        if abs(reached - voltage_V) > READBACK_V:
            raise self._controller.unexpected(
                f"geta {self._axis}", reached, f"{voltage_V:g} V, which was set"
            )

    def voltage(self) -> float:
        """Measure the output voltage [V]."""
        return self._output()

    def snapshot(self) -> Mapping[str, Reading]:
        """Read mode, offset and output."""
        return {"mode": self._mode(), "offset_V": self._offset(), "output_V": self._output()}

    def make_safe(self) -> None:
        """Ramp to 0 V, then ground; takes the voltage divided by the slew."""
        self._ramp_and_ground(self._slew_V_per_s)

    def _take_over(self) -> None:
        mode = self._mode()
        if mode in ("inp", "cap"):
            raise RefusedError(
                f"{self._name} is in mode {mode!r}, in which something else sets its voltage; "
                "nothing was moved. If it is safe, ground it (mode 'gnd') and start again"
            )
        if mode not in MODES_WITH_OFFSET:
            self._write_offset(0.0)  # 'off' switches the offset on, which must not jump
            self._set_mode("off")


class StepperAxis(_Axis):
    """Slip-stick steps of one axis: the cavity's coarse tuning. Grounded between moves.

    Steps vary by some 5 %, and differ between up and down: never infer a position from them.

    Parameters
    ----------
    controller
        The controller, in a station file named by `link`.
    axis
        Number of the axis, 1 to 7.
    frequency_Hz
        Steps per second [Hz].
    amplitude_V
        Amplitude of a step [V].
    max_steps
        Largest number of steps in one call.
    """

    def __init__(
        self,
        controller: ANC300,
        *,
        axis: int,
        frequency_Hz: float,
        amplitude_V: float,
        max_steps: int,
    ) -> None:
        super().__init__(controller, axis)
        self._frequency_Hz = whole("frequency_Hz", _as_int(frequency_Hz), low=1, high=10_000)
        self._amplitude_V = positive("amplitude_V", amplitude_V, high=CONTROLLER_LIMITS_V[1])
        self._max_steps = whole("max_steps", max_steps, low=1, high=1_000_000)

    def step(self, n: int) -> None:
        """Take n steps up (n > 0) or down (n < 0); returns when the motion has ended.

        Raises
        ------
        RefusedError
            More than `max_steps`, or there is an offset voltage on the axis; nothing was moved.
        """
        refuse_outside(self._name, "steps", (-self._max_steps, self._max_steps), "max_steps", [n])
        if n == 0:
            return  # the controller would take 0 steps for a motion without end
        self._get_ready()
        try:
            self._controller.do(f"step{'u' if n > 0 else 'd'} {self._axis} {abs(n)}")
            self._controller.do(f"stepw {self._axis}", extra_s=1.5 * abs(n) / self._frequency_Hz)
        except BaseException:
            with signals_held():
                self._mode()  # a query, because only a query reconnects
                self._controller.do(f"stop {self._axis}")
            raise
        self._set_mode("gnd")

    def snapshot(self) -> Mapping[str, Reading]:
        """Read mode, step frequency and amplitude, and output."""
        return {
            "mode": self._mode(),
            "frequency_Hz": self._controller.ask_float(f"getf {self._axis}", "frequency", "Hz"),
            "amplitude_V": self._controller.ask_float(f"getv {self._axis}", "voltage", "V"),
            "output_V": self._output(),
        }

    def make_safe(self) -> None:
        """Stop, ramp an offset voltage to 0 V if there is one, and ground."""
        self._ramp_and_ground(STEPPER_SLEW_V_PER_S)

    def _get_ready(self) -> None:
        mode = self._mode()
        if mode in ("inp", "cap"):
            raise RefusedError(
                f"{self._name} is in mode {mode!r}, in which something else sets its voltage; "
                "nothing was moved. If it is safe, ground it (mode 'gnd') and start again"
            )
        if mode in MODES_WITH_OFFSET and abs(offset := self._offset()) > READBACK_V:
            raise RefusedError(
                f"{self._name} has an offset of {offset:g} V (mode {mode!r}), which would jump to "
                "0 at the first step; nothing was moved. Ramp it to 0 V first"
            )
        self._controller.do(f"setf {self._axis} {self._frequency_Hz}")
        self._controller.do(f"setv {self._axis} {self._amplitude_V:.6f}")
        found = self.snapshot()
        if found["frequency_Hz"] != self._frequency_Hz:
            raise self._controller.unexpected(
                "getf", found["frequency_Hz"], f"{self._frequency_Hz} Hz"
            )
        if abs(float(found["amplitude_V"]) - self._amplitude_V) > READBACK_V:
            raise self._controller.unexpected(
                "getv", found["amplitude_V"], f"{self._amplitude_V:g} V"
            )
        self._set_mode("stp")


def _password(password: object) -> str:
    if not isinstance(password, str) or not password:
        raise UsageError("password: text is needed, e.g. env:NAME for an environment variable")
    if not password.startswith("env:"):
        return password
    name = password.removeprefix("env:")
    if not (value := os.environ.get(name, "")):
        raise UsageError(
            f"password = {password!r}: the environment variable {name} is not set. Set it, or "
            "correct the name"
        )
    return value


def _as_int(value: object) -> object:
    """Turn 1000.0 into 1000: some TOML writers write the first."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
