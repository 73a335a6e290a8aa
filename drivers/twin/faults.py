"""The faults that the simulated lab can have, in one table: `FAULTS`.

A fault is given as ``NAME``, from the start of the lab; as ``NAME@MEASUREMENT``, from the start of
that measurement; or as ``NAME@MEASUREMENT+50%``, from half of that measurement's first recording
of tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from qdchar.errors import UsageError

from .broken_lab import BrokenLab, PlannedFault
from .defects import WireDefect

Group = Literal[
    "power meter",
    "pump and attenuator",
    "light path",
    "cavity",
    "vibration",
    "etalon",
    "source",
    "transmitter",
    "detectors",
    "room light",
    "tagger",
    "clock",
    "wires",
]
Apply = Callable[[BrokenLab], None]


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    name
        As in ``--fault NAME``.
    group
        The part of the lab that breaks.
    description
        What happens, in one sentence.
    size
        How much.
    apply
        Breaks a lab.
    """

    name: str
    group: Group
    description: str
    size: str
    apply: Apply


def planned_fault(text: str) -> PlannedFault:
    """Read ``NAME``, ``NAME@MEASUREMENT`` or ``NAME@MEASUREMENT+50%``.

    Raises
    ------
    UsageError
        If it reads otherwise, or no fault has that name.
    """
    match = re.fullmatch(r"(\w+)(?:@(\w+)(?:\+(\d+(?:\.\d*)?)%)?)?", text.strip())
    if match is None:
        raise UsageError(
            f"--fault {text}: must read NAME, NAME@MEASUREMENT or NAME@MEASUREMENT+50%"
        )
    name, measurement, percent = match.groups()
    if name not in FAULTS:
        raise UsageError(f"--fault {name}: unknown; `--fault list` prints those that are known")
    share = 0.01 * float(percent or 0.0)
    if not share < 1.0:
        raise UsageError(f"--fault {text}: the share of a recording must be below 100 %")
    return PlannedFault(FAULTS[name], measurement or "", share)


def _truth(group: str, name: str, change: Callable[[float], float]) -> Apply:
    def apply(lab: BrokenLab) -> None:
        old = getattr(getattr(lab.truth, group), name)
        lab.change_truth(group, **{name: change(old)})

    return apply


def _error(name: str, change: Callable[[float], float]) -> Apply:
    return lambda lab: lab.change_errors(**{name: change(getattr(lab.errors, name))})


def _defect(**changes: object) -> Apply:
    def apply(lab: BrokenLab) -> None:
        for name, value in changes.items():
            setattr(lab.defects, name, value)

    return apply


def _tags(**changes: object) -> Apply:
    def apply(lab: BrokenLab) -> None:
        for name, value in changes.items():
            setattr(lab.defects.tags, name, value)

    return apply


def _wire(emulator: str, make: Callable[[], WireDefect]) -> Apply:
    return lambda lab: lab.defects.wires.update({emulator: make()})


def _times(factor: float) -> Callable[[float], float]:
    return lambda value: factor * value


def _to(new: float) -> Callable[[float], float]:
    return lambda _: new


def _plus(step: float) -> Callable[[float], float]:
    return lambda value: value + step


def _all(*parts: Apply) -> Apply:
    def apply(lab: BrokenLab) -> None:
        for part in parts:
            part(lab)

    return apply


def _cavity_jumps(widths: float = 0.0, orders: float = 0.0) -> Apply:
    def apply(lab: BrokenLab) -> None:
        true = {name: value for name, value, _ in lab.truth.quantities()}
        lab.settings.coarse_m += widths * true["cavity_count_fwhm"]
        lab.settings.coarse_m += orders * lab.truth.cavity_fsr_m

    return apply


def _piezo(which: Literal["fine", "etalon"], **changes: float) -> Apply:
    def apply(lab: BrokenLab) -> None:
        for name, value in changes.items():
            setattr(getattr(lab.settings, which), name, value)

    return apply


def _shutter(open: bool) -> Apply:
    def apply(lab: BrokenLab) -> None:
        lab.settings.shutter_open = open
        lab.defects.shutter_stuck = True

    return apply


