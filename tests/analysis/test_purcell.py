"""Lifetimes and count rates against detuning, simulated from the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from click_scans import coverage, given

from qdchar.analysis import purcell
from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result

F0, SLOW_S, CENTRE_V, WIDTH_V = 14.0, 1.137e-9, 31.002, 0.763 / 45.0
RESPONSE_S = 0.2e-12  # error of all lifetimes alike
TRUTH = {
    "purcell_factor": F0,
    "beta_factor": F0 / (1 + F0),
    "lifetime_on_resonance": SLOW_S / (1 + F0),
    "lifetime_detuned": SLOW_S,
    "cavity_resonance_voltage": CENTRE_V,
    "cavity_fwhm_voltage": WIDTH_V,
}


def _fit(
    rng: np.random.Generator, reach: float = 2.0, points: int = 13, start_V: float = 31.0, **more
) -> Result:
    """Points up to `reach` widths to either side; 0.3 % on lifetimes and rates."""
    volts = start_V + WIDTH_V * np.linspace(-reach, reach, points)
    x = 2 * (volts - CENTRE_V) / WIDTH_V
    factor = F0 / (1 + x**2)
    t1, rate = SLOW_S / (1 + factor), 2e7 * factor / (1 + factor)
    response = RESPONSE_S * rng.standard_normal()
    lifetimes = [
        Estimate(
            name="lifetime",
            value=float(t * (1 + 0.003 * rng.standard_normal()) + response),
            unit="s",
            definition="",
            method="",
            budget=(
                Contribution(f"lifetime run {i}", float(0.003 * t)),
                Contribution("response", RESPONSE_S, "B"),
            ),
        )
        for i, t in enumerate(t1)
    ]
    seen = rate * (1 + 0.003 * rng.standard_normal(points))
    return purcell.analyse(volts, lifetimes, seen, 0.003 * rate, **more)


@pytest.mark.parametrize("reach", [1.0, 2.0, 10.0])
def test_intervals_cover(reach: float) -> None:
    rng = np.random.default_rng(1)

    def run() -> dict[str, Estimate]:
        return {e.name: e for e in _fit(rng, reach).estimates}

    for name, (mean, sd, at_68, at_95) in coverage(run, TRUTH, 150).items():
        # 150 runs: mean to 0.08, sd to 0.058, coverages to 0.038 and 0.018; three of each
        assert abs(mean) < 0.25, name
        assert 0.82 < sd < 1.18, name
        assert 0.56 < at_68 < 0.8, name
        assert at_95 > 0.895, name


def test_what_lifetimes_share_stays_shared() -> None:
    """All lifetimes are off alike: so is the one on resonance, by exactly as much."""
    result = _fit(np.random.default_rng(2))
    part = {c.source: c for c in result["lifetime_on_resonance"].budget}["response"]
    assert part.u == pytest.approx(RESPONSE_S, rel=0.02)
    assert part.kind == "B"


def test_rates_and_lifetimes_agree_on_the_cavity() -> None:
    """The rate's width at half maximum is sqrt(1 + F0) times that of 1/T1 above its floor."""
    result = _fit(np.random.default_rng(3), reach=8.0, points=41)
    lifetimes, rates = result.fits[0].curves

    def width(x: np.ndarray, y: np.ndarray) -> float:
        inside = x[y > y.max() / 2]
        return float(inside[-1] - inside[0])

    decay = 1 / lifetimes.y_line - 1 / result["lifetime_detuned"].value
    ratio = width(rates.x_line, rates.y_line) / width(lifetimes.x_line, decay)
    # 400 points over 16 widths: a width is known to 0.04 of itself
    assert ratio == pytest.approx(math.sqrt(1 + F0), rel=0.06)
    assert result.problems == ()


def test_calibrations_give_width_in_metres_and_hertz() -> None:
    result = _fit(
        np.random.default_rng(4),
        metres_per_volt=given("scale", 45e-9, 0.45e-9, "m/V"),
        hertz_per_volt=given("tuning", 35e18 * 45e-9, 0.0, "Hz/V"),
    )
    displacement, frequency = result["cavity_fwhm_displacement"], result["cavity_fwhm"]
    assert displacement.value == pytest.approx(0.763e-9, rel=0.01)
    assert displacement.u / displacement.value == pytest.approx(0.01, rel=0.1)
    assert frequency.value == pytest.approx(26.7e9, rel=0.01)


def test_what_cannot_be_said_is_not() -> None:
    rng = np.random.default_rng(5)
    assert "lies outside the points" in _fit(rng, 1.0, start_V=31.023).problems[0]
    with pytest.raises(InconclusiveError, match="Purcell fit"):
        _fit(rng, 1.0, start_V=31.06)
    assert "extrapolation" in _fit(rng, 0.3).problems[0]
    with pytest.raises(InconclusiveError, match="at least 4 points"):
        _fit(rng, points=3)
    same = [given("lifetime", 1e-10 * (1 + k), 1e-12, "s") for k in range(4)]
    with pytest.raises(InconclusiveError, match="uncertainties of their own"):
        purcell.analyse(np.arange(4.0), same, np.ones(4), np.ones(4))
