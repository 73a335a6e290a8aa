"""The receiver against the truth of the simulated lab, and against hand-made tags."""

from __future__ import annotations

import numpy as np
import pytest

from qdchar.errors import InconclusiveError, UsageError
from qdchar.exchange.pattern import Pattern
from qdchar.exchange.receiver import Detections, Receiver, detect
from qdchar.exchange.sifting import Announcement, find_offset
from qdchar.roles import TagBlock

from .labs import lab_of

PERIOD = 10_000
RECEIVER = Receiver((7, 5, 3, 9), 1e12 / PERIOD, 2e-9)


def test_clock_phase_and_delays_are_those_of_the_lab() -> None:
    lab = lab_of(Pattern(11, 1_500_000, 0.8, 4), seed=3)
    receiver = Receiver((1, 2, 3, 4), lab.link.clock_Hz, 3e-9)
    found = detect(lab.tag_blocks(), receiver, np.random.default_rng(1))
    true_period = 1e12 / lab.link.clock_Hz * (1 + lab.clock_error)
    # 45000 clicks over 20 ms of a pulse of 0.3 ns: 0.3 ns * sqrt(12 / 45000) / 1.5e6 pulses
    assert found.period_ps == pytest.approx(true_period, abs=2e-5)
    delays = np.asarray(found.delays_ps) - lab.delays_ps
    assert np.ptp(delays) < 15  # 0.08 ns over the root of 1000 clicks of the darkest detector
    offset = find_offset(lab.pattern, Announcement.of(found))
    assert offset == -round((lab.first_ps + delays.mean()) / true_period)
    # each kept click belongs to a pulse that was sent
    numbers = found.pulses + offset
    assert np.mean((numbers >= 0) & (numbers < lab.pattern.pulses)) > 0.999


def test_three_states_are_aligned_too() -> None:
    lab = lab_of(Pattern(12, 1_500_000, 0.8, 3), seed=4)
    receiver = Receiver((1, 2, 3, 4), lab.link.clock_Hz, 3e-9)
    found = detect(lab.tag_blocks(), receiver, np.random.default_rng(1))
    offset = find_offset(lab.pattern, Announcement.of(found))
    true_period = 1e12 / lab.link.clock_Hz * (1 + lab.clock_error)
    assert offset == -round((lab.first_ps + lab.link.lifetime_s * 1e12) / true_period)


def test_somebody_elses_pattern_is_not_aligned() -> None:
    lab = lab_of(Pattern(11, 400_000, 0.8, 4), seed=3)
    receiver = Receiver((1, 2, 3, 4), lab.link.clock_Hz, 3e-9)
    found = detect(lab.tag_blocks(), receiver, np.random.default_rng(1))
    other = Pattern(13, 400_000, 0.8, 4)
    with pytest.raises(InconclusiveError, match="no offset"):
        find_offset(other, Announcement.of(found))


def _block(times: list[int], channels: list[int], stop: int, overflow: bool = False) -> TagBlock:
    order = np.argsort(times, kind="stable")
    return TagBlock(
        np.asarray(times, np.int64)[order],
        np.asarray(channels, np.uint8)[order],
        0,
        stop,
        overflow,
    )


@pytest.fixture(scope="module")
def hand_made() -> Detections:
    """Pulse 20 k + 6 clicks on detector k % 4; some pulses click twice, and noise lies between."""
    times, channels = [], []
    for k in range(8000):
        start = PERIOD * (20 * k + 6)
        times.append(start + 3000)
        channels.append(RECEIVER.channels[k % 4])
        if k % 3 == 0:  # half a period from the pulse: outside of the gate
            times.append(start + PERIOD + 8500)
            channels.append(RECEIVER.channels[(k + 1) % 4])
        if k % 2 == 0:  # with k = 0, 4, ...: Z 0 and Z 1; with k = 2, 6, ...: X 0 and Z 1
            times.append(start + 3400)
            channels.append(RECEIVER.channels[1])
        times.append(start + 3100)  # a channel that is none of the detectors
        channels.append(8)
    block = _block(times, channels, PERIOD * (20 * 8000 + 6))
    return detect([block], RECEIVER, np.random.default_rng(2))


def test_gate_keeps_the_pulses(hand_made: Detections) -> None:
    assert hand_made.tags == 8000 + 2667 + 4000
    assert hand_made.gated == 12_000
    assert np.array_equal(np.diff(hand_made.pulses), np.full(7999, 20))
    low, high = hand_made.gate_ps
    assert high - low == pytest.approx(2000)
    assert hand_made.folded.sum() == hand_made.tags


def test_single_clicks_give_the_detectors_basis_and_outcome(hand_made: Detections) -> None:
    assert hand_made.bases[1::4].tolist() == [0] * 2000
    assert hand_made.outcomes[1::4].tolist() == [1] * 2000
    assert hand_made.bases[3::4].tolist() == [1] * 2000
    assert hand_made.outcomes[3::4].tolist() == [1] * 2000


def test_a_coin_picks_among_several_clicks(hand_made: Detections) -> None:
    """5 sigma of 2000 fair coins are 0.056."""
    assert hand_made.multiple_clicks == 4000
    assert not hand_made.bases[0::4].any()
    assert hand_made.outcomes[0::4].mean() == pytest.approx(0.5, abs=0.056)
    x = hand_made.bases[2::4] == 1
    assert x.mean() == pytest.approx(0.5, abs=0.056)
    # the outcome is that of the detector that is picked: X 0, or Z 1
    assert np.array_equal(hand_made.outcomes[2::4], 1 - x.astype(np.uint8))


def test_lost_tags_and_silent_detectors_are_refused() -> None:
    times = [PERIOD * 7 * k + 3000 for k in range(2000)]
    with pytest.raises(InconclusiveError, match="tags were lost"):
        detect(
            [_block(times, [7] * 2000, times[-1] + 1, overflow=True)],
            RECEIVER,
            np.random.default_rng(1),
        )
    with pytest.raises(InconclusiveError, match=r"detector 2 \(X0\) shows no pulses"):
        detect([_block(times, [7, 5] * 1000, times[-1] + 1)], RECEIVER, np.random.default_rng(1))
    with pytest.raises(InconclusiveError, match="empty"):
        detect([], RECEIVER, np.random.default_rng(1))


def test_a_gate_longer_than_the_period_is_refused() -> None:
    with pytest.raises(UsageError, match="a gate of"):
        Receiver((1, 2, 3, 4), 76.13e6, 14e-9)
    with pytest.raises(UsageError, match="four different"):
        Receiver((1, 2, 3, 3), 76.13e6, 1e-9)
