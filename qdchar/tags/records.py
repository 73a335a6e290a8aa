"""Decoding of PicoQuant's 32-bit records, compiled by numba."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Places in the state of `decode`.
OVERFLOW: Final = 0  # what all overflows so far add
MARKERS: Final = 1
OVERFLOWS: Final = 2
BEYOND: Final = 3  # T3 clicks later than the period
LATEST_PS: Final = 4
LATEST_DTIME: Final = 5
STATE_SIZE: Final = 6

SYNC: Final = 64


@njit(cache=True, nogil=True)
def decode(
    raw: NDArray[np.uint32],
    is_t3: bool,
    picoharp: bool,
    wrap: int,
    counted: bool,
    whole: int,
    rest: float,
    dtime_ps: float,
    longest: int,
    limit: int,
    times: NDArray[np.int64],
    channels: NDArray[np.uint8],
    clicks: NDArray[np.int64],
    state: NDArray[np.int64],
) -> int:
    """Turn records into times and channels; return how many clicks there are.

    An impossible record at place i ends it: then -1 - i is returned. `whole + rest` is the unit
    of the time (T2) or the sync period (T3) in picoseconds, `longest` the largest regular dtime,
    `limit` the time from which int64 picoseconds overflow.
    """
    overflow = state[OVERFLOW]
    latest = state[LATEST_PS]
    count = 0
    for i in range(len(raw)):
        record = np.int64(raw[i])
        dtime = np.int64(0)
        click = True
        if picoharp:
            channel = record >> 28
            if is_t3:
                time = record & 0xFFFF
                dtime = (record >> 16) & 0xFFF
                flags = dtime
            else:
                time = record & 0xFFFFFFF
                flags = time & 0xF
            if channel == 15:
                click = False
                if flags == 0:
                    overflow += wrap
                    state[OVERFLOWS] += 1
                    time = np.int64(0)
                else:
                    state[MARKERS] += 1
            elif channel > 4 or (is_t3 and channel == 0):
                return -1 - i
            elif is_t3:
                channel -= 1
        else:
            channel = (record >> 25) & 0x3F
            if is_t3:
                time = record & 0x3FF
                dtime = (record >> 10) & 0x7FFF
            else:
                time = record & 0x1FFFFFF
            if record >> 31:
                if channel == 63:
                    click = False
                    overflow += wrap * max(int(time), 1) if counted else wrap
                    state[OVERFLOWS] += 1
                    time = np.int64(0)
                elif channel == 0 and not is_t3:
                    channel = np.int64(SYNC)
                elif 1 <= channel <= 15:
                    click = False
                    state[MARKERS] += 1
                else:
                    return -1 - i
        units = overflow + time
        if units > limit:
            return -1 - i
        now = units * whole
        if rest > 0.0:
            now += np.int64(np.ceil(units * rest))
        if click:
            if is_t3:
                now += np.int64(np.rint(dtime * dtime_ps))
                if dtime > longest:
                    state[BEYOND] += 1
                state[LATEST_DTIME] = max(state[LATEST_DTIME], dtime)
            times[count] = now
            channels[count] = channel
            clicks[channel] += 1
            count += 1
        latest = max(latest, now)
    state[OVERFLOW] = overflow
    state[LATEST_PS] = latest
    return count
