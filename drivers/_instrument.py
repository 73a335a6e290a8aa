"""What drivers have in common: open, close, `with`, and the identity of a SCPI instrument.

A driver need not use these classes: the roles of `qdchar.roles` are protocols, and an object fits
if it has the methods.
"""

from __future__ import annotations

from typing import Self

from qdchar.roles import Identity

from ._line import Line
from ._scpi import ScpiLine


class InWith:
    """Opens on the way into a `with`, and closes on the way out."""

    def open(self) -> None:
        """Connect; changes no output. Raises InstrumentError."""
        raise NotImplementedError

    def close(self) -> None:
        """Disconnect; changes no output. Idempotent."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LineInstrument(InWith):
    """An instrument with a connection of its own, `_line`."""

    _line: Line

    def open(self) -> None:
        """Connect; changes no output. Raises InstrumentError."""
        self._line.open()

    def close(self) -> None:
        """Disconnect; changes no output. Idempotent."""
        self._line.close()


class ScpiInstrument(LineInstrument):
    """An instrument that speaks SCPI on a connection of its own."""

    _line: ScpiLine

    def identify(self) -> Identity:
        """Ask the instrument who it is, by ``*IDN?``."""
        return self._line.identify()
