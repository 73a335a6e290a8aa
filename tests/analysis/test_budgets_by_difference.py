"""Every budget line against a finite difference: change an input, analyse again.

A case is one line of `CASES`: the analysis, and its given inputs with their uncertainties. Each
input is its own error source. Its line in the budget of each quantity must be what the quantity
changes by with the input, in size and sign, and there must be one wherever the input matters. The
values are far from neutral: a gain of 1.2, a reflectance of 0.3, detectors and splits that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import test_hom
import test_leak
import test_misalignment
from click_scans import CLOCK_HZ, continuous, pulsed
from numpy.typing import NDArray
from pulse_train import Arms
from pulsed_light import Light, record

from qdchar.analysis import (
    brightness,
    cavity,
    detector_efficiency,
    detuning,
    etalon,
    gate,
    hbt,
    hbt_cw,
    hom,
    leak,
    lifetime,
    loss_budget,
    misalignment,
    phase,
    purcell,
    rabi,
    reflectivity,
    saturation,
    stability,
    transmitter,
)
from qdchar.analysis.detection.reception import Reception
from qdchar.analysis.hbt_cw.dip_model import pair_response
from qdchar.analysis.models.interferometer import Interferometer
from qdchar.analysis.models.power_monitor import MeterErrors
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.raw_data import About, Scan, TagRun
from qdchar.tags.formats.delay_histogram import DelayHistogram

Inputs = Mapping[str, Estimate]
Given = Mapping[str, tuple[float, float]]

STEP = 0.3
"""Change of an input, in its uncertainties: second orders cancel in the difference."""
REL, OF_U = 0.05, 0.01
"""A line may miss the difference by so much of itself, or of the uncertainty u of the quantity:
the rest is of third order, and a line of 1 % of u moves u by 5e-5 of itself."""

LIMITS = ("g2_zero_source_upper",)
"""Ends of intervals, which have no uncertainty of their own."""

SPLIT = Light(mean_photons=0.6, g2=0.03, split=0.42, dark_hz=4e5, lifetime_ps=300.0)


def given(key: str, value: float, u: float) -> Estimate:
    """Return an input; `key` is the name of a quantity, and a word if there are several."""
    source = Contribution(f"given {key}", u, "B", 1.0)
    return Estimate(name=key.split()[0], value=value, method="given", budget=(source,))


def reading_W(true_W: NDArray[np.float64], about_W: float) -> NDArray[np.float64]:
    """Return what the power meter of `meter_inputs` reads at true powers."""
    linear_W = true_W / 1.2
    less_zero_W = linear_W
    for _ in range(20):
        decades = np.log10(1.2 * less_zero_W / (5.0 * about_W))
        less_zero_W = linear_W / (1.0 - 0.02 * decades)
    return np.asarray(less_zero_W + 0.02 * about_W)


@dataclass
class Data:
    """Raw data of the analyses, drawn once, when first needed."""

    folder: Path
    _runs: dict[str, TagRun] = field(default_factory=dict)

    @staticmethod
    def rng(seed: int) -> np.random.Generator:
        return np.random.default_rng(seed)

    def run(self, name: str, light: Light = SPLIT, pulses: int = 100_000) -> TagRun:
        if name not in self._runs:
            self._runs[name] = record(self.folder, name, self.rng(len(name)), pulses, light)
        return self._runs[name]

    @cached_property
    def laser(self) -> Scan:
        """A laser on detectors that lose 0.4 % per Mcps."""
        power_W = np.geomspace(0.5e-9, 3e-9, 5)
        photons = power_W * 10**-2.915 * 4.4526e18 / CLOCK_HZ  # of 884.5 nm
        seen = [share * 0.7 * photons for share in (0.4, 0.6)]
        p = [1.0 - np.exp(-n * (1.0 - 4e-9 * (n * CLOCK_HZ - 2e6))) for n in seen]
        return pulsed(self.rng(1), "power_W", reading_W(power_W, 1e-9), (p[0], p[1]), 0.02, 2)

    @cached_property
    def rabi(self) -> Scan:
        true = 4.0 * 10e-9 * np.linspace(0.12, 1.0, 40) ** 2
        theta = np.pi * np.sqrt(true / 10e-9)
        excited = 0.5 * (1.0 - np.exp(-0.012 * theta**2) * np.cos(theta))
        light = 0.4 * excited + 0.003 * true / 10e-9 + 2e-3
        return pulsed(
            self.rng(2), "power_W", reading_W(true, 10e-9), (0.4 * light, 0.6 * light), 0.02, 2
        )

    @cached_property
    def saturated(self) -> Scan:
        ratio = np.linspace(0.05, 5.0, 40)
        light = 0.3 * (1.0 - np.exp(-ratio) + 0.02 * ratio) + 2e-3
        scan_W = reading_W(2e-6 * ratio, 2e-6)
        return pulsed(self.rng(3), "power_W", scan_W, (0.4 * light, 0.6 * light), 0.02, 2)

    @cached_property
    def etalon(self) -> tuple[Scan, Scan]:
        """Both scans on a piezo that is bent, 100 GHz between orders, widths of 5.4 and 2.7 GHz."""
        volts = np.arange(0.0, 150.0, 1.0)
        order = (volts - 75.0) / 55.0 * (1.0 + 0.04 * (volts - 75.0) / 150.0)
        narrow = 1.0 / (1.0 + (np.sin(np.pi * (order + 0.05)) / np.sin(np.pi * 0.027)) ** 2)
        k = np.arange(1, 300)
        decay = np.exp(-2.0 * np.pi * k * (0.027 + 0.0105) - 2.0 * (np.pi * k * 0.0054) ** 2)
        line = 1.0 + 2.0 * np.cos(2.0 * np.pi * np.outer(order - 0.13, k)) @ decay
        light = 0.02 * line + 2e-4
        laser = continuous(self.rng(4), volts, 1.4e6 * narrow + 4e4, 0.02, 30e-9)
        return laser, pulsed(self.rng(5), "voltage_V", volts, (0.4 * light, 0.6 * light), 0.05, 2)

    @cached_property
    def cavity(self) -> Scan:
        volts = np.arange(29.5, 32.5, 0.02)
        factor = 14.0 / (1.0 + (2.0 * (volts - 31.0) * 45.0 / 0.763) ** 2)
        light = 0.2 * factor / (1.0 + factor) + 1e-4
        return pulsed(self.rng(6), "voltage_V", volts, (0.4 * light, 0.6 * light), 0.01, 2)

    @cached_property
    def fringes(self) -> Scan:
        """A splitter that reflects 30 %, an overlap of 0.9 and a coherence of 0.3."""
        volts = np.linspace(5.0, 77.0, 36)
        swing = 2.0 * 0.3 * 0.7 * 0.9 * 0.3 * np.cos(2.0 * np.pi * volts / 24.0 + 2.0)
        a, b = 0.3**2 + 0.7**2 + swing, 2.0 * 0.3 * 0.7 - swing
        return pulsed(self.rng(7), "voltage_V", volts, (0.2 * a, 0.15 * b), 0.02, 2)

    @cached_property
    def slices(self) -> Scan:
        """A drift of -1 per 1000 s, and a fluctuation of 0.4 %."""
        rng, start_s = self.rng(8), 0.2 * np.arange(40)
        light = 1.0 - 1e-3 * (start_s - 4.0) + 4e-3 * rng.standard_normal(40)
        p = 0.1 * light + 2.5e4 / CLOCK_HZ
        return pulsed(rng, "time_s", start_s, (0.7 * p, 1.3 * p), 0.2, 2)

    @cached_property
    def spectrum(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        x = np.arange(1.0, 501.0)
        u = 2.0 * (x - 290.3) / 24.0
        return x, self.rng(9).poisson((3e4 + 50.0 * x) * (1.0 - 0.7 / (1.0 + u**2))).astype(float)

    @cached_property
    def hom(self) -> list[TagRun]:
        arms, rng = Arms(reflectance=0.3, overlap=0.9, alike=0.7), self.rng(10)
        light = Light(mean_photons=0.5, g2=0.02, dark_hz=4e5)
        return [
            test_hom.record(self.folder, name, rng, 200_000, light, replace(arms, parallel=flag))
            for name, flag in (("parallel", True), ("orthogonal", False))
        ]

    @cached_property
    def misalignment(self) -> list[TagRun]:
        light = Light(mean_photons=0.5, g2=0.02, dark_hz=1e5)
        wrong = {"H": 0.06, "R": 0.03}
        return test_misalignment.both_ways(self.folder, self.rng(11), 40_000, light, wrong)

    @cached_property
    def leak(self) -> tuple[TagRun, Scan]:
        light = replace(test_leak.LIGHT, background_per_pulse=0.03, g2=0.02)
        run = test_leak.record(self.folder, "leak", self.rng(12), 300_000, light)
        scan = test_leak.detuned(self.rng(13), light, dot=4e-3)
        at_pi_W = float(reading_W(np.array([test_leak.PI]), test_leak.PI)[0])
        about = About("leak", settings={"power_W": at_pi_W})
        return replace(run, about=about), replace(scan, x=reading_W(scan.x, test_leak.PI))

    @cached_property
    def dip(self) -> DelayHistogram:
        """A dip to 0.2 of 0.8 ns at -4 ns, seen with 0.4 ns; no counting noise."""
        fine_s = 2e-12 * (np.arange(30_000) - 14_999.5)
        dip = 1.0 - 0.8 * np.exp(-np.abs(fine_s + 4e-9) / 0.8e-9)
        sigma_s = 0.4e-9
        response = np.exp(-0.5 * np.square(2e-12 * np.arange(-1000, 1001) / sigma_s))
        seen = np.convolve(dip, response / response.sum(), mode="same").reshape(-1, 100).mean(1)
        counts = np.rint(2e4 * seen)[10:-10, None].astype(np.int64)  # the ends lack neighbours
        return DelayHistogram(-28e-9, 200e-12, counts)


@dataclass(frozen=True)
class Case:
    """An analysis with its given inputs: name of the quantity to value and uncertainty.

    `idle` are inputs that move no value: they are sizes of other errors, are compared with what
    was found, or hardly matter. `rel` is larger where a difference is noisy by itself.
    """

    name: str
    analyse: Callable[[Data, Inputs], Result]
    inputs: Given
    idle: tuple[str, ...] = ()
    rel: float = REL

    def __str__(self) -> str:
        return self.name


def result(*estimates: Estimate) -> Result:
    return Result(estimates, (), ())


def reception(path: str, g: Inputs) -> Reception:
    return Reception(
        path=path,
        loss=g[f"path_{path}"],
        repeatability=g["light_path_repeatability"],
        polarisation=g["detector_polarisation"],
        linearity=g["detector_linearity"],
        certified_rate=g["detector_efficiency_rate"],
    )


def interferometer(g: Inputs) -> Interferometer:
    return Interferometer(
        first=g["interferometer_reflectance"],
        second=g["interferometer_reflectance_2"],
        orthogonal=g["interferometer_reflectance_orthogonal"],
        overlap=g["interferometer_overlap"],
    )


RECEPTION: Given = {
    "light_path_repeatability": (0.03, 0.01),
    "detector_polarisation": (0.06, 0.02),
    "detector_linearity": (-4e-9, 1e-9),
    "detector_efficiency_rate": (2e6, 1e6),
}
INTERFEROMETER: Given = {
    "interferometer_reflectance": (0.3, 0.01),
    "interferometer_reflectance_2": (0.35, 0.01),
    "interferometer_reflectance_orthogonal": (0.38, 0.01),
    "interferometer_overlap": (0.9, 0.02),
}
SIZES = ("light_path_repeatability", "detector_polarisation")
DARK: Given = {"dark_count_rate": (4e5, 8e4)}
PURCELL_V = 31.0 + 0.017 * np.linspace(-2.0, 2.0, 7)


def meter(g: Inputs) -> MeterErrors:
    return MeterErrors(
        zero=g["power_meter_zero"],
        linearity=g["power_meter_linearity"],
        gain_power=g["power_meter_gain_power"],
        # a size, whose line `test_power_monitor` checks
        tap=Estimate(name="power_tap", value=0.0, method=""),
    )


def meter_inputs(power_W: float) -> Given:
    """A meter that reads 1/1.2 of the true power, for a scan about a power."""
    return {
        "power_meter_gain": (1.2, 0.01),
        "power_meter_zero": (0.02 * power_W, 0.001 * power_W),
        "power_meter_linearity": (-0.02, 0.004),
        "power_meter_gain_power": (5.0 * power_W, 1.0 * power_W),
    }


def purcell_inputs() -> dict[str, tuple[float, float]]:
    """Seven detunings about a cavity of 17 mV and a Purcell factor of 14."""
    factor = 14.0 / (1.0 + (2.0 * (PURCELL_V - 31.002) / 0.017) ** 2)
    t1, rates = 1.137e-9 / (1.0 + factor), 2e7 * factor / (1.0 + factor)
    off = 1.0 + 0.003 * np.random.default_rng(15).standard_normal((2, 7))
    return {
        **{f"lifetime {i}": (t, 0.004 * t) for i, t in enumerate((off[0] * t1).tolist())},
        **{f"saturated_rate {i}": (r, 0.004 * r) for i, r in enumerate((off[1] * rates).tolist())},
        "cavity_vibration": (4e-4, 1e-4),
        "cavity_metres_per_volt": (45e-9, 2e-9),
        "cavity_tuning": (35e18, 1e18),
    }


CASES = [
    Case(
        "brightness",
        lambda d, g: brightness.analyse(
            d.run("fibre"),
            detector_efficiency=g["detector_efficiency"],
            dark_count_rate=g["dark_count_rate"],
            g2=g["g2_zero_source"],
            reception=reception("before", g),
            tagger_clock=g["tagger_clock"],
        ),
        {
            "detector_efficiency": (0.7, 0.018),
            "g2_zero_source": (0.3, 0.02),
            "path_before": (0.9, 0.06),
            "tagger_clock": (2e-4, 1e-5),
            **DARK,
            **RECEPTION,
        },
        SIZES,
    ),
    Case(
        "transmitter",
        lambda d, g: transmitter.analyse(
            [d.run("fibre"), d.run("fibre again")],
            [d.run("transmitted", replace(SPLIT, mean_photons=0.25))],
            detector_efficiency=g["detector_efficiency"],
            dark_count_rate=g["dark_count_rate"],
            receptions=(reception("before", g), reception("after", g)),
            detuning_correction=g["transmission_detuning_correction"],
        ),
        {
            "detector_efficiency": (0.7, 0.018),
            "path_before": (0.9, 0.06),
            "path_after": (0.4, 0.03),
            "transmission_detuning_correction": (0.1, 0.02),
            **DARK,
            **RECEPTION,
        },
        SIZES,
    ),
    Case(
        "detector efficiency",
        lambda d, g: detector_efficiency.analyse(
            d.laser,
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            wavelength_m=884.5e-9,
            power_gain=g["power_meter_gain"],
            meter=meter(g),
            path_attenuation=g["laser_path_attenuation"],
            dark_count_rate=g["dark_count_rate"],
            linearity=g["detector_linearity"],
            certified_rate=g["detector_efficiency_rate"],
            polarisation=g["detector_polarisation"],
            repeatability=g["light_path_repeatability"],
            reading_u_rel=2e-3,
            certificate=g["detector_efficiency"],
        ),
        {
            **meter_inputs(1e-9),
            "laser_path_attenuation": (29.15, 0.05),
            "detector_efficiency": (0.69, 0.02),
            "dark_count_rate": (4e4, 4e4),
            **RECEPTION,
        },
        (*SIZES, "detector_efficiency"),
    ),
    Case(
        "rabi",
        lambda d, g: rabi.analyse(
            d.rabi,
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=1.2 / g["on_fraction"].value,  # 1.2 while it is on
            power_gain=g["power_meter_gain"],
            meter=meter(g),
            on_fraction=g["on_fraction"],
            dark_count_rate_Hz=4e3,
        ),
        {**meter_inputs(10e-9), "on_fraction": (0.6, 0.05)},
    ),
    Case(
        "saturation",
        lambda d, g: saturation.analyse(
            d.saturated,
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            power_gain=g["power_meter_gain"],
            meter=meter(g),
            dark_count_rate_Hz=4e3,
        ),
        meter_inputs(2e-6),
    ),
    Case(
        "etalon",
        lambda d, g: etalon.analyse(
            *d.etalon,
            fsr=g["etalon_fsr"],
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            dead_time=g["dead_time"],
            dark_count_rate_Hz=40.0,
            lifetime=g["lifetime"],
            detuning_correction=g["lifetime_detuning_correction"],
            mode=g["etalon_mode"],
        ),
        {
            "etalon_mode": (0.98, 0.02),
            "etalon_fsr": (100e9, 1e9),
            "dead_time": (30e-9, 4e-9),
            "lifetime": (75e-12, 1e-12),
            "lifetime_detuning_correction": (0.1, 0.03),
        },
    ),
    Case(
        "etalon of known width",
        lambda d, g: etalon.analyse(
            None,
            d.etalon[1],
            fsr=g["etalon_fsr"],
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            dead_time=g["dead_time"],
            kappa=g["etalon_fwhm"],
        ),
        {
            "etalon_fsr": (100e9, 1e9),
            "dead_time": (30e-9, 4e-9),
            "etalon_fwhm": (5.4e9, 0.1e9),
        },
        ("dead_time",),
    ),
    Case(
        "cavity",
        lambda d, g: cavity.analyse(
            d.cavity,
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            wavelength_m=884.5e-9,
            metres_per_volt=g["cavity_metres_per_volt"],
            purcell_factor=g["purcell_expected"],
        ),
        {"cavity_metres_per_volt": (45e-9, 2e-9), "purcell_expected": (14.0, 2.0)},
    ),
    Case(
        "gate",
        lambda d, g: gate.analyse(
            d.run("fibre"),
            gate_width=g["gate_width"],
            dark_count_rate=g["dark_count_rate"],
            dead_time=g["dead_time"],
        ),
        {"gate_width": (0.6e-9, 1e-10), "dead_time": (30e-9, 15e-9), **DARK},
    ),
    Case(
        "two-photon interference",
        lambda d, g: hom.analyse(
            d.hom,
            g2=g["g2_zero"],
            interferometer=interferometer(g),
            dark_count_rate=g["dark_count_rate"],
            blinking=g["blinking_amplitude"],
        ),
        {
            "g2_zero": (0.1, 0.02),
            **INTERFEROMETER,
            "blinking_amplitude": (0.2, 0.05),
            "dark_count_rate": (4e5, 4e4),
        },
    ),
    Case(
        "phase",
        lambda d, g: phase.analyse(
            d.fringes,
            fringe=g["interferometer_fringe"],
            interferometer=interferometer(g),
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
        ),
        {
            "interferometer_fringe": (24.0, 0.2),
            **INTERFEROMETER,
        },
        ("interferometer_reflectance_orthogonal",),
    ),
    Case(
        "stability",
        lambda d, g: stability.analyse(
            d.slices,
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            dark_count_rate=g["dark_count_rate"],
            end_detuning=g["cavity_finesse"],
        ),
        {"dark_count_rate": (2e5, 1e5), "cavity_finesse": (0.06, 0.01)},
    ),
    Case(
        "reflectivity",
        lambda d, g: reflectivity.analyse(
            *d.spectrum, dispersion=g["cavity_wavelength"], wavelength_m=924e-9, at_point=270.0
        ),
        {"cavity_wavelength": (22e-12, 4e-13)},
    ),
    Case(
        "misalignment",
        lambda d, g: misalignment.analyse(
            d.misalignment,
            dark_count_rate=g["dark_count_rate"],
            linearity=g["detector_linearity"],
            plate_retardance=g["plate_retardance"],
        ),
        {
            "dark_count_rate": (1e5, 1e4),
            "detector_linearity": (-4e-9, 4e-9),
            "plate_retardance": (-0.1, 0.02),
        },
    ),
    Case(
        "leak",
        lambda d, g: leak.analyse(
            *d.leak,
            clock_rate_Hz=CLOCK_HZ,
            dead_pulses=2,
            pi_power=g["pi_power"],
            damping=g["rabi_damping"],
            power_gain=g["power_meter_gain"],
            meter=meter(g),
            detector_efficiency=g["detector_efficiency"],
            dark_count_rate=g["dark_count_rate"],
            reading_u_rel=1e-3,
            detuning_correction=g["lifetime_detuning_correction"],
        ),
        {
            "pi_power": (10e-9, 6e-11),
            "rabi_damping": (0.012, 0.003),
            **meter_inputs(10e-9),
            "detector_efficiency": (0.7, 0.006),
            "dark_count_rate": (3e4, 2e4),
            "lifetime_detuning_correction": (0.1, 0.02),
        },
    ),
    Case(
        "g2",
        lambda d, g: hbt.analyse(
            d.run("late", replace(SPLIT, delay_b_ps=-40_000.0, g2=0.3)),
            dark_count_rate=g["dark_count_rate"],
            background_rates=(g["saturated_rate A"], g["saturated_rate B"]),
            detuning_correction=g["g2_detuning_correction"],
            delay_s=-40e-9,
        ),
        {
            "dark_count_rate": (4e5, 8e4),
            "saturated_rate A": (3e5, 6e4),
            "saturated_rate B": (9e5, 2e5),
            "g2_detuning_correction": (0.1, 0.02),
        },
    ),
    Case(
        "lifetime",
        lambda d, g: lifetime.analyse(
            d.run("decay", replace(SPLIT, lifetime_ps=75.8, jitter_ps=40.0)),
            d.run("response", replace(SPLIT, lifetime_ps=0.0, jitter_ps=40.0), 300_000),
            detuning_correction=g["lifetime_detuning_correction"],
            response_width=g["response_width"],
            tagger_clock=g["tagger_clock"],
        ),
        {
            "lifetime_detuning_correction": (0.1, 0.02),
            "response_width": (1.05, 0.05),
            "tagger_clock": (2e-3, 4e-4),
        },
        # a response of 50 000 counts that is stretched moves single counts from bin to bin
        rel=0.15,
    ),
    Case(
        "continuous g2",
        lambda d, g: hbt_cw.analyse(
            d.dip,
            "dip",
            pair_sigma=pair_response(g["response_fwhm A"], g["response_fwhm B"]),
        ),
        {"response_fwhm A": (0.47e-9, 0.02e-9), "response_fwhm B": (0.82e-9, 0.03e-9)},
    ),
    Case(
        "Purcell factor",
        lambda d, g: purcell.analyse(
            PURCELL_V,
            [g[f"lifetime {i}"] for i in range(7)],
            [g[f"saturated_rate {i}"] for i in range(7)],
            u_voltage_V=np.full(7, 2e-4),
            vibration_V=g["cavity_vibration"],
            metres_per_volt=g["cavity_metres_per_volt"],
            hertz_per_metre=g["cavity_tuning"],
        ),
        purcell_inputs(),
    ),
    Case(
        "detuning",
        lambda d, g: (lambda c: result(c.detuning_square, c.lifetime, c.transmission, c.g2))(
            detuning.DetuningCorrection.from_locks(
                u_voltage_V=np.array([2e-4, 3e-4, 2e-4]),
                offset_V=np.array([0.0, 2e-3, -1e-3]),
                u_offset_V=np.array([4e-4, 3e-4, 5e-4]),
                metres_per_volt=g["cavity_metres_per_volt"],
                purcell_factor=g["purcell_expected"],
                count_fwhm=g["cavity_count_fwhm"],
                vibration=g["cavity_vibration"],
                recorded=("a run", 0.5),
                line=detuning.FilteredLine(
                    g["linewidth_lorentz"],
                    g["linewidth_gauss"],
                    g["etalon_fwhm"],
                    g["etalon_fsr"],
                ),
            )
        ),
        {
            "cavity_metres_per_volt": (45e-9, 2e-9),
            "purcell_expected": (14.0, 1.0),
            "cavity_count_fwhm": (2.9e-9, 0.1e-9),
            "cavity_vibration": (0.1e-9, 0.01e-9),
            "linewidth_lorentz": (2.1e9, 0.2e9),
            "linewidth_gauss": (1.3e9, 0.3e9),
            "etalon_fwhm": (5.4e9, 0.3e9),
            "etalon_fsr": (100e9, 3e9),
        },
        ("etalon_fsr",),
    ),
    Case(
        "etalon overlap",
        lambda d, g: result(
            loss_budget.etalon_overlap(
                g["linewidth_lorentz"],
                g["linewidth_gauss"],
                g["etalon_fwhm"],
                g["etalon_fsr"],
                g["g2_zero_source"],
            )
        ),
        {
            "linewidth_lorentz": (2.1e9, 0.1e9),
            "linewidth_gauss": (1.3e9, 0.1e9),
            "etalon_fwhm": (5.4e9, 0.1e9),
            "etalon_fsr": (100e9, 2e9),
            "g2_zero_source": (0.3, 0.02),
        },
        ("etalon_fsr",),
    ),
    Case(
        "loss budget",
        lambda d, g: loss_budget.analyse(
            [loss_budget.as_transmission(g[k]) for k in ("fiber_optics_efficiency", "path_after")],
            g["transmitter_efficiency"],
            np.random.default_rng(16),
            name="transmitter_efficiency_chain",
        ),
        {
            "fiber_optics_efficiency": (0.6, 0.01),
            "path_after": (1.4, 0.1),
            "transmitter_efficiency": (0.43, 0.01),
        },
        ("transmitter_efficiency",),
    ),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("raw"))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_line_is_what_a_changed_input_changes(case: Case, data: Data) -> None:
    at = {key: given(key, value, u) for key, (value, u) in case.inputs.items()}
    result_at = case.analyse(data, at)
    found = {e.name: e for e in result_at.estimates if e.name not in LIMITS}
    wrong = []
    for key, (value, u) in case.inputs.items():
        above, below = (
            {e.name: e.value for e in case.analyse(data, {**at, key: moved}).estimates}
            for moved in (given(key, value + s * u, u) for s in (STEP, -STEP))
        )
        largest = 0.0
        for name, e in found.items():
            change = (above[name] - below[name]) / (2.0 * STEP)
            largest = max(largest, abs(change) / e.u)
            lines = [c for c in e.budget if c.source == f"given {key}"]
            line = sum(c.u for c in lines)
            if abs(line - change) > case.rel * abs(change) + OF_U * e.u:
                wrong.append(f"{name} by {key}: {line / e.u:+.4f} u, is {change / e.u:+.4f} u")
            for c in lines:
                # a line of a fit that was scaled to a profile likelihood is no pure derivative
                assert c.sensitivity == pytest.approx(c.u / u, rel=1e-3, abs=1e-6 * e.u / u)
        # a line that were missing would be seen
        assert (largest < 2.0 * OF_U) is (key in case.idle), (key, largest)
    assert not wrong, "\n".join(wrong)
