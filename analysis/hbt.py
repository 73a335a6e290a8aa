"""g2(0) from a Hanbury Brown and Twiss measurement with pulsed excitation.

Two detectors behind a beam splitter; C0 counts the pulses on which both click. With clicks n_A and
n_B on N pulses, independent photons would give n_A n_B / N coincidences, so

    g2(0) = C0 N / (n_A n_B) .

Three things spoil this on a bright source, and each has its line in `analyse`:

* A detector that is blind after a click lifts the side peaks next to zero by 20 % and more, and
  distorts the singles: count only live pulses, before which neither detector clicked for M pulses.
* Brightness drifts: multiply n_A by n_B in several blocks of time.
* Clicks can be few: C0 is Poissonian, and its interval is not symmetric.

What is reported is raw: laser leakage and re-excitation are in it, for an eavesdropper may use all
that is emitted; only the dark counts of one's own detectors are taken out. It is time-averaged
(g2_inf), because p2 = g2 <n>^2/2 wants the g2 that goes with a time-averaged <n>.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.measurement import TagRun

from ._blinking import blinking_table, on_fraction, on_state_probability
from ._blocks import Table, jackknife, product_of_rates
from ._hbt_file import analyse_tags
from ._hbt_histogram import analyse_histogram, is_histogram, read_histogram
from ._intervals import K_95, LEVEL_68, LEVEL_95, Interval, jeffreys, stretch, widen
from ._live import LiveCounts, live_counts
from ._pulses import open_run, wired_run
from ._side_peaks import expected_areas

_NEGLIGIBLE = 0.1
"""A bias below this part of the statistical uncertainty is left alone."""


def analyse(
    run: TagRun,
    *,
    name: str = "g2_zero_source",
    plane: str = "fibre",
    dark_count_rate: Estimate | None = None,
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
    delay_s
        Electronic delay of detector B against A, if longer than half a period [s].

    Returns
    -------
    Result
        ``<name>`` with ``interval_68`` and ``interval_95``, and ``blinking_amplitude``; curves of
        the peak areas.

    Raises
    ------
    InconclusiveError
        If a detector is silent or saturated, or the clock is lost.

    Notes
    -----
    Uncertainty: the larger of Jeffreys' interval for the Poisson number C0 and the block jackknife
    (which also sees drift and blinking), widened by the singles and the dark count rate.

    Under blinking live pulses are mostly dark ones, and g2 would come out too high. Where that
    matters, with the on-fraction q = 1/(1+b) from the far side peaks and the on-state click
    probabilities p = R/(q - m R) of the pulsed dead-time formula,

        g2_inf = g2_on / q ,    g2_on = C0 / sqrt(n_A n_B p_A p_B) ,

    where n_A/p_A is the number of live on-state pulses.
    """
    pulsed = open_run(run, delay_s)
    counts = live_counts(pulsed)
    s = counts.statistics
    dark = 0.0 if dark_count_rate is None else dark_count_rate.value / s.clock.frequency_hz

    # C0 against the coincidences of independent photons.
    live = np.column_stack([s.n_live, s.n_a, s.n_b, s.c0]).astype(np.float64)
    c0 = int(s.c0.sum())
    by_dark, independent = _expected(live, dark)
    method = f"live gating, M = {s.blind_pulses} pulses; {c0} coincidences"

    # Under blinking, put live pulses back into the proportion of all pulses.
    average = _time_average(counts, live, dark, pulsed.label)
    value = average.scale * _g2(live, dark)
    method += average.remark

    # Few coincidences: Jeffreys. Drift and blinking: jackknife. The larger.
    per_coincidence = average.scale / independent
    ends = [jeffreys(c0, level, by_dark) for level in (LEVEL_68, LEVEL_95)]
    poisson_68, poisson_95 = ((per_coincidence * a, per_coincidence * b) for a, b in ends)
    u_poisson = 0.5 * (poisson_68[1] - poisson_68[0])
    larger = max(1.0, average.u_blocks / u_poisson)

    # Singles, the telegraph model and dark counts widen what remains.
    others = [
        Contribution(f"singles, {pulsed.label}", value * _relative_singles(live)),
        *average.doubt,
    ]
    if dark_count_rate is not None:
        method += f", {by_dark:.2g} of them with dark counts (removed)"
        step = 0.01 * dark + 1e-15
        slope = average.scale * (_g2(live, dark + step) - _g2(live, dark)) / step
        others += propagate([(dark_count_rate, slope / s.clock.frequency_hz)])
    u_other = math.sqrt(sum(c.u**2 for c in others))

    def interval(poisson: Interval, k: float) -> Interval:
        low, high = widen(value, stretch(value, poisson, larger), k, u_other)
        return max(low, 0.0), high  # g2 cannot be negative: an interval may end there, not a value

    estimate = Estimate(
        name=name,
        value=value,
        unit="1",
        definition=(
            "g2(0), time-averaged (g2_inf), raw: laser leakage and re-excitation included"
            + (", receiver dark counts removed" if dark_count_rate is not None else "")
        ),
        method=method,
        plane=plane,
        budget=(Contribution(f"coincidences, {pulsed.label}", larger * u_poisson), *others),
        interval_68=interval(poisson_68, 1.0),
        interval_95=interval(poisson_95, K_95),
    )
    fit, problems = _peaks(counts, estimate)
    return Result(
        (estimate, counts.blinking.estimate(pulsed.label, s.clock.period_ps * 1e-12)),
        (fit,),
        problems,
    )


