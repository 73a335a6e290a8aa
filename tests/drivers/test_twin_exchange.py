"""The simulated exchange against the key rate's model of the receiver, and its eavesdroppers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from qdchar.drivers.twin.exchange_lab import (
    Eavesdropper,
    ExchangeLab,
    InterceptResend,
    PhotonSplitting,
)
from qdchar.errors import UsageError
from qdchar.exchange.pattern import Pattern
from tests.exchange.labs import LINK, lab_of

PATTERN = Pattern(41, 3_000_000, 0.75, 4)


def _clicks(lab: ExchangeLab) -> tuple[np.ndarray, np.ndarray]:
    """True pulse (nearest, by the lab's own clock) and detector of each tag."""
    blocks = list(lab.tag_blocks())
    assert blocks[0].start_ps == 0
    for before, after in pairwise(blocks):
        assert before.stop_ps == after.start_ps
    times = np.concatenate([b.times_ps for b in blocks])
    detectors = np.concatenate([b.channels for b in blocks]) - 1
    assert np.all(np.diff(times) >= 0)
    period_ps = 1e12 / lab.link.clock_Hz * (1 + lab.clock_error)
    place = (times - lab.delays_ps[detectors] - lab.first_ps) / period_ps
    return np.floor(place + 0.05).astype(np.int64), detectors


def _errors(lab: ExchangeLab) -> list[float]:
    """Share of wrong outcomes in Z and X, where the bases agree."""
    pulses, detectors = _clicks(lab)
    sent = (pulses >= 0) & (pulses < lab.pattern.pulses)
    states = lab.pattern.states(pulses[sent])
    detectors = detectors[sent]
    rates = []
    for basis in (0, 1):
        both = (states >> 1 == basis) & (detectors >> 1 == basis)
        rates.append(float(np.mean((states & 1)[both] != (detectors & 1)[both])))
    return rates


def test_clicks_of_each_detector_are_those_of_the_link() -> None:
    """Rates by hand: photons that arrive, background light by the splitter, dark counts."""
    lab = lab_of(PATTERN, seed=5, dark_Hz=(3e5, 1e5, 7e4, 2e4), background_Hz=4e5)  # type: ignore[arg-type]
    _, detectors = _clicks(lab)
    link = lab.link
    eta = link.attenuation * link.channel * link.receiver
    photons = (link.one_photon + 2 * link.two_photons) * eta * PATTERN.pulses
    seconds = PATTERN.pulses / link.clock_Hz
    expected = []
    for basis, share in ((0, link.to_z), (1, 1 - link.to_z)):
        for outcome in (0, 1):
            noise = (link.dark_Hz[2 * basis + outcome] + link.background_Hz * share / 2) * seconds
            expected.append(photons * share / 2 + noise)
    found = np.bincount(detectors, minlength=4)
    assert np.all(np.abs(found - expected) < 5 * np.sqrt(expected))


def test_errors_are_the_misalignment() -> None:
    lab = lab_of(PATTERN, seed=6, background_Hz=0.0, misalignment=0.05)
    # about 50000 clicks in Z and 4000 in X: 5 sigma are 0.005 and 0.018
    z, x = _errors(lab)
    assert z == pytest.approx(0.05, abs=0.006)
    assert x == pytest.approx(0.05, abs=0.018)


def test_dead_time_is_between_clicks_of_a_detector_and_costs_what_it_should() -> None:
    dead_s = 200e-9
    lab = lab_of(PATTERN, seed=7, dead_time_s=dead_s, channel=1.0, jitter_s=1e-15)
    blocks = list(lab.tag_blocks())
    times = np.concatenate([b.times_ps for b in blocks])
    channels = np.concatenate([b.channels for b in blocks])
    live = lab_of(PATTERN, seed=7, channel=1.0)
    free = np.concatenate([b.channels for b in live.tag_blocks()])
    seconds = PATTERN.pulses / lab.link.clock_Hz
    for channel in (1, 2, 3, 4):
        gaps = np.diff(times[channels == channel])
        assert gaps.min() >= dead_s * 1e12 - 2 * lab.link.resolution_ps
        rate = np.count_nonzero(free == channel) / seconds
        clicks = np.count_nonzero(channels == channel)
        # 1 / (1 + r tau), to a half period of 13 ns in 200, and 5 sigma
        expected = rate * seconds / (1 + rate * dead_s)
        assert clicks == pytest.approx(expected, rel=0.03)


def test_intercepted_pulses_are_wrong_in_one_of_four() -> None:
    lab = lab_of(PATTERN, 8, InterceptResend(0.4), misalignment=0.0, background_Hz=0.0)
    z, x = _errors(lab)
    assert z == pytest.approx(0.4 / 4, abs=0.008)
    assert x == pytest.approx(0.4 / 4, abs=0.025)


@pytest.mark.parametrize("channel", [0.2, 1e-3])
def test_splitting_shows_in_no_count_and_knows_the_pairs(channel: float) -> None:
    """At 30 dB all that arrives can come from pairs."""
    changes = {"channel": channel, "background_Hz": 0.0}
    alone = lab_of(PATTERN, 9, None, **changes)
    tapped = lab_of(PATTERN, 9, PhotonSplitting(), **changes)
    n_alone, n_tapped = len(_clicks(alone)[0]), len(_clicks(tapped)[0])
    assert abs(n_alone - n_tapped) < 5 * np.sqrt(n_alone + n_tapped)
    known = np.concatenate(tapped.tapped_pulses)
    pairs = LINK.two_photons * LINK.attenuation**2 * LINK.receiver * PATTERN.pulses
    expected = min(pairs, sum(alone.probabilities()) * PATTERN.pulses)
    assert abs(len(known) - expected) < 5 * np.sqrt(expected)
    assert np.all(np.diff(known) > 0)
    assert set(known) <= set(_clicks(tapped)[0])


@pytest.mark.parametrize("eavesdropper", [None, PhotonSplitting(), InterceptResend(0.2)])
def test_the_same_seed_gives_the_same_tags(eavesdropper: Eavesdropper | None) -> None:
    pattern = Pattern(42, 200_000, 0.75, 3)
    first, again = (
        np.concatenate([b.times_ps for b in lab_of(pattern, 10, eavesdropper).tag_blocks()])
        for _ in range(2)
    )
    assert np.array_equal(first, again)


@pytest.mark.parametrize("clock_Hz", [1e6, 76.13e6, 2e8, 1e9])
def test_the_first_pulse_comes_within_the_pulses_that_alice_searches(clock_Hz: float) -> None:
    """And within 100 us, as clocks that are set over a network."""
    for seed in range(30):
        first_s = lab_of(PATTERN, seed, clock_Hz=clock_Hz).first_ps * 1e-12
        assert 0 < first_s < min(8192 / clock_Hz, 100e-6)


def test_an_impossible_share_is_refused() -> None:
    with pytest.raises(UsageError, match=r"intercept=1.2"):
        InterceptResend(1.2)
