"""Power meter of the pump: from its readings to true powers, and what its certificates leave open.

A protocol subtracts the zero that it read with the shutter closed. Of a reading r after that, the
true power is ``g (r - z) (1 + k log10(g (r - z)/P_G))``: gain g as found at the power P_G, change k
per decade, and z what is left of the zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.estimate import Contribution, Estimate, Uncertain, propagate
from qdchar.raw_data import Scan

from ..statistics.likelihood import Values

Array = NDArray[np.float64]

_DARK_W = 1e-18
"""Below it a power is none."""


@dataclass(frozen=True, kw_only=True)
class MeterErrors:
    """Certificates of the power meter beside its gain.

    Attributes
    ----------
    zero
        ``power_meter_zero`` [W].
    linearity
        ``power_meter_linearity``, relative per decade.
    gain_power
        ``power_meter_gain_power`` [W].
    tap
        ``power_tap``: how far the power at the dot goes its own way, relative.
    """

    zero: Estimate
    linearity: Estimate
    gain_power: Estimate
    tap: Estimate


def linear_W(reading_W: ArrayLike, gain: Estimate, meter: MeterErrors | None) -> Array:
    """Return powers over the gain of the certificate: what a linear meter would read [W].

    Parameters
    ----------
    reading_W
        Readings less their zero [W]; where noise makes them negative, they stay as they are.
    gain
        ``power_meter_gain``.
    """
    reading = np.asarray(reading_W, dtype=np.float64)
    if meter is None:
        return reading
    at = np.where(reading > 0.0, reading, meter.gain_power.value / gain.value)
    decades = np.log10(gain.value * at / meter.gain_power.value)
    return np.asarray(reading * (1.0 + meter.linearity.value * decades))


def zero_of(scan: Scan, meter: MeterErrors | None) -> Uncertain:
    """Return what is left of the zero in the readings of a power scan [W].

    Of the mean of the readings with the shutter closed, the scan says the uncertainty; what the
    shutter does not show, the certificate.
    """
    u_W = scan.about.settings.get("power_zero_u_W", 0.0)
    own = (Contribution(f"zero of the power meter, {scan.file.name}", float(u_W)),) if u_W else ()
    if meter is None:
        return Uncertain(0.0, own)
    return Uncertain(meter.zero.value, (*own, *meter.zero.budget))


def change_per_linearity(linear: ArrayLike, gain: Estimate, meter: MeterErrors) -> Array:
    """Return the relative change of a power per change of the meter's linearity.

    Parameters
    ----------
    linear
        From `linear_W` [W], above 0.
    """
    power = np.asarray(linear, dtype=np.float64)
    reading = power
    for _ in range(6):
        decades = np.log10(gain.value * reading / meter.gain_power.value)
        reading = power / (1.0 + meter.linearity.value * decades)
    return np.asarray(decades / (1.0 + meter.linearity.value * decades))


def change_per_log(linear: ArrayLike, gain: Estimate, meter: MeterErrors | None) -> Array:
    """Return the relative change of `linear_W` per relative change of its argument, less one."""
    power = np.asarray(linear, dtype=np.float64)
    if meter is None:
        return np.zeros_like(power)
    k = meter.linearity.value
    return np.asarray(k / math.log(10.0) * (1.0 - k * change_per_linearity(power, gain, meter)))


def meter_constraints(scan: Scan, meter: MeterErrors | None) -> dict[str, Uncertain]:
    """Return what the zero and the linearity differ from their values by, for `moved_W`.

    Returns
    -------
    dict
        ``zero_left`` [W] and ``linearity``, those of them that are uncertain.
    """
    errors = {"zero_left": zero_of(scan, meter).budget}
    if meter is not None:
        errors["linearity"] = meter.linearity.budget
    known = {name: Uncertain(0.0, budget) for name, budget in errors.items()}
    return {name: change for name, change in known.items() if change.u > 0.0}


def moved_W(linear: ArrayLike, v: Values, gain: Estimate, meter: MeterErrors | None) -> Array:
    """Return powers over the gain with other errors of the meter [W], not below 0.

    Parameters
    ----------
    linear
        From `linear_W` [W], not below 0.
    v
        ``zero_left`` [W] and ``linearity`` as in `meter_constraints`, those that are free.
    """
    power = np.asarray(linear, dtype=np.float64)
    per_reading: float | Array = 1.0
    if meter is not None:
        k = meter.linearity.value
        change = change_per_linearity(np.maximum(power, _DARK_W), gain, meter)
        per_reading = 1.0 / (1.0 - k * change) + k / math.log(10.0)
        power = power * (1.0 + v.get("linearity", 0.0) * change)
    return np.maximum(power - v.get("zero_left", 0.0) * per_reading, 0.0)


def gain_at(
    gain: Estimate, meter: MeterErrors | None, linear: float, label: str, *, linearity: bool = True
) -> Uncertain:
    """Return true power over what a linear meter would read, with its uncertainty at that power.

    Parameters
    ----------
    gain
        ``power_meter_gain``.
    linear
        From `linear_W` [W], above 0.
    label
        The scan, during which the tap of the monitor is what it is.
    linearity
        Whether the uncertainty of the linearity is in it, as at this power; not where it is a
        parameter of the fit that found the power.
    """
    if meter is None:
        return Uncertain(gain.value, gain.budget)
    change = float(change_per_linearity(linear, gain, meter))
    per_log = float(change_per_log(linear, gain, meter))
    budget = propagate(
        [
            (gain, 1.0 + per_log),
            (meter.linearity, gain.value * change if linearity else 0.0),
            (meter.gain_power, -gain.value * per_log / meter.gain_power.value),
        ]
    )
    tap = Contribution(f"tap of the power monitor, {label}", gain.value * meter.tap.value, "B")
    return Uncertain(gain.value, (*budget, tap))


def reading_of(power_W: float, gain: Estimate, meter: MeterErrors | None) -> float:
    """Return the reading, less its zero, at a true power [W]."""
    linear = power_W / gain.value
    if meter is None:
        return linear
    k = meter.linearity.value
    return linear * (1.0 - k * float(change_per_linearity(linear, gain, meter)))
