from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pulsed_light import PERIOD_PS, Light, record

from qdchar.analysis import leak
from qdchar.drivers.twin.serve import serve, station_toml
from qdchar.drivers.twin.truth import Truth
from qdchar.errors import InstrumentError, RecordError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.lab.measurements.registry import MEASUREMENTS
from qdchar.lab.recipe import Recipe
from qdchar.lab.run import Run
from qdchar.lab.session import Session
from qdchar.lab.station import load_station
from qdchar.raw_data import About, Scan, TagRun

CLOCK = 1e12 / PERIOD_PS
PI = 10e-9
DARK_HZ = 43.0
LIGHT = Light(mean_photons=0.4, g2=0.005, background_per_pulse=0.012, dead_ps=30_000.0, split=0.45)


def known(name: str, value: float, u: float) -> Estimate:
    return Estimate(
        name=name,
        value=value,
        method="",
        budget=(Contribution(f"given {name}", u, "B"),),
    )


def tuned(folder: Path, rng: np.random.Generator, light: Light, name: str = "tuned") -> TagRun:
    run = record(folder, name, rng, 600_000, light)
    return replace(run, about=About("leak", settings={"power_W": PI}))


def detuned(rng: np.random.Generator, light: Light, dot: float = 4e-4) -> Scan:
    """Clicks of both detectors pulse by pulse: m missed pulses after each, geometric waits."""
    power = PI * np.linspace(0.25, 6.0, 16)
    pulses, blind = round(0.05 * CLOCK), 2
    # a damped Rabi oscillation of the little that is left of the dot's light
    area = np.pi * np.sqrt(power / PI)
    oscillation = (1.0 - np.exp(-0.012 * area**2) * np.cos(area)) / (
        1.0 + np.exp(-0.012 * np.pi**2)
    )
    clicks = np.zeros((len(power), 2), np.int64)
    for k, share in enumerate((light.split, 1.0 - light.split)):
        eta = light.efficiency * share
        mean = eta * light.background_per_pulse * power / PI
        p = 1.0 - (1.0 - eta * dot * oscillation) * np.exp(-mean - 0.5 * DARK_HZ / CLOCK)
        for i, chance in enumerate(p):
            waits = rng.geometric(chance, int(1.2 * pulses * chance) + 100) + blind
            clicks[i, k] = np.searchsorted(np.cumsum(waits) - blind, pulses, side="right")
    reading = power * (1.0 + 0.001 * rng.standard_normal(len(power)))
    about = About("leak", settings={})
    return Scan(about, "power_W", reading, clicks, np.full(16, 0.05), Path("leak_detuned.csv"))


def analyse(run: TagRun, scan: Scan, **changed: Estimate) -> Result:
    given: dict[str, Any] = {
        "pi_power": known("pi_power", PI, 0.0),
        "damping": known("rabi_damping", 0.012, 0.0005),
        "power_gain": known("power_meter_gain", 1.0, 0.0),
        "detector_efficiency": known("detector_efficiency", LIGHT.efficiency, 0.018),
        "dark_count_rate": known("dark_count_rate", DARK_HZ, 1.0),
        **changed,
    }
    return leak.analyse(run, scan, clock_rate_Hz=CLOCK, dead_pulses=2, reading_u_rel=0.001, **given)


