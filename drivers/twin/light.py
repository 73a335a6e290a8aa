"""Light in the simulated lab: from the settings of its instruments to its detectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .detectors import (
    Light,
    click_probability,
    clicks_per_pulse,
    clicks_per_second,
    mean_dead_pulses,
)
from .imperfections import CERTIFIED_RATE_Hz
from .instrument_errors import InstrumentErrors
from .optics import etalon_transmission, excitation, purcell_factor, reexcitation
from .piezo import Piezo, virgin_effective_V
from .polarisation import analysed, depolarised, passed, sent
from .spectral_jumps import SpectralJumps
from .truth import Truth

Array = NDArray[np.float64]

PATHS = ("before", "after", "laser", "narrow", "blocked", "receiver", "interferometer")
ARMS = ("parallel", "orthogonal")
AXES = (1, 2, 3)
MODULATOR_CHANNELS = (1, 2)
PLATES = ("quarter", "half")
ATTENUATION_RANGE_dB = (0.0, 60.0)


@dataclass
class Settings:
    """What the instruments of the lab are set to.

    Attributes
    ----------
    fine, etalon
        Piezos of the cavity's fine axis and of the etalon.
    coarse_m
        Displacement of the mirror by the stepper [m].
    switched_dB
        Loss of the light path since it was switched, less the position's own [dB].
    switched_s
        When it was switched [s].
    other_axes_V
        Offset voltages of the axes without an effect [V].
    """

    fine: Piezo
    etalon: Piezo
    coarse_m: float = 0.0
    other_axes_V: dict[int, float] = field(default_factory=lambda: dict.fromkeys(AXES, 0.0))
    attenuation_dB: float = ATTENUATION_RANGE_dB[1]
    shutter_open: bool = False
    path: str = "blocked"
    switched_dB: float = 0.0
    switched_s: float = 0.0
    modulator_V: dict[int, float] = field(
        default_factory=lambda: dict.fromkeys(MODULATOR_CHANNELS, 0.0)
    )
    plates_deg: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PLATES, 0.0))
    arms: str = ARMS[0]
    phase_V: float = 0.0


class LightModel:
    """The light that follows from the settings.

    Parameters
    ----------
    truth, errors
        Of the lab.
    settings
        Read at each call; whoever changes them holds the lock of the lab.
    """

    def __init__(self, truth: Truth, errors: InstrumentErrors, settings: Settings) -> None:
        self.truth, self.errors, self.settings = truth, errors, settings
        self._resonance_V = virgin_effective_V(truth.cavity.resonance_V, truth.piezo.hysteresis)
        self._passages = lru_cache(maxsize=8)(self._tabulate_passage)
        self._jumps = SpectralJumps(
            truth.source.wandering_Hz,
            truth.imperfections.spectral_jumps,
            errors.deviations.jumps_seed,
        )

    def power_W(self) -> float:
        """Power at the dot [W]."""
        if not self.settings.shutter_open:
            return 0.0
        decibels = self.settings.attenuation_dB * self.errors.attenuator_gain
        return self.truth.laser.power_W * float(10.0 ** (-0.1 * decibels))

    def mirror_m(self, times_s: Array) -> Array:
        """Displacement of the cavity's mirror from resonance [m], without vibration."""
        p = self.truth.piezo
        moved_V = self.settings.fine.effective_V(times_s) - self._resonance_V
        return p.gain_m_per_V * moved_V + self.settings.coarse_m + p.drift_m_per_s * times_s

    def light(self, mirror_m: Array, times_s: Array) -> Light:
        """Light at the beam splitter for displacements of the mirror [m], arrays of shape (n,)."""
        s, nothing = self.truth.source, np.zeros_like(mirror_m)
        purcell = purcell_factor(
            mirror_m, s.purcell, self.truth.cavity.finesse, self.truth.cavity_fsr_m
        )
        lifetime_s = s.slow_lifetime_s / (1.0 + purcell)
        fade = (1.0 + s.fade_per_hour) ** (times_s / 3600.0)
        power_W = self.power_W()
        dark = Light(nothing, nothing, nothing, nothing, lifetime_s)
        if self.settings.path == "blocked":
            return dark
        if self.settings.path == "laser":
            laser = np.full_like(mirror_m, self.truth.laser.photons_per_W * power_W)
            return Light(nothing, nothing, laser, nothing, lifetime_s)
        if self.settings.path == "narrow":
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
        if self.settings.path in ("after", "receiver", "interferometer"):
            time_s = float(times_s.mean())
            detuning_Hz = self._etalon_Hz(time_s)
            from_line_Hz = detuning_Hz - self._jumps.offset_Hz(time_s)
            passage = self.truth.passage * self._dot_passage(from_line_Hz, lifetime_s)
            laser = laser * self.truth.passage * self.truth.leak_share(detuning_Hz)
        return Light(mean - 2.0 * pair, pair, laser, passage, lifetime_s)

    def efficiencies(self, light: Light) -> tuple[float, float]:
        """Give the efficiencies of A and B for a light, times the share of it that each gets."""
        deviations, settings = self.errors.deviations, self.settings
        shares = self._shares()
        passed = deviations.transmission(settings.path, settings.switched_dB)
        turned = deviations.at_polarisation(settings.path, settings.switched_s)
        a, b = (
            self.truth.detectors.efficiency * share * passed * factor
            for share, factor in zip(shares, turned, strict=True)
        )
        return a * self._at_rate(a, light), b * self._at_rate(b, light)

    def _shares(self) -> tuple[float, float]:
        """Shares of the light that reach A and B."""
        d = self.truth.detectors
        if self.settings.path == "receiver":
            right, (a, b) = self._first_output(), self.errors.outputs
            return a * right, b * (1.0 - right)
        return d.share_a, 1.0 - d.share_a

    def _at_rate(self, eta: float, light: Light) -> float:
        """Efficiency at the click rate that it makes, over that at the certificate's rate."""
        linearity_s = self.errors.deviations.linearity_s
        if linearity_s == 0.0:
            return 1.0
        s, d = self.truth.source, self.truth.detectors
        if light.steady_Hz:
            steady, _ = clicks_per_second(eta * light.steady_Hz, d.dead_time_s)
            return 1.0 + linearity_s * (float(steady) - CERTIFIED_RATE_Hz)
        spread_s = 0.0 if self.settings.path == "laser" else float(light.lifetime_s.mean())
        dead = mean_dead_pulses(d.dead_time_s, s.clock_Hz, spread_s)
        rate_Hz = 0.0
        for share, shining in ((s.on_fraction, True), (1.0 - s.on_fraction, False)):
            if share > 0.0:
                p = click_probability(light, eta, shining)
                rate_Hz += share * s.clock_Hz * float(clicks_per_pulse(p, dead)[0].mean())
        return 1.0 + linearity_s * (rate_Hz - CERTIFIED_RATE_Hz)

    def steady_Hz(self, light: Light) -> tuple[float, float]:
        """Rates of dark counts and continuous light at A and B; dark counts are half and half."""
        dark = 0.5 * self.truth.detectors.dark_count_Hz
        eta_a, eta_b = self.efficiencies(light)
        return light.steady_Hz * eta_a + dark, light.steady_Hz * eta_b + dark

    def _etalon_Hz(self, time_s: float) -> float:
        """Frequency of a resonance of the etalon minus that of the dot [Hz]."""
        e = self.truth.etalon
        moved_V = float(self.settings.etalon.effective_V(time_s)) - self.errors.etalon_peak_V
        bend = moved_V / e.range_V
        return e.slope_Hz_per_V * moved_V * (1.0 + e.quadratic * bend + e.cubic * bend**2)

    def _narrow_share(self, time_s: float) -> float:
        t = self.truth.transmitter
        detuning_Hz = self._etalon_Hz(time_s) - self.errors.narrow_offset_Hz
        fwhm_Hz = self.truth.etalon_mode * t.etalon_fwhm_Hz
        return float(etalon_transmission(detuning_Hz, t.etalon_fsr_Hz, fwhm_Hz, 0.0, 0.0))

    def _tabulate_passage(self, detuning_Hz: float) -> tuple[Array, Array]:
        """Tabulate the etalon's transmission of the dot's light against its decay rate [1/s]."""
        s, t = self.truth.source, self.truth.transmitter
        rate = np.linspace(1.0 / s.slow_lifetime_s, 1.0 / s.lifetime_s, 65)
        share = etalon_transmission(
            detuning_Hz,
            t.etalon_fsr_Hz,
            t.etalon_fwhm_Hz,
            rate / (2.0 * np.pi),
            self._jumps.fast_Hz,
        )
        return rate, share

    def _dot_passage(self, detuning_Hz: float, lifetime_s: Array) -> Array:
        return np.interp(1.0 / lifetime_s, *self._passages(detuning_Hz))

    def _first_output(self) -> float:
        """Probability that a photon leaves the analyser by its first output."""
        t, a = self.truth.transmitter, self.truth.analyser
        voltages_V = self.settings.modulator_V[1], self.settings.modulator_V[2]
        state = depolarised(sent(voltages_V, t.half_wave_V), self.errors.misalignment)
        quarter_deg = self.settings.plates_deg["quarter"] - a.quarter_zero_deg
        half_deg = self.settings.plates_deg["half"] - a.half_zero_deg
        return passed(state, analysed(quarter_deg, half_deg, self.errors.deviations.plates_rad))
