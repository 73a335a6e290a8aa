"""What must hold while a calibration runs: the light of one source on one pair of detectors.

Every peak lock and every recording of time tags is a look at the same light. The looks are compared
with each other; a difference that neither counting nor a healthy lab explains is a doubt, which
the session turns into a second measurement and then into a problem.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qdchar.analysis.models.rabi_rotation import excitation
from qdchar.estimate import Estimate, Uncertain, propagate
from qdchar.protocols import LockResult
from qdchar.protocols.last_look import LastLook, Level, level_fault
from qdchar.raw_data import TagRun
from qdchar.roles import Counts

FLICKER, _FLICKER_OVER_u = 0.01, 3.0
"""Scatter of the light that matters, and over what a recording itself shows of it."""

_STRETCHES = 10
"""Stretches of a recording whose light is compared."""
_ON_QUANTILE = 0.9

SIGNIFICANT = 5.0
"""Standard deviations of counting that a difference must exceed: of some hundred comparisons in a
calibration none does so by chance."""

LIGHT_CHANGE = 0.08
"""Largest relative change of the light from look to look. Re-locks, drift of the pump and of the
fibre coupling stay below it; a changed source or path does not."""

THROUGHPUT_CHANGE = 0.04
"""Largest relative change of the light after the transmitter over that before it. The source's
brightness cancels; what an optical switch repeats, and the etalon's lock, stay below it."""

WIDTH_CHANGE = 0.08
"""Largest relative change of the pulses' width: the lifetime or the detectors' jitter."""

PULSE_AREA_CHANGE = 0.06
"""Largest relative difference of the light above the pi pulse over that below it from the Rabi fit;
a pi power that changed by a tenth makes 0.07."""

POLARISATION_CHANGE = 0.25
"""Largest relative change of a state's share of wrong clicks."""

SPLIT_CHANGE = 0.02
"""Largest change of detector A's share of the clicks, between recordings and within one."""

SPLIT_RANGE = (0.40, 0.60)
"""Detector A's share of the clicks of a pair of like detectors behind a 50:50 splitter; splitters
of 47:53 and unequal fibres stay inside."""

COUNT_CHANGE = 0.03
"""Largest relative difference between the counter and the time tags of the same light."""

LASER_CHANGE = 0.04
"""Largest relative change of the clicks that the laser makes on the detectors, for the same reading
of its power; what an optical switch repeats stays below it."""

POWER_CHANGE = 0.03
"""Largest relative change of the pump power's reading; ten times the tolerance of its setting."""

CLOCK_CHANGE = 0.01
"""Largest relative difference of the pulse rate from the station's nominal one."""

SAME_ATTENUATION_DB = 2.0
"""Difference over which the attenuator's scale is good enough to compare powers: 2.5 % of it, as
such scales are off, is 1 % of the power."""

CORRECTION = 0.20
"""Largest relative correction: beyond it the measurement is not the one that was meant."""

CHANGES: Mapping[str, str] = {
    "collection_efficiency": (
        "did the source, the cavity's lock or a detector change, does the laser lose pulses, did "
        "the delay between the detectors jump"
    ),
    "g2_zero_source": (
        "does laser light leak, did the pump's power change, did the delay between the detectors "
        "jump"
    ),
    "g2_zero": (
        "does light get in behind the source, did the etalon move, did the delay between the "
        "detectors jump"
    ),
}
"""What to look at where a quantity is not what it was, by its name."""

SOURCE_PATHS = ("before", "after")
"""Positions of the light path at which both detectors see the source behind one splitter."""


@dataclass(frozen=True)
class References:
    """First looks, with which later ones are compared; none where there was no look yet.

    Attributes
    ----------
    pump
        Attenuation [dB] and reading of the power monitor [W].
    laser
        Reading of the power monitor [W], clicks of A and of B, and dwell time [s].
    throughput
        What was looked at, the light after the transmitter over that before it, and its standard
        uncertainty.
    """

    pump: tuple[float, float] | None = None
    laser: tuple[float, int, int, float] | None = None
    throughput: tuple[str, float, float] | None = None


