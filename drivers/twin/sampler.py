"""Draws the time tags of a pulsed source, fast: over ten million a second on one core.

The kernel goes from detection to detection, not from pulse to pulse: a geometric number of pulses
without one is skipped, a table says what the next one does to the two detectors, and the times
come from tabulated quantiles. Dead time works on the order of arrival; jitter comes after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Protocol

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from qdchar.roles import TagBlock

from .detectors import DOT, LASER

Array = NDArray[np.float64]

_BINS = 4096
_TAIL = 64
_SKIPS = 64
_OFTEN = 0.05
"""Clicks per pulse above which a skip is looked up instead of computed."""
_LEAD = 64
_SPARE = 8
_NEVER = 1e300
_FAR = 1e15

# Quantiles at the edges of equally probable bins. Between them the density is taken as flat,
# which is right to 1 % where the outermost 64 bins are drawn exactly instead.
_EDGES: Array = np.arange(_BINS + 1) / _BINS
_EXPONENTIAL: Array = -np.log1p(-np.minimum(_EDGES, 1.0 - 0.5 / _BINS))
_NORMAL: Array = ndtri(np.clip(_EDGES, 0.5 / _BINS, 1.0 - 0.5 / _BINS))
_EXPONENTIAL_TAIL = float(_EXPONENTIAL[_BINS - _TAIL])
_NORMAL_TAIL = float(_NORMAL[_BINS - _TAIL])

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S20, _S27, _S28, _S30, _S31, _S32, _S52, _S58 = (
    np.uint64(n) for n in (11, 20, 27, 28, 30, 31, 32, 52, 58)
)
_MASK_4, _MASK_12, _MASK_20 = np.uint64(0xF), np.uint64(0xFFF), np.uint64(0xFFFFF)
_MASK_26, _MASK_28 = np.uint64(0x3FFFFFF), np.uint64(0xFFFFFFF)

_compiled = nb.njit(cache=True, nogil=True)
_inlined = nb.njit(cache=True, nogil=True, inline="always")


@_inlined
def _bits(state: np.uint64) -> np.uint64:
    """Return 64 random bits for a state (splitmix64); the next state is `_GAMMA` further."""
    z = state
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@_inlined
def _uniform(bits: np.uint64) -> float:
    """Return a number between 0 and 1, neither included."""
    return (np.float64(bits >> _S11) + 0.5) * 2.0**-53


@_compiled
def _exponential_tail(bits: np.uint64) -> float:
    """Return an exponential number beyond the table."""
    return _EXPONENTIAL_TAIL - math.log(_uniform(_bits(bits + _GAMMA)))


@_compiled
def _normal_tail(bits: np.uint64) -> float:
    """Return a normal number beyond the table (Marsaglia 1964)."""
    state = bits
    while True:
        x = -math.log(_uniform(_bits(state + _GAMMA))) / _NORMAL_TAIL
        state += _GAMMA + _GAMMA
        if -2.0 * math.log(_uniform(_bits(state))) > x * x:
            return _NORMAL_TAIL + x


@_inlined
def _exponential(bits: np.uint64) -> float:
    """Return a number of unit exponential distribution from the low half of random bits."""
    j = np.int64((bits >> _S20) & _MASK_12)
    if j >= _BINS - _TAIL:
        return _exponential_tail(bits)
    low, high = float(_EXPONENTIAL[j]), float(_EXPONENTIAL[j + 1])
    return low + (high - low) * (float(bits & _MASK_20) * 2.0**-20)


@_inlined
def _normal(bits: np.uint64) -> float:
    """Return a number of unit normal distribution from the high half of random bits."""
    j = np.int64(bits >> _S52)
    if j >= _BINS - _TAIL:
        return _normal_tail(bits)
    if j < _TAIL:
        return -_normal_tail(bits)
    low, high = float(_NORMAL[j]), float(_NORMAL[j + 1])
    return low + (high - low) * (float((bits >> _S32) & _MASK_20) * 2.0**-20)


@_compiled
def _alias(weights: Array, threshold: Array, other: NDArray[np.int64]) -> None:
    """Fill Vose's alias tables for weights that sum to one; thresholds are between 0 and 1."""
    n = len(weights)
    scaled = weights * n
    small, large = np.empty(n, np.int64), np.empty(n, np.int64)
    n_small = n_large = 0
    for j in range(n):
        other[j] = j
        threshold[j] = 1.0
        if scaled[j] < 1.0:
            small[n_small] = j
            n_small += 1
        else:
            large[n_large] = j
            n_large += 1
    while n_small > 0 and n_large > 0:
        n_small -= 1
        s, g = small[n_small], large[n_large - 1]
        threshold[s] = scaled[s]
        other[s] = g
        scaled[g] -= 1.0 - scaled[s]
        if scaled[g] < 1.0:
            n_large -= 1
            small[n_small] = g
            n_small += 1