def analyse_file(
    path: Path,
    *,
    delay_s: float | None = None,
    period_s: float | None = None,
    channels: tuple[int, int] | None = None,
    window_s: float | None = None,
) -> Result:
    """Find g2(0) from a file of time tags or a histogram.

    Parameters
    ----------
    path
        Time tags (PicoQuant PTU, qutools quTAG, Photon-HDF5), or a histogram: ``.npz`` with
        ``delay_ns`` and ``counts[bin, snapshot]``, or text, see
        `qdchar.analysis._hbt_histogram.read_histogram`.
    delay_s
        Electronic delay at which the zero peak sits [s]; measured if not given.
    period_s
        Pulse period [s]; by default that of the file's header, else measured.
    channels
        Channels of the two detectors; needed if the file has more than two, and not exactly one
        pair of them is antibunched.
    window_s
        Take pairs within this distance of a peak's centre [s]; half a period by default.

    Returns
    -------
    Result
        ``g2_zero`` with its intervals and ``pulse_period`` [s]; where there is no pulse clock in
        the file also ``electronic_delay`` [s], and from tags ``blinking_amplitude`` and
        ``g2_zero_time_averaged``.

    Raises
    ------
    UsageError
        If it is not clear which channels hold the detectors.
    InconclusiveError
        If there is no comb of peaks, or not exactly one low peak and no delay is given.
    RecordError
        If the file is damaged or contradicts itself.

    Notes
    -----
    A run of qdchar's own, which knows its clock channel, is counted on live pulses as in
    `analyse`, unless period, channels or window are given. Other tags are taken by the areas of
    their peaks (`_hbt_file.analyse_tags`), a histogram is fitted
    (`_hbt_histogram.analyse_histogram`).
    """
    if is_histogram(path):
        return analyse_histogram(read_histogram(path), path.name, delay_s, period_s)
    run = wired_run(path)
    if run is None or any(given is not None for given in (period_s, channels, window_s)):
        return analyse_tags(
            path, delay_s=delay_s, period_s=period_s, channels=channels, window_s=window_s
        )
    result = analyse(run, name="g2_zero", plane="detectors", delay_s=delay_s)
    return replace(result, estimates=(*result.estimates, open_run(run).period()))


def _expected(table: Table, dark: float) -> tuple[float, float]:
    """Coincidences with dark counts, and those of independent photons, on live pulses.

    `dark` is the dark counts of both detectors a pulse, half of them on each.
    """
    light = table[:, :3].copy()
    light[:, 1:] -= 0.5 * dark * light[:, :1]
    independent = product_of_rates(light)
    return product_of_rates(table) - independent, independent


def _g2(table: Table, dark: float) -> float:
    with_dark, independent = _expected(table, dark)
    return (float(table[:, 3].sum()) - with_dark) / independent


def _relative_singles(table: Table) -> float:
    """Relative uncertainty of the product of the singles, binomial."""
    n_live, n_a, n_b, _ = table.sum(axis=0)
    return math.sqrt(1.0 / n_a + 1.0 / n_b - 2.0 / n_live)


@dataclass(frozen=True)
class _TimeAverage:
    """From the live-gated g2 to the time-averaged one.

    `scale` is their ratio, `u_blocks` the jackknife's uncertainty of the product, `doubt` what the
    model of blinking adds to the budget.
    """

    scale: float
    u_blocks: float
    doubt: tuple[Contribution, ...] = ()
    remark: str = ""


