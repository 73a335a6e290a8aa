"""g2(0) from a Hanbury Brown and Twiss measurement with pulsed excitation.

Two detectors behind a beam splitter; C0 counts the pulses on which both click. With clicks n_A and
n_B on N pulses, independent photons would give n_A n_B / N coincidences, so

    g2(0) = C0 N / (n_A n_B) .

Five things spoil this on a bright source, and each has its line in `_measure`:

* A detector that is dead after a click lifts the side peaks next to zero by 20 % and more, and
  distorts the singles: count only live pulses, before which neither detector clicked for M pulses.
* Two photons on one detector make one click, three on two at most two.
* Brightness drifts: multiply n_A by n_B in several blocks of time.
* Clicks can be few: C0 is Poissonian, and its interval is not symmetric.
* A cavity that shakes is not always on resonance, where g2(0) is highest.

What a key rate needs is raw: laser leakage and re-excitation are in it, for an eavesdropper may use
all that is emitted; only the dark counts of one's own detectors are taken out. It is time-averaged
(g2_inf), because p2 = g2 <n>^2/2 wants the g2 that goes with a time-averaged <n>. Beside it stand
its one-sided limit, the g2 of the on-state, and the g2 without a background that was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qdchar.errors import UsageError
from qdchar.estimate import Contribution, Estimate, Uncertain, propagate
from qdchar.files import PathLike
from qdchar.fit import Result
from qdchar.raw_data import About, TagRun
from qdchar.tags import PulseClock, TagSource, open_tags
from qdchar.tags.formats.delay_histogram import (
    AS_IN_THE_FILE,
    CurveChoice,
    is_histogram,
    read_histogram,
)

from ..detection.coincidences import DelayHistogram, delay_counter, fine_delay_counter
from ..detection.cross_talk import cross_talk_of
from ..detection.live_gating import LiveCounts, live_counts
from ..detection.pulsed_run import PulsedRun, open_run, run_of_clock, wired_run
from ..statistics.jackknife import Table, product_of_rates
from .detector_faults import (
    BackgroundClicks,
    afterpulses,
    afterpulsing_of,
    detector_problems,
    gap_counter,
    without_cross_talk,
)
from .expected_peaks import peaks
from .g2_comb_fit import analyse_histogram
from .g2_peak_areas import by_area, delay_and_period
from .peaks_of_tags import FoundPeaks, find_peaks_of_tags
from .time_average import time_average
from .uncertainty import G2Uncertainty, g2_uncertainty

_BACKGROUND = "background"
_BLINKING_AT = {"transmitter output": "blinking_amplitude_sent"}
"""Quantity of the blinking amplitude by plane, ``blinking_amplitude`` elsewhere. Behind the
transmitter the share of leaked laser, which does not blink, is smaller than in the fibre."""


def analyse(
    run: TagRun,
    *,
    name: str = "g2_zero_source",
    plane: str = "fibre",
    dark_count_rate: Estimate | None = None,
    background_rates: tuple[Uncertain, Uncertain] | None = None,
    detuning_correction: Estimate | None = None,
    delay_s: float | None = None,
) -> Result:
    """Find g2(0) from time tags with a pulse clock.

    Parameters
    ----------
    run
        Time tags of both detectors with the pulse clock.
    name, plane
        What to call g2(0), and where in the optical path it holds.
    dark_count_rate
        Total of both detectors [Hz]. Coincidences of a dark count with a photon, or of two dark
        counts, are no property of the light; they are taken out if given.
    background_rates
        Clicks that background light makes on detectors A and B if they are live, dark counts not
        included [Hz]: leaked laser or room light, Poissonian and independent of the source.
    detuning_correction
        By how much g2(0) was too low because the cavity was not quite on resonance, relative, see
        `qdchar.analysis.detuning.g2_correction`; given, figures are those on resonance.
    delay_s
        Electronic delay of detector B against A, if longer than half a period [s].

    Returns
    -------
    Result
        ``<name>`` with ``interval_68`` and ``interval_95``; ``<name>_upper``, its one-sided 95 %
        limit; where the source blinks ``<name>_on``; with a background ``<name>_corrected``; and
        ``blinking_amplitude``, at the plane "transmitter output" ``blinking_amplitude_sent``.
        Curves of the peak areas.

    Raises
    ------
    InconclusiveError
        If a detector is silent or saturated, or the clock is lost.

    Notes
    -----
    Uncertainty: the larger of Jeffreys' interval for the Poisson number C0 and the block jackknife
    (which also sees drift and blinking), widened by the singles and the dark count rate. The
    intervals of 68 % and 95 % are exact (Garwood), stretched and widened in the same way.

    Under blinking live pulses are mostly dark ones, and g2 would come out too high. Where that
    matters, with the on-fraction q = 1/(1+b) from the far side peaks and the on-state click
    probabilities p = R/(q - m R) of the pulsed dead-time formula,

        g2_inf = g2_on / q ,    g2_on = C0 / sqrt(n_A n_B p_A p_B) ,

    where n_A/p_A is the number of live on-state pulses.

    With clicks d_A and d_B that are not the source's, on live pulses, its own light has

        g2 = (C0 - n_A d_B/N - d_A n_B/N + d_A d_B/N) N / ((n_A - d_A) (n_B - d_B)) .

    A key rate must not use it: it has to reckon with everything that is sent.
    """
    return _of_pulses(
        open_run(run, delay_s), name, plane, dark_count_rate, background_rates, detuning_correction
    )


def _of_pulses(
    pulsed: PulsedRun,
    name: str,
    plane: str,
    dark_count_rate: Estimate | None = None,
    background_rates: tuple[Uncertain, Uncertain] | None = None,
    detuning_correction: Estimate | None = None,
) -> Result:
    """Find g2(0) from a run that is open; arguments as in `analyse`."""
    delays, gaps = delay_counter(pulsed), gap_counter(pulsed)
    drawn = fine_delay_counter(pulsed)
    counts = live_counts(pulsed, None, delays, gaps, drawn)
    again = afterpulsing_of(counts, gaps)
    darks: list[BackgroundClicks] = []
    if dark_count_rate is not None:
        darks.append(BackgroundClicks("dark counts", dark_count_rate, (0.5, 0.5)))
    with_afterpulses = _measure(counts, pulsed.label, darks, detuning_correction)
    darks += afterpulses(counts, again, pulsed.label)
    raw = _measure(counts, pulsed.label, darks, detuning_correction)
    captured = pulsed.captured_fraction(0.0 if dark_count_rate is None else dark_count_rate.value)
    method = raw.method + (
        f"; windows of one pulse period hold at least {100.0 * captured:.4g} % of the light"
    )
    removed = "" if dark_count_rate is None else ", receiver dark counts removed"
    seen = raw.estimate(
        name,
        plane,
        method,
    )
    recovery = max(counts.recovery_a.recovery_pulses, counts.recovery_b.recovery_pulses)
    talk = cross_talk_of(counts.statistics, delays, recovery)
    g2 = without_cross_talk(seen, talk, pulsed.label)
    estimates = [g2, raw.limit(seen)]
    if raw.on is not None:
        on = raw.on.estimate(f"{name}_on", plane, f"g2_inf/(1 + b); {method}")
        estimates.append(without_cross_talk(on, talk, pulsed.label))
    if background_rates is not None:
        on_a, on_b = background_rates
        light = [
            BackgroundClicks(_BACKGROUND, on_a, (1, 0)),
            BackgroundClicks(_BACKGROUND, on_b, (0, 1)),
        ]
        corrected = _measure(counts, pulsed.label, [*darks, *light], detuning_correction)
        of_dot = corrected.estimate(f"{name}_corrected", plane, f"{corrected.method}{removed}")
        estimates.append(without_cross_talk(of_dot, talk, pulsed.label))
    fit, problems = peaks(counts, g2, DelayHistogram.of(drawn, pulsed))
    problems += detector_problems(counts, again, talk, with_afterpulses.value, seen)
    blinking = counts.blinking_amplitude(pulsed.label)
    blinking = replace(blinking, name=_BLINKING_AT.get(plane, blinking.name))
    return Result((*estimates, blinking), (fit,), problems)


def analyse_file(
    path: PathLike,
    *,
    delay_s: float | None = None,
    period_s: float | None = None,
    channels: tuple[int, int] | None = None,
    window_s: float | None = None,
    range_s: float | None = None,
    background_rates: tuple[Uncertain, Uncertain] | None = None,
    choice: CurveChoice = AS_IN_THE_FILE,
) -> Result:
    """Find g2(0) from a file of time tags or a histogram.

    Parameters
    ----------
    path
        Time tags (PicoQuant PTU, qutools quTAG, Photon-HDF5), or a histogram: ``.npz`` with
        ``delay_ns`` and ``counts[bin, snapshot]``, or text, see
        `qdchar.tags.formats.delay_histogram.read_histogram`.
    delay_s
        Electronic delay at which the zero peak sits [s]; measured if not given.
    period_s
        Pulse period [s]; by default that of the file's header, else measured.
    channels
        Channels of the two detectors; needed if the file has more than two, and not exactly one
        pair of them is antibunched.
    window_s
        Take pairs within this distance of a peak's centre [s]; half a period by default. For time
        tags only: the peaks of a histogram are fitted.
    range_s
        Delays looked at to both sides of the zero peak [s]; by default 150 ns, or ten periods if
        that is too few. For time tags only.
    background_rates
        Rates of clicks on the two detectors that the source does not make [Hz], with their
        uncertainty: adds ``g2_zero_corrected``. For time tags only.
    choice
        Column or curve and unit, where a histogram leaves them open.

    Returns
    -------
    Result
        ``g2_zero`` with its intervals and ``pulse_period`` [s]; but for a run of qdchar's own also
        ``electronic_delay`` [s], and from tags ``g2_zero_upper``, ``blinking_amplitude`` and
        ``g2_zero_time_averaged``.

    Raises
    ------
    UsageError
        If it is not clear which channels hold the detectors, or an option does not fit the file.
    InconclusiveError
        If there is no comb of peaks, or not exactly one low peak and no delay is given.
    RecordError
        If the file is damaged or contradicts itself.

    Notes
    -----
    A run of qdchar's own, which knows its clock channel, is counted on live pulses as in
    `analyse`, unless period, channels, window or range are given. Tags of another program are taken
    as in `analyse_tags`, a histogram is fitted (`g2_comb_fit.analyse_histogram`).
    """
    path = Path(path)
    if is_histogram(path):
        if any(given is not None for given in (channels, window_s, range_s)):
            raise UsageError(
                f"{path} is a histogram: its channels and its range are fixed, and its peaks are "
                "fitted, so that there is no window; leave out these options"
            )
        if background_rates is not None:
            raise UsageError(
                f"{path} is a histogram: without the count rates of its detectors a background of "
                "given rates cannot be taken off; a flat background is part of the fit"
            )
        return analyse_histogram(read_histogram(path, choice), path.name, delay_s, period_s)
    if choice != AS_IN_THE_FILE:
        raise UsageError(f"{path} holds time tags: columns, curves and units are of histograms")
    tags = open_tags(path)
    run = wired_run(path, tags)
    if run is None or any(g is not None for g in (period_s, channels, window_s, range_s)):
        return analyse_tags(
            tags,
            path,
            delay_s=delay_s,
            period_s=period_s,
            channels=channels,
            window_s=window_s,
            range_s=range_s,
            background_rates=background_rates,
        )
    pulsed = open_run(run, delay_s, tags=tags)
    result = _of_pulses(pulsed, "g2_zero", "detectors", background_rates=background_rates)
    return replace(result, estimates=(*result.estimates, pulsed.period()))


def analyse_tags(
    source: TagSource,
    path: Path,
    *,
    delay_s: float | None = None,
    period_s: float | None = None,
    channels: tuple[int, int] | None = None,
    window_s: float | None = None,
    range_s: float | None = None,
    background_rates: tuple[Uncertain, Uncertain] | None = None,
) -> Result:
    """Find g2(0) of tags without a clock channel; arguments as in `analyse_file`.

    `source` holds the tags of the file `path`.

    Notes
    -----
    By the areas of their peaks (`g2_peak_areas.by_area`). Tags that know their pulse clock, as T3
    tags do, are counted on live pulses where a dead time shapes the peaks by more than chance;
    elsewhere both count the same pairs.
    """
    found = find_peaks_of_tags(
        source, path, delay_s=delay_s, period_s=period_s, channels=channels, range_s=range_s
    )
    remarks = "".join(f"; {w}" for w in source.warnings)
    clock_ps = None if period_s is not None else source.metadata.sync_period_ps
    if clock_ps is not None and window_s is None:
        if found.dead_time_matters and not found.overlap:
            return _of_clock(source, path, PulseClock(clock_ps), found, background_rates, remarks)
        if not found.dead_time_matters:
            remarks += "; no dead time matters, so that live gating would count the same pairs"
    return by_area(
        found,
        window_s=window_s,
        background_rates=background_rates,
        clock_known=source.metadata.sync_period_ps is not None,
        remarks=remarks,
    )


def _of_clock(
    tags: TagSource,
    path: Path,
    clock: PulseClock,
    found: FoundPeaks,
    background_rates: tuple[Uncertain, Uncertain] | None,
    remarks: str,
) -> Result:
    """Count live pulses of tags that know their clock, but have no clock channel.

    As for other files of another program, ``g2_zero`` is against neighbouring pulses, and
    ``g2_zero_time_averaged`` against the mean count rates.
    """
    zero = found.zero
    a, b = zero.histogram.channel_a, zero.histogram.channel_b
    # T3 tags have no clock channel, and none is read
    run = TagRun(About("hbt", started=tags.metadata.created), path, a, b, -1, 1, tags.duration_s)
    pulsed = run_of_clock(run, tags, clock, zero.delay_ps * 1e-12)
    result = _of_pulses(pulsed, "g2_zero", "detectors", background_rates=background_rates)
    by_name = {e.name: replace(e, method=e.method + remarks) for e in result.estimates}
    averaged = by_name.pop("g2_zero")
    near = by_name.pop("g2_zero_on", averaged)
    estimates = (
        replace(near, name="g2_zero"),
        replace(averaged, name="g2_zero_time_averaged"),
        *by_name.values(),
        *delay_and_period(zero, path.name),
    )
    return replace(result, estimates=estimates)


@dataclass(frozen=True)
class _Measured:
    """One g2(0) with its uncertainty and how it was found; `on` is that of the on-state."""

    value: float
    uncertainty: G2Uncertainty
    method: str
    on: _Measured | None = None

    def estimate(self, name: str, plane: str, method: str) -> Estimate:
        return Estimate(
            name=name,
            value=self.value,
            method=method,
            plane=plane,
            budget=self.uncertainty.budget,
            interval_68=self.uncertainty.interval_68,
            interval_95=self.uncertainty.interval_95,
        )

    def limit(self, g2: Estimate) -> Estimate:
        return Estimate(
            name=f"{g2.name}_upper",
            value=self.uncertainty.upper_95,
            method="Poisson limit of the coincidences, widened by all else that is uncertain",
            plane=g2.plane,
        )


def _measure(
    counts: LiveCounts,
    label: str,
    background: Sequence[BackgroundClicks],
    detuning_correction: Estimate | None,
) -> _Measured:
    s = counts.statistics
    background_per_pulse = np.zeros(2)  # clicks a pulse on A and B
    for f in background:
        background_per_pulse += np.multiply(f.shares, f.rate.value / s.clock.frequency_hz)

    # C0 against the coincidences of independent photons.
    live = np.column_stack([s.n_live, s.n_a, s.n_b, s.c0]).astype(np.float64)
    c0 = int(s.c0.sum())
    by_chance, independent = _expected(live, background_per_pulse)
    method = f"live gating, veto of {s.veto_pulses} pulses; {c0} coincidences"

    # Under blinking, put live pulses back into the proportion of all pulses.
    average = time_average(counts, live, lambda table: _g2(table, background_per_pulse), label)
    method += average.remark

    # Two photons on one detector give one click.
    double_clicks, u_double_clicks = double_click_bias(live)
    if any(f.what == _BACKGROUND for f in background):  # what is left are pairs of the dot
        double_clicks, u_double_clicks = _pairs_per_click(live, c0 - by_chance), 0.0
    on_resonance = 1.0 if detuning_correction is None else 1.0 + detuning_correction.value
    scale = average.scale * (1.0 - double_clicks) * on_resonance
    value = scale * _g2(live, background_per_pulse)

    # Singles, the telegraph model and what was taken off widen what the coincidences leave.
    other_contributions = [
        Contribution(f"singles, {label}", value * _relative_singles(live)),
        Contribution(f"two photons on one detector, {label}", value * u_double_clicks, "B"),
        *average.doubt,
    ]
    inputs: list[tuple[Uncertain, float]] = []
    for f in background:
        per_pulse = f.rate.value / s.clock.frequency_hz
        step = 0.01 * per_pulse + 1e-15
        more = background_per_pulse + np.multiply(f.shares, step)
        slope = scale * (_g2(live, more) - _g2(live, background_per_pulse)) / step
        inputs.append((f.rate, slope / s.clock.frequency_hz))
    if detuning_correction is not None:
        inputs.append((detuning_correction, value / on_resonance))
        method += (
            f", {100.0 * detuning_correction.value:.2f} % added ({detuning_correction.definition})"
        )
    other_contributions += propagate(inputs)
    if background:
        what = " or ".join(dict.fromkeys(f.what for f in background))
        method += f", {by_chance:.2g} of them with {what} (removed)"

    # Few coincidences: Poisson. Drift and blinking: jackknife. The larger.
    def uncertainty_about(value: float, factor: float, u_blocks: float) -> G2Uncertainty:
        scaled = [replace(c, u=factor * c.u) for c in other_contributions]
        per_coincidence = factor * scale / independent
        return g2_uncertainty(value, per_coincidence, c0, by_chance, u_blocks, scaled, label)

    on = None
    if average.on is not None:
        q = average.on.on_fraction
        on = _Measured(q * value, uncertainty_about(q * value, q, average.on.u_blocks), method)
    return _Measured(value, uncertainty_about(value, 1.0, average.u_blocks), method, on)


def _expected(table: Table, background_per_pulse: Table) -> tuple[float, float]:
    """Coincidences with clicks not the light's, and those of independent photons, on live pulses.

    `background_per_pulse` is those clicks a pulse, on A and on B.
    """
    light = table[:, :3].copy()
    light[:, 1:] -= background_per_pulse * light[:, :1]
    independent = product_of_rates(light)
    return product_of_rates(table) - independent, independent


def _g2(table: Table, background_per_pulse: Table) -> float:
    by_chance, independent = _expected(table, background_per_pulse)
    return (float(table[:, 3].sum()) - by_chance) / independent


def double_click_bias(table: Table) -> tuple[float, float]:
    """Relative excess of clicks' g2 over that of photons, and its standard uncertainty.

    With p clicks a pulse and detector, pairs of the dot leave each detector g2 p/2 of its clicks
    short, and g2 is g2 p too high. A photon of the dot with Poissonian leakage does that as well,
    but three photons (leakage comes in pairs, too) miss coincidences: what remains is a quarter,
    and nothing for Poissonian light alone. Which it is, is not known here.
    """
    pairs = _pairs_per_click(table, float(table[:, 3].sum()))
    return 0.625 * pairs, 0.375 * pairs / math.sqrt(3.0)


def _pairs_per_click(table: Table, coincidences: float) -> float:
    _, n_a, n_b, _ = table.sum(axis=0)
    return float(0.5 * coincidences / n_a + 0.5 * coincidences / n_b)


def _relative_singles(table: Table) -> float:
    """Relative uncertainty of the product of the singles, binomial."""
    n_live, n_a, n_b, _ = table.sum(axis=0)
    return math.sqrt(1.0 / n_a + 1.0 / n_b - 2.0 / n_live)
