"""The order of commands on a scripted bench: paths, shutter, attenuation, voltages, dwells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import InconclusiveError, InstrumentError, LockLostError, RefusedError
from qdchar.protocols import (
    brightness,
    cavity,
    dark,
    dead_time,
    etalon,
    hbt,
    last_look,
    leak,
    lifetime,
    pump,
    rabi,
    transmitter,
)
from qdchar.protocols._peak_lock import approach, lock_to_peak
from qdchar.protocols._tags import record
from qdchar.raw_data import About, Scan, ScanWriter
from qdchar.roles import Counts, Identity, TagBlock

Entry = tuple[str, object]
PEAK_V, FWHM_V = 21.0, 0.08
LASER_HZ = 4e6
"""Click rate of the laser at 20 dB."""


@dataclass
class Bench:
    """All instruments in one. It writes down every command, and with what each count was made."""

    log: list[Entry] = field(default_factory=list)
    dB: float = 13.0
    volts: float = PEAK_V
    path: str = "nowhere"
    is_open: bool = False
    overflow: bool = False
    orders_V: tuple[float, ...] = (PEAK_V, 45.0)
    flat: bool = False
    reads: Callable[[float], float] = float  # power meter: what it shows of the power
    channel_a, channel_b, channel_sync, sync_divider, resolution_ps = 1, 2, 0, 100, 1.0
    limits_V = (0.0, 60.0)
    limits_dB = (0.0, 60.0)

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", simulated=True)

    def select(self, position: str) -> None:
        self.log.append(("path", position))
        self.path = position

    def open_shutter(self) -> None:
        self.log.append(("shutter", "open"))
        self.is_open = True

    def close_shutter(self) -> None:
        self.log.append(("shutter", "closed"))
        self.is_open = False

    def check(self, *levels: float) -> None:
        if not all(0.0 <= level <= 60.0 for level in levels):
            raise RefusedError(f"{levels} was asked for")

    def set_attenuation(self, dB: float) -> None:
        self.log.append(("dB", dB))
        self.dB = dB

    def attenuation(self) -> float:
        return self.dB

    def power_W(self) -> float:
        self.log.append(("power", self.is_open))
        if not self.is_open:
            return 1e-13 * (-1) ** len(self.log)  # the monitor's noise
        return self.reads(1e-6 * float(10 ** (-self.dB / 10)))

    def set_voltage(self, voltage_V: float) -> None:
        self.log.append(("V", voltage_V))
        self.volts = voltage_V

    def voltage(self) -> float:
        return self.volts

    def rate_Hz(self) -> float:
        if self.path == "laser":
            return LASER_HZ * float(10 ** ((20.0 - self.dB) / 10))
        off_V = min(abs(self.volts - v) for v in self.orders_V)
        return 2e6 if self.flat else 4e6 / (1 + (2 * off_V / FWHM_V) ** 2) + 1e3

    def count(self, dwell_s: float) -> Counts:
        self.log.append(("count", (self.path, self.is_open, dwell_s)))
        clicks = round(self.rate_Hz() * dwell_s / 2)
        return Counts((clicks, clicks), dwell_s)

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        self.log.append(("stream", (self.path, duration_s)))
        half = round(duration_s * 0.5e12)
        yield TagBlock(np.array([5]), np.array([1], np.uint8), 0, half)
        later = np.array([half + 7]), np.array([2], np.uint8)
        yield TagBlock(*later, half, 2 * half, overflow=self.overflow)

    def relock(self) -> None:
        self.log.append(("relock", None))
        self.select("before")

    def of(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.log if entry[0] in kinds]


def test_dark_counts_see_no_light(tmp_path: Path) -> None:
    bench = Bench(is_open=True, path="before")
    settings = dark.DarkSettings(dwell_s=0.3, repeats=4)
    scan = dark.measure(bench, bench, bench, tmp_path / "d.csv", settings)
    assert bench.of("count") == [("count", ("blocked", False, 0.3))] * 4
    assert scan.x == pytest.approx([0.0, 0.3, 0.6, 0.9])


def test_the_last_look_reads_the_power_with_light_and_counts_without() -> None:
    bench = Bench(is_open=True, path="before")
    look = last_look.measure(bench, bench, bench, bench)
    assert look.reading_W == pytest.approx(1e-6 * 10**-1.3)
    # the zero again while it is dark
    assert abs(look.zero_W) < 1e-13
    assert [seen for _, seen in bench.of("power")] == [True] * 25 + [False] * 25
    assert bench.of("count") == [("count", ("blocked", False, last_look.DWELL_S))]


def test_the_laser_is_looked_at_behind_the_highest_attenuation_and_leaves_the_detectors() -> None:
    bench = Bench(is_open=True, path="after", dB=23.0)
    reading_W, counts = last_look.count_laser(bench, bench, bench, bench, 3e-9)
    assert reading_W == pytest.approx(3e-9, rel=0.003)
    assert counts.dwell_s == last_look.LASER_S
    assert bench.log[:2] == [("dB", 60.0), ("path", "laser")]
    assert bench.log[-2:] == [("path", "before"), ("dB", 23.0)]


def test_the_laser_leaves_the_detectors_if_its_power_cannot_be_set() -> None:
    bench = Bench(is_open=True, path="after", dB=23.0, reads=lambda _: 4e-9)
    with pytest.raises((InconclusiveError, RefusedError)):
        last_look.count_laser(bench, bench, bench, bench, 3e-9)
    assert (bench.path, bench.dB) == ("before", 23.0)
    assert bench.is_open  # as the key exchange wants it


def test_the_last_look_beside_the_pi_pulse_leaves_the_pump_where_it_was() -> None:
    bench = Bench(is_open=True, path="after", dB=13.0)
    levels = last_look.count_beside_pi(bench, bench, bench, bench)
    pi_W = 1e-6 * 10**-1.3
    assert [level.reading_W for level in levels] == pytest.approx([0.7 * pi_W, 1.4 * pi_W])
    per_level = last_look.BESIDE_PI_COUNTS
    assert bench.of("count") == [("count", ("before", True, last_look.BESIDE_PI_S))] * 2 * per_level
    assert bench.dB == 13.0


def test_the_last_look_sends_each_state_and_turns_the_analyser_to_it() -> None:
    bench, modulator, analyser = Bench(), Bench(), Bench()
    counts = last_look.count_states(bench, modulator, analyser, bench, ("V", "D"))  # type: ignore[arg-type]
    assert modulator.log == analyser.log == [("path", "V"), ("path", "D")]
    assert bench.of("count") == [("count", ("receiver", False, last_look.STATE_S))] * 2
    assert list(counts) == ["V", "D"]


def test_recordings_are_made_on_their_light_path_for_their_time(tmp_path: Path) -> None:
    times = hbt.HbtSettings(before_s=0.3, after_s=0.7)
    bench = Bench()
    brightness.measure(bench, bench, tmp_path / "b.h5", brightness.BrightnessSettings())
    dead_time.measure(bench, bench, tmp_path / "t.h5", dead_time.DeadTimeSettings())
    hbt.measure(bench, bench, tmp_path / "1.h5", times, path="before")
    run = hbt.measure(bench, bench, tmp_path / "2.h5", times, path="after")
    assert [seen for _, seen in bench.of("stream")] == [
        ("before", 0.1),
        ("before", 0.05),
        ("before", 0.3),
        ("after", 0.7),
    ]
    assert (run.about.path, run.duration_s) == ("after", 0.7)
    # a click of A at the beginning, one of B just after the middle of 400 slices
    assert np.argwhere(run.clicks).tolist() == [[0, 0], [200, 1]]
    assert run.clicks.sum() == 2
    assert run.slice_s == pytest.approx(np.full(400, 0.00175))


def test_the_transmitter_is_recorded_between_two_recordings_before_it(tmp_path: Path) -> None:
    bench = Bench()
    settings = transmitter.TransmitterSettings(before_s=0.3, after_s=0.7, alternations=2)
    found = transmitter.measure(bench, bench, tmp_path, settings, bench.relock)
    before = [("relock", None), ("stream", ("before", 0.3))]
    after = [("relock", None), ("stream", ("after", 0.7))]
    assert bench.of("relock", "stream") == [*before, *after, *before, *after, *before]
    assert [r.about.path for r in found.before] == ["before"] * 3
    assert [r.about.path for r in found.after] == ["after"] * 2
    in_order = ["before_1", "after", "before_2", "after_2", "before_3"]
    assert [r.file.stem for r in found.in_order] == [f"transmitter_{name}" for name in in_order]


def test_lost_tags_end_a_recording(tmp_path: Path) -> None:
    bench = Bench(overflow=True)
    with pytest.raises(InstrumentError, match="buffer overflowed"):
        record(bench, tmp_path / "x.h5", 0.4, About("hbt"))


def test_the_laser_grows_by_at_most_10_dB_at_once(tmp_path: Path) -> None:
    """From 57 dB, where it gives 800 counts/s, to the source's 4e6: 37 dB."""
    bench = Bench(dB=57.0, path="before", is_open=True)
    decay = lifetime.measure(
        bench, bench, bench, tmp_path, lifetime.LifetimeSettings(), bench.relock
    )
    wanted = [dB for _, dB in bench.of("dB")]
    steps = -np.diff([57.0, *wanted[:-1]])
    assert steps.max() <= lifetime.MAX_BRIGHTENING_DB + 1e-9
    assert steps.sum() == pytest.approx(37.0, abs=0.3)
    # the pump is at the pi pulse again, with the source on the detectors
    assert (bench.dB, bench.path) == (57.0, "before")
    paths = [(seen[0], seen[1]) for _, seen in bench.of("stream")]  # type: ignore[index]
    assert paths == [("before", 0.2), ("laser", 0.2)]
    assert decay.response.about.path == "laser"


