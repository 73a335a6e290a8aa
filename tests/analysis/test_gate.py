"""The time gate against decays drawn photon by photon, with darks, jitter and dead time."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pulsed_light import PERIOD_PS, Light, record
from scipy.special import ndtr

from qdchar.analysis import gate
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result


def given(name: str, value: float, u: float) -> Estimate:
    budget = (Contribution(name, u),) if u else ()
    return Estimate(
        name=name,
        value=value,
        method="",
        budget=budget,
    )


def analysed(folder: Path, rng: np.random.Generator, light: Light, width_s: float) -> Result:
    file = folder / "run.h5"
    file.unlink(missing_ok=True)
    run = record(folder, "run", rng, 60_000, light)
    # the certificate's value is drawn, as that of a dark run is
    darks = rng.normal(light.dark_hz, 0.05 * light.dark_hz)
    return gate.analyse(
        run,
        gate_width=given("gate_width", width_s, 0.0),
        dark_count_rate=given("dark_count_rate", darks, 0.05 * light.dark_hz),
        dead_time=given("dead_time", light.dead_ps * 1e-12, 0.0),
    )


def best_share(light: Light, width_ps: float) -> float:
    """Largest share of an exponential with jitter in a window, on a fine grid."""
    t = np.arange(-500.0, PERIOD_PS / 2, 0.5)
    tau, s = light.lifetime_ps, light.jitter_ps
    tail = np.exp(s**2 / 2 / tau**2 - t / tau) * ndtr(t / s - s / tau)
    cdf = ndtr(t / s) - tail
    shift = round(width_ps / 0.5)
    return min(float((cdf[shift:] - cdf[:-shift]).max()), 1.0)  # not by rounding


@pytest.mark.parametrize(
    ("lifetime_ps", "width_s", "dark_hz"),
    [
        (300.0, 1.0e-9, 43.0),  # a few per cent outside
        (300.0, 2.1e-9, 40_000.0),  # one in a thousand outside, under ten times as many darks
        (75.8, 3.42e-9, 4_000.0),  # nothing outside but darks
    ],
)
def test_intervals_cover(tmp_path, lifetime_ps, width_s, dark_hz) -> None:
    light = Light(lifetime_ps=lifetime_ps, dark_hz=dark_hz)
    true = best_share(light, width_s * 1e12)
    rng = np.random.default_rng(4)
    runs, inside, pulls = 100, [], []
    for _ in range(runs):
        found = analysed(tmp_path, rng, light, width_s)["gate_captured_fraction"]
        assert found.interval_68 is not None
        assert found.interval_95 is not None
        pulls.append((found.value - true) / found.u)
        inside.append([low <= true <= high for low, high in (found.interval_68, found.interval_95)])
        assert found.interval_95[1] <= 1.0
    within_68, within_95 = np.mean(inside, axis=0)
    assert within_68 > 0.68 - 3 * np.sqrt(0.68 * 0.32 / runs)
    assert within_95 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
    assert abs(np.mean(pulls)) < 0.5
    assert 0.7 < np.std(pulls) < 1.3


def test_dark_count_probability_is_that_of_the_paper(tmp_path) -> None:
    light = Light()
    file = record(tmp_path, "one", np.random.default_rng(1), 20_000, light)
    found = gate.analyse(
        file,
        gate_width=given("gate_width", 3.42e-9, 0.0),
        dark_count_rate=given("dark_count_rate", 43.0, 1.0),
        dead_time=given("dead_time", 30e-9, 0.0),
    )["dark_count_probability"]
    assert found.value == pytest.approx(1.4706e-7)
    assert found.u == pytest.approx(1.4706e-7 / 43)


def test_dark_counts_outside_are_those_of_the_rest_of_the_period(tmp_path) -> None:
    """Of 0.2 M a second in 0.79 ms, 158; the gate takes 2 ns of a period of 13.1 ns."""
    light = Light(dark_hz=200_000.0, dead_ps=0.0)
    run = record(tmp_path, "run", np.random.default_rng(6), 60_000, light)
    found = gate.analyse(
        run,
        gate_width=given("gate_width", 2e-9, 0.0),
        dark_count_rate=given("dark_count_rate", 200_000.0, 0.0),
        dead_time=given("dead_time", 0.0, 0.0),
    )["gate_captured_fraction"]
    expected = 200_000.0 * 60_000 * PERIOD_PS * 1e-12 * (1 - 2000.0 / PERIOD_PS)
    outside, dark = re.findall(r"([\d.]+) (?:of|of them)", found.method)
    assert float(dark) == pytest.approx(expected, abs=0.1)
    assert float(outside) == pytest.approx(expected, abs=4 * expected**0.5)


def test_a_gate_that_cuts_off_signal_is_reported(tmp_path) -> None:
    rng = np.random.default_rng(2)
    (problem,) = analysed(tmp_path, rng, Light(lifetime_ps=600.0), 1e-9).problems
    assert "cuts off 2" in problem
    assert "fiber_optics_efficiency" in problem
    (problem,) = analysed(tmp_path, rng, Light(), 15e-9).problems
    assert "gates overlap" in problem


def test_the_gate_finds_its_place_wherever_the_peak_is() -> None:
    """Round the end of the period, for gates wider and narrower than the peak."""
    rng = np.random.default_rng(3)
    n = 6568
    for at in (10, 3000, 6560):
        for bins in (25.0, 400.5, 6000.0):
            counts = np.bincount(
                (rng.normal(at, 20.0, 100_000).astype(int)) % n, minlength=n
            ).astype(float)
            counts[rng.integers(0, n, 30)] += 1.0
            start = gate._place(counts, bins, 30.0)
            middle = (start + bins / 2 - at + n / 2) % n - n / 2
            # a wide gate may lie anywhere within its slack, in the middle of it
            assert abs(middle) < 8.0
