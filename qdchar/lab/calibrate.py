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
from qdchar.roles import Attenuator, VoltageAxis

from .display import Display
from .outcome import keep_outcome, predict_and_judge
from .recipe import Recipe
from .run import Run
from .session import MEASUREMENTS, Session
from .station import Station
from .verdict import Verdict

TUNING = ("dark", "cavity", "rabi")
AT_PI = ("lifetime", "etalon", "hbt_before", "brightness", "transmitter", "hbt_after", "gate")
"""What every calibration measures, in this order: the latter with the pump at the pi pulse."""

OPTIONAL = ("detector_efficiency", "misalignment", "phase", "hom")
"""Measurements for which not every station has the instruments or certificates."""

BY_THEMSELVES = ("phase", "hom")
"""No other figure and no key rate rests on these: a source too faint for them is no problem."""


@dataclass(frozen=True)
class Calibration:
    """What a calibration ends with."""

    record: SourceRecord
    rate: KeyRate
    verdict: Verdict


def calibrate(
    station: Station, run: Run, recipe: Recipe, link: Link, display: Display
) -> Calibration:
    """Run the whole calibration on an open station.

    Parameters
    ----------
    station
        Open; on the way out its policies decide what stays tuned.
    run
        Open run folder.

    Returns
    -------
    Calibration
        Also written to the run folder as ``record.json``, ``keyrate.json`` and ``verdict.json``.

    Raises
    ------
    QdcharError
        As the measurements do; whatever was measured until then is on disk. Missing certificates
        and ranges beyond the station's limits are told before anything moves.

    Notes
    -----
    The order is forced by the physics. The pi pulse needs a tuned cavity; the transmitter needs its
    etalon parked on the line; and the cavity creeps, so the loop on its light is closed again
    before each measurement that depends on it.
    """
    session = Session(station, run, recipe, display, link)
    for name in (*TUNING, *AT_PI):
        MEASUREMENTS[name].check(station)
    _check_ranges(session)
    run.keep_json("snapshot_before.json", station.snapshot())
    try:
        for name in TUNING:
            session.make(name)
        session.pump_at_pi()
        for name in AT_PI:
            session.make(name)
        for name in OPTIONAL:
            _make_optional(session, name)
        session.light.select("after")  # as a key exchange wants it
    finally:
        _keep_snapshot(session)
    record = _record(session)
    record.write(run.folder / "record.json")
    rate, verdict = predict_and_judge(record, link, recipe)
    keep_outcome(run, rate, verdict)
    return Calibration(record, rate, verdict)


def _make_optional(s: Session, name: str) -> None:
    """Make a measurement that not every lab can; what was measured before is not lost with it."""
    if missing := MEASUREMENTS[name].missing(s.station):
        s.display.say(f"{name}: left out, the station file has no {missing}")
        return
    try:
        s.make(name)
    except InconclusiveError as error:
        s.display.say(f"    NOT MEASURED: {error}")
        if name not in BY_THEMSELVES:
            s.problems.append(f"{MEASUREMENTS[name].title}: not measured: {error}")


def _check_ranges(s: Session) -> None:
    """Hold every range of the recipe against the station's limits, before anything moves.

    The instruments are looked at without being taken, so that a refusal leaves them as they are.
    """
    look, recipe = s.station.look, s.recipe
    cavity, etalon = look("cavity_fine", VoltageAxis), look("etalon_piezo", VoltageAxis)
    for settings, axis in ((recipe.cavity, cavity), (recipe.etalon, etalon)):
        axis.check(*(v for v in (settings.start_V, settings.stop_V) if v is not None))
    if not MEASUREMENTS["phase"].missing(s.station):
        phase = look("interferometer_phase", VoltageAxis)
        phase.check(recipe.phase.start_V, recipe.phase.stop_V)
    look("pump_attenuator", Attenuator).check(recipe.rabi.lowest_dB)


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
            "cavity_fine_V": s.cavity.voltage(),
            "etalon_piezo_V": s.etalon.voltage(),
            "pump_attenuation_dB": s.pump.attenuation(),
            "light_path": s.light.selected(),
        },
        raw=s.run.raw_files(),
        problems=s.problems,
    )
