"""Set the pump by its monitor, never by the attenuator's scale."""

from __future__ import annotations

import math

from qdchar.errors import InconclusiveError
from qdchar.roles import Attenuator, PowerMeter

TOLERANCE = 0.003
READINGS = 25
ATTEMPTS = 6


def mean_power(monitor: PowerMeter, readings: int = READINGS) -> float:
    """Average some readings of the monitor [W]."""
    return sum(monitor.power_W() for _ in range(readings)) / readings


def set_power(attenuator: Attenuator, monitor: PowerMeter, power_W: float) -> float:
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
    seen = mean_power(monitor)
    for _ in range(ATTEMPTS):
        if abs(seen / power_W - 1.0) <= TOLERANCE:
            return seen
        if seen <= 0:
            break
        wanted_dB = attenuator.attenuation() + 10.0 * math.log10(seen / power_W)
        attenuator.check(wanted_dB)
        attenuator.set_attenuation(wanted_dB)
        seen = mean_power(monitor)
    raise InconclusiveError(
        f"pump power: {power_W:.4g} W asked, the monitor reads {seen:.4g} W at "
        f"{attenuator.attenuation():.2f} dB after {ATTEMPTS} corrections; is the shutter open, is "
        "the monitor on its range and dark-corrected?"
    )
