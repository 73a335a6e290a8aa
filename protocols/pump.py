"""Pump power: set it by the power monitor, because the attenuator's scale is not calibrated.

Moves the pump attenuator and leaves it at the power that was asked for.
"""

from __future__ import annotations

import math
import statistics

from qdchar.errors import InconclusiveError
from qdchar.roles import Attenuator, PowerMeter

TOLERANCE = 0.003
"""Relative difference from the wanted power at which the setting ends."""

READINGS = 25
"""Readings of the power monitor that are averaged before each correction."""

ATTEMPTS = 20
"""Largest number of corrections."""

STEP_WITHOUT_READING_DB = 5.0
"""How far to open the attenuator in one step while the monitor reads only its noise [dB]."""


def mean_power(pump_power: PowerMeter, readings: int = READINGS) -> float:
    """Return the mean of some readings of the power monitor [W]."""
    return statistics.fmean(pump_power.power_W() for _ in range(readings))


def set_power(pump_attenuator: Attenuator, pump_power: PowerMeter, power_W: float) -> float:
    """Move the attenuator until the power monitor reads the wanted power.

    Parameters
    ----------
    power_W
        Wanted mean reading [W].

    Returns
    -------
    float
        The mean reading at the end [W].

    Raises
    ------
    RefusedError
        If the limits of the attenuator do not allow it; it did not move beyond them.
    InconclusiveError
        If the power monitor does not follow the attenuator.
    """
    for _ in range(ATTEMPTS):
        readings = [pump_power.power_W() for _ in range(READINGS)]
        seen, noise = statistics.fmean(readings), statistics.stdev(readings)
        if abs(seen / power_W - 1.0) <= TOLERANCE:
            return seen
        present_dB = pump_attenuator.attenuation()
        if seen > 3.0 * noise:
            wanted_dB = present_dB + 10.0 * math.log10(seen / power_W)
        else:
            wanted_dB = max(present_dB - STEP_WITHOUT_READING_DB, pump_attenuator.limits_dB[0])
        pump_attenuator.check(wanted_dB)
        pump_attenuator.set_attenuation(wanted_dB)
    raise InconclusiveError(
        f"pump power: {power_W:.4g} W was asked for, but after {ATTEMPTS} corrections the monitor "
        f"reads {seen:.4g} W (scatter {noise:.1g} W) at {pump_attenuator.attenuation():.2f} dB. "
        "Check that the shutter is open, that the power meter is on the right range, and that its "
        "dark reading is subtracted"
    )