def _time_average(counts: LiveCounts, live: Table, dark: float, label: str) -> _TimeAverage:
    c0, b = float(live[:, 3].sum()), counts.blinking
    if not b.significant or abs(counts.live_gating_bias) < _NEGLIGIBLE / math.sqrt(c0 + 1.0):
        return _TimeAverage(1.0, jackknife(lambda t: _g2(t, dark), live))
    table = np.hstack([live, blinking_table(counts.statistics, int(b.lags[0]))])
    scale, live_gated = _live_on(counts, table), _g2(live, dark)
    u_blocks = jackknife(lambda t: _g2(t, dark) * _live_on(counts, t), table)
    # an ideal telegraph moves the live-gated photon number and g2 by inverse factors
    doubt = live_gated * (1.0 + counts.live_gating_bias - scale)
    return _TimeAverage(
        scale,
        u_blocks,
        (Contribution(f"telegraph model, {label}", doubt / math.sqrt(3.0), "B"),),
        f"; on-fraction {b.on_fraction:.3f} from the far side peaks takes the live-gated "
        f"{live_gated:.4g} to the time average (g2_on {live_gated * scale * b.on_fraction:.4g})",
    )


def _live_on(counts: LiveCounts, table: Table) -> float:
    """Share of live pulses on which the source is on, over its share of all: N_L,on/(q N_L).

    `table` holds live pulses, their clicks and coincidences, then a `blinking_table`.
    """
    n_live, n_a, n_b, _, pulses, s_a, s_b = (float(x) for x in table[:, :7].sum(axis=0))
    q = on_fraction(counts.blinking.of(table[:, 4:]))
    live_on = [  # counted by A and by B
        n / on_state_probability(s / pulses, r.lost_pulses, q)
        for n, s, r in ((n_a, s_a, counts.recovery_a), (n_b, s_b, counts.recovery_b))
    ]
    return math.sqrt(math.prod(live_on)) / n_live / q


def _peaks(counts: LiveCounts, g2: Estimate) -> tuple[Fit, tuple[str, ...]]:
    """Raw areas of all peaks, beside those expected from the light, dead time and blinking."""
    s, blinking = counts.statistics, counts.blinking
    lags = np.arange(-s.n_max, s.n_max + 1)
    product = product_of_rates(np.column_stack([s.n_pulses, s.s_a, s.s_b]))
    areas = s.peak_areas.sum(axis=0)
    pulses, q = float(s.n_pulses.sum()), blinking.on_fraction
    p_a, p_b = (
        on_state_probability(float(clicks.sum()) / pulses, r.lost_pulses, q)
        for clicks, r in ((s.s_a, counts.recovery_a), (s.s_b, counts.recovery_b))
    )
    model = expected_areas(
        p_a,
        p_b,
        max(g2.value, 0.0) * q * p_a * p_b,
        counts.recovery_a.until_recovered,
        counts.recovery_b.until_recovered,
        s.n_max,
    )
    model *= 1.0 + blinking.amplitude * np.exp(-blinking.decay_per_pulse * np.abs(lags))
    y, u = areas / product, np.sqrt(np.maximum(model * product, 0.5)) / product
    pulls = (y - model) / u
    x = np.asarray(lags * s.clock.period_ps * 1e-3, dtype=np.float64)
    curve = Curve(
        title="Peak areas, raw, over those of independent light",
        x_label="delay (ns)",
        y_label="normalised peak area",
        x=x,
        y=y,
        u_y=u,
        model=model,
        residuals=pulls,
        x_line=x,
        y_line=model,
    )
    fit = Fit(
        model="expected from g2(0), dead time and blinking",
        names=("g2_zero", "blinking_amplitude"),
        values=np.array([g2.value, blinking.amplitude]),
        covariance=np.diag([g2.u**2, blinking.u**2]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=len(lags) - 2,
        curves=(curve,),
    )
    zero, lowest = int(areas[lags == 0][0]), int(np.argmin(areas))
    if zero - areas[lowest] > 5.0 * math.sqrt(zero + areas[lowest] + 1.0):
        return fit, (
            f"the peak at {lags[lowest]:+d} pulses is lower than the one at zero: is there an "
            "electronic delay between the detectors? Give it",
        )
    return fit, ()
