"""The pulse clock from the photons themselves, tracked through its drift.

The photons of a pulsed source carry its clock: each says the phase of its pulse to the width of
the decay, ten thousand together to a picosecond. The first milliseconds give the period well
enough to number pulses for ten times as long, and so on up to a block; from there a phase-locked
loop goes from block to block and notes where the pulses are. Folding by one constant period over
10 s to 10 ps would ask of the laser a stability of 1e-12.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError

from ..counting import numba_loops as compiled
from ..counting.correlation import CorrelationHistogram, Correlator
from ..source import CHUNK_TAGS, TagChunk, TagMetadata, TagSource, in_blocks
from .clock import PulseClock
from .delay import comb_of

_BLOCK_TAGS: Final = 10_000
_FIRST_TAGS: Final = 200
_CLEAR: Final = 20.0  # Rayleigh power of noise is exponential with mean 1
_PAIR_RANGE_PS: Final = 300_000


@dataclass(frozen=True)
class ClockEvent:
    """Something that happened to the clock.

    Attributes
    ----------
    time_s
        When, from the beginning of the record [s].
    kind
        "jump": the phase moved by far more than its noise from one block to the next; "lost": a
        block shows no pulses; "relocked": pulses came back, and their number across the gap is a
        guess.
    detail
        In words.
    """

    time_s: float
    kind: Literal["jump", "lost", "relocked"]
    detail: str


@dataclass(frozen=True)
class RecoveredClock:
    """A pulse clock that follows the laser.

    Attributes
    ----------
    clock
        The best constant period and phase over the whole run. The pulse is where the photons'
        circular mean phase is: later than the laser's by the mean decay time. Its uncertainties
        are statistical; a laser that drifts has no period to more digits than its drift leaves.
    pulses
        int64, shape (n_knots,): pulse numbers of the knots, one a block.
    offsets_ps
        float64, shape (n_knots,): how much later than `clock` that pulse came [ps].
    u_offsets_ps
        float64, shape (n_knots,): standard uncertainty of each [ps].
    drift_per_s, u_drift_per_s
        Relative change of the period per second, mean over the run [1/s].
    block_s
        Length of a block [s].
    contrast
        Mean amplitude of the pulses in the folded signal, 1 for pulses without width or
        background.
    events
        Jumps and losses of lock, in order.
    """

    clock: PulseClock
    pulses: NDArray[np.int64]
    offsets_ps: NDArray[np.float64]
    u_offsets_ps: NDArray[np.float64]
    drift_per_s: float
    u_drift_per_s: float
    block_s: float
    contrast: float
    events: tuple[ClockEvent, ...]

    def offset_at(self, times_ps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Interpolate how much later than `clock` the pulses come, linearly between knots [ps]."""
        whole, fraction = self.clock.origin()
        at = (self.pulses * self.clock.period_ps) + fraction + self.offsets_ps
        since = (times_ps - whole).astype(np.float64)
        inner = np.interp(since, at, self.offsets_ps)
        if len(at) < 2:
            return np.asarray(inner)
        # beyond the first and last knot, go on as fast as between the nearest two
        for end, inside in ((0, 1), (-1, -2)):
            slope = (self.offsets_ps[end] - self.offsets_ps[inside]) / (at[end] - at[inside])
            beyond = since < at[0] if end == 0 else since > at[-1]
            inner[beyond] = self.offsets_ps[end] + slope * (since[beyond] - at[end])
        return np.asarray(inner)

    def retimed(self, source: TagSource) -> TagSource:
        """Give the source with its drift taken out, to be folded or counted by `clock`.

        Each tag moves by the interpolated offset, to the nearest picosecond.
        """
        return _Retimed(source, self)


