"""Rabi scan: count rate against the pump power that the monitor reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import Attenuator, Counts, LightPath, PowerMeter, TimeTagger

from ._peak_lock import total_rate
from .pump import mean_power


class RabiSettings(Settings):
    """Range and density of the scan.

    Attributes
    ----------
    lowest_dB
        Attenuation with the most light that the sample may see [dB].
    survey_points
        Points over the whole range, evenly spaced in pulse area.
    fine_points
        Further points over the first lobe.
    readings
        Monitor readings averaged per point.
    reading_u_rel
        Relative noise of one monitor reading.
    """

    lowest_dB: float = Field(0.0, ge=0)
    survey_points: int = Field(48, ge=12)
    fine_points: int = Field(40, ge=12)
    dwell_s: float = Field(0.01, gt=0)
    readings: int = Field(4, ge=1)
    reading_u_rel: float = Field(0.005, ge=0, lt=1)


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
    file: Path,
    settings: RabiSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Scan:
    """Scan the pump power over all the light there is, then over the first lobe.

    The abscissa is what the monitor reads at each point, not what the attenuator was set to. The
    highest count rate marks the first lobe, because damping lowers all later ones. Either range is
    gone through upwards with every other point and downwards with the rest, so that a slow change
    of the brightness does not look like one with power.

    Parameters
    ----------
    relock
        Called at the brightest power seen so far, before each way, to keep the source tuned. A
        quick look over the range, which is not kept, finds a power for the first.

    Returns
    -------
    Scan
        Against ``power_W``, the mean monitor reading [W].

    Raises
    ------
    RefusedError
        If the attenuator's limits do not allow the range; nothing was moved.
    """
    _, highest_dB = pump_attenuator.limits_dB
    pump_attenuator.check(settings.lowest_dB, highest_dB)
    light_path.select("before")
    pump_attenuator.set_attenuation(highest_dB)
    pump_attenuator.open_shutter()
    about = About(
        protocol="rabi",
        path="before",
        simulated=tagger.identify().simulated,
        settings={**settings.model_dump(), "channels": 2},
    )
    total = settings.survey_points + settings.fine_points
    up, down = up_and_down(settings.lowest_dB, highest_dB, settings.survey_points)
    quick = up[::2]
    with ScanWriter(file, "power_W", about) as scan:
        seen: list[tuple[float, float]] = []  # click rate [1/s] and attenuation [dB]

        def count(attenuation_dB: float) -> Counts:
            pump_attenuator.set_attenuation(attenuation_dB)
            counts = tagger.count(settings.dwell_s)
            seen.append((total_rate(counts), attenuation_dB))
            return counts

        def relock_and_scan(attenuations_dB: Sequence[float]) -> None:
            _, brightest_dB = max(seen)
            pump_attenuator.set_attenuation(brightest_dB)
            relock()
            for a in attenuations_dB:
                counts = count(a)
                power = mean_power(pump_power, settings.readings)
                scan.add(power, counts)
                progress(
                    len(seen) - len(quick),
                    total,
                    f"{power:.3g} W, {total_rate(counts):.3g} clicks/s",
                )

        for a in quick:
            count(a)
        relock_and_scan(up)
        relock_and_scan(down)
        # 1.7 in pulse area: up to the next minimum, where the damping shows
        _, brightest_dB = max(seen)
        top_dB = max(settings.lowest_dB, brightest_dB - 20.0 * math.log10(1.7))
        for way in up_and_down(top_dB, highest_dB, settings.fine_points):
            relock_and_scan(way)
    return scan.scan()


def up_and_down(lowest_dB: float, highest_dB: float, n: int) -> tuple[list[float], list[float]]:
    """Attenuations [dB], evenly spaced in pulse area (root of power): up, and down in between."""
    faintest = 10.0 ** ((lowest_dB - highest_dB) / 20.0)
    area = np.linspace(max(faintest, 1.0 / n), 1.0, n)
    attenuations = lowest_dB - 20.0 * np.log10(area)
    return attenuations[::2].tolist(), attenuations[1::2][::-1].tolist()
