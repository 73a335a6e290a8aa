"""Detector efficiency by substitution: a laser of known power in place of the source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import Attenuator, LightPath, PowerMeter, TimeTagger

from ._peak_lock import total_rate
from .pump import mean_power, set_power


class DetectorEfficiencySettings(Settings):
    """Range of monitor powers, and how long to count at each.

    Attributes
    ----------
    lowest_W, highest_W
        Monitor powers [W]; behind the path's attenuation a few hundredths to some tenths of a
        photon per pulse, where the detectors neither starve nor saturate.
    readings
        Monitor readings averaged per point.
    reading_u_rel
        Relative noise of one monitor reading.
    """

    lowest_W: float = Field(0.5e-9, gt=0)
    highest_W: float = Field(3e-9, gt=0)
    points: int = Field(5, ge=3)
    dwell_s: float = Field(0.05, gt=0)
    readings: int = Field(25, ge=2)
    reading_u_rel: float = Field(0.005, gt=0, lt=1)


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
    file: Path,
    settings: DetectorEfficiencySettings,
    progress: Progress = silent,
) -> Scan:
    """Count the laser's photons at several powers, from dark to bright; then put the pump back.

    The attenuator is closed as far as it goes before the laser reaches the detectors. At each
    point the power is read afresh once it is set, so that the readings that ended the setting do
    not choose themselves.

    Returns
    -------
    Scan
        Against ``power_W``, the mean monitor reading [W].

    Raises
    ------
    RefusedError
        If the attenuator's limits do not allow the range; nothing was moved beyond them.
    InconclusiveError
        If the monitor does not follow the attenuator.
    """
    about = About(
        protocol="detector_efficiency",
        path="laser",
        simulated=tagger.identify().simulated,
        settings=settings.model_dump(),
    )
    powers = np.geomspace(settings.lowest_W, settings.highest_W, settings.points)
    pump_dB = pump_attenuator.attenuation()
    try:
        pump_attenuator.set_attenuation(pump_attenuator.limits_dB[1])
        light_path.select("laser")
        pump_attenuator.open_shutter()
        with ScanWriter(file, "power_W", about) as scan:
            for k, wanted in enumerate(powers):
                set_power(pump_attenuator, pump_power, float(wanted))
                power = mean_power(pump_power, settings.readings)
                counts = tagger.count(settings.dwell_s)
                scan.add(power, counts)
                progress(k + 1, len(powers), f"{power:.3g} W, {total_rate(counts):.3g} clicks/s")
    finally:
        light_path.select("before")
        pump_attenuator.set_attenuation(pump_dB)
    return scan.scan()