@dataclass
class LightLog:
    """The looks at the light so far, each compared with the earlier ones.

    Attributes
    ----------
    doubts
        What did not hold, since they were last taken.
    references
        First looks at pump, laser and transmitter.
    """

    doubts: list[str] = field(default_factory=list)
    references: References = field(default_factory=References)
    _lock_rates: list[float] = field(default_factory=list)
    _last_lock: LockResult | None = None
    _polarisation: dict[str, TagRun] = field(default_factory=dict)
    _runs: dict[str, TagRun] = field(default_factory=dict)
    _rates: dict[str, list[float]] = field(default_factory=dict)
    _flickers: list[tuple[float, int]] = field(default_factory=list)

    def take_doubts(self) -> tuple[str, ...]:
        """Return the doubts, and forget them."""
        found = tuple(self.doubts)
        self.doubts.clear()
        return found

    @property
    def lock_rates_Hz(self) -> tuple[float, ...]:
        """Count rate at each lock so far [1/s]."""
        return tuple(self._lock_rates)

    @property
    def first_runs(self) -> Mapping[str, TagRun]:
        """The first recording at each position of the light path."""
        return dict(self._runs)

    @property
    def state_runs(self) -> Mapping[str, TagRun]:
        """The recording of each polarisation state."""
        return dict(self._polarisation)

    def go_on_from(
        self,
        lock_rates_Hz: Iterable[float],
        first_runs: Mapping[str, TagRun],
        state_runs: Mapping[str, TagRun],
        references: References,
    ) -> None:
        """Compare with these looks, too: those of a run that was broken off."""
        self.references = references
        self._lock_rates[:0] = lock_rates_Hz
        self._polarisation.update(state_runs)
        self._runs = {**self._runs, **first_runs}
        for path, run in first_runs.items():
            self._rates.setdefault(path, []).insert(0, _rate(run))
            self._flickers.append((_flicker_s(run), _STRETCHES - 1))

    def forget_locks(self) -> None:
        """Forget the last lock: the pump has changed since."""
        self._last_lock = None

    @property
    def pump_attenuation_dB(self) -> float | None:
        """Attenuation at which the pump's power was first read [dB]."""
        pump = self.references.pump
        return None if pump is None else pump[0]

    def add_pump(self, attenuation_dB: float, reading_W: float) -> None:
        """Compare the power monitor with its reading at nearly the same attenuation earlier."""
        if self.references.pump is None:
            self.references = replace(self.references, pump=(attenuation_dB, reading_W))
            return
        then_dB, then_W = self.references.pump
        if abs(attenuation_dB - then_dB) > SAME_ATTENUATION_DB:
            return
        change = reading_W / then_W * 10.0 ** (0.1 * (attenuation_dB - then_dB)) - 1.0
        if abs(change) > POWER_CHANGE:
            self.doubts.append(
                f"at {attenuation_dB:.2f} dB the power monitor reads {100 * change:+.0f} % against "
                "earlier in this run: did the pump laser, the attenuator, or the power meter "
                "change?"
            )

    @property
    def laser_reading_W(self) -> float | None:
        """Reading of the power monitor at which the laser was first on the detectors [W]."""
        laser = self.references.laser
        return None if laser is None else laser[0]

    def add_laser(self, reading_W: float, counts: Counts) -> None:
        """Compare the clicks that the laser makes with those it made at the same power earlier."""
        if self.references.laser is None:
            seen = reading_W, *counts.clicks, counts.dwell_s
            self.references = replace(self.references, laser=seen)
            return
        then_W, *then_clicks, then_s = self.references.laser
        now, then = sum(counts.clicks), sum(then_clicks)
        change = now / counts.dwell_s / reading_W / (then / then_s / then_W) - 1.0
        u = math.sqrt(1.0 / max(now, 1) + 1.0 / max(then, 1))
        if abs(change) > max(LASER_CHANGE, SIGNIFICANT * u):
            self.doubts.append(
                f"the laser at {1e9 * reading_W:.3g} nW makes {100 * change:+.0f} % clicks against "
                "when the detectors' efficiency was measured: did a detector, the port `laser` of "
                "the optical switch, or the attenuation of the laser's path change?"
            )

    def add_lock(self, lock: LockResult) -> None:
        """Compare the light at a lock with that at all earlier ones."""
        if self._lock_rates:
            before = float(np.median(self._lock_rates))
            change = lock.rate_Hz / before - 1.0
            if abs(change) > max(LIGHT_CHANGE, SIGNIFICANT * self._u_lock(lock)):
                self.doubts.append(
                    f"the light at the cavity lock changed by {100 * change:+.0f} %, from "
                    f"{1e-6 * before:.3g} to {1e-6 * lock.rate_Hz:.3g} Mcps: did the cavity jump "
                    "to another mode, did pump, source or detectors (dead time) change?"
                )
        self._flickers.append((_flicker_of_lock_s(lock), lock.readouts - 1))
        self._lock_rates.append(lock.rate_Hz)
        self._last_lock = lock

    def flicker(self, counted_s: float) -> float:
        """Return how much the light scatters from count to count, relative, beyond counting.

        Blinking makes it; its variance falls with the counting time. It is the mean of what
        recordings and locks showed so far, because three readouts of a lock, or the slices of one
        recording, are too few to tell.
        """
        if not self._flickers:
            return 0.0
        variances_s, freedoms = zip(*self._flickers, strict=True)
        mean_s = float(np.average(variances_s, weights=freedoms))
        return math.sqrt(max(mean_s, 0.0) / counted_s)

    def _u_lock(self, lock: LockResult) -> float:
        return max(lock.u_rate_Hz / lock.rate_Hz, self.flicker(lock.counted_s))

    def add_lock_after(self, lock: LockResult) -> None:
        """Take the light at a lock behind the transmitter, over that at the last cavity lock."""
        self.doubts.extend(
            self._of_throughput("the etalon's lock", lock.rate_Hz, self._u_lock(lock))
        )

    def _of_throughput(self, what: str, rate_Hz: float, u_relative: float) -> Iterator[str]:
        lock = self._last_lock
        if lock is None:
            return
        ratio = rate_Hz / lock.rate_Hz
        u = ratio * math.hypot(u_relative, self._u_lock(lock))
        if self.references.throughput is None:
            self.references = replace(self.references, throughput=(what, ratio, u))
            return
        earlier, then, u_then = self.references.throughput
        change = ratio / then - 1.0
        if abs(change) > max(THROUGHPUT_CHANGE, SIGNIFICANT * math.hypot(u, u_then) / then):
            yield (
                f"{what}: the light after the transmitter over that before it changed by "
                f"{100 * change:+.0f} % since {earlier}: did the emission line, the etalon, the "
                "transmitter, or a port of the optical switch change, does the cavity vibrate?"
            )

    def add_polarisation(self, runs: Iterable[TagRun]) -> None:
        """Keep the recordings of polarisation states for a look at the end."""
        for run in runs:
            state = str(run.about.settings.get("prepared"))
            if state == run.about.settings.get("analysed") and run.clicks.size:
                self._polarisation[state] = run

    @property
    def states(self) -> tuple[str, ...]:
        """Polarisation states that were recorded."""
        return tuple(self._polarisation)

    def add_states(self, counts: Mapping[str, Counts]) -> None:
        """Compare the shares of wrong clicks, on detector B, with those recorded earlier."""
        for state, now in counts.items():
            then = self._polarisation[state].clicks.sum(axis=0)
            share, earlier = (float(b) / max(float(a + b), 1.0) for a, b in (now.clicks, then))
            u = math.hypot(
                math.sqrt(now.clicks[1] + 1.0) / max(sum(now.clicks), 1),
                math.sqrt(float(then[1]) + 1.0) / max(float(then.sum()), 1.0),
            )
            if abs(share - earlier) > max(SIGNIFICANT * u, POLARISATION_CHANGE * earlier):
                self.doubts.append(
                    f"state {state}: {100 * share:.2g} % of the clicks are on the wrong detector, "
                    f"{100 * earlier:.2g} % were when the misalignment was measured"
                )

    def add_beside_pi(
        self,
        levels: tuple[Level, Level],
        *,
        pi_reading_W: float,
        damping: float,
        dead_pulses: float,
        clock_rate_Hz: float,
    ) -> None:
        """Compare the light below and above the pi pulse with what the Rabi fit says.

        Parameters
        ----------
        levels
            Light below and above the pi pulse.
        pi_reading_W, damping
            Of the Rabi fit.
        dead_pulses, clock_rate_Hz
            To take off what dead time does to the clicks.
        """
        fault = level_fault(*levels)
        if fault:
            self.doubts.append(fault)
            return
        seen, expected, u = [], [], 0.0
        for level in levels:
            light = []
            for counts in level.counts:
                per_pulse = [n / counts.dwell_s / clock_rate_Hz for n in counts.clicks]
                light.append(sum(r / (1.0 - dead_pulses * r) for r in per_pulse))
            seen.append(statistics.fmean(light))
            expected.append(float(excitation(level.reading_W, pi_reading_W, damping)))
            counted = 1.0 / max(sum(sum(counts.clicks) for counts in level.counts), 1)
            scatter = statistics.variance(light) / len(light) / max(seen[-1], 1e-12) ** 2
            u += max(counted, scatter)
        if not all(seen):
            self.doubts.append("no light below or above the pi pulse")
            return
        change = seen[1] / seen[0] * expected[0] / expected[1] - 1.0
        if abs(change) > max(PULSE_AREA_CHANGE, SIGNIFICANT * math.sqrt(u)):
            self.doubts.append(
                f"above the pi pulse the light is {100 * change:+.0f} % off the Rabi fit, against "
                "that below it: the pi power changed since the Rabi scan (coupling of the pump to "
                "the dot, detuning of the laser)"
            )

    def add_again(
        self, then: Estimate, now: Estimate, smallest: float, u_flicker: float = 0.0
    ) -> None:
        """Compare a quantity with a short measurement of it at the end.

        Parameters
        ----------
        smallest
            Relative change from which on it counts, if it is significant.
        u_flicker
            Standard deviation by blinking of what a measurement as short as the later one finds.
        """
        u = Uncertain(now.value - then.value, propagate([(now, 1.0), (then, -1.0)])).u
        u = math.hypot(u, u_flicker)
        if abs(now.value - then.value) > max(SIGNIFICANT * u, smallest * abs(then.value)):
            self.doubts.append(
                f"{then.quantity.words} is {now.value:.4g} now, {then.value:.4g} was measured: "
                f"{CHANGES[then.name]}?"
            )

    def add_width(
        self,
        run: TagRun,
        width_s: float,
        first: TagRun,
        first_width_s: float,
        off_resonance: float = 0.0,
    ) -> None:
        """Compare the width of the light pulses with that in the first recording.

        Parameters
        ----------
        run, width_s
            The recording and its width [s].
        first, first_width_s
            The first recording and its width [s].
        off_resonance
            How much longer the lifetime can be because the cavity's lock is not exact, relative.

        Notes
        -----
        The middle 68 % of N clicks have a width with a relative standard uncertainty of about
        1/sqrt(N), exactly 0.97/sqrt(N) for a Gaussian pulse.
        """
        change = width_s / first_width_s - 1.0
        u = math.hypot(*(1.0 / math.sqrt(float(r.clicks.sum())) for r in (run, first)))
        if abs(change) > max(WIDTH_CHANGE, SIGNIFICANT * u) + off_resonance:
            self.doubts.append(
                f"{run.file.name}: the width of the pulses is {100 * change:+.0f} % against that "
                f"in {first.file.name}: is the cavity off resonance (drift since its lock), or did "
                "the lifetime or the detectors' jitter change?"
            )

    @property
    def first_run(self) -> TagRun | None:
        """First recording of the source's light before the transmitter."""
        return self._runs.get("before")

    def add_run(self, run: TagRun) -> None:
        """Compare a recording with itself, with earlier ones, and with the counter."""
        if run.about.path not in SOURCE_PATHS or not run.clicks.size:
            return
        if not run.clicks.any():
            self.doubts.append(
                f"{run.file.name}: no clicks at all: is the light blocked, or do detectors and "
                "tagger not run?"
            )
            return
        doubts = list(self._of_run(run))
        self.doubts.extend(doubts)
        if not doubts:
            self._flickers.append((_flicker_s(run), _STRETCHES - 1))
        self._runs.setdefault(run.about.path, run)
        self._rates.setdefault(run.about.path, []).append(_rate(run))

    def add_correction(self, what: str, correction: Uncertain) -> None:
        """Doubt a relative correction that is too large to be one, by two standard uncertainties.

        Locks of a source that blinks slowly are uncertain, and so is the correction; what it is
        applied to then has that uncertainty.
        """
        if abs(correction.value) - 2.0 * correction.u > CORRECTION:
            self.doubts.append(
                f"the {what} would be corrected by {100 * correction.value:.0f} %: the cavity was "
                "not on "
                "resonance"
            )

    def add_last_look(
        self, look: LastLook, *, reading_W: float, u_zero_W: float, dark_count_rate: Estimate
    ) -> None:
        """Compare pump power and dark counts at the end with those that the results rest on.

        Parameters
        ----------
        reading_W
            Reading of the power monitor, less its zero, to which the pump was set [W].
        u_zero_W
            Standard uncertainty of that zero [W].
        dark_count_rate
            As measured at the beginning, both detectors together [1/s].
        """
        change = look.reading_W / reading_W - 1.0
        if abs(change) > POWER_CHANGE:
            self.doubts.append(
                f"the pump power changed by {100 * change:+.0f} % since it was set to the pi pulse"
            )
        if abs(look.zero_W) > SIGNIFICANT * math.sqrt(2.0) * u_zero_W:
            self.doubts.append(
                f"without light the power monitor reads {1e12 * look.zero_W:+.3g} pW against when "
                f"its zero was read, which is certain to {1e12 * u_zero_W:.2g} pW: did its zero "
                "drift, does the pump's shutter leak?"
            )
        dwell_s, clicks = look.dark.dwell_s, sum(look.dark.clicks)
        expected = dark_count_rate.value * dwell_s
        u = math.sqrt(max(expected, clicks, 1.0) + (dark_count_rate.u * dwell_s) ** 2)
        if abs(clicks - expected) > SIGNIFICANT * u:
            self.doubts.append(
                f"with the light blocked there are {clicks / dwell_s:.3g} counts/s now, "
                f"{dark_count_rate.value:.3g} counts/s were measured at the beginning: is room "
                "light on, is a shutter open, or do the detectors count more in the dark?"
            )

    def _of_run(self, run: TagRun) -> Iterator[str]:
        name = run.file.name
        total = run.clicks.sum(axis=0)
        share = float(total[0] / total.sum())
        if not SPLIT_RANGE[0] <= share <= SPLIT_RANGE[1]:
            yield (
                f"{name}: detector A has {100 * share:.0f} % of the clicks: does one detector "
                "have less efficiency, or is a fibre loose?"
            )
        stretch_s = float(_in_stretches(run).slice_s.mean())
        yield from _changes_within(run, share, self.flicker(stretch_s))
        first = self._runs.get(run.about.path)
        if first is not None:
            theirs = float(first.clicks[:, 0].sum() / first.clicks.sum())
            u = math.hypot(_u_share(run.clicks.sum()), _u_share(first.clicks.sum()))
            if abs(share - theirs) > max(SPLIT_CHANGE, SIGNIFICANT * u):
                yield (
                    f"{name}: detector A has {100 * share:.1f} % of the clicks, in "
                    f"{first.file.name} {100 * theirs:.1f} %: a detector changed"
                )
            change = _rate(run) / float(np.median(self._rates[run.about.path])) - 1.0
            u = math.hypot(_u_rate(run), _u_rate(first))
            if abs(change) > max(LIGHT_CHANGE, SIGNIFICANT * u):
                yield (
                    f"{name}: the light changed by {100 * change:+.0f} % since {first.file.name}: "
                    "did the source, the cavity, the pump or the light path change?"
                )
        if run.about.path == "after":
            yield from self._of_throughput(name, _rate(run), _u_rate(run))
        lock = self._last_lock
        if run.about.path == "before" and lock is not None:
            change = _rate(run) / lock.rate_Hz - 1.0
            u = math.hypot(_u_rate(run), self._u_lock(lock))
            if abs(change) > max(COUNT_CHANGE, SIGNIFICANT * u):
                yield (
                    f"{name}: the time tags hold {100 * change:+.1f} % against the counter on the "
                    "same light just before: are tags lost, or did the light change?"
                )


