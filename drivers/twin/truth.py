"""True values in the simulated lab: its parameters, and the quantities that follow from them.

Defaults are those of the source of Zhang et al., PRL 134, 210801, completed where the paper is
silent. Nothing here is random: errors of instruments and certificates are in
`instrument_errors`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from scipy import constants

from qdchar.errors import UsageError

from .imperfections import (
    ETALON_MODE,
    ORTHOGONAL_SPLITTER,
    RESPONSE_WIDTH,
    SECOND_SPLITTER,
    Imperfections,
)
from .optics import (
    brightest_area,
    etalon_transmission,
    voigt_fwhm,
    voigt_sigma,
)
from .piezo import CREEP_ONSET_S


@dataclass(frozen=True)
class Source:
    """The dot in its cavity, tuned, and the laser that pumps it.

    Where the dot blinks, collection and g2 are those while it shines; the values of
    `Truth.quantities` are averages over time.

    Attributes
    ----------
    clock_Hz, wavelength_m
        Pulse rate and vacuum wavelength.
    lifetime_s
        Time constant of the decay (1/e), on resonance [s].
    purcell
        Purcell factor on resonance.
    wandering_Hz
        Standard deviation of the slow spectral wandering [Hz].
    collection
        Mean photon number per pulse in the fibre, dot and leaked laser, at P_pi on resonance.
    g2
        g2(0) in the fibre, at P_pi on resonance.
    pi_power_W, damping
        Power at the dot for a pulse of area pi; damping per theta^2.
    indistinguishability
        Overlap of two photons of the dot from consecutive pulses.
    coherence
        First-order coherence of consecutive pulses; resonant pulses of area pi leave none. The
        leaked laser has a random phase.
    on_fraction, blinking_time_s
        Blinking as a random telegraph signal: mean share of time on, and 1/(1/t_on + 1/t_off) [s].
    fade_per_hour
        Change of the collection per hour, as a share of it.
    """

    clock_Hz: float = 76.13e6
    wavelength_m: float = 884.5e-9
    lifetime_s: float = 75.8e-12
    purcell: float = 14.0
    wandering_Hz: float = 0.542e9
    collection: float = 0.712
    g2: float = 0.0205
    pi_power_W: float = 10e-9
    damping: float = 0.012
    indistinguishability: float = 0.9856
    coherence: float = 0.0
    on_fraction: float = 1.0
    blinking_time_s: float = 1e-3
    fade_per_hour: float = 0.0

    # How re-excitation (g0) and leaked laser (x) share g2: so that the default etalon takes the
    # paper's 0.0205 to its 0.00698, because it passes the broad laser less than the dot.
    _G0_PER_LEAK: ClassVar[float] = 0.54352

    @property
    def leak_ratio(self) -> float:
        """x, leaked laser photons per photon of the dot, from g2 = (g0 + 2x + x^2)/(1 + x)^2."""
        b = 2.0 + self._G0_PER_LEAK - 2.0 * self.g2
        return 2.0 * self.g2 / (b + math.sqrt(b * b + 4.0 * self.g2 * (1.0 - self.g2)))

    @property
    def reexcitation_g2(self) -> float:
        """g0, the g2(0) of the dot's own photons."""
        return self._G0_PER_LEAK * self.leak_ratio

    @property
    def dot_photons(self) -> float:
        """Photons of the dot per pulse in the fibre, while it shines."""
        return self.collection / (1.0 + self.leak_ratio)

    @property
    def leaked_photons(self) -> float:
        """Laser photons per pulse in the fibre."""
        return self.dot_photons * self.leak_ratio

    @property
    def slow_lifetime_s(self) -> float:
        """Lifetime far from the cavity's resonance [s]."""
        return self.lifetime_s * (1.0 + self.purcell)

    @property
    def fourier_linewidth_Hz(self) -> float:
        """1/(2 pi T1) [Hz]."""
        return 1.0 / (2.0 * math.pi * self.lifetime_s)

    @property
    def linewidth_Hz(self) -> float:
        """FWHM of the time-averaged line [Hz]."""
        return voigt_fwhm(self.fourier_linewidth_Hz, self.wandering_Hz)


@dataclass(frozen=True)
class Laser:
    """The pump: its power at 0 dB attenuation, its spectrum, its photons at the detectors."""

    power_W: float = 200e-9
    linewidth_Hz: float = 69e9
    pulse_fwhm_s: float = 6.4e-12
    photons_per_W: float = 0.712 / 10e-9
    """Photons per pulse in the light path ``laser``, per watt at the dot."""