def test_the_pump_is_back_when_the_laser_cannot_be_matched(tmp_path: Path) -> None:
    bench = Bench(dB=57.0, path="before")
    with pytest.raises(InconclusiveError, match="the laser has to give"):
        lifetime.record_response(
            *(bench, bench, bench, tmp_path / "x.h5", About("lifetime", path="laser")),
            duration_s=0.2,
            wanted_Hz=1e12,
            probe_s=0.02,
        )
    assert (bench.dB, bench.path) == (57.0, "before")


def test_voltages_are_approached_from_below() -> None:
    bench = Bench()
    approach(bench, 31.0, 2.5)
    approach(bench, 1.0, 2.5)
    assert bench.of("V") == [("V", 28.5), ("V", 31.0), ("V", 0.0), ("V", 1.0)]


def lock(bench: Bench, folder: Path) -> tuple[float, float]:
    with ScanWriter(folder / "lock.csv", "voltage_V", About("cavity")) as log:
        found = lock_to_peak(
            bench, bench, log, dither_V=0.04, dwell_s=0.02, tolerance_V=0.001, attempts=6
        )
    return found.voltage_V, found.offset_V


@pytest.mark.parametrize("off_V", [-0.031, 0.023])
def test_a_lock_goes_to_the_peak_at_once(tmp_path: Path, off_V: float) -> None:
    bench = Bench(volts=PEAK_V + off_V)
    voltage_V, offset_V = lock(bench, tmp_path)
    # the background and whole counts move the peak of 1/rate by a few tens of a microvolt
    assert voltage_V == pytest.approx(PEAK_V, abs=2e-4)
    assert offset_V == pytest.approx(-off_V, abs=2e-4)
    # three readouts of three points with the offset, three without: no third round
    assert len(bench.of("count")) == 18
    assert bench.volts == voltage_V