@_inlined
def _insert(
    ticks: NDArray[np.int64], channels: NDArray[np.uint8], n: int, time: float, channel: int
) -> int:
    """Insert a tag where it belongs in time, looking from the end; returns how many there are."""
    tick = np.int64(math.floor(time))
    j = n
    while j > 0 and ticks[j - 1] > tick:
        ticks[j] = ticks[j - 1]
        channels[j] = channels[j - 1]
        j -= 1
    ticks[j] = tick
    channels[j] = channel
    return n + 1


class Hardware(NamedTuple):
    """What does not change: pulses, detectors and converter, in picoseconds."""

    period_ps: float
    dead_ps: float
    jitter_ps: float
    sync_jitter_ps: float
    delay_ps: tuple[float, float]
    step_ps: float
    divider: int
    switch_off: float
    """Probability per pulse that a dot that shines stops, and the reverse."""
    switch_on: float


class Carry(NamedTuple):
    """What goes on from one call to the next; times are relative to the first pulse of the call.

    Attributes
    ----------
    rng
        uint64, shape (1,).
    late_ps
        Shape (2,): latest arrival at A and B, held back until nothing earlier can come.
    last_ps
        Shape (2,): arrival of the last click of A and B.
    next_ps
        Shape (3,): next clock tag, next photon of steady light or dark count at A and at B.
    sync
        int64, shape (1,): pulse of the next clock tag.
    switch
        int64, shape (1,): pulse at which the blinking dot switches next.
    dim
        int64, shape (1,): 0 while the dot shines, 1 while not.
    long
        int64, shape (1,): what is under way in the long arm of an interferometer, see `train`.
    """

    rng: NDArray[np.uint64]
    late_ps: Array
    last_ps: Array
    next_ps: Array
    sync: NDArray[np.int64]
    switch: NDArray[np.int64]
    dim: NDArray[np.int64]
    long: NDArray[np.int64]


@_compiled
def _flush(
    end_ps: float,
    hardware: Hardware,
    carry: Carry,
    ticks: NDArray[np.int64],
    channels: NDArray[np.uint8],
    n: int,
) -> int:
    """Add the clicks that were held back: nothing that comes later can arrive before the next."""
    for d in range(2):
        click = carry.late_ps[d]
        if click < end_ps:
            carry.late_ps[d] = -_NEVER
            if click - carry.last_ps[d] >= hardware.dead_ps:
                carry.last_ps[d] = click
                carry.rng[0] += _GAMMA
                jitter = hardware.jitter_ps * _normal(_bits(carry.rng[0]))
                t = click + hardware.delay_ps[d] + jitter
                n = _insert(ticks, channels, n, t / hardware.step_ps, d + 1)
    return n


@_compiled
def _unpulsed(
    until_ps: float,
    first_ps: float,
    steady: Array,
    hardware: Hardware,
    carry: Carry,
    ticks: NDArray[np.int64],
    channels: NDArray[np.uint8],
    n: int,
) -> int:
    """Add clock tags, dark counts and steady light up to a time."""
    room = len(ticks) - _SPARE
    following = carry.next_ps
    while n < room:
        d = int(np.argmin(following)) - 1
        now_ps = following[d + 1]
        if now_ps >= until_ps:
            break
        carry.rng[0] += _GAMMA
        bits = _bits(carry.rng[0])
        if d < 0:
            t = now_ps + hardware.sync_jitter_ps * _normal(bits)
            n = _insert(ticks, channels, n, t / hardware.step_ps, 0)
            carry.sync[0] += hardware.divider
            following[0] = first_ps + carry.sync[0] * hardware.period_ps
            continue
        click_ps = min(now_ps, carry.late_ps[d])
        carry.late_ps[d] = max(now_ps, carry.late_ps[d])
        if click_ps - carry.last_ps[d] >= hardware.dead_ps:
            carry.last_ps[d] = click_ps
            t = click_ps + hardware.delay_ps[d] + hardware.jitter_ps * _normal(bits)
            n = _insert(ticks, channels, n, t / hardware.step_ps, d + 1)
        carry.rng[0] += _GAMMA
        following[d + 1] -= math.log(_uniform(_bits(carry.rng[0]))) / steady[d]
    return n


