"""One pass through a station: each measurement with its analysis, kept in the run folder.

A measurement asks for roles only when it needs them, so that what was never used is left alone on
the way out. What it has to know from another one it takes from what was found before; where that
is missing, the other one is made first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qdchar import analysis as analyse
from qdchar import protocols as measure
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.link import Link
from qdchar.notation import text
from qdchar.raw_data import Progress, TagRun
from qdchar.roles import (
    Attenuator,
    LightPath,
    PolarisationAnalyser,
    PolarisationModulator,
    PowerMeter,
    TimeTagger,
    VoltageAxis,
)

from .display import Display
from .recipe import Recipe
from .run import Run, Step
from .station import Station


class Session:
    """The roles of a station, the run folder, and what was found so far.

    Attributes
    ----------
    found
        Estimates by name, in the order found.
    problems
        Reasons not to trust them, in plain words.
    emission
        Tags of the emission, once the lifetime was measured.
    """

    def __init__(
        self,
        station: Station,
        run: Run,
        recipe: Recipe,
        display: Display,
        link: Link | None = None,
    ) -> None:
        self.station, self.run, self.recipe, self.display = station, run, recipe, display
        self.link = Link() if link is None else link
        self.emission: TagRun | None = None
        self.found: dict[str, Estimate] = {}
        self.problems: list[str] = []
        self._holds: list[measure.LockResult] = []

    @property
    def light(self) -> LightPath:
        """The light path."""
        return self.station.role("light_path", LightPath)

    @property
    def tagger(self) -> TimeTagger:
        """The time tagger."""
        return self.station.role("tagger", TimeTagger)

    @property
    def pump(self) -> Attenuator:
        """The pump attenuator."""
        return self.station.role("pump_attenuator", Attenuator)

    @property
    def monitor(self) -> PowerMeter:
        """The pump power monitor."""
        return self.station.role("pump_power", PowerMeter)

    @property
    def cavity(self) -> VoltageAxis:
        """The cavity's fine piezo."""
        return self.station.role("cavity_fine", VoltageAxis)

    @property
    def etalon(self) -> VoltageAxis:
        """The etalon's piezo."""
        return self.station.role("etalon_piezo", VoltageAxis)

    @property
    def modulator(self) -> PolarisationModulator:
        """The transmitter's polarisation modulator."""
        return self.station.role("modulator", PolarisationModulator)

    @property
    def analyser(self) -> PolarisationAnalyser:
        """The receiver's polarisation analyser."""
        return self.station.role("analyser", PolarisationAnalyser)

    @property
    def phase(self) -> VoltageAxis:
        """The phase piezo of the unbalanced interferometer."""
        return self.station.role("interferometer_phase", VoltageAxis)

    @property
    def arms(self) -> LightPath:
        """The polarisation in the interferometer's arms."""
        return self.station.role("interferometer_polarisation", LightPath)

    def make(self, name: str) -> Result:
        """Make one of `MEASUREMENTS`: measure, analyse, keep, and show."""
        what = MEASUREMENTS[name]
        what.check(self.station)
        before = set(self.run.raw.iterdir())
        with self.display.step(what.title) as progress:
            result = what.work(self, progress)
        raw = sorted(f"raw/{f.name}" for f in set(self.run.raw.iterdir()) - before)
        self.run.keep_step(Step(name, what.title, result, tuple(raw)))
        for estimate in result.estimates:
            self.found[estimate.name] = estimate
            self.display.say(f"    {estimate.name} = {text(estimate)}")
        for problem in result.problems:
            self.problems.append(f"{what.title}: {problem}")
            self.display.say(f"    PROBLEM: {problem}")
        return result

    def need(self, quantity: str, measurement: str) -> Estimate:
        """Return what was found, after making the measurement that finds it if need be."""
        if quantity not in self.found:
            self.make(measurement)
        return self.found[quantity]

    def clock_rate_Hz(self) -> float:
        """Pulse rate as measured, nominal until then [1/s]."""
        known = self.found.get("clock_rate")
        return self.station.file.nominal_clock_Hz if known is None else known.value

    def dead_pulses(self, *, of_source: bool = True) -> float:
        """Pulses that a detector loses after a click, of the source or of light that is steady."""
        dead_time = self.need("dead_time", "dead_time")
        q = self.on_fraction().value if of_source else 1.0
        return analyse.dead_time.dead_pulses(dead_time, self.clock_rate_Hz(), q)

    def on_fraction(self) -> Estimate:
        """Part of the time that the source is on, 1 until it is known to blink."""
        return analyse.dead_time.on_fraction(self.found.get("blinking_amplitude"))

    def hold_cavity(self) -> measure.LockResult:
        """Close the loop on the cavity's light once more, and say where."""
        file = self.run.raw / f"cavity_lock_{len(self._holds) + 1:02d}.csv"
        self._holds.append(
            measure.cavity.relock(self.light, self.cavity, self.tagger, file, self.recipe.cavity)
        )
        return self._holds[-1]

    def lifetime_excess(self, since: int) -> Estimate:
        """Say what vibration, and drift between visits to the loop, added to the lifetime.

        Parameters
        ----------
        since
            Number of the first visit that counts, see `visits`.
        """
        held = self._holds[since:]
        residual = analyse.detuning.detuning_square(
            np.array([h.u_voltage_V for h in held]),
            np.array([h.offset_V for h in held]),
            np.array([h.u_offset_V for h in held]),
            self.need("cavity_metres_per_volt", "cavity"),
        )
        return analyse.detuning.lifetime_correction(
            self.station.calibration("purcell_expected"),
            self.found["cavity_count_fwhm"],
            self.station.calibration("cavity_vibration"),
            residual,
        )

    def transmission_excess(self, lifetime: Estimate) -> Estimate:
        """Say how much more of the line an excess of its lifetime brings past the etalon."""
        names = ("linewidth_lorentz", "linewidth_gauss", "etalon_fwhm", "etalon_fsr")
        line = (self.need(name, "etalon") for name in names)
        return analyse.detuning.transmission_correction(
            lifetime, analyse.detuning.FilteredLine(*line)
        )

    @property
    def visits(self) -> int:
        """How often the loop on the cavity's light was closed so far."""
        return len(self._holds)

    def pump_at_pi(self) -> None:
        """Set the pump to the pi pulse by its monitor."""
        gain = self.station.calibration("power_meter_gain")
        power_W = self.need("pi_power", "rabi").value / gain.value
        measure.pump.set_power(self.pump, self.monitor, power_W)


