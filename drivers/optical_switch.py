"""SCPI optical switches of the Keysight N773x class: which light reaches the detectors.

SCPI over a TCP socket (port 5025), LF at the end of lines; ``ROUT1:CHAN1 A,2`` connects the common
port A to port 2. Commands after the N77xx programming guide; it has not met the real device yet.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from qdchar.errors import InstrumentError, UsageError
from qdchar.roles import Reading

from ._arguments import number, positive, require_known, table, whole
from ._instrument import ScpiInstrument
from ._scpi import ScpiLine


class OpticalSwitch(ScpiInstrument):
    """Selects the light path by a 1 x N switch.

    Parameters
    ----------
    address
        ``tcp://host:5025``.
    positions
        Port number of each position, e.g. ``{before = 1, after = 2, laser = 3, blocked = 5}``.
    slot, channel
        Which switch of the instrument.
    settle_s
        Wait after a change, e.g. for flip mirrors that follow the switch [s].
    timeout_s
        How long a reply may take [s].
    """

    def __init__(
        self,
        address: str,
        *,
        positions: Mapping[str, int],
        slot: int = 1,
        channel: int = 1,
        settle_s: float = 0.0,
        timeout_s: float = 2.0,
    ) -> None:
        self._positions = _checked_positions(positions)
        slot = whole("slot", slot, low=1, high=8)
        channel = whole("channel", channel, low=1, high=8)
        self._route = f"ROUT{slot}:CHAN{channel}"
        self._settle_s = number("settle_s", settle_s, low=0.0, high=60.0)
        self._line = ScpiLine(
            address,
            name="optical switch",
            timeout_s=positive("timeout_s", timeout_s),
            models=r"N773\d",
        )

    def snapshot(self) -> Mapping[str, Reading]:
        """Read the route."""
        return {"route": self._line.ask(f"{self._route}?")}

    def select(self, position: str) -> None:
        """Switch to a position; returns when it has settled.

        Raises
        ------
        UsageError
            If the station file does not name the position; nothing was moved.
        InstrumentError
            If the switch does not confirm it.
        """
        require_known(self._line.label, "position", position, tuple(self._positions))
        if self.selected() == position:
            return
        self._line.do(f"{self._route} A,{self._positions[position]}")
        time.sleep(self._settle_s)
        if (found := self.selected()) != position:
            raise InstrumentError(
                f"{self._line.label}: position {position!r} was selected, but it reports "
                f"{repr(found) if found else 'a port that the station file does not name'}. Check "
                "that no other program uses it"
            )

    def selected(self) -> str:
        """Get the selected position; empty if the station file does not name the port."""
        asked = f"{self._route}?"
        reply = self._line.ask(asked)
        match = re.fullmatch(r"A,(\d+)", reply.strip())
        if match is None:
            raise self._line.unexpected(asked, reply, "a route such as 'A,2'")
        port = int(match[1])
        return next((name for name, at in self._positions.items() if at == port), "")


def _checked_positions(positions: object) -> dict[str, int]:
    ports = {
        name: whole(f"positions.{name}", port, low=1, high=1000)
        for name, port in table("positions", positions, "{before = 1, after = 2}").items()
    }
    if len(set(ports.values())) != len(ports):
        raise UsageError(f"positions = {ports!r}: two positions have the same port")
    return ports
