"""The detectors' ratio in two positions of the light path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdchar.analysis.detection.reception import split_problems
from qdchar.estimate import Estimate
from qdchar.raw_data import About, TagRun

CLOCK_HZ, DEAD_PULSES = 80e6, 3.0
P = Estimate(name="detector_polarisation", value=0.04, method="given", budget=())


def run(name: str, a: float, b: float) -> TagRun:
    """Photons detected per pulse by detectors that are then dead for three pulses; a second."""
    pulses = CLOCK_HZ
    clicks = np.array([[round(pulses * p / (1 + DEAD_PULSES * p)) for p in (a, b)]])
    return TagRun(About("test"), Path(name), 1, 2, 0, 1, 1.0, clicks, np.ones(1))


# 4 %: A 2 % above its mean and B 2 % below, then the other way round, is (1.02/0.98)^2 = 8.3 %
@pytest.mark.parametrize(("factor", "named"), [(1.08, False), (1.0, False), (1.09, True)])
def test_the_ratio_changes_by_no_more_than_polarisation_can(factor: float, named: bool) -> None:
    first, second = run("before.h5", 0.3, 0.25), run("after.h5", 0.1 * factor, 0.1 * 0.25 / 0.3)
    problems = split_problems(
        first, second, clock_rate_Hz=CLOCK_HZ, dead_pulses=DEAD_PULSES, polarisation=P
    )
    assert bool(problems) is named
    assert all("+9 %" in text and "detector_polarisation" in text for text in problems)