@dataclass(frozen=True)
class Cavity:
    """The open cavity; `resonance_V` is the voltage on the first way up, before any creep."""

    resonance_V: float = 31.0
    finesse: float = 580.0
    fwhm_Hz: float = 26.9e9


@dataclass(frozen=True)
class CavityPiezo:
    """The fine piezo under the cavity's mirror, and the coarse stepper below it."""

    gain_m_per_V: float = 45e-9
    hysteresis: float = 0.06
    creep: float = 0.012
    drift_m_per_s: float = 1e-12
    vibration_m: float = 0.03e-9
    step_up_m: float = 60e-9
    step_down_m: float = 54e-9
    step_spread: float = 0.05

    @property
    def small_loop_m_per_V(self) -> float:
        """Displacement per volt for steps too small to move a play operator, after 1 s [m/V]."""
        crept = self.creep * math.log10(1.0 + 1.0 / CREEP_ONSET_S)
        return self.gain_m_per_V * (1.0 - self.hysteresis + crept)


@dataclass(frozen=True)
class EtalonPiezo:
    """The etalon's piezo: frequency against voltage, slightly nonlinear."""

    slope_Hz_per_V: float = 1.8e9
    quadratic: float = 0.06
    cubic: float = 0.03
    hysteresis: float = 0.004
    creep: float = 0.001
    range_V: float = 150.0


@dataclass(frozen=True)
class Transmitter:
    """Etalon and modulator; `efficiency` is the ratio of photon numbers at the etalon's peak."""

    efficiency: float = 0.410
    etalon_fwhm_Hz: float = 5.4e9
    etalon_fsr_Hz: float = 100e9
    misalignment: float = 0.0254
    misalignment_spread: float = 0.15
    """Standard deviation from one polarisation state to another, relative."""
    half_wave_V: float = 2.5
    """At the inputs of the modulator's amplifiers."""
    narrow_photons_per_s: float = 1.4e6
    """Of the narrow laser, at the detectors with the etalon at its peak."""


@dataclass(frozen=True)
class Analyser:
    """Wave plates in their mounts: angles at which the fast axes are along H."""

    quarter_zero_deg: float = 31.5
    half_zero_deg: float = 118.2


@dataclass(frozen=True)
class Interferometer:
    """Unbalanced by one pulse period, behind the transmitter.

    Attributes
    ----------
    reflectance
        Of the first splitter; `Truth.reflectances` has the second one's.
    overlap
        Visibility of its fringes with coherent light and equal arms, 1 - eps.
    fringe_V
        Voltage of its phase piezo for one fringe.
    """

    reflectance: float = 0.47
    overlap: float = 0.995
    fringe_V: float = 24.0


@dataclass(frozen=True)
class Detectors:
    """Beam splitter, detectors and time tagger."""

    efficiency: float = 0.712
    share_a: float = 0.49
    dead_time_s: float = 30e-9
    dark_count_Hz: float = 43.0
    jitter_s: float = 25e-12
    sync_jitter_s: float = 5e-12
    resolution_ps: int = 42
    sync_divider: int = 1024


