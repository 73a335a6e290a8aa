"""Stand-ins: a lab without physics, and an instrument that knows one conversation."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from qdchar.roles import TagBlock

BLOCK_PS = 20_000_000_000


class FakeLab:
    """The methods of the simulated lab: it remembers what was set, and its tags come regularly."""

    def __init__(self) -> None:
        self.channel_a, self.channel_b, self.channel_sync = 1, 2, 0
        self.sync_divider = 64
        self.resolution_ps = 42.0
        self.serial = "0042"
        self.volts: dict[int, float] = {}
        self.history: list[tuple[int, float]] = []
        self.steps: dict[int, int] = {}
        self.attenuation_dB, self.shutter_open = 30.0, False
        self.etalon_V = 0.0
        self.etalon_history: list[float] = []
        self.path = "blocked"
        self.modulator_V = {1: 0.0, 2: 0.0}
        self.modulator_history: list[tuple[int, float]] = []
        self.phase_V = 0.0
        self.arms = "parallel"
        self.plates_deg = {"quarter": 10.0, "half": 20.0}
        self.power_W = 1e-6
        self.time_s = 0.0
        self.tags_per_block = 1000
        self.overflow_in: set[int] = set()
        self.fail_at: int | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.blocks_made = 0
        self.streams_closed = 0

    def set_piezo(self, axis: int, voltage_V: float) -> None:
        self.volts[axis] = voltage_V
        self.history.append((axis, voltage_V))

    def piezo_voltage(self, axis: int) -> float:
        return self.volts.get(axis, 0.0)

    def step(self, axis: int, n: int) -> None:
        self.steps[axis] = self.steps.get(axis, 0) + n

    def set_attenuation(self, dB: float) -> None:
        self.attenuation_dB = dB

    def attenuation(self) -> float:
        return self.attenuation_dB

    def set_shutter(self, open: bool) -> None:
        self.shutter_open = open

    def shutter(self) -> bool:
        return self.shutter_open

    def power_reading_W(self) -> float:
        return self.power_W

    def set_etalon_voltage(self, V: float) -> None:
        self.etalon_V = V
        self.etalon_history.append(V)

    def etalon_voltage(self) -> float:
        return self.etalon_V

    def set_modulator(self, channel: int, voltage_V: float) -> None:
        self.modulator_V[channel] = voltage_V
        self.modulator_history.append((channel, voltage_V))

    def turn_plate(self, name: str, angle_deg: float) -> None:
        self.plates_deg[name] = angle_deg

    def plate_deg(self, name: str) -> float:
        return self.plates_deg[name]

    def set_phase_voltage(self, V: float) -> None:
        self.phase_V = V

    def phase_voltage(self) -> float:
        return self.phase_V

    def select_arms(self, name: str) -> None:
        self.arms = name

    def selected_arms(self) -> str:
        return self.arms

    def select_path(self, name: str) -> None:
        self.path = name

    def selected_path(self) -> str:
        return self.path

    def count(self, dwell_s: float) -> tuple[int, int]:
        self.time_s += dwell_s
        return round(1000 * dwell_s), round(500 * dwell_s)

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        total_ps = round(duration_s * 1e12)
        try:
            for k, start in enumerate(range(0, total_ps, BLOCK_PS)):
                self.go_on.wait(10.0)
                if k == self.fail_at:
                    raise RuntimeError("USB cable pulled")
                stop = min(start + BLOCK_PS, total_ps)
                step = (stop - start) / max(self.tags_per_block, 1)
                times = start + (np.arange(self.tags_per_block) * step).astype(np.int64)
                channels = (np.arange(self.tags_per_block) % 3).astype(np.uint8)
                self.blocks_made += 1
                yield TagBlock(times, channels, start, stop, overflow=k in self.overflow_in)
        finally:
            self.streams_closed += 1

    def advance(self, seconds: float) -> None:
        self.time_s += seconds


@pytest.fixture
def lab() -> FakeLab:
    return FakeLab()


Exchange = tuple[bytes, bytes | float | None]
"""What the instrument expects to hear, and what it answers.

A number is a silence [s]; None: it hangs up.
"""


class Conversation:
    """An instrument that knows its lines only: byte for byte, one script a connection.

    Parameters
    ----------
    scripts
        For each connection in turn, what is heard and said.
    cut
        Replies are sent in pieces of so many bytes; 0 sends them whole.
    """

    def __init__(self, scripts: Sequence[Sequence[Exchange]], *, cut: int = 0) -> None:
        self._scripts, self._cut = scripts, cut
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self.heard: list[bytes] = []
        self.wrong = ""
        self.done = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for script in self._scripts:
            self._listening.settimeout(10.0)
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client:
                client.settimeout(10.0)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if not self._speak(client, script):
                    return
                self.done += 1
                if not script or script[-1][1] is not None:
                    self._wait_for_goodbye(client)

    def _speak(self, client: socket.socket, script: Sequence[Exchange]) -> bool:
        for expected, reply in script:
            got = b""
            try:
                while len(got) < len(expected) and (piece := client.recv(len(expected) - len(got))):
                    got += piece
            except OSError as error:
                self.wrong = f"{error} while waiting for {expected!r}, after {got!r}"
                return False
            self.heard.append(got)
            if got != expected:
                self.wrong = f"expected {expected!r}, heard {got!r}"
                return False
            if reply is None:
                return True
            if isinstance(reply, float):
                time.sleep(reply)
                continue
            pieces = [reply] if not self._cut else _cut(reply, self._cut)
            with contextlib.suppress(OSError):  # the driver has read enough, and is gone
                for piece in pieces:
                    client.sendall(piece)
                    if self._cut:
                        time.sleep(0.001)
        return True

    def _wait_for_goodbye(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if unexpected := client.recv(1000):
                self.wrong = f"expected nothing more, heard {unexpected!r}"

    def finish(self) -> None:
        """End, and say whether everything was said as written."""
        self._thread.join(timeout=10.0)
        self._listening.close()
        assert not self.wrong, self.wrong
        assert self.done == len(self._scripts), f"{self.done} of {len(self._scripts)} scripts"


def _cut(reply: bytes, size: int) -> list[bytes]:
    return [reply[i : i + size] for i in range(0, len(reply), size)]


@pytest.fixture
def conversation() -> Iterator[Callable[..., Conversation]]:
    """Make an instrument from scripts; at the end of the test every line must have been heard."""
    made: list[Conversation] = []

    def make(*scripts: Sequence[Exchange], cut: int = 0) -> Conversation:
        made.append(Conversation(scripts, cut=cut))
        return made[-1]

    yield make
    for one in made:
        one.finish()
