"""Roles: the methods that measurements call on instruments, and the contract of a driver.

A driver is a class that fits one of the roles below. It needs no base class: a driver of
`qdchar.drivers`, a QCoDeS instrument in a thin wrapper, or a lab's own class fits if it has the
methods. A station file names it by its import path, ``driver = "my_attenuator:MyAttenuator"``.

constructor
    Called as ``MyAttenuator(first, **keywords)``. `first` is the table's ``address``, or the object
    of the ``[links.NAME]`` table that ``link`` names: a controller that several roles share. The
    station opens links first. The keywords are the other keys of the table; ``driver``,
    ``address``, ``link``, ``on_success``, ``on_error`` and ``on_interrupt`` belong to the station.
    A value ``"env:NAME"`` comes as the content of that environment variable. The constructor checks
    its arguments (`UsageError`, `TypeError` or `ValueError` name the key) and does not connect.
open, close
    Connect and disconnect; they change no output. Both may be called twice. A driver with a link
    leaves the link's connection open. `open` should be bounded in time.
identify, snapshot
    Who answers, and its state; both read the device and change nothing.
limits
    A set point outside of the limits raises `RefusedError` before anything moves; it is never
    clamped. `check` refuses a whole scan before its first point.
make_safe
    Only if the device can do harm. It works from any state, also after a lost connection, ends in
    bounded time, and may be called again. Only queries are sent again after a lost connection, set
    commands never: `make_safe` reads the state first.
errors
    Best are those of `qdchar.errors`, with what was asked, what came back and what to try:
    `InstrumentError` (exit code 20), `RefusedError` (21). A driver may raise anything else, such as
    the error of a vendor's library: the station reports a failure to connect or to read as an
    instrument that cannot be reached, exit code 20.

Units stand in the names. `qdchar.drivers` has examples and says what a driver can use from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Reading: TypeAlias = float | int | str | bool


@dataclass(frozen=True)
class Identity:
    """Which device answered, and where."""

    vendor: str
    model: str
    serial: str
    firmware: str
    address: str
    simulated: bool


class Instrument(Protocol):
    """What every instrument has."""

    def open(self) -> None:
        """Connect; changes no output. Raises InstrumentError."""

    def close(self) -> None:
        """Disconnect; changes no output. Idempotent."""

    def identify(self) -> Identity:
        """Ask the device who it is."""

    def snapshot(self) -> Mapping[str, Reading]:
        """Read the state from the device, never from a cache."""


class CanDoHarm(Protocol):
    """An instrument that must be brought to its safe state when a program ends."""

    def make_safe(self) -> None:
        """Bring to the safe state; idempotent, bounded in time, callable from any state."""


class VoltageAxis(Instrument, CanDoHarm, Protocol):
    """The voltage of a piezo: fine axis of the cavity, etalon, phase of the interferometer."""

    @property
    def limits_V(self) -> tuple[float, float]:
        """Lowest and highest voltage allowed [V]."""

    def check(self, *voltages_V: float) -> None:
        """Refuse a whole scan before its first point. Raises RefusedError."""

    def set_voltage(self, voltage_V: float) -> None:
        """Ramp to a voltage [V], no faster than the configured slew; returns when there."""

    def voltage(self) -> float:
        """Measure the voltage [V]."""


class StepAxis(Instrument, CanDoHarm, Protocol):
    """A slip-stick stepper. It is open-loop: never infer a position from the number of steps."""

    def step(self, n: int) -> None:
        """Take n steps up (n > 0) or down (n < 0); returns when the motion has ended."""


class PowerMeter(Instrument, Protocol):
    """The meter of the pump power."""

    def power_W(self) -> float:
        """Measure the optical power [W]."""


class Attenuator(Instrument, CanDoHarm, Protocol):
    """The pump attenuator with its shutter; its safe state is a closed shutter."""

    @property
    def limits_dB(self) -> tuple[float, float]:
        """Lowest and highest attenuation allowed [dB]."""

    def check(self, *attenuations_dB: float) -> None:
        """Refuse a whole scan before its first point. Raises RefusedError."""

    def set_attenuation(self, attenuation_dB: float) -> None:
        """Set the attenuation [dB]; returns when it has settled."""

    def attenuation(self) -> float:
        """Get the attenuation that is set [dB]."""

    def open_shutter(self) -> None:
        """Let the light through."""

    def close_shutter(self) -> None:
        """Block the light."""


class LightPath(Instrument, Protocol):
    """Selects which light reaches the detectors: flip mirrors or an optical switch.

    Positions used by the protocols: ``before`` (the source's fibre, before the transmitter),
    ``after`` (through the transmitter), ``laser`` (pump pulses alone, same fibres and detectors),
    ``narrow`` (a narrow continuous laser through the transmitter's etalon), ``blocked``,
    ``receiver`` (through the transmitter, then through the polarisation analyser, one of its two
    outputs on each detector), ``interferometer`` (through the transmitter, then through an
    interferometer that is unbalanced by one pulse period, an output on each detector).

    The polarisation in the arms of the interferometer is selected by another instrument of this
    role, with the positions ``parallel`` and ``orthogonal``.
    """

    def select(self, position: str) -> None:
        """Switch to a position; returns when it has settled."""

    def selected(self) -> str:
        """Get the position that is in use."""


ORTHOGONAL: Mapping[str, str] = {"H": "V", "V": "H", "D": "A", "A": "D", "R": "L", "L": "R"}
"""The six polarisation states of the three bases, each with the one orthogonal to it."""


class PolarisationModulator(Instrument, CanDoHarm, Protocol):
    """Sets the polarisation that the transmitter sends; its safe state is outputs off."""

    @property
    def states(self) -> tuple[str, ...]:
        """States that it can send, names from `ORTHOGONAL`."""

    def select(self, state: str) -> None:
        """Send a state; returns when it has settled."""

    def selected(self) -> str:
        """Get the state that is being sent; an empty string if it is none of them."""


class PolarisationAnalyser(Instrument, Protocol):
    """Wave plates and a polarising beam splitter with a detector at each output."""

    @property
    def states(self) -> tuple[str, ...]:
        """States that it can turn to detector A, names from `ORTHOGONAL`."""

    def select(self, state: str) -> None:
        """Turn a state to detector A and the orthogonal one to B; returns when it has settled."""

    def selected(self) -> str:
        """Get the state that is turned to detector A; an empty string if it is none of them."""


@dataclass(frozen=True)
class Counts:
    """Clicks of the two signal detectors in one dwell time."""

    clicks: tuple[int, int]
    dwell_s: float


@dataclass(frozen=True)
class TagBlock:
    """A part of the tag stream, sorted in time.

    Attributes
    ----------
    times_ps
        Arrival times since the start of the stream, int64, shape (n,) [ps].
    channels
        Channel of each tag, uint8, shape (n,).
    start_ps, stop_ps
        The time interval that this block covers, whether or not it has tags [ps].
    overflow
        Tags were lost in this interval: it must not be used for rates or correlations.
    """

    times_ps: NDArray[np.int64]
    channels: NDArray[np.uint8]
    start_ps: int
    stop_ps: int
    overflow: bool = False


class TimeTagger(Instrument, Protocol):
    """A time tagger with two signal detectors and a divided pulse clock."""

    @property
    def channel_a(self) -> int:
        """Channel of detector A."""

    @property
    def channel_b(self) -> int:
        """Channel of detector B."""

    @property
    def channel_sync(self) -> int:
        """Channel of the divided pulse clock."""

    @property
    def sync_divider(self) -> int:
        """Pulses per tag on the clock channel."""

    @property
    def resolution_ps(self) -> float:
        """Step of the time-to-digital converter [ps]."""

    def count(self, dwell_s: float) -> Counts:
        """Count clicks for a dwell time [s]."""

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        """Yield the tags of the next duration [s] in blocks that cover it without a gap."""


ROLES: Mapping[str, type[Instrument]] = {
    "light_path": LightPath,
    "tagger": TimeTagger,
    "pump_attenuator": Attenuator,
    "pump_power": PowerMeter,
    "cavity_fine": VoltageAxis,
    "cavity_coarse": StepAxis,
    "etalon_piezo": VoltageAxis,
    "modulator": PolarisationModulator,
    "analyser": PolarisationAnalyser,
    "interferometer_phase": VoltageAxis,
    "interferometer_polarisation": LightPath,
}
"""Roles that qdchar knows, with the contract of each; a lab's own measurement may add others."""
