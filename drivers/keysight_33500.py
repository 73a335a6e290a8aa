"""Keysight 33500B / 33600A waveform generators: the transmitter's polarisation modulator.

Two channels drive the modulator (through its amplifiers) with a pair of voltages for each
polarisation state. SCPI over a TCP socket (port 5025), LF at the end of lines; commands after the
33500/33600 programming guide. It has not met the real device yet.

The driver tells the generator that its load has a high impedance: with the factory setting of
50 ohm an amplifier's input would get twice the voltage that was set.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from qdchar.errors import InstrumentError, UsageError
from qdchar.interrupt import signals_held
from qdchar.roles import ORTHOGONAL, Reading

from ._arguments import interval, number, pair, positive, require_known, table
from ._instrument import ScpiInstrument
from ._line import retry_once
from ._scpi import ScpiLine

CHANNELS = (1, 2)
READBACK_V = 1e-3
HIGH_IMPEDANCE_OHM = 1e30
"""The generator reports an infinite load as 9.9e37."""


class Keysight33500(ScpiInstrument):
    """Sets polarisation states by two direct voltages.

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
        self._states = _checked_states(states, self._limits_V)
        self._settle_s = number("settle_s", settle_s, low=0.0, high=60.0)
        self._line = ScpiLine(
            address,
            name="modulator",
            timeout_s=positive("timeout_s", timeout_s),
            models=r"33[56]\d\d",
        )

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
        require_known(self._line.label, "state", state, self.states)
        for n, voltage in zip(CHANNELS, self._states[state], strict=True):
            self._prepare(n)
            self._line.do(f"SOUR{n}:VOLT:OFFS {voltage:.4f}")
            if not self._output_is_on(n):
                self._line.do(f"OUTP{n} ON")
        time.sleep(self._settle_s)
        if (found := self.selected()) != state:
            raise InstrumentError(
                f"{self._line.label}: state {state!r} was set, but its voltages, read back, are "
                f"those of {found or 'no state'}. Check that nobody operates its front panel"
            )

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
        """Switch both outputs off."""
        with signals_held():
            self._line.open()
            for n in CHANNELS:
                retry_once(lambda n=n: self._switch_off(n))  # type: ignore[misc]

    def _voltage(self, n: int) -> float:
        return self._line.ask_float(f"SOUR{n}:VOLT:OFFS?")

    def _output_is_on(self, n: int) -> bool:
        return self._line.ask_float(f"OUTP{n}?") != 0

    def _is_prepared(self, n: int) -> bool:
        """Whether a channel gives a direct voltage into a high impedance."""
        direct = self._line.ask(f"SOUR{n}:FUNC?").strip() == "DC"
        return direct and self._line.ask_float(f"OUTP{n}:LOAD?") > HIGH_IMPEDANCE_OHM

    def _prepare(self, n: int) -> None:
        """Set function and load, with the output off while they change."""
        if self._is_prepared(n):
            return
        self._switch_off(n)
        self._line.do(f"OUTP{n}:LOAD INF")
        self._line.do(f"SOUR{n}:FUNC DC")
        if not self._is_prepared(n):
            raise InstrumentError(
                f"{self._line.label}: channel {n} was set to a direct voltage into high impedance, "
                "but reports another setting. Look at its front panel"
            )

    def _switch_off(self, n: int) -> None:
        self._line.do(f"OUTP{n} OFF")
        if self._output_is_on(n):
            raise InstrumentError(
                f"{self._line.label}: output {n} was switched off, but reports that it is on. Look "
                "at the instrument before you continue"
            )


def _checked_states(
    states: object, limits_V: tuple[float, float]
) -> dict[str, tuple[float, float]]:
    low, high = limits_V
    given = table("states", states, "{H = [0.0, 0.0], V = [2.5, 0.0]}", tuple(ORTHOGONAL))
    found = {
        name: pair(f"states.{name}", voltages, "one voltage a channel", low=low, high=high)
        for name, voltages in given.items()
    }
    if len(set(found.values())) != len(found):
        raise UsageError(
            f"states = {found!r}: two states have the same voltages, so they cannot be told apart"
        )
    return found