def _dark(s: Session, progress: Progress) -> Result:
    file = s.run.raw / "dark.csv"
    scan = measure.dark.measure(s.light, s.pump, s.tagger, file, s.recipe.dark, progress)
    return analyse.dark.analyse(scan)


def _cavity(s: Session, progress: Progress) -> Result:
    tuning = measure.cavity.measure(
        s.light, s.cavity, s.pump, s.monitor, s.tagger, s.run.raw, s.recipe.cavity, progress
    )
    clock_rate_Hz, dead_pulses = s.clock_rate_Hz(), s.dead_pulses()
    wavelength_m = s.station.file.wavelength_m
    return analyse.cavity.analyse_tuning(
        tuning.survey,
        tuning.fine,
        clock_rate_Hz=clock_rate_Hz,
        dead_pulses=dead_pulses,
        wavelength_m=wavelength_m,
        purcell_factor=s.station.calibration("purcell_expected"),
    )


def _dead_time(s: Session, progress: Progress) -> Result:
    file = s.run.raw / "dead_time.h5"
    run = measure.dead_time.measure(s.light, s.tagger, file, s.recipe.dead_time, progress)
    return analyse.dead_time.analyse(run)


def _rabi(s: Session, progress: Progress) -> Result:
    settings = s.recipe.rabi
    lost, darks = s.dead_pulses(), s.need("dark_count_rate", "dark")
    scan = measure.rabi.measure(
        s.light,
        s.pump,
        s.monitor,
        s.tagger,
        s.run.raw / "rabi.csv",
        settings,
        s.hold_cavity,
        progress,
    )
    return analyse.rabi.analyse(
        scan,
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=lost,
        on_fraction=s.on_fraction(),
        power_gain=s.station.calibration("power_meter_gain"),
        reading_u_rel=settings.reading_u_rel / math.sqrt(settings.readings),
        dark_count_rate_Hz=darks.value,
    )


def _saturation(s: Session, progress: Progress) -> Result:
    settings = s.recipe.saturation
    lost, darks = s.dead_pulses(), s.need("dark_count_rate", "dark")
    scan = measure.saturation.measure(
        s.light, s.pump, s.monitor, s.tagger, s.run.raw / "saturation.csv", settings, progress
    )
    return analyse.saturation.analyse(
        scan,
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=lost,
        power_gain=s.station.calibration("power_meter_gain"),
        reading_u_rel=settings.reading_u_rel / math.sqrt(settings.readings),
        dark_count_rate_Hz=darks.value,
        pumping=settings.pumping,
    )


