"""The measurements that qdchar knows, in the order in which a calibration makes them.

The physics fixes the order. The pi pulse needs a tuned cavity, and everything after it the
pi pulse; the transmitter needs its etalon parked on the emission line.
"""

from __future__ import annotations

from ..measurement import Registry, measurements_by_name
from . import (
    brightness,
    cavity,
    dark,
    dead_time,
    detector_efficiency,
    etalon,
    gate,
    hbt,
    hom,
    leak,
    lifetime,
    misalignment,
    phase,
    purcell,
    rabi,
    saturation,
    stability,
    transmitter,
)

MEASUREMENTS: Registry = measurements_by_name(
    (
        dark.MEASUREMENT,
        cavity.MEASUREMENT,
        dead_time.MEASUREMENT,
        detector_efficiency.MEASUREMENT,
        rabi.MEASUREMENT,
        lifetime.MEASUREMENT,
        etalon.MEASUREMENT,
        hbt.BEFORE_TRANSMITTER,
        brightness.MEASUREMENT,
        transmitter.MEASUREMENT,
        hbt.AFTER_TRANSMITTER,
        gate.MEASUREMENT,
        misalignment.MEASUREMENT,
        phase.MEASUREMENT,
        hom.MEASUREMENT,
        purcell.MEASUREMENT,
        leak.MEASUREMENT,
        saturation.MEASUREMENT,
        stability.MEASUREMENT,
    )
)
"""The measurements of qdchar itself; a station file may add a lab's own."""
