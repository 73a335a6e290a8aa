"""Go on with a calibration that was broken off: killed, or ended by a power cut or an error.

What was complete and has no problem is taken over; a measurement that was under way is made again.
Before that, cavity, pump and etalon are brought back to where they were, and the brightness is
measured once more: quantities from before and after the interruption belong to one record only if
the source is the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qdchar import protocols
from qdchar.errors import InconclusiveError, LockLostError, RecordError, UsageError
from qdchar.estimate import Estimate
from qdchar.files import read_json
from qdchar.notation import age_text, concise
from qdchar.protocols.cavity import CavitySettings
from qdchar.protocols.etalon import EtalonSettings

from .measurement import Registry
from .outcome import is_finished
from .recipe import Recipe
from .run import Step, read_step
from .session import Session
from .session_state import SessionState, read_state
from .station import Station

BRIGHTNESS = "collection_efficiency"


@dataclass(frozen=True)
class Unfinished:
    """A calibration that was broken off.

    Attributes
    ----------
    steps
        What is taken over, in the order in which it was measured.
    left
        Measurement to the reason why its results are not taken over.
    state
        What its session has seen of the light.
    first_brightness
        The first brightness of the run, with which a new one is compared.
    """

    folder: Path
    steps: tuple[Step, ...]
    left: dict[str, str]
    state: SessionState
    first_brightness: Estimate | None


def read_unfinished(
    folder: Path, registry: Registry, recipe: Recipe, now: datetime | None = None
) -> Unfinished:
    """Read what a calibration that was broken off left, and choose what is still valid.

    Raises
    ------
    UsageError
        If the calibration is finished.
    RecordError
        If a result is older than the recipe's ``valid_hours``.
    """
    now = now or datetime.now(UTC)
    if is_finished(folder):
        raise UsageError(
            f"{folder}: this calibration is finished; `qdchar report {folder}` shows it, and a new "
            "one is started without --resume"
        )
    steps, left = _complete_steps(folder, registry)
    first = next((s.result[BRIGHTNESS] for s in steps if s.name == "brightness"), None)
    newest = {step.name: step for step in steps}
    for name, step in list(newest.items()):
        why = _not_valid(step, recipe, registry, now, folder)
        if why:
            left[name] = why
            del newest[name]
    _drop_what_rests_on_others(newest, left, registry)
    if "cavity" in newest and "rabi" not in newest:
        left["cavity"] = "there is no pi pulse at which the tuning could be checked"
        del newest["cavity"]
        _drop_what_rests_on_others(newest, left, registry)
    try:
        state = read_state(folder)
    except RecordError as error:
        state = SessionState()
        left["session.json"] = f"the light before the interruption is not compared: {error}"
    return Unfinished(folder, tuple(newest.values()), left, state, first)


def _complete_steps(folder: Path, registry: Registry) -> tuple[list[Step], dict[str, str]]:
    """Read the results in the order in which they were kept; set damaged files aside."""
    steps: list[Step] = []
    left: dict[str, str] = {}
    for file in sorted((folder / "results").glob("*.json")):
        try:
            step = read_step(file)
        except RecordError:
            left[file.stem.partition("_")[2]] = f"{file.name} is damaged"
            file.rename(file.with_name(f"{file.name}.damaged"))
            continue
        if step.name in registry:
            steps.append(step)
    return steps, left


def _not_valid(step: Step, recipe: Recipe, registry: Registry, now: datetime, folder: Path) -> str:
    """Say why a step cannot be taken over; empty if it can."""
    if step.result.problems:
        return "it had a problem"
    if step.measured is None or step.measured > now + timedelta(minutes=1):
        return "the time of its measurement is not known, or lies in the future"
    age_h = (now - step.measured).total_seconds() / 3600.0
    limit_h = hours_allowed(step, recipe, registry)
    if age_h <= limit_h:
        return ""
    if step.taken_from:
        return f"it is {age_h:.1f} h old, and may be {limit_h:g} h"
    raise RecordError(
        f"{folder}: too old to be resumed: {registry[step.name].title} was measured "
        f"{age_h:.1f} h ago, and the recipe's valid_hours are {limit_h:g}; start a new calibration"
    )


def hours_allowed(step: Step, recipe: Recipe, registry: Registry) -> float:
    """Return how old a step may be [h]."""
    if not step.taken_from:
        return recipe.valid_hours
    declared = registry[step.name].take_over_hours or 0.0
    return recipe.take_over_hours.get(step.name, declared)


def _drop_what_rests_on_others(
    newest: dict[str, Step], left: dict[str, str], registry: Registry
) -> None:
    """Drop every step that needs a quantity or a recording that is not taken over itself."""
    while True:
        known = {e.name for step in newest.values() for e in step.result.estimates}
        for name in newest:
            measurement = registry[name]
            missing = [q for q in measurement.all_needs if q not in known]
            missing += [m for m in measurement.same_run if m not in newest]
            if missing:
                left[name] = f"it rests on {missing[0]}, which is measured again"
                del newest[name]
                break
        else:
            return


def refuse_other_instruments(station: Station, folder: Path) -> None:
    """Refuse to go on with other instruments than those that the run began with.

    Raises
    ------
    UsageError
        Names each role whose instrument is another one.
    """
    file = folder / "instruments.json"
    if not file.exists():
        return  # it ended before an instrument was asked
    then, now = read_json(file), instruments(station)
    others = [
        f"{role} was {then[role]} and is {name} now"
        for role, name in now.items()
        if role in then and then[role] != name
    ]
    if others:
        raise UsageError(
            f"{folder}: this is another station, nothing was moved: {'; '.join(others)}. Start a "
            "new calibration"
        )


def instruments(station: Station) -> dict[str, str]:
    """Name the instrument of each role: vendor, model, serial number."""
    return {role: f"{i.vendor} {i.model} {i.serial}" for role, i in station.identities().items()}


def go_on(s: Session, unfinished: Unfinished) -> None:
    """Take over what is valid, tune the station again, and check that the light is the same.

    Raises
    ------
    InconclusiveError
        If it is not the same light.
    """
    now = datetime.now(UTC)
    for step in unfinished.steps:
        assert step.measured is not None
        hours = (now - step.measured).total_seconds() / 3600.0
        s.display.say(f"{step.title}: taken over")
        source = f"of the run {step.taken_from}, " if step.taken_from else ""
        s.take_over(step, f"{source}{age_text(hours)} old")
    for name, why in unfinished.left.items():
        s.display.say(f"{s.title(name)}: not taken over: {why}")
    if "pi_power" not in s.found:
        return
    s.go_on_from(unfinished.state)
    _tune_again(s)
    if "etalon" in s.made:
        _park_etalon(s)
    compare_with_before(s, unfinished.first_brightness)


def _tune_again(s: Session) -> None:
    """Bring pump and cavity back, and compare the light at the lock with that of before."""
    settings = s.recipe.table("cavity", CavitySettings)
    s.light_path.select("before")
    s.pump_attenuator.open_shutter()
    where_V = s.found["cavity_resonance_voltage"].value
    doubts: Iterable[str] = ("the piezo was not at its resonance",)
    if abs(s.cavity_fine.voltage() - where_V) <= settings.window_V:
        s.set_pump_to_pi()
        try:
            s.relock_cavity()
            doubts = s.light.take_doubts()
        except LockLostError as error:
            doubts = (str(error),)
    if doubts:
        s.display.say(f"cavity: tuned again: {'; '.join(doubts)}")
        with s.run.another_attempt("tuned_again"):
            s.make("cavity")
            s.set_pump_to_pi()
            s.relock_cavity()
        doubts = s.light.take_doubts()
    if doubts:
        raise InconclusiveError(_refusal("; ".join(doubts)))


def _park_etalon(s: Session) -> None:
    file = s.run.raw / "etalon_park.csv"
    try:
        protocols.etalon.park(
            s.light_path,
            s.etalon_piezo,
            s.tagger,
            file,
            s.recipe.table("etalon", EtalonSettings),
            s.found["etalon_peak_voltage"].value,
        )
    except LockLostError as error:
        s.display.say(f"etalon: scanned again: {error}")
        with s.run.another_attempt("etalon_again"):
            s.make("etalon")


def compare_with_before(s: Session, before: Estimate | None) -> None:
    """Measure the brightness, and refuse to go on if it moved.

    Raises
    ------
    InconclusiveError
        If it changed by more than the recipe's ``max_brightness_change``, or has a problem.
    """
    if before is None:
        s.display.say(
            "the brightness was not measured before the interruption: the light at the cavity "
            "lock alone was compared"
        )
        return
    result = s.make("brightness")
    if result.problems:
        raise InconclusiveError(_refusal("; ".join(result.problems)))
    change, u = relative_change(before, result[BRIGHTNESS])
    limit = s.recipe.max_brightness_change
    text = f"the brightness changed by {concise(100.0 * change, 100.0 * u)} %"
    if abs(change) > limit:
        raise InconclusiveError(_refusal(f"{text}, at most {100.0 * limit:g} % is allowed"))
    s.display.say(f"{text} since the interruption; at most {100.0 * limit:g} % is allowed")


def relative_change(before: Estimate, after: Estimate) -> tuple[float, float]:
    """Return the relative change of a quantity and its standard uncertainty.

    Only statistical uncertainties (type A) count: what certificates contribute is common to both.
    """
    u = math.hypot(*(e.u_statistical / e.value for e in (before, after)))
    return after.value / before.value - 1.0, u


def _refusal(reason: str) -> str:
    return (
        "resume: quantities from before and after the interruption do not belong to one record; "
        f"start a new calibration. The source is not what it was: {reason}"
    )
