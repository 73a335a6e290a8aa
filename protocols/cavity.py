"""Cavity tuning: find the cavity's resonance with the dot and lock the cavity to it.

Measures the count rate against the voltage of the cavity's fine piezo, first over several orders
(survey), then around one resonance (fine scan). Moves the cavity's fine piezo and the pump
attenuator. Leaves the cavity locked to the resonance, the pump at the search power with its
shutter open, and the light path at ``before``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qdchar.errors import InconclusiveError
from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import Attenuator, Counts, LightPath, TimeTagger, VoltageAxis

from ._peak_lock import LockResult, approach, lock_to_peak, settle
from ._scan import ScanLoop, scan_about, sweep_limits, sweep_voltages
from .pump import PowerReader, set_power


class CavitySettings(Settings):
    """Ranges, steps and waits of the tuning.

    Attributes
    ----------
    search_power_W
        Pump power during the tuning [W], well below a pi pulse so that every dot emits.
    start_V, stop_V
        Range of the survey [V]; the limits of the axis where not given.
    survey_step_V
        Step of the survey [V], at most half the width of the resonance.
    survey_dwell_s
        Counting time per point of the survey and of the fine scan [s].
    window_V
        Half range of the fine scan [V]. Hysteresis moves the peak between the two scans.
    window_step_V
        Step of the fine scan [V].
    overshoot_V
        How far below its first point the approach to the fine scan begins [V].
    settle_s
        Wait before the fine scan [s]; creep goes with the logarithm of time.
    dither_V, tolerance_V, dwell_s
        Distance of the outer points [V], tolerance [V] and counting time per point [s] of the peak
        lock, see `lock_to_peak`.
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
    """Both scans of a tuning, and the peak lock at its end."""

    survey: Scan
    fine: Scan
    lock: LockResult


def sweep_range(settings: CavitySettings, limits_V: tuple[float, float]) -> tuple[float, float]:
    """Return the range of the survey [V].

    The approach below the fine scan and the fine scan itself end at the limits of the axis.

    Parameters
    ----------
    limits_V
        Limits of the cavity's fine piezo [V].

    Raises
    ------
    UsageError
        If the settings ask for a start above the stop.
    """
    return sweep_limits("cavity", settings.start_V, settings.stop_V, limits_V)


def points(settings: CavitySettings, limits_V: tuple[float, float]) -> int:
    """Return how many points the survey and the fine scan have together.

    Parameters
    ----------
    limits_V
        Limits of the cavity's fine piezo [V].
    """
    survey = sweep_voltages(*sweep_range(settings, limits_V), settings.survey_step_V)
    fine = sweep_voltages(-settings.window_V, settings.window_V, settings.window_step_V)
    return len(survey) + len(fine)


def dwell_s(settings: CavitySettings, limits_V: tuple[float, float]) -> float:
    """Return the counting and settling time of a tuning [s], without moves and re-locks.

    Parameters
    ----------
    limits_V
        Limits of the cavity's fine piezo [V].
    """
    return points(settings, limits_V) * settings.survey_dwell_s + settings.settle_s