def clock_problem(rate_Hz: float, nominal_Hz: float) -> tuple[str, ...]:
    """Return a problem if the pulse rate is not the one that the station file names."""
    if abs(rate_Hz / nominal_Hz - 1.0) <= CLOCK_CHANGE:
        return ()
    return (
        f"the pulse rate is {1e-6 * rate_Hz:.4g} MHz, the station's nominal_clock_Hz "
        f"{1e-6 * nominal_Hz:.4g} MHz: does the tagger divide the clock by another number than its "
        "sync_divider, or did the laser's repetition rate change?",
    )


def _changes_within(run: TagRun, share: float, flicker: float) -> Iterator[str]:
    """Look for slices of a recording whose light or whose split differs from the rest."""
    fine, run = run, _in_stretches(run)
    per_slice = run.clicks.sum(axis=1)
    lit = per_slice > 0
    if not lit.all():
        yield (
            f"{run.file.name}: no clicks in {int((~lit).sum())} of {len(lit)} stretches of time: "
            "did the detectors latch, or did the tagger lose tags?"
        )
    shares = run.clicks[lit, 0] / per_slice[lit]
    beyond = np.abs(shares - share) > np.maximum(
        SPLIT_CHANGE, SIGNIFICANT * 0.5 / np.sqrt(per_slice[lit])
    )
    if beyond.any():
        yield (
            f"{run.file.name}: detector A's share of the clicks changes within the recording, "
            f"from {100 * shares.min():.0f} to {100 * shares.max():.0f} %: a detector changed"
        )
    rates = per_slice / run.slice_s
    middle = float(np.median(rates))
    u = SIGNIFICANT * np.sqrt(np.maximum(middle * run.slice_s, 1.0)) / run.slice_s
    # slow blinking makes every slice differ, a change of the light makes a few stand out
    seen = 1.4826 * float(np.median(np.abs(rates - middle)))
    usual = SIGNIFICANT * max(seen, flicker * middle)
    changed = np.abs(rates - middle) > np.maximum(max(LIGHT_CHANGE * middle, usual), u)
    if _where_on(fine, changed).any():
        yield (
            f"{run.file.name}: the light changes within the recording, from "
            f"{1e-6 * rates.min():.3g} to {1e-6 * rates.max():.3g} Mcps: does the source blink or "
            "fade, or did the cavity or the pump move?"
        )


