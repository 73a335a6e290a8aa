"""Leaked laser light: against power, with the cavity detuned and the dot as good as dark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from qdchar.errors import RefusedError
from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings, TagRun, silent
from qdchar.roles import Attenuator, LightPath, PowerMeter, TimeTagger, VoltageAxis

from ._peak_lock import approach, total_rate
from ._tags import record, run_about
from .pump import mean_power, set_power


class LeakSettings(Settings):
    """How long to record at the pi pulse, and the power scan with the cavity detuned.

    Attributes
    ----------
    tuned_s
        Time tags at the pi pulse, on resonance [s].
    detuning_V
        How far to move the cavity's piezo [V]; half an order where not given.
    lowest, highest
        Pump powers over that of the pi pulse. A pulse of area 2 pi, at 4, leaves the dot dark.
    readings
        Monitor readings averaged per point.
    reading_u_rel
        Relative noise of one monitor reading.
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
        Its setting ``power_W`` is the mean monitor reading [W].
    detuned
        Against ``power_W``, the mean monitor reading [W].
    """

    tuned: TagRun
    detuned: Scan


def measure(
    light_path: LightPath,
    cavity_fine: VoltageAxis,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
    folder: Path,
    settings: LeakSettings,
    *,
    pi_reading_W: float,
    detuning_V: float,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Leakage:
    """Record the source at the pi pulse, then the laser alone at several powers.

    The pump and the cavity are put back to where they were, whatever happens.

    Parameters
    ----------
    pi_reading_W
        Monitor reading of the pi pulse [W].
    detuning_V
        How far to move the cavity's piezo, best half an order of the cavity [V].
    relock
        Called before and after the recording at the pi pulse, to bring the source onto its
        resonance and to see how far off it was.

    Raises
    ------
    RefusedError
        If the limits of the piezo allow no detuning to either side; nothing was moved.
    InconclusiveError
        If the monitor does not follow the attenuator, or there is no resonance to hold.
    """
    detuned_voltage(cavity_fine, detuning_V)
    pump_dB = pump_attenuator.attenuation()
    tuned_V = cavity_fine.voltage()
    try:
        light_path.select("before")
        pump_attenuator.open_shutter()
        set_power(pump_attenuator, pump_power, pi_reading_W)
        relock()
        tuned_V = cavity_fine.voltage()
        power_W = mean_power(pump_power, settings.readings)
        about = run_about("leak", "before", tagger, settings.tuned_s)
        about = replace(about, settings={**about.settings, "power_W": power_W})
        tuned = record(tagger, folder / "leak_tuned.h5", settings.tuned_s, about, progress)
        relock()
        tuned_V = cavity_fine.voltage()
        room = 10.0 ** (0.1 * (pump_attenuator.attenuation() - pump_attenuator.limits_dB[0]))
        highest = min(settings.highest, 0.98 * room)
        powers_W = pi_reading_W * np.linspace(settings.lowest, highest, settings.points)
        cavity_fine.set_voltage(detuned_voltage(cavity_fine, detuning_V))
        about = About(
            protocol="leak",
            path="before",
            simulated=tagger.identify().simulated,
            settings=settings.model_dump(exclude_none=True),
        )
        with ScanWriter(folder / "leak_detuned.csv", "power_W", about) as scan:
            for k, wanted in enumerate(powers_W):
                set_power(pump_attenuator, pump_power, float(wanted))
                power = mean_power(pump_power, settings.readings)
                counts = tagger.count(settings.dwell_s)
                scan.add(power, counts)
                progress(k + 1, len(powers_W), f"{power:.3g} W, {total_rate(counts):.3g} clicks/s")
    finally:
        try:
            pump_attenuator.set_attenuation(pump_dB)
        finally:
            approach(cavity_fine, tuned_V, settings.overshoot_V)
    return Leakage(tuned, scan.scan())


def detuned_voltage(cavity_fine: VoltageAxis, shift_V: float) -> float:
    """Voltage off resonance [V]: below if there is room, for the way back is upward then."""
    below, above = cavity_fine.voltage() - shift_V, cavity_fine.voltage() + shift_V
    try:
        cavity_fine.check(below)
    except RefusedError:
        cavity_fine.check(above)
        return above
    return below