@_compiled
def sample(
    segment_end: NDArray[np.int64],
    tables: Array,
    lifetime_ps: Array,
    steady: Array,
    first_ps: float,
    hardware: Hardware,
    carry: Carry,
    ticks: NDArray[np.int64],
    channels: NDArray[np.uint8],
    n: int,
) -> int:
    """Draw the tags of a run of pulses that is cut into segments of constant light.

    Parameters
    ----------
    segment_end
        int64, shape (s,): pulse after the last of each segment, counted from this call's first.
    tables
        Shape (s, 2, 16): see `click_table`, while shining and while not.
    lifetime_ps
        Shape (s,).
    steady
        Shape (2,): rate of steady light and dark counts at A and B [1/ps].
    first_ps
        Time of the first pulse.
    hardware, carry
        See there; `carry` is changed.
    ticks, channels
        int64 and uint8: the tags in steps of the converter; the first `n` are there already.

    Returns
    -------
    int
        Number of tags; if it comes within `_SPARE` of the room given, tags are missing.
    """
    room = len(ticks) - _SPARE
    any_click, log_none = np.zeros(2), np.zeros(2)
    skip_threshold, skip_other = np.empty((2, _SKIPS)), np.empty((2, _SKIPS), np.int64)
    case_threshold, case_other = np.empty((2, 16)), np.empty((2, 16), np.int64)
    # what the loop works on stands in local variables: a compiler keeps those in registers
    rng = carry.rng[0]
    dim, switch = carry.dim[0], carry.switch[0]
    period_ps, dead_ps, jitter_ps = hardware.period_ps, hardware.dead_ps, hardware.jitter_ps
    delay_a_ps, delay_b_ps = hardware.delay_ps
    per_step = 1.0 / hardware.step_ps
    late_a, late_b = carry.late_ps
    last_a, last_b = carry.last_ps
    unpulsed_ps = carry.next_ps.min()
    i = np.int64(0)
    for s in range(len(segment_end)):
        for b in range(2):
            p = tables[s, b, 1:].sum()
            any_click[b] = p
            if p > 0.0:
                log_none[b] = math.log1p(-p)
                cases = tables[s, b] / p
                cases[0] = 0.0
                _alias(cases, case_threshold[b], case_other[b])
                skips = (1.0 - p) ** np.arange(_SKIPS)
                skips[:-1] *= p
                _alias(skips, skip_threshold[b], skip_other[b])
        t1 = lifetime_ps[s]
        end = segment_end[s]
        while i < end:
            if switch <= i:
                dim = 1 - dim
                leave = hardware.switch_off if dim == 0 else hardware.switch_on
                rng += _GAMMA
                switch = i + 1 + np.int64(min(-math.log(_uniform(_bits(rng))) / leave, _FAR))
            limit = min(end, switch)
            often = any_click[dim] > _OFTEN
            if any_click[dim] <= 0.0:
                i = limit
            while i < limit:
                # no memory: a skip that ends beyond the limit is forgotten there
                rng += _GAMMA
                bits = _bits(rng)
                if often:
                    j = np.int64(bits >> _S58)
                    if np.float64((bits >> _S32) & _MASK_26) * 2.0**-26 >= skip_threshold[dim, j]:
                        j = skip_other[dim, j]
                    i += j
                    if j == _SKIPS - 1:
                        continue
                else:
                    i += np.int64(min(math.log(_uniform(bits)) / log_none[dim], _FAR))
                    rng += _GAMMA
                    bits = _bits(rng)
                if i >= limit:
                    break
                case = np.int64((bits >> _S28) & _MASK_4)
                if np.float64(bits & _MASK_28) * 2.0**-28 >= case_threshold[dim, case]:
                    case = case_other[dim, case]
                pulse_ps = first_ps + i * period_ps
                i += 1
                if unpulsed_ps < pulse_ps:
                    carry.rng[0] = rng
                    carry.late_ps[0], carry.late_ps[1] = late_a, late_b
                    carry.last_ps[0], carry.last_ps[1] = last_a, last_b
                    n = _unpulsed(pulse_ps, first_ps, steady, hardware, carry, ticks, channels, n)
                    rng = carry.rng[0]
                    late_a, late_b = carry.late_ps
                    last_a, last_b = carry.last_ps
                    unpulsed_ps = carry.next_ps.min()
                if n >= room:
                    return n
                kind = case >> 2
                if kind != 0:
                    rng += _GAMMA
                    bits = _bits(rng)
                    arrival = pulse_ps
                    if kind != LASER:
                        arrival += (t1 if kind == DOT else 0.5 * t1) * _exponential(bits)
                    click = min(arrival, late_a)
                    late_a = max(arrival, late_a)
                    if click - last_a >= dead_ps:
                        last_a = click
                        t = click + delay_a_ps + jitter_ps * _normal(bits)
                        n = _insert(ticks, channels, n, t * per_step, 1)
                kind = case & 3
                if kind != 0:
                    rng += _GAMMA
                    bits = _bits(rng)
                    arrival = pulse_ps
                    if kind != LASER:
                        arrival += (t1 if kind == DOT else 0.5 * t1) * _exponential(bits)
                    click = min(arrival, late_b)
                    late_b = max(arrival, late_b)
                    if click - last_b >= dead_ps:
                        last_b = click
                        t = click + delay_b_ps + jitter_ps * _normal(bits)
                        n = _insert(ticks, channels, n, t * per_step, 2)
            i = min(i, limit)
    carry.rng[0], carry.dim[0], carry.switch[0] = rng, dim, switch
    carry.late_ps[0], carry.late_ps[1] = late_a, late_b
    carry.last_ps[0], carry.last_ps[1] = last_a, last_b
    end_ps = first_ps + segment_end[-1] * period_ps
    n = _unpulsed(end_ps, first_ps, steady, hardware, carry, ticks, channels, n)
    return _flush(end_ps, hardware, carry, ticks, channels, n)


