"""Before the verdict: a short look at what the results rest on. What changed is a problem.

Looked at are the cavity's lock, the pump's power, the dark counts, the light before and after the
transmitter (its rate, split, pulse width, g2(0) and throughput), the light below and above the pi
pulse, the polarisation states, and the laser on the detectors. What takes scans is not looked at
again: the piezo's scales, the indistinguishability, and the etalon's width and the linewidth as far
as they leave the throughput alone.
"""

from __future__ import annotations

import math
import statistics

from qdchar import analysis, protocols
from qdchar.analysis.detection.pulsed_run import pulse_width_s
from qdchar.errors import InconclusiveError, RefusedError

from . import expected
from .measurements import dark_times
from .measurements.reception import reception
from .session import Session

_SMALLEST = {"collection_efficiency": 0.05, "g2_zero_source": 0.2, "g2_zero": 0.2}
"""Relative changes that count if they are significant; g2 is not corrected for detuning here."""


def look_again(s: Session) -> None:
    """Look once more, and take what does not hold as problems of the run."""
    with s.display.step(expected.LAST_LOOK, "last_look"):
        look = protocols.last_look.measure(
            s.light_path, s.pump_attenuator, s.pump_monitor(), s.tagger
        )
        # After the dark counts: soon after a tuning the piezo creeps by some mV meanwhile, which
        # makes the pulses a quarter longer.
        s.relock_cavity()
        s.light.add_last_look(
            look,
            reading_W=s.pi_reading_W(),
            u_zero_W=math.hypot(s.pump_monitor().u_zero_W, s.meter_errors().zero.u),
            dark_count_rate=s.known("dark_count_rate"),
        )
        if "transmitter_efficiency" in s.found:
            _look_at_light(s)
        if s.light.laser_reading_W is not None:
            _look_at_laser(s, s.light.laser_reading_W)
    for doubt in s.light.take_doubts():
        s.problems.append(f"last look: {doubt}")
        s.display.say(f"    PROBLEM: {doubt}")


def _look_at_light(s: Session) -> None:
    before_s, after_s = (
        dark_times.times_longer(s, usual_s) * usual_s
        for usual_s in (protocols.last_look.BEFORE_S, protocols.last_look.AFTER_S)
    )
    before, after = protocols.last_look.record_light(
        s.light_path, s.tagger, s.run.raw, before_s, after_s
    )
    s.light.add_run(before)
    s.light.add_run(after)
    if s.light.states:
        s.light.add_states(
            protocols.last_look.count_states(
                s.light_path, s.modulator, s.analyser, s.tagger, s.light.states
            )
        )
    if "rabi_damping" in s.found:
        _look_beside_pi(s)
    dark = s.known("dark_count_rate")
    try:
        again = [
            *analysis.brightness.analyse(
                before,
                detector_efficiency=s.certificate("detector_efficiency"),
                dark_count_rate=dark,
                reception=reception(s, "before"),
            ).estimates,
            *analysis.hbt.analyse(before, dark_count_rate=dark).estimates,
            *analysis.hbt.analyse(
                after, name="g2_zero", plane="transmitter output", dark_count_rate=dark
            ).estimates,
        ]
        first = s.light.first_run
        if first is not None:
            s.light.add_width(
                before,
                pulse_width_s(before),
                first,
                pulse_width_s(first),
                _lifetime_off_resonance(s),
            )
    except InconclusiveError as error:
        s.light.doubts.append(str(error))
        return
    for now in again:
        if now.name in _SMALLEST and now.name in s.found:
            then = s.found[now.name]
            # a recording that met few dark times does not show how many the next one would
            flicker = s.light.flicker(before_s) if now.name == "collection_efficiency" else 0.0
            s.light.add_again(then, now, _SMALLEST[now.name], flicker * then.value)


def _lifetime_off_resonance(s: Session) -> float:
    """Return how much longer the lifetime can be where the lock left the cavity, relative.

    F0 (2 z/w)^2 at three standard uncertainties of a lock's position, which a source that blinks
    makes large. The root mean square of all locks counts, because one has few readouts.
    """
    purcell = s.optional_certificate("purcell_expected")
    width = s.maybe("cavity_count_fwhm_voltage")
    if purcell is None or width is None or not s.locks:
        return 0.0
    square_V2 = statistics.fmean(lock.u_voltage_V**2 for lock in s.locks)
    return purcell.value * 36.0 * square_V2 / width.value**2


def _look_beside_pi(s: Session) -> None:
    try:
        levels = protocols.last_look.count_beside_pi(
            s.light_path, s.pump_attenuator, s.pump_monitor(), s.tagger
        )
    except RefusedError as error:
        s.display.say(f"    not looked at below and above the pi pulse: {error}")
        return
    s.light.add_beside_pi(
        levels,
        pi_reading_W=s.pi_reading_W(),
        damping=s.known("rabi_damping").value,
        dead_pulses=s.dead_pulses(),
        clock_rate_Hz=s.clock_rate_Hz(),
    )


def _look_at_laser(s: Session, power_W: float) -> None:
    try:
        seen = protocols.last_look.count_laser(
            s.light_path, s.pump_attenuator, s.pump_monitor(), s.tagger, power_W
        )
    except (InconclusiveError, RefusedError) as error:
        s.light.doubts.append(str(error))
        return
    s.light.add_laser(*seen)
