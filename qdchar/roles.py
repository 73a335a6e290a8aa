"""What a measurement asks of an instrument, whatever its make.

These protocols have no base class: a driver of `qdchar.drivers`, a QCoDeS instrument in a thin
wrapper or a lab's own object fits if it has the methods. Units stand in the names.

A value out of range is refused with `RefusedError`, never clamped. `close` changes no output.
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
    """Who answered at the other end of the wire."""

    vendor: str
    model: str
    serial: str
    firmware: str
    address: str
    simulated: bool


class Instrument(Protocol):
    """Anything with a wire to it."""

    def open(self) -> None:
        """Connect; changes no output. Raises InstrumentError."""

    def close(self) -> None:
        """Disconnect; changes no output. Idempotent."""

    def identify(self) -> Identity:
        """Ask the device who it is."""

    def snapshot(self) -> Mapping[str, Reading]:
        """Read the state from the device itself, never from a cache."""


class CanDoHarm(Protocol):
    """Something that has to be brought to safety on every way out."""

    def make_safe(self) -> None:
        """Bring to the safe state; idempotent, bounded in time, callable from any state."""


class VoltageAxis(Instrument, CanDoHarm, Protocol):
    """A piezo offset: the cavity's fine axis, the etalon."""

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
    """A slip-stick stepper. Open loop: never infer a position from steps."""

    def step(self, n: int) -> None:
        """Take n steps up (n > 0) or down (n < 0); returns when the motion has ended."""


class PowerMeter(Instrument, Protocol):
    """The monitor of the pump power."""

    def power_W(self) -> float:
        """Measure the optical power [W]."""


class Attenuator(Instrument, CanDoHarm, Protocol):
    """The pump attenuator with its shutter; safe is: shutter closed."""

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
    """Which light reaches the detectors: flip mirrors or an optical switch.

    Positions used by the protocols: ``before`` (the source's fibre, before the transmitter),
    ``after`` (through the transmitter), ``laser`` (pump pulses alone, same fibres and detectors),
    ``narrow`` (a narrow continuous laser through the transmitter's etalon), ``blocked``,
    ``receiver`` (through the transmitter, then through the polarisation analyser, one of its two
    outputs on each detector), ``interferometer`` (through the transmitter, then through an
    interferometer that is unbalanced by one pulse period, an output on each detector).

    The polarisation in the interferometer's arms is a path of its own, with the positions
    ``parallel`` and ``orthogonal``.
    """

    def select(self, position: str) -> None:
        """Switch to a position; returns when it has settled."""

    def selected(self) -> str:
        """Get the position that is in use."""


ORTHOGONAL: Mapping[str, str] = {"H": "V", "V": "H", "D": "A", "A": "D", "R": "L", "L": "R"}
"""The six polarisation states of the three bases, each with the one orthogonal to it."""


class PolarisationModulator(Instrument, CanDoHarm, Protocol):
    """Sets the polarisation that the transmitter sends; safe is: its outputs off."""

    @property
    def states(self) -> tuple[str, ...]:
        """States that it can send, names from `ORTHOGONAL`."""

    def select(self, state: str) -> None:
        """Send a state; returns when it has settled."""

    def selected(self) -> str:
        """Get the state that is being sent; empty if it is none of them."""


class PolarisationAnalyser(Instrument, Protocol):
    """Wave plates and a polarising beam splitter with a detector at each output."""

    @property
    def states(self) -> tuple[str, ...]:
        """States that it can turn to detector A, names from `ORTHOGONAL`."""

    def select(self, state: str) -> None:
        """Turn a state to detector A and the orthogonal one to B; returns when it has settled."""

    def selected(self) -> str:
        """Get the state that is turned to detector A; empty if it is none of them."""


@dataclass(frozen=True)
class Counts:
    """Clicks of the two signal detectors in one dwell."""

    clicks: tuple[int, int]
    dwell_s: float


@dataclass(frozen=True)
class TagBlock:
    """A stretch of the tag stream, sorted in time.

    Attributes
    ----------
    times_ps
        Arrival times since the start of the stream, int64, shape (n,) [ps].
    channels
        Channel of each tag, uint8, shape (n,).
    start_ps, stop_ps
        The stretch of time that this block covers, tags or not [ps].
    overflow
        Tags were lost in this stretch: it must not be used for rates or correlations.
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
        """Count clicks for a dwell [s]."""

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        """Yield the tags of the next duration [s] in blocks that cover it without a gap."""
