"""Bob's receiver: from the time tags of four detectors to bases and outcomes of pulses.

The tags hold photons and nothing else: no pulse clock, and no mark of the first pulse. The clock is
recovered from the photons; each detector's delay too. A gate around the pulses keeps those
clicks that can be photons, and if several detectors clicked in one gate a coin picks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError, UsageError
from qdchar.roles import TagBlock
from qdchar.tags.source import TagArrays
from qdchar.tags.timing.clock_recovery import RecoveredClock, recover_clock

Bits = NDArray[np.uint8]

_BINS = 1024
"""Steps of a pulse period in which the gate is placed."""

_CLEAR = 20.0
"""Least Rayleigh power of a detector's pulses; that of noise is exponential with mean 1."""


@dataclass(frozen=True)
class Receiver:
    """What Bob knows of his receiver and of the transmitter's clock.

    Attributes
    ----------
    channels
        Channel numbers of the detectors: Z outcome 0, Z outcome 1, X outcome 0, X outcome 1.
    nominal_clock_Hz
        Pulse rate, to 1e-4.
    gate_s
        Acceptance window per pulse.
    """

    channels: tuple[int, int, int, int]
    nominal_clock_Hz: float
    gate_s: float

    def __post_init__(self) -> None:
        if len(set(self.channels)) != 4:
            raise UsageError(f"receiver: channels {self.channels}: four different ones")
        if not 0 < self.gate_s * self.nominal_clock_Hz <= 1:
            raise UsageError(
                f"receiver: a gate of {self.gate_s:g} s: more than 0, at most the time between two "
                f"pulses, {1 / self.nominal_clock_Hz:.4g} s"
            )


@dataclass(frozen=True)
class Detections:
    """What Bob has of each pulse that clicked.

    Attributes
    ----------
    pulses
        Numbers of the pulses from the start of his recording, ascending, int64, shape (n,).
    bases
        0 for Z, 1 for X, shape (n,).
    outcomes
        0 or 1, shape (n,).
    period_ps
        Of the recovered clock.
    delays_ps
        Of the four detectors against the mean pulse.
    tags
        Time tags, inside and outside of the gates.
    gated
        Of these in a gate.
    multiple_clicks
        Gates in which several detectors clicked.
    folded
        Clicks over the pulse period, in 1024 steps from half a period before the pulse.
    gate_ps
        Begin and end of the gate, from the pulse.
    """

    pulses: NDArray[np.int64]
    bases: Bits
    outcomes: Bits
    period_ps: float
    delays_ps: tuple[float, float, float, float]
    tags: int
    gated: int
    multiple_clicks: int
    folded: NDArray[np.int64]
    gate_ps: tuple[float, float]


def detect(blocks: Iterable[TagBlock], receiver: Receiver, rng: np.random.Generator) -> Detections:
    """Find the pulses in time tags, apply the gate, and give each pulse a basis and an outcome.

    Parameters
    ----------
    blocks
        The whole recording, in order of time.
    receiver
        Channels, nominal clock and gate.
    rng
        The coin for gates with several clicks.

    Raises
    ------
    InconclusiveError
        Tags were lost; no pulses are seen, or not on one of the detectors; the clock was lost in
        between, so that pulses cannot be numbered.
    """
    times, detectors, span = _collect(blocks, receiver.channels)
    source = TagArrays(times, detectors, start_ps=span[0], stop_ps=span[1])
    clock = recover_clock(source, period_guess_ps=1e12 / receiver.nominal_clock_Hz)
    _check_unbroken(clock)
    period = clock.clock.period_ps
    place = _places(times, clock)
    delays = _detector_delays(place, detectors)
    place -= np.asarray(delays)[detectors]
    numbers = np.rint(place)
    late = (place - numbers) * period
    folded, edges = np.histogram(late, _BINS, (-period / 2, period / 2))
    width_ps = receiver.gate_s * 1e12
    centre = _gate_centre(folded, edges, width_ps)
    gate_ps = (centre - width_ps / 2, centre + width_ps / 2)
    inside = (late >= gate_ps[0]) & (late <= gate_ps[1])
    pulses = numbers[inside].astype(np.int64) - _number_at_start(clock, span[0])
    found, bases, outcomes, multiple = _one_outcome(pulses, detectors[inside], rng)
    a, b, c, d = (period * delay for delay in delays)
    return Detections(
        pulses=found,
        bases=bases,
        outcomes=outcomes,
        period_ps=period,
        delays_ps=(a, b, c, d),
        tags=len(times),
        gated=int(inside.sum()),
        multiple_clicks=multiple,
        folded=folded,
        gate_ps=gate_ps,
    )