def _in_stretches(run: TagRun) -> TagRun:
    """Put the slices of a recording together to ten stretches of time, or fewer if it has fewer."""
    n = len(run.slice_s)
    ends = np.linspace(0, n, min(n, _STRETCHES), endpoint=False).astype(np.int64)
    return replace(
        run,
        clicks=np.add.reduceat(run.clicks, ends, axis=0),
        slice_s=np.add.reduceat(run.slice_s, ends),
    )


def slow_blinking_problem(run: TagRun, u_relative: float, flicker: float) -> tuple[str, ...]:
    """Doubt a recording that is too short for the source's blinking.

    Parameters
    ----------
    run
        The recording.
    u_relative
        Statistical uncertainty of its mean light, from the recording alone.
    flicker
        Relative standard deviation of the mean light of recordings as long as this one, from the
        scatter within all recordings so far.

    Notes
    -----
    With a few times at which the source is off, or by chance none, a recording does not show by
    how much the next one would differ.
    """
    if flicker <= max(FLICKER, _FLICKER_OVER_u * u_relative):
        return ()
    return (
        f"{run.file.name}: over {run.duration_s:g} s the light scatters by {100 * flicker:.2g} %, "
        f"as other recordings show, but by {100 * u_relative:.2g} % in this one: the source "
        "blinks too slowly for so short a recording; lengthen it in the recipe",
    )


