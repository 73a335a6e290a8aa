"""Phase randomisation: clicks behind an unbalanced interferometer against its phase."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import Field

from qdchar.raw_data import About, Progress, Scan, ScanWriter, Settings, silent
from qdchar.roles import LightPath, TimeTagger, VoltageAxis

from ._peak_lock import total_rate


class PhaseSettings(Settings):
    """Range of the phase piezo: more than one fringe, always upward."""

    start_V: float = 5.0
    stop_V: float = 77.0
    points: int = Field(36, ge=8)
    dwell_s: float = Field(0.02, gt=0)


def measure(
    light_path: LightPath,
    interferometer_polarisation: LightPath,
    interferometer_phase: VoltageAxis,
    tagger: TimeTagger,
    file: Path,
    settings: PhaseSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Scan:
    """Scan the phase with the arms polarised alike, and leave the piezo where it began.

    Parameters
    ----------
    interferometer_polarisation
        Polarisation in the interferometer's arms: positions ``parallel`` and ``orthogonal``.
    relock
        Called first, to bring the source onto its resonance; it may change the light path.

    Returns
    -------
    Scan
        Against ``voltage_V``.

    Raises
    ------
    RefusedError
        If the range exceeds the axis' limits; nothing was moved.
    """
    interferometer_phase.check(settings.start_V, settings.stop_V)
    relock()
    light_path.select("interferometer")
    interferometer_polarisation.select("parallel")
    about = About(
        protocol="phase",
        path="interferometer",
        simulated=tagger.identify().simulated,
        settings=settings.model_dump(),
    )
    began_V = interferometer_phase.voltage()
    try:
        with ScanWriter(file, "voltage_V", about) as scan:
            for k, voltage in enumerate(
                np.linspace(settings.start_V, settings.stop_V, settings.points)
            ):
                interferometer_phase.set_voltage(float(voltage))
                counts = tagger.count(settings.dwell_s)
                scan.add(float(voltage), counts)
                progress(k + 1, settings.points, f"{voltage:.1f} V, {total_rate(counts):.3g}/s")
    finally:
        interferometer_phase.set_voltage(began_V)
    return scan.scan()
