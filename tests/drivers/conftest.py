"""A fake of the simulated lab, with the methods of the real one and no physics."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from qdchar.roles import TagBlock

BLOCK_PS = 20_000_000_000


class FakeLab:
    """Remembers what was set; its tags come at a fixed pace."""

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
        self.power_W = 1e-6
        self.time_s = 0.0
        self.tags_per_block = 1000
        self.overflow_in: set[int] = set()
        self.fail_at: int | None = None
        self.between_blocks = threading.Event()
        self.between_blocks.set()

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

    def select_path(self, name: str) -> None:
        self.path = name

    def selected_path(self) -> str:
        return self.path

    def count(self, dwell_s: float) -> tuple[int, int]:
        self.time_s += dwell_s
        return round(1000 * dwell_s), round(500 * dwell_s)

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        total_ps = round(duration_s * 1e12)
        for k, start in enumerate(range(0, total_ps, BLOCK_PS)):
            self.between_blocks.wait(10.0)
            if k == self.fail_at:
                raise RuntimeError("USB cable pulled")
            stop = min(start + BLOCK_PS, total_ps)
            times = np.linspace(start, stop, self.tags_per_block, endpoint=False).astype(np.int64)
            channels = (np.arange(self.tags_per_block) % 3).astype(np.uint8)
            yield TagBlock(times, channels, start, stop, overflow=k in self.overflow_in)

    def advance(self, seconds: float) -> None:
        self.time_s += seconds


@pytest.fixture
def lab() -> FakeLab:
    return FakeLab()
