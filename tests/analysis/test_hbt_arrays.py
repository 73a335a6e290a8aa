"""g2(0) from arrays: the same tags in ticks and in seconds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qdchar.analysis import hbt
from qdchar.errors import RecordError, UsageError
from qdchar.tags import from_arrays

PERIOD_PS = 12_500
KEPT = 0.2
"""Share of the pulses on which both detectors would click that keep both clicks."""


def pulses(rng: np.random.Generator, n: int, p: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Times [ps] and channels 3 and 7 of a pulsed source, and its g2(0)."""
    a, b = rng.random((2, n)) < p
    drop = a & b & (rng.random(n) >= KEPT)
    first = rng.random(n) < 0.5
    a, b = a & ~(drop & first), b & ~(drop & ~first)
    emitted = [np.flatnonzero(clicks) * PERIOD_PS for clicks in (a, b)]
    times = np.concatenate(emitted) + rng.integers(0, 300, sum(map(len, emitted))) + 40_000
    channels = np.repeat([3, 7], [len(e) for e in emitted])
    order = np.argsort(times, kind="stable")
    singles = p - 0.5 * (1.0 - KEPT) * p**2
    return times[order], channels[order], KEPT * p**2 / singles**2


def test_ticks_and_seconds_give_the_g2_of_the_source() -> None:
    times, channels, truth = pulses(np.random.default_rng(5), 400_000, 0.1)
    g2 = hbt.analyse(times, channels, resolution_s=1e-12)["g2_zero"]
    assert g2.u < 0.02
    assert abs(g2.value - truth) < 4.0 * g2.u
    ticks = hbt.analyse(times // 4, channels, resolution_s=4e-12, detectors=(3, 7))["g2_zero"]
    seconds = hbt.analyse(times * 1e-12, channels)["g2_zero"]
    assert seconds.value == pytest.approx(g2.value, rel=1e-12)
    assert ticks.value == pytest.approx(g2.value, abs=0.1 * g2.u)


def test_whole_picoseconds_survive_the_conversion() -> None:
    tags = from_arrays(np.array([3, 1 << 40]), np.array([1, 2]), resolution_s=2.5e-12)
    (chunk,) = tags.chunks()
    assert chunk.times_ps.tolist() == [7, 5 * (1 << 39)]  # 7.5 ps is floored, as a tagger does
    assert tags.resolution_ps == 2.5


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="resolution_s=1e-12"):
        hbt.analyse(np.array([1, 2]), np.array([0, 1]))
    with pytest.raises(UsageError, match="lost the picosecond"):
        hbt.analyse(np.array([1.0, 9000.0]), np.array([0, 1]))
    with pytest.raises(UsageError, match="too long"):
        from_arrays(np.array([0, 1 << 62]), np.array([0, 1]), resolution_s=1e-9)
    with pytest.raises(UsageError, match="0 to 255"):
        from_arrays([0.0, 1e-9], [0, 256])
    with pytest.raises(UsageError, match="not a finite"):
        from_arrays([0.0, np.nan], [0, 1])
    with pytest.raises(UsageError, match="analyse_file"):
        hbt.analyse(str(tmp_path / "tags.ptu"))  # type: ignore[call-overload]
    with pytest.raises(RecordError, match="sort the tags"):
        from_arrays([2e-9, 1e-9], [0, 1])
