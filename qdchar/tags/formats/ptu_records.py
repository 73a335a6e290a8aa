"""Decoding and encoding of PicoQuant's 32-bit records, compiled by numba."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Places in the state of the decoders.
OVERFLOW: Final = 0  # what all overflows so far add
MARKERS: Final = 1
OVERFLOWS: Final = 2
BEYOND: Final = 3  # T3 clicks later than the period
LATEST_DTIME: Final = 4
PREVIOUS_PS: Final = 5  # time of the last click
LATE: Final = 6  # whether a click lay before its predecessor
CLICKS: Final = 7
STATE_SIZE: Final = 8

SYNC: Final = 64

# The decoders turn records into times and channels and return how many clicks there are; an
# impossible record at place i ends them with -1 - i. `limit` is the count from which int64
# picoseconds overflow. Runs of clicks between special records have a loop of their own: with the
# overflow constant the processor can work on several records at once. Indices are unsigned
# because numba tests signed ones for being negative.


@njit(cache=True, nogil=True)
def decode_t2(
    raw: NDArray[np.uint32],
    wrap: int,
    counted: bool,
    unit_ps: int,
    limit: int,
    times: NDArray[np.int64],
    channels: NDArray[np.uint8],
    state: NDArray[np.int64],
) -> int:
    """Decode T2 records of the HydraHarp layout: special 1 bit, channel 6, time 25."""
    overflow = state[OVERFLOW]
    previous = state[PREVIOUS_PS]
    late = False
    i = np.uint64(0)
    end = np.uint64(len(raw))
    n = np.uint64(0)
    one = np.uint64(1)
    while i < end:
        base = overflow * unit_ps
        while i < end:
            record = raw[i]
            if record >= np.uint32(0x80000000):
                break
            now = base + np.int64(record & np.uint32(0x1FFFFFF)) * unit_ps
            times[n] = now
            channels[n] = record >> np.uint32(25)
            late |= now < previous
            previous = now
            n += one
            i += one
        if i < end:
            special = np.int64(raw[i])
            channel = (special >> 25) & 0x3F
            time = special & 0x1FFFFFF
            if channel == 63:
                overflow += wrap * max(time, np.int64(1)) if counted else wrap
                state[OVERFLOWS] += 1
                if overflow > limit:
                    return -1 - int(np.int64(i))
            elif channel == 0:
                now = base + time * unit_ps
                times[n] = now
                channels[n] = SYNC
                late |= now < previous
                previous = now
                n += one
            elif channel <= 15:
                state[MARKERS] += 1
            else:
                return -1 - int(np.int64(i))
            i += one
    state[OVERFLOW] = overflow
    state[PREVIOUS_PS] = previous
    state[LATE] = late
    state[CLICKS] += np.int64(n)
    return int(np.int64(n))


@njit(cache=True, nogil=True)
def decode_t3(
    raw: NDArray[np.uint32],
    wrap: int,
    counted: bool,
    whole: int,
    rest: float,
    dtime_ps: int,
    longest: int,
    limit: int,
    times: NDArray[np.int64],
    channels: NDArray[np.uint8],
    state: NDArray[np.int64],
) -> int:
    """Decode T3 records of the HydraHarp layout: special 1 bit, channel 6, dtime 15, sync 10.

    `whole + rest` is the sync period in picoseconds, `longest` the largest regular dtime.
    """
    overflow = state[OVERFLOW]
    previous = state[PREVIOUS_PS]
    latest_dtime = state[LATEST_DTIME]
    late = False
    beyond = 0
    i = np.uint64(0)
    end = np.uint64(len(raw))
    n = np.uint64(0)
    one = np.uint64(1)
    while i < end:
        while i < end:
            record = raw[i]
            if record >= np.uint32(0x80000000):
                break
            syncs = overflow + np.int64(record & np.uint32(0x3FF))
            dtime = np.int64((record >> np.uint32(10)) & np.uint32(0x7FFF))
            now = syncs * whole + np.int64(np.ceil(syncs * rest)) + dtime * dtime_ps
            times[n] = now
            channels[n] = record >> np.uint32(25)
            beyond += int(dtime > longest)
            latest_dtime = max(latest_dtime, dtime)
            late |= now < previous
            previous = now
            n += one
            i += one
        if i < end:
            special = np.int64(raw[i])
            channel = (special >> 25) & 0x3F
            if channel == 63:
                count = special & 0x3FF
                overflow += wrap * max(count, np.int64(1)) if counted else wrap
                state[OVERFLOWS] += 1
                if overflow > limit:
                    return -1 - int(np.int64(i))
            elif 1 <= channel <= 15:
                state[MARKERS] += 1
            else:
                return -1 - int(np.int64(i))
            i += one
    state[OVERFLOW] = overflow
    state[PREVIOUS_PS] = previous
    state[LATEST_DTIME] = latest_dtime
    state[LATE] = late
    state[BEYOND] += beyond
    state[CLICKS] += np.int64(n)
    return int(np.int64(n))


@njit(cache=True, nogil=True)
def decode_picoharp(
    raw: NDArray[np.uint32],
    is_t3: bool,
    wrap: int,
    whole: int,
    rest: float,
    dtime_ps: int,
    longest: int,
    limit: int,
    times: NDArray[np.int64],
    channels: NDArray[np.uint8],
    state: NDArray[np.int64],
) -> int:
    """Decode records of the PicoHarp 300: channel 4 bits, then time 28, or dtime 12 and sync 16."""
    overflow = state[OVERFLOW]
    previous = state[PREVIOUS_PS]
    late = False
    count = 0
    for i in range(len(raw)):
        record = np.int64(raw[i])
        channel = record >> 28
        if is_t3:
            time = record & 0xFFFF
            dtime = (record >> 16) & 0xFFF
            flags = dtime
        else:
            time = record & 0xFFFFFFF
            dtime = np.int64(0)
            flags = time & 0xF
        if channel == 15:
            if flags == 0:
                overflow += wrap
                state[OVERFLOWS] += 1
                if overflow > limit:
                    return -1 - i
            else:
                state[MARKERS] += 1
            continue
        if channel > 4 or (is_t3 and channel == 0):
            return -1 - i
        units = overflow + time
        now = units * whole + np.int64(np.ceil(units * rest)) + dtime * dtime_ps
        times[count] = now
        channels[count] = channel - 1 if is_t3 else channel
        state[BEYOND] += dtime > longest
        state[LATEST_DTIME] = max(state[LATEST_DTIME], dtime)
        late |= now < previous
        previous = now
        count += 1
    state[OVERFLOW] = overflow
    state[PREVIOUS_PS] = previous
    state[LATE] = late
    state[CLICKS] += count
    return count


@njit(cache=True, nogil=True)
def count_dtimes(
    raw: NDArray[np.uint32], channel: int, wrap: int, counted: bool, counts: NDArray[np.int64]
) -> int:
    """Histogram the dtime of one channel straight from T3 records of the HydraHarp layout.

    counts has shape (4, 2 * 32 768): each fourth record has its own histogram, for two clicks in
    a row fall into the same bin often, and an addition would wait for the one before; what is
    not wanted goes to the upper half instead of being branched around. Returns the sync pulses
    that the overflows stand for.
    """
    n = np.uint64(len(raw))
    wanted = np.uint32(channel)
    i = np.uint64(0)
    one = np.uint64(1)
    while i < n:
        record = raw[i]
        dtime = np.uint64((record >> np.uint32(10)) & np.uint32(0x7FFF))
        other = np.uint64(0 if (record >> np.uint32(25)) == wanted else 32_768)
        counts[i & np.uint64(3), dtime + other] += 1
        i += one
    # a loop of its own, which is vectorised
    passed = np.uint64(0)
    for j in range(len(raw)):
        times = max(raw[j] & np.uint32(0x3FF), np.uint32(1)) if counted else np.uint32(1)
        passed += np.uint64(times if raw[j] >= np.uint32(0xFE000000) else np.uint32(0))
    return int(np.int64(passed)) * wrap


@njit(cache=True, nogil=True)
def encode(
    times: NDArray[np.int64],
    channels: NDArray[np.uint8],
    is_t3: bool,
    wrap: int,
    whole: int,
    rest: float,
    dtime_ps: int,
    most: int,
    raw: NDArray[np.uint32],
    state: NDArray[np.int64],
) -> int:
    """Turn tags into records of the HydraHarp2 layout; return how many.

    One overflow record stands for at most `most` overflows.
    `state` holds the overflows so far. A channel that does not fit at place i returns -1 - i.
    """
    overflows = state[0]
    count = 0
    period = whole + rest
    for i in range(len(times)):
        channel = np.int64(channels[i])
        if channel == SYNC and not is_t3:
            head = np.int64(1) << 31
        elif channel < 63:
            head = channel << 25
        else:
            return -1 - i
        now = times[i]
        if is_t3:
            units = np.int64(np.floor(now / period))
            begin = units * whole + np.int64(np.ceil(units * rest))
            if begin > now:
                units -= 1
                begin = units * whole + np.int64(np.ceil(units * rest))
            following = (units + 1) * whole + np.int64(np.ceil((units + 1) * rest))
            if now >= following:
                units += 1
                begin = following
            low = (((now - begin) // dtime_ps) << 10) | (units % wrap)
        else:
            units = now // whole
            low = units % wrap
        missing = units // wrap - overflows
        while missing > 0:
            step = min(missing, most)
            raw[count] = (np.int64(1) << 31) | (np.int64(63) << 25) | step
            count += 1
            missing -= step
            overflows += step
        raw[count] = head | low
        count += 1
    state[0] = overflows
    return count
