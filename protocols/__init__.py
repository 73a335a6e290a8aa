"""Protocols: one module for each measurement; each asks for instruments by role, not by model.

Each has a function ``measure``. What these have in common:

Parameters
----------
light_path, tagger, pump_attenuator, pump_power, cavity_fine, etalon_piezo, modulator, analyser
    The instruments, see `qdchar.roles`.
monitor
    The power meter with its zero, see `qdchar.protocols.pump.zeroed`.
file, folder
    Where raw data are written while they are measured: a file that does not exist yet, or a folder.
settings
    What is asked for; each protocol has its own class of settings.
path
    Position of the light path.
progress
    Told how far the measurement is; silent if not given.
"""

from . import (
    brightness,
    cavity,
    dark,
    dead_time,
    detector_efficiency,
    etalon,
    hbt,
    hom,
    last_look,
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
    "last_look",
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
