"""Looks at the light that do not hold together are doubted; those of a healthy lab are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdchar.estimate import Contribution, Estimate, Uncertain
from qdchar.lab.plausibility import LightLog, clock_problem, slow_blinking_problem
from qdchar.protocols import LockResult
from qdchar.protocols.last_look import LastLook, Level
from qdchar.raw_data import About, TagRun
from qdchar.roles import Counts

RATE_HZ = np.array([5.2e6, 5.9e6])  # unlike detectors: 47:53
SLICES, DURATION_S = 400, 0.2


def recording(
    name: str, factor: float | np.ndarray = 1.0, *, path: str = "before", seed: int = 1
) -> TagRun:
    """Poisson clicks of both detectors; `factor` is a number, or has shape (400, 2)."""
    mean = RATE_HZ * np.ones((SLICES, 2)) * factor * DURATION_S / SLICES
    return TagRun(
        about=About("hbt", path=path),
        file=Path(f"{name}.h5"),
        channel_a=1,
        channel_b=2,
        channel_sync=0,
        sync_divider=64,
        duration_s=DURATION_S,
        clicks=np.random.default_rng(seed).poisson(mean),
        slice_s=np.full(SLICES, DURATION_S / SLICES),
    )


def corrected_by(value: float, u: float) -> Uncertain:
    return Uncertain(value, (Contribution("peak-lock readout", u),))


def stretches(light: np.ndarray) -> np.ndarray:
    """Light of ten stretches of time in the slices of a recording."""
    return np.repeat(light, SLICES // 10, axis=0)


def lock(factor: float = 1.0) -> LockResult:
    return LockResult(10.5, 1e-4, 2e-4, 1e-4, float(RATE_HZ.sum()) * factor, 0.0, 0.03, 3)


def test_a_healthy_lab_is_not_doubted() -> None:
    log = LightLog()
    rng = np.random.default_rng(3)
    for k in range(200):
        drift = 1.0 + 0.02 * rng.standard_normal()
        log.add_lock(lock(drift))
        log.add_run(recording(f"run {k}", drift * (1.0 + 0.003 * rng.standard_normal()), seed=k))
        log.add_run(recording(f"sent {k}", 0.4 * drift, path="after", seed=1000 + k))
        log.add_correction("lifetime", corrected_by(0.02, 0.005))
    assert log.doubts == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (0.8, "time tags hold -20"),
        (0.95, "time tags hold -5"),
        (np.array([0.5, 1.0]), "detector A has 31 %"),
        (np.repeat([[1.0, 1.0], [0.0, 1.0]], 200, axis=0), "share of the clicks changes within"),
        (np.repeat([[1.0], [0.0]], (360, 40), axis=0), "no clicks in 1 of 10"),
        (np.repeat([[1.0], [0.7]], (280, 120), axis=0), "light changes within the recording"),
    ],
)
def test_a_recording_that_differs_is_doubted(factor: float | np.ndarray, words: str) -> None:
    log = LightLog()
    log.add_lock(lock())
    log.add_run(recording("earlier"))
    assert not log.take_doubts()
    log.add_run(recording("later", factor, seed=2))
    assert any(words in doubt for doubt in log.doubts), log.doubts


def off_at_times(rng: np.random.Generator) -> np.ndarray:
    """On for 11 ms and off for 0.8 ms on average, in slices of 0.1 ms, shape (400, 1)."""
    light, shining = np.zeros(40_000), True
    at = 0.0
    while at < len(light):
        stay = rng.exponential(11_000.0 if shining else 800.0)
        light[int(at) : int(at + stay) + 1] = float(shining)
        at, shining = at + stay, not shining
    return light.reshape(400, 100).mean(axis=1)[:, None]


@pytest.mark.parametrize("fainter", [1.0, 0.7])
def test_light_that_is_off_at_times_is_no_light_that_changes(fainter: float) -> None:
    """Four off-times in 40 ms: some stretches have one, and are 20 % fainter on average."""
    change = np.repeat([[1.0], [fainter]], (280, 120), axis=0)
    said = []
    for seed in range(20):
        run = recording("x", off_at_times(np.random.default_rng(seed)) * change, seed=seed)
        mean = RATE_HZ * off_at_times(np.random.default_rng(seed)) * change * 1e-4
        clicks = np.random.default_rng(seed).poisson(mean)
        log = LightLog()
        log.add_run(replace(run, clicks=clicks, duration_s=0.04, slice_s=np.full(400, 1e-4)))
        said.append(any("light changes within" in doubt for doubt in log.doubts))
    assert sum(said) <= 1 if fainter == 1.0 else sum(said) >= 18


@pytest.mark.parametrize(("u_relative", "named"), [(0.004, True), (0.03, False)])
def test_a_recording_too_short_for_slow_blinking_is_said(u_relative: float, named: bool) -> None:
    """Off for 0.8 ms every 11.8 ms: 2 b tau = 1.1e-4 s, 5 % in 40 ms, whatever one of them has."""
    log = LightLog()
    runs = []
    for seed in range(20):
        mean = RATE_HZ * off_at_times(np.random.default_rng(seed)) * 1e-4
        clicks = np.random.default_rng(seed).poisson(mean)
        short = recording("x", seed=seed)
        runs.append(replace(short, clicks=clicks, duration_s=0.04, slice_s=np.full(400, 1e-4)))
        log.add_run(runs[-1])
    b, tau_s = 0.8 / 11.0, 1.0 / (1 / 11e-3 + 1 / 0.8e-3)
    flicker = log.flicker(0.04)
    assert flicker == pytest.approx(np.sqrt(2 * b * tau_s / 0.04), rel=0.3)
    problems = slow_blinking_problem(runs[0], u_relative, flicker)
    assert bool(problems) is named
    assert all("blinks too slowly" in text for text in problems)


def test_a_detector_that_changes_between_recordings_is_doubted() -> None:
    log = LightLog()
    log.add_run(recording("earlier", path="after"))
    log.add_run(recording("later", np.array([0.9, 1.05]), path="after", seed=2))
    assert any("a detector changed" in doubt for doubt in log.doubts)


@pytest.mark.parametrize("factor", [0.5, 0.88, 1.13, 3.0])
def test_light_that_changes_between_locks_is_doubted(factor: float) -> None:
    log = LightLog()
    for _ in range(3):
        log.add_lock(lock())
    log.add_lock(lock(factor))
    (doubt,) = log.take_doubts()
    assert f"{100 * (factor - 1):+.0f} %" in doubt
    assert log.doubts == []


@pytest.mark.parametrize(
    ("value", "u", "doubted"),
    [
        (0.20, 0.003, False),
        (0.21, 0.003, True),
        (-0.34, 0.05, True),
        (0.27, 0.04, False),
        (0.29, 0.04, True),
    ],
)
def test_a_large_correction_is_none(value: float, u: float, doubted: bool) -> None:
    """By two standard uncertainties: 27 % with 4 % may be 19 %."""
    log = LightLog()
    log.add_correction("lifetime", corrected_by(value, u))
    assert bool(log.doubts) is doubted


@pytest.mark.parametrize(
    ("power", "zero_pW", "clicks", "words"),
    [
        (1.0, 13.0, (54, 49), None),
        (1.02, -13.0, (85, 65), None),
        (1.0, 16.0, (54, 49), "the power monitor reads +16 pW against when its zero was read"),
        (1.3, 0.0, (54, 49), "pump power changed by +30 %"),
        (0.96, 0.0, (54, 49), "pump power changed by -4 %"),
        (1.0, 0.0, (5250, 5500), "with the light blocked there are 4.3e+03 counts/s"),
        (1.0, 0.0, (20, 17), "with the light blocked there are 14.8 counts/s"),
    ],
)
def test_the_last_look(
    power: float, zero_pW: float, clicks: tuple[int, int], words: str | None
) -> None:
    log = LightLog()
    dark = Estimate(
        name="dark_count_rate", value=43.0, method="", budget=(Contribution("counts", 1.5),)
    )
    look = LastLook(power * 9.7e-9, 1e-12 * zero_pW, Counts(clicks, 2.5))
    log.add_last_look(look, reading_W=9.7e-9, u_zero_W=2e-12, dark_count_rate=dark)
    if words is None:
        assert log.doubts == []
    else:
        assert words in log.doubts[0]


def after_lock(factor: float) -> LockResult:
    return LockResult(70.0, 1e-3, 0.0, 1e-3, 0.4 * float(RATE_HZ.sum()) * factor, 0.0, 0.03, 3)


@pytest.mark.parametrize(("factor", "doubted"), [(0.97, False), (0.93, True), (1.08, True)])
def test_the_throughput_is_that_at_the_etalons_lock(factor: float, doubted: bool) -> None:
    """The brightness may drift; the light after the transmitter over that before it may not."""
    log = LightLog()
    log.add_lock(lock())
    log.add_lock_after(after_lock(1.0))
    log.add_lock(lock(1.04))
    log.add_run(recording("sent", 0.4 * 1.04 * factor, path="after"))
    assert any("the optical switch" in doubt for doubt in log.doubts) is doubted


def test_locks_on_a_source_that_blinks_slowly_scatter() -> None:
    log = LightLog()
    for factor in (1.0, 0.8, 1.2, 0.85):
        log.add_lock(LockResult(10.5, 1e-4, 0.0, 1e-4, 1e7 * factor, 1e6, 0.03, 3))
    assert log.doubts == []


def beside_pi(true_pi: float, flicker: float) -> LightLog:
    """Undamped rotation, detectors dead for two pulses after a click; light that flickers."""
    log, levels, rng = LightLog(), [], np.random.default_rng(4)
    for power in (0.7, 1.4):
        light = 0.2 * np.sin(0.5 * np.pi * np.sqrt(power / true_pi)) ** 2
        counts = []
        for factor in rng.normal(1.0, flicker, 5):
            p = light * factor
            clicks = round(p / (1 + 2 * p) * 76e6 * 0.01)
            counts.append(Counts((clicks, clicks), 0.01))
        levels.append(Level(25.0 - 10 * float(np.log10(power)), 9e-9 * power, tuple(counts)))
    low, high = levels
    log.add_beside_pi(
        (low, high), pi_reading_W=9e-9, damping=0.0, dead_pulses=2.0, clock_rate_Hz=76e6
    )
    return log


@pytest.mark.parametrize(
    ("true_pi", "doubted"),
    [(1.0, False), (1.05, False), (0.95, False), (1.4, True), (0.8, True)],
)
def test_a_pi_power_that_changed(true_pi: float, doubted: bool) -> None:
    assert bool(beside_pi(true_pi, flicker=1e-4).doubts) is doubted


def test_a_source_that_blinks_is_not_taken_for_another_pi_power() -> None:
    """Blinking of 1 ms leaves 15 % of scatter in counts of 10 ms."""
    assert not beside_pi(0.9, flicker=0.15).doubts
    assert beside_pi(0.9, flicker=0.01).doubts


def test_an_attenuator_that_stays_where_it_is() -> None:
    """Both powers read alike, and on either side of the pi pulse the light is alike anyway."""
    log, counts = LightLog(), (Counts((140_000, 140_000), 0.01),) * 5
    log.add_beside_pi(
        (Level(26.55, 9e-9, counts), Level(23.54, 9.02e-9, counts)),
        pi_reading_W=9e-9, damping=0.01, dead_pulses=2.0, clock_rate_Hz=76e6,
    )  # fmt: skip
    assert "is the attenuator stuck" in log.doubts[0]


@pytest.mark.parametrize(("part", "doubted"), [(0.99, False), (0.9, True), (1.07, True)])
def test_the_laser_that_makes_other_clicks(part: float, doubted: bool) -> None:
    log = LightLog()
    log.add_laser(3e-9, Counts((160_000, 150_000), 0.05))
    log.add_laser(3.01e-9, Counts((round(160_000 * part), round(150_000 * part)), 0.05))
    assert bool(log.doubts) is doubted


@pytest.mark.parametrize(("wrong", "doubted"), [(2_700, False), (8_000, True), (900, True)])
def test_a_state_that_turned(wrong: int, doubted: bool) -> None:
    log = LightLog()
    run = recording("H", np.array([0.975 / 0.47, 0.025 / 0.53]), path="receiver")
    about = About("misalignment", path="receiver", settings={"prepared": "H", "analysed": "H"})
    log.add_polarisation([replace(run, about=about)])
    assert log.states == ("H",)
    log.add_states({"H": Counts((97_500, wrong), 0.03)})
    assert bool(log.doubts) is doubted


@pytest.mark.parametrize(("now", "doubted"), [(0.0075, False), (0.0095, True)])
def test_a_quantity_measured_again_shares_its_certificate(now: float, doubted: bool) -> None:
    def g2(value: float, run: str) -> Estimate:
        budget = (Contribution("certificate", 0.002), Contribution(f"coincidences, {run}", 1e-4))
        return Estimate(name="g2_zero", value=value, method="", budget=budget)

    log = LightLog()
    log.add_again(g2(0.007, "hbt"), g2(now, "last look"), 0.2)
    assert bool(log.doubts) is doubted


@pytest.mark.parametrize(
    ("now", "light", "doubted"),
    [(86e-12, 1.0, False), (104e-12, 1.0, True), (104e-12, 2e-5, False)],
)
def test_pulses_that_got_wider(now: float, light: float, doubted: bool) -> None:
    """By 22 %: of 2e6 clicks, or of 44, whose width is known to 15 %."""
    log, run = LightLog(), recording("run", light)
    log.add_width(run, now, run, 85e-12)
    assert bool(log.doubts) is doubted
    log.doubts.clear()
    log.add_width(run, now, run, 85e-12, 0.17)  # what a lock on flickering light leaves open
    assert not log.doubts


def test_a_recording_without_a_click_is_doubted_and_no_reference() -> None:
    log = LightLog()
    log.add_run(recording("dark", 0.0))
    (doubt,) = log.take_doubts()
    assert doubt.startswith("dark.h5: no clicks at all: ")
    log.add_run(recording("lit"))
    assert log.doubts == []


@pytest.mark.parametrize(
    ("attenuation_dB", "reading_W", "doubted"),
    [
        (21.0, 0.605e-9, False),
        (22.0, 0.477e-9, False),  # 1 dB more, and 21 % less power
        (21.0, 0.54e-9, True),  # the meter lost 10 %
        (22.14, 0.60e-9, True),  # 30 % more pump, attenuated to the same power
        (9.0, 9.0e-9, False),  # too far: the scale is not good enough
    ],
)
def test_the_power_monitor_at_one_attenuation(
    attenuation_dB: float, reading_W: float, doubted: bool
) -> None:
    log = LightLog()
    log.add_pump(21.0, 0.6e-9)
    log.add_pump(attenuation_dB, reading_W)
    assert bool(log.doubts) is doubted
    assert log.pump_attenuation_dB == 21.0


@pytest.mark.parametrize(("rate_MHz", "named"), [(76.2, False), (38.07, True), (80.0, True)])
def test_a_pulse_rate_that_is_not_the_station_s(rate_MHz: float, named: bool) -> None:
    problems = clock_problem(1e6 * rate_MHz, 76.13e6)
    assert bool(problems) is named
    assert all("sync_divider" in problem for problem in problems)


def test_blinking_that_earlier_recordings_showed_is_no_change_of_the_light() -> None:
    """Telegraph noise leaves 10 % from slice to slice of 20 ms, hence 8 % in 30 ms of a lock."""
    rng, steady, blinking = np.random.default_rng(21), LightLog(), LightLog()
    for k in range(6):
        steady.add_run(recording(f"s{k}", stretches(rng.normal(1.0, 1e-3, (10, 1))), seed=k))
        blinking.add_run(recording(f"b{k}", stretches(rng.normal(1.0, 0.1, (10, 1))), seed=k))
    assert steady.doubts == blinking.doubts == []
    assert blinking.flicker(0.03) == pytest.approx(0.1 * np.sqrt(0.02 / 0.03), rel=0.3)
    assert steady.flicker(0.03) < 0.002
    for log in (steady, blinking):
        log.add_lock(LockResult(10.5, 1e-4, 0.0, 1e-4, 1.0e7, 1e5, 0.03, 3))
        log.add_lock(LockResult(10.5, 1e-4, 0.0, 1e-4, 1.15e7, 1e5, 0.03, 3))
    assert len(steady.doubts) == 1
    assert blinking.doubts == []