@dataclass(frozen=True)
class Truth:
    """Everything that is true in the simulated lab."""

    source: Source = field(default_factory=Source)
    laser: Laser = field(default_factory=Laser)
    cavity: Cavity = field(default_factory=Cavity)
    piezo: CavityPiezo = field(default_factory=CavityPiezo)
    etalon: EtalonPiezo = field(default_factory=EtalonPiezo)
    transmitter: Transmitter = field(default_factory=Transmitter)
    analyser: Analyser = field(default_factory=Analyser)
    interferometer: Interferometer = field(default_factory=Interferometer)
    detectors: Detectors = field(default_factory=Detectors)
    imperfections: Imperfections = field(default_factory=Imperfections.none)

    @classmethod
    def from_settings(cls, settings: Mapping[str, str], *, ideal: bool = True) -> Truth:
        """Build from ``KEY=VALUE`` settings, e.g. ``{"source.lifetime": "60e-12"}``.

        What is not set keeps its default, or follows from what is set. Where the lab is not
        `ideal`, it has all healthy imperfections at the size of their certificates.

        Raises
        ------
        UsageError
            If a key is unknown, or its value not a number or not possible; names the key and
            what is allowed.
        """
        truth = Truth() if ideal else Truth(imperfections=Imperfections())
        values = {key: _number(key, text) for key, text in settings.items()}
        # in the table's order: what a limit depends on comes first
        for key, setting in _SETTINGS.items():
            if key in values:
                low, high = setting.allowed(truth)
                if not low <= values[key] <= high:
                    raise UsageError(
                        f"{key}={settings[key]}: must be {low:.6g} to {high:.6g} {setting.unit}"
                        f"{setting.why}"
                    )
                truth = setting.apply(truth, values[key])
        if truth.passage > 1.0:
            raise UsageError(
                f"transmitter.efficiency: {truth.transmitter.efficiency:g} is its default, but a "
                f"line of {truth.source.linewidth_Hz:.3g} Hz passes the etalon with at most "
                f"{truth.highest_transmitter_efficiency:.4g}: set it too"
            )
        return truth

    def etalon_shares(self) -> tuple[float, float]:
        """Shares of the dot's and of the leaked laser's light passed at the etalon's peak."""
        s, t = self.source, self.transmitter
        dot = etalon_transmission(
            0.0, t.etalon_fsr_Hz, t.etalon_fwhm_Hz, s.fourier_linewidth_Hz, s.wandering_Hz
        )
        return float(dot), float(self.leak_share(0.0))

    def leak_share(self, detuning_Hz: float) -> float:
        """Share of the leaked laser's light that the etalon passes."""
        t = self.transmitter
        sigma = self.laser.linewidth_Hz / math.sqrt(8.0 * math.log(2.0))
        return float(
            etalon_transmission(detuning_Hz, t.etalon_fsr_Hz, t.etalon_fwhm_Hz, 0.0, sigma)
        )

    @property
    def highest_transmitter_efficiency(self) -> float:
        """The transmitter's efficiency if all loss were the etalon's overlap."""
        dot, leak = self.etalon_shares()
        q, x = self.source.on_fraction, self.source.leak_ratio
        return (q * dot + x * leak) / (q + x)

    @property
    def passage(self) -> float:
        """Transmission of the transmitter without the etalon's spectral overlap."""
        return self.transmitter.efficiency / self.highest_transmitter_efficiency

    @property
    def laser_path_dB(self) -> float:
        """Attenuation of the light path ``laser``, from the power meter to the detectors [dB]."""
        photon_J = constants.h * constants.c / self.source.wavelength_m
        return -10.0 * math.log10(self.laser.photons_per_W * self.source.clock_Hz * photon_J)

    @property
    def cavity_fsr_m(self) -> float:
        """Displacement from one order of the cavity to the next, half a wavelength [m]."""
        return 0.5 * self.source.wavelength_m

    def _cavity_width_m(self, times: float) -> float:
        """FWHM of ``1/(times + (2 F/pi)^2 sin^2)`` [m]: the mode, or with 1 + F_P the counts."""
        sine = 0.5 * math.pi * math.sqrt(times) / self.cavity.finesse
        return 2.0 / math.pi * self.cavity_fsr_m * math.asin(sine)

    def _photons(self, dot_share: float, leak_share: float) -> tuple[float, float]:
        """Mean photon number and g2(0), averaged over blinking."""
        s = self.source
        dot, leak, q = s.dot_photons * dot_share, s.leaked_photons * leak_share, s.on_fraction
        mean = q * dot + leak
        pairs = q * s.reexcitation_g2 * dot**2 + 2.0 * q * dot * leak + leak**2
        return mean, pairs / mean**2

    @property
    def reflectances(self) -> tuple[float, float, float]:
        """Of the first splitter, of the second one, and of this for the orthogonal polarisation."""
        first = self.interferometer.reflectance
        if self.imperfections.splitters == 0.0:
            return first, first, first
        return first, first + SECOND_SPLITTER, first + SECOND_SPLITTER + ORTHOGONAL_SPLITTER

    @property
    def response_width(self) -> float:
        """Width of the detectors' response to the emission over that to the laser."""
        return RESPONSE_WIDTH if self.imperfections.response_width else 1.0

    @property
    def etalon_mode(self) -> float:
        """Width of the etalon for the narrow laser's mode over that for the source's."""
        return ETALON_MODE if self.imperfections.etalon_mode else 1.0

    def _visibility(self, dot_share: float, leak_share: float) -> float:
        """Missing share of coincidences in the interferometer's central peak, parallel arms."""
        s, i = self.source, self.interferometer
        dot, leak, q = s.dot_photons * dot_share, s.leaked_photons * leak_share, s.on_fraction
        meeting = q * (dot + leak) ** 2 + (1.0 - q) * leak**2
        mean, g2 = self._photons(dot_share, leak_share)
        r1, r2, r2o = self.reflectances
        t1, t2, t2o = 1.0 - r1, 1.0 - r2, 1.0 - r2o
        interfering = 2.0 * r2 * t2 * s.indistinguishability * i.overlap**2 * q * dot**2
        pairs = g2 * mean**2
        parallel = r1 * t1 * ((t2**2 + r2**2) * meeting - interfering)
        parallel += (t1**2 + r1**2) * r2 * t2 * pairs
        orthogonal = r1 * t1 * (t2 * t2o + r2 * r2o) * meeting
        orthogonal += (t1**2 * r2 * t2 + r1**2 * r2o * t2o) * pairs
        return 1.0 - parallel / orthogonal

    def quantities(self) -> tuple[tuple[str, float, str], ...]:
        """Return the true quantities under the names of the record: name, value, unit.

        Mean photon numbers and g2(0) are those at P_pi, on the cavity's resonance, with the
        etalon at its peak and the lab just started. `max_power` is that of the dot's light.
        """
        s, c, t, d = self.source, self.cavity, self.transmitter, self.detectors
        dot_share, leak_share = self.etalon_shares()
        collected, g2_source = self._photons(1.0, 1.0)
        mean, g2 = self._photons(self.passage * dot_share, self.passage * leak_share)
        p2 = 0.5 * g2 * mean**2
        area = brightest_area(s.damping)
        dot = s.on_fraction * s.dot_photons
        off_per_on = 1.0 / s.on_fraction - 1.0
        blinking = off_per_on * (dot / collected) ** 2
        blinking_sent = off_per_on * (self.passage * dot_share * dot / mean) ** 2
        gauss = s.wandering_Hz * math.sqrt(8.0 * math.log(2.0))
        return (
            ("clock_rate", s.clock_Hz, "Hz"),
            ("wavelength", s.wavelength_m, "m"),
            ("lifetime", s.lifetime_s, "s"),
            ("temporal_fwhm", s.lifetime_s * math.log(2.0), "s"),
            ("linewidth", s.linewidth_Hz, "Hz"),
            ("linewidth_lorentz", s.fourier_linewidth_Hz, "Hz"),
            ("linewidth_gauss", gauss, "Hz"),
            ("fourier_linewidth", s.fourier_linewidth_Hz, "Hz"),
            ("linewidth_ratio", s.linewidth_Hz / s.fourier_linewidth_Hz, "1"),
            ("collection_efficiency", collected, "1"),
            ("transmitter_efficiency", mean / collected, "1"),
            ("mean_photon_number", mean, "1"),
            ("p1", mean - 2.0 * p2, "1"),
            ("p2", p2, "1"),
            ("g2_zero", g2, "1"),
            ("g2_zero_source", g2_source, "1"),
            ("g2_zero_on", g2 / (1.0 + blinking_sent), "1"),
            ("g2_zero_source_on", g2_source / (1.0 + blinking), "1"),
            ("brightness_drift", math.log1p(s.fade_per_hour) / 3600.0, "1/s"),
            ("laser_leakage", s.leaked_photons, "1"),
            ("g2_reexcitation", s.reexcitation_g2 / s.on_fraction, "1"),
            ("blinking_amplitude", blinking, "1"),
            ("blinking_amplitude_sent", blinking_sent, "1"),
            ("blinking_on_fraction", s.on_fraction, "1"),
            ("blinking_time", s.blinking_time_s, "s"),
            ("pi_power", s.pi_power_W, "W"),
            ("max_power", s.pi_power_W * (area / math.pi) ** 2, "W"),
            ("rabi_damping", s.damping, "1"),
            ("purcell_factor", s.purcell, "1"),
            ("cavity_resonance_voltage", c.resonance_V, "V"),
            ("cavity_fsr_voltage", self.cavity_fsr_m / self.piezo.gain_m_per_V, "V"),
            ("cavity_metres_per_volt", self.piezo.small_loop_m_per_V, "m/V"),
            ("cavity_fwhm_displacement", self._cavity_width_m(1.0), "m"),
            ("cavity_count_fwhm", self._cavity_width_m(1.0 + s.purcell), "m"),
            ("cavity_fwhm", c.fwhm_Hz, "Hz"),
            ("cavity_finesse", c.finesse, "1"),
            ("etalon_fwhm", t.etalon_fwhm_Hz, "Hz"),
            ("etalon_fsr", t.etalon_fsr_Hz, "Hz"),
            ("etalon_finesse", t.etalon_fsr_Hz / t.etalon_fwhm_Hz, "1"),
            (
                "visibility",
                self._visibility(self.passage * dot_share, self.passage * leak_share),
                "1",
            ),
            ("indistinguishability", s.indistinguishability, "1"),
            ("phase_visibility", s.coherence, "1"),
            ("misalignment", t.misalignment, "1"),
            ("detector_efficiency", d.efficiency, "1"),
            ("detector_efficiency_measured", d.efficiency, "1"),
            ("dark_count_rate", d.dark_count_Hz, "Hz"),
            ("dead_time", d.dead_time_s, "s"),
            ("detector_jitter", d.jitter_s, "s"),
        )


