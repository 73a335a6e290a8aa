"""A simulated lab that breaks: at its start, when a measurement begins, or within a recording.

Until a fault begins it draws the same random numbers as a healthy lab, bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from qdchar.roles import TagBlock

from .broken_tags import BrokenTags
from .defects import Defects, TagDefects
from .detectors import Light
from .instrument_errors import InstrumentErrors
from .lab import FINE_AXIS, Lab
from .light import LightModel, Settings
from .polarisation import AXES, HALF_WAVES, depolarised, passed, sent
from .sampler import TagSampler
from .truth import Truth

Array = NDArray[np.float64]

_FAULTS_SPAWN_KEY = 99
"""Seeds what only broken labs draw; far from the children that `Lab` takes from its seed."""


class Breaks(Protocol):
    """A fault as the lab sees it, see `faults.Fault`."""

    @property
    def name(self) -> str:
        """Name in the table."""

    @property
    def apply(self) -> Callable[[BrokenLab], None]:
        """Breaks a lab."""


@dataclass(frozen=True)
class PlannedFault:
    """A fault and when it begins.

    Attributes
    ----------
    fault
        What breaks.
    measurement
        It begins when this measurement begins; at the start of the lab where empty.
    recorded_share
        It begins only when this share of the first recording of tags in that measurement has
        passed, at the latest when the next measurement begins.
    """

    fault: Breaks
    measurement: str = ""
    recorded_share: float = 0.0


class BrokenLab(Lab):
    """A simulated lab with faults.

    Parameters
    ----------
    truth, seed
        Of the lab before anything breaks, see `Lab`.
    planned
        Its faults; those without a measurement begin at once.
    """

    def __init__(
        self,
        truth: Truth,
        seed: int,
        planned: Sequence[PlannedFault],
        *,
        restarts: int = 0,
        clock_s: float = 0.0,
    ) -> None:
        super().__init__(truth, seed, restarts=restarts, clock_s=clock_s)
        self.defects = Defects()
        key = (_FAULTS_SPAWN_KEY, restarts) if restarts else (_FAULTS_SPAWN_KEY,)
        self._rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
        self._waiting = list(planned)
        self._in_recording: list[PlannedFault] = []
        self._shown: dict[str, Any] = {}
        self._tags_of_stream = BrokenTags(self._rng)
        self._stream_clock_Hz = truth.source.clock_Hz
        self._clock_changed_ps: int | None = None
        self._counting = self._latched = False
        self._last_counts: tuple[int, int] | None = None
        self._last_reading_W: float | None = None
        self.renew_light()
        self.begin_measurement("")

    def begin_measurement(self, name: str) -> list[str]:
        """Let begin what begins with a measurement; returns the names of these faults."""
        with self._lock:
            late, self._in_recording = self._in_recording, []
            now = [p for p in self._waiting if p.measurement == name]
            self._waiting = [p for p in self._waiting if p.measurement != name]
            self._in_recording = [p for p in now if p.recorded_share > 0.0]
            return self._break(late) + self._break([p for p in now if p.recorded_share == 0.0])

    def begin_all(self) -> None:
        """Let all faults begin."""
        with self._lock:
            everything, self._waiting, self._in_recording = (
                [*self._in_recording, *self._waiting],
                [],
                [],
            )
            self._break(everything)

    def _break(self, planned: Sequence[PlannedFault]) -> list[str]:
        for p in planned:
            p.fault.apply(self)
        return [p.fault.name for p in planned]

    # for the faults

    @property
    def settings(self) -> Settings:
        """What acts, whatever the instruments report."""
        return self._settings

    def change_truth(self, group: str, **changes: object) -> None:
        """Change true values; the transmitter's loss beside the etalon stays as it is."""
        passage = self.truth.passage
        part = dataclasses.replace(getattr(self.truth, group), **changes)
        groups: dict[str, Any] = {group: part}
        truth = dataclasses.replace(self.truth, **groups)
        if "efficiency" not in changes or group != "transmitter":
            efficiency = passage * truth.highest_transmitter_efficiency
            transmitter = dataclasses.replace(truth.transmitter, efficiency=efficiency)
            truth = dataclasses.replace(truth, transmitter=transmitter)
        self.truth = truth
        self.renew_light()

    def change_errors(self, **changes: Any) -> None:
        """Change errors of instruments."""
        self.errors = dataclasses.replace(self.errors, **changes)
        self.renew_light()

    def renew_light(self) -> None:
        """Let the light follow from the present truth and errors."""
        self._light_model = _BrokenLightModel(
            self.truth, self.errors, self._settings, self.defects, lambda: self.now_s
        )

    def quantities(self) -> tuple[tuple[str, float, str], ...]:
        """Return the true quantities at this moment, as `Truth.quantities` does."""
        piezo, share = self._settings.fine, self.truth.detectors.share_a
        truth = dataclasses.replace(
            self.truth,
            piezo=dataclasses.replace(
                self.truth.piezo, hysteresis=piezo.hysteresis, creep=piezo.creep
            ),
        )
        a, b = self.defects.detector_factors
        factor = share * a + (1.0 - share) * b
        changed: dict[str, Callable[[float], float]] = {
            "dark_count_rate": lambda rate: rate * _share_of_darks(a, b) + self.defects.room_Hz,
            "detector_efficiency": lambda eta: eta * factor,
            "detector_efficiency_measured": lambda eta: eta * factor,
        }
        if self.defects.modulator_gain:
            changed["misalignment"] = lambda _: self._wrong_share()
        return tuple(
            (name, changed[name](value) if name in changed else value, unit)
            for name, value, unit in truth.quantities()
        )

    def _wrong_share(self) -> float:
        """Share of the photons in the wrong output, mean of the six states, as they are sent."""
        gains = self.defects.modulator_gain.get(1, 1.0), self.defects.modulator_gain.get(2, 1.0)
        right = 0.0
        for name, (first, second) in HALF_WAVES.items():
            state = sent((first * gains[0], second * gains[1]), 1.0)
            right += passed(depolarised(state, self.errors.misalignment), np.array(AXES[name]))
        return 1.0 - right / len(HALF_WAVES)

    # called by the instruments; what they report is what they were asked for

    def set_piezo(self, axis: int, voltage_V: float) -> None:
        """Apply an offset voltage [V] to an axis of the cavity."""
        with self._lock:
            before_V = self._settings.fine.voltage_V
            super().set_piezo(axis, voltage_V)
            if axis == FINE_AXIS:
                self._shown["cavity"] = voltage_V
                if self.defects.cavity_stuck:
                    self._settings.fine.set(before_V, self.now_s)

    def piezo_voltage(self, axis: int) -> float:
        """Get the offset voltage of an axis [V]."""
        shown = super().piezo_voltage(axis)
        return float(self._shown.get("cavity", shown)) if axis == FINE_AXIS else shown

    def set_etalon_voltage(self, V: float) -> None:
        """Apply a voltage [V] to the etalon's piezo."""
        with self._lock:
            before_V = self._settings.etalon.voltage_V
            super().set_etalon_voltage(V)
            self._shown["etalon"] = V
            if self.defects.etalon_stuck:
                self._settings.etalon.set(before_V, self.now_s)

    def etalon_voltage(self) -> float:
        """Get the voltage of the etalon's piezo [V]."""
        return float(self._shown.get("etalon", super().etalon_voltage()))

    def set_attenuation(self, dB: float) -> None:
        """Set the attenuator [dB]."""
        with self._lock:
            before_dB = self._settings.attenuation_dB
            super().set_attenuation(dB)
            self._shown["attenuation"] = dB
            if self.defects.attenuator_stuck:
                self._settings.attenuation_dB = before_dB

    def attenuation(self) -> float:
        """Get what the attenuator is set to [dB]."""
        return float(self._shown.get("attenuation", super().attenuation()))

    def set_shutter(self, open: bool) -> None:
        """Open or close the shutter of the pump."""
        with self._lock:
            before = self._settings.shutter_open
            super().set_shutter(open)
            self._shown["shutter"] = open
            if self.defects.shutter_stuck:
                self._settings.shutter_open = before

    def shutter(self) -> bool:
        """Whether the shutter of the pump is open."""
        return bool(self._shown.get("shutter", super().shutter()))

    def select_path(self, name: str) -> None:
        """Choose what light reaches the detectors."""
        with self._lock:
            before = self._settings.path
            super().select_path(name)
            self._shown["path"] = name
            self._settings.path = (
                before if self.defects.path_stuck else self.defects.ports.get(name, name)
            )
            if self._settings.path == "blocked":
                self._latched = False

    def selected_path(self) -> str:
        """Get what light reaches the detectors."""
        return str(self._shown.get("path", super().selected_path()))

    def turn_plate(self, name: str, angle_deg: float) -> None:
        """Turn the mount of one of the analyser's wave plates [degrees]."""
        with self._lock:
            before_deg = self._settings.plates_deg.get(name, 0.0)
            super().turn_plate(name, angle_deg)
            self._shown[f"plate {name}"] = angle_deg
            if name in self.defects.plates_stuck:
                self._settings.plates_deg[name] = before_deg

    def plate_deg(self, name: str) -> float:
        """Get the angle of a wave plate's mount [degrees]."""
        return float(self._shown.get(f"plate {name}", super().plate_deg(name)))

    def set_modulator(self, channel: int, voltage_V: float) -> None:
        """Apply a voltage to the input of one of the polarisation modulator's amplifiers [V]."""
        with self._lock:
            super().set_modulator(channel, voltage_V)
            self._settings.modulator_V[channel] *= self.defects.modulator_gain.get(channel, 1.0)

    def power_reading_W(self) -> float:
        """Read the power meter [W]."""
        with self._lock:
            reading_W = super().power_reading_W() + self.defects.meter_zero_W
            if not self.defects.meter_stuck or self._last_reading_W is None:
                self._last_reading_W = min(reading_W, self.defects.meter_highest_W)
            return self._last_reading_W

    def count(self, dwell_s: float) -> tuple[int, int]:
        """Count the clicks of both detectors for a dwell [s]."""
        with self._lock:
            self._counting = True
            try:
                counts = super().count(dwell_s)
            finally:
                self._counting = False
            if self._settings.path != "interferometer":
                counts = self._spoilt_counts(counts, dwell_s)
            if self.defects.tags.count_stale:
                counts, self._last_counts = self._last_counts or counts, counts
            return counts

    # inside

    def _spoilt_counts(self, counts: tuple[int, int], dwell_s: float) -> tuple[int, int]:
        """Change counts as `BrokenTags` changes tags."""
        tags, dead_s = self.defects.tags, self.truth.detectors.dead_time_s
        kept = self._kept((counts[0] / dwell_s, counts[1] / dwell_s))
        a, b = (
            int(self._rng.binomial(n, share)) if share < 1.0 else n
            for n, share in zip(counts, kept, strict=True)
        )
        if tags.afterpulsing > 0.0 or tags.cross_talk > 0.0:
            # an extra click is lost to the dead time of others, and takes others with it
            alive_a, alive_b = (max(1.0 - dead_s * n / dwell_s, 0.0) ** 2 for n in (a, b))
            more_a = self._rng.binomial(a, tags.afterpulsing * alive_a)
            more_a += self._rng.binomial(b, tags.cross_talk * alive_a)
            more_b = self._rng.binomial(b, tags.afterpulsing * alive_b)
            more_b += self._rng.binomial(a, tags.cross_talk * alive_b)
            a, b = int(a + more_a), int(b + more_b)
        return (b, a) if tags.swapped else (a, b)

    def _kept(self, rates_Hz: tuple[float, float]) -> tuple[float, float]:
        """Shares of the clicks of A and B that the detectors keep at these rates."""
        tags = self.defects.tags
        if rates_Hz[0] > tags.latching_Hz:
            self._latched = True
        a, b = (1.0 / (1.0 + rate * tags.saturation_s) for rate in rates_Hz)
        if self._settings.path == "interferometer":
            # its kernel needs equal efficiencies: what a detector lacks is taken off here
            a, b = a * self.defects.detector_factors[0], b * self.defects.detector_factors[1]
        return (0.0 if self._latched else a), b

    def _sampler(self, duration_s: float) -> TagSampler:
        self._tags_of_stream = BrokenTags(self._rng)
        self._stream_clock_Hz, self._clock_changed_ps = self.truth.source.clock_Hz, None
        return super()._sampler(duration_s)

    def _draw(self, sampler: TagSampler) -> TagBlock:
        if not self._counting:
            due = [p for p in self._in_recording if sampler.share_drawn >= p.recorded_share]
            self._in_recording = [p for p in self._in_recording if p not in due]
            if self._break(due):
                sampler.change_hardware(self._hardware())
        block = super()._draw(sampler)
        if self.truth.source.clock_Hz != self._stream_clock_Hz:
            block = self._at_new_clock(block, sampler.duration_ps)
        duration_s = max((block.stop_ps - block.start_ps) * 1e-12, 1e-12)
        clicks = np.bincount(block.channels, minlength=3)
        kept = self._kept((clicks[1] / duration_s, clicks[2] / duration_s))
        if self.defects.tags == TagDefects() and kept == (1.0, 1.0):
            return block
        dead_s = self.truth.detectors.dead_time_s
        return self._tags_of_stream.spoil(
            block, self.defects.tags, dead_s, kept, recorded=not self._counting
        )

    def _at_new_clock(self, block: TagBlock, end_ps: int) -> TagBlock:
        """Stretch the time from where the pulse rate changed; the sampler keeps the old rate."""
        if self._clock_changed_ps is None:
            self._clock_changed_ps = block.start_ps
        stretch = self._stream_clock_Hz / self.truth.source.clock_Hz - 1.0
        origin = self._clock_changed_ps

        def later(t: int) -> int:
            return min(t + round((t - origin) * stretch), end_ps)

        times = block.times_ps + np.rint((block.times_ps - origin) * stretch).astype(np.int64)
        stop_ps = end_ps if block.stop_ps == end_ps else later(block.stop_ps)
        within = times < stop_ps
        return TagBlock(
            times[within], block.channels[within], later(block.start_ps), stop_ps, block.overflow
        )