def measure(
    light_path: LightPath,
    cavity_fine: VoltageAxis,
    pump_attenuator: Attenuator,
    pump_power: PowerReader,
    tagger: TimeTagger,
    folder: PathLike,
    settings: CavitySettings,
    progress: Progress = silent,
) -> Tuning:
    """Find a bright resonance, approach it from below and lock the cavity to it.

    Parameters
    ----------
    cavity_fine
        The cavity's fine piezo.
    folder
        Where the scans are written: ``cavity_survey.csv``, ``cavity_fine.csv`` and
        ``cavity_lock_00.csv``.

    Raises
    ------
    UsageError
        If the settings ask for a start above the stop; nothing was moved.
    RefusedError
        If the survey exceeds the limits of the axis; nothing was moved.
    InconclusiveError
        If no resonance is clearly above the background, or the cavity does not lock.
    """
    folder = Path(folder)
    low, high = cavity_fine.limits_V
    start, stop = sweep_range(settings, (low, high))
    cavity_fine.check(start, stop)

    light_path.select("before")
    pump_attenuator.open_shutter()
    set_power(pump_attenuator, pump_power, settings.search_power_W)

    def scan(file: Path, voltages: NDArray[np.float64]) -> Scan:
        def measure_point(voltage_V: float) -> tuple[float, Counts]:
            cavity_fine.set_voltage(voltage_V)
            return voltage_V, tagger.count(settings.survey_dwell_s)

        about = scan_about("cavity", "before", tagger, settings)
        with ScanLoop(file, "voltage_V", about, len(voltages), progress) as loop:
            loop.measure(voltages, measure_point)
        return loop.scan()

    survey = scan(folder / "cavity_survey.csv", sweep_voltages(start, stop, settings.survey_step_V))
    centre = _resonance_to_use(survey, settings.window_V + settings.overshoot_V)

    # Coming back from the end of the survey has moved the peak (hysteresis), and the piezo still
    # creeps: wait, then scan again around the peak.
    first, last = max(low, centre - settings.window_V), min(high, centre + settings.window_V)
    cavity_fine.set_voltage(max(low, first - settings.overshoot_V))
    cavity_fine.set_voltage(first)
    settle(tagger, settings.settle_s, progress)
    fine = scan(folder / "cavity_fine.csv", sweep_voltages(first, last, settings.window_step_V))
    brightest = int(np.argmax(fine.clicks.sum(axis=1)))
    approach(cavity_fine, float(fine.x[brightest]), settings.overshoot_V)
    lock = relock(light_path, cavity_fine, tagger, folder / "cavity_lock_00.csv", settings)
    return Tuning(survey, fine, lock)


def relock(
    light_path: LightPath,
    cavity_fine: VoltageAxis,
    tagger: TimeTagger,
    file: PathLike,
    settings: CavitySettings,
) -> LockResult:
    """Bring the cavity back to its resonance by the count rate; the path is then ``before``.

    Parameters
    ----------
    cavity_fine
        The cavity's fine piezo, near its resonance.
    file
        CSV file for the points of the lock.

    Raises
    ------
    InconclusiveError
        If no light arrives, or the lock does not converge.
    """
    file = Path(file)
    light_path.select("before")
    about = scan_about("cavity", "before", tagger, settings)
    with ScanWriter(file, "voltage_V", about) as log:
        return lock_to_peak(
            cavity_fine,
            tagger,
            log,
            dither_V=settings.dither_V,
            dwell_s=settings.dwell_s,
            tolerance_V=settings.tolerance_V,
        )


def _resonance_to_use(survey: Scan, room_V: float) -> float:
    """Return the voltage of the resonance to use [V].

    It is the lowest of the bright ones that can be approached from `room_V` below. Higher
    transverse modes are fainter than the fundamental mode, whose orders are equally bright. The
    creep grows with the voltage, so the lowest order is the most stable.
    """
    clicks = survey.clicks.sum(axis=1).astype(np.float64)
    background = float(np.median(clicks))
    top = float(clicks.max())
    if top - background < 10.0 * np.sqrt(max(background, 1.0)) or top < 1.5 * background:
        raise InconclusiveError(
            f"cavity: no resonance was found between {survey.x[0]:g} and {survey.x[-1]:g} V: the "
            f"brightest point has {top:.0f} clicks in {survey.dwell_s[0]:g} s, the median "
            f"{background:.0f}. Check that the pump is on and tuned to the dot and that the light "
            "path is open; then move the coarse stepper, or raise cavity.search_power_W or "
            "cavity.survey_dwell_s"
        )
    bright = np.flatnonzero(clicks > background + 0.7 * (top - background))
    groups = np.split(bright, np.flatnonzero(np.diff(bright) > 3) + 1)
    peaks = [float(survey.x[g[np.argmax(clicks[g])]]) for g in groups]
    with_room = [v for v in peaks if v > survey.x[0] + room_V]
    return min(with_room) if with_room else max(peaks)
