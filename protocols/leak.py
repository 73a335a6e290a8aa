"""Leaked laser light: count rate against the pump power, with the cavity detuned from the dot.

Measures time tags at the pi pulse on resonance, then the clicks of both detectors against the mean
reading of the pump power monitor with the cavity detuned, where the dot hardly emits. Moves the
pump attenuator and the cavity's fine piezo. Leaves the attenuator where it was before with its
shutter open, the cavity at its resonance as last locked, and the light path at ``before``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from qdchar.errors import RefusedError
from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, Settings, TagRun, silent
from qdchar.roles import Attenuator, Counts, LightPath, TimeTagger, VoltageAxis

from ._peak_lock import approach
from ._scan import ScanLoop, scan_about
from ._tags import record, run_about
from .pump import Monitor, mean_power, set_power


class LeakSettings(Settings):
    """How long to record at the pi pulse, and the power scan with the cavity detuned.

    Attributes
    ----------
    tuned_s
        Duration of the time tags at the pi pulse, on resonance [s].
    detuning_V
        How far to move the cavity's piezo [V]; half of the distance between two orders where not
        given.
    lowest, highest
        Pump powers relative to that of the pi pulse. At 4 the pulse area is 2 pi, and the dot
        emits no light.
    points
        Number of powers, evenly spaced.
    dwell_s
        Counting time per point [s].
    readings
        Readings of the power monitor that are averaged at each point.
    reading_u_rel
        Relative standard uncertainty of one reading of the power monitor.
    overshoot_V
        How far below the resonance the approach at the end begins [V].
    """

    tuned_s: float = Field(1.0, gt=0)
    detuning_V: float | None = Field(None, gt=0)
    lowest: float = Field(0.25, gt=0)
    highest: float = Field(6.0, gt=0)
    points: int = Field(16, ge=6)
    dwell_s: float = Field(0.2, gt=0)
    readings: int = Field(25, ge=2)
    reading_u_rel: float = Field(0.005, gt=0, lt=1)
    overshoot_V: float = Field(2.0, gt=0)


@dataclass(frozen=True)
class Leakage:
    """Tags at the pi pulse on resonance, and the scan with the cavity detuned.

    Attributes
    ----------
    tuned
        Its setting ``power_W`` is the mean reading of the power monitor less its zero [W].
    detuned
        Against ``power_W``, the mean reading of the power monitor less its zero [W].
    """

    tuned: TagRun
    detuned: Scan


def dwell_s(settings: LeakSettings) -> float:
    """Return the counting and recording time [s], without moves, power readings and re-locks."""
    return settings.tuned_s + settings.points * settings.dwell_s


def measure(
    light_path: LightPath,
    cavity_fine: VoltageAxis,
    pump_attenuator: Attenuator,
    monitor: Monitor,
    tagger: TimeTagger,
    folder: PathLike,
    settings: LeakSettings,
    *,
    pi_reading_W: float,
    detuning_V: float,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Leakage:
    """Record the source at the pi pulse, then the laser alone at several powers.

    The pump and the cavity are put back also if an error occurs.

    Parameters
    ----------
    folder
        Where the data are written: ``leak_tuned.h5`` and ``leak_detuned.csv``.
    pi_reading_W
        Reading of the power monitor at the pi pulse, less its zero [W].
    detuning_V
        How far to move the cavity's piezo, best half of the distance between two orders [V].
    relock
        Locks the cavity to its resonance again; called before and after the recording at the pi
        pulse.

    Raises
    ------
    RefusedError
        If the limits of the piezo do not allow the detuning to either side; nothing was moved.
    InconclusiveError
        If the power monitor does not follow the attenuator, or the cavity does not lock.
    """
    folder = Path(folder)
    detuned_voltage(cavity_fine, detuning_V)
    attenuation_before_dB = pump_attenuator.attenuation()
    resonance_V = cavity_fine.voltage()

    def measure_point(wanted_W: float) -> tuple[float, Counts]:
        set_power(pump_attenuator, monitor, wanted_W)
        power_W = mean_power(monitor, settings.readings)
        return power_W, tagger.count(settings.dwell_s)

    try:
        light_path.select("before")
        pump_attenuator.open_shutter()
        set_power(pump_attenuator, monitor, pi_reading_W)
        relock()
        resonance_V = cavity_fine.voltage()
        power_W = mean_power(monitor, settings.readings)
        about = run_about("leak", "before", tagger, settings.tuned_s)
        about = replace(about, settings={**about.settings, "power_W": power_W, **monitor.settings})
        tuned = record(tagger, folder / "leak_tuned.h5", settings.tuned_s, about, progress)
        relock()
        resonance_V = cavity_fine.voltage()

        # the brightest that the attenuator can give, with 2 % to spare
        available = 10.0 ** (0.1 * (pump_attenuator.attenuation() - pump_attenuator.limits_dB[0]))
        highest = min(settings.highest, 0.98 * available)
        powers_W = pi_reading_W * np.linspace(settings.lowest, highest, settings.points)
        cavity_fine.set_voltage(detuned_voltage(cavity_fine, detuning_V))
        about = scan_about("leak", "before", tagger, settings, **monitor.settings)
        file = folder / "leak_detuned.csv"
        with ScanLoop(file, "power_W", about, len(powers_W), progress) as loop:
            loop.measure(powers_W, measure_point)
    finally:
        try:
            pump_attenuator.set_attenuation(attenuation_before_dB)
        finally:
            approach(cavity_fine, resonance_V, settings.overshoot_V)
    return Leakage(tuned, loop.scan())


def detuned_voltage(cavity_fine: VoltageAxis, shift_V: float) -> float:
    """Return the voltage to which the cavity is detuned [V].

    It is `shift_V` below the present voltage if the limits allow that, because the piezo then
    returns upward; otherwise it is `shift_V` above.

    Raises
    ------
    RefusedError
        If the limits allow neither.
    """
    below, above = cavity_fine.voltage() - shift_V, cavity_fine.voltage() + shift_V
    try:
        cavity_fine.check(below)
    except RefusedError:
        cavity_fine.check(above)
        return above
    return below
