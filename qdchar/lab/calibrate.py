"""The main job: tune the source, measure it, predict its key rate, judge it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from qdchar import __version__
from qdchar.analysis.brightness import photon_numbers
from qdchar.errors import InconclusiveError, QdcharError
from qdchar.keyrate import KeyRate
from qdchar.link import Link
from qdchar.record import SourceRecord, make_record

from . import preflight
from .display import Display
from .measurement import Registry
from .outcome import keep_outcome, predict_and_judge
from .recipe import Recipe
from .run import Run
from .session import Session
from .station import Station
from .verdict import Verdict


@dataclass(frozen=True)
class Calibration:
    """What a calibration ends with."""

    record: SourceRecord
    rate: KeyRate
    verdict: Verdict


def calibrate(
    station: Station,
    run: Run,
    recipe: Recipe,
    link: Link,
    display: Display,
    registry: Registry,
) -> Calibration:
    """Run the whole calibration on an open station.

    Parameters
    ----------
    station
        Open; on the way out its policies decide what stays tuned.
    run
        Open run folder.
    registry
        The measurements that the station knows, in the order in which they are made.

    Returns
    -------
    Calibration
        Also written to the run folder as ``record.json``, ``keyrate.json`` and ``verdict.json``.

    Raises
    ------
    QdcharError
        As the measurements do; whatever was measured until then is on disk. What can be refused
        is refused before the first instrument moves, see `preflight.check`.
    """
    plan = preflight.plan_calibration(station, registry)
    preflight.check(station, registry, recipe, plan.measurements, folder=run.folder, link=link)
    for name, reason in plan.left_out.items():
        display.say(f"{name}: left out: {reason}")
    session = Session(station, run, recipe, display, registry, link)
    run.keep_json("snapshot_before.json", station.snapshot())
    try:
        for name in plan.measurements:
            if name not in session.made:
                _make(session, registry, name)
        session.light_path.select("after")  # as a key exchange wants it
    finally:
        _keep_snapshot(session)
    record = _record(session)
    record.write(run.folder / "record.json")
    rate, verdict = predict_and_judge(record, link, recipe)
    keep_outcome(run, rate, verdict)
    return Calibration(record, rate, verdict)


def _make(s: Session, registry: Registry, name: str) -> None:
    """Make one measurement; an optional one that finds nothing does not cost the others."""
    measurement = registry[name]
    try:
        s.make(name)
    except InconclusiveError as error:
        if measurement.calibration == "always":
            raise
        s.display.say(f"    NOT MEASURED: {error}")
        if measurement.used_by_key_rate:
            s.problems.append(f"{measurement.title}: not measured: {error}")


def _keep_snapshot(s: Session) -> None:
    """Write down how the station was left; a dead instrument must not hide the first error."""
    try:
        s.run.keep_json("snapshot_after.json", s.station.snapshot())
    except QdcharError as error:
        s.display.say(f"no snapshot: {error}")


def _record(s: Session) -> SourceRecord:
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
    )
