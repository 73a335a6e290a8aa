"""The blinking amplitude's uncertainty, against a telegraph signal that this file samples."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from qdchar.analysis.dead_time import source_on_fraction
from qdchar.analysis.detection.blinking import blinks, with_dark_times
from qdchar.analysis.statistics.jackknife import jackknife
from qdchar.estimate import Contribution, Estimate

BLOCKS = 40


def light(
    rng: np.random.Generator, on_fraction: float, tau_s: float, duration_s: float
) -> NDArray[np.float64]:
    """Part of each block that a telegraph signal is on, from its exponential times."""
    times, states, t, on = [0.0], [], 0.0, bool(rng.random() < on_fraction)
    while t < duration_s:
        states.append(float(on))
        t += rng.exponential(tau_s / (1.0 - on_fraction if on else on_fraction))
        times.append(min(t, duration_s))
        on = not on
    on_time = np.concatenate([[0.0], np.cumsum(np.diff(times) * states)])
    edges = np.interp(np.linspace(0.0, duration_s, BLOCKS + 1), times, on_time)
    return np.diff(edges) / (duration_s / BLOCKS)


def estimate(value: float, u: float) -> Estimate:
    budget = (Contribution("side peaks, run", u),)
    return Estimate(name="blinking_amplitude", value=value, method="", budget=budget)


@pytest.mark.parametrize(
    ("on_fraction", "tau_s", "duration_s"),
    [(0.939, 0.526e-3, 0.04), (0.933, 0.73e-3, 0.08), (0.74, 0.47e-3, 0.08)],
)
def test_few_dark_times_make_no_amplitude_too_certain(
    on_fraction: float, tau_s: float, duration_s: float
) -> None:
    """Pairs of near pulses count the time on, singles its square: b + 1 = 1/(mean light)."""
    rng = np.random.default_rng(3)
    true = 1.0 / on_fraction - 1.0
    alone, pulls = [], []
    for _ in range(250):
        own = light(rng, on_fraction, tau_s, duration_s)
        u = jackknife(lambda table: 1.0 / float(table.mean()) - 1.0, own[:, None])
        seen = estimate(1.0 / float(own.mean()) - 1.0, max(u, 1e-3))
        # 0.12 s of other recordings, as the recipe `quick` has by then, in stretches of 12 ms
        others = light(rng, on_fraction, tau_s, 0.12).reshape(-1, 4).mean(axis=1)
        scatter = float(others.std(ddof=1) / others.mean()) * np.sqrt(0.012 / duration_s)
        known = with_dark_times(seen, scatter, "run")
        assert known.value == seen.value
        alone.append((seen.value - true) / seen.u)
        pulls.append((known.value - true) / known.u)
    # a normal pull exceeds 3 in 0.3 %; nine degrees of freedom know the flicker to a quarter, and
    # one that is half of the true one, as in 1 %, makes many of its pulls so large
    assert np.mean(np.abs(pulls) > 3.0) <= 0.02 < np.mean(np.abs(alone) > 3.0)
    assert 0.6 < np.std(pulls) < 1.15


def test_what_is_added_makes_the_flicker_s_uncertainty() -> None:
    """1 + b = 1.25 times 4 %, and one dark time more: b + 0.0032 for 0.25."""
    one_more = np.sqrt(1.0 + 0.0032 / 0.25)
    known = with_dark_times(estimate(0.25, 0.03), 0.04, "run")
    assert known.u == pytest.approx(0.05 * one_more)
    assert with_dark_times(estimate(0.25, 0.06), 0.04, "run").u == pytest.approx(0.06)
    assert with_dark_times(estimate(0.25, 0.03), 0.0, "run").u == pytest.approx(0.03)


def test_how_much_a_source_blinks_is_another_question_than_whether() -> None:
    """0.06(1) shows it; that other recordings differ by 0.03 does not make it doubtful."""
    known = with_dark_times(estimate(0.06, 0.01), 0.03, "run")
    assert known.u > 0.03
    assert blinks(known)
    assert source_on_fraction(known).value == pytest.approx(1.0 / 1.06)
    assert not blinks(estimate(0.02, 0.01))
    assert not blinks(None)