def test_light_without_a_peak_is_no_lock(tmp_path: Path) -> None:
    with pytest.raises(LockLostError):
        lock(Bench(flat=True), tmp_path)


@pytest.mark.parametrize(
    ("top", "found"),
    [
        (165, False),  # 6.5 standard deviations above the median of 100
        (149, False),
        (205, True),
    ],
)
def test_a_resonance_must_stand_out_of_the_noise(tmp_path: Path, top: int, found: bool) -> None:
    clicks = np.random.default_rng(4).poisson(100, size=(61, 1))
    clicks[30] = top
    voltages = np.arange(61.0)
    both = np.hstack([clicks, np.zeros_like(clicks)])
    survey = Scan(
        About("cavity"), "voltage_V", voltages, both, np.full(61, 0.02), tmp_path / "s.csv"
    )
    if found:
        assert cavity._resonance_to_use(survey, 2.0) == 30.0
    else:
        with pytest.raises(InconclusiveError, match="no resonance was found"):
            cavity._resonance_to_use(survey, 2.0)


def test_the_order_with_room_below_it_is_used(tmp_path: Path) -> None:
    """Of the orders at 1, 21 and 45 V: the lowest that can be approached from below."""
    bench = Bench(orders_V=(1.0, PEAK_V, 45.0), volts=3.0)
    settings = cavity.CavitySettings(settle_s=0.0)
    tuning = cavity.measure(bench, bench, bench, bench, bench, tmp_path, settings)
    assert tuning.lock.voltage_V == pytest.approx(PEAK_V, abs=0.001)
    # nothing is counted before the light is on, at the power of the search
    assert bench.log[:2] == [("path", "before"), ("shutter", "open")]
    assert 1e-6 * 10 ** (-bench.dB / 10) == pytest.approx(settings.search_power_W, rel=0.003)
    assert {seen[:2] for _, seen in bench.of("count")} == {("before", True)}  # type: ignore[index]


def test_the_etalon_is_scanned_with_the_narrow_laser_and_behind_the_transmitter(
    tmp_path: Path,
) -> None:
    bench = Bench()
    settings = etalon.EtalonSettings(step_V=1.0, settle_s=0.0, hold_every=20)
    scans = etalon.measure(bench, bench, bench, tmp_path, settings, bench.relock)
    assert (scans.narrow.about.path, scans.source.about.path) == ("narrow", "after")
    counted = [seen for _, seen in bench.of("count")]
    # 12 to 60 V in steps of 1 V
    assert counted == [("narrow", False, 0.02)] * 49 + [("after", False, 0.005)] * 49
    relocks = [i for i, e in enumerate(bench.log) if e[0] == "relock"]
    assert len(relocks) == 3  # every 20 points, of the source's scan alone
    assert all(bench.log[i + 2] == ("path", "after") for i in relocks)


