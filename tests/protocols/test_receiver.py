"""What the protocols of transmitter and receiver ask of the instruments, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import RefusedError, UsageError
from qdchar.protocols import detector_efficiency, hom, misalignment, phase
from qdchar.protocols.detector_efficiency import DetectorEfficiencySettings
from qdchar.protocols.hom import HomSettings
from qdchar.protocols.misalignment import MisalignmentSettings
from qdchar.protocols.phase import PhaseSettings
from qdchar.roles import Counts, Identity, TagBlock


@dataclass
class Bench:
    """Light path, attenuator, monitor, tagger, modulator and analyser in one; logs the commands."""

    log: list[tuple[str, object]] = field(default_factory=list)
    dB: float = 13.0
    is_open: bool = True
    path: str = "before"
    fail: bool = False
    channel_a, channel_b, channel_sync = 1, 2, 0
    sync_divider, resolution_ps = 100, 1.0
    limits_dB = (0.0, 60.0)

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", simulated=True)

    def select(self, position: str) -> None:
        self.log.append(("path", position))
        self.path = position

    def open_shutter(self) -> None:
        self.log.append(("shutter", True))
        self.is_open = True

    def close_shutter(self) -> None:
        self.log.append(("shutter", False))
        self.is_open = False

    def check(self, *_: float) -> None:
        pass

    def set_attenuation(self, dB: float) -> None:
        self.log.append(("attenuation", dB))
        self.dB = dB

    def attenuation(self) -> float:
        return self.dB

    def power_W(self) -> float:
        """With a zero of -120 pW."""
        reading = self.is_open * 200e-9 * 10 ** (-self.dB / 10)
        return float(reading * (1 + 1e-4 * np.sin(len(self.log))) - 120e-12)

    def count(self, dwell_s: float) -> Counts:
        if self.fail:
            raise RuntimeError("cable pulled")
        return Counts((100, 90), dwell_s)

    def stream(self, duration_s: float):
        yield TagBlock(np.array([5]), np.array([1], np.uint8), 0, round(duration_s * 1e12))


@dataclass
class Selector:
    """A modulator or an analyser."""

    log: list[tuple[str, object]]
    name: str
    states: tuple[str, ...]

    def select(self, state: str) -> None:
        self.log.append((self.name, state))


def test_the_attenuator_is_closed_before_the_laser_reaches_the_detectors(tmp_path: Path) -> None:
    bench = Bench()
    settings = DetectorEfficiencySettings(lowest_W=1e-9, highest_W=4e-9, points=3)
    scan = detector_efficiency.measure(bench, bench, bench, bench, tmp_path / "x.csv", settings)
    assert bench.log[:3] == [("attenuation", 60.0), ("path", "laser"), ("shutter", False)]
    # the zero is in the raw data, and not in the power
    assert scan.about.settings["power_zero_W"] == pytest.approx(-120e-12)
    brightest_dB = min(float(dB) for what, dB in bench.log if what == "attenuation" and dB != 13.0)  # type: ignore[arg-type]
    assert 200e-9 * 10 ** (-0.1 * brightest_dB) == pytest.approx(4e-9, rel=4e-3)
    # back to the source before the light grows, and to where the pump was
    assert bench.log[-2:] == [("path", "before"), ("attenuation", 13.0)]
    assert scan.x == pytest.approx([1e-9, 2e-9, 4e-9], rel=4e-3)
    assert list(scan.x) == sorted(scan.x)


def test_the_pump_is_put_back_when_something_breaks(tmp_path: Path) -> None:
    bench = Bench(fail=True)
    with pytest.raises(RuntimeError, match="cable pulled"):
        detector_efficiency.measure(
            bench, bench, bench, bench, tmp_path / "x.csv", DetectorEfficiencySettings()
        )
    assert (bench.path, bench.dB) == ("before", 13.0)


def test_every_state_is_recorded_on_both_detectors(tmp_path: Path) -> None:
    bench = Bench()
    modulator = Selector(bench.log, "modulator", ("H", "V", "D", "A", "R"))
    analyser = Selector(bench.log, "analyser", ("H", "V", "D", "A", "R", "L"))
    relocked: list[int] = []
    runs = misalignment.measure(
        bench,
        modulator,
        analyser,
        bench,
        tmp_path,
        MisalignmentSettings(duration_s=1e-3),
        lambda: relocked.append(len(bench.log)),
    )
    # R alone is not a basis: L cannot be sent
    asked = [(r.about.settings["prepared"], r.about.settings["analysed"]) for r in runs]
    assert asked == [(s, a) for s, o in ("HV", "VH", "DA", "AD") for a in (s, o)]
    assert relocked == [0]
    assert bench.log[0] == ("path", "receiver")
    assert [e for e in bench.log if e[0] == "modulator"] == [("modulator", s) for s in "HVDA"]
    assert all(r.file.exists() for r in runs)
    assert {r.about.path for r in runs} == {"receiver"}


def test_instruments_without_a_common_basis_are_refused(tmp_path: Path) -> None:
    bench = Bench()
    with pytest.raises(UsageError, match="the modulator has H, D, the analyser H, V"):
        misalignment.measure(
            bench,
            Selector(bench.log, "modulator", ("H", "D")),
            Selector(bench.log, "analyser", ("H", "V", "D", "A")),
            bench,
            tmp_path,
            MisalignmentSettings(),
            lambda: None,
        )
    assert not bench.log


@dataclass
class Axis:
    """A piezo that notes where it was."""

    limits_V: tuple[float, float] = (0.0, 100.0)
    visited: list[float] = field(default_factory=lambda: [12.0])

    def check(self, *voltages_V: float) -> None:
        if not all(self.limits_V[0] <= v <= self.limits_V[1] for v in voltages_V):
            raise RefusedError("out of limits")

    def set_voltage(self, voltage_V: float) -> None:
        self.visited.append(voltage_V)

    def voltage(self) -> float:
        return self.visited[-1]


def test_the_phase_goes_upward_and_back_to_where_it_was(tmp_path: Path) -> None:
    bench, axis = Bench(), Axis()
    arms = Selector(bench.log, "arms", ())
    settings = PhaseSettings(start_V=10.0, stop_V=80.0, points=8)
    scan = phase.measure(
        bench,
        arms,
        axis,
        bench,
        tmp_path / "p.csv",
        settings,
        lambda: bench.select("before"),
    )
    assert axis.visited == [12.0, *np.linspace(10.0, 80.0, 8), 12.0]
    assert bench.log == [("path", "before"), ("path", "interferometer"), ("arms", "parallel")]
    assert len(scan) == 8


def test_a_phase_beyond_the_limits_moves_nothing(tmp_path: Path) -> None:
    bench, axis = Bench(), Axis(limits_V=(0.0, 60.0))
    arms = Selector(bench.log, "arms", ())
    with pytest.raises(RefusedError):
        phase.measure(bench, arms, axis, bench, tmp_path / "p.csv", PhaseSettings(), lambda: None)
    assert axis.visited == [12.0]
    assert not bench.log


def test_the_phase_is_put_back_when_something_breaks(tmp_path: Path) -> None:
    bench, axis = Bench(fail=True), Axis()
    arms = Selector(bench.log, "arms", ())
    with pytest.raises(RuntimeError, match="cable pulled"):
        phase.measure(bench, arms, axis, bench, tmp_path / "p.csv", PhaseSettings(), lambda: None)
    assert axis.visited[-1] == 12.0


def test_interference_is_recorded_in_an_order_that_cancels_a_linear_drift(tmp_path: Path) -> None:
    bench = Bench()
    arms = Selector(bench.log, "arms", ())
    runs = hom.measure(
        bench,
        arms,
        bench,
        tmp_path,
        HomSettings(duration_s=1e-3),
        lambda: bench.select("before"),
    )
    said = [r.about.settings["arms"] for r in runs]
    assert said == ["parallel", "orthogonal", "orthogonal", "parallel"]
    # the mean time of both polarisations is the same
    when = np.arange(4)
    assert when[[s == "parallel" for s in said]].mean() == when.mean()
    assert bench.log[:2] == [("path", "before"), ("path", "interferometer")]
