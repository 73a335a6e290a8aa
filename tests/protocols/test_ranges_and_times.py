"""Announced ranges and times, compared with what the protocols then do to instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from qdchar.protocols import (
    brightness,
    cavity,
    dark,
    dead_time,
    detector_efficiency,
    etalon,
    hbt,
    hom,
    leak,
    lifetime,
    misalignment,
    phase,
    purcell,
    rabi,
    saturation,
    transmitter,
)
from qdchar.protocols._peak_lock import LockResult
from qdchar.protocols.pump import Monitor
from qdchar.roles import Counts, Identity, TagBlock

LIMITS = (2.0, 58.0)
"""Of every axis and of the attenuator [V or dB]."""


class Bench:
    """All instruments in one; it adds up the time, but not while the cavity is being re-locked."""

    channel_a, channel_b, channel_sync, sync_divider, resolution_ps = 1, 2, 0, 100, 1.0
    limits_V = limits_dB = LIMITS
    states = ("H", "V", "D", "A")

    def __init__(self) -> None:
        self.is_open = True
        self.busy_s, self.volts, self.dB, self.path = 0.0, 20.0, 20.0, "before"
        self.voltages: list[float] = []
        self.attenuations: list[float] = []

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", simulated=True)

    def select(self, position: str) -> None:
        self.path = position

    def open_shutter(self) -> None:
        self.is_open = True

    def close_shutter(self) -> None:
        self.is_open = False

    def check(self, *values: float) -> None:
        assert all(LIMITS[0] <= v <= LIMITS[1] for v in values)

    def set_voltage(self, voltage_V: float) -> None:
        self.voltages.append(voltage_V)
        self.volts = voltage_V

    def voltage(self) -> float:
        return self.volts

    def set_attenuation(self, dB: float) -> None:
        self.attenuations.append(dB)
        self.dB = dB

    def attenuation(self) -> float:
        return self.dB

    def power_W(self) -> float:
        noise = 1 + 1e-5 * np.sin(len(self.attenuations))
        return float(self.is_open * 1e-6 * 10 ** (-self.dB / 10) * noise) - 20e-12

    def count(self, dwell_s: float) -> Counts:
        self.busy_s += dwell_s
        # two orders of a resonance 0.07 V wide, as bright as the laser in its path
        off_V = min(abs(self.volts - 21.0), abs(self.volts - 45.0))
        rate_Hz = 4e6 if self.path == "laser" else 4e6 / (1 + (2 * off_V / 0.07) ** 2) + 100
        clicks = round(rate_Hz * dwell_s / 2)
        return Counts((clicks, clicks), dwell_s)

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        self.busy_s += duration_s
        yield TagBlock(np.zeros(0, np.int64), np.zeros(0, np.uint8), 0, round(duration_s * 1e12))

    def relock(self) -> LockResult:
        self.path, self.volts = "before", 21.0
        return LockResult(21.0, 1e-4, 0.0, 1e-4, 4e6, 2e3, 0.03, 3)


RABI = rabi.RabiSettings(lowest_dB=6.0, survey_points=17, fine_points=13, dwell_s=0.03)
TRANSMITTER = transmitter.TransmitterSettings(before_s=0.3, after_s=0.7, alternations=2)
SATURATION = saturation.SaturationSettings(lowest_dB=7.0, span_dB=18.0, points=21, dwell_s=0.03)
PHASE = phase.PhaseSettings(start_V=8.0, stop_V=51.0, points=11, dwell_s=0.03)
ETALON = etalon.EtalonSettings(step_V=1.3, narrow_dwell_s=0.03, source_dwell_s=0.07, settle_s=2.5)
DETECTORS = detector_efficiency.DetectorEfficiencySettings(points=4, dwell_s=0.3)
LEAK = leak.LeakSettings(tuned_s=0.7, points=7, dwell_s=0.3)
LIFETIME = lifetime.LifetimeSettings(emission_s=0.7, response_s=0.9, probe_s=0.03)
PURCELL = purcell.PurcellSettings(detunings=(0.0, 1.2, -1.2, 0.3), clicks=1e9, settle_s=0.6)

Run = Callable[[Bench, Path], object]
TIMES: dict[str, tuple[float, Run]] = {
    "brightness": (
        brightness.dwell_s(brightness.BrightnessSettings(duration_s=0.3)),
        lambda b, f: brightness.measure(
            b, b, f / "x.h5", brightness.BrightnessSettings(duration_s=0.3)
        ),
    ),
    "dark": (
        dark.dwell_s(dark.DarkSettings(dwell_s=0.3, repeats=7)),
        lambda b, f: dark.measure(b, b, b, f / "x.csv", dark.DarkSettings(dwell_s=0.3, repeats=7)),
    ),
    "dead_time": (
        dead_time.dwell_s(dead_time.DeadTimeSettings(duration_s=0.3)),
        lambda b, f: dead_time.measure(
            b, b, f / "x.h5", dead_time.DeadTimeSettings(duration_s=0.3)
        ),
    ),
    "detector_efficiency": (
        detector_efficiency.dwell_s(DETECTORS),
        lambda b, f: detector_efficiency.measure(b, b, b, b, f / "x.csv", DETECTORS),
    ),
    "etalon": (
        etalon.dwell_s(ETALON, LIMITS),
        lambda b, f: etalon.measure(b, b, b, f, ETALON, lambda: None),
    ),
    "hbt_before": (
        hbt.dwell_s(hbt.HbtSettings(before_s=0.3, after_s=0.7), "before"),
        lambda b, f: hbt.measure(
            b, b, f / "x.h5", hbt.HbtSettings(before_s=0.3, after_s=0.7), path="before"
        ),
    ),
    "hbt_after": (
        hbt.dwell_s(hbt.HbtSettings(before_s=0.3, after_s=0.7), "after"),
        lambda b, f: hbt.measure(
            b, b, f / "x.h5", hbt.HbtSettings(before_s=0.3, after_s=0.7), path="after"
        ),
    ),
    "hom": (
        hom.dwell_s(hom.HomSettings(duration_s=0.3)),
        lambda b, f: hom.measure(b, b, b, f, hom.HomSettings(duration_s=0.3), b.relock),
    ),
    "leak": (
        leak.dwell_s(LEAK),
        lambda b, f: leak.measure(
            *(b, b, b, Monitor(b, -20e-12, 1e-13), b, f, LEAK),
            pi_reading_W=1e-8,
            detuning_V=9.0,
            relock=b.relock,
        ),
    ),
    "lifetime": (
        lifetime.dwell_s(LIFETIME),
        lambda b, f: lifetime.measure(b, b, b, f, LIFETIME, b.relock),
    ),
    "misalignment": (
        misalignment.dwell_s(misalignment.MisalignmentSettings(duration_s=0.3)),
        lambda b, f: misalignment.measure(
            b, b, b, b, f, misalignment.MisalignmentSettings(duration_s=0.3), b.relock
        ),
    ),
    "phase": (
        phase.dwell_s(PHASE),
        lambda b, f: phase.measure(b, b, b, b, f / "x.csv", PHASE, b.relock),
    ),
    "purcell": (
        purcell.dwell_s(PURCELL),
        lambda b, f: purcell.measure(b, b, b, b, f, PURCELL, 0.07, b.relock),
    ),
    "rabi": (
        rabi.dwell_s(RABI),
        lambda b, f: rabi.measure(b, b, b, b, f / "x.csv", RABI, b.relock),
    ),
    "saturation": (
        saturation.dwell_s(SATURATION),
        lambda b, f: saturation.measure(b, b, b, b, f / "x.csv", SATURATION),
    ),
    "transmitter": (
        transmitter.dwell_s(TRANSMITTER),
        lambda b, f: transmitter.measure(b, b, f, TRANSMITTER, b.relock),
    ),
}


@pytest.mark.parametrize("name", TIMES)
def test_the_time_that_is_announced_is_the_time_that_is_counted(name: str, tmp_path: Path) -> None:
    announced_s, run = TIMES[name]
    bench = Bench()
    bench.volts = 21.0
    run(bench, tmp_path)
    # sums of the same few numbers in another order
    assert bench.busy_s == pytest.approx(announced_s, rel=1e-9)


def test_the_time_of_a_cavity_tuning_is_all_but_that_of_the_lock(tmp_path: Path) -> None:
    settings = cavity.CavitySettings(start_V=12.0, stop_V=30.0, settle_s=3.5)
    bench = Bench()
    tuning = cavity.measure(bench, bench, bench, bench, bench, tmp_path, settings)
    locked = np.loadtxt(tmp_path / "cavity_lock_00.csv", delimiter=",", skiprows=3, usecols=3)
    assert bench.busy_s - locked.sum() == pytest.approx(cavity.dwell_s(settings, LIMITS), rel=1e-9)
    assert abs(tuning.lock.voltage_V - 21.0) < settings.tolerance_V
    assert tuning.survey.x[[0, -1]] == pytest.approx(cavity.sweep_range(settings, LIMITS))


def test_attenuations_stay_in_the_range_that_is_announced(tmp_path: Path) -> None:
    for measure, settings, announced in (
        (rabi.measure, RABI, rabi.sweep_range(RABI, LIMITS)),
        (saturation.measure, SATURATION, saturation.sweep_range(SATURATION, LIMITS)),
    ):
        bench = Bench()
        file = tmp_path / f"{measure.__module__}.csv"
        more = (bench.relock,) if settings is RABI else ()
        measure(bench, bench, bench, bench, file, settings, *more)  # type: ignore[operator]
        scanned = bench.attenuations if settings is RABI else bench.attenuations[:-1]
        assert (min(scanned), max(scanned)) == pytest.approx(announced)


def test_voltages_stay_in_the_range_that_is_announced(tmp_path: Path) -> None:
    bench = Bench()
    phase.measure(bench, bench, bench, bench, tmp_path / "p.csv", PHASE, lambda: None)
    assert bench.voltages[-1] == 20.0  # where it was before
    assert (min(bench.voltages), max(bench.voltages)) == phase.sweep_range(PHASE, LIMITS)
    bench = Bench()
    scans = etalon.measure(bench, bench, bench, tmp_path, ETALON, lambda: None)
    start, stop = etalon.sweep_range(ETALON, LIMITS)
    assert (start, stop) == (2.0 + ETALON.overshoot_V, 58.0)
    assert scans.narrow.x[0] == start
    assert stop - ETALON.step_V < scans.narrow.x[-1] <= stop
    assert min(bench.voltages) == 2.0
