from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import InconclusiveError, RecordError
from qdchar.tags import PulseClock, open_tags, sync_clock

PERIOD = 13_135.426244581637  # 76.13 MHz


def sync_tags(
    rng: np.random.Generator, n: int, divider: int, jitter: float, keep: float = 1.0
) -> np.ndarray:
    index = np.flatnonzero(rng.random(n) < keep)
    exact = index.astype(np.longdouble) * np.longdouble(PERIOD * divider)
    return 10**16 + np.rint(exact + rng.normal(0, jitter, len(index))).astype(np.int64)


@pytest.mark.parametrize(("divider", "keep"), [(1, 1.0), (16, 1.0), (16, 0.7), (1, 0.05)])
def test_period_and_t0_with_true_uncertainties(divider: int, keep: float) -> None:
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tags = sync_tags(rng, 4_000, divider, 20.0, keep)
        clock = sync_clock(tags, divider, period_guess_ps=PERIOD * 1.003 if keep < 0.1 else None)
        pulls.append((clock.period_ps - PERIOD) / clock.u_period_ps)
        assert clock.rms_ps == pytest.approx(20.0, rel=0.25)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(40)
    assert 0.65 < np.std(pulls) < 1.4  # three sigma of a standard deviation from 40


def test_t0_is_a_pulse() -> None:
    rng = np.random.default_rng(1)
    tags = sync_tags(rng, 4_000, 1, 20.0)
    clock = sync_clock(tags)
    whole, fraction = clock.origin()
    phase = (np.longdouble(whole - 10**16) + np.longdouble(fraction)) / np.longdouble(PERIOD) % 1
    assert min(phase, 1 - phase) * PERIOD < 5 * clock.u_t0_ps


def test_a_single_long_gap_is_counted_right() -> None:
    tags = sync_tags(np.random.default_rng(3), 20_000, 16, 20.0)
    clock = sync_clock(np.delete(tags, np.s_[5_000:14_000]), 16)
    assert abs(clock.period_ps - PERIOD) < 5 * clock.u_period_ps


def test_real_filtered_sync(hbt_data: Path) -> None:
    source = open_tags(hbt_data / "19_qutag_80MHz_HBT_sync_filtered.qutag")
    tags = np.concatenate([c.times_ps[c.channels == 5] for c in source.chunks()])
    clock = sync_clock(tags, period_guess_ps=12_500.0)
    assert clock.frequency_hz == pytest.approx(80.03e6, rel=1e-3)
    assert clock.rms_ps < 1_000


def test_what_is_no_clock_is_refused() -> None:
    rng = np.random.default_rng(8)
    with pytest.raises(InconclusiveError, match="too few"):
        sync_clock([1, 2])
    with pytest.raises(InconclusiveError):
        sync_clock(np.cumsum(rng.exponential(10_000, 3_000)).astype(np.int64))
    with pytest.raises(RecordError, match="time order"):
        sync_clock([5, 3, 9])
    with pytest.raises(RecordError, match="not a clock"):
        PulseClock(float("nan"))
