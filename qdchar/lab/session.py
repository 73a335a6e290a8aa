"""One pass through a station: measurements with their analyses, kept in the run folder.

A measurement asks for an instrument only when it needs it, so that one that was never used is left
as it is when the station closes. Quantities that a measurement declares as needed are found before
it starts: from what the session knows, or by making the measurement that provides them.

This is not the session of a key exchange, whose counts ``qdchar keyrate --counts`` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar, overload

from qdchar import protocols
from qdchar.analysis.models.power_monitor import reading_of
from qdchar.errors import LockLostError, QdcharError, UsageError
from qdchar.estimate import Estimate
from qdchar.fit import Result
from qdchar.link import Link
from qdchar.notation import text
from qdchar.protocols import LockResult
from qdchar.protocols.cavity import CavitySettings
from qdchar.protocols.pump import Monitor
from qdchar.raw_data import TagRun
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
from .knowledge import Knowledge
from .measurement import Measurement, Registry, provider
from .plausibility import LightLog
from .recipe import Recipe
from .run import Run, Step
from .session_state import SessionState
from .station import Station

T = TypeVar("T")


class _Role(Generic[T]):
    """An attribute that hands out the instrument of the role of its own name."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._name = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, session: None, owner: type) -> _Role[T]: ...
    @overload
    def __get__(self, session: Session, owner: type) -> T: ...
    def __get__(self, session: Session | None, owner: type) -> _Role[T] | T:
        return self if session is None else session.station.role(self._name, self._kind)


