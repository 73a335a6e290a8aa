"""Rabi scan: count rate against the pump power, for the power of a pi pulse.

Measures the clicks of both detectors against the mean reading of the pump power monitor. Moves the
pump attenuator between its upper limit and `lowest_dB`. Leaves the attenuator at the last point of
the scan with its shutter open, and the light path at ``before``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, Settings, silent
from qdchar.roles import Attenuator, Counts, LightPath, PowerMeter, TimeTagger

from ._scan import ScanLoop, scan_about, total_rate
from .pump import mean_power, require_response, zeroed


class RabiSettings(Settings):
    """Range and density of the scan.

    Attributes
    ----------
    lowest_dB
        Lowest attenuation, at which the sample sees most light [dB].
    survey_points
        Points over the whole range, evenly spaced in pulse area.
    fine_points
        Further points from dark to the first minimum after the pi pulse.
    dwell_s
        Counting time per point [s].
    readings
        Readings of the power monitor that are averaged at each point.
    reading_u_rel
        Relative standard uncertainty of one reading of the power monitor.
    """

    lowest_dB: float = Field(0.0, ge=0)
    survey_points: int = Field(48, ge=12)
    fine_points: int = Field(40, ge=12)
    dwell_s: float = Field(0.01, gt=0)
    readings: int = Field(4, ge=1)
    reading_u_rel: float = Field(0.005, ge=0, lt=1)


def sweep_range(settings: RabiSettings, limits_dB: tuple[float, float]) -> tuple[float, float]:
    """Return the range of attenuations of the scan [dB].

    Parameters
    ----------
    limits_dB
        Limits of the pump attenuator [dB].
    """
    return settings.lowest_dB, limits_dB[1]


def points(settings: RabiSettings) -> int:
    """Return how many points are counted, with those that only look for the brightest."""
    brightness_points = math.ceil(math.ceil(settings.survey_points / 2) / 2)
    return brightness_points + settings.survey_points + settings.fine_points


def dwell_s(settings: RabiSettings) -> float:
    """Return the counting time [s], without moves, power readings and re-locks."""
    return points(settings) * settings.dwell_s


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
    file: PathLike,
    settings: RabiSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Scan:
    """Scan the pump power over the whole range, then from dark to beyond the pi pulse.

    The abscissa is the mean reading of the power monitor at each point, less its zero, not the
    setting of the attenuator. The brightest point marks the pi pulse, because damping makes every
    later maximum lower. Each range is measured upward with every second point and then downward
    with the others, so that a slow drift of the brightness cannot be taken for a dependence on
    power.

    Parameters
    ----------
    relock
        Locks the cavity to its resonance again. Called before each upward and each downward part,
        at the brightest attenuation seen so far. For the first call, some points that are not kept
        are counted over the whole range.

    Returns
    -------
    Scan
        Against ``power_W``, the mean reading of the power monitor less its zero [W].

    Raises
    ------
    RefusedError
        If the limits of the attenuator do not allow the range; nothing was moved.
    InconclusiveError
        If the power monitor does not follow the attenuator; the scan is on disk.
    """
    file = Path(file)
    lowest_dB, highest_dB = sweep_range(settings, pump_attenuator.limits_dB)
    pump_attenuator.check(lowest_dB, highest_dB)
    light_path.select("before")
    pump_attenuator.set_attenuation(highest_dB)
    monitor = zeroed(pump_attenuator, pump_power)
    pump_attenuator.open_shutter()
    about = scan_about("rabi", "before", tagger, settings, channels=2, **monitor.settings)
    seen: list[tuple[float, float]] = []  # click rate [1/s] and attenuation [dB]
    powers: list[tuple[float, float]] = []  # attenuation [dB] and reading [W]

    def count(attenuation_dB: float) -> Counts:
        pump_attenuator.set_attenuation(attenuation_dB)
        counts = tagger.count(settings.dwell_s)
        seen.append((total_rate(counts), attenuation_dB))
        return counts

    def measure_point(attenuation_dB: float) -> tuple[float, Counts]:
        counts = count(attenuation_dB)
        power_W = mean_power(monitor, settings.readings)
        powers.append((attenuation_dB, power_W))
        return power_W, counts

    def relock_and_scan(attenuations_dB: Sequence[float]) -> None:
        _, brightest_dB = max(seen)
        pump_attenuator.set_attenuation(brightest_dB)
        relock()
        loop.measure(attenuations_dB, measure_point)

    up, down = up_and_down(lowest_dB, highest_dB, settings.survey_points)
    points = settings.survey_points + settings.fine_points
    with ScanLoop(file, "power_W", about, points, progress) as loop:
        for attenuation_dB in up[::2]:
            count(attenuation_dB)
        relock_and_scan(up)
        relock_and_scan(down)
        # 1.7 times the pulse area of the brightest point: the next minimum shows the damping
        _, brightest_dB = max(seen)
        top_dB = max(lowest_dB, brightest_dB - 20.0 * math.log10(1.7))
        for attenuations_dB in up_and_down(top_dB, highest_dB, settings.fine_points):
            relock_and_scan(attenuations_dB)
    require_response(powers, settings.reading_u_rel)
    return loop.scan()


def up_and_down(
    lowest_dB: float, highest_dB: float, points: int
) -> tuple[list[float], list[float]]:
    """Return attenuations for increasing power, and those for decreasing power [dB].

    Together they are evenly spaced in pulse area, the square root of the power; the second list
    has the points that the first leaves out.
    """
    faintest = 10.0 ** ((lowest_dB - highest_dB) / 20.0)
    area = np.linspace(max(faintest, 1.0 / points), 1.0, points)
    attenuations = lowest_dB - 20.0 * np.log10(area)
    return attenuations[::2].tolist(), attenuations[1::2][::-1].tolist()
