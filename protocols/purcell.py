"""Purcell factor: time tags of the emission at several detunings of the cavity.

Measures one recording of the source at each detuning, and one of the pump laser for the instrument
response. Moves the cavity's fine piezo, the pump attenuator and the light path. Leaves the cavity
locked to its resonance and the attenuator where it was before; the light path is as the re-lock
leaves it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from qdchar.files import PathLike
from qdchar.raw_data import Progress, ScanWriter, Settings, TagRun, silent
from qdchar.roles import Attenuator, LightPath, TimeTagger, VoltageAxis

from ._peak_lock import LockResult, approach, settle
from ._scan import scan_about, total_rate
from ._tags import record, run_about
from .lifetime import record_response

_CREEP = 0.01
"""Further motion of a piezo in each decade of time after a step, relative to the step."""


class PurcellSettings(Settings):
    """Detunings of the cavity, and how long to record at each.

    Attributes
    ----------
    detunings
        Distances from the resonance, in full widths at half maximum of the count-rate peak; both
        signs and 0. That peak is wider than the cavity's mode by about sqrt(1 + F0), with F0 the
        Purcell factor. Alternate the signs, so that a drift is not taken for a shift.
    overshoot_V
        How far below the lowest detuning every approach begins [V].
    settle_s
        Wait after each approach [s].
    clicks
        Clicks wanted in each recording.
    shortest_s, longest_s
        Limits of the duration of a recording [s].
    response_s
        Duration of the recording of the response [s].
    probe_s
        Counting time of each count-rate reading [s].
    """

    detunings: tuple[float, ...] = (0.0, 2.2, -2.2, 0.3, -0.3, 1.2, -1.2, 0.15, -0.15, 0.6, -0.6)
    overshoot_V: float = Field(0.06, gt=0)
    settle_s: float = Field(0.2, ge=0)
    clicks: float = Field(1e6, gt=0)
    shortest_s: float = Field(0.04, gt=0)
    longest_s: float = Field(0.3, gt=0)
    response_s: float = Field(0.2, gt=0)
    probe_s: float = Field(0.02, gt=0)

    @field_validator("detunings")
    @classmethod
    def _both_sides(cls, given: tuple[float, ...]) -> tuple[float, ...]:
        if len(given) < 4 or 0.0 not in given or not min(given) < 0.0 < max(given):
            raise ValueError("give at least 4 detunings: 0, and some on both sides of it")
        return given


@dataclass(frozen=True)
class Detuned:
    """Recordings of the emission against the detuning of the cavity.

    Attributes
    ----------
    voltage_V, u_voltage_V
        Voltage of the cavity's piezo in each recording, corrected for the drift of the resonance
        since the first lock, and its standard uncertainty relative to the other recordings [V].
    runs
        Time tags of the emission.
    response
        Time tags of the laser, at the count rate of the emission on resonance.
    """

    voltage_V: tuple[float, ...]
    u_voltage_V: tuple[float, ...]
    runs: tuple[TagRun, ...]
    response: TagRun


def dwell_s(settings: PurcellSettings) -> float:
    """Return the longest counting, recording and settling time [s], without moves and re-locks.

    How long each recording takes depends on the count rate, so `longest_s` is counted for each.
    Adjusting the laser for the response takes up to nine count-rate readings more.
    """
    each_s = settings.longest_s + settings.settle_s + 2.0 * settings.probe_s
    return len(settings.detunings) * each_s + settings.response_s + 2.0 * settings.probe_s


def measure(
    light_path: LightPath,
    cavity_fine: VoltageAxis,
    pump_attenuator: Attenuator,
    tagger: TimeTagger,
    folder: PathLike,
    settings: PurcellSettings,
    count_fwhm_V: float,
    relock: Callable[[], LockResult],
    progress: Progress = silent,
) -> Detuned:
    """Record the emission at each detuning, then the instrument response.

    Because the piezo creeps, the cavity is locked again before and after each recording; the
    detuning is the distance from the mean of both locks. Every voltage is approached from the same
    voltage below all of them.

    Parameters
    ----------
    cavity_fine
        The cavity's fine piezo, near its resonance.
    count_fwhm_V
        Width at half maximum of the count-rate peak [V].
    relock
        Locks the cavity to its resonance again and returns the lock; it may change the light path.

    Raises
    ------
    RefusedError
        If the detunings exceed the limits of the axis; only the first re-lock has moved it.
    InconclusiveError
        If the cavity does not lock, or the attenuator cannot bring the laser to the count rate of
        the emission.
    """
    folder = Path(folder)
    offsets = count_fwhm_V * np.array(settings.detunings)
    below_V = settings.overshoot_V - float(offsets.min())
    locks = [relock()]
    first_V = locks[0].voltage_V
    cavity_fine.check(first_V - below_V, first_V + float(offsets.max()))
    about = scan_about("purcell", "before", tagger, settings, count_fwhm_V=count_fwhm_V)
    on_rates, runs, set_V = [], [], []
    with (
        ScanWriter(folder / "purcell_resonance.csv", "voltage_V", about) as resonance,
        ScanWriter(folder / "purcell_detuned.csv", "voltage_V", about) as detuned,
    ):
        for k, offset in enumerate(offsets):
            peak_V = locks[-1].voltage_V
            light_path.select("before")
            counts = tagger.count(settings.probe_s)
            resonance.add(peak_V, counts)
            on_rates.append(total_rate(counts))
            voltage_V = peak_V + float(offset)
            low_V = peak_V - below_V
            approach(cavity_fine, voltage_V, voltage_V - low_V)
            settle(tagger, settings.settle_s, silent)
            counts = tagger.count(settings.probe_s)
            detuned.add(voltage_V, counts)
            wanted_s = settings.clicks / max(total_rate(counts), 1.0)
            duration_s = min(max(wanted_s, settings.shortest_s), settings.longest_s)
            run = run_about("purcell", "before", tagger, duration_s)
            run = replace(run, settings={**run.settings, "voltage_V": voltage_V})
            file = folder / f"purcell_{k + 1:02d}.h5"
            runs.append(record(tagger, file, duration_s, run))
            set_V.append(voltage_V)
            progress(
                k + 1,
                len(offsets) + 1,
                f"{1e3 * offset:+.0f} mV, {1e-6 * total_rate(counts):.3g} Mcps",
            )
            approach(cavity_fine, peak_V, peak_V - low_V)
            locks.append(relock())
        resonance.add(locks[-1].voltage_V, tagger.count(settings.probe_s))
    response = record_response(
        light_path,
        pump_attenuator,
        tagger,
        folder / "purcell_response.h5",
        run_about("purcell", "laser", tagger, settings.response_s),
        duration_s=settings.response_s,
        wanted_Hz=max(on_rates),  # on resonance, where the decay is fastest
        probe_s=settings.probe_s,
    )
    relock()
    progress(len(offsets) + 1, len(offsets) + 1, "response")
    peaks = np.array([h.voltage_V for h in locks])
    middle, change = (peaks[1:] + peaks[:-1]) / 2.0, np.diff(peaks)
    u_peaks = np.array([h.u_voltage_V for h in locks])
    u_middle = np.hypot(u_peaks[1:], u_peaks[:-1]) / 2.0
    # during a recording the resonance was anywhere between both locks: uniform, variance d^2/12
    u = np.sqrt(u_middle**2 + change**2 / 12.0 + (_CREEP * offsets) ** 2)
    return Detuned(
        tuple(float(v) for v in first_V + np.array(set_V) - middle),
        tuple(map(float, u)),
        tuple(runs),
        response,
    )
