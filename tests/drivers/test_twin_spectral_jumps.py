"""Jumps of the line: their sizes and times, and the line that is left on average."""

from __future__ import annotations

import numpy as np
import pytest

from qdchar.drivers.twin.imperfections import Deviations, Imperfections
from qdchar.drivers.twin.optics import etalon_transmission
from qdchar.drivers.twin.spectral_jumps import SpectralJumps

SIGMA = 0.542e9


def jumps(size: float) -> SpectralJumps:
    return SpectralJumps(SIGMA, size, np.random.SeedSequence(4))


def test_a_line_keeps_its_place_between_jumps() -> None:
    line = jumps(10.0)
    assert line.offset_Hz(7.201) == line.offset_Hz(7.229)
    assert line.offset_Hz(7.201) != line.offset_Hz(7.231)
    assert jumps(0.0).offset_Hz(7.2) == 0.0
    assert jumps(0.0).fast_Hz == SIGMA


@pytest.mark.parametrize("size", [3.0, 10.0])
def test_both_time_scales_jump_as_far(size: float) -> None:
    """Slow places are what is left in the mean over 3 s; 400 of them are known to 3.5 %."""
    line = jumps(size)
    offsets = np.array(
        [[line.offset_Hz(3.0 * k + 0.03 * j + 0.015) for j in range(100)] for k in range(400)]
    )
    slow, fast = offsets.mean(axis=1), offsets - offsets.mean(axis=1, keepdims=True)
    assert slow.std() == pytest.approx(0.03 * size * SIGMA, rel=0.12)
    assert fast.std() == pytest.approx(0.03 * size * SIGMA, rel=0.02)


def test_the_line_averaged_over_a_long_time_is_as_wide_as_without_jumps() -> None:
    """Seen through an etalon at its peak and on its slope."""
    line = jumps(10.0)
    offsets = np.array([line.offset_Hz(3.0 * k + 0.015) for k in range(4000)])
    for detuning_Hz in (0.0, 4e9):
        passed = etalon_transmission(detuning_Hz - offsets, 100e9, 5.4e9, 2.1e9, line.fast_Hz)
        without = etalon_transmission(detuning_Hz, 100e9, 5.4e9, 2.1e9, SIGMA)
        u = passed.std() / np.sqrt(len(passed))
        assert passed.mean() == pytest.approx(float(without), abs=4 * u)


def test_a_seed_keeps_its_other_errors_whatever_jumps() -> None:
    with_jumps, without = (
        Deviations.from_seed(Imperfections(spectral_jumps=size), 11) for size in (1.0, 0.0)
    )
    assert with_jumps.certified == without.certified
    assert with_jumps.plates_rad == without.plates_rad
    assert with_jumps.loss_dB == without.loss_dB
