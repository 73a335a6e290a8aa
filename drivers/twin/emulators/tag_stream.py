"""Emulator of the time tagger, with the protocol of `qdchar.drivers.tag_stream`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from qdchar.roles import Counts, Identity, Reading, TagBlock

from ...tag_server import TagServer
from .emulator import COMMAND_S, LabControls


class _Tagger:
    """The lab's two detectors and its clock as a time tagger."""

    def __init__(self, lab: LabControls) -> None:
        self._lab = lab
        self.channel_a = lab.channel_a
        self.channel_b = lab.channel_b
        self.channel_sync = lab.channel_sync
        self.sync_divider = lab.sync_divider
        self.resolution_ps = lab.resolution_ps

    def open(self) -> None:
        """Nothing: the lab is there."""

    def close(self) -> None:
        """Nothing: the lab stays."""

    def identify(self) -> Identity:
        """Say who it is."""
        return Identity("qdchar (simulated)", "tagger", self._lab.serial, "1", "", simulated=True)

    def snapshot(self) -> Mapping[str, Reading]:
        """Nothing beside the channels."""
        return {}

    def count(self, dwell_s: float) -> Counts:
        """Count clicks of the two signal detectors."""
        self._lab.advance(COMMAND_S)
        return Counts(clicks=self._lab.count(dwell_s), dwell_s=dwell_s)

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        """Yield time tags."""
        self._lab.advance(COMMAND_S)
        return self._lab.stream(duration_s)


class TaggerEmulator(TagServer):
    """The simulated time tagger."""

    def __init__(self, lab: LabControls, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__(_Tagger(lab), host=host, port=port)
