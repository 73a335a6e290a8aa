"""Time tags, delay histograms and decays as other labs have them, from plain numpy.

Part of the study `foreign.py`. Nothing here imports qdchar: times are drawn photon by photon, and
files are written as another program would. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator

PERIOD = 13.135e-9
"""Pulse period, that of a titanium-sapphire laser."""


@dataclass(frozen=True)
class Hbt:
    """A pulsed source on two detectors, and what is wrong with them.

    Attributes
    ----------
    pulses
        Number of pulses.
    mean, g2
        Mean number of detected photons per pulse while the source is on, and its g2(0).
    lifetime, period, delay
        1/e decay time, pulse period and electronic delay of detector B [s].
    to_a
        Share of the photons that go to detector A.
    dead
        Dead times of detectors A and B [s].
    afterpulse, trap
        Probability of an afterpulse per click, and its 1/e delay after the dead time [s].
    cross_talk, cross_delay
        Probability that a click makes one on the other detector, and its delay [s].
    background
        Share of clicks that are steady background.
    on, on_time
        Share of the time that the source is on, and the mean length of an on-period [s].
    """

    pulses: int = 400_000
    mean: float = 0.1
    g2: float = 0.05
    lifetime: float = 0.5e-9
    period: float = PERIOD
    delay: float = 0.0
    to_a: float = 0.5
    dead: tuple[float, float] = (0.0, 0.0)
    afterpulse: float = 0.0
    trap: float = 30e-9
    cross_talk: float = 0.0
    cross_delay: float = 2.5e-9
    background: float = 0.0
    on: float = 1.0
    on_time: float = 10e-6

    @property
    def span(self) -> float:
        """Time covered [s]."""
        return self.pulses * self.period

    @property
    def raw_g2(self) -> float:
        """g2(0) of the light together with the steady background, in windows of one period."""
        s = 1.0 - self.background
        return self.g2 * s**2 + 1.0 - s**2


def _is_on(rng: Rng, light: Hbt, pulse: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return in which pulses a source that switches at random is on."""
    off_time = light.on_time * (1.0 - light.on) / light.on
    cycles = int(4 * light.span / (light.on_time + off_time)) + 50
    lengths = np.empty(2 * cycles)
    first_on = rng.random() < light.on
    lengths[0 if first_on else 1 :: 2] = rng.exponential(light.on_time, cycles)
    lengths[1 if first_on else 0 :: 2] = rng.exponential(off_time, cycles)
    switches = np.cumsum(lengths)
    state = np.searchsorted(switches, pulse * light.period) % 2
    return np.asarray(state == (0 if first_on else 1))


def _live(times: Array, dead: float) -> Array:
    """Leave out clicks that come within the dead time after a click that counts."""
    times = np.sort(times)
    if dead <= 0.0:
        return times
    kept = []
    ready = -1.0
    for t in times.tolist():
        if t >= ready:
            kept.append(t)
            ready = t + dead
    return np.array(kept)


def _emission(rng: Rng, light: Hbt) -> NDArray[np.int64]:
    """Return the pulse of each photon of a source that is on: one or two photons in a pulse."""
    pairs = 0.5 * light.g2 * light.mean**2
    draw = rng.random(light.pulses)
    two = np.flatnonzero(draw < pairs)
    one = np.flatnonzero((draw >= pairs) & (draw < light.mean - pairs))
    return np.concatenate([one, two, two])


def _with_afterpulses(rng: Rng, light: Hbt, clicks: Array, dead: float) -> Array:
    again = clicks[rng.random(len(clicks)) < light.afterpulse]
    return np.concatenate([clicks, again + dead + rng.exponential(light.trap, len(again))])


def hbt_clicks(rng: Rng, light: Hbt, jitter: float = 50e-12) -> tuple[Array, Array]:
    """Draw the clicks of both detectors, sorted [s]."""
    pulse = _emission(rng, light)
    if light.on < 1.0:
        pulse = pulse[_is_on(rng, light, pulse)]
    times = pulse * light.period + 2e-9 + rng.exponential(light.lifetime, len(pulse))
    at_a = rng.random(len(pulse)) < light.to_a
    sides = []
    for mask in (at_a, ~at_a):
        own = times[mask]
        more = light.background / (1.0 - light.background) * len(own)
        steady = rng.random(rng.poisson(more)) * light.span
        own = np.concatenate([own, steady])
        sides.append(own + rng.normal(0.0, jitter, len(own)))
    sides = [_live(t, d) for t, d in zip(sides, light.dead, strict=True)]
    if light.cross_talk > 0.0:
        flashes = [t[rng.random(len(t)) < light.cross_talk] + light.cross_delay for t in sides]
        flashes = [f + rng.normal(0.0, 2.0 * jitter, len(f)) for f in flashes]
        sides = [np.concatenate([t, f]) for t, f in zip(sides, flashes[::-1], strict=True)]
    if light.afterpulse > 0.0:
        for i, dead in enumerate(light.dead):
            sides[i] = _with_afterpulses(rng, light, sides[i], dead)
    a, b = (np.sort(t) for t in sides)
    return a, b + light.delay


