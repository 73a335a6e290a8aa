"""One measurement on a station, with those that it needs: for the command line and for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from qdchar import __version__
from qdchar.analysis.brightness import photon_numbers
from qdchar.errors import UsageError
from qdchar.estimate import Estimate
from qdchar.files import PathLike, read_text
from qdchar.fit import Result
from qdchar.history import SINGLE
from qdchar.notation import text
from qdchar.record import SourceRecord, make_record

from . import preflight
from .display import Display
from .earlier_runs import known_quantities
from .expected import ExpectedStep, expected_steps
from .extensions import measurements_of
from .loaded_run import LoadedRun, load_run
from .measurement import Registry
from .recipe import Recipe, load_recipe
from .run import Run
from .session import Session
from .simulated_station import simulated_station
from .simulated_station import simulated_station_text as simulated_text
from .station import Station, load_station

_TUNING: Mapping[str, str] = {
    "cavity_fine": "cavity_fine_V",
    "etalon_piezo": "etalon_piezo_V",
    "pump_attenuator": "pump_attenuation_dB",
    "light_path": "light_path",
}
"""Roles whose state belongs to a record, and what it is called there."""


@dataclass(frozen=True)
class MeasurementPlan:
    """A measurement that was checked against station and recipe, before anything moves.

    Attributes
    ----------
    name
        Of the measurement.
    station_text, out
        The station file as it stands, and the folder in which the run folder will be made.
    known
        Quantities of earlier runs that are used, and the name of the run folder of each.
    alone
        Whether only the measurement itself is made.
    names
        All measurements to be made, in order.
    steps
        What they will move, and for how long.
    """

    name: str
    station_text: str
    out: Path
    station: Station
    registry: Registry
    recipe: Recipe
    known: Mapping[str, tuple[Estimate, str]]
    alone: bool
    names: tuple[str, ...]
    steps: tuple[ExpectedStep, ...]


@dataclass(frozen=True)
class Measured:
    """What `carry_out` made.

    Attributes
    ----------
    folder
        The run folder.
    result
        Of the measurement that was asked for.
    made
        Names of all measurements that were made.
    problems
        Reasons why their quantities cannot be trusted.
    record
        All quantities that were found, as in ``record.json``; nobody has judged it.
    """

    folder: Path
    result: Result
    made: tuple[str, ...]
    problems: tuple[str, ...]
    record: SourceRecord


def measure(
    name: str,
    station: PathLike | None = None,
    *,
    out: PathLike = "runs",
    recipe: PathLike | None = None,
    alone: bool = False,
    seed: int = 1,
    quiet: bool = True,
) -> LoadedRun:
    """Make one measurement on a station, after those that it needs, and analyse it.

    Parameters
    ----------
    name
        As in ``qdchar measure NAME``, e.g. ``"rabi"``.
    station
        The station file; the simulated lab where not given.
    out
        Folder in which the run folder is made.
    recipe
        Settings of the measurements: ``quick``, ``pre-qkd``, ``full`` or a file; defaults where
        not given.
    alone
        Whether to measure at the tuning as it stands, with what earlier runs in `out` found.
    seed
        Of the simulated lab, where no station is given.
    quiet
        Whether to leave progress and messages out; they go to standard error.

    Returns
    -------
    LoadedRun
        The run folder, with one attribute a measurement, a record and a page.

    Raises
    ------
    QdcharError
        If the station file, a name or a setting is not valid, or from the measurement.

    Examples
    --------
    >>> run = qdchar.measure("rabi", "lab.toml")  # doctest: +SKIP
    >>> run.rabi.quantities["pi_power"], run.rabi.plot()  # doctest: +SKIP
    """
    from qdchar.report import write_measured_report

    display = Display("quiet" if quiet else "normal")
    chosen = None if recipe is None else str(recipe)
    file = None if station is None else Path(station)
    plan = plan_measurement(
        name, file, display, out=Path(out), recipe_name=chosen, alone=alone, seed=seed
    )
    folder = carry_out(plan, display).folder
    write_measured_report(folder)
    return load_run(folder)


def plan_measurement(
    name: str,
    station_file: Path | None,
    display: Display,
    *,
    out: Path,
    recipe_name: str | None = None,
    alone: bool = False,
    seed: int = 1,
) -> MeasurementPlan:
    """Check a measurement and those that it needs; nothing is opened or moved.

    Parameters
    ----------
    name, station_file, out, recipe_name, alone, seed
        As for `measure`.
    display
        Told what else is measured, or what is taken from which run.

    Raises
    ------
    UsageError
        If a name, a certificate, a role or a setting is missing or not valid.
    """
    if station_file is None:
        station, station_text = simulated_station(seed, (), display.say), simulated_text(seed)
    else:
        station, station_text = load_station(station_file, display.say), read_text(station_file)
    registry = measurements_of(station)
    if name not in registry:
        raise UsageError(
            f"measure: there is no measurement {name!r}; there are {', '.join(registry)}"
        )
    recipe = load_recipe(recipe_name, registry)
    measurement = registry[name]
    known: dict[str, tuple[Estimate, str]] = {}
    if alone:
        known = known_quantities(out, station.file, timedelta(hours=recipe.valid_hours))
        preflight.refuse_unknown(registry, name, known, out)
        for quantity in (q for q in measurement.all_needs if q in known):
            estimate, folder = known[quantity]
            display.say(f"{estimate.quantity.words} = {text(estimate)}, from the run {folder}")
        names: tuple[str, ...] = (name,)
    else:
        names = preflight.closure(registry, name)
        if len(names) > 1:
            others = ", ".join(n for n in names if n != name)
            display.say(f"{name} needs other quantities; these measurements are made too: {others}")
    preflight.check(station, registry, recipe, names, folder=out)
    steps = expected_steps(station, registry, recipe, names)
    return MeasurementPlan(
        name, station_text, out, station, registry, recipe, known, alone, names, steps
    )


def carry_out(plan: MeasurementPlan, display: Display) -> Measured:
    """Make the measurements of a plan in a new run folder, and write its ``record.json``.

    Parameters
    ----------
    plan
        From `plan_measurement`.
    display
        Shows the progress.

    Raises
    ------
    QdcharError
        From a measurement; what was measured until then is on disk.
    """
    display.expect(plan.steps)
    station, recipe = plan.station, plan.recipe
    measurement = plan.registry[plan.name]
    with ExitStack() as stack:
        stack.callback(station.release)  # the run folder may not be writable
        station.reserve()
        files = {
            "station.toml": plan.station_text,
            SINGLE: json.dumps({"measurement": plan.name, "alone": plan.alone}) + "\n",
            "recipe.json": recipe.complete(plan.registry).model_dump_json(indent=1) + "\n",
        }
        run = stack.enter_context(Run.create(plan.out, station.file.source, plan.name, files))
        stack.enter_context(display.logging(run.folder))
        display.detail(f"run folder: {run.folder}")
        station.note_run(run.folder)
        stack.enter_context(station)
        session = Session(
            station,
            run,
            recipe,
            display,
            plan.registry,
            known={quantity: estimate for quantity, (estimate, _) in plan.known.items()},
            may_measure=not plan.alone,
        )
        if "pump_attenuator" in measurement.all_roles and plan.name != "dark":
            session.pump_attenuator.open_shutter()
        result = session.make(plan.name)
        record = _record(session, plan.registry)
        record.write(run.folder / "record.json")
        run.finish(f"measured {plan.name}")
    return Measured(run.folder, result, tuple(session.made), tuple(session.problems), record)


def _record(s: Session, registry: Registry) -> SourceRecord:
    """Put all that was found into a record that nobody has judged."""
    estimates = list(s.found.values())
    if {"mean_photon_number", "g2_zero"} <= set(s.found):
        estimates += photon_numbers(s.found["mean_photon_number"], s.found["g2_zero"])
    made = [registry[name] for name in s.made]
    roles = {role for measurement in made for role in measurement.all_roles}
    states: dict[str, Callable[[], float | str]] = {
        "cavity_fine": lambda: s.cavity_fine.voltage(),
        "etalon_piezo": lambda: s.etalon_piezo.voltage(),
        "pump_attenuator": lambda: s.pump_attenuator.attenuation(),
        "light_path": lambda: s.light_path.selected(),
    }
    return make_record(
        estimates,
        qdchar_version=__version__,
        source=s.station.file.source,
        station=s.station.file.name,
        simulated=any(
            device.identify().simulated for role, device in s.station.instruments() if role in roles
        ),
        valid_for=timedelta(hours=s.recipe.valid_hours),
        tuning={_TUNING[role]: states[role]() for role in _TUNING if role in roles},
        raw=s.run.raw_files(),
        problems=s.problems,
        assumptions=tuple(preflight.assumed_certificates(s.station, made)),
    )