def _misalignment(new: float) -> Apply:
    def apply(lab: BrokenLab) -> None:
        factor = new / lab.truth.transmitter.misalignment
        lab.change_truth("transmitter", misalignment=new)
        by_state = {state: factor * p for state, p in lab.errors.misalignment.items()}
        lab.change_errors(misalignment=by_state)

    return apply


def _leak(factor: float) -> Apply:
    """More leaked laser; the dot's photons stay. The model ties re-excitation to the leak."""

    def apply(lab: BrokenLab) -> None:
        s = lab.truth.source
        lab.change_truth("source", g2=factor * s.g2)
        collection = s.dot_photons * (1.0 + lab.truth.source.leak_ratio)
        lab.change_truth("source", collection=collection)

    return apply


def _lose_pulses(lost: float) -> Apply:
    """Pulses missing at random: photon and pair numbers fall alike, so that g2 rises."""

    def apply(lab: BrokenLab) -> None:
        s, laser = lab.truth.source, lab.truth.laser
        lab.change_truth("source", collection=(1.0 - lost) * s.collection, g2=s.g2 / (1.0 - lost))
        lab.change_truth("laser", photons_per_W=(1.0 - lost) * laser.photons_per_W)

    return apply


def _etalon_drift(Hz_per_s: float) -> Apply:
    return lambda lab: _defect(etalon_drift_Hz_per_s=Hz_per_s, etalon_since_s=lab.now_s)(lab)


def _cavity_drift(m_per_s: float) -> Apply:
    return lambda lab: _defect(cavity_drift_m_per_s=m_per_s, cavity_since_s=lab.now_s)(lab)


def _pump_drift(per_s: float) -> Apply:
    return lambda lab: _defect(pump_per_s=per_s, pump_since_s=lab.now_s)(lab)


def _without_digits(reply: bytes) -> bytes:
    return re.sub(rb"\d", b"?", reply)


def _with_comma(reply: bytes) -> bytes:
    return reply.replace(b".", b",")


