"""Slow and obvious versions of the kernels, on Python integers and fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


def pair_histogram(
    times: list[int],
    channels: list[int],
    channel_a: int,
    channel_b: int,
    start: int,
    width: int,
    n_bins: int,
) -> NDArray[np.int64]:
    counts = np.zeros(n_bins, np.int64)
    for i, (t_a, c_a) in enumerate(zip(times, channels, strict=True)):
        for j, (t_b, c_b) in enumerate(zip(times, channels, strict=True)):
            if i != j and c_a == channel_a and c_b == channel_b:
                bin_ = (t_b - t_a - start) // width  # Python's // is a floor
                if 0 <= bin_ < n_bins:
                    counts[bin_] += 1
    return counts


def pulse_of(time: int, zero: Fraction, period: Fraction) -> tuple[int, Fraction]:
    pulse = math.floor((time - zero) / period)
    return pulse, (time - zero) - pulse * period


def pulse_statistics(
    times: list[int],
    channels: list[int],
    *,
    zero: Fraction,
    period: Fraction,
    channel_a: int,
    channel_b: int,
    offset_a: Fraction,
    offset_b: Fraction,
    window: Fraction,
    start: int,
    stop: int,
    blind: int,
    n_blocks: int,
    n_max: int,
) -> dict[str, NDArray[np.int64]]:
    clicked: list[dict[int, bool]] = [{}, {}]  # pulse -> whether a click fell in the window
    every: list[list[int]] = [[], []]
    for time, channel in zip(times, channels, strict=True):
        for which, (number, offset) in enumerate(((channel_a, offset_a), (channel_b, offset_b))):
            if channel == number:
                pulse, phase = pulse_of(time, zero + offset, period)
                clicked[which][pulse] = clicked[which].get(pulse, False) or phase < window
                every[which].append(pulse)

    def inside(pulse: int) -> bool:
        return all(
            zero + offset + pulse * period >= start and zero + offset + (pulse + 1) * period <= stop
            for offset in (offset_a, offset_b)
        )

    low = math.floor((start - zero - max(offset_a, offset_b)) / period) - 2
    high = math.ceil((stop - zero - min(offset_a, offset_b)) / period) + 2
    whole = [p for p in range(low, high) if inside(p)]
    size = len(whole) // n_blocks
    first = whole[0]
    out = {
        name: np.zeros(n_blocks, np.int64) for name in ("live", "na", "nb", "c0", "sa", "sb", "cab")
    }
    areas = np.zeros((n_blocks, 2 * n_max + 1), np.int64)
    end = first + size * n_blocks
    for pulse in range(first, end):
        block = (pulse - first) // size
        a, b = clicked[0].get(pulse, False), clicked[1].get(pulse, False)
        out["sa"][block] += a
        out["sb"][block] += b
        out["cab"][block] += a and b
        blinded = pulse - blind < first or any(
            p in clicked[0] or p in clicked[1] for p in range(pulse - blind, pulse)
        )
        if not blinded:
            out["live"][block] += 1
            out["na"][block] += a
            out["nb"][block] += b
            out["c0"][block] += a and b
        if a:
            for n in range(-n_max, n_max + 1):
                if first <= pulse + n < end and clicked[1].get(pulse + n, False):
                    areas[block, n_max + n] += 1
    gaps = np.zeros((2, 65), np.int64)
    for which in (0, 1):
        mine = [p for p in every[which] if first <= p < end]
        for before, after in pairwise(mine):
            if after - before <= 64:
                gaps[which, after - before] += 1
    return out | {"areas": areas, "gaps": gaps}