class Session(Knowledge):
    """The instruments of a station, the run folder, and the quantities known so far.

    Parameters
    ----------
    station
        Open.
    run
        Open run folder.
    recipe
        Settings of the measurements.
    display
        Shows the progress.
    link
        Channel and receiver; the paper's where not given.
    registry
        Measurements that it can make.
    known
        Quantities that an earlier run or record of this station found; empty by default.
    may_measure
        Whether a missing quantity may be measured. If not, it is refused.

    Attributes
    ----------
    found
        Estimates by name, in the order found, those of `known` left out.
    problems
        Reasons why they cannot be trusted, in plain words.
    made
        Names of the measurements made so far, in order.
    locks
        Every re-lock of the cavity so far.
    light
        The looks at the source's light so far, and what does not hold among them.
    taken
        Steps that were taken over and not measured since.
    """

    light_path = _Role(LightPath)
    tagger = _Role(TimeTagger)
    pump_attenuator = _Role(Attenuator)
    pump_power = _Role(PowerMeter)
    cavity_fine = _Role(VoltageAxis)
    etalon_piezo = _Role(VoltageAxis)
    modulator = _Role(PolarisationModulator)
    analyser = _Role(PolarisationAnalyser)
    interferometer_phase = _Role(VoltageAxis)
    interferometer_polarisation = _Role(LightPath)

    def __init__(
        self,
        station: Station,
        run: Run,
        recipe: Recipe,
        display: Display,
        registry: Registry,
        link: Link | None = None,
        *,
        known: Mapping[str, Estimate] | None = None,
        may_measure: bool = True,
    ) -> None:
        self.station, self.run, self.recipe, self.display = station, run, recipe, display
        self.link = Link() if link is None else link
        self.found: dict[str, Estimate] = {}
        self.problems: list[str] = []
        self.made: list[str] = []
        self.locks: list[LockResult] = []
        self.light = LightLog()
        self.taken: list[Step] = []
        self._registry = registry
        self._before = dict(known or {})
        self._may_measure = may_measure
        self._runs: dict[str, TagRun] = {}
        self._pump_is_at_pi = False
        self._monitor: Monitor | None = None
        self._inputs: list[Estimate] = []
        self._inputs_of_last: tuple[Estimate, ...] = ()

    def make(self, name: str) -> Result:
        """Make one measurement, after those that it needs: measure, analyse, keep, and show."""
        measurement = self._registry[name]
        self._find_needs(measurement)
        before = set(self.run.raw.rglob("*"))
        settings = self.recipe.settings_of(measurement).model_dump(exclude_none=True)
        self.display.detail(f"    {name}: settings {settings}")
        result = self._measure(measurement)
        self.made.append(name)
        self.taken = [step for step in self.taken if step.name != name]
        if measurement.sets_pump:
            self._pump_is_at_pi = False
            self.light.forget_locks()
        folder = self.run.folder
        new = set(self.run.raw.rglob("*")) - before
        raw = sorted(str(f.relative_to(folder)) for f in new if f.is_file())
        SessionState(
            self.light.lock_rates_Hz,
            self.light.first_runs,
            self.light.state_runs,
            self._runs,
            self.light.references,
        ).keep(self.run)
        now = datetime.now(UTC)
        self.run.keep_step(
            Step(name, measurement.title, result, tuple(raw), now, inputs=self._inputs_of_last)
        )
        self.display.detail(f"    {name}: raw files {', '.join(sorted(raw)) or 'none'}")
        for estimate in result.estimates:
            self.found[estimate.name] = estimate
            self.display.say(f"    {estimate.quantity.words} = {text(estimate)}")
        for problem in result.problems:
            self.problems.append(f"{measurement.title}: {problem}")
            self.display.warn(f"    PROBLEM: {problem}")
        return result

    def title(self, name: str) -> str:
        """Return what a person reads for a measurement."""
        return self._registry[name].title if name in self._registry else name

    def take_over(self, step: Step, about: str) -> None:
        """Take the quantities of a step instead of measuring them, and say where they are from."""
        self.taken.append(step)
        self.made.append(step.name)
        for estimate in step.result.estimates:
            self.found[estimate.name] = estimate
            self.display.say(f"    {estimate.quantity.words} = {text(estimate)}, {about}")

    def go_on_from(self, state: SessionState) -> None:
        """Take what a session that was broken off has seen of the light."""
        self._runs.update(state.recordings)
        self.light.go_on_from(state.lock_rates_Hz, state.looks, state.states, state.references)

    def _measure(self, measurement: Measurement[Any]) -> Result:
        """Measure, and once more after tuning again if what was seen does not hold together."""
        can_repeat = measurement.at_pi_pulse and self._may_measure
        try:
            result = self._attempt(measurement)
            doubts = self.light.take_doubts()
        except LockLostError as error:
            if not can_repeat:
                raise
            doubts = (*self.light.take_doubts(), str(error))
        if not doubts:
            return result
        if can_repeat:
            self.display.warn(f"    DOUBT: {'; '.join(doubts)}")
            self.display.say("    tuning again, and measuring once more")
            try:
                with self.run.another_attempt(f"again_{measurement.name}"):
                    self.make("cavity")
                    self.set_pump_to_pi()
                    self.light.take_doubts()
                    result = self._attempt(measurement)
            except QdcharError as error:
                words = f"{measurement.title} was measured again, because"
                raise error.after(words, doubts) from error
            doubts = self.light.take_doubts()
        return replace(result, problems=(*result.problems, *doubts))

    def _attempt(self, measurement: Measurement[Any]) -> Result:
        outer, self._inputs = self._inputs, []
        try:
            with self.display.step(measurement.title, measurement.name) as progress:
                return measurement.run(self, self.recipe.settings_of(measurement), progress)
        finally:
            self._inputs_of_last, self._inputs = tuple(self._inputs), outer

    def _find_needs(self, measurement: Measurement[Any]) -> None:
        for quantity in measurement.needs:
            self.make_needed(quantity)
        for name in measurement.same_run:
            if name not in self._runs:
                self._make_for(measurement.name, name)
        if measurement.at_pi_pulse and self._may_measure:
            self.make_needed("pi_power")
            if not self._pump_is_at_pi:
                self.set_pump_to_pi()

    def make_needed(self, quantity: str) -> None:
        """Make the measurement that provides a quantity, unless the quantity is known."""
        if self.maybe(quantity) is None:
            self._make_for(quantity, provider(self._registry, quantity))

    def _make_for(self, what: str, measurement: str) -> None:
        if not self._may_measure:
            raise UsageError(
                f"{what} needs the measurement {measurement}, which no run of this station holds; "
                "leave --alone out to make it first"
            )
        self.make(measurement)

    def maybe(self, quantity: str) -> Estimate | None:
        """Return a quantity if it is known."""
        return self.found.get(quantity) or self._before.get(quantity)

    def certificate(self, name: str) -> Estimate:
        """Return a certificate of the station."""
        return self.station.calibration(name)

    @property
    def nominal_clock_Hz(self) -> float:
        """Pulse rate as the station file says [1/s]."""
        return self.station.file.nominal_clock_Hz

    @property
    def wavelength_m(self) -> float:
        """Wavelength of the source in vacuum [m]."""
        return self.station.file.wavelength_m

    def note_input(self, estimate: Estimate) -> None:
        """Keep what the running measurement's analysis is given that no raw file holds."""
        self._inputs.append(estimate)

    def optional_certificate(self, name: str) -> Estimate | None:
        """Return a certificate of the station if it has it."""
        return self.certificate(name) if name in self.station.file.calibrations else None

    def keep_run(self, measurement: str, run: TagRun) -> None:
        """Keep a recording for a later measurement of this session that analyses it again."""
        self._runs[measurement] = run

    def run_of(self, measurement: str) -> TagRun:
        """Return the recording that a measurement kept with `keep_run`."""
        return self._runs[measurement]

    def relock_cavity(self) -> LockResult:
        """Bring the cavity back onto its resonance by the count rate."""
        file = self.run.raw / f"cavity_lock_{len(self.locks) + 1:02d}.csv"
        settings = self.recipe.table("cavity", CavitySettings)
        self.locks.append(
            protocols.cavity.relock(self.light_path, self.cavity_fine, self.tagger, file, settings)
        )
        if self._pump_is_at_pi:
            self.light.add_lock(self.locks[-1])
        return self.locks[-1]

    @property
    def lock_count(self) -> int:
        """Number of re-locks so far."""
        return len(self.locks)

    def set_pump_to_pi(self) -> None:
        """Set the pump to the pi pulse by its monitor."""
        protocols.pump.set_power(self.pump_attenuator, self.pump_monitor(), self.pi_reading_W())
        self._pump_is_at_pi = True

    def pump_monitor(self) -> Monitor:
        """Return the power monitor with its zero subtracted.

        The zero is read at the first call, with the pump's shutter closed, and behind the highest
        attenuation because it could be stuck. Then the attenuator is as before, the shutter open.
        """
        if self._monitor is None:
            present_dB = self.pump_attenuator.attenuation()
            self.pump_attenuator.set_attenuation(self.pump_attenuator.limits_dB[1])
            self._monitor = protocols.pump.zeroed(self.pump_attenuator, self.pump_power)
            self.pump_attenuator.set_attenuation(present_dB)
            self.pump_attenuator.open_shutter()
        return self._monitor

    def pi_reading_W(self) -> float:
        """Return what the power monitor reads at the pi pulse, less its zero [W]."""
        pi_power, gain = self.known("pi_power"), self.certificate("power_meter_gain")
        return reading_of(pi_power.value, gain, self.meter_errors())
