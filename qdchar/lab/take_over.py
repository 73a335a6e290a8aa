"""Quantities of an earlier calibration that are still valid, taken over instead of measured.

How old they may be stands in the declaration of each measurement, and a recipe may change it. They
must be of the same station, the same instruments and the same certificates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qdchar.errors import RecordError, UsageError
from qdchar.estimate import Estimate
from qdchar.files import read_json
from qdchar.notation import age_text

from .measurement import Registry
from .recipe import Recipe
from .request import Request, read_request
from .resume import BRIGHTNESS, hours_allowed, instruments, relative_change
from .run import Step, read_step
from .session import Session
from .station import Station
from .station_file import StationFile, read_station_file


@dataclass(frozen=True)
class Earlier:
    """What an earlier run offers.

    Attributes
    ----------
    steps
        The newest result of each measurement that may be taken over.
    left
        Measurement to the reason why its result is not taken over.
    brightness
        As that run found it; None if it did not.
    """

    folder: Path
    station: StationFile
    steps: tuple[Step, ...]
    left: dict[str, str]
    brightness: Estimate | None


def read_earlier(
    folder: Path,
    request: Request,
    recipe: Recipe,
    registry: Registry,
    now: datetime | None = None,
) -> Earlier:
    """Read what may be taken over from a run, by age and problems.

    Parameters
    ----------
    request
        What the present calibration was asked for: an earlier run of the simulated lab must be of
        the same simulated lab.

    Raises
    ------
    RecordError
        If the folder is not a run of a calibration, or nothing in it may be taken over.
    UsageError
        If it is the run of another simulated lab, or of another version.
    """
    now = now or datetime.now(UTC)
    theirs = read_request(folder)
    lab, other = ((r.station is None, r.seed, r.settings, r.faults) for r in (request, theirs))
    if (request.station is None or theirs.station is None) and lab != other:
        raise UsageError(
            f"--take-over {folder}: that run is of another lab: it has "
            f"{_lab_text(theirs)}, this one has {_lab_text(request)}"
        )
    newest: dict[str, Step] = {}
    left: dict[str, str] = {}
    for file in sorted((folder / "results").glob("*.json")):
        try:
            step = read_step(file)
        except RecordError:
            left[file.stem.partition("_")[2]] = f"{file.name} is damaged"
            continue
        newest[step.name] = step
    brightness = newest.get("brightness")
    steps = []
    for name, step in newest.items():
        if name in registry and registry[name].take_over_hours is not None:
            source = step if step.taken_from else _from(step, folder.name)
            if why := _not_allowed(source, recipe, registry, now):
                left[name] = why
            else:
                steps.append(source)
    if not steps:
        reasons = "; ".join(f"{name}: {why}" for name, why in left.items())
        raise RecordError(f"--take-over {folder}: nothing of it may be taken over: {reasons}")
    return Earlier(
        folder,
        read_station_file(folder / "station.toml"),
        tuple(steps),
        left,
        None if brightness is None else brightness.result[BRIGHTNESS],
    )


def _lab_text(request: Request) -> str:
    if request.station is not None:
        return f"the station {request.station}"
    given = " ".join((*request.settings, *request.faults))
    return f"the simulated lab of seed {request.seed} {given}".rstrip()


def _from(step: Step, run: str) -> Step:
    raw = tuple(f"../{run}/{file}" for file in step.raw)
    return Step(step.name, step.title, step.result, raw, step.measured, run)


def _not_allowed(step: Step, recipe: Recipe, registry: Registry, now: datetime) -> str:
    if step.result.problems:
        return "it had a problem"
    if step.measured is None or step.measured > now:
        return "the time of its measurement is not known, or lies in the future"
    age_h = (now - step.measured).total_seconds() / 3600.0
    limit_h = hours_allowed(step, recipe, registry)
    if limit_h == 0.0:
        return "only a recipe may allow it, in take_over_hours"
    return "" if age_h <= limit_h else f"it is {age_h:.1f} h old, and may be {limit_h:g} h"


def take(s: Session, earlier: Earlier, registry: Registry, plan: Iterable[str]) -> None:
    """Take over what the plan needs, keep it in this run's results, and say so.

    Raises
    ------
    UsageError
        If the run is of another station or source; nothing was moved.
    """
    ours = s.station.file
    if (ours.name, ours.source) != (earlier.station.name, earlier.station.source):
        raise UsageError(
            f"--take-over {earlier.folder}: that run is of the station {earlier.station.name} and "
            f"the source {earlier.station.source}; this is {ours.name} and {ours.source}"
        )
    now = datetime.now(UTC)
    made = set(s.made)
    # the cavity tuning makes the dead time, which no plan names
    wanted = {*plan, *(n for n, m in registry.items() if m.calibration == "on request")}
    for step in earlier.steps:
        if step.name in made or step.name not in wanted:
            continue
        reasons = list(_other_conditions(s.station, earlier, registry, step.name))
        if registry[step.name].at_pi_pulse and earlier.brightness is None:
            reasons.append("that run has no brightness to compare with")
        if reasons:
            s.display.say(f"{step.title}: not taken over: {'; '.join(reasons)}")
            continue
        assert step.measured is not None
        hours = (now - step.measured).total_seconds() / 3600.0
        s.display.say(f"{step.title}: taken over")
        s.run.keep_step(step)
        s.take_over(step, f"of the run {step.taken_from}, {age_text(hours)} old")
    for name, why in earlier.left.items():
        s.display.say(f"{s.title(name)}: not taken over: {why}")


def _other_conditions(
    station: Station, earlier: Earlier, registry: Registry, name: str
) -> Iterator[str]:
    """Name certificates and instruments of a measurement that are not those of the earlier run."""
    measurement = registry[name]
    now, then = station.file.calibrations, earlier.station.calibrations
    for certificate in dict.fromkeys([*now, *then]):
        if measurement.takes_certificate(certificate) and (
            now.get(certificate) != then.get(certificate)
        ):
            yield f"the certificate {certificate} is another one"
    file = earlier.folder / "instruments.json"
    known = read_json(file) if file.exists() else {}
    present = instruments(station)
    for role in measurement.all_roles:
        if role in present and known.get(role) != present[role]:
            yield f"{role} was {known.get(role, 'not named')} and is {present[role]} now"


def compare_brightness(s: Session, earlier: Earlier, registry: Registry) -> None:
    """State a problem if the source's light is not that on which taken quantities rest."""
    resting = [
        step.title for step in s.taken if registry[step.name].at_pi_pulse and step.taken_from
    ]
    if not resting or earlier.brightness is None or BRIGHTNESS not in s.found:
        return
    change, _ = relative_change(earlier.brightness, s.found[BRIGHTNESS])
    limit = s.recipe.max_brightness_change
    if abs(change) > limit:
        problem = (
            f"the brightness changed by {100.0 * change:+.1f} % since the run "
            f"{earlier.folder.name}, at most {100.0 * limit:g} % is allowed for taking over: "
            f"{', '.join(resting)}; calibrate without --take-over"
        )
        s.problems.append(problem)
        s.display.say(f"    PROBLEM: {problem}")