def _share_of_darks(a: float, b: float) -> float:
    """Return what is left of the dark counts, half and half: a dead detector has none."""
    return 0.5 * (float(a > 0.0) + float(b > 0.0))


class _BrokenLightModel(LightModel):
    """The light of a lab with defects."""

    def __init__(
        self,
        truth: Truth,
        errors: InstrumentErrors,
        settings: Settings,
        defects: Defects,
        now_s: Callable[[], float],
    ) -> None:
        super().__init__(truth, errors, settings)
        self._defects, self._now_s = defects, now_s

    def power_W(self) -> float:
        """Power at the dot [W]."""
        d = self._defects
        growth: float = (1.0 + d.pump_per_s) ** (self._now_s() - d.pump_since_s)
        return super().power_W() * growth * float(10.0 ** (-0.1 * d.attenuator_extra_dB))

    def mirror_m(self, times_s: Array) -> Array:
        """Displacement of the cavity's mirror from resonance [m], without vibration."""
        d = self._defects
        drifted_m = d.cavity_drift_m_per_s * (times_s - d.cavity_since_s)
        return super().mirror_m(times_s) + drifted_m + d.thermal_m_per_W * self.power_W()

    def light(self, mirror_m: Array, times_s: Array) -> Light:
        """Light at the beam splitter for displacements of the mirror [m], arrays of shape (n,)."""
        light = super().light(mirror_m, times_s)
        passed = self._defects.port_transmission.get(self.settings.path, 1.0)
        return dataclasses.replace(
            light,
            passage=passed * light.passage,
            laser=passed * light.laser,
            steady_Hz=passed * light.steady_Hz,
        )

    def efficiencies(self, light: Light) -> tuple[float, float]:
        """Give the efficiencies of A and B for a light, times the share of it that each gets."""
        (a, b), (factor_a, factor_b) = super().efficiencies(light), self._defects.detector_factors
        return a * factor_a, b * factor_b

    def steady_Hz(self, light: Light) -> tuple[float, float]:
        """Rates of dark counts and continuous light at A and B."""
        room_Hz = 0.5 * self._defects.room_Hz
        return tuple(  # type: ignore[return-value]
            (rate + room_Hz * factor) if factor > 0.0 else 0.0
            for rate, factor in zip(
                super().steady_Hz(light), self._defects.detector_factors, strict=True
            )
        )

    def _etalon_Hz(self, time_s: float) -> float:
        d = self._defects
        drifted_Hz = d.etalon_drift_Hz_per_s * (time_s - d.etalon_since_s)
        return super()._etalon_Hz(time_s) + drifted_Hz
