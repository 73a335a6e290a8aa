"""Saturation scan: count rate against the pump power, for a dot that is pumped above its resonance.

Where a resonant pulse rotates the dot, carriers captured from above fill it: the rate rises and
levels off. The scan is therefore even in the logarithm of the power, and goes up and down, so that
a drift during the scan is not taken for a saturation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import Attenuator, LightPath, PowerMeter, TimeTagger

from ._peak_lock import total_rate
from .pump import mean_power


class SaturationSettings(Settings):
    """Range and density of the scan.

    Attributes
    ----------
    lowest_dB
        Attenuation with the most light that the sample may see [dB].
    span_dB
        How far below that the scan begins [dB]; less where the attenuator ends before.
    points
        Of both ways together.
    readings
        Monitor readings averaged per point.
    reading_u_rel
        Relative noise of one monitor reading.
    pumping
        Which law the analysis takes, see `qdchar.analysis.saturation.filling`.
    """

    lowest_dB: float = Field(0.0, ge=0)
    span_dB: float = Field(25.0, gt=0)
    points: int = Field(50, ge=10)
    dwell_s: float = Field(0.02, gt=0)
    readings: int = Field(4, ge=1)
    reading_u_rel: float = Field(0.005, ge=0, lt=1)
    pumping: Literal["pulsed", "continuous"] = "pulsed"


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
    file: Path,
    settings: SaturationSettings,
    progress: Progress = silent,
) -> Scan:
    """Scan the pump power up, then down with the points between; then put the pump back.

    The abscissa is what the monitor reads at each point, not what the attenuator was set to.

    Returns
    -------
    Scan
        Against ``power_W``, the mean monitor reading [W].

    Raises
    ------
    RefusedError
        If the attenuator's limits do not allow the range; nothing was moved.
    """
    lowest_dB, highest_dB = settings.lowest_dB, pump_attenuator.limits_dB[1]
    pump_attenuator.check(lowest_dB, highest_dB)
    about = About(
        protocol="saturation",
        path="before",
        simulated=tagger.identify().simulated,
        settings={**settings.model_dump(), "channels": 2},
    )
    dark_dB = min(lowest_dB + settings.span_dB, highest_dB)
    rising = np.linspace(dark_dB, lowest_dB, settings.points)
    both_ways = np.concatenate([rising[::2], rising[1::2][::-1]])
    pump_dB = pump_attenuator.attenuation()
    try:
        light_path.select("before")
        pump_attenuator.set_attenuation(dark_dB)
        pump_attenuator.open_shutter()
        with ScanWriter(file, "power_W", about) as scan:
            for k, attenuation_dB in enumerate(both_ways):
                pump_attenuator.set_attenuation(float(attenuation_dB))
                power = mean_power(pump_power, settings.readings)
                counts = tagger.count(settings.dwell_s)
                scan.add(power, counts)
                progress(k + 1, len(both_ways), f"{power:.3g} W, {total_rate(counts):.3g} clicks/s")
    finally:
        pump_attenuator.set_attenuation(pump_dB)
    return scan.scan()
