"""Lifetime: time tags of the emission, and of the instrument response at the same count rate.

Measures one recording of the source and one of the pump laser, with the same fibres and detectors.
Moves the pump attenuator and the light path. Leaves the attenuator where it was before, and the
light path at ``before``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from qdchar.errors import InconclusiveError
from qdchar.files import PathLike
from qdchar.raw_data import About, Progress, Settings, TagRun, silent
from qdchar.roles import Attenuator, LightPath, TimeTagger

from ._scan import total_rate
from ._tags import record, run_about

RATE_TOLERANCE = 0.05
"""Largest relative difference between the count rates of the response and of the emission."""

ATTEMPTS = 10
"""Largest number of count-rate readings while the laser is adjusted."""

MAX_BRIGHTENING_DB = 10.0
"""How far to open the attenuator in one step [dB]: bright light saturates the detectors."""


class LifetimeSettings(Settings):
    """How long to record.

    Attributes
    ----------
    emission_s, response_s
        Durations of the recordings of the emission and of the response [s].
    probe_s
        Counting time of each count-rate reading [s].
    """

    emission_s: float = Field(0.2, gt=0)
    response_s: float = Field(0.2, gt=0)
    probe_s: float = Field(0.02, gt=0)


@dataclass(frozen=True)
class Decay:
    """Time tags of the emission and of the instrument response."""

    emission: TagRun
    response: TagRun


def dwell_s(settings: LifetimeSettings) -> float:
    """Return the counting and recording time [s], without moves and re-locks.

    It includes one count-rate reading of the emission and one of the laser. Adjusting the laser
    takes up to nine more readings of `probe_s` each; how many is not known before.
    """
    return settings.emission_s + settings.response_s + 2.0 * settings.probe_s


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    tagger: TimeTagger,
    folder: PathLike,
    settings: LifetimeSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Decay:
    """Record the emission, then the pump laser through the same path at the same count rate.

    The timing response of a superconducting detector depends on its count rate. The laser is
    therefore attenuated until both rates agree within 5 %.

    Parameters
    ----------
    relock
        Locks the cavity to its resonance again; called before and after the recording of the
        emission.

    Raises
    ------
    InconclusiveError
        If the attenuator cannot bring the laser to the count rate of the emission.
    """
    folder = Path(folder)
    relock()
    light_path.select("before")
    wanted = total_rate(tagger.count(settings.probe_s))
    about = run_about("lifetime", "before", tagger, settings.emission_s)
    emission = record(tagger, folder / "lifetime_emission.h5", settings.emission_s, about, progress)
    relock()
    about = run_about("lifetime", "laser", tagger, settings.response_s)
    response = record_response(
        light_path,
        pump_attenuator,
        tagger,
        folder / "lifetime_response.h5",
        about,
        duration_s=settings.response_s,
        wanted_Hz=wanted,
        probe_s=settings.probe_s,
        progress=progress,
    )
    return Decay(emission, response)


def record_response(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    tagger: TimeTagger,
    file: Path,
    about: About,
    *,
    duration_s: float,
    wanted_Hz: float,
    probe_s: float,
    progress: Progress = silent,
) -> TagRun:
    """Record the pump laser at a count rate; then put the attenuation and path ``before`` back.

    Parameters
    ----------
    wanted_Hz
        Count rate of both detectors together [1/s], which the laser has to have within 5 %.
    probe_s
        Counting time of each count-rate reading [s].

    Raises
    ------
    InconclusiveError
        If the attenuator cannot bring the laser to that count rate.
    """
    attenuation_before_dB = pump_attenuator.attenuation()
    try:
        light_path.select("laser")
        _match_rate(pump_attenuator, tagger, wanted_Hz, probe_s)
        return record(tagger, file, duration_s, about, progress)
    finally:
        pump_attenuator.set_attenuation(attenuation_before_dB)
        light_path.select("before")


def _match_rate(
    pump_attenuator: Attenuator, tagger: TimeTagger, wanted_Hz: float, probe_s: float
) -> None:
    low, high = pump_attenuator.limits_dB
    for _ in range(ATTEMPTS):
        seen = total_rate(tagger.count(probe_s))
        if abs(seen / wanted_Hz - 1.0) <= RATE_TOLERANCE:
            return
        change = 10.0 * math.log10(max(seen, 1.0 / probe_s) / wanted_Hz)
        target = pump_attenuator.attenuation() + max(-MAX_BRIGHTENING_DB, change)
        if not low <= target <= high:
            break
        pump_attenuator.set_attenuation(target)
    raise InconclusiveError(
        f"lifetime: the laser has to give {1e-6 * wanted_Hz:.3g} Mcps, like the emission, but it "
        f"gives {1e-6 * seen:.3g} Mcps at {pump_attenuator.attenuation():.1f} dB; the limits of "
        f"the attenuator are {low:g} to {high:g} dB. Change the fixed attenuation in the laser path"
    )
