"""What the leak measurement does to pump and cavity, in which order, and how errors end it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import RefusedError
from qdchar.protocols import leak
from qdchar.protocols.leak import LeakSettings
from qdchar.protocols.pump import Monitor
from qdchar.roles import Counts, Identity, TagBlock

SETTINGS = LeakSettings(tuned_s=1e-3, points=6)


class Bench:
    """Light path, attenuator, monitor, tagger and the cavity's piezo in one; logs the commands."""

    channel_a, channel_b, channel_sync = 1, 2, 0
    sync_divider, resolution_ps = 100, 1.0
    limits_dB = (0.0, 60.0)

    limits_V = (0.0, 60.0)

    def __init__(self, fail: str = "") -> None:
        self.fail = fail
        self.log: list[tuple[str, object]] = []
        self.dB, self.here_V = 20.0, 10.0

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", simulated=True)

    def select(self, position: str) -> None:
        self.log.append(("path", position))

    def open_shutter(self) -> None:
        self.log.append(("shutter", True))

    def check(self, *values: float) -> None:
        if not all(0.0 <= v <= 60.0 for v in values):  # volts or decibels
            raise RefusedError("out of limits")

    def set_attenuation(self, dB: float) -> None:
        self.log.append(("attenuation", dB))
        self.dB = dB

    def attenuation(self) -> float:
        return self.dB

    def power_W(self) -> float:
        """With a zero of 0.3 nW."""
        return 200e-9 * 10 ** (-self.dB / 10) * (1 + 1e-5 * np.sin(len(self.log))) + 3e-10

    def set_voltage(self, voltage_V: float) -> None:
        self.log.append(("voltage", voltage_V))
        self.here_V = voltage_V

    def voltage(self) -> float:
        return self.here_V

    def count(self, dwell_s: float) -> Counts:
        if self.fail == "count":
            raise RuntimeError("cable pulled")
        return Counts((100, 90), dwell_s)

    def stream(self, duration_s: float):
        if self.fail == "stream":
            raise RuntimeError("cable pulled")
        yield TagBlock(np.array([5]), np.array([1], np.uint8), 0, round(duration_s * 1e12))

    def measure(self, folder: Path) -> leak.Leakage:
        return leak.measure(
            self,
            self,
            self,
            Monitor(self, 3e-10, 1e-12),
            self,
            folder,
            SETTINGS,
            pi_reading_W=10e-9,
            detuning_V=5.0,
            relock=lambda: self.set_voltage(10.3),
        )


def test_tuned_at_pi_first_then_detuned_at_several_powers(tmp_path: Path) -> None:
    bench = Bench()
    found = bench.measure(tmp_path)
    assert found.tuned.about.settings["power_W"] == pytest.approx(10e-9, rel=4e-3)
    assert found.detuned.x == pytest.approx(10e-9 * np.linspace(0.25, 6.0, 6), rel=4e-3)
    for raw in (found.tuned, found.detuned):
        assert raw.about.settings["power_zero_W"] == 3e-10
        assert raw.about.settings["power_zero_u_W"] == 1e-12
    volts = [v for what, v in bench.log if what == "voltage"]
    # re-locked before and after the recording, detuned, and back from below
    assert volts == pytest.approx([10.3, 10.3, 5.3, 8.3, 10.3])
    assert bench.log[-3:-2] == [("attenuation", 20.0)]
    assert (bench.dB, bench.here_V) == (20.0, 10.3)


@pytest.mark.parametrize("fail", ["stream", "count"])
def test_pump_and_cavity_are_put_back_when_something_breaks(tmp_path: Path, fail: str) -> None:
    bench = Bench(fail=fail)
    with pytest.raises(RuntimeError, match="cable pulled"):
        bench.measure(tmp_path)
    assert (bench.dB, bench.here_V) == (20.0, 10.3)


def test_the_cavity_is_put_back_even_if_the_attenuator_is_dead(tmp_path: Path) -> None:
    bench = Bench(fail="count")
    alive = bench.set_attenuation

    def dead(dB: float) -> None:
        if dB == 20.0:
            raise RuntimeError("attenuator is silent")
        alive(dB)

    bench.set_attenuation = dead  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="silent"):
        bench.measure(tmp_path)
    assert bench.here_V == 10.3


@pytest.mark.parametrize(("refused", "detuned"), [((5.0, 5.3), 15.3), ((5.0, 15.0), None)])
def test_the_cavity_is_detuned_upward_where_the_limits_forbid_downward(
    tmp_path: Path, refused: tuple[float, ...], detuned: float | None
) -> None:
    bench = Bench()

    def check(*values: float) -> None:
        if any(abs(v - no) < 1e-6 for v in values for no in refused):
            raise RefusedError("out of limits")

    bench.check = check  # type: ignore[method-assign]
    if detuned is None:
        with pytest.raises(RefusedError):
            bench.measure(tmp_path)
        assert not bench.log
        return
    bench.measure(tmp_path)
    volts = [v for what, v in bench.log if what == "voltage"]
    assert volts == pytest.approx([10.3, 10.3, detuned, 8.3, 10.3])
