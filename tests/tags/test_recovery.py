from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qdchar.errors import InconclusiveError
from qdchar.tags import TagArrays, folded_histogram, open_tags, recover_clock
from qdchar.tags.timing.clock_recovery import RecoveredClock

PERIOD = 1e12 / 76.13e6
DECAY, JITTER, STEP = 76.0, 25.0, 42

Offset = Callable[[np.ndarray], np.ndarray]  # seconds -> picoseconds by which pulses come late


def photons(
    seed: int, offset: Offset, *, duration_s: float = 10.0, rate: float = 2e5, dark: float = 43.0
) -> TagArrays:
    rng = np.random.default_rng(seed)
    n = int(duration_s * rate)
    nominal = rng.integers(0, int(duration_s / PERIOD * 1e12), n) * np.longdouble(PERIOD)
    times = nominal + offset(nominal * 1e-12) + rng.exponential(DECAY, n) + rng.normal(0, JITTER, n)
    background = rng.uniform(0, duration_s * 1e12, int(dark * duration_s)).astype(np.longdouble)
    times = np.sort(np.concatenate([times, background]))
    tags = (np.floor(times / STEP) * STEP).astype(np.int64)
    return TagArrays(
        tags, rng.integers(0, 2, len(tags)), start_ps=-10_000,
        stop_ps=int(duration_s * 1e12) + 10**7, resolution_ps=STEP,
    )  # fmt: skip


def folding_errors(found: RecoveredClock, offset: Offset, duration_s: float) -> np.ndarray:
    """Where the true pulses fall in the recovered clock, at 2000 moments of the run [ps]."""
    pulses = np.floor(np.linspace(0, duration_s, 2_002)[1:-1] / PERIOD * 1e12)
    nominal = pulses * np.longdouble(PERIOD)
    # a photon is late by the decay on average, a tag early by half a step
    true = nominal + offset(nominal * 1e-12) + DECAY - STEP / 2
    whole, fraction = found.clock.origin()
    turns = (true - found.offset_at(true.astype(np.int64)) - whole - fraction) / np.longdouble(
        found.clock.period_ps
    )
    return np.asarray((turns - np.rint(turns)) * PERIOD, np.float64)


def linear(rate: float) -> Offset:
    return lambda s: 0.5 * rate * s**2 * 1e12


@pytest.mark.parametrize(
    "offset",
    [linear(0.0), linear(1e-10), linear(-1e-9), lambda s: 1e-9 * 0.5 * np.sin(2 * s) * 1e12],
    ids=["steady", "1e-9 in the run", "1e-9 a second", "to and fro by 1e-9"],
)
def test_folding_error_stays_below_5_ps_through_drift(offset: Offset) -> None:
    source = photons(1, offset)
    found = recover_clock(source)
    errors = folding_errors(found, offset, 10.0)
    assert np.abs(errors).max() < 5.0
    assert abs(errors.mean()) < 1.0
    assert found.events == ()
    # the retimed tags make a peak as wide as decay, jitter, step and their mean over 1 ps
    folded = folded_histogram(
        found.retimed(source), 0, found.clock, n_bins=13_135, offset_ps=-1_000
    )
    phases = folded.edges_ps[:-1]
    near = slice(0, 3_000)  # background is 43 clicks a second over the whole period
    mean = np.average(phases[near], weights=folded.counts[near])
    rms = np.sqrt(np.average((phases[near] - mean) ** 2, weights=folded.counts[near]))
    expected = np.sqrt(DECAY**2 + JITTER**2 + STEP**2 / 12)
    assert rms == pytest.approx(expected, abs=1.0)  # background adds 0.4 ps


def test_drift_and_period_are_measured_within_their_uncertainty() -> None:
    pulls = []
    for seed in range(12):
        found = recover_clock(photons(seed, linear(1e-9), duration_s=2.0))
        steady = recover_clock(photons(seed, linear(0.0), duration_s=2.0)).clock
        pulls.append(
            (
                (found.drift_per_s - 1e-9) / found.u_drift_per_s,
                (steady.period_ps - PERIOD) / steady.u_period_ps,
            )
        )
    assert np.abs(np.mean(pulls, axis=0)).max() < 4 / np.sqrt(12)
    assert np.std(pulls, axis=0).max() < 1.8


def test_offsets_have_true_uncertainties() -> None:
    found = recover_clock(photons(3, linear(0.0)))
    pulls = found.offsets_ps / found.u_offsets_ps
    assert 0.85 < pulls.std() < 1.15  # 200 knots: 5 % in the standard deviation


def test_real_t3_file_gives_its_header_period(hbt_data: Path) -> None:
    source = open_tags(hbt_data / "200213_HH400_T3_80MHz_HBT.ptu")
    header = source.metadata.sync_period_ps
    assert header is not None
    for channel in (0, 1):
        found = recover_clock(source, channels=(channel,))
        assert abs(found.clock.period_ps - header) < 4 * found.clock.u_period_ps
        assert found.clock.u_period_ps < 1e-8
        assert found.events == ()


def test_a_jump_is_reported_where_it_happens() -> None:
    found = recover_clock(photons(4, lambda s: np.where(s < 1.3, 0.0, 400.0), duration_s=2.0))
    assert [e.kind for e in found.events[:1]] == ["jump"]
    assert found.events[0].time_s == pytest.approx(1.3, abs=2 * found.block_s)


def test_a_gap_is_reported_and_bridged() -> None:
    full = photons(5, linear(1e-10), duration_s=4.0)
    chunk = next(full.chunks(10**8))
    keep = (chunk.times_ps < 1.5e12) | (chunk.times_ps > 2.5e12)
    source = TagArrays(
        chunk.times_ps[keep], chunk.channels[keep], start_ps=full.start_ps, stop_ps=full.stop_ps,
        resolution_ps=STEP,
    )  # fmt: skip
    found = recover_clock(source)
    assert [e.kind for e in found.events] == ["lost", "relocked"]
    errors = folding_errors(found, linear(1e-10), 4.0)
    assert np.abs(errors).max() < 25.0  # linear across the gap: 1e-10 * 1 s**2 / 8 = 12.5 ps


def test_what_has_no_clock_is_refused() -> None:
    rng = np.random.default_rng(7)
    noise = np.sort(rng.integers(0, 10**12, 200_000))
    source = TagArrays(noise, np.zeros(len(noise)))
    with pytest.raises(InconclusiveError, match="no peaks"):
        recover_clock(source)
    with pytest.raises(InconclusiveError, match="no pulses at a period near"):
        recover_clock(source, period_guess_ps=PERIOD)
    with pytest.raises(InconclusiveError, match="too few"):
        recover_clock(TagArrays([1, 2, 3], [0, 0, 0]))
    with pytest.raises(InconclusiveError, match="no pulses at a period near"):
        recover_clock(photons(8, linear(0), duration_s=0.5), period_guess_ps=PERIOD * 1.01)
