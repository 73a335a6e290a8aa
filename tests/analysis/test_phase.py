"""Phase randomisation against outputs drawn from the interferometer's formula."""

from __future__ import annotations

import numpy as np
import pytest
from click_scans import CLOCK_HZ, given, pulsed

from qdchar.analysis.models.interferometer import Interferometer
from qdchar.analysis.phase import _ends, analyse
from qdchar.errors import InconclusiveError
from qdchar.fit import Result

FRINGE_V = 24.0


def scanned(
    rng: np.random.Generator,
    coherence: float,
    *,
    r: float = 0.47,
    r2: float = 0.4,
    overlap: float = 0.9,
    blind: int = 2,
    dwell_s: float = 2e-3,
    stop_V: float = 77.0,
    ripple: float = 0.0,
) -> Result:
    """A source that fades by a third on the way, and detectors that differ by 8 %."""
    t, t2 = 1.0 - r, 1.0 - r2
    volts = np.linspace(5.0, stop_V, 36)
    light = 0.2 * np.linspace(1.0, 0.66, len(volts))
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * volts / FRINGE_V
    swing = 2 * np.sqrt(r * t * r2 * t2) * overlap * coherence * np.cos(phase)
    swing += ripple * rng.standard_normal(len(volts))
    outputs = (light * (t * t2 + r * r2 + swing), 0.92 * light * (t * r2 + r * t2 - swing))
    return analyse(
        pulsed(rng, "voltage_V", volts, outputs, dwell_s, blind),
        fringe=given("interferometer_fringe", FRINGE_V, 0.1),
        interferometer=Interferometer(
            first=given("interferometer_reflectance", r + rng.normal(0.0, 0.002), 0.002),
            second=given("interferometer_reflectance_2", r2 + rng.normal(0.0, 0.002), 0.002),
            orthogonal=given("interferometer_reflectance_orthogonal", 0.7, 0.3),
            overlap=given("interferometer_overlap", overlap + rng.normal(0.0, 0.001), 0.001),
        ),
        clock_rate_Hz=CLOCK_HZ,
        dead_pulses=blind,
    )


@pytest.mark.parametrize("coherence", [0.0, 0.002, 0.01, 0.3])
def test_intervals_cover(coherence) -> None:
    rng = np.random.default_rng(2)
    runs = 400
    inside = []
    for _ in range(runs):
        e = scanned(rng, coherence)["phase_visibility"]
        assert e.interval_68 is not None
        assert e.interval_95 is not None
        inside.append([low <= coherence <= high for low, high in (e.interval_68, e.interval_95)])
    within_68, within_95 = np.mean(inside, axis=0)
    assert within_68 > 0.683 - 3 * np.sqrt(0.68 * 0.32 / runs)
    assert within_95 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)
    if coherence >= 0.01:
        assert within_68 < 0.683 + 4 * np.sqrt(0.68 * 0.32 / runs)


def test_no_coherence_gives_an_upper_limit_that_is_never_too_good() -> None:
    rng = np.random.default_rng(3)
    found = [scanned(rng, 0.0)["phase_visibility"] for _ in range(100)]
    highs = np.array([e.interval_95[1] for e in found])
    u = found[0].u
    # without coherence the amplitude is below 1.18 s half of the time: then the limit is 2.8 s
    assert highs.min() == pytest.approx(2.85 * u, rel=0.1)
    assert np.mean([e.interval_95[0] == 0.0 for e in found]) > 0.9
    assert "(95 % interval)" in found[0].method


def test_ends_are_those_of_the_rice_distribution() -> None:
    """Brute force: how often noise takes an amplitude above what was seen."""
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((400_000, 2))
    for seen in (1.5, 3.0, 6.0):
        low, high = _ends(seen, 0.025)
        for true, share in ((low, 0.025), (high, 0.975)):
            if true == 0.0:
                continue
            amplitude = np.hypot(true + noise[:, 0], noise[:, 1])
            assert np.mean(amplitude > seen) == pytest.approx(share, abs=1e-3)
    assert _ends(1.5, 0.025)[0] == 0.0


def test_shares_that_scatter_are_a_problem() -> None:
    result = scanned(np.random.default_rng(5), 0.0, ripple=0.02)
    assert "scatter" in result.problems[0]
    assert (
        result["phase_visibility"].u
        > 2 * scanned(np.random.default_rng(5), 0.0)["phase_visibility"].u
    )


def test_less_than_a_fringe_is_refused() -> None:
    with pytest.raises(InconclusiveError, match="less than one fringe of 24 V"):
        scanned(np.random.default_rng(6), 0.0, stop_V=25.0)
