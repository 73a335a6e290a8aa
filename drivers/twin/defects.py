"""What can be broken in the simulated lab beyond the values of its truth.

`faults` sets these; the lab, its tags and its wires act on them. Each default is that of a lab
in which nothing is broken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class TagDefects:
    """What detectors and time tagger do wrong with clicks and tags.

    Attributes
    ----------
    afterpulsing, trap_s
        Probability that a click is followed by an afterpulse, and the decay time of the trap: the
        afterpulse comes after the dead time and an exponential wait [s].
    cross_talk, cross_talk_s
        Probability that a click makes the other detector click, and the delay of that click [s].
    saturation_s
        A detector of rate R detects ``1/(1 + R saturation_s)`` of what it would.
    latching_Hz
        Rate above which detector A latches: it stays silent until the light path is blocked.
    lost, lost_clock
        Shares of the clicks' tags and of the clock tags that a recording loses without a flag.
    doubled
        Share of the clicks' tags that are recorded twice, with the second 10 ns later.
    overflow
        Recordings carry the flag for lost tags.
    swapped
        A's input has B's cable, and B's input A's.
    shift_ps
        By how much all clock tags come too late [ps].
    count_stale
        `count` returns the clicks of the count before.
    """

    afterpulsing: float = 0.0
    trap_s: float = 50e-9
    cross_talk: float = 0.0
    cross_talk_s: float = 0.5e-9
    saturation_s: float = 0.0
    latching_Hz: float = math.inf
    lost: float = 0.0
    lost_clock: float = 0.0
    doubled: float = 0.0
    overflow: bool = False
    swapped: bool = False
    shift_ps: int = 0
    count_stale: bool = False


@dataclass
class WireDefect:
    """What an instrument's wire does to replies.

    Attributes
    ----------
    spoil
        Changes the bytes of a reply.
    delay_s
        Real time by which a reply is late [s].
    hangs_up
        The connection is closed instead of a reply.
    replies
        How many replies this happens to; all where infinite.
    only_tags
        Whether a tagger's other replies are left alone.
    """

    spoil: Callable[[bytes], bytes] = bytes
    delay_s: float = 0.0
    hangs_up: bool = False
    replies: float = math.inf
    only_tags: bool = False


@dataclass
class Defects:
    """What is broken.

    Attributes
    ----------
    meter_zero_W, meter_highest_W, meter_stuck
        What the power meter reads without light, its highest reading, and whether it repeats its
        last reading.
    pump_per_s, pump_since_s
        Relative growth of the pump per second, and since when.
    attenuator_extra_dB, attenuator_stuck
        Loss beside what is set, and whether commands have no effect; the attenuator reports what
        it was asked for.
    shutter_stuck
        As the attenuator.
    ports
        Light path that is reached instead of the one asked for, from the next move on.
    port_transmission
        Transmission of a position of the light path.
    path_stuck
        As the attenuator.
    thermal_m_per_W
        Displacement of the cavity's mirror by the pump's heat.
    cavity_drift_m_per_s, cavity_since_s
        Further drift of the cavity's mirror, and since when.
    cavity_stuck, etalon_stuck
        Whether the piezo stays where it is; its controller reports what it was asked for.
    etalon_drift_Hz_per_s, etalon_since_s
        Drift of the etalon, and since when.
    room_Hz
        Clicks per second by room light, both detectors together.
    detector_factors
        Factors on the efficiencies of A and B.
    plates_stuck
        Wave plates whose mounts report the angle asked for and do not turn.
    modulator_gain
        By channel, what of the voltage reaches the modulator.
    tags
        Of clicks and tags.
    wires
        By emulator, as `serve` names them.
    """

    meter_zero_W: float = 0.0
    meter_highest_W: float = math.inf
    meter_stuck: bool = False
    pump_per_s: float = 0.0
    pump_since_s: float = 0.0
    attenuator_extra_dB: float = 0.0
    attenuator_stuck: bool = False
    shutter_stuck: bool = False
    ports: dict[str, str] = field(default_factory=dict)
    port_transmission: dict[str, float] = field(default_factory=dict)
    path_stuck: bool = False
    thermal_m_per_W: float = 0.0
    cavity_drift_m_per_s: float = 0.0
    cavity_since_s: float = 0.0
    cavity_stuck: bool = False
    etalon_stuck: bool = False
    etalon_drift_Hz_per_s: float = 0.0
    etalon_since_s: float = 0.0
    room_Hz: float = 0.0
    detector_factors: tuple[float, float] = (1.0, 1.0)
    plates_stuck: set[str] = field(default_factory=set)
    modulator_gain: dict[int, float] = field(default_factory=dict)
    tags: TagDefects = field(default_factory=TagDefects)
    wires: dict[str, WireDefect] = field(default_factory=dict)