def _collect(
    blocks: Iterable[TagBlock], channels: tuple[int, int, int, int]
) -> tuple[NDArray[np.int64], Bits, tuple[int, int]]:
    """Return times and detectors 0 to 3 of all blocks, and the time that they cover."""
    index = np.full(256, 255, np.uint8)
    index[list(channels)] = np.arange(4)
    times, detectors = [], []
    start = stop = None
    for block in blocks:
        if block.overflow:
            raise InconclusiveError(
                f"exchange: tags were lost at {block.start_ps * 1e-12:.3f} s: record again, with "
                "less light or a faster connection"
            )
        which = index[block.channels]
        ours = which < 4
        times.append(block.times_ps[ours])
        detectors.append(which[ours])
        start = block.start_ps if start is None else start
        stop = block.stop_ps
    if start is None or stop is None:
        raise InconclusiveError("exchange: the recording is empty")
    return np.concatenate(times), np.concatenate(detectors), (start, stop)


def _check_unbroken(clock: RecoveredClock) -> None:
    for event in clock.events:
        # without light before the first pulse and after the last, no pulse is missed there
        if event.kind != "lost":
            raise InconclusiveError(
                f"exchange: the clock {event.kind} at {event.time_s:.3f} s ({event.detail}): the "
                "pulses cannot be numbered across it; exchange again"
            )


def _places(times: NDArray[np.int64], clock: RecoveredClock) -> NDArray[np.float64]:
    """Give times in pulse periods since pulse 0 of the clock, its drift taken out."""
    whole, fraction = clock.clock.origin()
    since = (times - whole).astype(np.float64) - fraction - clock.offset_at(times)
    return np.asarray(since / clock.clock.period_ps)


def _number_at_start(clock: RecoveredClock, start_ps: int) -> int:
    """Return the number of the pulse at the start of the recording."""
    return round(float(_places(np.array([start_ps], np.int64), clock)[0]))


def _detector_delays(
    place: NDArray[np.float64], detectors: Bits
) -> tuple[float, float, float, float]:
    """Circular mean of each detector's phase, in pulse periods between -1/2 and 1/2."""
    delays = []
    for detector in range(4):
        phases = np.exp(2j * np.pi * place[detectors == detector])
        power = abs(phases.sum()) ** 2 / max(len(phases), 1)
        if power < _CLEAR:
            raise InconclusiveError(
                f"exchange: detector {detector} ({'ZZXX'[detector]}{detector % 2}) shows no pulses "
                f"in {len(phases)} tags: check it, or exchange for longer"
            )
        delays.append(float(np.angle(phases.mean()) / (2 * np.pi)))
    a, b, c, d = delays
    return a, b, c, d


def _gate_centre(folded: NDArray[np.int64], edges: NDArray[np.float64], gate_ps: float) -> float:
    """Centre of the gate that holds the most clicks, within one period [ps].

    Of several that hold as many, the middle one.
    """
    width = min(max(round(gate_ps / (edges[1] - edges[0])), 1), _BINS)
    running = np.concatenate(([0], np.cumsum(folded)))
    held = running[width:] - running[:-width]
    best = np.flatnonzero(held == held.max())
    first = int(best[len(best) // 2])
    return float(0.5 * (edges[first] + edges[first + width]))


def _one_outcome(
    pulses: NDArray[np.int64], detectors: Bits, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Bits, Bits, int]:
    """Give each pulse one basis and outcome: a fair coin for the basis, then for the outcome."""
    order = np.argsort(pulses, kind="stable")
    pulses, clicked = pulses[order], (1 << detectors[order]).astype(np.uint8)
    starts = np.flatnonzero(np.diff(pulses, prepend=pulses[0] - 1)) if len(pulses) else pulses
    found = pulses[starts]
    who = np.bitwise_or.reduceat(clicked, starts) if len(starts) else clicked
    in_z, in_x = who & 3, who >> 2
    bases = np.where((in_z > 0) & (in_x > 0), _coin(len(found), rng), in_x > 0).astype(np.uint8)
    arm = np.where(bases == 1, in_x, in_z)
    outcomes = np.where(arm == 3, _coin(len(found), rng), arm >> 1).astype(np.uint8)
    multiple = int(np.count_nonzero(who & (who - 1)))
    return found, bases, outcomes, multiple


def _coin(n: int, rng: np.random.Generator) -> Bits:
    return rng.integers(0, 2, n, dtype=np.uint8)
