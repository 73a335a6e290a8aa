"""A Rabi scan of a dot that fades meanwhile; this file models the dot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from qdchar.analysis import rabi as analysis
from qdchar.estimate import Estimate
from qdchar.protocols import rabi
from qdchar.protocols.rabi import RabiSettings
from qdchar.raw_data import Scan
from qdchar.roles import Counts, Identity, TagBlock

CLOCK_HZ, TOP_W, PI_W, DAMPING = 76.13e6, 1e-6, 2e-7, 0.01
GAIN = Estimate(
    name="power_meter_gain",
    value=1.0,
    method="",
)


@dataclass
class Bench:
    """A dot and all the instruments in one; it loses a part of its brightness with each count."""

    fades: float
    dB: float = 60.0
    limits_dB = (0.0, 60.0)
    channel_a, channel_b, channel_sync, sync_divider, resolution_ps = 1, 2, 0, 100, 1.0
    brightness: float = 0.3
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", simulated=True)

    def select(self, position: str) -> None: ...

    def selected(self) -> str:
        return "before"

    def check(self, *attenuations_dB: float) -> None: ...

    def set_attenuation(self, dB: float) -> None:
        self.dB = dB

    def attenuation(self) -> float:
        return self.dB

    def open_shutter(self) -> None: ...

    def close_shutter(self) -> None: ...

    def power_W(self) -> float:
        return float(TOP_W * 10 ** (-self.dB / 10))

    def count(self, dwell_s: float) -> Counts:
        self.brightness *= 1.0 - self.fades
        square = np.pi**2 * self.power_W() / PI_W
        p = self.brightness * 0.5 * (1.0 - np.exp(-DAMPING * square) * np.cos(np.sqrt(square)))
        a, b = self.rng.poisson(dwell_s * CLOCK_HZ * p / 2.0, 2)
        return Counts((int(a), int(b)), dwell_s)

    def stream(self, duration_s: float) -> list[TagBlock]:
        raise NotImplementedError

    def scan(self, folder: Path, relock: Callable[[], object] = lambda: None) -> Scan:
        settings = RabiSettings(dwell_s=1.0)
        return rabi.measure(self, self, self, self, folder / "rabi.csv", settings, relock)


def test_a_dot_that_fades_during_the_scan_gives_the_right_pi_power(tmp_path: Path) -> None:
    bench = Bench(fades=1e-3)  # 8 % over the whole scan
    scan = bench.scan(tmp_path)
    result = analysis.analyse(scan, clock_rate_Hz=CLOCK_HZ, dead_pulses=0.0, power_gain=GAIN)
    # a scan from dark to bright alone gives 0.4 % less
    assert result["pi_power"].value == pytest.approx(PI_W, rel=1e-3)
    assert "drifted or jumped" in result.problems[0]


def test_the_cavity_is_relocked_where_the_source_is_bright(tmp_path: Path) -> None:
    """Before each upward and each downward part; each re-lock restores the brightness."""
    bench = Bench(fades=1e-5)
    relocked_W = []

    def relock() -> None:
        relocked_W.append(bench.power_W())
        bench.brightness = 0.3

    scan = bench.scan(tmp_path, relock)
    result = analysis.analyse(scan, clock_rate_Hz=CLOCK_HZ, dead_pulses=0.0, power_gain=GAIN)
    assert relocked_W[0] == pytest.approx(PI_W, rel=0.2)  # the brightest of the first points
    assert relocked_W[1:] == pytest.approx([PI_W] * 3, rel=0.1)
    # the fine points reach from dark beyond the pi pulse, to 1.7 times its area
    assert scan.x[48:].max() == pytest.approx(1.7**2 * PI_W, rel=0.1)
    assert scan.x[48:].min() < 0.01 * PI_W
    assert not result.problems
