"""One suite for every voltage axis."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from qdchar.drivers import _ramp
from qdchar.drivers.attocube_anc300 import ANC300, OffsetAxis
from qdchar.drivers.thorlabs_mdt69x import MDT69x
from qdchar.drivers.twin.emulators import AttocubeEmulator, EtalonPiezoEmulator
from qdchar.errors import RefusedError, UsageError


@dataclass
class Rig:
    axis: Any
    lab: Any
    kind: str

    def output(self) -> float:
        return self.lab.volts.get(3, 0.0) if self.kind == "anc300" else self.lab.etalon_V

    def history(self) -> list[float]:
        if self.kind == "anc300":
            return [v for n, v in self.lab.history if n == 3]
        return self.lab.etalon_history


@contextmanager
def rig_of(kind: str, lab, slew: float = 5000.0):
    limits = [0.0, 60.0]
    if kind == "anc300":
        with AttocubeEmulator(lab) as served, ANC300(served.address, password="123456") as link:
            yield Rig(OffsetAxis(link, axis=3, limits_V=limits, slew_V_per_s=slew), lab, kind)
    else:
        with (
            EtalonPiezoEmulator(lab) as served,
            MDT69x(served.address, limits_V=limits, slew_V_per_s=slew) as axis,
        ):
            yield Rig(axis, lab, kind)


@pytest.fixture(params=["anc300", "mdt69x"])
def rig(request, lab):
    with rig_of(request.param, lab) as made:
        yield made


def test_goes_where_it_is_told(rig):
    for voltage in (12.345, 0.25, 60.0, 0.0):
        rig.axis.set_voltage(voltage)
        assert rig.output() == pytest.approx(voltage, abs=1e-3)  # the coarser one's wire format
        assert rig.axis.voltage() == pytest.approx(voltage, abs=1e-3)


def test_never_jumps_and_never_overshoots(rig):
    rig.axis.set_voltage(20.0)
    rig.axis.set_voltage(7.3)
    way = np.array([0.0, *rig.history()])
    assert np.abs(np.diff(way)).max() <= 0.5 + 1e-3
    assert way.max() <= 20.0
    turn = int(way.argmax())
    assert np.all(np.diff(way[: turn + 1]) >= 0)
    assert np.all(np.diff(way[turn:]) <= 0)


def test_starts_from_where_the_device_is(rig):
    """Another program has moved it, and this one was started anew."""
    rig.axis.set_voltage(30.0)
    if rig.kind == "anc300":
        other = ANC300(rig.axis._controller.address, password="123456")
        with other:
            other.do("seta 3 40.0")
    else:
        rig.lab.set_etalon_voltage(40.0)
    seen = len(rig.history())
    rig.axis.set_voltage(42.0)
    assert rig.history()[seen] == pytest.approx(40.5, abs=1e-3)


def test_keeps_to_the_slew(lab):
    for kind in ("anc300", "mdt69x"):
        with rig_of(kind, lab, slew=50.0) as rig:
            started = time.monotonic()
            rig.axis.set_voltage(5.0)
            assert time.monotonic() - started >= 5.0 / 50.0
            started = time.monotonic()
            for voltage in np.linspace(5.0, 6.0, 21):
                rig.axis.set_voltage(float(voltage))
            assert time.monotonic() - started >= 1.0 / 50.0


@pytest.mark.parametrize("voltage", [60.01, -0.01, 1e9, math.nan, math.inf, -math.inf])
def test_refuses_beyond_the_limits_and_does_not_move(rig, voltage):
    rig.axis.set_voltage(10.0)
    moved = len(rig.history())
    with pytest.raises(RefusedError, match=r"limits_V allows 0 to 60 V.*nothing was moved") as e:
        rig.axis.set_voltage(voltage)
    assert e.value.exit_code == 21
    assert len(rig.history()) == moved
    assert rig.output() == pytest.approx(10.0, abs=1e-3)


def test_refuses_a_scan_before_its_first_point(rig):
    with pytest.raises(RefusedError, match=r"61 V was asked.*2 of 4 values"):
        rig.axis.check(0.0, 30.0, 61.0, 62.0)
    rig.axis.check(*np.linspace(0.0, 60.0, 7))
    rig.axis.check()
    assert rig.history() == []


def test_the_rounding_of_a_grid_is_not_a_violation(rig):
    last = float(np.arange(0.0, 60.0 + 1e-9, 0.03)[-1])
    rig.axis.check(60.0 + 7e-15, last)
    rig.axis.set_voltage(60.0 + 7e-15)
    assert rig.output() == 60.0


def test_limits_are_told(rig):
    assert rig.axis.limits_V == (0.0, 60.0)


def test_make_safe_ramps_down_from_any_state(rig):
    rig.axis.make_safe()
    assert rig.output() == 0.0
    rig.axis.set_voltage(42.0)
    seen = len(rig.history())
    rig.axis.make_safe()
    way = np.array([42.0, *rig.history()[seen:]])
    assert np.abs(np.diff(way)).max() <= 0.5 + 1e-3
    assert rig.output() == 0.0
    rig.axis.make_safe()
    assert rig.output() == 0.0
    rig.axis.set_voltage(5.0)
    assert rig.output() == pytest.approx(5.0, abs=1e-3)


def test_make_safe_reopens_a_closed_line(rig):
    rig.axis.set_voltage(3.0)
    rig.axis.close()
    if rig.kind == "anc300":
        rig.axis._controller.close()
    rig.axis.make_safe()
    assert rig.output() == 0.0


def test_an_interrupt_leaves_the_ramp_where_it_is_and_make_safe_works_after_it(rig, monkeypatch):
    calls = []

    def sleep(_):
        calls.append(None)
        if len(calls) == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(_ramp.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        rig.axis.set_voltage(42.0)
    assert 4.0 < rig.output() < 6.0
    rig.axis.make_safe()
    assert rig.output() == 0.0


def test_snapshot_reads_the_device(rig):
    rig.axis.set_voltage(2.0)
    before = dict(rig.axis.snapshot())
    if rig.kind == "anc300":
        rig.lab.volts[3] = 2.5
    else:
        rig.lab.etalon_V = 2.5
    after = dict(rig.axis.snapshot())
    assert 2.0 in before.values()
    assert 2.5 in after.values()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("limits_V", [60.0, 0.0]),
        ("limits_V", [0.0, 0.0]),
        ("limits_V", [0.0, 151.0]),
        ("limits_V", [-1.0, 60.0]),
        ("limits_V", [0.0]),
        ("limits_V", 60.0),
        ("limits_V", "0-60"),
        ("limits_V", [0.0, math.nan]),
        ("limits_V", [0.0, True]),
        ("slew_V_per_s", 0.0),
        ("slew_V_per_s", -5.0),
        ("slew_V_per_s", "fast"),
        ("slew_V_per_s", math.inf),
    ],
)
def test_values_of_the_station_file_are_checked(key, value):
    given = {"limits_V": [0.0, 60.0], "slew_V_per_s": 20.0, key: value}
    link = ANC300("tcp://127.0.0.1:7230", password="x")
    with pytest.raises(UsageError, match=f"{key} = "):
        OffsetAxis(link, axis=3, **given)
    with pytest.raises(UsageError, match=f"{key} = "):
        MDT69x("tcp://127.0.0.1:7230", **given)
