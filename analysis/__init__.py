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
    hom,
    lifetime,
    misalignment,
    phase,
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
    "hom",
    "lifetime",
    "misalignment",
    "phase",
    "rabi",
    "transmitter",
]
