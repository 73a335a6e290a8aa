"""The Purcell scan: how it moves, and what it finds in the simulated lab through its sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qdchar.drivers.twin.lab import FINE_AXIS
from qdchar.drivers.twin.lab import Lab as TwinLab
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import InconclusiveError, RefusedError
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run
from qdchar.lab.session import Session
from qdchar.lab.station import load_station
from qdchar.protocols import purcell
from qdchar.protocols._peak_lock import LockResult
from qdchar.raw_data import read_scan
from qdchar.roles import Counts, Identity, TagBlock

QUICK = purcell.PurcellSettings(clicks=1e3, shortest_s=1e-3, longest_s=2e-3, response_s=1e-3)
WIDTH_V = 0.066


class Lab:
    """A resonance that drifts, a laser, and a log of the commands."""

    channel_a, channel_b, channel_sync, sync_divider, resolution_ps = 1, 2, 0, 1024, 42.0

    def __init__(self, peak_V: float = 31.0, highest_V: float = 60.0) -> None:
        self.peak_V, self.drift_V, self.limits_V = peak_V, 5e-4, (0.0, highest_V)
        self.path, self.dB, self.volts = "before", 13.0, peak_V
        self.log: list[tuple[str, float | str]] = []

    def set_voltage(self, voltage_V: float) -> None:
        self.check(voltage_V)
        self.volts = voltage_V
        self.log.append(("volts", voltage_V))

    def check(self, *voltages_V: float) -> None:
        if max(voltages_V) > self.limits_V[1] or min(voltages_V) < self.limits_V[0]:
            raise RefusedError("beyond the limits")

    def voltage(self) -> float:
        return self.volts

    def select(self, position: str) -> None:
        self.path = position
        self.log.append(("path", position))

    def selected(self) -> str:
        return self.path

    limits_dB = (0.0, 60.0)

    def attenuation(self) -> float:
        return self.dB

    def set_attenuation(self, attenuation_dB: float) -> None:
        self.dB = attenuation_dB

    def open_shutter(self) -> None: ...

    def close_shutter(self) -> None: ...

    def make_safe(self) -> None: ...

    def _rate_Hz(self) -> float:
        if self.path == "laser":
            return 3e8 * 10 ** (-self.dB / 10)
        return 1e7 / (1 + (2 * (self.volts - self.peak_V) / WIDTH_V) ** 2)

    def count(self, dwell_s: float) -> Counts:
        clicks = round(self._rate_Hz() * dwell_s / 2)
        return Counts((clicks, clicks), dwell_s)

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        self.log.append((f"tags, {self.path}", self.volts))
        yield TagBlock(np.zeros(0, np.int64), np.zeros(0, np.uint8), 0, round(duration_s * 1e12))

    def relock(self) -> LockResult:
        """A lock without error; the resonance has drifted since the last one."""
        self.peak_V += self.drift_V
        self.select("before")
        self.set_voltage(self.peak_V)
        self.log.append(("relock", self.peak_V))
        return LockResult(self.peak_V, 1e-4, 0.0, 1e-4, 1e7, 3e3, 0.03, 3)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def identify(self) -> Identity:
        return Identity("", "", "", "", "", True)

    def snapshot(self) -> dict[str, float]:
        return {}


def _measure(lab: Lab, folder: Path) -> purcell.Detuned:
    return purcell.measure(lab, lab, lab, lab, folder, QUICK, WIDTH_V, lab.relock)


def test_every_run_is_approached_from_one_point_below(tmp_path: Path) -> None:
    lab = Lab()
    found = _measure(lab, tmp_path)
    offsets = WIDTH_V * np.array(QUICK.detunings)
    recorded = [k for k, (what, _) in enumerate(lab.log) if what == "tags, before"]
    assert len(recorded) == len(offsets) == len(found.runs)
    for k, offset in zip(recorded, offsets, strict=True):
        (_, low), (_, at) = lab.log[k - 2 : k]
        assert at - low == pytest.approx(offset - offsets.min() + QUICK.overshoot_V)
        assert lab.log[k + 3][0] == "path"  # down, up onto the resonance, and re-locked
        assert lab.log[k + 5][0] == "relock"


def test_detunings_count_from_the_resonance_as_it_drifts(tmp_path: Path) -> None:
    lab = Lab()
    found = _measure(lab, tmp_path)
    offsets = WIDTH_V * np.array(QUICK.detunings)
    # each run at its offset from the lock before, half of a drift from the mean of both locks
    assert np.array(found.voltage_V) - 31.0005 == pytest.approx(offsets - 2.5e-4, abs=1e-12)
    least = np.hypot(1e-4 / np.sqrt(2), 5e-4 / np.sqrt(12))
    assert min(found.u_voltage_V) == pytest.approx(least)


def test_the_fainter_the_longer_each_recording_within_its_limits(tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"clicks": 1e4, "longest_s": 1e-2})
    lab = Lab()
    lab.drift_V = 0.0
    found = purcell.measure(lab, lab, lab, lab, tmp_path, settings, WIDTH_V, lab.relock)
    # 1e7 clicks a second on resonance, fainter by 1 + (2 x)^2 at x widths from it
    wanted = [min(1e-3 * (1 + (2 * x) ** 2), 1e-2) for x in settings.detunings]
    assert [run.duration_s for run in found.runs] == pytest.approx(wanted, rel=0.01)


def test_the_response_is_taken_at_the_count_rate_on_resonance(tmp_path: Path) -> None:
    lab = Lab()
    found = _measure(lab, tmp_path)
    assert found.response.about.path == "laser"
    laser = [k for k, (what, _) in enumerate(lab.log) if what == "tags, laser"]
    assert len(laser) == 1
    assert lab.dB == 13.0
    assert lab.log[-1][0] == "relock"
    assert lab.path == "before"


def test_raw_data_say_where_they_were_taken(tmp_path: Path) -> None:
    found = _measure(Lab(), tmp_path)
    names = sorted(f.name for f in tmp_path.iterdir())
    assert len([n for n in names if n.endswith(".h5")]) == len(found.runs) + 1
    detuned = read_scan(tmp_path / "purcell_detuned.csv")
    resonance = read_scan(tmp_path / "purcell_resonance.csv")
    assert len(resonance) == len(detuned) + 1
    assert detuned.x.tolist() == [r.about.settings["voltage_V"] for r in found.runs]
    assert np.argmin(detuned.clicks[:, 0]) in (1, 2)


def test_nothing_is_detuned_that_would_leave_the_limits(tmp_path: Path) -> None:
    lab = Lab(highest_V=31.1)
    with pytest.raises(RefusedError):
        _measure(lab, tmp_path)
    assert [what for what, _ in lab.log] == ["path", "volts", "relock"]
    assert not list(tmp_path.iterdir())


def test_settings_need_both_sides() -> None:
    for detunings in ((0.0, 1.0, 2.0, 3.0), (0.0, 1.0, -1.0), (1.0, 2.0, -1.0, -2.0)):
        with pytest.raises(ValueError, match="both sides"):
            purcell.PurcellSettings(detunings=detunings)


class Quiet:
    def say(self, text: str) -> None: ...

    warn = detail = say

    @contextlib.contextmanager
    def step(self, title: str, measurement: str = "") -> Iterator[object]:
        yield lambda done, total, text: None


@contextlib.contextmanager
def session(folder: Path, seed: int) -> Iterator[tuple[Session, TwinLab]]:
    """A session with a simulated lab, whose station knows how fast the mode tunes."""
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(serve(Truth(), seed))
        file = folder / "station.toml"
        tuning = '\n[calibrations.cavity_tuning]\nvalue = 35.26e18\nu = 0.4e18\nunit = "Hz/m"\n'
        file.write_text(station_toml(served) + tuning)
        run = stack.enter_context(Run.create(folder, "test", "purcell"))
        station = stack.enter_context(load_station(file, say=lambda _: None))
        s = Session(station, run, Recipe(), Quiet(), MEASUREMENTS)  # type: ignore[arg-type]
        s.pump_attenuator.open_shutter()
        yield s, served.lab


def test_the_truth_comes_back_from_the_simulated_lab(tmp_path: Path) -> None:
    with session(tmp_path, 3) as (s, _):
        result = s.make("purcell")
        on_V = s.cavity_fine.voltage()
        lock = s.relock_cavity()
        s.run.finish("measured purcell")
    source = Truth().source
    assert result.problems == ()
    for name, true in {
        "purcell_factor": source.purcell,
        "beta_factor": source.purcell / (1 + source.purcell),
        "lifetime_on_resonance": source.lifetime_s,
        "lifetime_detuned": source.slow_lifetime_s,
        "laser_leakage": source.leaked_photons,
        "cavity_fwhm_displacement": 0.763e-9,
        "cavity_fwhm": 26.9e9,
    }.items():
        found = result[name]
        assert abs(found.value - true) < 4 * found.u, name
    assert result["purcell_factor"].u < 0.07
    # it was left on resonance: within a twentieth of the count-rate peak's width
    assert abs(lock.voltage_V - on_V) < 0.05 * WIDTH_V


def test_on_an_error_the_station_s_policy_applies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A re-lock that finds no light after a detuning ends with the piezo at ground."""
    labs, calls = [], []

    def lose_the_light() -> None:
        with session(tmp_path, 1) as (s, lab):
            labs.append(lab)
            s.make("cavity")
            s.make("rabi")
            relock = s.relock_cavity

            def lost() -> LockResult:
                calls.append(lab.piezo_voltage(FINE_AXIS))
                if len(calls) > 2:
                    raise InconclusiveError("the light is gone")
                return relock()

            monkeypatch.setattr(s, "relock_cavity", lost)
            s.make("purcell")

    with pytest.raises(InconclusiveError, match="gone"):
        lose_the_light()
    assert len(calls) == 3
    assert min(calls) > 1.0
    assert labs[0].piezo_voltage(FINE_AXIS) == pytest.approx(0.0, abs=1e-3)
