"""The kinds of data of the study `foreign.py`: how each is drawn, analysed, and what is right."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import foreign_scans as scans
import foreign_tags as tags
import numpy as np
from foreign_tags import Decay, Hbt

from qdchar.analysis import cavity, etalon, hbt, hbt_cw, hom, lifetime, rabi, reflectivity
from qdchar.analysis import saturation as saturating
from qdchar.analysis.models.interferometer import Interferometer
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.raw_data import About, TagRun

Rng = np.random.Generator
Analyse = Callable[[Rng, Path], Result]

NOTHING = math.nan
"""In place of a true value where nothing is to be found, and every value is wrong."""
GAIN_U = 0.005
"""Standard uncertainty of a power meter's scale, drawn for each scan."""


@dataclass(frozen=True)
class Kind:
    """One kind of data.

    Attributes
    ----------
    name
        For the table.
    right
        Whether the analysis claims to describe such data.
    truth
        True values by quantity, in SI units.
    analyse
        Draws a file into a folder and analyses it.
    """

    name: str
    right: bool
    truth: Mapping[str, float]
    analyse: Analyse


def _given(name: str, value: float, u: float) -> Estimate:
    budget = (Contribution(f"{name} certificate", u, "B"),) if u else ()
    return Estimate(name=name, value=value, method="given", budget=budget)


def _tags(light: Hbt, t3: bool = False, **options: Any) -> Analyse:
    def run(rng: Rng, folder: Path) -> Result:
        file = folder / "tags.h5"
        clicks = tags.hbt_clicks(rng, light)
        if t3:
            tags.write_t3(file, clicks, light.period)
        else:
            tags.write_tags(file, clicks, light.span)
        return hbt.analyse_file(file, **options)

    return run


def _g2(name: str, light: Hbt, right: bool = True, t3: bool = False, **options: Any) -> Kind:
    """Tags without a clock, or T3: g2 against the side peaks, and against the mean count rates."""
    truth = {"g2_zero": light.raw_g2, "g2_zero_time_averaged": light.raw_g2 / light.on}
    return Kind(f"hbt tags, {name}", right, truth, _tags(light, t3, **options))


def _comb(name: str, right: bool = True, g2: float = 0.02, **options: Any) -> Kind:
    def run(rng: Rng, folder: Path) -> Result:
        left, counts = tags.comb_histogram(rng, g2=g2, **options)
        file = folder / "histogram.csv"
        tags.write_columns(file, ("delay_ps", "counts"), (np.rint(left * 1e12), counts))
        return hbt.analyse_file(file)

    return Kind(f"hbt histogram, {name}", right, {"g2_zero": g2}, run)


def _dip(name: str, truth: Mapping[str, float], right: bool = True, **options: Any) -> Kind:
    response = options.get("response", 0.0)
    fwhm = () if not response else (_given("response_fwhm", 2.3548 * response / math.sqrt(2.0), 0),)

    def run(rng: Rng, folder: Path) -> Result:
        left, counts = tags.dip_histogram(rng, **options)
        file = folder / "dip.csv"
        tags.write_columns(file, ("delay_ps", "counts"), (np.rint(left * 1e12), counts))
        return hbt_cw.analyse_file(file, response_fwhm=fwhm)

    return Kind(f"cw, {name}", right, truth, run)


def _peak(rng: Rng, folder: Path) -> Result:
    left, counts = tags.peak_histogram(rng)
    file = folder / "dip.csv"
    tags.write_columns(file, ("delay_ps", "counts"), (np.rint(left * 1e12), counts))
    return hbt_cw.analyse_file(file)


def _decay(
    name: str, decay: Decay, right: bool = True, truth: float = 0.0, measured: bool = False
) -> Kind:
    def run(rng: Rng, folder: Path) -> Result:
        counts = tags.decay_histogram(rng, decay)
        time_ns = decay.bin_width * 1e9 * np.arange(len(counts))
        file = folder / "decay.csv"
        if measured:
            irf = tags.response_histogram(rng, Decay(tail=decay.tail, sigma=decay.sigma))
            tags.write_columns(file, ("time_ns", "irf", "decay"), (time_ns, irf, counts))
        else:
            tags.write_columns(file, ("time_ns", "counts"), (time_ns, counts))
        period = None if decay.window == decay.period else decay.period
        return lifetime.analyse_file(file, period_s=None if "untold" in name else period)

    way = "measured response" if measured else "alone"
    return Kind(f"decay, {way}, {name}", right, {"lifetime": truth or decay.lifetime}, run)


