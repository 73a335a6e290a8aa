"""The simulated lab: one physical state, set and measured through its instruments.

Emulators call it from their threads. Its clock is simulated: it advances with every dwell time,
every block of a stream and `Lab.advance`, never with real time, so that one seed and one sequence
of commands give the same data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

from qdchar.roles import TagBlock

from .broken_tags import BrokenTags
from .defects import TagDefects
from .detectors import (
    Light,
    click_probability,
    click_table,
    clicks_per_pulse,
    clicks_per_second,
    draw_counts,
    mean_dead_pulses,
)
from .imperfections import AFTERPULSING, CROSS_TALK
from .instrument_errors import InstrumentErrors
from .interferometer_sampler import InterferometerSegments, photon_cases, splitters
from .light import (
    ARMS,
    AXES,
    MODULATOR_CHANNELS,
    PATHS,
    PLATES,
    ATTENUATION_RANGE_dB,
    LightModel,
    Settings,
)
from .piezo import Piezo
from .pulse_sampler import PulseSegments
from .sampler import Segments, TagSampler
from .truth import Truth
from .unpulsed_sampler import Hardware

Array = NDArray[np.float64]

STEPPER_AXIS, FINE_AXIS = 1, 3
PIEZO_RANGE_V = (0.0, 150.0)
MODULATOR_RANGE_V = (-20.0, 20.0)

VIBRATION_s = 1e-3
"""Correlation time of the vibration of the cavity."""
CHUNK_s = 0.02
_SLICES = 32
_RESTART_SPAWN_KEY = 98
"""Seeds the noise of a lab that was started again."""
_IMPERFECTIONS_SPAWN_KEY, _SWITCHING_SPAWN_KEY, _CLICKS_SPAWN_KEY = 97, 96, 95
"""Seed what came later than the rest, whose random numbers they leave as they were."""
_NODES, _WEIGHTS = hermegauss(7)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class Lab:
    """A simulated lab.

    Parameters
    ----------
    truth
        True values of its parameters.
    seed
        Of everything random: errors of instruments, noise, counts.
    restarts
        How often this lab has been started before. Its instruments and their errors are those of
        the seed at every start; its noise and counts are drawn anew at each.
    clock_s
        Time in the lab at its start [s]: what drifts has drifted since time 0. Outputs are at
        zero and the pump's shutter is closed, as after a power cut; what the piezos did before has
        faded.
    """

    channel_sync = 0
    channel_a = 1
    channel_b = 2

    def __init__(self, truth: Truth, seed: int, *, restarts: int = 0, clock_s: float = 0.0) -> None:
        instruments, *others, receiver = np.random.SeedSequence(seed).spawn(6)
        if restarts:
            key = (_RESTART_SPAWN_KEY, restarts)
            others = np.random.SeedSequence(seed, spawn_key=key).spawn(len(others))
        meter, counts, tags, stepper = map(np.random.default_rng, others)
        self.truth = truth
        self.errors = InstrumentErrors.from_seed(
            truth,
            instruments,
            receiver,
            np.random.SeedSequence(seed, spawn_key=(_IMPERFECTIONS_SPAWN_KEY,)),
        )
        self.serial = f"SIM-{seed}"
        self.sync_divider = truth.detectors.sync_divider
        self.resolution_ps = float(truth.detectors.resolution_ps)
        self._switching = np.random.default_rng(
            np.random.SeedSequence(seed, spawn_key=(_SWITCHING_SPAWN_KEY, restarts))
        )
        self._clicks = np.random.default_rng(
            np.random.SeedSequence(seed, spawn_key=(_CLICKS_SPAWN_KEY, restarts))
        )
        self._extra_clicks = BrokenTags(self._clicks)
        self._meter, self._counts, self._tags, self._stepper = meter, counts, tags, stepper
        self._lock = threading.RLock()
        self._now_ps = round(clock_s * 1e12)
        self._settings = Settings(
            fine=Piezo(truth.piezo.hysteresis, truth.piezo.creep),
            etalon=Piezo(truth.etalon.hysteresis, truth.etalon.creep),
        )
        self._light_model = LightModel(truth, self.errors, self._settings)

    # called by the instruments

    def set_piezo(self, axis: int, voltage_V: float) -> None:
        """Apply an offset voltage [V] to an axis of the cavity."""
        _within("voltage", voltage_V, PIEZO_RANGE_V, "V")
        _axis(axis)
        with self._lock:
            if axis == FINE_AXIS:
                self._settings.fine.set(voltage_V, self.now_s)
            else:
                self._settings.other_axes_V[axis] = voltage_V

    def piezo_voltage(self, axis: int) -> float:
        """Get the offset voltage of an axis [V]."""
        _axis(axis)
        with self._lock:
            return (
                self._settings.fine.voltage_V
                if axis == FINE_AXIS
                else self._settings.other_axes_V[axis]
            )

    def step(self, axis: int, n: int) -> None:
        """Take n steps; those of the stepper below the cavity move its mirror, with a spread."""
        _axis(axis)
        with self._lock:
            if axis == STEPPER_AXIS and n != 0:
                p = self.truth.piezo
                mean = p.step_up_m if n > 0 else -p.step_down_m
                spread = p.step_spread * self._stepper.standard_normal() / np.sqrt(abs(n))
                self._settings.coarse_m += abs(n) * mean * (1.0 + float(spread))

    def set_attenuation(self, dB: float) -> None:
        """Set the attenuator [dB]."""
        _within("attenuation", dB, ATTENUATION_RANGE_dB, "dB")
        with self._lock:
            self._settings.attenuation_dB = dB

    def attenuation(self) -> float:
        """Get what the attenuator is set to [dB]."""
        with self._lock:
            return self._settings.attenuation_dB

    def set_shutter(self, open: bool) -> None:
        """Open or close the shutter of the pump."""
        with self._lock:
            self._settings.shutter_open = open

    def shutter(self) -> bool:
        """Whether the shutter of the pump is open."""
        with self._lock:
            return self._settings.shutter_open

    def power_reading_W(self) -> float:
        """Read the power meter [W]."""
        with self._lock:
            return self.errors.meter.reading_W(
                self.errors.meter.power_W(self._light_model.power_W(), self.now_s),
                self.errors.meter_response,
                self._settings.shutter_open,
                self._meter,
            )

    def set_etalon_voltage(self, V: float) -> None:
        """Apply a voltage [V] to the etalon's piezo."""
        _within("voltage", V, (0.0, self.truth.etalon.range_V), "V")
        with self._lock:
            self._settings.etalon.set(V, self.now_s)

    def etalon_voltage(self) -> float:
        """Get the voltage of the etalon's piezo [V]."""
        with self._lock:
            return self._settings.etalon.voltage_V

    def set_modulator(self, channel: int, voltage_V: float) -> None:
        """Apply a voltage to the input of one of the polarisation modulator's amplifiers [V]."""
        _within("voltage", voltage_V, MODULATOR_RANGE_V, "V")
        _one_of("channel", channel, MODULATOR_CHANNELS)
        with self._lock:
            self._settings.modulator_V[channel] = voltage_V

    def turn_plate(self, name: str, angle_deg: float) -> None:
        """Turn the mount of one of the analyser's wave plates [degrees]."""
        _one_of("plate", name, PLATES)
        with self._lock:
            self._settings.plates_deg[name] = angle_deg

    def plate_deg(self, name: str) -> float:
        """Get the angle of a wave plate's mount [degrees]."""
        _one_of("plate", name, PLATES)
        with self._lock:
            return self._settings.plates_deg[name]

    def set_phase_voltage(self, V: float) -> None:
        """Apply a voltage [V] to the piezo of the interferometer's phase."""
        _within("voltage", V, PIEZO_RANGE_V, "V")
        with self._lock:
            self._settings.phase_V = V

    def phase_voltage(self) -> float:
        """Get the voltage of the piezo of the interferometer's phase [V]."""
        with self._lock:
            return self._settings.phase_V

    def select_arms(self, name: str) -> None:
        """Set the polarisations in the interferometer's arms, parallel or orthogonal."""
        _one_of("arms", name, ARMS)
        with self._lock:
            self._settings.arms = name

    def selected_arms(self) -> str:
        """Get the polarisations in the interferometer's arms."""
        with self._lock:
            return self._settings.arms

    def select_path(self, name: str) -> None:
        """Choose what light reaches the detectors."""
        _one_of("light path", name, PATHS)
        with self._lock:
            self._settings.path = name
            self._settings.switched_s = self.now_s
            spread_dB = self.errors.deviations.switching_dB
            self._settings.switched_dB = spread_dB * float(self._switching.standard_normal())

    def selected_path(self) -> str:
        """Get what light reaches the detectors."""
        with self._lock:
            return self._settings.path

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if not 0.0 <= seconds < 1e9:
            raise ValueError(f"cannot let {seconds:g} s pass")
        with self._lock:
            self._now_ps += round(seconds * 1e12)

    def count(self, dwell_s: float) -> tuple[int, int]:
        """Count the clicks of both detectors for a dwell [s].

        Counts are drawn from the mean and variance of a renewal process for each detector, not
        from tags. This neglects the anticorrelation of the two detectors, which lowers the noise
        of the sum. Behind the interferometer, where clicks of consecutive pulses are not
        independent, tags are drawn and counted.
        """
        if not 0.0 < dwell_s < 1e6:
            raise ValueError(f"dwell of {dwell_s:g} s: must be more than 0 and less than 1e6 s")
        with self._lock:
            if self._settings.path == "interferometer":
                return self._count_tags(dwell_s)
            mean, variance = self._count_statistics(dwell_s)
            self.advance(dwell_s)
            a, b = (
                draw_counts(self._counts, float(m), float(v))
                for m, v in zip(mean, variance, strict=True)
            )
            return a, b

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        """Yield the tags of the next duration [s]; times count from its start.

        Settings that change meanwhile take effect with the next block.
        """
        if not 0.0 < duration_s < 1e6:
            raise ValueError(f"duration of {duration_s:g} s: must be more than 0, less than 1e6 s")
        with self._lock:
            sampler = self._sampler(duration_s)
        while not sampler.done:
            with self._lock:
                block = self._draw(sampler)
            yield block

    # inside

    @property
    def now_s(self) -> float:
        """Time in the lab, since its start [s]."""
        return self._now_ps * 1e-12

    @property
    def _counted_clock_Hz(self) -> float:
        """Pulse rate by the tagger's clock; of shorter times its error does not matter."""
        return self.truth.source.clock_Hz * (1.0 + self.errors.tagger.clock)

    def _sampler(self, duration_s: float) -> TagSampler:
        self._extra_clicks = BrokenTags(self._clicks)
        return TagSampler(
            self._hardware(),
            self._counted_clock_Hz,
            self._now_ps,
            round(duration_s * 1e12),
            int(self._tags.integers(2**63)),
            bool(self._tags.random() >= self.truth.source.on_fraction),
        )

    def _draw(self, sampler: TagSampler) -> TagBlock:
        """Draw the next block of a stream, and let its time pass."""
        block = sampler.draw(self._segments(sampler.pulses_left))
        self._now_ps += block.stop_ps - block.start_ps
        sizes, dead_s = self.truth.imperfections, self.truth.detectors.dead_time_s
        if sizes.afterpulsing == 0.0 and sizes.cross_talk == 0.0:
            return block
        of_detectors = TagDefects(
            afterpulsing=sizes.afterpulsing * AFTERPULSING, cross_talk=sizes.cross_talk * CROSS_TALK
        )
        return self._extra_clicks.spoil(block, of_detectors, dead_s, (1.0, 1.0), recorded=False)

    def _count_tags(self, dwell_s: float) -> tuple[int, int]:
        sampler, clicks = self._sampler(dwell_s), np.zeros(3, np.int64)
        while not sampler.done:
            clicks += np.bincount(self._draw(sampler).channels, minlength=3)
        return int(clicks[self.channel_a]), int(clicks[self.channel_b])

    def _count_statistics(self, dwell_s: float) -> tuple[Array, Array]:
        """Mean and variance of the clicks of both detectors; the mean includes random vibration."""
        s, dead_s = self.truth.source, self.truth.detectors.dead_time_s
        n = int(np.clip(np.ceil(dwell_s / CHUNK_s), 1, _SLICES))
        times_s = self.now_s + (np.arange(n) + 0.5) * dwell_s / n
        shaken = (
            self._light_model.mirror_m(times_s)[:, None] + self.truth.piezo.vibration_m * _NODES
        )
        light = self._light_model.light(shaken.ravel(), np.repeat(times_s, len(_NODES)))
        steady_Hz = np.array(self._light_model.steady_Hz(light))
        if self._settings.path in ("narrow", "blocked"):
            rate, noise = clicks_per_second(steady_Hz, dead_s)
            return dwell_s * rate, dwell_s * noise
        spread_s = 0.0 * light.lifetime_s if self._settings.path == "laser" else light.lifetime_s
        dead_pulses = mean_dead_pulses(dead_s, s.clock_Hz, spread_s)
        eta, steady = (
            np.array(self._light_model.efficiencies(light))[:, None],
            steady_Hz[:, None],
        )  # by detector
        on_s = self._time_on(dwell_s)
        mean, variance, swing = np.zeros(2), np.zeros(2), np.zeros(2)
        for passed_s, shining in ((on_s, True), (dwell_s - on_s, False)):
            if passed_s == 0.0:
                continue
            p = click_probability(light, eta, shining)
            p = 1.0 - (1.0 - p) * np.exp(-steady / s.clock_Hz)
            rates, noises = (
                r.reshape(2, n, -1) * s.clock_Hz for r in clicks_per_pulse(p, dead_pulses)
            )
            at_rest = rates @ _WEIGHTS
            mean += passed_s * at_rest.mean(axis=1)
            variance += passed_s * (noises @ _WEIGHTS).mean(axis=1)
            shake = np.square(rates - at_rest[..., None]) @ _WEIGHTS
            swing += passed_s * np.sqrt(shake.mean(axis=1))
        swing *= self._counts.standard_normal() / np.sqrt(max(dwell_s / VIBRATION_s, 1.0))
        return np.maximum(mean + swing, 0.0), variance

    def _time_on(self, dwell_s: float) -> float:
        """Draw the time during which the dot emits in a dwell time [s]."""
        s = self.truth.source
        if s.on_fraction == 1.0:
            return dwell_s
        off_s = s.blinking_time_s / s.on_fraction
        on_s = s.blinking_time_s / (1.0 - s.on_fraction)
        if dwell_s > 1000.0 * s.blinking_time_s:
            # many switches: normal, with the variance of a random telegraph signal
            spread = np.sqrt(2.0 * s.on_fraction * (1.0 - s.on_fraction) * s.blinking_time_s)
            share = s.on_fraction + spread * self._counts.standard_normal() / np.sqrt(dwell_s)
            return float(np.clip(share, 0.0, 1.0)) * dwell_s
        shining = bool(self._counts.random() < s.on_fraction)
        passed = total = 0.0
        while passed < dwell_s:
            stay = min(self._counts.exponential(on_s if shining else off_s), dwell_s - passed)
            total += stay if shining else 0.0
            passed += stay
            shining = not shining
        return total

    def _hardware(self) -> Hardware:
        s, d = self.truth.source, self.truth.detectors
        period_s = 1.0 / s.clock_Hz
        blinks = s.on_fraction < 1.0
        pulse_s = self.truth.laser.pulse_fwhm_s / np.sqrt(8.0 * np.log(2.0))
        width = 1.0 if self._settings.path == "laser" else self.truth.response_width
        return Hardware(
            period_ps=1e12 / self._counted_clock_Hz,
            dead_ps=1e12 * d.dead_time_s,
            jitter_ps=1e12 * width * float(np.hypot(d.jitter_s, pulse_s)),
            sync_jitter_ps=1e12 * d.sync_jitter_s,
            delay_ps=(self.errors.delay_a_ps, self.errors.delay_b_ps),
            step_ps=float(d.resolution_ps),
            divider=d.sync_divider,
            switch_off=(1.0 - s.on_fraction) * period_s / s.blinking_time_s if blinks else 0.0,
            switch_on=s.on_fraction * period_s / s.blinking_time_s if blinks else 0.0,
            edges=self.errors.tagger.edges,
        )

    def _segments(self, pulses_left: int) -> Segments:
        """Light on the detectors over the next block of a stream, with the cavity's vibration."""
        clock_Hz = self.truth.source.clock_Hz
        tuned = self._settings.path in ("before", "after", "receiver", "interferometer")
        longest_s = CHUNK_s if self._settings.path == "interferometer" else 10.0 * CHUNK_s
        # longer blocks in longer streams
        length_s = max(CHUNK_s, min(0.05 * pulses_left / clock_Hz, longest_s))
        total = min(pulses_left, round(length_s * clock_Hz))
        each = round(VIBRATION_s * clock_Hz) if tuned else total
        starts = np.arange(0, total, each)
        pulses = np.diff(np.append(starts, total))
        times_s = self.now_s + (starts + 0.5 * pulses) / clock_Hz
        shaken = self._tags.normal(0.0, self.truth.piezo.vibration_m, len(starts))
        light = self._light_model.light(self._light_model.mirror_m(times_s) + shaken, times_s)
        if self._settings.path == "interferometer":
            return self._interferometer_segments(pulses, light)
        eta = self._light_model.efficiencies(light)
        tables = np.stack([click_table(light, *eta, shining) for shining in (True, False)], axis=1)
        return PulseSegments(
            pulses=pulses,
            tables=tables.reshape(len(starts), 2, 16),
            lifetime_s=light.lifetime_s,
            steady_Hz=self._light_model.steady_Hz(light),
        )

    def _interferometer_segments(
        self, pulses: NDArray[np.int64], light: Light
    ) -> InterferometerSegments:
        """Light behind the interferometer; its arms interfere if polarised in parallel."""
        s, i = self.truth.source, self.truth.interferometer
        first, second, orthogonal = self.truth.reflectances
        alike = 1.0 if self._settings.arms == "parallel" else 0.0
        switched = self.errors.deviations.transmission("interferometer", self._settings.switched_dB)
        efficiency = self.truth.detectors.efficiency * switched
        return InterferometerSegments(
            pulses=pulses,
            cases=np.stack(
                [photon_cases(light, efficiency, first, on) for on in (True, False)], axis=1
            ),
            lifetime_s=light.lifetime_s,
            steady_Hz=self._light_model.steady_Hz(light),
            splitters=splitters(
                first,
                second,
                second if alike else orthogonal,
                alike * s.indistinguishability * i.overlap**2,
                alike * s.coherence * i.overlap,
                self.errors.phase_rad + 2.0 * np.pi * self._settings.phase_V / i.fringe_V,
            ),
        )


def _within(what: str, value: float, limits: tuple[float, float], unit: str) -> None:
    if not limits[0] <= value <= limits[1]:
        raise ValueError(f"{what} of {value:g} {unit}: must be {limits[0]:g} to {limits[1]:g}")


def _one_of(what: str, given: object, known: Sequence[object]) -> None:
    if given not in known:
        raise ValueError(f"{what} {given!r}: there are {', '.join(map(str, known))}")


def _axis(axis: int) -> None:
    _one_of("axis", axis, AXES)