class _Retimed:
    """A source whose tags are moved onto a clock without drift."""

    def __init__(self, source: TagSource, recovered: RecoveredClock) -> None:
        self._source, self._recovered = source, recovered

    def _moved(self, times_ps: NDArray[np.int64]) -> NDArray[np.int64]:
        moved = times_ps - np.rint(self._recovered.offset_at(times_ps)).astype(np.int64)
        return np.asarray(np.maximum.accumulate(moved))  # ties may swap by the rounding

    @property
    def start_ps(self) -> int:
        """Beginning of the time covered [ps]."""
        return int(self._moved(np.array([self._source.start_ps]))[0])

    @property
    def stop_ps(self) -> int:
        """End of the time covered [ps]."""
        return int(self._moved(np.array([self._source.stop_ps]))[0]) + 1

    @property
    def duration_s(self) -> float:
        """Time covered [s]."""
        return (self.stop_ps - self.start_ps) * 1e-12

    @property
    def channels(self) -> tuple[int, ...]:
        """Numbers of the channels that hold at least one tag."""
        return self._source.channels

    @property
    def resolution_ps(self) -> float:
        """Step of the time-to-digital converter [ps]."""
        return self._source.resolution_ps

    @property
    def metadata(self) -> TagMetadata:
        """What the original says."""
        return self._source.metadata

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the original and the clock have to report."""
        events = tuple(
            f"clock {e.kind} at {e.time_s:.3f} s: {e.detail}" for e in self._recovered.events
        )
        return self._source.warnings + events

    def chunks(self, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        """Go through all tags, moved."""
        last = -(1 << 62)
        for chunk in self._source.chunks(size):
            times = np.maximum(self._moved(chunk.times_ps), last)
            last = int(times[-1])
            yield TagChunk(times, chunk.channels)


def recover_clock(
    source: TagSource,
    *,
    channels: tuple[int, ...] | None = None,
    period_guess_ps: float | None = None,
    block_s: float | None = None,
) -> RecoveredClock:
    """Find and track the pulse clock from photon tags alone.

    Parameters
    ----------
    source
        Time tags of a pulsed source.
    channels
        Detectors to use; all by default. Channels with different electronic delays broaden the
        pulse; leave out a sync channel.
    period_guess_ps
        Pulse period, good to 1e-4 [ps]; found from the correlation of the photons by default.
    block_s
        Length of the blocks between which the clock may drift [s]; by default such that a block
        holds 10 000 photons, but at least 1/1000 of the run. A laser that drifts by a relative
        r per second moves by ``r * block_s**2 / 8`` against the interpolation.

    Raises
    ------
    InconclusiveError
        If there are too few photons, no pulses are seen, or more than half of the blocks show
        none.

    Notes
    -----
    The phase of a block is that of its first harmonic; its uncertainty follows from the scatter
    of the photons' phases about it: ``u = P/2pi * sqrt(<sin**2>) / (C * sqrt(N))`` with contrast C
    and N photons.
    """
    use = np.zeros(256, np.bool_)
    use[list(channels if channels is not None else source.channels)] = True
    beginning = _first_tags(source, use, 200_000)
    if len(beginning) < 4 * _FIRST_TAGS:
        raise InconclusiveError(
            f"{len(beginning)} photons are too few to recover a clock from; {4 * _FIRST_TAGS} at "
            "least, and several thousand a second if it drifts"
        )
    rate = len(beginning) / max(int(beginning[-1] - beginning[0]), 1)  # tags a picosecond
    length_ps = source.stop_ps - source.start_ps
    if block_s is None:
        block_ps = max(_BLOCK_TAGS / rate, length_ps / 1000)
    else:
        block_ps = block_s * 1e12
    n_blocks = max(1, round(length_ps / block_ps))
    block_ps = length_ps / n_blocks

    guess, u_guess = (
        _period_from_pairs(source, use)
        if period_guess_ps is None
        else (period_guess_ps, 1e-4 * period_guess_ps)
    )
    period = _lock(beginning, guess, u_guess, block_ps)
    return _track(source, use, int(beginning[0]), period, n_blocks)


def _first_tags(source: TagSource, use: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    parts: list[NDArray[np.int64]] = []
    held = 0
    for chunk in source.chunks():
        part = chunk.times_ps[use[chunk.channels]]
        parts.append(part)
        held += len(part)
        if held >= n:
            break
    return np.concatenate(parts)[:n] if parts else np.empty(0, np.int64)


def _period_from_pairs(source: TagSource, use: NDArray[np.bool_]) -> tuple[float, float]:
    """Period and its uncertainty from the delays between photons, whatever their channel."""
    step = max(round(source.resolution_ps), 1) * max(1, round(16 / source.resolution_ps))
    n_bins = 2 * (_PAIR_RANGE_PS // step)
    correlator = Correlator(0, 0, start_ps=-(n_bins // 2) * step, bin_ps=step, n_bins=n_bins)
    clicks = 0
    for chunk in source.chunks():
        wanted = use[chunk.channels]
        times = chunk.times_ps[wanted]
        clicks += len(times)
        correlator.add(TagChunk(times, np.zeros(len(times), np.uint8)))
        if clicks > 1_000_000:
            break
    histogram = CorrelationHistogram(
        correlator.start_ps, step, correlator.counts, 0, 0, clicks, clicks, 0.0
    )
    comb = comb_of(histogram)
    return comb.period, comb.width / math.sqrt(comb.spread) * math.sqrt(2)  # each pair twice


def _lock(times: NDArray[np.int64], period: float, u_period: float, longest_ps: float) -> float:
    """Sharpen the period on ever longer stretches, up to `longest_ps` or the end of `times`."""
    since = (times - times[0]).astype(np.float64)
    n = _FIRST_TAGS
    while True:
        part = since[:n]
        span = float(part[-1]) if len(part) else 0.0
        cell = period**2 / max(span, period)  # a change of period by one turn over the stretch
        cells = max(4.0 * u_period / cell, 1.0)
        trials = period + cell * np.arange(-cells, cells + 0.125, 0.125)
        power = np.array(
            [abs(np.exp(2j * np.pi / trial * part).sum()) ** 2 / len(part) for trial in trials]
        )
        best = int(np.argmax(power))
        # the more trials, the higher the best of noise
        if power[best] < _CLEAR + math.log(len(trials)):
            raise InconclusiveError(
                f"no pulses at a period near {period:.3f} ps in {len(part)} photons over "
                f"{span * 1e-9:.3g} ms (power {power[best]:.1f}): is the source pulsed, and the "
                "period right to 1e-4?"
            )
        if 0 < best < len(trials) - 1:  # top of the parabola through three points
            left, top, right = power[best - 1 : best + 2]
            best_step = 0.5 * (left - right) / (left - 2 * top + right)
        else:
            best_step = 0.0
        period = float(trials[best] + best_step * cell * 0.125)
        u_period = cell / 8
        if n >= len(since) or span >= longest_ps:
            return period
        n = min(4 * n, len(since), max(int(np.searchsorted(since, longest_ps)), n + 1))


def _track(
    source: TagSource, use: NDArray[np.bool_], first_ps: int, period: float, n_blocks: int
) -> RecoveredClock:
    """Go from block to block with a phase-locked loop, and note where the pulses are."""
    length_ps = source.stop_ps - source.start_ps
    per_block = length_ps / n_blocks
    events: list[ClockEvent] = []
    knots: list[tuple[int, int, float, float]] = []  # pulse, time (whole, fraction), u
    contrasts: list[float] = []
    pulse, whole, fraction = 0, first_ps, 0.0  # a pulse by prediction
    lost = 0
    u_predicted = math.inf
    for block, chunks in in_blocks(source, n_blocks):
        # Lay the prediction at the middle of the block.
        middle = source.start_ps + round((block + 0.5) * per_block)
        ahead = math.floor((middle - whole - fraction) / period)
        pulse += ahead
        whole, fraction = _later(whole, fraction, ahead, period)
        sums = np.zeros(4)
        for chunk in chunks:
            times, numbers = chunk.native()
            compiled.add_phases(
                times, numbers, use, whole, fraction, math.floor(period), period % 1.0, sums
            )
        n = sums[3]
        when = (middle - source.start_ps) * 1e-12
        power = (sums[0] ** 2 + sums[1] ** 2) / n if n else 0.0
        if power < _CLEAR:
            if lost == 0:
                events.append(
                    ClockEvent(when, "lost", f"{n:.0f} photons in {per_block * 1e-12:.3g} s show "
                               f"no pulses (power {power:.1f})")
                )  # fmt: skip
            lost += 1
            continue
        angle = math.atan2(sums[1], sums[0])
        contrast = math.sqrt(power / n)
        # <sin^2> about the mean phase, from the second harmonic
        scatter = max(0.5 * (1.0 - sums[2] / n * math.cos(2 * angle)), 0.0)
        turn = period / (2 * math.pi)
        u = max(turn * math.sqrt(scatter / n) / contrast, 1e-3)
        late = turn * angle
        if lost:
            events.append(
                ClockEvent(when, "relocked", f"after {lost} blocks without pulses; their number "
                           f"is extrapolated, which holds if the period stayed within "
                           f"{0.5 * period / (lost + 1) / per_block:.1g} of what it was")
            )  # fmt: skip
        elif abs(late) > 8 * math.hypot(u, u_predicted) and len(knots) > 1:
            events.append(
                ClockEvent(when, "jump", f"the pulses came {late:+.1f} ps from where they were "
                           f"expected ({u:.1f} ps uncertain)")
            )  # fmt: skip
        whole, fraction = _later(whole, fraction + late, 0, period)
        if knots:
            steps = pulse - knots[-1][0]
            moved = (whole - knots[-1][1]) + (fraction - knots[-1][2])
            measured = moved / steps
            # half of the way to the latest period: one block's noise counts for half
            gain = 1.0 if len(knots) == 1 else 0.5
            period += gain * (measured - period)
            u_predicted = 2.0 * math.hypot(u, knots[-1][3])
        knots.append((pulse, whole, fraction, u))
        contrasts.append(contrast)
        lost = 0
    if len(knots) < max(1, n_blocks // 2):
        raise InconclusiveError(
            f"only {len(knots)} of {n_blocks} blocks of {per_block * 1e-12:.3g} s show pulses: "
            "take longer blocks, or a brighter signal"
        )
    return _regress(knots, period, per_block * 1e-12, float(np.mean(contrasts)), tuple(events))


def _later(whole: int, fraction: float, pulses: int, period: float) -> tuple[int, float]:
    """Add `pulses` periods to a time; whole and fractional picoseconds apart."""
    base = math.floor(period)
    rest = fraction + pulses * (period - base)
    carry = math.floor(rest)
    return whole + pulses * base + carry, rest - carry


def _regress(
    knots: list[tuple[int, int, float, float]],
    period: float,
    block_s: float,
    contrast: float,
    events: tuple[ClockEvent, ...],
) -> RecoveredClock:
    pulses = np.array([k[0] for k in knots], dtype=np.int64)
    reference = knots[len(knots) // 2]
    pulses -= reference[0]
    u = np.array([k[3] for k in knots])
    if len(knots) == 1:
        clock = PulseClock(period, reference[2], period, 0.0, reference[1], float(u[0]))
        return RecoveredClock(
            clock, pulses, np.zeros(1), u, 0.0, math.inf, block_s, contrast, events
        )
    step = math.floor((knots[-1][1] - knots[0][1]) / int(pulses[-1] - pulses[0]))
    rest = np.array(
        [(k[1] - reference[1] - step * int(p)) + k[2] for k, p in zip(knots, pulses, strict=True)]
    )
    weights = 1.0 / u**2
    centre = float(np.average(pulses, weights=weights))
    x = pulses - centre
    spread = float(np.dot(weights, x**2))
    slope = float(np.dot(weights, x * rest)) / spread
    level = float(np.average(rest, weights=weights)) - slope * centre
    offsets = rest - level - slope * pulses
    mean_period = step + slope
    freedom = max(len(knots) - 2, 1)
    rms = math.sqrt(float(np.dot(offsets, offsets)) / freedom)
    # drift: the quadratic part, offset = drift * period / 2 * pulse**2 (in pulses)
    drift, u_drift = 0.0, math.inf
    if len(knots) > 2:
        scale = float(np.abs(x).max())
        design = np.stack([np.ones_like(x), x / scale, (x / scale) ** 2], axis=1) / u[:, None]
        solved = np.linalg.pinv(design)
        to_drift = 2.0 / (scale**2 * mean_period) / (mean_period * 1e-12)
        drift = float((solved @ (offsets / u))[2]) * to_drift
        u_drift = math.sqrt(float((solved @ solved.T)[2, 2])) * abs(to_drift)
    clock = PulseClock(
        period_ps=mean_period,
        t0_ps=level,
        u_period_ps=1.0 / math.sqrt(spread),
        rms_ps=rms,
        reference_ps=reference[1],
        u_t0_ps=1.0 / math.sqrt(float(weights.sum())),
    )
    return RecoveredClock(clock, pulses, offsets, u, drift, u_drift, block_s, contrast, events)
