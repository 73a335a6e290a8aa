"""Draws the tags of pulsed light on two detectors, more than ten million a second on one core.

The kernel goes from detection to detection, not from pulse to pulse: it skips a geometric number of
pulses without a detection, a table gives what the next one does to the two detectors, and the times
come from tabulated quantiles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .detectors import DOT, LASER
from .random_numbers import (
    GAMMA,
    compiled,
    exponential,
    fill_alias_tables,
    normal,
    random_bits,
    uniform,
)
from .unpulsed_sampler import FAR, SPARE, Carry, Hardware, add_held_back, add_unpulsed, insert

Array = NDArray[np.float64]

_SKIPS = 64
_OFTEN = 0.05
"""Clicks per pulse above which a skip is looked up instead of computed."""
_S28, _S32, _S58 = (np.uint64(n) for n in (28, 32, 58))
_MASK_4, _MASK_26, _MASK_28 = (np.uint64(n) for n in (0xF, 0x3FFFFFF, 0xFFFFFFF))


@compiled
def sample_pulses(
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
    """Draw the tags of consecutive pulses in segments of constant light.

    Parameters
    ----------
    segment_end
        int64, shape (s,): number of the pulse after each segment, from the first pulse of the call.
    tables
        Shape (s, 2, 16): see `click_table`, while the dot emits, and in a dark period.
    lifetime_ps
        Shape (s,).
    steady
        Shape (2,): rate of continuous light and dark counts at A and B [1/ps].
    first_ps
        Time of the first pulse.
    hardware, carry
        See `unpulsed_sampler`; `carry` is changed.
    ticks, channels
        int64 and uint8: times [steps of the tagger] and channels; the first `n` exist already.

    Returns
    -------
    int
        Number of tags; within `SPARE` of the length of `ticks`, tags are missing.
    """
    room = len(ticks) - SPARE
    any_click, log_none = np.zeros(2), np.zeros(2)
    skip_threshold, skip_other = np.empty((2, _SKIPS)), np.empty((2, _SKIPS), np.int64)
    case_threshold, case_other = np.empty((2, 16)), np.empty((2, 16), np.int64)
    # local variables, which the compiler keeps in registers; for the same reason the two detectors
    # are written out instead of a loop over them
    rng = carry.rng[0]
    off, switch = carry.off[0], carry.switch[0]
    period_ps, dead_ps, jitter_ps = hardware.period_ps, hardware.dead_ps, hardware.jitter_ps
    delay_a_ps, delay_b_ps = hardware.delay_ps
    per_step, edges = 1.0 / hardware.step_ps, hardware.edges
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
                fill_alias_tables(cases, case_threshold[b], case_other[b])
                skips = (1.0 - p) ** np.arange(_SKIPS)
                skips[:-1] *= p
                fill_alias_tables(skips, skip_threshold[b], skip_other[b])
        t1 = lifetime_ps[s]
        end = segment_end[s]
        while i < end:
            if switch <= i:
                off = 1 - off
                leave = hardware.switch_off if off == 0 else hardware.switch_on
                rng += GAMMA
                switch = i + 1 + np.int64(min(-math.log(uniform(random_bits(rng))) / leave, FAR))
            limit = min(end, switch)
            often = any_click[off] > _OFTEN
            if any_click[off] <= 0.0:
                i = limit
            while i < limit:
                # no memory: a wait that ends beyond the limit is drawn again there
                rng += GAMMA
                bits = random_bits(rng)
                if often:
                    j = np.int64(bits >> _S58)
                    if np.float64((bits >> _S32) & _MASK_26) * 2.0**-26 >= skip_threshold[off, j]:
                        j = skip_other[off, j]
                    i += j
                    if j == _SKIPS - 1:
                        continue
                else:
                    i += np.int64(min(math.log(uniform(bits)) / log_none[off], FAR))
                    rng += GAMMA
                    bits = random_bits(rng)
                if i >= limit:
                    break
                case = np.int64((bits >> _S28) & _MASK_4)
                if np.float64(bits & _MASK_28) * 2.0**-28 >= case_threshold[off, case]:
                    case = case_other[off, case]
                pulse_ps = first_ps + i * period_ps
                i += 1
                if unpulsed_ps < pulse_ps:
                    carry.rng[0] = rng
                    carry.late_ps[0], carry.late_ps[1] = late_a, late_b
                    carry.last_ps[0], carry.last_ps[1] = last_a, last_b
                    n = add_unpulsed(
                        pulse_ps, first_ps, steady, hardware, carry, ticks, channels, n
                    )
                    rng = carry.rng[0]
                    late_a, late_b = carry.late_ps
                    last_a, last_b = carry.last_ps
                    unpulsed_ps = carry.next_ps.min()
                if n >= room:
                    return n
                kind = case >> 2
                if kind != 0:
                    rng += GAMMA
                    bits = random_bits(rng)
                    arrival = pulse_ps
                    if kind != LASER:
                        arrival += (t1 if kind == DOT else 0.5 * t1) * exponential(bits)
                    click = min(arrival, late_a)
                    late_a = max(arrival, late_a)
                    if click - last_a >= dead_ps:
                        last_a = click
                        t = click + delay_a_ps + jitter_ps * normal(bits)
                        n = insert(ticks, channels, n, t * per_step, 1, edges)
                kind = case & 3
                if kind != 0:
                    rng += GAMMA
                    bits = random_bits(rng)
                    arrival = pulse_ps
                    if kind != LASER:
                        arrival += (t1 if kind == DOT else 0.5 * t1) * exponential(bits)
                    click = min(arrival, late_b)
                    late_b = max(arrival, late_b)
                    if click - last_b >= dead_ps:
                        last_b = click
                        t = click + delay_b_ps + jitter_ps * normal(bits)
                        n = insert(ticks, channels, n, t * per_step, 2, edges)
            i = min(i, limit)
    carry.rng[0], carry.off[0], carry.switch[0] = rng, off, switch
    carry.late_ps[0], carry.late_ps[1] = late_a, late_b
    carry.last_ps[0], carry.last_ps[1] = last_a, last_b
    end_ps = first_ps + segment_end[-1] * period_ps
    n = add_unpulsed(end_ps, first_ps, steady, hardware, carry, ticks, channels, n)
    return add_held_back(end_ps, hardware, carry, ticks, channels, n)


@dataclass(frozen=True)
class PulseSegments:
    """Light on the detectors over consecutive pulses, constant in each of s segments.

    Attributes
    ----------
    pulses
        int64, shape (s,): pulses in each segment.
    tables
        Shape (s, 2, 16): see `click_table`, while the dot emits, and in a dark period.
    lifetime_s
        Shape (s,).
    steady_Hz
        Rates of continuous light and dark counts at A and B.
    """

    pulses: NDArray[np.int64]
    tables: Array
    lifetime_s: Array
    steady_Hz: tuple[float, float]

    @property
    def most_clicks(self) -> float:
        """Mean number of clicks without dead time."""
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
        """Draw the tags, see `sample_pulses`."""
        return int(
            sample_pulses(
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
