"""The loops over tags, compiled by numba; called from :mod:`qdchar.tags.kernels` only.

All of them carry their state in arrays that the caller keeps, so that a stream cut into any
chunks gives bit-identical results. Arrays must be contiguous and writable: numba would compile a
second version for read-only ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Uint8s = NDArray[np.uint8]


@njit(cache=True, nogil=True)
def keep_recent(buffer: Int64s, count: int, keep_from: int) -> int:
    """Drop entries below `keep_from` from a sorted buffer; return how many stay."""
    first = int(np.searchsorted(buffer[:count], keep_from))
    kept = count - first
    for i in range(kept):
        buffer[i] = buffer[first + i]
    return kept


@njit(cache=True, nogil=True)
def is_sorted(times: Int64s, after: int) -> bool:
    """Tell whether no time lies before the one before it, nor the first before `after`.

    The loops below rely on it: with times that go back they would write outside their arrays.
    """
    back = int(len(times) > 0 and times[0] < after)
    for i in range(1, len(times)):
        back += times[i] < times[i - 1]
    return back == 0


@njit(cache=True, nogil=True)
def split(
    times: Int64s,
    channels: Uint8s,
    channel_a: int,
    channel_b: int,
    a: Int64s,
    b: Int64s,
    n_a: int,
    n_b: int,
) -> tuple[int, int]:
    """Append the tags of channel A to `a` and those of B to `b`; return the new lengths.

    Every time is written to both, and the length of one grows: there is no branch that the
    processor could guess wrong. The arrays need one place to spare.
    """
    i_a, i_b = np.uint64(n_a), np.uint64(n_b)
    for i in range(len(times)):
        now, channel = times[i], channels[i]
        a[i_a] = now
        b[i_b] = now
        i_a += np.uint64(channel == channel_a)
        i_b += np.uint64(channel == channel_b)
    return int(np.int64(i_a)), int(np.int64(i_b))


SPARE: Final = 8
"""Places after the bins of a histogram that the pair loops use for what falls outside, and
places after the sorted times of channel B that must hold something very late."""

_Pairs = Callable[[Int64s, Int64s, int, int, int, int, int, Int64s], None]


def _two_pointer(at_once: int, then: int) -> _Pairs:
    """Make the loop over all pairs that looks at `at_once` tags of B for each tag of A, unasked.

    Where a window ends is what a processor cannot guess, and a wrong guess costs as much as
    several pairs. So the first tags of B after the window's beginning are counted without asking
    whether they belong: those that do not are counted beside the histogram. Only what goes
    beyond them is a branch, seldom taken if `at_once` is above the mean.
    """

    @njit(cache=True, nogil=True)
    def pairs(
        a: Int64s,
        b: Int64s,
        low: int,
        high: int,
        width: int,
        magic: int,
        shift: int,
        counts: Int64s,
    ) -> None:
        span = high - low
        n_bins = len(counts) - SPARE
        n_a = np.uint64(len(a))
        end = np.uint64(len(b))
        one = np.uint64(1)
        first = np.uint64(0)
        i = np.uint64(0)
        if magic != 0 and len(b) > SPARE:
            safe = b[len(b) - 1 - SPARE] - high
            while i < n_a and a[i] <= safe:
                begin = a[i] + low
                first += np.uint64(b[first] < begin)
                while b[first] < begin:
                    first += one
                for k in range(at_once):
                    offset = b[first + np.uint64(k)] - begin
                    bin_ = np.uint64((offset * magic) >> shift)
                    counts[bin_ if offset < span else np.uint64(n_bins + k)] += 1
                j = first + np.uint64(at_once)
                while b[j] - begin < span:
                    for k in range(then):
                        offset = b[j + np.uint64(k)] - begin
                        bin_ = np.uint64((offset * magic) >> shift)
                        counts[bin_ if offset < span else np.uint64(n_bins + k)] += 1
                    j += np.uint64(then)
                i += one
        while i < n_a:
            begin = a[i] + low
            while first < end and b[first] < begin:
                first += one
            j = first
            while j < end and b[j] - begin < span:
                counts[np.uint64((b[j] - begin) // width)] += 1
                j += one
            i += one

    return pairs


pairs_sparse: Final = _two_pointer(2, 2)
pairs_dense: Final = _two_pointer(6, 4)


@njit(cache=True, nogil=True)
def look_back(
    times: Int64s,
    channels: Uint8s,
    channel_a: int,
    channel_b: int,
    low: int,
    high: int,
    magic: int,
    shift: int,
    both: Int64s,
    half: int,
    n_a: int,
    n_b: int,
    counts: Int64s,
) -> tuple[int, int]:
    """Pair every tag with the earlier tags of the other channel; low <= 0 < high.

    `both` holds the recent tags of A from 0 and those of B from `half`, with something very early
    before each. Which of the two is looked through is selected, not branched on, so that the
    processor has one branch a tag to guess: whether there is a pair at all. Faster than
    the two-pointer loops while nearly all tags have none.
    """
    end_a, end_b = 1 - low, high
    i_a, i_b = np.uint64(n_a), np.uint64(half + n_b)
    one = np.uint64(1)
    for i in range(len(times)):
        now, channel = times[i], channels[i]
        is_a, is_b = channel == channel_a, channel == channel_b
        k = (i_b if is_a else i_a) - one
        reach = end_a if is_a else (end_b if is_b else 0)
        sign = -1 if is_a else 1
        both[i_a] = now
        both[i_b] = now
        i_a += np.uint64(is_a)
        i_b += np.uint64(is_b)
        apart = now - both[k]
        while apart < reach:
            counts[np.uint64(((sign * apart - low) * magic) >> shift)] += 1
            k -= one
            apart = now - both[k]
    return int(np.int64(i_a)), int(np.int64(i_b)) - half


@njit(cache=True, nogil=True, inline="always")
def pulse_and_phase(
    time: int, origin: int, fraction: float, whole: int, rest: float, inverse: float
) -> tuple[int, float]:
    """Give the number of the pulse at or before `time`, and the time since it.

    The period is ``whole + rest``. ``pulse * whole`` is exact in integers, and ``pulse * rest``
    is below 2**40 for 1e12 pulses, where float64 steps by 1e-4 ps.
    """
    since = time - origin
    pulse = int(np.floor((since - fraction) * inverse))
    phase = float(since - pulse * whole) - (pulse * rest + fraction)
    period = whole + rest
    if phase < 0.0:
        pulse -= 1
        phase = float(since - pulse * whole) - (pulse * rest + fraction)
    elif phase >= period:
        pulse += 1
        phase = float(since - pulse * whole) - (pulse * rest + fraction)
    return pulse, min(max(phase, 0.0), float(np.nextafter(period, 0.0)))


@njit(cache=True, nogil=True)
def uniform(seed: int, index: int) -> float:
    """Draw a number in [0, 1) that depends on seed and index alone (SplitMix64)."""
    z = np.uint64(seed) + np.uint64(index + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def fold(
    times: Int64s,
    channels: Uint8s,
    channel: int,
    origin: int,
    fraction: float,
    whole: int,
    rest: float,
    dither_ps: float,
    seed: int,
    index: int,
    bins_per_ps: float,
    counts: Int64s,
) -> int:
    """Histogram the phases of one channel; return the number of its tags so far."""
    period = whole + rest
    inverse = 1.0 / period
    last = len(counts) - 1
    for i in range(len(times)):
        if channels[i] != channel:
            continue
        _, phase = pulse_and_phase(times[i], origin, fraction, whole, rest, inverse)
        if dither_ps > 0.0:
            phase += dither_ps * uniform(seed, index)
            if phase >= period:
                phase -= period
        counts[min(int(phase * bins_per_ps), last)] += 1
        index += 1
    return index


@njit(cache=True, nogil=True)
def live_clicks(
    times: Int64s,
    channels: Uint8s,
    channel: int,
    origin: int,
    fraction: float,
    whole: int,
    rest: float,
    recovery_pulses: int,
    last_pulse: int,
    live: Int64s,
) -> tuple[int, int]:
    """Collect the clicks of one channel more than `recovery_pulses` after its last one.

    Returns their number, and the pulse of the last click.
    """
    inverse = 1.0 / (whole + rest)
    count = 0
    for i in range(len(times)):
        if channels[i] != channel:
            continue
        pulse, _ = pulse_and_phase(times[i], origin, fraction, whole, rest, inverse)
        if pulse - last_pulse > recovery_pulses:
            live[count] = times[i]
            count += 1
        last_pulse = pulse
    return count, last_pulse


@njit(cache=True, nogil=True)
def count_gaps(
    times: Int64s, channels: Uint8s, channel: int, per_ps: float, last: int, gaps: Int64s
) -> tuple[int, int]:
    """Histogram the rounded gaps between clicks of one channel; return clicks and the last one."""
    clicks = 0
    beyond = len(gaps) - 0.5
    for i in range(len(times)):
        if channels[i] != channel:
            continue
        gap = (times[i] - last) * per_ps
        if gap < beyond:
            gaps[int(gap + 0.5)] += 1
        last = times[i]
        clicks += 1
    return clicks, last


# Places in the state of `count_after_clicks`: latest click of A and of B, latest one on a pulse.
LATEST_A, LATEST_B, ON_PULSE, OFF_PULSE = 0, 1, 2, 3


@njit(cache=True, nogil=True)
def count_after_clicks(
    times: Int64s,
    channels: Uint8s,
    a: int,
    b: int,
    delay_b: int,
    per_ps: float,
    state: Int64s,
    counts: Int64s,
) -> None:
    """Count clicks of A and B by the time since the last click of either, B's moved by `delay_b`.

    counts[last, g, this, 0] = gaps within a quarter of a period of g periods; counts[..., 1] those
    from g + 1/4 to g + 3/4 periods. Only gaps after a click that was itself a whole number of
    periods after others are counted: of two clicks between the pulses in a row that are, the
    second is taken for one on a pulse.
    """
    longest = counts.shape[1] - 1
    for i in range(len(times)):
        if channels[i] == a:
            this, now = 0, times[i]
        elif channels[i] == b:
            this, now = 1, times[i] - delay_b
        else:
            continue
        which = 0 if state[LATEST_A] > state[LATEST_B] else 1
        last = state[which]
        if last == state[ON_PULSE]:
            gap = (now - last) * per_ps + 0.25
            if 0.25 < gap < longest:
                g = int(gap)
                counts[which, g, this, 0 if gap - g < 0.5 else 1] += 1
        turns = (now - state[ON_PULSE]) * per_ps + 0.25
        again = (now - state[OFF_PULSE]) * per_ps + 0.25
        if turns - np.floor(turns) < 0.5 or again - np.floor(again) < 0.5:
            state[ON_PULSE] = now
        else:
            state[OFF_PULSE] = now
        state[this] = max(now, state[this])


@njit(cache=True, nogil=True)
def click_pulses(
    times: Int64s,
    channels: Uint8s,
    channel: int,
    origin: int,
    fraction: float,
    whole: int,
    rest: float,
    window_ps: float,
    pulses: Int64s,
    count: int,
) -> int:
    """Append a code for each click of `channel`: twice its pulse, plus 1 outside the window."""
    inverse = 1.0 / (whole + rest)
    for i in range(len(times)):
        if channels[i] == channel:
            pulse, phase = pulse_and_phase(times[i], origin, fraction, whole, rest, inverse)
            pulses[count] = 2 * pulse + (1 if phase >= window_ps else 0)
            count += 1
    return count


# Places in the state of `count_pulses`.
LAST_CLICK = 0  # latest pulse with any click
LAST_A, LAST_B = 1, 2  # latest pulse with a click on one channel
RECENT_A, RECENT_B = 3, 4  # how many recent pulses are held
STATE_SIZE = 5


@njit(cache=True, nogil=True)
def add_live(
    begin: int, end: int, first: int, block_pulses: int, n_blocks: int, live: Int64s
) -> None:
    """Add the pulses begin..end-1 to the live count of their blocks."""
    begin = max(begin, first)
    end = min(end, first + block_pulses * n_blocks)
    while begin < end:
        block = (begin - first) // block_pulses
        stop = min(end, first + (block + 1) * block_pulses)
        live[block] += stop - begin
        begin = stop


@njit(cache=True, nogil=True)
def count_pulses(
    a: Int64s,
    b: Int64s,
    until: int,
    veto: int,
    first: int,
    block_pulses: int,
    state: Int64s,
    recent_a: Int64s,
    recent_b: Int64s,
    live: Int64s,
    clicks: Int64s,
    gated: Int64s,
    areas: Int64s,
    gaps: Int64s,
    taken: Int64s,
) -> None:
    """Go through the click codes of both channels, merged by pulse, up to pulse `until`.

    clicks[block] = pulses with a click on A, on B, on both; gated[block] the same where the pulse
    is live; areas[block, n_max + n] = pairs with A in pulse i of this block and B in pulse i + n;
    gaps[channel, g] = successive clicks g pulses apart; taken = codes used of a and b.
    """
    n_blocks = len(live)
    end = first + block_pulses * n_blocks
    n_max = (areas.shape[1] - 1) // 2
    longest = gaps.shape[1] - 1
    n_a, n_b = state[RECENT_A], state[RECENT_B]
    last = state[LAST_CLICK]
    last_a, last_b = state[LAST_A], state[LAST_B]
    i = j = 0
    far = 1 << 62
    while True:
        pulse_a = int(a[i]) >> 1 if i < len(a) else far
        pulse_b = int(b[j]) >> 1 if j < len(b) else far
        pulse = min(pulse_a, pulse_b)
        if pulse >= until:
            break
        in_a = in_b = False
        any_a = any_b = False
        while i < len(a) and a[i] >> 1 == pulse:
            in_a |= a[i] & 1 == 0
            if any_a and first <= pulse < end:
                gaps[0, 0] += 1
            any_a = True
            i += 1
        while j < len(b) and b[j] >> 1 == pulse:
            in_b |= b[j] & 1 == 0
            if any_b and first <= pulse < end:
                gaps[1, 0] += 1
            any_b = True
            j += 1
        inside = first <= pulse < end
        # clicks before the span of time veto its first pulses, and count nowhere else
        if inside:
            block = (pulse - first) // block_pulses
            if any_a and last_a >= first and pulse - last_a <= longest:
                gaps[0, pulse - last_a] += 1
            if any_b and last_b >= first and pulse - last_b <= longest:
                gaps[1, pulse - last_b] += 1
            clicks[block, 0] += in_a
            clicks[block, 1] += in_b
            clicks[block, 2] += in_a and in_b
            if pulse - last > veto:
                add_live(last + veto + 1, pulse + 1, first, block_pulses, n_blocks, live)
                gated[block, 0] += in_a
                gated[block, 1] += in_b
                gated[block, 2] += in_a and in_b
            if in_b:
                for k in range(n_a - 1, -1, -1):
                    n = pulse - recent_a[k]
                    if n > n_max:
                        break
                    areas[(recent_a[k] - first) // block_pulses, n_max + n] += 1
            if in_a:
                for k in range(n_b - 1, -1, -1):
                    n = recent_b[k] - pulse
                    if n < -n_max:
                        break
                    areas[block, n_max + n] += 1
                recent_a[n_a] = pulse
                n_a += 1
                if in_b:
                    areas[block, n_max] += 1
            if in_b:
                recent_b[n_b] = pulse
                n_b += 1
        if any_a:
            last_a = pulse
        if any_b:
            last_b = pulse
        last = max(last, pulse)
    state[RECENT_A], state[RECENT_B] = n_a, n_b
    state[LAST_CLICK], state[LAST_A], state[LAST_B] = last, last_a, last_b
    taken[0], taken[1] = i, j


@njit(cache=True, nogil=True)
def add_phases(
    times: Int64s,
    channels: Uint8s,
    use: NDArray[np.bool_],
    origin: int,
    fraction: float,
    whole: int,
    rest: float,
    sums: NDArray[np.float64],
) -> None:
    """Add up cos, sin, cos of the double phase, and number, of the tags of the channels in use."""
    period = whole + rest
    inverse = 1.0 / period
    for i in range(len(times)):
        if use[channels[i]]:
            _, phase = pulse_and_phase(times[i], origin, fraction, whole, rest, inverse)
            angle = 2.0 * np.pi * phase * inverse
            cosine = np.cos(angle)
            sums[0] += cosine
            sums[1] += np.sin(angle)
            sums[2] += 2.0 * cosine * cosine - 1.0
            sums[3] += 1.0