def _where_on(run: TagRun, changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which stretches differ from the others in their light while it is on.

    Parameters
    ----------
    run
        In slices that are short against the times at which a source that blinks slowly is off.
    changed
        By stretch, whether its mean light differs from the others'.

    Notes
    -----
    Light is off at times in stretches whose slices scatter by far more than counting. What it is
    when it is on is the 90 % quantile of the slices. Such a stretch is judged by that alone.
    """
    slices = np.array_split(run.clicks.sum(axis=1) / run.slice_s, len(changed))
    on = np.array([np.quantile(part, _ON_QUANTILE) for part in slices])
    usual = float(np.median(on))
    if usual == 0.0:
        return changed
    counting = 1.0 / math.sqrt(max(float(run.clicks.sum()) / len(run.slice_s), 1.0))
    off_at_times = np.array([part.std() for part in slices]) / usual > SIGNIFICANT * counting
    if not off_at_times.any():
        return changed
    seen = 1.4826 * float(np.median(np.abs(on - usual))) / usual
    differs = np.abs(on / usual - 1.0) > max(LIGHT_CHANGE, SIGNIFICANT * max(seen, counting))
    return np.where(off_at_times, differs, changed | differs)


def _flicker_of_lock_s(lock: LockResult) -> float:
    """Relative variance of the light at a lock beyond counting, times the counting time [s]."""
    excess = (lock.u_rate_Hz / lock.rate_Hz) ** 2 - 1.0 / (lock.rate_Hz * lock.counted_s)
    return excess * lock.counted_s


def _flicker_s(run: TagRun) -> float:
    """Relative variance of the light beyond counting, times the counting time [s]."""
    run = _in_stretches(run)
    per_slice = run.clicks.sum(axis=1)
    rates = per_slice / run.slice_s
    excess = float(rates.var(ddof=1)) / float(rates.mean()) ** 2 - 1.0 / float(per_slice.mean())
    return excess * float(run.slice_s.mean())


def _rate(run: TagRun) -> float:
    return float(run.clicks.sum()) / run.duration_s


def _u_rate(run: TagRun) -> float:
    """Relative standard uncertainty of the mean light, from the scatter of stretches of time."""
    run = _in_stretches(run)
    rates = run.clicks.sum(axis=1) / run.slice_s
    scatter = float(rates.std(ddof=1)) / math.sqrt(len(rates)) / float(rates.mean())
    return max(scatter, 1.0 / math.sqrt(float(run.clicks.sum())))


def _u_share(clicks: float) -> float:
    return 0.5 / math.sqrt(float(clicks))
