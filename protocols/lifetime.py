"""Lifetime: the emission and the instrument response, at one count rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from qdchar.errors import InconclusiveError
from qdchar.raw_data import About, Progress, Settings, TagRun, silent
from qdchar.roles import Attenuator, LightPath, TimeTagger

from ._peak_lock import total_rate
from ._tags import record, run_about

RATE_TOLERANCE = 0.05
ATTEMPTS = 10


class LifetimeSettings(Settings):
    """How long to record the emission and the response."""

    emission_s: float = Field(0.2, gt=0)
    response_s: float = Field(0.2, gt=0)
    probe_s: float = Field(0.02, gt=0)


@dataclass(frozen=True)
class Decay:
    """The two recordings of a lifetime."""

    emission: TagRun
    response: TagRun


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    tagger: TimeTagger,
    folder: Path,
    settings: LifetimeSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Decay:
    """Record the emission, then the pump laser through the same path at the same count rate.

    The response of a superconducting detector depends on its count rate, so the laser is
    attenuated until the rates agree within 5 %; then the attenuation is put back.

    Parameters
    ----------
    relock
        Called before and after the recording of the emission, to keep the source tuned and to see
        how far off it was.

    Raises
    ------
    InconclusiveError
        If the laser cannot be brought to the emission's count rate.
    """
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
    """Record the pump laser at a count rate; attenuation and path ``before`` are put back.

    Parameters
    ----------
    wanted_Hz
        Count rate of both detectors together, to be met within 5 % [1/s].
    probe_s
        Counting time for each look at the rate [s].

    Raises
    ------
    InconclusiveError
        If the laser cannot be brought to that count rate.
    """
    pump_dB = pump_attenuator.attenuation()
    try:
        light_path.select("laser")
        _match_rate(pump_attenuator, tagger, wanted_Hz, probe_s)
        return record(tagger, file, duration_s, about, progress)
    finally:
        pump_attenuator.set_attenuation(pump_dB)
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
        # in the path of a bright laser the detectors saturate: never brighten by leaps
        target = pump_attenuator.attenuation() + max(-10.0, change)
        if not low <= target <= high:
            break
        pump_attenuator.set_attenuation(target)
    raise InconclusiveError(
        f"lifetime: the laser path gives {seen:.3g} clicks/s at "
        f"{pump_attenuator.attenuation():.1f} dB, the emission "
        f"{wanted_Hz:.3g}; the response has to be taken at the same rate. Change the "
        f"fixed attenuation in the laser path ({low:g} to {high:g} dB are in reach here)"
    )