def test_the_pump_reaches_a_power_with_one_correction() -> None:
    bench = Bench(is_open=True, dB=13.0)
    reached_W = pump.set_power(bench, bench, 2e-9)
    assert reached_W == pytest.approx(2e-9, rel=0.003)
    assert [dB for _, dB in bench.of("dB")] == pytest.approx([-10 * np.log10(2e-3)])


def test_a_closed_shutter_is_not_taken_for_low_power() -> None:
    bench = Bench(is_open=False)
    with pytest.raises(InconclusiveError, match="Check that the shutter is open"):
        pump.set_power(bench, bench, 2e-9)
    assert min(float(dB) for _, dB in bench.of("dB")) >= 0.0  # type: ignore[arg-type]


def test_a_power_meter_whose_zero_is_off_is_named() -> None:
    """The monitor shows 1 nW without light: at the upper limit of the attenuator, and before it."""
    bench = Bench(is_open=True, dB=13.0, reads=lambda power_W: 1e-9 + power_W)
    with pytest.raises(InconclusiveError, match="is its zero off"):
        pump.set_power(bench, bench, 0.5e-9)
    bench.dB = 60.0
    with pytest.raises(RefusedError, match="power meter's zero off"):
        pump.set_power(bench, bench, 0.5e-9)
    assert bench.dB == 60.0


def test_what_is_left_of_the_zero_is_no_light_that_does_not_follow() -> None:
    """4 pW with a noise of 1 pW, behind the upper limit of an attenuator that lets 1 pW through."""
    noise = np.random.default_rng(3)
    bench = Bench(
        is_open=True, dB=60.0, reads=lambda power_W: power_W + 1e-12 * noise.normal(4.0, 1.0)
    )
    assert pump.set_power(bench, bench, 1e-9) == pytest.approx(1e-9, rel=0.003)


def test_a_stuck_attenuator_is_named() -> None:
    bench = Bench(is_open=True, dB=13.0, reads=lambda _: 1e-6 * 10**-1.3)
    with pytest.raises(InconclusiveError, match="is the attenuator stuck"):
        pump.set_power(bench, bench, 2e-9)


@pytest.mark.parametrize(
    ("monitor", "named"),
    [
        (lambda power_W: power_W, ""),
        (lambda power_W: min(power_W, 0.5e-6), "saturated"),
        (lambda _: 3e-8, "stuck"),
        (lambda power_W: power_W + 5e-8, "zero"),
        (lambda power_W: 3.0 * power_W**1.05, ""),
    ],
)
def test_a_scan_tells_a_monitor_that_does_not_follow(
    monitor: Callable[[float], float], named: str
) -> None:
    """Attenuations from 0 to 40 dB, full light is 1 uW."""
    scan = [(dB, monitor(1e-6 * 10 ** (-dB / 10))) for dB in np.linspace(0.0, 40.0, 33)]
    if not named:
        pump.require_response(scan, 0.005)
        return
    with pytest.raises(InconclusiveError, match=named):
        pump.require_response(scan, 0.005)


def test_the_leak_is_scanned_as_far_as_the_attenuator_goes_and_the_cavity_goes_back(
    tmp_path: Path,
) -> None:
    """The pi pulse is 3 dB from full power, so that six times of it are not there."""
    bench = Bench(dB=30.0, volts=PEAK_V)
    pi_W = 1e-6 * 10**-0.3
    settings = leak.LeakSettings(points=6)
    found = leak.measure(
        *(bench, bench, bench, pump.Monitor(bench, 0.0, 0.0), bench, tmp_path, settings),
        pi_reading_W=pi_W,
        detuning_V=9.0,
        relock=bench.relock,
    )
    assert found.detuned.x.max() == pytest.approx(0.98e-6, rel=0.01)
    assert found.detuned.x.min() == pytest.approx(0.25 * pi_W, rel=0.01)
    voltages = [v for _, v in bench.of("V")]
    assert voltages == [PEAK_V - 9.0, PEAK_V - settings.overshoot_V, PEAK_V]
    assert bench.dB == 30.0


def test_rabi_powers_are_even_in_pulse_area_from_dark_to_full() -> None:
    up, down = rabi.up_and_down(6.0, 46.0, 12)
    area = np.sort([10 ** ((6.0 - dB) / 20) for dB in (*up, *down)])
    # 40 dB are a hundredth of the pulse area; a step of a twelfth begins at a twelfth
    assert area[-1] == pytest.approx(1.0)
    assert np.diff(area) == pytest.approx(np.full(11, (1.0 - 1 / 12) / 11))
    assert up == sorted(up, reverse=True)
    assert down == sorted(down)
