"""Cavity tuning: survey of the orders, approach from one side, closed loop on counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qdchar.errors import InconclusiveError
from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import Attenuator, LightPath, PowerMeter, TimeTagger, VoltageAxis

from ._peak_lock import LockResult, approach, lock_to_peak, settle, total_rate
from .pump import set_power


class CavitySettings(Settings):
    """Ranges, steps and waits of the tuning.

    Attributes
    ----------
    search_power_W
        Pump power while searching [W], well below a pi pulse so that any source shows.
    start_V, stop_V
        Range of the survey [V]; the axis' limits where not given.
    survey_step_V
        Step of the survey [V], at most half the width of the resonance.
    window_V
        Half range of the second scan around the peak [V]: hysteresis moves it between scans.
    overshoot_V
        How far below its first point the approach to the second scan begins [V].
    settle_s
        Wait before the last approach [s]; creep goes with the logarithm of time.
    dither_V, tolerance_V
        Of the closed loop, see `lock_to_peak` [V].
    """

    search_power_W: float = Field(0.6e-9, gt=0)
    start_V: float | None = None
    stop_V: float | None = None
    survey_step_V: float = Field(0.03, gt=0)
    survey_dwell_s: float = Field(0.005, gt=0)
    window_V: float = Field(1.5, gt=0)
    window_step_V: float = Field(0.015, gt=0)
    overshoot_V: float = Field(2.0, gt=0)
    settle_s: float = Field(60.0, ge=0)
    dither_V: float = Field(0.02, gt=0)
    tolerance_V: float = Field(0.0008, gt=0)
    dwell_s: float = Field(0.02, gt=0)


@dataclass(frozen=True)
class Tuning:
    """The scans of a tuning, and where the cavity was left."""

    survey: Scan
    fine: Scan
    lock: LockResult


def measure(
    light_path: LightPath,
    cavity_fine: VoltageAxis,
    pump_attenuator: Attenuator,
    pump_power: PowerMeter,
    tagger: TimeTagger,
    folder: Path,
    settings: CavitySettings,
    progress: Progress = silent,
) -> Tuning:
    """Find a bright resonance, come to it from below and hold it by its light.

    Raises
    ------
    RefusedError
        If the survey exceeds the axis' limits; nothing was moved.
    InconclusiveError
        If no resonance stands out.
    """
    low, high = cavity_fine.limits_V
    start = low if settings.start_V is None else settings.start_V
    stop = high if settings.stop_V is None else settings.stop_V
    cavity_fine.check(start, stop)

    light_path.select("before")
    pump_attenuator.open_shutter()
    set_power(pump_attenuator, pump_power, settings.search_power_W)

    grid = np.arange(start, stop + 1e-9, settings.survey_step_V)
    survey = _scan(
        cavity_fine,
        tagger,
        folder / "cavity_survey.csv",
        grid,
        settings.survey_dwell_s,
        settings,
        progress,
    )
    centre = _resonance_to_use(survey, settings.window_V + settings.overshoot_V)

    # The way back from the end of the survey has shifted the peak (hysteresis), and it still
    # creeps: look again nearby, after a wait that the counter fills.
    first, last = max(low, centre - settings.window_V), min(high, centre + settings.window_V)
    cavity_fine.set_voltage(max(low, first - settings.overshoot_V))
    cavity_fine.set_voltage(first)
    settle(tagger, settings.settle_s, progress)
    grid = np.arange(first, last + 1e-9, settings.window_step_V)
    fine = _scan(
        cavity_fine,
        tagger,
        folder / "cavity_fine.csv",
        grid,
        settings.survey_dwell_s,
        settings,
        progress,
    )
    approach(cavity_fine, float(fine.x[_peak(fine)]), settings.overshoot_V)
    lock = relock(light_path, cavity_fine, tagger, folder / "cavity_lock_00.csv", settings)
    return Tuning(survey, fine, lock)


def relock(
    light_path: LightPath,
    cavity_fine: VoltageAxis,
    tagger: TimeTagger,
    file: Path,
    settings: CavitySettings,
) -> LockResult:
    """Bring the cavity back onto its resonance by the count rate, before the transmitter."""
    light_path.select("before")
    about = About(
        protocol="cavity",
        path="before",
        simulated=tagger.identify().simulated,
        settings=settings.model_dump(exclude_none=True),
    )
    with ScanWriter(file, "voltage_V", about) as log:
        return lock_to_peak(
            cavity_fine,
            tagger,
            log,
            dither_V=settings.dither_V,
            dwell_s=settings.dwell_s,
            tolerance_V=settings.tolerance_V,
        )


def _scan(
    cavity_fine: VoltageAxis,
    tagger: TimeTagger,
    file: Path,
    voltages: NDArray[np.float64],
    dwell_s: float,
    settings: CavitySettings,
    progress: Progress,
) -> Scan:
    about = About(
        protocol="cavity",
        path="before",
        simulated=tagger.identify().simulated,
        settings=settings.model_dump(exclude_none=True),
    )
    with ScanWriter(file, "voltage_V", about) as writer:
        for k, voltage in enumerate(voltages):
            cavity_fine.set_voltage(float(voltage))
            counts = tagger.count(dwell_s)
            writer.add(float(voltage), counts)
            progress(k + 1, len(voltages), f"{voltage:.2f} V, {total_rate(counts):.3g} clicks/s")
    return writer.scan()


def _peak(scan: Scan) -> int:
    return int(np.argmax(scan.clicks.sum(axis=1)))


def _resonance_to_use(survey: Scan, room_V: float) -> float:
    """Voltage of the resonance to use [V]: of the bright ones the lowest with room below it.

    Higher transverse modes are fainter; the orders of the fundamental mode are alike. Creep goes
    with the voltage, so the lowest is the quietest; the room is for approaching from below.
    """
    clicks = survey.clicks.sum(axis=1).astype(np.float64)
    background = float(np.median(clicks))
    top = float(clicks.max())
    if top - background < 10.0 * np.sqrt(max(background, 1.0)) or top < 1.5 * background:
        raise InconclusiveError(
            f"cavity: no resonance between {survey.x[0]:g} and {survey.x[-1]:g} V: "
            f"{top:.0f} clicks at the most against a median of {background:.0f} in "
            f"{survey.dwell_s[0]:g} s; is the pump on and tuned to the dot, is the path open? "
            "Move the coarse stepper, or raise cavity.search_power_W or survey_dwell_s"
        )
    bright = np.flatnonzero(clicks > background + 0.7 * (top - background))
    groups = np.split(bright, np.flatnonzero(np.diff(bright) > 3) + 1)
    peaks = [float(survey.x[g[np.argmax(clicks[g])]]) for g in groups]
    with_room = [v for v in peaks if v > survey.x[0] + room_V]
    return min(with_room) if with_room else max(peaks)