def test_leak_and_reexcitation_are_separated(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    results = [
        analyse(tuned(tmp_path, rng, LIGHT, f"run{i}"), detuned(rng, LIGHT)) for i in range(40)
    ]
    for name, truth in (("laser_leakage", 0.012), ("g2_reexcitation", 0.005)):
        found = [r[name] for r in results]
        values = np.array([e.value for e in found])
        assert values.mean() == pytest.approx(truth, abs=3.5 * values.std() / np.sqrt(40)), name
    # the certificate of the detectors is the same in all of them: without it, they scatter
    # as they say
    scatter = np.std([r["laser_leakage"].value for r in results])
    alone = [
        np.sqrt(sum(c.u**2 for c in r["laser_leakage"].budget if c.source.startswith("leak scan")))
        for r in results
    ]
    assert 0.7 < scatter / np.mean(alone) < 1.3
    pulls = [(r["g2_reexcitation"].value - 0.005) / r["g2_reexcitation"].u for r in results]
    assert 0.7 < np.std(pulls) < 1.35
    inside = [
        low <= 0.005 <= high
        for low, high in (r["g2_reexcitation"].interval_95 or (0.0, 0.0) for r in results)
    ]
    assert np.mean(inside) > 0.85
    assert not any(r.problems for r in results)


def test_shared_errors_of_both_leaks_add_up(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    run, scan = tuned(tmp_path, rng, LIGHT), detuned(rng, LIGHT)
    doubtful = analyse(run, scan, damping=known("rabi_damping", 0.012, 0.01))
    sources = [c.source for c in doubtful["g2_reexcitation"].budget]
    assert len(set(sources)) == len(sources)
    # a leak that is known to 1 % moves g0 by 2 (1 - g2) x/100 or so
    leaks = [c.u for c in doubtful["g2_reexcitation"].budget if c.source.startswith("leak scan")]
    x = 0.012 / 0.4
    rel = np.sqrt(
        sum(c.u**2 for c in doubtful["laser_leakage"].budget if c.source.startswith("leak scan"))
    ) / doubtful["laser_leakage"].value  # fmt: skip
    assert np.linalg.norm(leaks) == pytest.approx(2.0 * x * rel, rel=0.15)


def test_the_detuning_correction_is_added(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    run, scan = tuned(tmp_path, rng, LIGHT), detuned(rng, LIGHT)
    plain = analyse(run, scan)["g2_reexcitation"]
    still = analyse(
        run, scan, detuning_correction=known("lifetime_detuning_correction", 0.02, 0.01)
    )["g2_reexcitation"]
    assert still.value == pytest.approx(1.02 * plain.value)
    assert still.u == pytest.approx(np.hypot(1.02 * plain.u, 0.01 * plain.value))
    assert plain.interval_95 is not None
    assert still.interval_95 is not None
    assert still.interval_95[1] > 1.02 * plain.interval_95[1]


def test_the_true_power_is_the_gain_times_the_reading(tmp_path: Path) -> None:
    """A meter that reads 1/1.2 of the true power; its budget line against a finite difference."""
    rng = np.random.default_rng(6)
    run, scan = tuned(tmp_path, rng, LIGHT), detuned(rng, LIGHT)
    run = replace(run, about=About("leak", settings={"power_W": PI / 1.2}))
    scan = replace(scan, x=scan.x / 1.2)

    def leakage(gain: float, pi_W: float = PI) -> Estimate:
        of_gain = known("power_meter_gain", gain, 0.01 * gain / 1.2)
        return analyse(run, scan, power_gain=of_gain, pi_power=known("pi_power", pi_W, 0.0))[
            "laser_leakage"
        ]

    found = leakage(1.2)
    assert abs(found.value - 0.012) < 3.5 * found.u
    step = 1e-3
    slope = (leakage(1.2 + step).value - leakage(1.2 - step).value) / (2 * step)
    assert slope < -0.8 * 0.012 / 1.2
    # the fit of what is left of the dot moves a little with the pi power's reading
    line = {c.source: c.u for c in found.budget}["given power_meter_gain"]
    assert line == pytest.approx(slope * 0.01, rel=0.02)

    # a pi power of the same meter moves with its gain: readings alone make the leakage; what is
    # left of the dot tells a little of the pi power, weighed against another relative uncertainty
    same_readings = leakage(1.1, PI * 1.1 / 1.2).value
    assert same_readings == pytest.approx(found.value, abs=0.02 * found.u)
    same = replace(
        known("pi_power", PI, 0.0),
        budget=(Contribution("given power_meter_gain", PI / 1.2 * 0.01, "B"),),
    )
    both = analyse(run, scan, power_gain=known("power_meter_gain", 1.2, 0.01), pi_power=same)
    lines = {c.source: c.u for c in both["laser_leakage"].budget}
    assert lines.get("given power_meter_gain", 0.0) == pytest.approx(0.0, abs=1e-6 * found.value)


def test_remaining_light_of_the_dot_is_reported(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    result = analyse(tuned(tmp_path, rng, LIGHT), detuned(rng, LIGHT, dot=0.05))
    # separated all the same by its oscillation
    e = result["laser_leakage"]
    assert abs(e.value - 0.012) < 3.5 * e.u
    assert any("detuned the dot still makes" in p for p in result.problems)


def test_a_leak_that_is_not_seen_is_reported(tmp_path: Path) -> None:
    """No light of the laser and none of the dot, dark counts alone."""
    rng = np.random.default_rng(7)
    none = replace(LIGHT, background_per_pulse=0.0)
    result = analyse(tuned(tmp_path, rng, none), detuned(rng, none, dot=0.0))
    assert any("the leak is not significant" in p for p in result.problems)


def test_a_run_without_its_power_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    run = record(tmp_path, "run", rng, 50_000, LIGHT)
    with pytest.raises(RecordError, match="power_W"):
        analyse(run, detuned(rng, LIGHT))


class _Quiet:
    def say(self, text: str) -> None: ...

    warn = detail = say

    @contextlib.contextmanager
    def step(self, title: str, measurement: str = "") -> Iterator[Any]:
        yield lambda done, total, text: None


@contextlib.contextmanager
def _lab(folder: Path, settings: Mapping[str, str], seed: int) -> Iterator[tuple[Any, Session]]:
    """A simulated lab behind its sockets, tuned, its pump at the pi pulse."""
    recipe = Recipe.model_validate({"leak": {"tuned_s": 0.3, "dwell_s": 0.1}})
    with contextlib.ExitStack() as stack:
        served = stack.enter_context(serve(Truth.from_settings(settings), seed))
        file = folder / "station.toml"
        file.write_text(station_toml(served), encoding="utf-8")
        run = stack.enter_context(Run.create(folder, "test", "leak"))
        station = stack.enter_context(load_station(file, lambda _: None))
        session = Session(station, run, recipe, _Quiet(), MEASUREMENTS)  # type: ignore[arg-type]
        session.make("cavity")
        session.make("rabi")
        session.set_pump_to_pi()
        yield served.lab, session


@pytest.mark.parametrize(
    ("settings", "seed"),
    [
        ({}, 1),
        ({"source.g2": "0.05", "source.collection_efficiency": "0.4"}, 2),
        ({"source.blinking_on_fraction": "0.75", "source.blinking_time": "1e-5"}, 3),
    ],
    ids=["default", "other source", "blinking"],
)
def test_the_simulated_lab(tmp_path: Path, settings: dict[str, str], seed: int) -> None:
    true = {name: value for name, value, _ in Truth.from_settings(settings).quantities()}
    with _lab(tmp_path, settings, seed) as (lab, session):
        pump_dB = lab.attenuation()
        result = session.make("leak")
        for name in ("laser_leakage", "g2_reexcitation"):
            e = result[name]
            assert abs(e.value - true[name]) < 3.5 * e.u, name
            assert e.u < 0.12 * true[name]
        assert not result.problems
        assert lab.attenuation() == pump_dB
        # where the loop had left it just before
        held_V = session.locks[-1].voltage_V
        assert lab.piezo_voltage(3) == pytest.approx(held_V, abs=1e-3)


def test_what_breaks_leaves_pump_and_cavity_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _lab(tmp_path, {}, 4) as (lab, session):
        pump_dB, here_V = lab.attenuation(), lab.piezo_voltage(3)
        moved: list[float] = []
        count = type(session.tagger).count

        def fail(tagger: Any, dwell_s: float) -> Any:
            if abs(lab.piezo_voltage(3) - here_V) < 1.0:
                return count(tagger, dwell_s)  # the loop on the resonance
            moved.append(lab.attenuation())
            if len(moved) == 5:
                raise InstrumentError("tagger: cable pulled")
            return count(tagger, dwell_s)

        monkeypatch.setattr(type(session.tagger), "count", fail)
        with pytest.raises(InstrumentError, match="cable pulled"):
            session.make("leak")
        assert max(abs(dB - pump_dB) for dB in moved) > 1.0
        assert lab.attenuation() == pump_dB
        held_V = session.locks[-1].voltage_V
        assert lab.piezo_voltage(3) == pytest.approx(held_V, abs=1e-3)
