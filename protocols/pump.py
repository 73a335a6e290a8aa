"""Pump power: set it by the power monitor, because the attenuator's scale is not calibrated.

`set_power` moves the pump attenuator and leaves it at the power that was asked for; `faint_laser`
puts light path and attenuator back. `zeroed` reads the monitor without light: what the other
protocols call a reading is one with this zero subtracted.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from qdchar.errors import InconclusiveError, RefusedError
from qdchar.roles import Attenuator, LightPath, PowerMeter

TOLERANCE = 0.003
"""Relative difference from the wanted power at which the setting ends."""

READINGS = 25
"""Readings of the power monitor that are averaged before each correction."""

ATTEMPTS = 20
"""Largest number of corrections."""

STEP_WITHOUT_READING_DB = 5.0
"""How far to open the attenuator in one step while the monitor reads only its noise [dB]."""

STRONG = 30.0
"""Reading over its noise from which on the response is looked at: what is left of the monitor's
zero is of the size of the noise, and a tenth of such a reading at most."""

RESPONSE = (0.7, 1.3)
"""Change of the reading over that of the attenuation, both in dB: scales that are off by some
percent stay inside."""

SMALLEST_CHANGE_DB = 1.0
"""Change of the attenuation from which on the response is looked at [dB]."""

BRIGHT_DB, BETWEEN_DB = 20.0, 2.0
"""Of a scan, the range below full light over which the response is looked at, and the distance of
the points that are compared [dB]."""


@contextmanager
def faint_laser(light_path: LightPath, pump_attenuator: Attenuator) -> Iterator[None]:
    """Put the laser on the detectors behind the highest attenuation; afterwards leave ``before``.

    The laser is off the detectors before the attenuator goes back to where it was.
    """
    present_dB = pump_attenuator.attenuation()
    try:
        pump_attenuator.set_attenuation(pump_attenuator.limits_dB[1])
        light_path.select("laser")
        yield
    finally:
        light_path.select("before")
        pump_attenuator.set_attenuation(present_dB)


class PowerReader(Protocol):
    """What gives a reading of the pump power: the meter, or `Monitor`."""

    def power_W(self) -> float:
        """Measure the optical power [W]."""


@dataclass(frozen=True)
class Monitor:
    """The power monitor with its zero subtracted.

    Attributes
    ----------
    meter
        The instrument.
    zero_W
        Its mean reading without light [W].
    u_zero_W
        Standard uncertainty of that mean, from the scatter of the readings [W].
    """

    meter: PowerMeter
    zero_W: float
    u_zero_W: float

    def power_W(self) -> float:
        """Measure the optical power [W]: the reading less the zero."""
        return self.meter.power_W() - self.zero_W

    @property
    def settings(self) -> Mapping[str, float]:
        """What the raw data of a power scan say of the zero."""
        return {"power_zero_W": self.zero_W, "power_zero_u_W": self.u_zero_W}


def zeroed(pump_attenuator: Attenuator, pump_power: PowerMeter) -> Monitor:
    """Read the power monitor without light; closes the shutter, and leaves it closed.

    Best with the attenuator at its upper limit, so that a shutter that leaks or sticks does not
    count.
    """
    pump_attenuator.close_shutter()
    readings = [pump_power.power_W() for _ in range(READINGS)]
    u_W = statistics.stdev(readings) / math.sqrt(READINGS)
    return Monitor(pump_power, statistics.fmean(readings), u_W)


def require_light(monitor: Monitor) -> None:
    """Refuse to go on if the monitor reads no more with the shutter open than with it closed."""
    readings = [monitor.power_W() for _ in range(READINGS)]
    seen_W, u_W = statistics.fmean(readings), statistics.stdev(readings) / math.sqrt(READINGS)
    if seen_W <= 5.0 * math.hypot(u_W, monitor.u_zero_W):
        raise InconclusiveError(
            f"the power monitor reads {monitor.zero_W:.3g} W with the pump's shutter closed, and "
            f"{monitor.zero_W + seen_W:.3g} W with it open. Is the shutter stuck, is the power "
            "meter, is the pump laser on?"
        )


def mean_power(pump_power: PowerReader, readings: int = READINGS) -> float:
    """Return the mean of some readings of the power monitor [W]."""
    return statistics.fmean(pump_power.power_W() for _ in range(readings))


def response_fault(
    from_dB: float, to_dB: float, from_W: float, to_W: float, u_relative: float
) -> str:
    """Return what is wrong if the power monitor does not follow the attenuator; else nothing.

    Parameters
    ----------
    from_dB, to_dB
        Attenuation before and after [dB].
    from_W, to_W
        Reading of the power monitor before and after [W].
    u_relative
        Relative standard uncertainty of the readings' ratio.
    """
    asked_dB = from_dB - to_dB
    if abs(asked_dB) < SMALLEST_CHANGE_DB or from_W <= 0.0:
        return ""
    low, high = sorted(factor * asked_dB for factor in RESPONSE)
    noise = 1.0 + 5.0 * u_relative
    low_W, high_W = (from_W * 10.0 ** (0.1 * limit_dB) for limit_dB in (low, high))
    if low_W / noise <= to_W <= high_W * noise:
        return ""
    return (
        f"the attenuator went from {from_dB:.2f} to {to_dB:.2f} dB, but the power monitor from "
        f"{from_W:.4g} to {to_W:.4g} W: is the attenuator stuck, is the power meter stuck or "
        "saturated, or is its zero off?"
    )


def require_response(powers: Iterable[tuple[float, float]], u_relative: float) -> None:
    """Refuse a scan over which the power monitor does not follow the attenuator.

    Parameters
    ----------
    powers
        Attenuation [dB] and reading of the monitor less its zero [W] at each point. Looked at are
        the brightest 20 dB, where a reading is far above its noise, from each point to the next
        one at least 2 dB away.
    u_relative
        Relative standard uncertainty of a reading.

    Raises
    ------
    InconclusiveError
        With the attenuations and readings that contradict each other.
    """
    points = sorted(powers)
    if all(reading_W <= 0.0 for _, reading_W in points):
        raise InconclusiveError(
            "power scan: the power monitor reads no more with the pump's shutter open than with it "
            "closed. Is the power meter stuck, is the shutter, is the pump laser on?"
        )
    bright = [point for point in points if point[0] <= points[0][0] + BRIGHT_DB]
    for i, (from_dB, from_W) in enumerate(bright):
        far = next((p for p in bright[i + 1 :] if p[0] >= from_dB + BETWEEN_DB), None)
        if far is None:
            return
        fault = response_fault(from_dB, far[0], from_W, far[1], u_relative)
        if fault:
            raise InconclusiveError(f"power scan: {fault}")


def set_power(pump_attenuator: Attenuator, pump_power: PowerReader, power_W: float) -> float:
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
    earlier: tuple[float, float] | None = None
    for _ in range(ATTEMPTS):
        readings = [pump_power.power_W() for _ in range(READINGS)]
        seen, noise = statistics.fmean(readings), statistics.stdev(readings)
        present_dB = pump_attenuator.attenuation()
        significant, strong = seen > 3.0 * noise, seen > STRONG * noise
        if earlier is not None and strong:
            fault = response_fault(earlier[0], present_dB, earlier[1], seen, noise / seen)
            if fault:
                raise InconclusiveError(f"pump power: {power_W:.4g} W was asked for; {fault}")
        if abs(seen / power_W - 1.0) <= TOLERANCE:
            return seen
        earlier = (present_dB, seen) if strong else None
        if significant:
            wanted_dB = present_dB + 10.0 * math.log10(seen / power_W)
        else:
            wanted_dB = max(present_dB - STEP_WITHOUT_READING_DB, pump_attenuator.limits_dB[0])
        try:
            pump_attenuator.check(wanted_dB)
        except RefusedError as error:
            raise RefusedError(
                f"pump power: {power_W:.4g} W was asked for, and the monitor reads {seen:.4g} W at "
                f"{present_dB:.2f} dB; {error}. Is the attenuator stuck, is the power meter "
                "stuck, is the power meter's zero off, or is the power out of reach?"
            ) from error
        pump_attenuator.set_attenuation(wanted_dB)
    raise InconclusiveError(
        f"pump power: {power_W:.4g} W was asked for, but after {ATTEMPTS} corrections the monitor "
        f"reads {seen:.4g} W (scatter {noise:.1g} W) at {pump_attenuator.attenuation():.2f} dB. "
        "Check that the shutter is open, and that the power meter is on the right range"
    )
