"""A calibration: tune the source, measure it, predict its key rate, make the verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from qdchar import __version__
from qdchar.analysis.brightness import photon_numbers
from qdchar.errors import InconclusiveError, QdcharError, described
from qdchar.interrupt import INTERRUPTS
from qdchar.link import Link
from qdchar.record import SourceRecord, TakenOver, make_record

from . import expected, preflight
from .display import Display
from .last_look import look_again
from .measurement import Registry
from .outcome import Outcome, conclude
from .recipe import Recipe
from .resume import Unfinished, go_on, hours_allowed, instruments, refuse_other_instruments
from .run import Run, Step, read_log
from .session import Session
from .station import Station
from .take_over import Earlier, compare_brightness, take


def calibrate(
    station: Station,
    run: Run,
    recipe: Recipe,
    link: Link,
    display: Display,
    registry: Registry,
    *,
    unfinished: Unfinished | None = None,
    earlier: Earlier | None = None,
) -> Outcome:
    """Run the whole calibration on an open station, or go on with one that was broken off.

    Parameters
    ----------
    station
        Open; when it closes, its policies decide which instruments keep their settings.
    run
        Open run folder.
    registry
        The measurements that the station knows, in the order in which they are made.
    unfinished
        What the same run left when it was broken off; none for a new calibration.
    earlier
        A run whose quantities are taken over as far as the recipe allows; none for none.

    Returns
    -------
    Outcome
        Also written to the run folder as ``record.json``, ``keyrate.json`` and ``verdict.json``.

    Raises
    ------
    QdcharError
        From a measurement; what was measured until then is on disk. `preflight.check` refuses what
        cannot be done before the first instrument moves.
    """
    plan = preflight.plan_calibration(station, registry, recipe)
    preflight.check(station, registry, recipe, plan.measurements, folder=run.folder, link=link)
    known = () if unfinished is None else tuple(step.name for step in unfinished.steps)
    to_make = [name for name in plan.measurements if name not in known]
    steps = expected.expected_steps(station, registry, recipe, to_make)
    display.expect((*steps, expected.last_look(recipe)))
    for name, reason in plan.left_out.items():
        display.say(f"{name}: left out: {reason}")
    session = Session(station, run, recipe, display, registry, link)
    if unfinished is not None:
        refuse_other_instruments(station, run.folder)
    run.keep_json("instruments.json", instruments(station))
    resumed = f"resumed_{run.times_resumed}" if run.times_resumed else "before"
    run.keep_json(f"snapshot_{resumed}.json", station.snapshot())
    try:
        if unfinished is not None:
            go_on(session, unfinished)
        if earlier is not None:
            take(session, earlier, registry, plan.measurements)
        for name in plan.measurements:
            if name not in session.made:
                _make(session, registry, name)
        look_again(session)
        if earlier is not None:
            compare_brightness(session, earlier, registry)
        session.light_path.select("after")  # as a key exchange wants it
    except QdcharError as error:
        raise error.after("Earlier in this run", session.problems) from error
    finally:
        _keep_snapshot(session)
    return conclude(run, _record(session, registry), link, recipe)


def _make(s: Session, registry: Registry, name: str) -> None:
    """Make one measurement; if an optional one is inconclusive, the calibration goes on."""
    measurement = registry[name]
    try:
        s.make(name)
    except InconclusiveError as error:
        if measurement.calibration == "always":
            raise
        s.display.warn(f"    NOT MEASURED: {error}")
        if measurement.used_by_key_rate:
            s.problems.append(f"{measurement.title}: not measured: {error}")


def _keep_snapshot(s: Session) -> None:
    """Keep the state in which the station was left, without hiding an earlier error."""
    try:
        s.run.keep_json("snapshot_after.json", s.station.snapshot())
    except INTERRUPTS:
        raise
    except BaseException as error:  # a lab's own driver may raise anything
        s.display.say(f"snapshot_after.json is not written: {described(error)}")


def _record(s: Session, registry: Registry) -> SourceRecord:
    now = datetime.now(UTC)
    n, g2 = s.found["mean_photon_number"], s.found["g2_zero"]
    return make_record(
        [*s.found.values(), *photon_numbers(n, g2)],
        qdchar_version=__version__,
        source=s.station.file.source,
        station=s.station.file.name,
        simulated=any(i.simulated for i in s.station.identities().values()),
        valid_for=timedelta(hours=s.recipe.valid_hours),
        tuning={
            "cavity_fine_V": s.cavity_fine.voltage(),
            "etalon_piezo_V": s.etalon_piezo.voltage(),
            "pump_attenuation_dB": s.pump_attenuator.attenuation(),
            "light_path": s.light_path.selected(),
        },
        raw=s.run.raw_files(),
        problems=s.problems,
        assumptions=tuple(
            preflight.assumed_certificates(s.station, map(registry.__getitem__, s.made))
        ),
        taken_over=[taken for step in s.taken if (taken := _taken_over(step, s, now)).quantities],
        resumed=_times_resumed(s.run.folder),
        valid_until=min(
            (
                _measured(step) + timedelta(hours=hours_allowed(step, s.recipe, registry))
                for step in s.taken
            ),
            default=None,
        ),
    )


def _measured(step: Step) -> datetime:
    assert step.measured is not None  # what has no time is not taken over
    return step.measured


def _taken_over(step: Step, s: Session, now: datetime) -> TakenOver:
    """Say what the record holds of a step; another measurement may have found a quantity anew."""
    return TakenOver(
        measurement=step.name,
        quantities=tuple(e.name for e in step.result.estimates if s.found[e.name] is e),
        run=step.taken_from or s.run.folder.name,
        measured=_measured(step),
        age_hours=round((now - _measured(step)).total_seconds() / 3600.0, 3),
        why="earlier run" if step.taken_from else "resumed",
    )


def _times_resumed(folder: Path) -> list[datetime]:
    return [
        datetime.fromtimestamp(doc["time"], UTC)
        for name, doc in read_log(folder)
        if name == "start" and "resumes" in doc
    ]
