"""The simulated piezo: hysteresis and creep as piezos show them."""

from __future__ import annotations

import numpy as np
import pytest

from qdchar.drivers.twin.piezo import Piezo, virgin_effective_V

FWHM_V = 0.763 / 45.0
ORDER_V = 442.25 / 45.0


def sweep(piezo: Piezo, volts: np.ndarray) -> np.ndarray:
    seen = []
    for v in volts:
        piezo.set(float(v), 0.0)
        seen.append(float(piezo.effective_V(0.0)))
    return np.array(seen)


def test_hysteresis_shifts_peaks_and_stretches_orders() -> None:
    """Scans up and down over 12 V, again and again: some 9 widths apart, orders 4 % too long."""
    piezo = Piezo(0.06, 0.0)
    volts = np.arange(25.0, 37.0, 0.005)
    sweep(piezo, volts)
    down = sweep(piezo, volts[::-1])[::-1]
    up = sweep(piezo, volts)
    middle = 0.5 * (up[0] + up[-1])
    apart_V = np.interp(middle, up, volts) - np.interp(middle, down, volts)
    assert apart_V / FWHM_V == pytest.approx(9.0, abs=0.5)
    first = up[0] + 0.1
    order_V = np.interp(first + ORDER_V, up, volts) - np.interp(first, up, volts)
    assert ORDER_V / order_V - 1.0 == pytest.approx(-0.035, abs=0.005)


def test_approaching_from_one_side_comes_back_to_the_same_place() -> None:
    piezo = Piezo(0.06, 0.0)
    seen = []
    for far in (60.0, 45.0, 33.0):
        for v in (far, 10.0, 31.0):
            piezo.set(v, 0.0)
        seen.append(float(piezo.effective_V(0.0)))
    assert seen == pytest.approx([seen[0]] * 3, abs=1e-12)
    piezo.set(50.0, 0.0)
    piezo.set(31.0, 0.0)
    assert float(piezo.effective_V(0.0)) - seen[0] > 5 * FWHM_V


def test_first_way_up_is_that_of_the_closed_form() -> None:
    piezo = Piezo(0.06, 0.012)
    for v in np.arange(0.0, 31.01, 0.5):
        piezo.set(float(v), 3.0)
    assert float(piezo.effective_V(3.0)) == pytest.approx(virgin_effective_V(31.0, 0.06))
    assert virgin_effective_V(31.0, 0.0) == 31.0


def test_creep_adds_its_share_per_decade() -> None:
    piezo = Piezo(0.0, 0.012)
    piezo.set(10.0, 100.0)
    at = piezo.effective_V(100.0 + np.array([0.0, 99.9, 999.9, 9999.9]))
    assert at[0] == 10.0
    assert np.diff(at)[1:] == pytest.approx(10.0 * 0.012, rel=1e-3)
    assert at[1] - at[0] == pytest.approx(10.0 * 0.012 * 3, rel=1e-3)


def test_history_is_merged_without_a_trace() -> None:
    """Thousands of changes, some far apart and opposite: as the full sum over all of them."""
    piezo = Piezo(0.0, 0.012)
    rng = np.random.default_rng(1)
    times, changes, now, last = [], [], 0.0, 0.0
    for k in range(5000):
        now += 100.0 if k % 500 == 0 else 0.02
        voltage = float(rng.uniform(0.0, 60.0) if k % 250 == 0 else last + rng.normal(0.0, 0.02))
        voltage = min(max(voltage, 0.0), 60.0)
        piezo.set(voltage, now)
        times.append(now)
        changes.append(voltage - last)
        last = voltage
    assert len(piezo._when) < 2500
    for later in (0.0, 0.3, 10.0, 1e4):
        age = now + later - np.array(times)
        exact = last + 0.012 * np.sum(np.array(changes) * np.log10(1.0 + age / 0.1))
        # within a hundredth of the cavity's width
        assert float(piezo.effective_V(now + later)) == pytest.approx(exact, abs=0.01 * FWHM_V)
