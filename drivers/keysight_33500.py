"""Keysight 33500B / 33600A waveform generators: the transmitter's polarisation modulator.

Two channels drive the modulator (through its amplifiers) with a pair of voltages for each
polarisation state. SCPI over a TCP socket (port 5025), LF at the end of lines; commands after the
33500/33600 programming guide. It has not met the real device yet.

The generator is told that its load is of high impedance: with its factory setting of 50 ohm an
amplifier's input would see twice the voltage that was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Self

from qdchar.errors import InstrumentError, UsageError
from qdchar.interrupt import signals_held
from qdchar.roles import ORTHOGONAL, Identity, Reading

from ._arguments import interval, number, positive
from ._line import retry_once
from ._scpi import ScpiLine

CHANNELS = (1, 2)
READBACK_V = 1e-3
HIGH_IMPEDANCE_OHM = 1e30
"""The generator reports an infinite load as 9.9e37."""


class Keysight33500:
    """Two direct voltages as the selector of a polarisation state.

    Parameters
    ----------
    address
        ``tcp://host:5025``.
    states
        Voltages of both channels by state, e.g. ``{H = [0.0, 0.0], V = [2.5, 0.0]}`` [V].
    limits_V
        Lowest and highest voltage allowed on either channel [V].
    settle_s
        Wait after a change for the modulator and its amplifiers [s].
    timeout_s
        How long a reply may take [s].
    """

    def __init__(
        self,
        address: str,
        *,
        states: Mapping[str, Sequence[float]],
        limits_V: Sequence[float],
        settle_s: float = 0.0,
        timeout_s: float = 2.0,
    ) -> None:
        self._limits_V = interval("limits_V", limits_V, low=-10.0, high=10.0)
        self._states = _checked(states, self._limits_V)
        self._settle_s = number("settle_s", settle_s, low=0.0, high=60.0)
        self._line = ScpiLine(
            address,
            name="modulator",
            timeout_s=positive("timeout_s", timeout_s),
            models=r"33[56]\d\d",
        )

    def open(self) -> None:
        """Connect; changes no output. Raises InstrumentError."""
        self._line.open()

    def close(self) -> None:
        """Disconnect; changes no output."""
        self._line.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def identify(self) -> Identity:
        """Ask the generator who it is."""
        return self._line.identify()

    def snapshot(self) -> Mapping[str, Reading]:
        """Read function, voltage, load and output of both channels."""
        found: dict[str, Reading] = {}
        for n in CHANNELS:
            found[f"function_{n}"] = self._line.ask(f"SOUR{n}:FUNC?")
            found[f"voltage_{n}_V"] = self._voltage(n)
            found[f"load_{n}_ohm"] = self._line.ask_float(f"OUTP{n}:LOAD?")
            found[f"output_{n}_on"] = self._output_is_on(n)
        return found

    @property
    def states(self) -> tuple[str, ...]:
        """States that the station file gives voltages for."""
        return tuple(self._states)

    def select(self, state: str) -> None:
        """Set the voltages of a state; returns when it has settled.

        Raises
        ------
        UsageError
            If the station file does not name the state; nothing was set.
        InstrumentError
            If the generator does not confirm it.
        """
        if state not in self._states:
            raise UsageError(
                f"{self._name}: state {state!r} is not among its states "
                f"({', '.join(self._states)}); nothing was set"
            )
        for n, voltage in zip(CHANNELS, self._states[state], strict=True):
            self._prepare(n)
            self._line.do(f"SOUR{n}:VOLT:OFFS {voltage:.4f}")
            if not self._output_is_on(n):
                self._line.do(f"OUTP{n} ON")
        time.sleep(self._settle_s)
        if (found := self.selected()) != state:
            raise InstrumentError(f"{self._name}: state {state!r} was set, {found!r} is read back")

    def selected(self) -> str:
        """Get the state whose voltages are on both outputs; empty if there is none."""
        if not all(self._is_prepared(n) and self._output_is_on(n) for n in CHANNELS):
            return ""
        found = [self._voltage(n) for n in CHANNELS]
        return next(
            (
                state
                for state, wanted in self._states.items()
                if all(abs(f - w) <= READBACK_V for f, w in zip(found, wanted, strict=True))
            ),
            "",
        )

    def make_safe(self) -> None:
        """Switch both outputs off; takes two commands."""
        with signals_held():
            self._line.open()
            for n in CHANNELS:
                retry_once(lambda n=n: self._switch_off(n))  # type: ignore[misc]

    @property
    def _name(self) -> str:
        return f"modulator at {self._line.address}"

    def _voltage(self, n: int) -> float:
        return self._line.ask_float(f"SOUR{n}:VOLT:OFFS?")

    def _output_is_on(self, n: int) -> bool:
        return self._line.ask_float(f"OUTP{n}?") != 0

    def _is_prepared(self, n: int) -> bool:
        """Whether a channel gives a direct voltage, into an amplifier's input."""
        direct = self._line.ask(f"SOUR{n}:FUNC?").strip() == "DC"
        return direct and self._line.ask_float(f"OUTP{n}:LOAD?") > HIGH_IMPEDANCE_OHM

    def _prepare(self, n: int) -> None:
        """Set function and load with the output off: what was there may be far from a state."""
        if self._is_prepared(n):
            return
        self._switch_off(n)
        self._line.do(f"OUTP{n}:LOAD INF")
        self._line.do(f"SOUR{n}:FUNC DC")
        if not self._is_prepared(n):
            raise InstrumentError(
                f"{self._name}: channel {n} was set to a direct voltage into high impedance, and "
                "says that it is not"
            )

    def _switch_off(self, n: int) -> None:
        self._line.do(f"OUTP{n} OFF")
        if self._output_is_on(n):
            raise InstrumentError(
                f"{self._name}: output {n} was switched off, and says that it is on. Look at it "
                "before going on"
            )


def _checked(states: object, limits_V: tuple[float, float]) -> dict[str, tuple[float, float]]:
    if not isinstance(states, Mapping) or not states:
        raise UsageError(
            f"states = {states!r}: a table of states and voltage pairs is needed, "
            "e.g. {H = [0.0, 0.0], V = [2.5, 0.0]}"
        )
    low, high = limits_V
    found = {}
    for name, pair in states.items():
        if name not in ORTHOGONAL:
            raise UsageError(f"states.{name}: a state is one of {', '.join(ORTHOGONAL)}")
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != len(CHANNELS):
            raise UsageError(f"states.{name} = {pair!r}: two voltages are needed")
        first, second = (number(f"states.{name}", v, low=low, high=high) for v in pair)
        found[str(name)] = (first, second)
    if len(set(found.values())) != len(found):
        raise UsageError(f"states = {found!r}: two states share their voltages")
    return found