def _power_scan(file: Path, drawn: tuple[Any, ...]) -> Path:
    power, a, b, dwell = drawn
    columns = (power, a, b, np.full(len(power), dwell))
    return tags.write_columns(file, ("power_W", "clicks_a", "clicks_b", "dwell_s"), columns)


def _rabi(name: str, right: bool = True, told: int = 0, **options: Any) -> Kind:
    def run(rng: Rng, folder: Path) -> Result:
        file = _power_scan(folder / "rabi.csv", scans.rabi(rng, scale=GAIN_U, **options))
        return rabi.analyse_file(
            file,
            clock_rate_Hz=scans.CLOCK_HZ,
            dead_pulses=float(told),
            power_gain=_given("power_meter_gain", 1.0, GAIN_U),
        )

    truth = {"pi_power": options.get("pi_power", 10e-9)}
    return Kind(f"rabi, {name}", right, truth, run)


def _saturation(name: str, right: bool = True, **options: Any) -> Kind:
    def run(rng: Rng, folder: Path) -> Result:
        file = _power_scan(
            folder / "saturation.csv", scans.saturation(rng, scale=GAIN_U, **options)
        )
        return saturating.analyse_file(
            file,
            clock_rate_Hz=scans.CLOCK_HZ,
            dead_pulses=0.0,
            power_gain=_given("power_meter_gain", 1.0, GAIN_U),
        )

    return Kind(f"saturation, {name}", right, {"saturation_power": 10e-9}, run)


def _voltage_scan(file: Path, volts: Any, clicks: tuple[Any, Any], dwell: float) -> Path:
    columns = (volts, *clicks, np.full(len(volts), dwell))
    return tags.write_columns(file, ("voltage_V", "clicks_a", "clicks_b", "dwell_s"), columns)


def _etalon(name: str, right: bool = True, **options: Any) -> Kind:
    def run(rng: Rng, folder: Path) -> Result:
        volts, laser, source, dwell = scans.etalon(rng, **options)
        narrow = _voltage_scan(folder / "narrow.csv", volts, laser, dwell)
        file = _voltage_scan(folder / "source.csv", volts, source, dwell)
        return etalon.analyse_file(
            file,
            narrow=narrow,
            fsr=_given("etalon_fsr", 100e9, 0.2e9),
            clock_rate_Hz=scans.CLOCK_HZ,
            dead_pulses=0.0,
            dead_time=_given("dead_time", 0.0, 0.0),
        )

    # 0.5346 fL + sqrt(0.2166 fL^2 + fG^2) of 2.1 and 1.276 GHz
    truth = {"linewidth": 2.7298e9}
    if right:
        truth["etalon_fwhm"] = 5.4e9
    return Kind(f"etalon, {name}", right, truth, run)


def _cavity(name: str, right: bool = True, **options: Any) -> Kind:
    def run(rng: Rng, folder: Path) -> Result:
        volts, a, b, dwell = scans.cavity(rng, **options)
        file = _voltage_scan(folder / "cavity.csv", volts, (a, b), dwell)
        return cavity.analyse_file(
            file, clock_rate_Hz=scans.CLOCK_HZ, dead_pulses=0.0, wavelength_m=884.5e-9
        )

    return Kind(f"cavity, {name}", right, {"cavity_count_fwhm_voltage": 0.066}, run)


def _reflectivity(name: str, right: bool = True, **options: Any) -> Kind:
    def run(rng: Rng, folder: Path) -> Result:
        wavelength, counts = scans.reflectivity(rng, **options)
        file = folder / "spectrum.csv"
        tags.write_columns(file, ("wavelength_nm", "counts"), (wavelength * 1e9, counts))
        return reflectivity.analyse_file(file)

    truth = {"cavity_quality_factor": 884.5 / 0.070}
    return Kind(f"reflectivity, {name}", right, truth, run)


