"""The simulated lab: one physical state, moved and looked at through its instruments.

Emulators call it from their threads. Its clock is simulated: it advances with every dwell, every
stretch of a stream and `Lab.advance`, never with the clock on the wall, so that one seed and one
sequence of commands give the same data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray

from qdchar.roles import TagBlock

from .detectors import (
    Light,
    click_probability,
    click_table,
    clicks_per_pulse,
    clicks_per_second,
    draw_counts,
    mean_dead_pulses,
)
from .instrument_errors import InstrumentErrors
from .interferometer_sampler import InterferometerSegments, cases, splitters
from .optics import etalon_transmission, excitation, purcell_factor, reexcitation
from .piezo import Piezo, virgin_effective_V
from .polarisation import analysed, depolarised, passed, sent
from .sampler import AnySegments, Hardware, Segments, TagSampler
from .truth import Truth

Array = NDArray[np.float64]

PATHS = ("before", "after", "laser", "narrow", "blocked", "receiver", "interferometer")
ARMS = ("parallel", "orthogonal")
AXES = (1, 2, 3)
MODULATOR_CHANNELS = (1, 2)
PLATES = ("quarter", "half")
STEPPER_AXIS, FINE_AXIS = 1, 3
PIEZO_RANGE_V = (0.0, 150.0)
ATTENUATION_RANGE_dB = (0.0, 60.0)
MODULATOR_RANGE_V = (-20.0, 20.0)

VIBRATION_s = 1e-3
"""Time after which the vibration of the cavity has forgotten itself."""
CHUNK_s = 0.02
_SLICES = 32
_NODES, _WEIGHTS = hermegauss(7)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class Lab:
    """A simulated lab.

    Parameters
    ----------
    truth
        What is true in it.
    seed
        All that is random: errors of instruments, noise, counts.
    """

    channel_sync = 0
    channel_a = 1
    channel_b = 2

    def __init__(self, truth: Truth, seed: int) -> None:
        instruments, *others, receiver = np.random.SeedSequence(seed).spawn(6)
        meter, counts, tags, stepper = map(np.random.default_rng, others)
        self.truth = truth
        self.errors = InstrumentErrors.from_seed(truth, instruments, receiver)
        self.serial = f"SIM-{seed}"
        self.sync_divider = truth.detectors.sync_divider
        self.resolution_ps = float(truth.detectors.resolution_ps)
        self._meter, self._counts, self._tags, self._stepper = meter, counts, tags, stepper
        self._lock = threading.RLock()
        self._now_ps = 0
        self._fine = Piezo(truth.piezo.hysteresis, truth.piezo.creep)
        self._others_V = dict.fromkeys(AXES, 0.0)
        self._etalon = Piezo(truth.etalon.hysteresis, truth.etalon.creep)
        self._coarse_m = 0.0
        self._resonance_V = virgin_effective_V(truth.cavity.resonance_V, truth.piezo.hysteresis)
        self._attenuation_dB = ATTENUATION_RANGE_dB[1]
        self._shutter_open = False
        self._path = "blocked"
        self._modulator_V = dict.fromkeys(MODULATOR_CHANNELS, 0.0)
        self._arms = ARMS[0]
        self._phase_V = 0.0
        self._plates_deg = dict.fromkeys(PLATES, 0.0)
        self._passages = lru_cache(maxsize=8)(self._tabulate_passage)

    # What instruments do

    def set_piezo(self, axis: int, voltage_V: float) -> None:
        """Apply an offset voltage [V] to an axis of the cavity."""
        _within("voltage", voltage_V, PIEZO_RANGE_V, "V")
        _axis(axis)
        with self._lock:
            if axis == FINE_AXIS:
                self._fine.set(voltage_V, self.now_s)
            else:
                self._others_V[axis] = voltage_V

    def piezo_voltage(self, axis: int) -> float:
        """Get the offset voltage of an axis [V]."""
        _axis(axis)
        with self._lock:
            return self._fine.voltage_V if axis == FINE_AXIS else self._others_V[axis]

    def step(self, axis: int, n: int) -> None:
        """Take n steps; those of the stepper below the cavity move its mirror, unevenly."""
        _axis(axis)
        with self._lock:
            if axis == STEPPER_AXIS and n != 0:
                p = self.truth.piezo
                mean = p.step_up_m if n > 0 else -p.step_down_m
                spread = p.step_spread * self._stepper.standard_normal() / np.sqrt(abs(n))
                self._coarse_m += abs(n) * mean * (1.0 + float(spread))

    def set_attenuation(self, dB: float) -> None:
        """Set the attenuator [dB]."""
        _within("attenuation", dB, ATTENUATION_RANGE_dB, "dB")
        with self._lock:
            self._attenuation_dB = dB

    def attenuation(self) -> float:
        """Get what the attenuator is set to [dB]."""
        with self._lock:
            return self._attenuation_dB

    def set_shutter(self, open: bool) -> None:
        """Open or close the shutter of the pump."""
        with self._lock:
            self._shutter_open = open

    def shutter(self) -> bool:
        """Whether the shutter of the pump is open."""
        with self._lock:
            return self._shutter_open

    def power_reading_W(self) -> float:
        """Read the power meter [W]: its gain is off by its certificate's u, each reading noisy."""
        with self._lock:
            noise, floor = self._meter.standard_normal(2)
            power = self._power_W() * self.errors.meter_gain * (1.0 + 0.005 * noise)
            return float(power + 1e-12 * floor)

    def set_etalon_voltage(self, V: float) -> None:
        """Apply a voltage [V] to the etalon's piezo."""
        _within("voltage", V, (0.0, self.truth.etalon.range_V), "V")
        with self._lock:
            self._etalon.set(V, self.now_s)

    def etalon_voltage(self) -> float:
        """Get the voltage of the etalon's piezo [V]."""
        with self._lock:
            return self._etalon.voltage_V

    def set_modulator(self, channel: int, voltage_V: float) -> None:
        """Apply a voltage to the input of one of the polarisation modulator's amplifiers [V]."""
        _within("voltage", voltage_V, MODULATOR_RANGE_V, "V")
        _one_of("channel", channel, MODULATOR_CHANNELS)
        with self._lock:
            self._modulator_V[channel] = voltage_V

    def turn_plate(self, name: str, angle_deg: float) -> None:
        """Turn the mount of one of the analyser's wave plates [degrees]."""
        _one_of("plate", name, PLATES)
        with self._lock:
            self._plates_deg[name] = angle_deg

    def plate_deg(self, name: str) -> float:
        """Get the angle of a wave plate's mount [degrees]."""
        _one_of("plate", name, PLATES)
        with self._lock:
            return self._plates_deg[name]

    def set_phase_voltage(self, V: float) -> None:
        """Apply a voltage [V] to the piezo of the interferometer's phase."""
        _within("voltage", V, PIEZO_RANGE_V, "V")
        with self._lock:
            self._phase_V = V

    def phase_voltage(self) -> float:
        """Get the voltage of the piezo of the interferometer's phase [V]."""
        with self._lock:
            return self._phase_V

    def select_arms(self, name: str) -> None:
        """Have the interferometer's arms polarised alike or not."""
        _one_of("arms", name, ARMS)
        with self._lock:
            self._arms = name

    def selected_arms(self) -> str:
        """Get how the interferometer's arms are polarised."""
        with self._lock:
            return self._arms

    def select_path(self, name: str) -> None:
        """Choose what light reaches the detectors."""
        _one_of("light path", name, PATHS)
        with self._lock:
            self._path = name

    def selected_path(self) -> str:
        """Get what light reaches the detectors."""
        with self._lock:
            return self._path

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if not 0.0 <= seconds < 1e9:
            raise ValueError(f"cannot let {seconds:g} s pass")
        with self._lock:
            self._now_ps += round(seconds * 1e12)

    def count(self, dwell_s: float) -> tuple[int, int]:
        """Count the clicks of both detectors for a dwell [s].

        Counts are drawn from the statistics of the clicks, not from tags: the mean and variance
        of a renewal process per detector. That a photon on one detector is missing on the other
        is left out; it lowers the noise of the sum. Behind the interferometer, where clicks of
        consecutive pulses are not independent, it is tags that are counted.
        """
        if not 0.0 < dwell_s < 1e6:
            raise ValueError(f"dwell of {dwell_s:g} s: must be more than 0 and less than 1e6 s")
        with self._lock:
            if self._path == "interferometer":
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

        What is changed meanwhile takes effect with the next block.
        """
        if not 0.0 < duration_s < 1e6:
            raise ValueError(f"duration of {duration_s:g} s: must be more than 0, less than 1e6 s")
        with self._lock:
            sampler = self._sampler(duration_s)
        while not sampler.done:
            with self._lock:
                block = self._draw(sampler)
            yield block

    # What happens in it

    @property
    def now_s(self) -> float:
        """Time in the lab, since its start [s]."""
        return self._now_ps * 1e-12

    def _sampler(self, duration_s: float) -> TagSampler:
        return TagSampler(
            self._hardware(),
            self.truth.source.clock_Hz,
            self._now_ps,
            round(duration_s * 1e12),
            int(self._tags.integers(2**63)),
            bool(self._tags.random() >= self.truth.source.on_fraction),
        )

    def _draw(self, sampler: TagSampler) -> TagBlock:
        """Draw the next piece of a stream, and let its time pass."""
        block = sampler.draw(self._segments(sampler.pulses_left))
        self._now_ps += block.stop_ps - block.start_ps
        return block

    def _count_tags(self, dwell_s: float) -> tuple[int, int]:
        sampler, clicks = self._sampler(dwell_s), np.zeros(3, np.int64)
        while not sampler.done:
            clicks += np.bincount(self._draw(sampler).channels, minlength=3)
        return int(clicks[self.channel_a]), int(clicks[self.channel_b])

    def _power_W(self) -> float:
        """Power at the dot [W]."""
        if not self._shutter_open:
            return 0.0
        decibels = self._attenuation_dB * self.errors.attenuator_gain
        return self.truth.laser.power_W * float(10.0 ** (-0.1 * decibels))

    def _mirror_m(self, times_s: Array) -> Array:
        """Distance of the cavity's mirror from resonance [m], vibration aside."""
        p = self.truth.piezo
        moved_V = self._fine.effective_V(times_s) - self._resonance_V
        return p.gain_m_per_V * moved_V + self._coarse_m + p.drift_m_per_s * times_s

    def _light(self, mirror_m: Array, times_s: Array) -> Light:
        """Light at the beam splitter for a place of the mirror [m], arrays of one shape (n,)."""
        s, nothing = self.truth.source, np.zeros_like(mirror_m)
        purcell = purcell_factor(
            mirror_m, s.purcell, self.truth.cavity.finesse, self.truth.cavity_fsr_m
        )
        lifetime_s = s.slow_lifetime_s / (1.0 + purcell)
        fade = (1.0 + s.fade_per_hour) ** (times_s / 3600.0)
        power_W = self._power_W()
        dark = Light(nothing, nothing, nothing, nothing, lifetime_s)
        if self._path == "blocked":
            return dark
        if self._path == "laser":
            laser = np.full_like(mirror_m, self.truth.laser.photons_per_W * power_W)
            return Light(nothing, nothing, laser, nothing, lifetime_s)
        if self._path == "narrow":
            photons = self.truth.transmitter.narrow_photons_per_s
            steady = photons * self._narrow_share(float(times_s.mean()))
            return Light(nothing, nothing, nothing, nothing, lifetime_s, steady)
        area = np.pi * np.sqrt(power_W / s.pi_power_W)
        rotation = excitation(area, s.damping) / excitation(np.pi, s.damping)
        coupling = fade * purcell / (1.0 + purcell) * (1.0 + 1.0 / s.purcell)
        mean = s.dot_photons * rotation * coupling
        early = reexcitation(area) * s.lifetime_s / lifetime_s
        if mean.max() > 1.0:
            raise ValueError("the brightness has drifted above one photon per pulse")
        pair = 0.5 * s.reexcitation_g2 * early * np.square(s.dot_photons * coupling)
        laser = fade * s.leaked_photons * power_W / s.pi_power_W
        passage = np.ones_like(mirror_m)
        if self._path in ("after", "receiver", "interferometer"):
            detuning_Hz = self._etalon_Hz(float(times_s.mean()))
            passage = self.truth.passage * self._dot_passage(detuning_Hz, lifetime_s)
            laser = laser * self.truth.passage * self.truth.leak_share(detuning_Hz)
        return Light(mean - 2.0 * pair, pair, laser, passage, lifetime_s)

    def _etalon_Hz(self, time_s: float) -> float:
        """Frequency of an order of the etalon against the dot [Hz]."""
        e = self.truth.etalon
        moved_V = float(self._etalon.effective_V(time_s)) - self.errors.etalon_peak_V
        bend = moved_V / e.range_V
        return e.slope_Hz_per_V * moved_V * (1.0 + e.quadratic * bend + e.cubic * bend**2)

    def _narrow_share(self, time_s: float) -> float:
        t = self.truth.transmitter
        detuning_Hz = self._etalon_Hz(time_s) - self.errors.narrow_offset_Hz
        return float(etalon_transmission(detuning_Hz, t.etalon_fsr_Hz, t.etalon_fwhm_Hz, 0.0, 0.0))

    def _tabulate_passage(self, detuning_Hz: float) -> tuple[Array, Array]:
        """Share of the dot's light that the etalon passes against its decay rate [1/s]."""
        s, t = self.truth.source, self.truth.transmitter
        rate = np.linspace(1.0 / s.slow_lifetime_s, 1.0 / s.lifetime_s, 65)
        share = etalon_transmission(
            detuning_Hz,
            t.etalon_fsr_Hz,
            t.etalon_fwhm_Hz,
            rate / (2.0 * np.pi),
            s.wandering_Hz,
        )
        return rate, share

    def _dot_passage(self, detuning_Hz: float, lifetime_s: Array) -> Array:
        return np.interp(1.0 / lifetime_s, *self._passages(detuning_Hz))

    def _efficiencies(self) -> tuple[float, float]:
        """Give the detection efficiencies of A and B, the share of the light in them."""
        d = self.truth.detectors
        if self._path == "receiver":
            right, (a, b) = self._first_output(), self.errors.outputs
            return d.efficiency * a * right, d.efficiency * b * (1.0 - right)
        return d.efficiency * d.share_a, d.efficiency * (1.0 - d.share_a)

    def _first_output(self) -> float:
        """Probability that a photon leaves the analyser by its first output."""
        t, a = self.truth.transmitter, self.truth.analyser
        voltages_V = self._modulator_V[1], self._modulator_V[2]
        state = depolarised(sent(voltages_V, t.half_wave_V), self.errors.misalignment)
        quarter_deg = self._plates_deg["quarter"] - a.quarter_zero_deg
        half_deg = self._plates_deg["half"] - a.half_zero_deg
        return passed(state, analysed(quarter_deg, half_deg))

    def _steady_Hz(self, light: Light) -> tuple[float, float]:
        """Dark counts and continuous light of both detectors; half of the darks each."""
        dark = 0.5 * self.truth.detectors.dark_count_Hz
        eta_a, eta_b = self._efficiencies()
        return light.steady_Hz * eta_a + dark, light.steady_Hz * eta_b + dark

    def _count_statistics(self, dwell_s: float) -> tuple[Array, Array]:
        """Mean and variance of the clicks of both detectors, the mean with its vibration drawn."""
        s, dead_s = self.truth.source, self.truth.detectors.dead_time_s
        n = int(np.clip(np.ceil(dwell_s / CHUNK_s), 1, _SLICES))
        times_s = self.now_s + (np.arange(n) + 0.5) * dwell_s / n
        shaken = self._mirror_m(times_s)[:, None] + self.truth.piezo.vibration_m * _NODES
        light = self._light(shaken.ravel(), np.repeat(times_s, len(_NODES)))
        steady_Hz = np.array(self._steady_Hz(light))
        if self._path in ("narrow", "blocked"):
            rate, noise = clicks_per_second(steady_Hz, dead_s)
            return dwell_s * rate, dwell_s * noise
        spread_s = 0.0 * light.lifetime_s if self._path == "laser" else light.lifetime_s
        dead_pulses = mean_dead_pulses(dead_s, s.clock_Hz, spread_s)
        eta, steady = np.array(self._efficiencies())[:, None], steady_Hz[:, None]  # by detector
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
        """Time that the dot shines during a dwell [s]."""
        s = self.truth.source
        if s.on_fraction == 1.0:
            return dwell_s
        off_s = s.blinking_time_s / s.on_fraction
        on_s = s.blinking_time_s / (1.0 - s.on_fraction)
        if dwell_s > 1000.0 * s.blinking_time_s:
            # many switches: normal, with the variance of the telegraph
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
        return Hardware(
            period_ps=1e12 * period_s,
            dead_ps=1e12 * d.dead_time_s,
            jitter_ps=1e12 * float(np.hypot(d.jitter_s, pulse_s)),
            sync_jitter_ps=1e12 * d.sync_jitter_s,
            delay_ps=(self.errors.delay_a_ps, self.errors.delay_b_ps),
            step_ps=float(d.resolution_ps),
            divider=d.sync_divider,
            switch_off=(1.0 - s.on_fraction) * period_s / s.blinking_time_s if blinks else 0.0,
            switch_on=s.on_fraction * period_s / s.blinking_time_s if blinks else 0.0,
        )

    def _segments(self, pulses_left: int) -> AnySegments:
        """Light on the detectors over the next piece of a stream; the cavity vibrates in it."""
        clock_Hz = self.truth.source.clock_Hz
        tuned = self._path in ("before", "after", "receiver", "interferometer")
        longest_s = CHUNK_s if self._path == "interferometer" else 10.0 * CHUNK_s
        # where it goes on for long the pieces are longer
        length_s = max(CHUNK_s, min(0.05 * pulses_left / clock_Hz, longest_s))
        total = min(pulses_left, round(length_s * clock_Hz))
        each = round(VIBRATION_s * clock_Hz) if tuned else total
        starts = np.arange(0, total, each)
        pulses = np.diff(np.append(starts, total))
        times_s = self.now_s + (starts + 0.5 * pulses) / clock_Hz
        shaken = self._tags.normal(0.0, self.truth.piezo.vibration_m, len(starts))
        light = self._light(self._mirror_m(times_s) + shaken, times_s)
        if self._path == "interferometer":
            return self._train(pulses, light)
        eta = self._efficiencies()
        tables = np.stack([click_table(light, *eta, shining) for shining in (True, False)], axis=1)
        return Segments(
            pulses=pulses,
            tables=tables.reshape(len(starts), 2, 16),
            lifetime_s=light.lifetime_s,
            steady_Hz=self._steady_Hz(light),
        )

    def _train(self, pulses: NDArray[np.int64], light: Light) -> InterferometerSegments:
        """Light behind the interferometer; its arms interfere where they are polarised alike."""
        s, i = self.truth.source, self.truth.interferometer
        alike = 1.0 if self._arms == "parallel" else 0.0
        efficiency = self.truth.detectors.efficiency
        return InterferometerSegments(
            pulses=pulses,
            cases=np.stack(
                [cases(light, efficiency, i.reflectance, on) for on in (True, False)], axis=1
            ),
            lifetime_s=light.lifetime_s,
            steady_Hz=self._steady_Hz(light),
            splitters=splitters(
                i.reflectance,
                alike * s.indistinguishability * i.overlap**2,
                alike * s.coherence * i.overlap,
                self.errors.phase_rad + 2.0 * np.pi * self._phase_V / i.fringe_V,
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
