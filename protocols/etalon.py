"""Etalon scan: the narrow laser for the etalon's own width, then the source's emission."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import LightPath, TimeTagger, VoltageAxis

from ._peak_lock import LockResult, approach, lock_to_peak, settle, total_rate


class EtalonSettings(Settings):
    """Range and density of the scans, which have to hold at least two orders.

    Attributes
    ----------
    start_V, stop_V
        Range [V]; where not given, the axis' limits, less the way in.
    overshoot_V
        How far below its first point a scan or an approach begins [V]: over that way hysteresis
        bends the scale.
    settle_s
        Wait at the first point of each scan [s]: coming back from the last one leaves creep.
    hold_every
        Points between two visits to `relock`, which keeps the source tuned meanwhile. Fewer where
        they are counted longer: a cavity that creeps away changes the line within the scan.
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


def measure(
    light_path: LightPath,
    etalon_piezo: VoltageAxis,
    tagger: TimeTagger,
    folder: Path,
    settings: EtalonSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> EtalonScans:
    """Scan the etalon's piezo upward with the narrow laser, then with the source.

    Parameters
    ----------
    relock
        Called every `hold_every` points of the source scan, to keep the source tuned; it may
        change the light path.

    Raises
    ------
    RefusedError
        If the range exceeds the axis' limits; nothing was moved.
    """
    low, high = etalon_piezo.limits_V
    start = low + settings.overshoot_V if settings.start_V is None else settings.start_V
    stop = high if settings.stop_V is None else settings.stop_V
    etalon_piezo.check(start, stop)
    voltages = np.arange(start, stop + 1e-9, settings.step_V)

    def scan(
        name: str, path: Literal["narrow", "after"], dwell_s: float, visit: Callable[[], object]
    ) -> Scan:
        about = About(
            protocol="etalon",
            path=path,
            simulated=tagger.identify().simulated,
            settings=settings.model_dump(exclude_none=True),
        )
        approach(etalon_piezo, start, settings.overshoot_V)
        settle(tagger, settings.settle_s, progress)
        with ScanWriter(folder / f"{name}.csv", "voltage_V", about) as writer:
            for k, voltage in enumerate(voltages):
                if k % settings.hold_every == 0:
                    visit()
                    light_path.select(path)
                etalon_piezo.set_voltage(float(voltage))
                counts = tagger.count(dwell_s)
                writer.add(float(voltage), counts)
                progress(
                    k + 1, len(voltages), f"{path}: {voltage:.1f} V, {total_rate(counts):.3g}/s"
                )
        return writer.scan()

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
    """Bring the etalon to its peak for the source, from below, and close the loop on counts.

    Parameters
    ----------
    voltage_V
        Where the scan found the peak [V].
    """
    light_path.select("after")
    approach(etalon_piezo, voltage_V, settings.overshoot_V)
    about = About(protocol="etalon", path="after", simulated=tagger.identify().simulated)
    with ScanWriter(file, "voltage_V", about) as log:
        return lock_to_peak(
            etalon_piezo,
            tagger,
            log,
            dither_V=settings.peak_dither_V,
            dwell_s=settings.peak_dwell_s,
            tolerance_V=settings.peak_tolerance_V,
        )
