"""Peak finding for start values."""

from __future__ import annotations

import numpy as np
import pytest

from qdchar.analysis.models.find_peaks import find_peaks


def _lorentz(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    return 1 / (1 + (2 * (x - centre) / width) ** 2)


@pytest.mark.parametrize("downward", [False, True])
def test_peaks_in_noise_and_in_any_order(downward: bool) -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(0, 150, 300)
    y = rng.poisson(5 + 400 * sum(_lorentz(x, c, 4.5) for c in (20, 75.3, 129)))
    if downward:
        x, y = x[::-1], y[::-1]
    peaks = find_peaks(x, y.astype(float))
    assert [p.centre for p in peaks] == pytest.approx([20, 75.3, 129], abs=0.4)
    assert [p.fwhm for p in peaks] == pytest.approx([4.5] * 3, abs=1.0)


def test_faint_modes_and_cut_peaks_are_left_out() -> None:
    x = np.linspace(0, 100, 501)
    y = 1000 * (_lorentz(x, 50, 3) + 0.3 * _lorentz(x, 70, 3) + _lorentz(x, -0.5, 3))
    assert [p.centre for p in find_peaks(x, y)] == pytest.approx([50], abs=0.2)


def test_nothing_is_no_peak() -> None:
    assert find_peaks(np.arange(10.0), np.zeros(10)) == []
