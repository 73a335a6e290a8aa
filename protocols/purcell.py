"""Purcell factor: emission tags at several detunings of the cavity, and the response once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from qdchar.raw_data import About, Progress, ScanWriter, Settings, TagRun, silent
from qdchar.roles import Attenuator, LightPath, TimeTagger, VoltageAxis

from ._peak_lock import LockResult, approach, settle, total_rate
from ._tags import record, run_about
from .lifetime import record_response

_CREEP = 0.01
"""Of a step a piezo makes about as much again within each decade of time [relative]."""


class PurcellSettings(Settings):
    """Where to detune the cavity to, and how long to record there.

    Attributes
    ----------
    detunings
        Distances from the resonance in widths of the count-rate peak, both signs and 0. That peak
        is wider than the mode by sqrt(1 + F0), some four times. Their order matters: alternating
        sides keep a drift from looking like a shift.
    overshoot_V
        How far below the lowest detuning every approach turns [V].
    settle_s
        Wait after each approach [s].
    clicks
        Clicks wanted in each run.
    shortest_s, longest_s
        Bounds of a run's duration [s].
    response_s
        Duration of the response's run [s].
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
    """Runs against the cavity's detuning.

    Attributes
    ----------
    voltage_V, u_voltage_V
        Of each run, relative to the resonance as it stood then, counted from where that was first
        [V]; with the standard uncertainty of one against another.
    runs
        Time tags of the emission.
    response
        Time tags of the laser, taken on the resonance at its count rate.
    """

    voltage_V: tuple[float, ...]
    u_voltage_V: tuple[float, ...]
    runs: tuple[TagRun, ...]
    response: TagRun


def measure(
    light_path: LightPath,
    cavity_fine: VoltageAxis,
    pump_attenuator: Attenuator,
    tagger: TimeTagger,
    folder: Path,
    settings: PurcellSettings,
    count_fwhm_V: float,
    relock: Callable[[], LockResult],
    progress: Progress = silent,
) -> Detuned:
    """Record the emission on and beside the cavity's resonance, then the response.

    A creeping piezo does not keep its voltage's promise for longer than a run, so the loop on the
    light finds the resonance again before and after each run; a detuning counts from the middle of
    the two. Every voltage is approached from the same point below all of them.

    Parameters
    ----------
    cavity_fine
        The cavity's fine piezo, near its resonance.
    count_fwhm_V
        Width at half maximum of the count-rate peak [V].
    relock
        Closes the loop on the cavity's light and says where; it may change the light path.

    Returns
    -------
    Detuned
        The cavity is locked to its resonance, the pump and the path are as before.

    Raises
    ------
    RefusedError
        If the detunings exceed the axis' limits; nothing was moved by them.
    InconclusiveError
        If there is no hold on the resonance, or the laser cannot be brought to the emission's
        count rate.
    """
    offsets = count_fwhm_V * np.array(settings.detunings)
    room_V = settings.overshoot_V - float(offsets.min())
    locks = [relock()]
    first_V = locks[0].voltage_V
    cavity_fine.check(first_V - room_V, first_V + float(offsets.max()))
    about = About(
        protocol="purcell",
        path="before",
        simulated=tagger.identify().simulated,
        settings={"count_fwhm_V": count_fwhm_V, **_plain(settings)},
    )
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
            low_V = peak_V - room_V
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
            progress(k + 1, len(offsets) + 1, f"{1e3 * offset:+.0f} mV, {total_rate(counts):.3g}/s")
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
    # between two visits to the loop the resonance may have been anywhere from one to the other
    u = np.sqrt(u_middle**2 + change**2 / 12.0 + (_CREEP * offsets) ** 2)
    return Detuned(
        tuple(float(v) for v in first_V + np.array(set_V) - middle),
        tuple(map(float, u)),
        tuple(runs),
        response,
    )


def _plain(settings: PurcellSettings) -> dict[str, float | str]:
    plain = settings.model_dump(exclude={"detunings"})
    return {**plain, "detunings": " ".join(map(str, settings.detunings))}
