"""Differences against derivatives on paper, inside of bounds and at them."""

from __future__ import annotations

import numpy as np
import pytest

from qdchar.analysis.statistics.derivatives import central_differences

LOW, HIGH = np.array([0.0, -np.inf]), np.array([3.0, 40.0])


def _curves(x: np.ndarray) -> np.ndarray:
    """Three functions of a and b for each row; a must be within its bounds, and b."""
    assert np.all((x >= LOW) & (x <= HIGH))
    a, b = x.T
    return np.stack([np.exp(a) * b, a**2 + 5 * b, np.sin(a * b / 30)], axis=1)


@pytest.mark.parametrize("a", [0.0, 1e-7, 1.3, 3.0 - 1e-7, 3.0])
@pytest.mark.parametrize("b", [-70.0, 0.2, 40.0])
def test_slopes_as_on_paper(a: float, b: float) -> None:
    slope = np.cos(a * b / 30) / 30
    expected = [[np.exp(a) * b, np.exp(a)], [2 * a, 5.0], [b * slope, a * slope]]
    found = central_differences(_curves, np.array([a, b]), LOW, HIGH)
    # steps of 6e-6 to 2e-4 (relative 6e-6) leave 1e-8 of the third derivative, and rounding 1e-9
    assert found == pytest.approx(np.array(expected), rel=1e-8, abs=2e-7)


def test_bounds_closer_than_a_step() -> None:
    low, high = np.array([2.0]), np.array([2.0 + 4e-6])
    for x in (2.0, 2.0 + 1e-6, 2.0 + 4e-6):
        at = np.array([x])

        def within(points: np.ndarray) -> np.ndarray:
            assert np.all((points >= low) & (points <= high))
            return points**2

        assert central_differences(within, at, low, high) == pytest.approx(2 * x, rel=1e-8)
