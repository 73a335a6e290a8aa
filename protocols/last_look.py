"""Last look: pump, dark counts, light and polarisation once more, before a calibration is judged.

`measure` reads the power monitor and counts with the light blocked; it moves the light path and the
pump shutter, and leaves the path at ``blocked`` and the shutter open. `record_light` records time
tags before and after the transmitter. `count_beside_pi` counts below and above the pi pulse,
`count_laser` counts the laser on the detectors; both set the attenuator back. `count_states` counts
each polarisation state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qdchar.raw_data import TagRun
from qdchar.roles import (
    Attenuator,
    Counts,
    LightPath,
    PolarisationAnalyser,
    PolarisationModulator,
    TimeTagger,
)

from ._tags import record, run_about
from .pump import PowerReader, faint_laser, mean_power, response_fault, set_power

DWELL_S = 1.0
"""Counting time for the dark counts [s]: light of 20 times their usual rate is seen at once."""

BEFORE_S, AFTER_S = 0.05, 0.15
"""Recording times [s]: the light to 0.1 %, g2(0) to some percent."""

BESIDE_PI = (0.7, 1.4)
"""Powers over that of the pi pulse: on either side of the maximum, where the light changes."""

BESIDE_PI_COUNTS, BESIDE_PI_S = 5, 0.01
"""Countings per power, whose scatter shows a source that blinks, and their time [s]."""

STATE_S = 0.03
LASER_S = 0.05
"""Counting time per polarisation state, and for the laser [s]."""


@dataclass(frozen=True)
class LastLook:
    """What was seen.

    Attributes
    ----------
    reading_W
        Mean reading of the pump power monitor, less its zero [W].
    zero_W
        The same with the shutter closed: by how much the zero has changed [W].
    dark
        Clicks with the shutter closed and the light path blocked.
    """

    reading_W: float
    zero_W: float
    dark: Counts


@dataclass(frozen=True)
class Level:
    """Light at one power of the pump.

    Attributes
    ----------
    attenuation_dB
        Of the pump attenuator [dB].
    reading_W
        Mean reading of the power monitor [W].
    counts
        Clicks of both detectors, one after the other.
    """

    attenuation_dB: float
    reading_W: float
    counts: tuple[Counts, ...]


def level_fault(low: Level, high: Level) -> str:
    """Return what is wrong if the power monitor did not follow the attenuator; else nothing."""
    return response_fault(
        low.attenuation_dB, high.attenuation_dB, low.reading_W, high.reading_W, 0.0
    )


def measure(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerReader,
    tagger: TimeTagger,
) -> LastLook:
    """Read the pump power as it is, then count with the light blocked."""
    reading_W = mean_power(pump_power)
    light_path.select("blocked")
    pump_attenuator.close_shutter()
    try:
        dark = tagger.count(DWELL_S)
        zero_W = mean_power(pump_power)
    finally:
        pump_attenuator.open_shutter()
    return LastLook(reading_W, zero_W, dark)


def record_light(
    light_path: LightPath, tagger: TimeTagger, folder: Path, before_s: float, after_s: float
) -> tuple[TagRun, TagRun]:
    """Record time tags before the transmitter, then after it; leaves the path there."""

    def run(path: Literal["before", "after"], duration_s: float) -> TagRun:
        light_path.select(path)
        about = run_about("last_look", path, tagger, duration_s)
        return record(tagger, folder / f"last_look_{path}.h5", duration_s, about)

    return run("before", before_s), run("after", after_s)


def count_beside_pi(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerReader,
    tagger: TimeTagger,
) -> tuple[Level, Level]:
    """Count in the source's fibre below and above the present pump power.

    Raises
    ------
    RefusedError
        If the limits of the attenuator do not allow it; it did not move.
    """
    present_dB = pump_attenuator.attenuation()
    wanted_dB = [present_dB - 10.0 * math.log10(factor) for factor in BESIDE_PI]
    pump_attenuator.check(*wanted_dB)
    light_path.select("before")

    def level(attenuation_dB: float) -> Level:
        pump_attenuator.set_attenuation(attenuation_dB)
        reading_W = mean_power(pump_power)
        counts = tuple(tagger.count(BESIDE_PI_S) for _ in range(BESIDE_PI_COUNTS))
        return Level(attenuation_dB, reading_W, counts)

    try:
        low, high = map(level, wanted_dB)
    finally:
        pump_attenuator.set_attenuation(present_dB)
    return low, high


def count_laser(
    light_path: LightPath,
    pump_attenuator: Attenuator,
    pump_power: PowerReader,
    tagger: TimeTagger,
    power_W: float,
) -> tuple[float, Counts]:
    """Count the laser on the detectors at a power that they were measured at; leaves ``before``.

    Parameters
    ----------
    power_W
        Wanted reading of the power monitor [W].

    Returns
    -------
    tuple
        Mean reading of the power monitor [W], and clicks.

    Raises
    ------
    RefusedError
        If the limits of the attenuator do not allow the power; it did not move beyond them.
    InconclusiveError
        If the power monitor does not follow the attenuator.
    """
    with faint_laser(light_path, pump_attenuator):
        set_power(pump_attenuator, pump_power, power_W)
        return mean_power(pump_power), tagger.count(LASER_S)


def count_states(
    light_path: LightPath,
    modulator: PolarisationModulator,
    analyser: PolarisationAnalyser,
    tagger: TimeTagger,
    states: Sequence[str],
) -> dict[str, Counts]:
    """Send each state, turn the analyser to it, and count; leaves the path at ``receiver``."""
    light_path.select("receiver")
    counts = {}
    for state in states:
        modulator.select(state)
        analyser.select(state)
        counts[state] = tagger.count(STATE_S)
    return counts