def _lifetime(s: Session, progress: Progress) -> Result:
    since = s.visits
    runs = measure.lifetime.measure(
        s.light, s.pump, s.tagger, s.run.raw, s.recipe.lifetime, s.hold_cavity, progress
    )
    s.emission = runs.emission
    excess = s.lifetime_excess(since)
    return analyse.lifetime.analyse(runs.emission, runs.response, excess=excess)


def _etalon(s: Session, progress: Progress) -> Result:
    settings = s.recipe.etalon
    lifetime, darks = s.need("lifetime", "lifetime"), s.need("dark_count_rate", "dark")
    since = s.visits
    scans = measure.etalon.measure(
        s.light, s.etalon, s.tagger, s.run.raw, settings, s.hold_cavity, progress
    )
    s.hold_cavity()
    result = analyse.etalon.analyse(
        scans.narrow,
        scans.source,
        fsr=s.station.calibration("etalon_fsr"),
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=s.dead_pulses(),
        dead_time=s.found["dead_time"],
        dark_count_rate_Hz=darks.value,
        lifetime=lifetime,
        detuning_correction=s.lifetime_excess(since),
    )
    peak = result["etalon_peak_voltage"].value
    measure.etalon.park(s.light, s.etalon, s.tagger, s.run.raw / "etalon_park.csv", settings, peak)
    return result


def _brightness(s: Session, progress: Progress) -> Result:
    darks = s.need("dark_count_rate", "dark")
    s.hold_cavity()
    file = s.run.raw / "brightness.h5"
    run = measure.brightness.measure(
        s.light, s.tagger, file, s.recipe.brightness, progress=progress
    )
    efficiency = s.station.calibration("detector_efficiency")
    result = analyse.brightness.analyse(run, detector_efficiency=efficiency, dark_count_rate=darks)
    beta = [s.found["beta_factor"]] if "beta_factor" in s.found else []
    return _with_chain(s, result, "collection_efficiency", "collection_part_", beta)


def _transmitter(s: Session, progress: Progress) -> Result:
    darks = s.need("dark_count_rate", "dark")
    line = [s.need(n, "etalon") for n in ("linewidth_lorentz", "linewidth_gauss")]
    etalon = [s.found[n] for n in ("etalon_fwhm", "etalon_fsr")]
    since = s.visits
    runs = measure.transmitter.measure(
        s.light, s.tagger, s.run.raw, s.recipe.transmitter, s.hold_cavity, progress
    )
    s.hold_cavity()
    result = analyse.transmitter.analyse(
        runs.before,
        (runs.after,),
        detector_efficiency=s.station.calibration("detector_efficiency"),
        dark_count_rate=darks,
        detuning_correction=s.transmission_excess(s.lifetime_excess(since)),
    )
    overlap = analyse.loss_budget.etalon_overlap(
        line[0], line[1], etalon[0], etalon[1], s.found.get("g2_zero_source")
    )
    return _with_chain(s, result, "transmitter_efficiency", "transmitter_part_", [overlap])


def _with_chain(
    s: Session, result: Result, name: str, prefix: str, measured_parts: list[Estimate]
) -> Result:
    """Hold an efficiency against the product of its parts, where the station file knows them."""
    given = [c for c in s.station.file.calibrations if c.startswith(prefix)]
    if not given:
        return result
    parts = [analyse.loss_budget.as_transmission(s.station.calibration(c)) for c in given]
    measured = [analyse.loss_budget.as_transmission(e) for e in measured_parts]
    rng = np.random.default_rng(0)
    new = [p for p in measured_parts if p.name not in s.found]
    chain = analyse.loss_budget.analyse(
        [*measured, *parts], result[name], rng, name=f"{name}_chain"
    )
    return Result(
        (*result.estimates, *new, *chain.estimates),
        (*result.fits, *chain.fits),
        (*result.problems, *chain.problems),
    )


def _hbt(
    path: Literal["before", "after"], name: str, plane: str
) -> Callable[[Session, Progress], Result]:
    def work(s: Session, progress: Progress) -> Result:
        darks = s.need("dark_count_rate", "dark")
        if path == "after":
            s.need("linewidth_lorentz", "etalon")
        since = s.visits
        s.hold_cavity()
        file = s.run.raw / f"hbt_{path}.h5"
        run = measure.hbt.measure(
            s.light, s.tagger, file, s.recipe.hbt, path=path, progress=progress
        )
        s.hold_cavity()
        lifetime = s.lifetime_excess(since)
        transmission = s.transmission_excess(lifetime) if path == "after" else None
        deficit = analyse.detuning.g2_correction(lifetime, transmission)
        result = analyse.hbt.analyse(
            run, name=name, plane=plane, dark_count_rate=darks, deficit=deficit
        )
        # less of what is sent is leaked laser, which does not blink
        estimates = [
            replace(e, name="blinking_amplitude_sent")
            if e.name == "blinking_amplitude" and path == "after"
            else e
            for e in result.estimates
        ]
        return replace(result, estimates=tuple(estimates))

    return work


