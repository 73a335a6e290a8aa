"""Protocols: one module for each measurement; each asks for instruments by role, not by model."""

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
