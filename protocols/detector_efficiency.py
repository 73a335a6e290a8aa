"""Detector efficiency by substitution: a laser of known power in place of the source.

Measures the clicks of both detectors against the mean reading of the pump power monitor, with the
laser on the detectors. Moves the pump attenuator, from its upper limit towards brighter light.
Leaves the attenuator where it was before with its shutter open, and the light path at ``before``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, Settings, silent
from qdchar.roles import Attenuator, Counts, LightPath, PowerMeter, TimeTagger

from ._scan import ScanLoop, scan_about
from .pump import faint_laser, mean_power, set_power, zeroed


class DetectorEfficiencySettings(Settings):
    """Range of powers, and how long to count at each.

    Attributes
    ----------
    lowest_W, highest_W
        Range of powers that the monitor reads [W]. Behind the attenuation of the laser path they
        should give from 0.01 photons per pulse to as many clicks as the source gives: where the
        efficiency depends on the rate, it shows here.
    points
        Number of powers, evenly spaced on a logarithmic scale.
    dwell_s
        Counting time per point [s].
    readings
        Readings of the power monitor that are averaged at each point.
    reading_u_rel
        Relative standard uncertainty of one reading of the power monitor.
    """

    lowest_W: float = Field(0.5e-9, gt=0)
    highest_W: float = Field(10e-9, gt=0)
    points: int = Field(5, ge=3)
    dwell_s: float = Field(0.05, gt=0)
    readings: int = Field(25, ge=2)
    reading_u_rel: float = Field(0.005, gt=0, lt=1)


def dwell_s(settings: DetectorEfficiencySettings) -> float:
    """Return the counting time [s], without moves and power readings."""
    return settings.points * settings.dwell_s


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
    file: PathLike,
    settings: DetectorEfficiencySettings,
    progress: Progress = silent,
) -> Scan:
    """Count the laser's photons at several powers, from the lowest to the highest.

    The attenuator goes to its upper limit before the laser reaches the detectors. At each point
    the power is read again after it has been set: the readings that ended the setting are biased,
    because they were selected for their agreement with the wanted power.

    Returns
    -------
    Scan
        Against ``power_W``, the mean reading of the power monitor less its zero [W].

    Raises
    ------
    RefusedError
        If the limits of the attenuator do not allow a power; it did not move beyond them.
    InconclusiveError
        If the power monitor does not follow the attenuator.
    """
    file = Path(file)

    def measure_point(wanted_W: float) -> tuple[float, Counts]:
        set_power(pump_attenuator, monitor, wanted_W)
        power_W = mean_power(monitor, settings.readings)
        return power_W, tagger.count(settings.dwell_s)

    powers_W = np.geomspace(settings.lowest_W, settings.highest_W, settings.points)
    with faint_laser(light_path, pump_attenuator):
        monitor = zeroed(pump_attenuator, pump_power)
        pump_attenuator.open_shutter()
        about = scan_about("detector_efficiency", "laser", tagger, settings, **monitor.settings)
        with ScanLoop(file, "power_W", about, len(powers_W), progress) as loop:
            loop.measure(powers_W, measure_point)
    return loop.scan()
