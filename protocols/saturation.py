"""Saturation scan: count rate against the pump power, for a dot that is pumped above resonance.

A resonant pulse rotates the state of the dot. Light above the resonance creates carriers, and the
dot captures them: the count rate rises with the power and then levels off. Measures the clicks of
both detectors against the mean reading of the pump power monitor, at powers that are evenly spaced
on a logarithmic scale. Moves the pump attenuator. Leaves it where it was before, with its shutter
open, and the light path at ``before``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, Settings, silent
from qdchar.roles import Attenuator, Counts, LightPath, PowerMeter, TimeTagger

from ._scan import ScanLoop, scan_about
from .pump import mean_power, require_light, zeroed


class SaturationSettings(Settings):
    """Range and density of the scan.

    Attributes
    ----------
    lowest_dB
        Lowest attenuation, at which the sample sees most light [dB].
    span_dB
        How far above `lowest_dB` the scan begins [dB]; less where the attenuator's upper limit is
        closer.
    points
        Number of points, upward and downward together.
    dwell_s
        Counting time per point [s].
    readings
        Readings of the power monitor that are averaged at each point.
    reading_u_rel
        Relative standard uncertainty of one reading of the power monitor.
    pumping
        Which law the analysis fits, see `qdchar.analysis.saturation.filling`.
    """

    lowest_dB: float = Field(0.0, ge=0)
    span_dB: float = Field(25.0, gt=0)
    points: int = Field(50, ge=10)
    dwell_s: float = Field(0.02, gt=0)
    readings: int = Field(4, ge=1)
    reading_u_rel: float = Field(0.005, ge=0, lt=1)
    pumping: Literal["pulsed", "continuous"] = "pulsed"


def sweep_range(
    settings: SaturationSettings, limits_dB: tuple[float, float]
) -> tuple[float, float]:
    """Return the range of attenuations of the scan [dB], the brightest first.

    Parameters
    ----------
    limits_dB
        Limits of the pump attenuator [dB].
    """
    return settings.lowest_dB, min(settings.lowest_dB + settings.span_dB, limits_dB[1])


def dwell_s(settings: SaturationSettings) -> float:
    """Return the counting time of the scan [s], without moves and power readings."""
    return settings.points * settings.dwell_s


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
    file: PathLike,
    settings: SaturationSettings,
    progress: Progress = silent,
) -> Scan:
    """Scan the pump power upward with every second point, downward with the others.

    The abscissa is the mean reading of the power monitor at each point, less its zero, not the
    setting of the attenuator. Because the scan goes up and down, a drift of the brightness cannot
    be taken for a saturation.

    Returns
    -------
    Scan
        Against ``power_W``, the mean reading of the power monitor less its zero [W].

    Raises
    ------
    RefusedError
        If the limits of the attenuator do not allow the range; nothing was moved.
    InconclusiveError
        If the power monitor sees no light.
    """
    file = Path(file)
    brightest_dB, faintest_dB = sweep_range(settings, pump_attenuator.limits_dB)
    pump_attenuator.check(brightest_dB, faintest_dB)

    def measure_point(attenuation_dB: float) -> tuple[float, Counts]:
        pump_attenuator.set_attenuation(attenuation_dB)
        power_W = mean_power(monitor, settings.readings)
        return power_W, tagger.count(settings.dwell_s)

    rising = np.linspace(faintest_dB, brightest_dB, settings.points)
    up_and_down = np.concatenate([rising[::2], rising[1::2][::-1]])
    attenuation_before_dB = pump_attenuator.attenuation()
    try:
        light_path.select("before")
        pump_attenuator.set_attenuation(faintest_dB)
        monitor = zeroed(pump_attenuator, pump_power)
        pump_attenuator.open_shutter()
        require_light(monitor)
        about = scan_about("saturation", "before", tagger, settings, channels=2, **monitor.settings)
        with ScanLoop(file, "power_W", about, len(up_and_down), progress) as loop:
            loop.measure(up_and_down, measure_point)
    finally:
        pump_attenuator.set_attenuation(attenuation_before_dB)
    return loop.scan()
