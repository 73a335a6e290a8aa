"""Analyses: one file a measurement; from raw data to estimates with uncertainties."""

from . import (
    brightness,
    cavity,
    dark,
    dead_time,
    detector_efficiency,
    detuning,
    etalon,
    gate,
    hbt,
    lifetime,
    misalignment,
    rabi,
    transmitter,
)

__all__ = [
    "brightness",
    "cavity",
    "dark",
    "dead_time",
    "detector_efficiency",
    "detuning",
    "etalon",
    "gate",
    "hbt",
    "lifetime",
    "misalignment",
    "rabi",
    "transmitter",
]