def write_tags(file: Path, clicks: Sequence[Array], span: float) -> Path:
    """Write channels 0, 1, ... as Photon-HDF5 with 1 ps time stamps, as another program would."""
    times = np.concatenate(clicks)
    channels = np.repeat(np.arange(len(clicks)), [len(c) for c in clicks]).astype(np.uint8)
    keep = (times >= 0.0) & (times < span)
    ticks = np.floor(times[keep] * 1e12).astype(np.int64)
    order = np.argsort(ticks, kind="stable")
    with h5py.File(file, "w") as out:
        out["photon_data/timestamps"] = ticks[order]
        out["photon_data/detectors"] = channels[keep][order]
        out["photon_data/timestamps_specs/timestamps_unit"] = 1e-12
        out["acquisition_duration"] = span
    return file


def write_t3(file: Path, clicks: Sequence[Array], period: float, step: float = 16e-12) -> Path:
    """Write clicks as a time-correlated card does: number of the pulse, and time after it."""
    times = np.sort(np.concatenate(clicks))
    channels = np.repeat(np.arange(len(clicks)), [len(c) for c in clicks]).astype(np.uint8)
    order = np.argsort(np.concatenate(clicks), kind="stable")
    macro = np.floor(times / period).astype(np.int64)
    with h5py.File(file, "w") as out:
        out["photon_data/timestamps"] = macro
        out["photon_data/detectors"] = channels[order]
        out["photon_data/nanotimes"] = np.floor((times - macro * period) / step).astype(np.uint16)
        out["photon_data/timestamps_specs/timestamps_unit"] = period
        out["photon_data/nanotimes_specs/tcspc_unit"] = step
        out["photon_data/nanotimes_specs/tcspc_num_bins"] = int(period / step) + 1
        out["photon_data/measurement_specs/laser_repetition_rate"] = 1.0 / period
    return file


def hom_clicks(
    rng: Rng, light: Hbt, *, alike: float, parallel: bool, reflectance: float = 0.48
) -> tuple[Array, Array, Array]:
    """Draw clicks behind an interferometer that is unbalanced by one pulse, and a divided clock."""
    pulse = np.sort(_emission(rng, light))
    r = reflectance
    long = rng.random(len(pulse)) < r
    slot = pulse + long
    to_a = rng.random(len(pulse)) < np.where(long, r, 1.0 - r)
    if parallel:
        # two photons that meet from different arms leave by different outputs less often
        from_long = dict(zip(slot[long].tolist(), np.flatnonzero(long).tolist(), strict=True))
        from_short = dict(zip(slot[~long].tolist(), np.flatnonzero(~long).tolist(), strict=True))
        for meeting in sorted(from_long.keys() & from_short.keys()):
            i, j = from_long[meeting], from_short[meeting]
            apart = r**2 + (1.0 - r) ** 2 - 2.0 * r * (1.0 - r) * alike
            if rng.random() < apart:
                to_a[i] = rng.random() < r**2 / (r**2 + (1.0 - r) ** 2)
                to_a[j] = not to_a[i]
            else:
                to_a[i] = to_a[j] = rng.random() < 0.5
    times = slot * light.period + 2e-9 + rng.exponential(light.lifetime, len(slot))
    sides = []
    for mask, dead in zip((to_a, ~to_a), light.dead, strict=True):
        clicks = _live(times[mask], dead)
        if light.afterpulse > 0.0:
            clicks = np.sort(_with_afterpulses(rng, light, clicks, dead))
        sides.append(clicks)
    return sides[0], sides[1], np.arange(0, light.pulses, 100) * light.period


