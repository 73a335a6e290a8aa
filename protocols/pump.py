"""Set the pump by its power monitor, never by the attenuator's scale."""

from __future__ import annotations

import math
import statistics

from qdchar.errors import InconclusiveError
from qdchar.roles import Attenuator, PowerMeter

TOLERANCE = 0.003
READINGS = 25
ATTEMPTS = 20
BLIND_STEP_DB = 5.0
"""How far to open at a time while the monitor sees nothing yet."""


def mean_power(pump_power: PowerMeter, readings: int = READINGS) -> float:
    """Average some readings of the monitor [W]."""
    return statistics.fmean(pump_power.power_W() for _ in range(readings))


def set_power(pump_attenuator: Attenuator, pump_power: PowerMeter, power_W: float) -> float:
    """Move the attenuator until the monitor reads a power.

    Parameters
    ----------
    power_W
        Wanted mean reading [W].

    Returns
    -------
    float
        The mean reading that was reached [W].

    Raises
    ------
    RefusedError
        If the attenuator's limits do not allow it; nothing was moved beyond them.
    InconclusiveError
        If the monitor does not follow the attenuator.
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
            wanted_dB = max(present_dB - BLIND_STEP_DB, pump_attenuator.limits_dB[0])
        pump_attenuator.check(wanted_dB)
        pump_attenuator.set_attenuation(wanted_dB)
    raise InconclusiveError(
        f"pump power: {power_W:.4g} W asked, the monitor reads {seen:.4g} +- {noise:.1g} W at "
        f"{pump_attenuator.attenuation():.2f} dB after {ATTEMPTS} corrections; is the shutter "
        "open, is the monitor on its range and dark-corrected?"
    )