def _detector_efficiency(s: Session, progress: Progress) -> Result:
    settings = s.recipe.detector_efficiency
    lost, darks = s.dead_pulses(of_source=False), s.need("dark_count_rate", "dark")
    file = s.run.raw / "detector_efficiency.csv"
    scan = measure.detector_efficiency.measure(
        s.light, s.pump, s.monitor, s.tagger, file, settings, progress
    )
    return analyse.detector_efficiency.analyse(
        scan,
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=lost,
        wavelength_m=s.station.file.wavelength_m,
        power_gain=s.station.calibration("power_meter_gain"),
        path_attenuation=s.station.calibration("laser_path_attenuation"),
        dark_count_rate=darks,
        reading_u_rel=settings.reading_u_rel / math.sqrt(settings.readings),
        certificate=s.station.calibration("detector_efficiency"),
    )


def _gate(s: Session, progress: Progress) -> Result:
    darks = s.need("dark_count_rate", "dark")
    s.need("dead_time", "dead_time")
    if s.emission is None:
        s.make("lifetime")
    assert s.emission is not None
    return analyse.gate.analyse(
        s.emission,
        gate_width=s.link.estimates()["gate_width"],
        dark_count_rate=darks,
        dead_time=s.found["dead_time"],
    )


def _misalignment(s: Session, progress: Progress) -> Result:
    darks = s.need("dark_count_rate", "dark")
    runs = measure.misalignment.measure(
        s.light,
        s.modulator,
        s.analyser,
        s.tagger,
        s.run.raw,
        s.recipe.misalignment,
        s.hold_cavity,
        progress,
    )
    return analyse.misalignment.analyse(runs, dark_count_rate=darks)


def _phase(s: Session, progress: Progress) -> Result:
    lost = s.dead_pulses()
    file = s.run.raw / "phase.csv"
    scan = measure.phase.measure(
        s.light, s.arms, s.phase, s.tagger, file, s.recipe.phase, s.hold_cavity, progress
    )
    return analyse.phase.analyse(
        scan,
        fringe=s.station.calibration("interferometer_fringe"),
        reflectance=s.station.calibration("interferometer_reflectance"),
        overlap=s.station.calibration("interferometer_overlap"),
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=lost,
    )


def _hom(s: Session, progress: Progress) -> Result:
    darks, g2 = s.need("dark_count_rate", "dark"), s.need("g2_zero", "hbt_after")
    runs = measure.hom.measure(
        s.light, s.arms, s.tagger, s.run.raw, s.recipe.hom, s.hold_cavity, progress
    )
    return analyse.hom.analyse(
        runs,
        g2=g2,
        reflectance=s.station.calibration("interferometer_reflectance"),
        overlap=s.station.calibration("interferometer_overlap"),
        dark_count_rate=darks,
        blinking=s.found.get("blinking_amplitude_sent"),
    )


def _purcell(s: Session, progress: Progress) -> Result:
    darks = s.need("dark_count_rate", "dark")
    width = s.need("cavity_count_fwhm_voltage", "cavity")
    s.pump_at_pi()  # where the excitation hardly depends on what detuning does to the pump
    detuned = measure.purcell.measure(
        s.light,
        s.cavity,
        s.pump,
        s.tagger,
        s.run.raw,
        s.recipe.purcell,
        width.value,
        s.hold_cavity,
        progress,
    )
    given = s.station.file.calibrations
    return analyse.purcell.analyse_runs(
        detuned.voltage_V,
        detuned.u_voltage_V,
        detuned.runs,
        detuned.response,
        dark_count_rate=darks,
        detector_efficiency=s.station.calibration("detector_efficiency"),
        vibration_m=s.station.calibration("cavity_vibration"),
        metres_per_volt=s.found["cavity_metres_per_volt"],
        hertz_per_metre=(
            s.station.calibration("cavity_tuning") if "cavity_tuning" in given else None
        ),
    )


