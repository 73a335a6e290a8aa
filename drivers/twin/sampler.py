"""Draws the time tags of a pulsed source, fast: over ten million a second on one core.

The kernel goes from detection to detection, not from pulse to pulse: a geometric number of pulses
without one is skipped, a table says what the next one does to the two detectors, and the times
come from tabulated quantiles. Dead time works on the order of arrival; jitter comes after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from qdchar.roles import TagBlock

from .detectors import LASER, PAIR

Array = NDArray[np.float64]

_BINS = 4096
_TAIL = 64
_SKIPS = 64
_OFTEN = 0.05
"""Clicks per pulse above which a skip is looked up instead of computed."""
_LEAD = 64
_NEVER = 1e300
_FAR = 1e15

# Quantiles at the edges of equally probable bins. Between them the density is taken as flat,
# which is right to 1 % where the outermost 64 bins are drawn exactly instead.
_EDGES = np.arange(_BINS + 1) / _BINS
_EXPONENTIAL = -np.log1p(-np.minimum(_EDGES, 1.0 - 0.5 / _BINS))
_NORMAL = ndtri(np.clip(_EDGES, 0.5 / _BINS, 1.0 - 0.5 / _BINS))
_EXPONENTIAL_TAIL = float(_EXPONENTIAL[_BINS - _TAIL])
_NORMAL_TAIL = float(_NORMAL[_BINS - _TAIL])

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)
_S11, _S20, _S28, _S32, _S52, _S58 = (np.uint64(n) for n in (11, 20, 28, 32, 52, 58))
_MASK_12, _MASK_20 = np.uint64(0xFFF), np.uint64(0xFFFFF)
_MASK_26, _MASK_28 = np.uint64(0x3FFFFFF), np.uint64(0xFFFFFFF)
_MASK_4 = np.uint64(0xF)


@nb.njit(cache=True, nogil=True, inline="always")
def _draw(rng):  # type: ignore[no-untyped-def]
    """Return the next 64 random bits (splitmix64)."""
    rng[0] += _GAMMA
    z = rng[0]
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@nb.njit(cache=True, nogil=True)
def _uniform(rng):  # type: ignore[no-untyped-def]
    """Return a number between 0 and 1, neither included."""
    return (np.float64(_draw(rng) >> _S11) + 0.5) * 2.0**-53


@nb.njit(cache=True, nogil=True)
def _normal_tail(rng):  # type: ignore[no-untyped-def]
    """Return a normal number beyond the table (Marsaglia 1964)."""
    while True:
        x = -math.log(_uniform(rng)) / _NORMAL_TAIL
        if -2.0 * math.log(_uniform(rng)) > x * x:
            return _NORMAL_TAIL + x


@nb.njit(cache=True, nogil=True, inline="always")
def _exponential(bits, rng):  # type: ignore[no-untyped-def]
    """Return a number of unit exponential distribution from the low 32 of random bits."""
    j = np.int64((bits >> _S20) & _MASK_12)
    if j >= _BINS - _TAIL:
        return _EXPONENTIAL_TAIL - math.log(_uniform(rng))
    low = _EXPONENTIAL[j]
    return low + (_EXPONENTIAL[j + 1] - low) * (np.float64(bits & _MASK_20) * 2.0**-20)


@nb.njit(cache=True, nogil=True, inline="always")
def _normal(bits, rng):  # type: ignore[no-untyped-def]
    """Return a number of unit normal distribution from the high 32 of random bits."""
    j = np.int64(bits >> _S52)
    if j >= _BINS - _TAIL:
        return _normal_tail(rng)
    if j < _TAIL:
        return -_normal_tail(rng)
    low = _NORMAL[j]
    return low + (_NORMAL[j + 1] - low) * (np.float64((bits >> _S32) & _MASK_20) * 2.0**-20)


@nb.njit(cache=True, nogil=True)
def _alias(weights, threshold, other):  # type: ignore[no-untyped-def]
    """Fill Vose's alias tables for weights that sum to one; thresholds are between 0 and 1."""
    n = len(weights)
    scaled = weights * n
    small = np.empty(n, np.int64)
    large = np.empty(n, np.int64)
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
        s = small[n_small]
        g = large[n_large - 1]
        threshold[s] = scaled[s]
        other[s] = g
        scaled[g] -= 1.0 - scaled[s]
        if scaled[g] < 1.0:
            n_large -= 1
            small[n_small] = g
            n_small += 1


@nb.njit(cache=True, nogil=True, inline="always")
def _insert(ticks, channels, n, tick, channel):  # type: ignore[no-untyped-def]
    """Insert a tag where it belongs in time, looking from the end."""
    j = n
    while j > 0 and ticks[j - 1] > tick:
        ticks[j] = ticks[j - 1]
        channels[j] = channels[j - 1]
        j -= 1
    ticks[j] = tick
    channels[j] = channel


