"""Protocols: one file a measurement; they ask for roles, never for a driver."""

from . import (
    brightness,
    cavity,
    dark,
    dead_time,
    detector_efficiency,
    etalon,
    hbt,
    hom,
    leak,
    lifetime,
    misalignment,
    phase,
    pump,
    purcell,
    rabi,
    saturation,
    transmitter,
)
from ._peak_lock import LockResult

__all__ = [
    "LockResult",
    "brightness",
    "cavity",
    "dark",
    "dead_time",
    "detector_efficiency",
    "etalon",
    "hbt",
    "hom",
    "leak",
    "lifetime",
    "misalignment",
    "phase",
    "pump",
    "purcell",
    "rabi",
    "saturation",
    "transmitter",
]
