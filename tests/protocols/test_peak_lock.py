"""The peak lock, on a piezo with hysteresis and creep that this file models independently."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import InconclusiveError
from qdchar.protocols._peak_lock import LockResult, approach, lock_to_peak
from qdchar.raw_data import About, ScanWriter
from qdchar.roles import Counts, Identity, TagBlock


class Bench:
    """A resonance of FWHM `width_V` at `centre_V`, on a piezo with backlash and drift."""

    limits_V = (0.0, 60.0)
    channel_a, channel_b, channel_sync, sync_divider, resolution_ps = 1, 2, 0, 1024, 42.0

    def __init__(self, centre_V: float, width_V: float = 0.066, drift_V: float = 0.0) -> None:
        self.centre_V, self.width_V, self.drift_V = centre_V, width_V, drift_V
        self.backlash_V, self._set, self._at, self.light = 0.02, 0.0, 0.0, 1.0
        self.visited: list[float] = []
        self.flicker = 0.0
        self._rng = np.random.default_rng(11)

    def set_voltage(self, voltage_V: float) -> None:
        self._set = voltage_V
        self._at = min(max(self._at, voltage_V - self.backlash_V), voltage_V + self.backlash_V)
        self.visited.append(voltage_V)

    def voltage(self) -> float:
        return self._set

    def check(self, *voltages_V: float) -> None: ...

    def make_safe(self) -> None: ...

    def off_V(self) -> float:
        return self._at - self.centre_V

    def count(self, dwell_s: float) -> Counts:
        self.centre_V += self.drift_V
        mean = self.light * 1e7 * dwell_s / (1 + (2 * self.off_V() / self.width_V) ** 2)
        mean *= max(1.0 + self.flicker * self._rng.standard_normal(), 0.0)
        a, b = self._rng.poisson(mean / 2, size=2)
        return Counts((int(a), int(b)), dwell_s)

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        raise NotImplementedError

    def open(self) -> None: ...

    def close(self) -> None: ...

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", True)

    def snapshot(self) -> dict[str, float]:
        return {}


def _lock(bench: Bench, start_V: float, tmp_path: Path, tolerance_V: float = 0.001) -> LockResult:
    approach(bench, start_V, 2.0)
    with ScanWriter(tmp_path / "lock.csv", "voltage_V", About("cavity")) as log:
        return lock_to_peak(bench, bench, log, dither_V=0.02, dwell_s=0.02, tolerance_V=tolerance_V)


def test_light_that_blinks_is_locked_while_the_piezo_creeps(tmp_path: Path) -> None:
    """17 % from count to count; the peak creeps by 30 uV a count, 4 mV in 48 readouts."""
    for seed in range(10):
        bench = Bench(31.0, drift_V=30e-6)
        bench.flicker, bench._rng = 0.17, np.random.default_rng(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        lock = _lock(bench, 31.0, folder, tolerance_V=0.0016)
        assert abs(bench.off_V()) < 0.006
        assert lock.u_voltage_V < 0.004


@pytest.mark.parametrize("start_off_V", [-0.05, -0.02, 0.0, 0.03, 0.06])
def test_the_lock_ends_on_the_peak_from_either_side(start_off_V: float, tmp_path: Path) -> None:
    bench = Bench(31.0)
    lock = _lock(bench, 31.0 + start_off_V, tmp_path)
    assert lock.voltage_V == bench.voltage()
    # closer than the tolerance: the last offset is corrected too
    assert abs(bench.off_V()) < 0.0004
    # coming from below, the piezo is where it was set less its backlash
    assert lock.offset_V == pytest.approx(bench.backlash_V - start_off_V, abs=0.006)


def test_where_one_readout_is_enough_it_is_the_first_and_the_last(tmp_path: Path) -> None:
    bench = Bench(31.0)
    lock = _lock(bench, 31.0 + bench.backlash_V, tmp_path, tolerance_V=0.004)
    assert abs(lock.offset_V) < 5.0 * lock.u_offset_V
    assert lock.u_offset_V == lock.u_voltage_V > 0.0


def test_the_lock_follows_a_drifting_resonance(tmp_path: Path) -> None:
    bench = Bench(31.0, drift_V=5e-5)
    _lock(bench, 31.0, tmp_path)
    assert abs(bench.off_V()) < 0.002


def test_every_counted_point_is_approached_from_below(tmp_path: Path) -> None:
    bench = Bench(31.0)
    _lock(bench, 31.0, tmp_path)
    steps = np.diff(bench.visited)
    down = np.flatnonzero(steps < 0)
    # each step down ends below the lowest counted point, so that all counted points are upward
    assert all(steps[k] <= -0.04 + 1e-9 for k in down[1:])


def test_without_a_peak_there_is_no_lock(tmp_path: Path) -> None:
    bench = Bench(31.0, width_V=1e9)
    with pytest.raises(InconclusiveError, match="no lock on the resonance"):
        _lock(bench, 31.0, tmp_path, tolerance_V=1e-6)


def test_without_light_the_error_says_so(tmp_path: Path) -> None:
    bench = Bench(31.0)
    bench.light = 0.0
    with pytest.raises(InconclusiveError, match="neither detector clicked"):
        _lock(bench, 31.0, tmp_path)
    assert not math.isnan(bench.voltage())


def test_a_lock_that_fails_on_unsteady_light_says_so(tmp_path: Path) -> None:
    """Light that is full or a tenth, at random from count to count, as a dot that blinks slowly."""

    class Blinking(Bench):
        def count(self, dwell_s: float) -> Counts:
            self.light = float(self._rng.choice([1.0, 0.1]))
            return super().count(dwell_s)

    with pytest.raises(InconclusiveError, match="does the source blink"):
        _lock(Blinking(31.0), 31.0, tmp_path, tolerance_V=1e-5)
