"""Misalignment against photons drawn one by one, two unlike detectors, dead time and blinking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pulsed_light import PERIOD_PS, SYNC, A, B, Light, _detect, _telegraph

from qdchar.analysis import misalignment
from qdchar.drivers.elliptec_ell14 import ANGLES_DEG
from qdchar.drivers.twin.polarisation import AXES, analysed, passed
from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate
from qdchar.raw_data import About, TagRun
from qdchar.roles import ORTHOGONAL
from qdchar.tags import TagWriter

DARKS = Estimate(
    name="dark_count_rate",
    value=2000.0,
    method="",
    budget=(Contribution("dark", 20.0),),
)
DIVIDER = 100
FAINT = Light(mean_photons=0.29, g2=0.007, dark_hz=2000.0)


def record(
    folder: Path,
    rng: np.random.Generator,
    pulses: int,
    light: Light,
    state: str,
    analysed: str,
    wrong: float,
    efficiencies: tuple[float, float] = (0.62, 0.75),
) -> TagRun:
    """One setting: each photon takes the wrong output with a probability, then is detected."""
    p1, p2 = light.photon_numbers
    draw = rng.random(pulses)
    on = _telegraph(rng, pulses, light)
    pairs = np.flatnonzero(on & (draw < p2))
    singles = np.flatnonzero(on & (draw >= p2) & (draw < p1 + p2))
    photons = np.concatenate([singles, pairs, pairs])
    to_a = (rng.random(len(photons)) >= wrong) == (state == analysed)
    seen = rng.random(len(photons)) < np.where(to_a, *efficiencies)
    span = pulses * PERIOD_PS
    clicks = []
    for mask in (to_a & seen, ~to_a & seen):
        when = photons[mask] * PERIOD_PS + 2_000.0 + rng.exponential(75.8, int(mask.sum()))
        darks = rng.random(rng.poisson(light.dark_hz / 2 * span * 1e-12)) * span
        clicks.append(_detect(np.sort(np.concatenate([when, darks])), light.dead_ps))
    sync = np.arange(0, pulses, DIVIDER) * PERIOD_PS + 10.0
    times = np.concatenate([*clicks, sync])
    channels = np.repeat(
        np.array([A, B, SYNC], np.uint8), [len(clicks[0]), len(clicks[1]), len(sync)]
    )
    order = np.argsort(times, kind="stable")
    times, channels = times[order].astype(np.int64), channels[order]
    keep = times < int(span)
    file = folder / f"{state}_{analysed}.h5"
    file.unlink(missing_ok=True)
    with TagWriter(file, resolution_ps=1) as writer:
        writer.append(times[keep], channels[keep], covered_until_ps=int(span))
    about = About("misalignment", settings={"prepared": state, "analysed": analysed})
    return TagRun(about, file, A, B, SYNC, DIVIDER, span * 1e-12)


def both_ways(folder, rng, pulses, light, by_state, drift=1.0, **kwargs) -> list[TagRun]:
    """All settings; the second of each state is brighter by `drift`."""
    dimmer = replace(light, mean_photons=light.mean_photons * drift)
    return [
        record(folder, rng, pulses, source, state, analysed, wrong, **kwargs)
        for state, wrong in by_state.items()
        for analysed, source in ((state, light), (ORTHOGONAL[state], dimmer))
    ]


@pytest.mark.parametrize(
    ("pulses", "light", "drift"),
    [
        (40_000, FAINT, 0.9),
        # blinking: live gating of rates would be off by a quarter here
        (40_000, replace(FAINT, on_fraction=0.75, mean_photons=0.4, dead_ps=60_000.0), 1.0),
        (1_500, replace(FAINT, dark_hz=200.0), 1.0),  # about eight wrong clicks a state
    ],
    ids=["drift and dead time", "blinking", "few counts"],
)
def test_intervals_cover(tmp_path, pulses, light, drift) -> None:
    by_state = {"H": 0.02, "D": 0.034}
    true = np.mean(list(by_state.values()))
    darks = replace(DARKS, value=light.dark_hz)
    rng = np.random.default_rng(5)
    inside, pulls = [], []
    runs = 100
    for _ in range(runs):
        recorded = both_ways(tmp_path, rng, pulses, light, by_state, drift)
        found = misalignment.analyse(recorded, dark_count_rate=darks)["misalignment"]
        assert found.interval_68 is not None
        assert found.interval_95 is not None
        pulls.append((found.value - true) / found.u)
        inside.append([low <= true <= high for low, high in (found.interval_68, found.interval_95)])
    within_68, within_95 = np.mean(inside, axis=0)
    # three binomial standard deviations of 100 runs; intervals of few counts may be longer
    assert within_68 > 0.68 - 3 * np.sqrt(0.68 * 0.32 / runs)
    assert within_95 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
    assert abs(np.mean(pulls)) < 3.5 / np.sqrt(runs)
    assert 0.75 < np.std(pulls) < 1.25


def test_unlike_detectors_cancel(tmp_path) -> None:
    """One way round alone would be off by 25 %."""
    rng = np.random.default_rng(6)
    runs = both_ways(tmp_path, rng, 300_000, FAINT, {"H": 0.03, "V": 0.03}, efficiencies=(0.5, 0.8))
    found = misalignment.analyse(runs, dark_count_rate=DARKS)["misalignment"]
    assert found.value == pytest.approx(0.03, abs=4 * found.u)
    assert found.u < 1e-3
    direct = runs[0]
    counts = np.bincount(_channels(direct), minlength=3)
    assert counts[B] / (counts[A] + counts[B]) > 0.04


def _channels(run: TagRun):
    from qdchar.tags import open_tags

    return np.concatenate([c.channels[c.channels != SYNC] for c in open_tags(run.file).chunks()])


def test_dark_counts_are_no_misalignment(tmp_path) -> None:
    """0.2 M a second: on the wrong detector one in five of what comes from the light."""
    rng = np.random.default_rng(12)
    light = replace(FAINT, dark_hz=200_000.0)
    darks = replace(DARKS, value=200_000.0)
    runs = both_ways(tmp_path, rng, 100_000, light, {"H": 0.03})
    found = misalignment.analyse(runs, dark_count_rate=darks)["misalignment"]
    assert found.value == pytest.approx(0.03, abs=3.5 * found.u)
    with_darks = misalignment.analyse(runs)["misalignment"]
    assert with_darks.value > 0.03 + 4 * found.u


def test_the_worst_state_is_named(tmp_path) -> None:
    rng = np.random.default_rng(7)
    runs = both_ways(tmp_path, rng, 100_000, FAINT, {"H": 0.01, "D": 0.02, "R": 0.05})
    result = misalignment.analyse(runs, dark_count_rate=DARKS)
    worst = result["misalignment_worst"]
    assert worst.method.startswith("state R of H, D, R")
    assert worst.value == pytest.approx(0.05, abs=4 * worst.u)
    assert not result.problems


def test_no_wrong_click_gives_an_upper_limit(tmp_path) -> None:
    rng = np.random.default_rng(8)
    light = replace(FAINT, dark_hz=0.0)
    runs = both_ways(tmp_path, rng, 20_000, light, {"H": 0.0})
    found = misalignment.analyse(runs)["misalignment"]
    total = 2 * 20_000 * 0.29 * 0.685
    assert found.value == 0.0
    assert found.interval_95 is not None
    low, high = found.interval_95
    # Jeffreys: 2.51 for no count, over the clicks on live pulses
    assert low == 0.0
    assert 2.51 / total < high < 2.51 / (0.5 * total)


def test_states_mixed_up_are_said(tmp_path) -> None:
    rng = np.random.default_rng(9)
    runs = both_ways(tmp_path, rng, 50_000, FAINT, {"R": 0.97})
    (problem,) = misalignment.analyse(runs, dark_count_rate=DARKS).problems
    assert "state R reach the wrong detector with probability 0.96" in problem


def test_orientations_that_disagree_are_said(tmp_path) -> None:
    rng = np.random.default_rng(10)
    runs = [
        record(tmp_path, rng, 200_000, FAINT, state, analysed, wrong)
        for state, other in (("H", "V"), ("D", "A"))
        for analysed, wrong in ((state, 0.02), (other, 0.04))
    ]
    (problem,) = misalignment.analyse(runs, dark_count_rate=DARKS).problems
    assert "the two orientations of the analyser differ by" in problem


def test_orientations_that_differ_by_a_few_percent_are_in_the_budget(tmp_path) -> None:
    """With V and A on detector A 4 % more go wrong: that half may be the right one."""
    rng = np.random.default_rng(14)
    light = replace(FAINT, dark_hz=0.0, dead_ps=0.0, g2=0.0, mean_photons=0.6)
    runs = [
        record(tmp_path, rng, 400_000, light, state, turned, 0.306 if turned in "VA" else 0.294)
        for state in "HVDA"
        for turned in (state, ORTHOGONAL[state])
    ]
    result = misalignment.analyse(runs)
    assert not result.problems
    (line,) = (c.u for c in result["misalignment"].budget if "orientations" in c.source)
    # half of the difference of the odds, 0.4409 against 0.4164, in logarithms; noise 8 % of it
    odds = 0.5 * np.log(0.306 / 0.694 * 0.706 / 0.294)
    assert line == pytest.approx(0.3 * odds, rel=0.25)


@pytest.mark.parametrize("states", ["HV", "DA", "RL", "HVDA"])
def test_plates_of_another_retardance_are_taken_out(tmp_path, states) -> None:
    """What both orientations add in the simulated lab, at 0.15 rad, mean over both signs."""
    in_the_lab = []
    for state in states:
        for turned in (state, ORTHOGONAL[state]):
            for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                excess = (0.15 * signs[0], 0.15 * signs[1])
                share = passed(np.array(AXES[state]), analysed(*ANGLES_DEG[turned], excess))
                in_the_lab.append(1 - share if turned == state else share)
    rng = np.random.default_rng(13)
    runs = both_ways(tmp_path, rng, 4_000, FAINT, dict.fromkeys(states, 0.2))
    certificate = Contribution("plates", 0.15, "B")
    plates = Estimate(name="plate_retardance", value=0.0, method="", budget=(certificate,))
    plain = misalignment.analyse(runs)["misalignment"]
    found = misalignment.analyse(runs, plate_retardance=plates)["misalignment"]
    added = float(np.mean(in_the_lab)) * (1 - 2 * plain.value)
    assert plain.value - found.value == pytest.approx(added, rel=0.03)
    (line,) = (c for c in found.budget if c.source == "plates")
    # the square of a normal error varies by sqrt(2) of its mean
    assert abs(line.u) == pytest.approx(np.sqrt(2) * added, rel=0.05)


def test_one_way_round_is_refused(tmp_path) -> None:
    rng = np.random.default_rng(11)
    runs = both_ways(tmp_path, rng, 1000, FAINT, {"H": 0.02})
    with pytest.raises(InconclusiveError, match="not recorded with V turned to detector A"):
        misalignment.analyse(runs[:1])
    with pytest.raises(InconclusiveError, match="no state was recorded"):
        misalignment.analyse([])


def test_a_detector_loses_efficiency_where_the_light_is(tmp_path) -> None:
    """With 2 % lost per Mcps the wrong detector, which is slower, sees the most."""
    pulses, wrong, per_Hz = 400_000, 0.2, -2e-8
    right_Hz, wrong_Hz = 0.29 * 0.8 / PERIOD_PS * 1e12, 0.29 * 0.2 / PERIOD_PS * 1e12
    # rate that a detector settles at if it loses 2 % per Mcps
    settled = [
        photons_Hz * 0.7 / (1 - 0.7 * photons_Hz * per_Hz) for photons_Hz in (right_Hz, wrong_Hz)
    ]
    fast, slow = (0.7 * (1 + per_Hz * rate) for rate in settled)
    rng = np.random.default_rng(8)
    light = replace(FAINT, dark_hz=0.0, dead_ps=0.0, g2=0.0)
    runs = []
    for turned in ("H", "V"):
        efficiencies = (fast, slow) if turned == "H" else (slow, fast)
        runs.append(record(tmp_path, rng, pulses, light, "H", turned, wrong, efficiencies))
    change = Estimate(
        name="detector_linearity", value=per_Hz, method="", budget=(Contribution("change", 1e-9),)
    )
    plain = misalignment.analyse(runs)["misalignment"]
    found = misalignment.analyse(runs, linearity=change)["misalignment"]
    assert plain.value > wrong + 10 * plain.u_statistical
    assert found.value == pytest.approx(wrong, abs=0.003)
    (line,) = [c.u for c in found.budget if c.source == "change"]
    faster_Hz = settled[0] - settled[1]
    per_change = faster_Hz / (1.0 + per_Hz * faster_Hz) * wrong * (1 - wrong)  # of ln(1 + k faster)
    assert line == pytest.approx(1e-9 * per_change, rel=0.02)