def _number(key: str, text: str) -> float:
    if key not in _SETTINGS:
        raise UsageError(
            f"{key}: unknown; the parameters of the simulated lab are {', '.join(_SETTINGS)}"
        )
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{key}={text}: must be a number, in {_SETTINGS[key].unit}")
    return value


@dataclass(frozen=True)
class _Setting:
    """One key: its unit, its limits given the keys before it, and what it changes."""

    unit: str
    allowed: Callable[[Truth], tuple[float, float]]
    apply: Callable[[Truth, float], Truth]
    why: str = ""


def _between(low: float, high: float) -> Callable[[Truth], tuple[float, float]]:
    return lambda truth: (low, high)


def _to(group: str, name: str) -> Callable[[Truth, float], Truth]:
    def apply(truth: Truth, value: float) -> Truth:
        part: Any = getattr(truth, group)
        changes: dict[str, Any] = {group: dataclasses.replace(part, **{name: value})}
        return dataclasses.replace(truth, **changes)

    return apply


def _set_linewidth(truth: Truth, value: float) -> Truth:
    sigma = voigt_sigma(value, truth.source.fourier_linewidth_Hz)
    return dataclasses.replace(truth, source=dataclasses.replace(truth.source, wandering_Hz=sigma))


def _set_divider(truth: Truth, value: float) -> Truth:
    if value != int(value):
        raise UsageError(f"tagger.sync_divider={value:g}: must be a whole number")
    return dataclasses.replace(
        truth, detectors=dataclasses.replace(truth.detectors, sync_divider=int(value))
    )