@dataclass(frozen=True)
class Segments:
    """Light on the detectors over a run of pulses, constant in each of s segments.

    Attributes
    ----------
    pulses
        int64, shape (s,): pulses in each.
    tables
        Shape (s, 2, 16): see `click_table`, while the dot shines and while not.
    lifetime_s
        Shape (s,).
    steady_Hz
        Rates of steady light and dark counts at A and B.
    """

    pulses: NDArray[np.int64]
    tables: Array
    lifetime_s: Array
    steady_Hz: tuple[float, float]

    @property
    def most_clicks(self) -> float:
        """Mean number of clicks, counting no dead time."""
        both = np.concatenate((np.zeros(1), np.ones(3)))
        clicks = (both[:, None] + both[None, :]).ravel()
        return float((self.tables @ clicks).max(axis=1) @ self.pulses)

    def sample(
        self,
        steady: Array,
        first_ps: float,
        hardware: Hardware,
        carry: Carry,
        ticks: NDArray[np.int64],
        channels: NDArray[np.uint8],
        n: int,
    ) -> int:
        """Draw the tags, see the function of that name."""
        return int(
            sample(
                np.cumsum(self.pulses),
                self.tables,
                self.lifetime_s * 1e12,
                steady,
                first_ps,
                hardware,
                carry,
                ticks,
                channels,
                n,
            )
        )


class AnySegments(Protocol):
    """What `TagSampler` draws from."""

    @property
    def pulses(self) -> NDArray[np.int64]:
        """Pulses in each segment."""

    @property
    def steady_Hz(self) -> tuple[float, float]:
        """Rates of steady light and dark counts at A and B."""

    @property
    def most_clicks(self) -> float:
        """Mean number of clicks, counting no dead time."""

    def sample(
        self,
        steady: Array,
        first_ps: float,
        hardware: Hardware,
        carry: Carry,
        ticks: NDArray[np.int64],
        channels: NDArray[np.uint8],
        n: int,
    ) -> int:
        """Draw the tags behind the `n` that are there; returns how many there are then."""


