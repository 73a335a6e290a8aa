"""Draws the time tags of a stream piece by piece, from light that changes from piece to piece."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qdchar.roles import TagBlock

from .unpulsed_sampler import FAR, NEVER_PS, SPARE, Carry, Hardware

Array = NDArray[np.float64]

_LEAD = 64
"""Pulses that are drawn before the start of a stream."""


class Segments(Protocol):
    """Light over consecutive pulses, and the kernel that draws its tags."""

    @property
    def pulses(self) -> NDArray[np.int64]:
        """Pulses in each segment."""

    @property
    def steady_Hz(self) -> tuple[float, float]:
        """Rates of continuous light and dark counts at A and B."""

    @property
    def most_clicks(self) -> float:
        """Mean number of clicks without dead time."""

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
        """Draw tags after the first `n`; returns the number of tags then."""


class TagSampler:
    """Draws the tags of one stream piece by piece; times count from its start.

    Parameters
    ----------
    hardware
        Its period is that of `clock_Hz`.
    clock_Hz
        Pulse rate. Pulse times are kept as fractions, exact over any time.
    start_ps
        Time of the stream's start on the clock of the lab, at whose zero there is a pulse.
    duration_ps
        Length of the stream.
    seed
        64 random bits.
    starts_off
        Whether the dot is in a dark period at the start.
    """

    def __init__(
        self,
        hardware: Hardware,
        clock_Hz: float,
        start_ps: int,
        duration_ps: int,
        seed: int,
        starts_off: bool,
    ) -> None:
        self._hardware = hardware
        self._period = Fraction(10**12) / Fraction(clock_Hz)
        self._start_ps = start_ps
        self._duration_ps = duration_ps
        self._step = int(hardware.step_ps)
        # earlier than the start, so that dead time and late photons act on the first tags, too
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
            late_ps=np.full(2, -NEVER_PS),
            last_ps=np.full(2, -0.5 * NEVER_PS),
            next_ps=np.array([0.0, NEVER_PS, NEVER_PS]),
            sync=np.array([-self._pulse % hardware.divider], np.int64),
            switch=np.array([0], np.int64),
            off=np.array([int(starts_off)], np.int64),
            long_arm=np.zeros(1, np.int64),
        )
        leave = hardware.switch_on if starts_off else hardware.switch_off
        wait = np.random.default_rng(seed).exponential(1.0 / leave) if leave > 0.0 else FAR
        self._carry.switch[0] = int(min(wait, FAR)) + 1

    def _locate(self, pulse: int) -> tuple[int, float]:
        """Return the time of a pulse in whole steps of the tagger, and the remainder [ps]."""
        time = pulse * self._period - self._start_ps
        ticks = math.floor(time / self._step)
        return ticks, float(time - ticks * self._step)

    @property
    def done(self) -> bool:
        """Whether the whole stream has been drawn."""
        return self._stop_ps >= self._duration_ps

    @property
    def duration_ps(self) -> int:
        """Length of the stream [ps]."""
        return self._duration_ps

    @property
    def share_drawn(self) -> float:
        """How much of the stream has been drawn, from 0 to 1."""
        return self._stop_ps / self._duration_ps

    @property
    def pulses_left(self) -> int:
        """Pulses still needed to complete the stream."""
        end = math.ceil((self._start_ps + self._duration_ps + self._margin_ps) / self._period)
        return end + 1 - self._pulse

    def change_hardware(self, hardware: Hardware) -> None:
        """Go on with other constants; the pulse rate of the stream stays."""
        old, carry = self._hardware, self._carry
        self._hardware = hardware._replace(period_ps=old.period_ps)
        jitter_ps = max(hardware.jitter_ps, hardware.sync_jitter_ps)
        self._margin_ps = max(self._margin_ps, math.ceil(10.0 * jitter_ps) + 1)
        if (old.switch_off, old.switch_on) != (hardware.switch_off, hardware.switch_on):
            # waiting times have no memory: the next switch is drawn again, at the new rate
            leave = hardware.switch_on if carry.off[0] else hardware.switch_off
            rng = np.random.default_rng(int(carry.rng[0]))
            wait = rng.exponential(1.0 / leave) if leave > 0.0 else FAR
            carry.switch[0] = int(min(wait, FAR)) + 1

    def draw(self, light: Segments) -> TagBlock:
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
            self._hardware._replace(edges=np.roll(self._hardware.edges, -ticks)),
            self._carry,
            out_ticks,
            out_channels,
            n,
        )
        if n >= room - SPARE:
            raise RuntimeError(f"more tags than the {room} that were expected at most")
        pulses = int(light.pulses.sum())
        self._pulse += pulses
        self._rebase(pulses, first_ps)
        return self._cut(out_ticks[:n], out_channels[:n])

    def _set_steady(self, steady_Hz: tuple[float, float], first_ps: float) -> None:
        """Change the rates of light without pulses; waiting times have no memory."""
        steady = (steady_Hz[0] * 1e-12, steady_Hz[1] * 1e-12)
        if steady != self._steady:
            rng = np.random.default_rng(int(self._carry.rng[0]))
            for d in range(2):
                wait = rng.exponential(1.0 / steady[d]) if steady[d] > 0.0 else NEVER_PS
                self._carry.next_ps[d + 1] = first_ps + wait
            self._steady = steady

    def _room(self, light: Segments) -> int:
        """Return the largest number of tags to expect, mean plus 12 sigma."""
        mean = light.most_clicks
        total = int(light.pulses.sum())
        mean += sum(light.steady_Hz) * total * float(self._period) * 1e-12
        mean += total / self._hardware.divider
        return int(mean + 12.0 * math.sqrt(mean)) + 64

    def _rebase(self, pulses: int, first_ps: float) -> None:
        """Count pulses and times from the first pulse of the next call."""
        carry = self._carry
        shift_ps = first_ps + pulses * self._hardware.period_ps - self._locate(self._pulse)[1]
        for times in (carry.late_ps, carry.last_ps, carry.next_ps):
            np.subtract(times, shift_ps, out=times)
        carry.sync[0] -= pulses
        carry.switch[0] -= pulses

    def _cut(self, ticks: NDArray[np.int64], channels: NDArray[np.uint8]) -> TagBlock:
        """Return the tags that no later tag can precede, and keep the others."""
        next_pulse_ps = math.floor(self._pulse * self._period) - self._start_ps
        start_ps = self._stop_ps
        stop_ps = min(max(next_pulse_ps - self._margin_ps, start_ps), self._duration_ps)
        times = (ticks + self._base) * self._step
        low, high = np.searchsorted(times, (start_ps, stop_ps))
        self._waiting = ticks[high:], channels[high:]
        self._stop_ps = stop_ps
        return TagBlock(times[low:high], channels[low:high], start_ps, stop_ps)