class Hardware(NamedTuple):
    """What does not change: pulses, detectors and converter, in picoseconds."""

    period_ps: float
    dead_ps: float
    jitter_ps: float
    sync_jitter_ps: float
    delay_a_ps: float
    delay_b_ps: float
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
    pulses
        int64, shape (2,): pulse of the next clock tag, pulse of the next blinking switch.
    dim
        int64, shape (1,): 0 while the dot shines, 1 while not.
    """

    rng: NDArray[np.uint64]
    late_ps: Array
    last_ps: Array
    next_ps: Array
    pulses: NDArray[np.int64]
    dim: NDArray[np.int64]


@nb.njit(cache=True, nogil=True)
def _offer(arrival_ps, d, bits, hardware, carry, ticks, channels, n):  # type: ignore[no-untyped-def]
    """Offer a photon to detector `d`; what clicks is the earlier of it and the one held back."""
    click_ps = min(arrival_ps, carry.late_ps[d])
    carry.late_ps[d] = max(arrival_ps, carry.late_ps[d])
    if click_ps - carry.last_ps[d] < hardware.dead_ps:
        return n
    carry.last_ps[d] = click_ps
    delay_ps = hardware.delay_a_ps if d == 0 else hardware.delay_b_ps
    t = click_ps + delay_ps + hardware.jitter_ps * _normal(bits, carry.rng)
    _insert(ticks, channels, n, np.int64(math.floor(t / hardware.step_ps)), d + 1)
    return n + 1


@nb.njit(cache=True, nogil=True)
def _unpulsed(until_ps, first_ps, steady, hardware, carry, ticks, channels, n):  # type: ignore[no-untyped-def]
    """Add clock tags, dark counts and steady light up to a time."""
    room = len(ticks) - 8
    following = carry.next_ps
    while n < room:
        d = int(np.argmin(following)) - 1
        now_ps = following[d + 1]
        if now_ps >= until_ps:
            break
        bits = _draw(carry.rng)
        if d < 0:
            t = now_ps + hardware.sync_jitter_ps * _normal(bits, carry.rng)
            _insert(ticks, channels, n, np.int64(math.floor(t / hardware.step_ps)), 0)
            n += 1
            carry.pulses[0] += hardware.divider
            following[0] = first_ps + carry.pulses[0] * hardware.period_ps
        else:
            following[d + 1] -= math.log(_uniform(carry.rng)) / steady[d]
            n = _offer(now_ps, d, bits, hardware, carry, ticks, channels, n)
    return n


@nb.njit(cache=True, nogil=True)
def sample(  # type: ignore[no-untyped-def]
    segment_end, tables, lifetime_ps, steady, first_ps, hardware, carry, ticks, channels, n
):
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
        Number of tags; if it comes within 8 of the room given, tags were lost.
    """
    room = len(ticks) - 8
    any_click = np.zeros(2)
    log_none = np.zeros(2)
    skip_threshold, skip_other = np.empty((2, _SKIPS)), np.empty((2, _SKIPS), np.int64)
    case_threshold, case_other = np.empty((2, 16)), np.empty((2, 16), np.int64)
    i = 0
    for s in range(len(segment_end)):
        for dim in range(2):
            any_click[dim] = tables[s, dim, 1:].sum()
            if any_click[dim] > 0.0:
                log_none[dim] = math.log1p(-any_click[dim])
                cases = tables[s, dim] / any_click[dim]
                cases[0] = 0.0
                _alias(cases, case_threshold[dim], case_other[dim])
                skips = any_click[dim] * (1.0 - any_click[dim]) ** np.arange(_SKIPS)
                skips[-1] = (1.0 - any_click[dim]) ** (_SKIPS - 1)
                _alias(skips, skip_threshold[dim], skip_other[dim])
        end = segment_end[s]
        while i < end:
            if carry.pulses[1] <= i:
                carry.dim[0] = 1 - carry.dim[0]
                leave = hardware.switch_off if carry.dim[0] == 0 else hardware.switch_on
                wait = -math.log(_uniform(carry.rng)) / leave
                carry.pulses[1] = i + 1 + np.int64(min(wait, _FAR))
                continue
            dim = carry.dim[0]
            limit = min(end, carry.pulses[1])
            if any_click[dim] <= 0.0:
                i = limit
                continue
            # no memory: a skip that ends beyond the limit is forgotten there
            bits = _draw(carry.rng)
            if any_click[dim] > _OFTEN:
                while True:
                    j = np.int64(bits >> _S58)
                    if np.float64((bits >> _S32) & _MASK_26) * 2.0**-26 >= skip_threshold[dim, j]:
                        j = skip_other[dim, j]
                    i += j
                    if j < _SKIPS - 1 or i >= limit:
                        break
                    bits = _draw(carry.rng)
            else:
                i += np.int64(min(math.log(_uniform(carry.rng)) / log_none[dim], _FAR))
            if i >= limit:
                i = limit
                continue
            case = np.int64((bits >> _S28) & _MASK_4)
            if np.float64(bits & _MASK_28) * 2.0**-28 >= case_threshold[dim, case]:
                case = case_other[dim, case]
            pulse_ps = first_ps + i * hardware.period_ps
            if carry.next_ps.min() < pulse_ps:
                n = _unpulsed(pulse_ps, first_ps, steady, hardware, carry, ticks, channels, n)
            if n >= room:
                return n
            for d in range(2):
                kind = case >> 2 if d == 0 else case & 3
                if kind != 0:
                    bits = _draw(carry.rng)
                    delay_ps = 0.0
                    if kind != LASER:
                        delay_ps = lifetime_ps[s] * _exponential(bits, carry.rng)
                        if kind == PAIR:
                            delay_ps *= 0.5
                    n = _offer(pulse_ps + delay_ps, d, bits, hardware, carry, ticks, channels, n)
            i += 1
    end_ps = first_ps + segment_end[-1] * hardware.period_ps
    n = _unpulsed(end_ps, first_ps, steady, hardware, carry, ticks, channels, n)
    for d in range(2):
        # nothing that comes later can arrive before the next pulse
        if carry.late_ps[d] < end_ps:
            n = _offer(_NEVER, d, _draw(carry.rng), hardware, carry, ticks, channels, n)
            carry.late_ps[d] = -_NEVER
    return n


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
        first_sync = -self._pulse % hardware.divider
        self._carry = Carry(
            rng=np.array([seed], np.uint64),
            late_ps=np.full(2, -_NEVER),
            last_ps=np.full(2, -0.5 * _NEVER),
            next_ps=np.array([0.0, _NEVER, _NEVER]),
            pulses=np.array([first_sync, 0], np.int64),
            dim=np.array([int(dim)], np.int64),
        )
        self._carry.next_ps[0] = self._locate(self._pulse)[1] + first_sync * hardware.period_ps
        leave = hardware.switch_on if dim else hardware.switch_off
        wait = np.random.default_rng(seed).exponential(1.0 / leave) if leave > 0.0 else _FAR
        self._carry.pulses[1] = int(min(wait, _FAR)) + 1

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

    def draw(self, light: Segments) -> TagBlock:
        """Draw the tags of the next pulses."""
        ticks, first_ps = self._locate(self._pulse)
        shift = ticks - self._base
        self._base = ticks
        self._set_steady(light.steady_Hz, first_ps)
        waiting_ticks, waiting_channels = self._waiting
        n = len(waiting_ticks)
        room = n + self._room(light)
        out_ticks, out_channels = np.empty(room, np.int64), np.empty(room, np.uint8)
        out_ticks[:n], out_channels[:n] = waiting_ticks - shift, waiting_channels
        end = np.cumsum(light.pulses)
        n = sample(
            end,
            light.tables,
            light.lifetime_s * 1e12,
            np.array(self._steady),
            first_ps,
            self._hardware,
            self._carry,
            out_ticks,
            out_channels,
            n,
        )
        if n >= room - 8:
            raise RuntimeError(f"more tags than the {room} that there was room for")
        self._pulse += int(end[-1])
        self._rebase(int(end[-1]), first_ps)
        return self._cut(out_ticks[:n], out_channels[:n])

    def _set_steady(self, steady_Hz: tuple[float, float], first_ps: float) -> None:
        """Change the rates of what is not pulsed; waiting times have no memory."""
        steady = (steady_Hz[0] * 1e-12, steady_Hz[1] * 1e-12)
        if steady != self._steady:
            rng = np.random.default_rng(int(_draw(self._carry.rng)))
            for d in range(2):
                wait = rng.exponential(1.0 / steady[d]) if steady[d] > 0.0 else _NEVER
                self._carry.next_ps[d + 1] = first_ps + wait
            self._steady = steady

    def _room(self, light: Segments) -> int:
        """Tags that these pulses give at the very most."""
        both = np.concatenate((np.zeros(1), np.ones(3)))
        clicks = (both[:, None] + both[None, :]).ravel()
        mean = float((light.tables @ clicks).max(axis=1) @ light.pulses)
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
        np.subtract(carry.pulses, pulses, out=carry.pulses)

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