class TagSampler:
    """The tags of one stream, drawn piece by piece; times count from its start.

    Parameters
    ----------
    hardware
        See there; its period is that of `clock_Hz`.
    clock_Hz
        Pulse rate. Pulse times are kept as whole numbers and fractions, exact over any time.
    start_ps
        Time of the stream's start on the laboratory's clock, whose zero is a pulse.
    duration_ps
        Length of the stream.
    seed
        64 random bits.
    dim
        Whether the dot is dark at the start.
    """

    def __init__(
        self,
        hardware: Hardware,
        clock_Hz: float,
        start_ps: int,
        duration_ps: int,
        seed: int,
        dim: bool,
    ) -> None:
        self._hardware = hardware
        self._period = Fraction(10**12) / Fraction(clock_Hz)
        self._start_ps = start_ps
        self._duration_ps = duration_ps
        self._step = int(hardware.step_ps)
        # earlier than the start, so that dead time and late photons are there when it comes
        self._pulse = (
            math.ceil(start_ps / self._period)
            - _LEAD
            - int(2.0 * hardware.dead_ps / hardware.period_ps)
        )
        self._margin_ps = math.ceil(10.0 * max(hardware.jitter_ps, hardware.sync_jitter_ps)) + 1
        self._base = self._locate(self._pulse)[0]
        self._stop_ps = 0
        self._steady = (0.0, 0.0)
        self._waiting: tuple[NDArray[np.int64], NDArray[np.uint8]] = (
            np.empty(0, np.int64),
            np.empty(0, np.uint8),
        )
        self._carry = Carry(
            rng=np.array([seed], np.uint64),
            late_ps=np.full(2, -_NEVER),
            last_ps=np.full(2, -0.5 * _NEVER),
            next_ps=np.array([0.0, _NEVER, _NEVER]),
            sync=np.array([-self._pulse % hardware.divider], np.int64),
            switch=np.array([0], np.int64),
            dim=np.array([int(dim)], np.int64),
            long=np.zeros(1, np.int64),
        )
        leave = hardware.switch_on if dim else hardware.switch_off
        wait = np.random.default_rng(seed).exponential(1.0 / leave) if leave > 0.0 else _FAR
        self._carry.switch[0] = int(min(wait, _FAR)) + 1

    def _locate(self, pulse: int) -> tuple[int, float]:
        """Return a pulse's time in whole steps of the converter, and the rest [ps]."""
        time = pulse * self._period - self._start_ps
        ticks = math.floor(time / self._step)
        return ticks, float(time - ticks * self._step)

    @property
    def done(self) -> bool:
        """Whether the whole stream has been drawn."""
        return self._stop_ps >= self._duration_ps

    @property
    def pulses_left(self) -> int:
        """Pulses still needed to complete the stream."""
        end = math.ceil((self._start_ps + self._duration_ps + self._margin_ps) / self._period)
        return end + 1 - self._pulse

    def draw(self, light: AnySegments) -> TagBlock:
        """Draw the tags of the next pulses."""
        ticks, first_ps = self._locate(self._pulse)
        shift = ticks - self._base
        self._base = ticks
        self._carry.next_ps[0] = first_ps + self._carry.sync[0] * self._hardware.period_ps
        self._set_steady(light.steady_Hz, first_ps)
        waiting_ticks, waiting_channels = self._waiting
        n = len(waiting_ticks)
        room = n + self._room(light)
        out_ticks, out_channels = np.empty(room, np.int64), np.empty(room, np.uint8)
        out_ticks[:n], out_channels[:n] = waiting_ticks - shift, waiting_channels
        n = light.sample(
            np.array(self._steady),
            first_ps,
            self._hardware,
            self._carry,
            out_ticks,
            out_channels,
            n,
        )
        if n >= room - _SPARE:
            raise RuntimeError(f"more tags than the {room} that there was room for")
        pulses = int(light.pulses.sum())
        self._pulse += pulses
        self._rebase(pulses, first_ps)
        return self._cut(out_ticks[:n], out_channels[:n])

    def _set_steady(self, steady_Hz: tuple[float, float], first_ps: float) -> None:
        """Change the rates of what is not pulsed; waiting times have no memory."""
        steady = (steady_Hz[0] * 1e-12, steady_Hz[1] * 1e-12)
        if steady != self._steady:
            rng = np.random.default_rng(int(self._carry.rng[0]))
            for d in range(2):
                wait = rng.exponential(1.0 / steady[d]) if steady[d] > 0.0 else _NEVER
                self._carry.next_ps[d + 1] = first_ps + wait
            self._steady = steady

    def _room(self, light: AnySegments) -> int:
        """Tags that these pulses give at the very most."""
        mean = light.most_clicks
        total = int(light.pulses.sum())
        mean += sum(light.steady_Hz) * total * float(self._period) * 1e-12
        mean += total / self._hardware.divider
        return int(mean + 12.0 * math.sqrt(mean)) + 64

    def _rebase(self, pulses: int, first_ps: float) -> None:
        """Count pulses and times from the next call's first pulse."""
        carry = self._carry
        shift_ps = first_ps + pulses * self._hardware.period_ps - self._locate(self._pulse)[1]
        for times in (carry.late_ps, carry.last_ps, carry.next_ps):
            np.subtract(times, shift_ps, out=times)
        carry.sync[0] -= pulses
        carry.switch[0] -= pulses

    def _cut(self, ticks: NDArray[np.int64], channels: NDArray[np.uint8]) -> TagBlock:
        """Give away the tags that nothing later can come before."""
        next_pulse_ps = math.floor(self._pulse * self._period) - self._start_ps
        start_ps = self._stop_ps
        stop_ps = min(max(next_pulse_ps - self._margin_ps, start_ps), self._duration_ps)
        times = (ticks + self._base) * self._step
        low, high = np.searchsorted(times, (start_ps, stop_ps))
        self._waiting = ticks[high:], channels[high:]
        self._stop_ps = stop_ps
        return TagBlock(times[low:high], channels[low:high], start_ps, stop_ps)