def _half(reply: bytes) -> bytes:
    return reply[: len(reply) // 2]


_PARTIAL_WIDTH = 0.3

_TABLE: Iterable[Fault] = (
    # power meter
    Fault("meter_zero", "power meter", "The power meter reads too much, with or without light.",
          "+1 nW", _defect(meter_zero_W=1e-9)),
    Fault("meter_gain", "power meter", "The power meter loses sensitivity.",
          "-10 %", _error("meter_response", _times(0.9))),
    Fault("meter_saturates", "power meter", "The power meter reads no more than its range.",
          "5 nW", _defect(meter_highest_W=5e-9)),
    Fault("meter_stuck", "power meter", "The power meter repeats its last reading.",
          "all readings", _defect(meter_stuck=True)),
    # pump and attenuator
    Fault("pump_stronger", "pump and attenuator", "The pump laser emits more power.",
          "+30 %", _truth("laser", "power_W", _times(1.3))),
    Fault("pump_weaker", "pump and attenuator", "The pump laser emits less power.",
          "-30 %", _truth("laser", "power_W", _times(0.7))),
    Fault("pump_coupling", "pump and attenuator",
          "More of the pump reaches the dot, and the power meter does not see it.",
          "+30 %", _all(_truth("laser", "power_W", _times(1.3)),
                        _error("meter_response", _times(1 / 1.3)))),
    Fault("pump_drifts", "pump and attenuator", "The pump's power grows steadily.",
          "0.5 % per second", _pump_drift(0.005)),
    Fault("attenuator_stuck", "pump and attenuator",
          "The attenuator stays where it is and reports what it was asked for.",
          "all commands", _defect(attenuator_stuck=True)),
    Fault("attenuator_off", "pump and attenuator",
          "The attenuator attenuates more than it reports.",
          "1 dB", _defect(attenuator_extra_dB=1.0)),
    Fault("shutter_stuck_open", "pump and attenuator",
          "The pump's shutter opens, stays open, and reports what it was asked for.",
          "all commands", _shutter(True)),
    Fault("shutter_stuck_closed", "pump and attenuator",
          "The pump's shutter closes, stays closed, and reports what it was asked for.",
          "all commands", _shutter(False)),
    # light path
    Fault("switch_wrong_port", "light path",
          "The optical switch goes to the port `before` instead of `after`, from its next move on.",
          "all moves", _defect(ports={"after": "before"})),
    Fault("switch_not_blocked", "light path",
          "The optical switch goes to the port `before` instead of `blocked`, from its next move "
          "on.", "all moves", _defect(ports={"blocked": "before"})),
    Fault("switch_stuck", "light path",
          "The optical switch stays where it is and reports the port it was asked for.",
          "all moves", _defect(path_stuck=True)),
    Fault("switch_lossy_before", "light path", "The port `before` of the optical switch has loss.",
          "10 %", _defect(port_transmission={"before": 0.9})),
    Fault("switch_lossy_after", "light path", "The port `after` of the optical switch has loss.",
          "10 %", _defect(port_transmission={"after": 0.9})),
    Fault("switch_lossy_laser", "light path", "The port `laser` of the optical switch has loss.",
          "10 %", _defect(port_transmission={"laser": 0.9})),
    # cavity
    Fault("cavity_half_order", "cavity",
          "The cavity jumps to half way between two of its orders: the source is dark.",
          "half a free spectral range", _cavity_jumps(orders=0.5)),
    Fault("cavity_one_width", "cavity", "The cavity jumps off the dot's resonance.",
          "one width", _cavity_jumps(widths=1.0)),
    Fault("cavity_part_of_width", "cavity", "The cavity jumps a little off the dot's resonance.",
          f"{_PARTIAL_WIDTH:g} of its width", _cavity_jumps(widths=_PARTIAL_WIDTH)),
    Fault("cavity_drifts", "cavity", "The cavity's mirror drifts steadily.",
          "0.1 nm/s", _cavity_drift(1e-10)),
    Fault("cavity_stuck", "cavity",
          "The cavity's piezo stays where it is, and its controller reports what it was asked for.",
          "all commands", _defect(cavity_stuck=True)),
    Fault("cavity_hysteresis", "cavity", "The hysteresis of the cavity's piezo grows.",
          "6 % to 15 %", _piezo("fine", hysteresis=0.15)),
    Fault("cavity_creep", "cavity", "The creep of the cavity's piezo grows.",
          "1.2 % to 4.8 % per decade", _piezo("fine", creep=0.048)),
    Fault("cavity_thermal", "cavity", "The pump's heat moves the cavity's mirror.",
          "0.15 nm per nW", _defect(thermal_m_per_W=0.15)),
    # vibration
    Fault("vibration", "vibration", "The cavity's mirror vibrates more.",
          "10 times", _truth("piezo", "vibration_m", _times(10.0))),
    Fault("vibration_strong", "vibration", "The cavity's mirror vibrates over its whole width.",
          "50 times", _truth("piezo", "vibration_m", _times(50.0))),
    # etalon
    Fault("etalon_jumps", "etalon", "The etalon jumps off the emission line.",
          "2.7 GHz, half its width", _error("etalon_peak_V", _plus(1.5))),
    Fault("etalon_drifts", "etalon", "The etalon drifts steadily.",
          "0.1 GHz/s", _etalon_drift(0.1e9)),
    Fault("etalon_stuck", "etalon",
          "The etalon's piezo stays where it is, and its controller reports what it was asked for.",
          "all commands", _defect(etalon_stuck=True)),
    Fault("etalon_hysteresis", "etalon", "The hysteresis of the etalon's piezo grows.",
          "0.4 % to 5 %", _piezo("etalon", hysteresis=0.05)),
    Fault("etalon_broader", "etalon", "The etalon's transmission line gets broader.",
          "5.4 GHz to 7.5 GHz", _truth("transmitter", "etalon_fwhm_Hz", _to(7.5e9))),
    # source
    Fault("source_fainter", "source", "Less of the source's light reaches the fibre.",
          "-20 %", _truth("source", "collection", _times(0.8))),
    Fault("source_fades", "source", "The source fades steadily.",
          "-50 % per hour", _truth("source", "fade_per_hour", _to(-0.5))),
    Fault("source_dies", "source", "The dot stops emitting.",
          "0.1 % left", _truth("source", "collection", _times(1e-3))),
    Fault("blinking", "source", "The dot begins to blink.",
          "on for half of the time, 1 ms", _all(
              _truth("source", "on_fraction", _to(0.5)),
              _truth("source", "blinking_time_s", _to(1e-3)))),
    Fault("blinking_slow", "source", "The dot begins to blink slowly.",
          "on for 80 % of the time, 50 ms", _all(
              _truth("source", "on_fraction", _to(0.8)),
              _truth("source", "blinking_time_s", _to(50e-3)))),
    Fault("linewidth", "source", "The emission line wanders more, and gets broader.",
          "wandering 0.54 GHz to 2 GHz", _truth("source", "wandering_Hz", _to(2e9))),
    Fault("lifetime", "source", "The dot decays more slowly.",
          "+30 %", _truth("source", "lifetime_s", _times(1.3))),
    Fault("laser_leak", "source",
          "The suppression of the pump laser gets worse, and re-excitation with it.",
          "g2 in the fibre 3 times", _leak(3.0)),
    Fault("rabi_detuned", "source", "The dot needs more power for a pi pulse.",
          "+40 %", _truth("source", "pi_power_W", _times(1.4))),
    # transmitter
    Fault("transmitter_loss", "transmitter", "The transmitter loses more light.",
          "-20 %", _truth("transmitter", "efficiency", _times(0.8))),
    Fault("misalignment", "transmitter", "The polarisation at the transmitter's output is off.",
          "error probability 8 %", _misalignment(0.08)),
    Fault("modulator_gain", "transmitter", "One amplifier of the modulator loses gain.",
          "-15 %", _defect(modulator_gain={1: 0.85})),
    Fault("modulator_dead", "transmitter", "One amplifier of the modulator is off.",
          "0 V", _defect(modulator_gain={2: 0.0})),
    Fault("plate_stuck", "transmitter",
          "The half-wave plate stays where it is, and its mount reports the angle asked for.",
          "all commands", _defect(plates_stuck={"half"})),
    # detectors
    Fault("detector_a_half", "detectors", "Detector A loses efficiency.",
          "-50 %", _defect(detector_factors=(0.5, 1.0))),
    Fault("detector_a_dead", "detectors", "Detector A gives no more clicks.",
          "all clicks", _defect(detector_factors=(0.0, 1.0))),
    Fault("detectors_weaker", "detectors", "Both detectors lose efficiency.",
          "-10 %", _defect(detector_factors=(0.9, 0.9))),
    Fault("detector_latches", "detectors",
          "Detector A latches at a high rate, and stays silent until the light is blocked.",
          "8 Mcps", _tags(latching_Hz=8e6)),
    Fault("detector_saturates", "detectors", "The detectors lose efficiency with their rate.",
          "1 % per Mcps", _tags(saturation_s=1e-8)),
    Fault("dark_counts", "detectors", "The dark counts grow.",
          "100 times", _truth("detectors", "dark_count_Hz", _times(100.0))),
    Fault("jitter", "detectors", "The jitter of the detectors grows.",
          "3 times", _truth("detectors", "jitter_s", _times(3.0))),
    Fault("dead_time", "detectors", "The dead time of the detectors grows.",
          "30 ns to 45 ns", _truth("detectors", "dead_time_s", _times(1.5))),
    Fault("cross_talk", "detectors", "A click of one detector can make the other click.",
          "0.1 %, after 0.5 ns", _tags(cross_talk=1e-3)),
    Fault("afterpulsing", "detectors", "A click can be followed by an afterpulse.",
          "1 %, 50 ns after the dead time", _tags(afterpulsing=0.01)),
    # room light
    Fault("room_light", "room light", "The room light is on.",
          "4300 clicks/s more", _defect(room_Hz=4300.0)),
    Fault("room_light_strong", "room light", "The room light shines on an open fibre end.",
          "400 000 clicks/s more", _defect(room_Hz=4e5)),
    # tagger
    Fault("tags_lost_5", "tagger", "A recording loses tags without a flag; counts do not.",
          "5 %", _tags(lost=0.05)),
    Fault("tags_lost_20", "tagger", "A recording loses tags without a flag; counts do not.",
          "20 %", _tags(lost=0.2)),
    Fault("tags_doubled", "tagger", "Some tags are recorded again, 10 ns later.",
          "1 %", _tags(doubled=0.01)),
    Fault("overflow", "tagger", "Every block of tags carries the flag for lost tags.",
          "all blocks", _tags(overflow=True)),
    Fault("channels_swapped", "tagger", "The cables of detectors A and B are swapped.",
          "A is B", _tags(swapped=True)),
    Fault("delay_jumps", "tagger", "The signal of detector A comes later.",
          "2 ns", _error("delay_a_ps", _plus(2000.0))),
    Fault("delay_jumps_a_period", "tagger", "The signal of detector A comes a whole pulse later.",
          "13.14 ns", _error("delay_a_ps", _plus(13135.4))),
    Fault("count_stale", "tagger", "Counts come one request too late.",
          "all counts", _tags(count_stale=True)),
    # clock
    Fault("clock_changes", "clock", "The pulse rate falls.",
          "10 ppm", _truth("source", "clock_Hz", _times(1.0 - 1e-5))),
    Fault("clock_phase_jumps", "clock", "The clock tags come later from here on.",
          "1 ns", _tags(shift_ps=1000)),
    Fault("clock_jitter", "clock", "The jitter of the clock tags grows.",
          "5 ps to 500 ps", _truth("detectors", "sync_jitter_s", _to(500e-12))),
    Fault("clock_tags_lost", "clock", "Clock tags are missing.",
          "1 %", _tags(lost_clock=0.01)),
    Fault("sync_divider", "clock", "The tagger divides the clock by more than it reports.",
          "2 times", _truth("detectors", "sync_divider", lambda n: int(2 * n))),
    Fault("laser_loses_pulses", "clock", "The laser misses pulses at random.",
          "10 %", _lose_pulses(0.1)),
    # wires
    Fault("attenuator_garbled", "wires", "One reply of the attenuator is garbled.",
          "one reply", _wire("pump_attenuator", lambda: WireDefect(_without_digits, replies=1))),
    Fault("attenuator_garbled_always", "wires", "All replies of the attenuator are garbled.",
          "all replies", _wire("pump_attenuator", lambda: WireDefect(_without_digits))),
    Fault("meter_comma", "wires", "The power meter writes its decimals with a comma.",
          "all replies", _wire("pump_power", lambda: WireDefect(_with_comma))),
    Fault("etalon_comma", "wires", "The etalon's controller writes its decimals with a comma.",
          "all replies", _wire("etalon_piezo", lambda: WireDefect(_with_comma))),
    Fault("meter_late", "wires", "One reply of the power meter comes after the driver's timeout.",
          "one reply, 3 s", _wire("pump_power", lambda: WireDefect(delay_s=3.0, replies=1))),
    Fault("cavity_late", "wires", "One reply of the cavity's controller comes late.",
          "one reply, 3 s", _wire("anc", lambda: WireDefect(delay_s=3.0, replies=1))),
    Fault("cavity_dropped", "wires", "The cavity's controller closes the connection once.",
          "one reply", _wire("anc", lambda: WireDefect(hangs_up=True, replies=1))),
    Fault("cavity_off", "wires", "The cavity's controller closes every connection.",
          "all replies", _wire("anc", lambda: WireDefect(hangs_up=True))),
    Fault("switch_cut_reply", "wires", "Half of one reply of the optical switch is missing.",
          "one reply", _wire("light_path", lambda: WireDefect(_half, replies=1))),
    Fault("tagger_dropped", "wires", "The tagger closes the connection within a recording.",
          "once", _wire("tagger", lambda: WireDefect(hangs_up=True, replies=1, only_tags=True))),
    Fault("tagger_garbled", "wires", "A part of a recording arrives with wrong bytes.",
          "once", _wire("tagger", lambda: WireDefect(
              lambda data: bytes(len(data)), replies=1, only_tags=True))),
)  # fmt: skip

FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _TABLE}
"""All faults by name, by group."""