def _leak(s: Session, progress: Progress) -> Result:
    settings = s.recipe.leak
    detuning_V = settings.detuning_V
    if detuning_V is None:
        detuning_V = 0.5 * s.need("cavity_fsr_voltage", "cavity").value
    pi_power = s.need("pi_power", "rabi")
    lost, darks = s.dead_pulses(), s.need("dark_count_rate", "dark")
    gain = s.station.calibration("power_meter_gain")
    since = s.visits
    leakage = measure.leak.measure(
        s.light,
        s.cavity,
        s.pump,
        s.monitor,
        s.tagger,
        s.run.raw,
        settings,
        pi_reading_W=pi_power.value / gain.value,
        detuning_V=detuning_V,
        relock=s.hold_cavity,
        progress=progress,
    )
    return analyse.leak.analyse(
        leakage.tuned,
        leakage.detuned,
        clock_rate_Hz=s.clock_rate_Hz(),
        dead_pulses=lost,
        pi_power=pi_power,
        damping=s.found["rabi_damping"],
        power_gain=gain,
        detector_efficiency=s.station.calibration("detector_efficiency"),
        dark_count_rate=darks,
        reading_u_rel=settings.reading_u_rel / math.sqrt(settings.readings),
        detuning_correction=s.lifetime_excess(since),
    )


@dataclass(frozen=True)
class Measurement:
    """One entry of the command line's table."""

    title: str
    work: Callable[[Session, Progress], Result]
    roles: tuple[str, ...] = ()
    calibrations: tuple[str, ...] = ()
    """Certificates that the figures rest on."""

    def check(self, station: Station) -> None:
        """Refuse before anything moves if a certificate is missing.

        Raises
        ------
        UsageError
            With the line that the station file needs.
        """
        for name in self.calibrations:
            station.calibration(name)

    def missing(self, station: Station) -> str:
        """Say what a station lacks for it; empty if nothing."""
        lacks = [f"roles.{r}" for r in self.roles if r not in station.file.roles]
        lacks += [
            f"calibrations.{c}" for c in self.calibrations if c not in station.file.calibrations
        ]
        return ", ".join(lacks)


_OFF_RESONANCE = ("purcell_expected", "cavity_vibration")

MEASUREMENTS: Mapping[str, Measurement] = {
    "dark": Measurement("dark counts", _dark),
    "cavity": Measurement("cavity tuning", _cavity, calibrations=("purcell_expected",)),
    "dead_time": Measurement("detector dead time", _dead_time),
    "rabi": Measurement("pi pulse", _rabi, calibrations=("power_meter_gain",)),
    "saturation": Measurement(
        "saturation of a dot pumped above resonance",
        _saturation,
        calibrations=("power_meter_gain",),
    ),
    "lifetime": Measurement("lifetime", _lifetime, calibrations=_OFF_RESONANCE),
    "etalon": Measurement("linewidth", _etalon, calibrations=("etalon_fsr", *_OFF_RESONANCE)),
    "brightness": Measurement("brightness", _brightness, calibrations=("detector_efficiency",)),
    "hbt_before": Measurement(
        "g2 in the fibre",
        _hbt("before", "g2_zero_source", "fibre"),
        calibrations=_OFF_RESONANCE,
    ),
    "transmitter": Measurement(
        "transmitter throughput",
        _transmitter,
        calibrations=("detector_efficiency", *_OFF_RESONANCE),
    ),
    "hbt_after": Measurement(
        "g2 at the transmitter output",
        _hbt("after", "g2_zero", "transmitter output"),
        calibrations=_OFF_RESONANCE,
    ),
    "gate": Measurement("time gate", _gate),
    "detector_efficiency": Measurement(
        "detector efficiency",
        _detector_efficiency,
        calibrations=("laser_path_attenuation", "power_meter_gain", "detector_efficiency"),
    ),
    "misalignment": Measurement("misalignment", _misalignment, ("modulator", "analyser")),
    "phase": Measurement(
        "phase randomisation",
        _phase,
        ("interferometer_phase", "interferometer_polarisation"),
        ("interferometer_fringe", "interferometer_reflectance", "interferometer_overlap"),
    ),
    "hom": Measurement(
        "two-photon interference",
        _hom,
        ("interferometer_polarisation",),
        ("interferometer_reflectance", "interferometer_overlap"),
    ),
    "purcell": Measurement(
        "Purcell factor", _purcell, calibrations=("detector_efficiency", "cavity_vibration")
    ),
    "leak": Measurement(
        "laser leakage and re-excitation",
        _leak,
        calibrations=("power_meter_gain", "detector_efficiency", *_OFF_RESONANCE),
    ),
}