_SETTINGS: Mapping[str, _Setting] = {
    "source.lifetime": _Setting("s", _between(5e-12, 2e-9), _to("source", "lifetime_s")),
    "source.g2": _Setting("1", _between(0.0, 0.2), _to("source", "g2")),
    "source.collection_efficiency": _Setting(
        "1", _between(1e-4, 0.95), _to("source", "collection")
    ),
    "source.linewidth": _Setting(
        "Hz",
        lambda truth: (truth.source.fourier_linewidth_Hz, 50e9),
        _set_linewidth,
        " (from the Fourier limit 1/(2 pi T1) up)",
    ),
    "source.pi_power": _Setting("W", _between(1.3e-9, 80e-9), _to("source", "pi_power_W")),
    "source.indistinguishability": _Setting(
        "1", _between(0.0, 1.0), _to("source", "indistinguishability")
    ),
    "source.blinking_on_fraction": _Setting("1", _between(0.05, 1.0), _to("source", "on_fraction")),
    "source.blinking_time": _Setting("s", _between(1e-7, 10.0), _to("source", "blinking_time_s")),
    "cavity.resonance_V": _Setting("V", _between(1.0, 59.0), _to("cavity", "resonance_V")),
    "transmitter.efficiency": _Setting(
        "1",
        lambda truth: (1e-4, truth.highest_transmitter_efficiency),
        _to("transmitter", "efficiency"),
        " (the upper limit is the etalon's overlap with the line)",
    ),
    "modulator.misalignment": _Setting(
        "1", _between(0.0, 0.499), _to("transmitter", "misalignment")
    ),
    "detector.efficiency": _Setting("1", _between(0.01, 0.98), _to("detectors", "efficiency")),
    "detector.dead_time": _Setting("s", _between(0.0, 1e-6), _to("detectors", "dead_time_s")),
    "detector.dark_count_rate": _Setting(
        "Hz (all detectors together)", _between(0.0, 1e6), _to("detectors", "dark_count_Hz")
    ),
    "detector.jitter": _Setting("s", _between(0.0, 1e-9), _to("detectors", "jitter_s")),
    "tagger.sync_divider": _Setting("laser pulses per clock tag", _between(1, 65536), _set_divider),
    "drift.brightness_per_hour": _Setting(
        "1/h (negative: it fades)", _between(-0.5, 0.05), _to("source", "fade_per_hour")
    ),
    "piezo.hysteresis": _Setting("1", _between(0.0, 0.2), _to("piezo", "hysteresis")),
    "piezo.creep": _Setting("1 per decade", _between(0.0, 0.05), _to("piezo", "creep")),
    **{
        f"imperfections.{f.name}": _Setting(
            "times its certificate",
            _between(0.0, 5.0),
            _to("imperfections", f.name),
        )
        for f in dataclasses.fields(Imperfections)
    },
}
