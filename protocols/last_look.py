"""Last look: pump power and dark counts once more, before a calibration is judged.

Measures the mean reading of the power monitor and the clicks with the light blocked. Moves the
light path and the pump shutter, and leaves the path at ``blocked`` and the shutter open.
"""

from __future__ import annotations

from dataclasses import dataclass

from qdchar.roles import Attenuator, Counts, LightPath, PowerMeter, TimeTagger

from .pump import mean_power

DWELL_S = 1.0
"""Counting time for the dark counts [s]: light of 20 times their usual rate is seen at once."""


@dataclass(frozen=True)
class LastLook:
    """What was seen.

    Attributes
    ----------
    reading_W
        Mean reading of the pump power monitor [W].
    dark
        Clicks with the shutter closed and the light path blocked.
    """

    reading_W: float
    dark: Counts


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
) -> LastLook:
    """Read the pump power as it is, then count with the light blocked."""
    reading_W = mean_power(pump_power)
    light_path.select("blocked")
    pump_attenuator.close_shutter()
    try:
        dark = tagger.count(DWELL_S)
    finally:
        pump_attenuator.open_shutter()
    return LastLook(reading_W, dark)