def comb_histogram(
    rng: Rng,
    *,
    g2: float = 0.02,
    area: float = 1000.0,
    lifetime: float = 0.7e-9,
    jitter: float = 80e-12,
    background: float = 0.0,
    hole: float = 0.0,
    line: float = 0.0,
    bunching: float = 0.0,
    bunching_time: float = 50e-9,
    tail: float = 0.0,
    bin_width: float = 0.128e-9,
    reach: float = 150e-9,
) -> tuple[Array, NDArray[np.int64]]:
    """Draw a correlation histogram pair by pair; return left edges [s] and counts.

    `background` is in pairs per bin; `hole` is the half width about zero that holds no pairs of
    the zero peak; `line` the pairs of cross-talk at +-2.5 ns, over a side peak; `bunching` the
    excess of side peaks near zero; `tail` the share of photons with a slow response of 1.5 ns.
    """
    delays = []
    last = int(reach / PERIOD) + 2
    for n in range(-last, last + 1):
        height = area * (1.0 + bunching * np.exp(-abs(n) * PERIOD / bunching_time))
        count = rng.poisson(height * (g2 if n == 0 else 1.0))
        pair = rng.exponential(lifetime, (count, 2))
        late = rng.random((count, 2)) < tail
        pair += np.where(late, rng.exponential(1.5e-9, (count, 2)), 0.0)
        off = pair[:, 1] - pair[:, 0] + rng.normal(0.0, jitter, count)
        if n == 0 and hole > 0.0:
            # a second photon comes after re-excitation, so that the two are never together
            off = np.sign(off) * (hole + np.abs(off))
        delays.append(n * PERIOD + off)
    for side in (-1.0, 1.0):
        delays.append(side * 2.5e-9 + rng.normal(0.0, 2.0 * jitter, rng.poisson(line * area)))
    bins = int(2.0 * reach / bin_width)
    edges = -reach + bin_width * np.arange(bins + 1)
    counts = np.histogram(np.concatenate(delays), edges)[0] + rng.poisson(background, bins)
    return edges[:-1], counts.astype(np.int64)


def dip_histogram(
    rng: Rng,
    *,
    g2: float = 0.1,
    time: float = 1.5e-9,
    level: float = 400.0,
    bunching: float = 0.0,
    bunching_time: float = 20e-9,
    rabi_hz: float = 0.0,
    response: float = 0.0,
    tail: float = 0.0,
    reach: float = 60e-9,
    bin_width: float = 0.1e-9,
) -> tuple[Array, NDArray[np.int64]]:
    """Draw a correlation under continuous excitation; return left edges [s] and counts.

    With `rabi_hz` the dip is that of a resonantly driven two-level system,
    ``1 - exp(-|t|/time) [cos(W t) + sin(W |t|)/(W time)]``. The response is Gaussian, with a share
    `tail` of pairs that are late by an exponential of 1 ns.
    """
    step = bin_width / 8.0
    t = step * (np.arange(-round(2.0 * reach / step), round(2.0 * reach / step)) + 0.5)
    a = np.abs(t)
    if rabi_hz > 0.0:
        w = 2.0 * np.pi * rabi_hz
        own = 1.0 - np.exp(-a / time) * (np.cos(w * a) + np.sin(w * a) / (w * time))
    else:
        fast, slow = np.exp(-a / time), np.exp(-a / bunching_time)
        own = 1.0 - (1.0 + bunching) * fast + bunching * slow
    shape = g2 + (1.0 - g2) * own
    if response > 0.0:
        k = np.arange(-round(6.0 * response / step) - 1, round(8e-9 / step)) * step
        kernel = np.exp(-0.5 * (k / response) ** 2)
        kernel /= kernel.sum()
        if tail > 0.0:
            late = np.where(k >= 0.0, np.exp(-k / 1e-9), 0.0)
            kernel = (1.0 - tail) * kernel + tail * late / late.sum()
        zero = int(np.argmin(np.abs(k)))
        full = np.convolve(shape - 1.0, kernel, "full")
        shape = 1.0 + full[zero : zero + len(shape)]
    inside = np.abs(t) < reach
    mean = level * shape[inside].reshape(-1, 8).mean(axis=1)
    edges = -reach + bin_width * np.arange(len(mean))
    return edges, rng.poisson(mean).astype(np.int64)


def peak_histogram(rng: Rng, level: float = 400.0) -> tuple[Array, NDArray[np.int64]]:
    """Draw a correlation of thermal light or cross-talk: a peak where a dip is expected."""
    edges = np.arange(-600, 600) * 0.1e-9
    mean = level * (1.0 + 0.8 * np.exp(-np.abs(edges + 0.05e-9) / 3e-9))
    return edges, rng.poisson(mean).astype(np.int64)


