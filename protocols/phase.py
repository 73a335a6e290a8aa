"""Phase randomisation: count rate behind an unbalanced interferometer against its phase.

Measures the clicks at both outputs against the voltage of the phase piezo, over more than one
fringe. Moves the phase piezo upward. Leaves the piezo where it was before, the polarisation in the
arms parallel, and the light path at ``interferometer``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import Field

from qdchar.files import PathLike
from qdchar.raw_data import Progress, Scan, Settings, silent
from qdchar.roles import Counts, LightPath, TimeTagger, VoltageAxis

from ._scan import ScanLoop, scan_about


class PhaseSettings(Settings):
    """Range and density of the scan.

    Attributes
    ----------
    start_V, stop_V
        Range of the phase piezo [V]: more than one fringe, and upward.
    points
        Number of points, evenly spaced.
    dwell_s
        Counting time per point [s].
    """

    start_V: float = 5.0
    stop_V: float = 77.0
    points: int = Field(36, ge=8)
    dwell_s: float = Field(0.02, gt=0)


def sweep_range(settings: PhaseSettings, limits_V: tuple[float, float]) -> tuple[float, float]:
    """Return the range of the scan [V]; the settings give it whatever the limits are."""
    del limits_V  # the same arguments as for every other axis
    return settings.start_V, settings.stop_V


def dwell_s(settings: PhaseSettings) -> float:
    """Return the counting time of the scan [s], without moves and re-locks."""
    return settings.points * settings.dwell_s


def measure(
    light_path: LightPath,
    interferometer_polarisation: LightPath,
    interferometer_phase: VoltageAxis,
    tagger: TimeTagger,
    file: PathLike,
    settings: PhaseSettings,
    relock: Callable[[], object],
    progress: Progress = silent,
) -> Scan:
    """Scan the phase with parallel polarisations in the two arms; then put the piezo back.

    Parameters
    ----------
    interferometer_polarisation
        Polarisation in the interferometer's arms: positions ``parallel`` and ``orthogonal``.
    interferometer_phase
        The phase piezo of the interferometer.
    relock
        Locks the cavity to its resonance again; called first. It may change the light path.

    Returns
    -------
    Scan
        Against ``voltage_V``.

    Raises
    ------
    RefusedError
        If the range exceeds the limits of the axis; nothing was moved.
    """
    file = Path(file)
    interferometer_phase.check(*sweep_range(settings, interferometer_phase.limits_V))
    relock()
    light_path.select("interferometer")
    interferometer_polarisation.select("parallel")

    def measure_point(voltage_V: float) -> tuple[float, Counts]:
        interferometer_phase.set_voltage(voltage_V)
        return voltage_V, tagger.count(settings.dwell_s)

    about = scan_about("phase", "interferometer", tagger, settings)
    voltages = np.linspace(settings.start_V, settings.stop_V, settings.points)
    voltage_before_V = interferometer_phase.voltage()
    try:
        with ScanLoop(file, "voltage_V", about, len(voltages), progress) as loop:
            loop.measure(voltages, measure_point)
    finally:
        interferometer_phase.set_voltage(voltage_before_V)
    return loop.scan()
