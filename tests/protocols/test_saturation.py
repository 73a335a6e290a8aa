"""A saturation scan of a dot that this file models: what is moved, and what the analysis finds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from qdchar.analysis import saturation as analysis
from qdchar.errors import InconclusiveError, RefusedError
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.protocols import saturation
from qdchar.protocols.saturation import SaturationSettings
from qdchar.roles import Counts, Identity, TagBlock

CLOCK_HZ, TOP_W, SATURATION_W = 76.13e6, 20e-6, 2e-6
GAIN = Estimate(
    name="power_meter_gain",
    value=1.0,
    method="",
)


@dataclass
class Bench:
    """A dot under pulses from above its resonance, with all the instruments in one."""

    drift: float = 0.0
    fail_after: int = 1000
    is_open: bool = True
    stuck: bool = False
    dB: float = 13.0
    path: str = "after"
    visited: list[float] = field(default_factory=list)
    limits_dB = (0.0, 60.0)
    channel_a, channel_b, channel_sync, sync_divider, resolution_ps = 1, 2, 0, 100, 1.0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.brightness = 0.3

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", simulated=True)

    def select(self, position: str) -> None:
        self.path = position

    def selected(self) -> str:
        return self.path

    def check(self, *attenuations_dB: float) -> None:
        if min(attenuations_dB) < self.limits_dB[0] or max(attenuations_dB) > self.limits_dB[1]:
            raise RefusedError("beyond the limits")

    def set_attenuation(self, dB: float) -> None:
        self.visited.append(dB)
        self.dB = dB

    def attenuation(self) -> float:
        return self.dB

    def open_shutter(self) -> None:
        self.is_open = True

    def close_shutter(self) -> None:
        self.is_open = self.stuck

    def _power_W(self) -> float:
        return TOP_W * 10 ** (-self.dB / 10)

    def power_W(self) -> float:
        """With a zero of a tenth of the saturation power."""
        light = self._power_W() * (1 + 0.005 * self.rng.standard_normal())
        return light * self.is_open + 0.1 * SATURATION_W

    def count(self, dwell_s: float) -> Counts:
        if len(self.visited) > self.fail_after:
            raise RuntimeError("cable pulled")
        self.brightness *= 1 + self.drift
        p = self.brightness / 2 * -math.expm1(-self._power_W() / SATURATION_W)
        a, b = self.rng.binomial(round(dwell_s * CLOCK_HZ), p, size=2)
        return Counts((int(a), int(b)), dwell_s)

    def stream(self, duration_s: float) -> list[TagBlock]:
        raise NotImplementedError

    def open(self) -> None: ...

    def close(self) -> None: ...

    def make_safe(self) -> None: ...

    def snapshot(self) -> dict[str, float]:
        return {}


def _measure(bench: Bench, folder: Path, **settings: float) -> Result:
    scan = saturation.measure(
        bench, bench, bench, bench, folder / "saturation.csv", SaturationSettings(**settings)
    )
    return analysis.analyse(scan, clock_rate_Hz=CLOCK_HZ, dead_pulses=0, power_gain=GAIN)


def test_scan_goes_up_and_down_and_finds_the_saturation(tmp_path: Path) -> None:
    bench = Bench()
    result = _measure(bench, tmp_path)
    assert not result.problems
    power = result["saturation_power"]
    assert power.value == pytest.approx(SATURATION_W, abs=3 * power.u)
    assert power.u < 0.01 * SATURATION_W
    assert result["saturated_rate"].value == pytest.approx(0.3 * CLOCK_HZ, rel=0.01)
    assert bench.path == "before"
    # dark to bright, back with the other points, and the pump as it was
    steps = np.sign(np.diff(bench.visited[1:-1]))
    assert np.count_nonzero(np.diff(steps[steps != 0])) == 1
    assert bench.visited[0] == max(bench.visited) == 25.0
    assert bench.visited[-1] == 13.0


def test_a_stuck_shutter_is_no_zero(tmp_path: Path) -> None:
    bench = Bench(stuck=True)
    with pytest.raises(InconclusiveError, match="Is the shutter stuck"):
        _measure(bench, tmp_path)
    assert bench.dB == 13.0


def test_a_drift_is_not_taken_for_a_saturation(tmp_path: Path) -> None:
    # 0.2 % a point: 10 % over the scan, which a scan in one direction would take for a saturation
    result = _measure(Bench(drift=-0.002), tmp_path)
    assert "drifted" in result.problems[0]


def test_pump_is_put_back_where_the_scan_fails(tmp_path: Path) -> None:
    bench = Bench(fail_after=20)
    with pytest.raises(RuntimeError, match="cable"):
        _measure(bench, tmp_path)
    assert bench.dB == 13.0


def test_range_is_refused_before_anything_moves(tmp_path: Path) -> None:
    bench = Bench()
    with pytest.raises(RefusedError):
        _measure(bench, tmp_path, lowest_dB=61.0)
    assert (bench.visited, bench.path) == ([], "after")