@dataclass(frozen=True)
class Decay:
    """A decay on one detector, and what shapes it.

    Attributes
    ----------
    photons
        Mean number of photons in the histogram.
    lifetime
        1/e decay time [s].
    rise
        Lifetime of the state that feeds this one; 0 for none [s].
    beat_hz, beat
        Fine-structure splitting and visibility of its beat.
    second, second_share
        Second lifetime [s] and its share of the photons.
    background
        Counts per bin.
    sigma, tail
        Jitter, and share of photons that the detector delays by an exponential of 0.4 ns.
    echo
        Share of photons that come once more, reflected, 3 ns later.
    pile_up
        Mean photons per pulse, of which the first alone is recorded; 0 for all.
    period, bin_width, window
        Pulse period, width of a bin, and length of the histogram [s].
    """

    photons: float = 20_000.0
    lifetime: float = 1.2e-9
    rise: float = 0.0
    beat_hz: float = 0.0
    beat: float = 0.0
    second: float = 0.0
    second_share: float = 0.0
    background: float = 1.0
    sigma: float = 0.1e-9
    tail: float = 0.0
    echo: float = 0.0
    pile_up: float = 0.0
    period: float = PERIOD
    bin_width: float = 32e-12
    window: float = PERIOD


def _arrivals(rng: Rng, decay: Decay, number: int) -> Array:
    """Draw times after the excitation, without the detector [s]."""
    t = rng.exponential(decay.lifetime, number)
    if decay.beat > 0.0:
        # rejection: exp(-t/T1) [1 + v cos(2 pi d t)]
        wave = 1.0 + decay.beat * np.cos(2.0 * np.pi * decay.beat_hz * t)
        t = t[rng.random(number) * (1.0 + decay.beat) < wave]
    if decay.second_share > 0.0:
        slow = rng.random(len(t)) < decay.second_share
        t = np.where(slow, rng.exponential(decay.second, len(t)), t)
    if decay.rise > 0.0:
        t = t + rng.exponential(decay.rise, len(t))
    return np.asarray(t)


def _detected(rng: Rng, decay: Decay, t: Array) -> Array:
    t = t + rng.normal(0.0, decay.sigma, len(t))
    late = rng.random(len(t)) < decay.tail
    t = t + np.where(late, rng.exponential(0.4e-9, len(t)), 0.0)
    if decay.echo > 0.0:
        t = np.concatenate([t, t[rng.random(len(t)) < decay.echo] + 3e-9])
    return np.asarray(t + 2.2e-9)


def _binned(rng: Rng, decay: Decay, t: Array) -> NDArray[np.int64]:
    bins = int(decay.window / decay.bin_width)
    edges = decay.bin_width * np.arange(bins + 1)
    counts = np.histogram(np.mod(t, decay.period), edges)[0] + rng.poisson(decay.background, bins)
    return counts.astype(np.int64)


def decay_histogram(rng: Rng, decay: Decay) -> NDArray[np.int64]:
    """Draw a decay photon by photon and return its histogram."""
    wanted = rng.poisson(decay.photons * (1.0 + decay.beat))
    if decay.pile_up > 0.0:
        pulses = int(decay.photons / -np.expm1(-decay.pile_up))
        number = rng.poisson(decay.pile_up, pulses)
        pulse = np.repeat(np.arange(pulses), number)
        t = _detected(rng, decay, _arrivals(rng, decay, len(pulse)))
        order = np.lexsort((t, pulse))
        first = np.concatenate([[True], np.diff(pulse[order]) > 0])
        return _binned(rng, decay, t[order][first])
    return _binned(rng, decay, _detected(rng, decay, _arrivals(rng, decay, wanted)))


def response_histogram(rng: Rng, decay: Decay, photons: float = 50_000.0) -> NDArray[np.int64]:
    """Draw the response of the same detector to a short laser pulse."""
    return _binned(rng, decay, _detected(rng, decay, np.zeros(rng.poisson(photons))))


def write_columns(file: Path, names: Sequence[str], columns: Sequence[NDArray[np.generic]]) -> Path:
    """Write a text table with a header."""
    rows = [",".join(f"{value:.10g}" for value in row) for row in zip(*columns, strict=True)]
    file.write_text("\n".join([",".join(names), *rows]) + "\n", encoding="utf-8")
    return file
