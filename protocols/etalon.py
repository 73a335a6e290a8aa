"""Etalon scan: count rate behind the etalon against its piezo's voltage, for the linewidth.

Measures two scans over the same voltages, the first with a narrow laser (the etalon's own width),
the second with the source. Moves the etalon's piezo, always upward during a scan. `measure` leaves
the piezo at the end of the scan and the light path at ``after``; `park` then locks the etalon to
its peak for the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import Counts, LightPath, TimeTagger, VoltageAxis

from ._peak_lock import LockResult, approach, lock_to_peak, settle
from ._scan import ScanLoop, scan_about, sweep_limits, sweep_voltages


class EtalonSettings(Settings):
    """Range and density of the scans; the range has to contain at least two orders.

    Attributes
    ----------
    start_V, stop_V
        Range [V]. Where not given, the scan starts `overshoot_V` above the lower limit of the
        axis, and stops at its upper limit.
    step_V
        Step of both scans [V].
    narrow_dwell_s, source_dwell_s
        Counting time per point with the narrow laser and with the source [s].
    overshoot_V
        How far below its first point a scan or an approach begins [V]: over that distance
        hysteresis makes the voltage scale nonlinear.
    settle_s
        Wait at the first point of each scan [s], because the return from the last scan leaves
        creep.
    hold_every
        Points of the source scan between two re-locks of the cavity. Choose fewer where
        `source_dwell_s` is longer: if the cavity creeps away, the line changes during the scan.
    peak_dither_V, peak_tolerance_V, peak_dwell_s
        Distance of the outer points [V], tolerance [V] and counting time per point [s] of the
        peak lock in `park`, see `lock_to_peak`.
    """

    start_V: float | None = None
    stop_V: float | None = None
    step_V: float = Field(0.35, gt=0)
    narrow_dwell_s: float = Field(0.02, gt=0)
    source_dwell_s: float = Field(0.005, gt=0)
    overshoot_V: float = Field(12.0, gt=0)
    settle_s: float = Field(10.0, ge=0)
    hold_every: int = Field(60, ge=1)
    peak_dither_V: float = Field(0.9, gt=0)
    peak_tolerance_V: float = Field(0.08, gt=0)
    peak_dwell_s: float = Field(0.02, gt=0)


@dataclass(frozen=True)
class EtalonScans:
    """Both scans, over the same voltages and in the same direction."""

    narrow: Scan
    source: Scan


def sweep_range(settings: EtalonSettings, limits_V: tuple[float, float]) -> tuple[float, float]:
    """Return the range of both scans [V]; the approach below it ends at the lower limit.

    Parameters
    ----------
    limits_V
        Limits of the etalon's piezo [V].

    Raises
    ------
    UsageError
        If the scan would start above its stop.
    """
    low, high = limits_V
    start = low + settings.overshoot_V if settings.start_V is None else settings.start_V
    return sweep_limits("etalon", start, settings.stop_V, (low, high))


def points(settings: EtalonSettings, limits_V: tuple[float, float]) -> int:
    """Return how many points each of both scans has.

    Parameters
    ----------
    limits_V
        Limits of the etalon's piezo [V].
    """
    return len(sweep_voltages(*sweep_range(settings, limits_V), settings.step_V))


def dwell_s(settings: EtalonSettings, limits_V: tuple[float, float]) -> float:
    """Return the counting and settling time of both scans [s], without moves and re-locks.

    Parameters
    ----------
    limits_V
        Limits of the etalon's piezo [V].
    """
    each_s = settings.narrow_dwell_s + settings.source_dwell_s
    return points(settings, limits_V) * each_s + 2.0 * settings.settle_s


def measure(
    light_path: LightPath,
    etalon_piezo: VoltageAxis,
    tagger: TimeTagger,
    folder: PathLike,
    settings: EtalonSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> EtalonScans:
    """Scan the etalon's piezo upward with the narrow laser, then with the source.

    Parameters
    ----------
    folder
        Where the scans are written: ``etalon_narrow.csv`` and ``etalon_source.csv``.
    relock
        Locks the cavity to its resonance again; called before every `hold_every` points of the
        source scan. It may change the light path.

    Raises
    ------
    UsageError
        If the scan would start above its stop; nothing was moved.
    RefusedError
        If the range exceeds the limits of the axis; nothing was moved.
    """
    folder = Path(folder)
    start, stop = sweep_range(settings, etalon_piezo.limits_V)
    etalon_piezo.check(start, stop)
    voltages = sweep_voltages(start, stop, settings.step_V)

    def scan(
        name: str, path: Literal["narrow", "after"], count_s: float, relock: Callable[[], object]
    ) -> Scan:
        def measure_point(voltage_V: float) -> tuple[float, Counts]:
            etalon_piezo.set_voltage(voltage_V)
            return voltage_V, tagger.count(count_s)

        about = scan_about("etalon", path, tagger, settings)
        approach(etalon_piezo, start, settings.overshoot_V)
        settle(tagger, settings.settle_s, progress)
        with ScanLoop(folder / f"{name}.csv", "voltage_V", about, len(voltages), progress) as loop:
            for first in range(0, len(voltages), settings.hold_every):
                relock()
                light_path.select(path)
                loop.measure(voltages[first : first + settings.hold_every], measure_point)
        return loop.scan()

    narrow = scan("etalon_narrow", "narrow", settings.narrow_dwell_s, lambda: None)
    source = scan("etalon_source", "after", settings.source_dwell_s, relock)
    return EtalonScans(narrow, source)


def park(
    light_path: LightPath,
    etalon_piezo: VoltageAxis,
    tagger: TimeTagger,
    file: Path,
    settings: EtalonSettings,
    voltage_V: float,
) -> LockResult:
    """Approach the etalon's peak for the source from below, and lock the etalon to it.

    Parameters
    ----------
    file
        CSV file for the points of the lock.
    voltage_V
        Where the scan found the peak [V].

    Raises
    ------
    InconclusiveError
        If no light arrives, or the lock does not converge.
    """
    light_path.select("after")
    approach(etalon_piezo, voltage_V, settings.overshoot_V)
    about = scan_about("etalon", "after", tagger, settings)
    with ScanWriter(file, "voltage_V", about) as log:
        return lock_to_peak(
            etalon_piezo,
            tagger,
            log,
            dither_V=settings.peak_dither_V,
            dwell_s=settings.peak_dwell_s,
            tolerance_V=settings.peak_tolerance_V,
        )