def _hom(name: str, light: Hbt, right: bool = True, alike: float = 0.9) -> Kind:
    def run(rng: Rng, folder: Path) -> Result:
        runs = []
        for arms in ("parallel", "orthogonal"):
            clicks = tags.hom_clicks(rng, light, alike=alike, parallel=arms == "parallel")
            file = tags.write_tags(folder / f"{arms}.h5", clicks, light.span)
            about = About("hom", settings={"arms": arms})
            runs.append(TagRun(about, file, 0, 1, 2, 100, light.span))
        return hom.analyse(
            runs,
            g2=_given("g2_zero", light.g2, 1e-4),
            interferometer=Interferometer(
                first=_given("interferometer_reflectance", 0.48, 0.0),
                second=_given("interferometer_reflectance_2", 0.48, 0.0),
                orthogonal=_given("interferometer_reflectance_orthogonal", 0.48, 0.0),
                overlap=_given("interferometer_overlap", 1.0, 0.0),
            ),
        )

    return Kind(f"hom, {name}", right, {"indistinguishability": alike}, run)


_FAINT = {"photons": 2_000.0}
_CLOUDY = {"background": 0.1}

KINDS: tuple[Kind, ...] = (
    _g2("clean", Hbt()),
    _g2("T3 with the clock", Hbt(), t3=True),
    _g2("few counts", Hbt(pulses=40_000)),
    _g2("peaks overlap, 2 ns", Hbt(lifetime=2e-9, g2=0.01)),
    _g2("peaks overlap, 2 ns, T3", Hbt(lifetime=2e-9, g2=0.01), t3=True),
    _g2("blinking 0.5 us", Hbt(on=0.7, on_time=0.5e-6, mean=0.14)),
    _g2("blinking 100 us", Hbt(on=0.7, on_time=100e-6, mean=0.14)),
    _g2("blinking 100 us, T3", Hbt(on=0.7, on_time=100e-6, mean=0.14), t3=True),
    _g2("splitter 90:10", Hbt(to_a=0.9, pulses=800_000)),
    _g2("unequal dead times", Hbt(dead=(30e-9, 70e-9)), right=False),
    _g2("unequal dead times, T3", Hbt(dead=(30e-9, 70e-9)), t3=True),
    _g2("afterpulses 2 %, 30 ns", Hbt(afterpulse=0.02, dead=(20e-9, 20e-9)), right=False),
    _g2("afterpulses 2 %, 300 ns", Hbt(afterpulse=0.02, trap=300e-9), right=False),
    _g2("afterpulses 2 %, 30 ns, T3", Hbt(afterpulse=0.02, dead=(20e-9,) * 2), False, t3=True),
    _g2("cross-talk 0.5 % at 2.5 ns", Hbt(cross_talk=0.005, g2=0.02), right=False),
    _g2("cross-talk 0.5 % at 2.5 ns, T3", Hbt(cross_talk=0.005, g2=0.02), False, t3=True),
    _g2("background 10 %", Hbt(**_CLOUDY)),
    _g2("background 10 %, T3", Hbt(**_CLOUDY), t3=True),
    _g2("delay 200 ns", Hbt(delay=200e-9)),
    _g2("10 MHz", Hbt(period=100e-9)),
    _comb("clean"),
    _comb("few counts", area=60.0, g2=0.05),
    _comb("background", background=5.0),
    _comb("peaks overlap, 2 ns", lifetime=2e-9, g2=0.05),
    _comb("hole in the zero peak", right=False, hole=0.7e-9),
    _comb("cross-talk", right=False, line=0.05),
    _comb("blinking 50 ns", right=False, bunching=0.5, g2=0.05),
    _comb("response 0.5 ns", right=False, jitter=0.5e-9, g2=0.05),
    _comb("response with a tail", right=False, tail=0.1, g2=0.05),
    _dip("clean", {"g2_zero": 0.1, "antibunching_time": 1.5e-9}),
    _dip("bunching", {"g2_zero": 0.1, "antibunching_time": 1.5e-9}, bunching=0.4),
    _dip("response told", {"g2_zero": 0.1, "antibunching_time": 1.5e-9}, response=0.4e-9),
    _dip("response with a tail", {"g2_zero": 0.1}, False, response=0.4e-9, tail=0.3),
    _dip("Rabi oscillation", {"g2_zero": 0.1}, False, rabi_hz=0.3e9),
    _dip("slow Rabi oscillation", {"g2_zero": 0.1}, False, rabi_hz=0.08e9),
    _dip("oscillation, few pairs", {"g2_zero": 0.1}, False, rabi_hz=0.3e9, level=30.0),
    Kind("cw, a peak instead of a dip", False, {"g2_zero": NOTHING}, _peak),
    _decay("clean", Decay()),
    _decay("faint", Decay(**_FAINT)),
    _decay("response with a tail", Decay(tail=0.3), right=False),
    _decay("rise 0.4 ns", Decay(rise=0.4e-9), right=False),
    _decay("rise 0.4 ns, faint", Decay(rise=0.4e-9, **_FAINT), right=False),
    _decay("beat 0.5 GHz", Decay(beat=0.6, beat_hz=0.5e9), right=False),
    _decay("beat 0.15 GHz, faint", Decay(beat=0.6, beat_hz=0.15e9, **_FAINT), right=False),
    _decay("two components", Decay(second=4e-9, second_share=0.3), False, 2.04e-9),
    _decay("two components, faint", Decay(second=4e-9, second_share=0.3, **_FAINT), False, 2.04e-9),
    _decay("pile-up 0.4", Decay(pile_up=0.4), right=False),
    _decay("none", Decay(photons=0.0, background=50.0), False, NOTHING),
    _decay("window 25 of 100 ns", Decay(lifetime=9e-9, period=1e-7, window=25e-9)),
    _decay("window 25 of 100 ns, untold", Decay(9e3, 9e-9, period=1e-7, window=25e-9), False),
    _decay("clean", Decay(tail=0.2), measured=True),
    _decay("faint", Decay(tail=0.2, **_FAINT), measured=True),
    _decay("two components", Decay(second=4e-9, second_share=0.3), True, 2.04e-9, True),
    _decay("rise 0.4 ns", Decay(rise=0.4e-9), False, measured=True),
    _decay("rise 0.4 ns, faint", Decay(rise=0.4e-9, **_FAINT), False, measured=True),
    _decay("beat 0.5 GHz", Decay(beat=0.6, beat_hz=0.5e9), False, measured=True),
    _decay("beat 0.15 GHz, faint", Decay(beat=0.6, beat_hz=0.15e9, **_FAINT), False, measured=True),
    _decay("echo 5 %", Decay(echo=0.05), False, measured=True),
    _decay("none", Decay(photons=0.0, background=50.0), False, NOTHING, True),
    _rabi("clean"),
    _rabi("leak", leak=0.01),
    _rabi("brightness noise 1 %", noise=0.01),
    _rabi("strong damping", damping=0.08),
    _rabi("dead time told", told=2, dead_pulses=2),
    _rabi("dead time untold", right=False, dead_pulses=2),
    _rabi("meter zero", zero=0.4e-9),
    _rabi("renormalised area 2 %", renormalised=0.02),
    _rabi("detuned 0.3", right=False, detuning=0.3),
    _rabi("short scan", right=False, top=7e-9),
    _saturation("clean"),
    _saturation("meter zero", zero=0.3e-9),
    _saturation("the other law", right=False, law="continuous"),
    _etalon("one line"),
    _etalon("one line, noise 1 %", noise=0.01),
    _etalon("two lines 3 GHz apart", False, lines=((-1.5e9, 0.5), (1.5e9, 0.5))),
    _etalon("two lines, 3 GHz, 4:1", False, lines=((-1.5e9, 0.8), (1.5e9, 0.2))),
    _etalon("drift of 2 GHz", False, drift=2e9),
    _etalon("hop of 1 GHz", False, hop=1e9),
    _cavity("one mode"),
    _cavity("one mode, noise 2 %", noise=0.02),
    _cavity("two modes 1.5 widths apart", False, modes=((-0.75, 1.0), (0.75, 0.7))),
    _cavity("two modes 0.6 widths apart", False, modes=((-0.3, 1.0), (0.3, 0.6))),
    _cavity("thermal shift", False, thermal=0.2),
    _cavity("creep", False, drift=0.3),
    _reflectivity("one mode"),
    _reflectivity("one mode, fringes", fringe=0.01),
    _reflectivity("two modes 50 pm apart", modes=((-25e-12, 0.5), (25e-12, 0.5))),
    _reflectivity("two modes, 30 pm, unequal", False, modes=((-15e-12, 0.5), (15e-12, 0.25))),
    _hom("clean", Hbt(pulses=300_000, mean=0.2, g2=0.01)),
    _hom("unequal dead times", Hbt(pulses=300_000, mean=0.2, g2=0.01, dead=(30e-9, 60e-9))),
    _hom("afterpulses 2 %", Hbt(pulses=300_000, mean=0.2, g2=0.01, afterpulse=0.02), False),
)
