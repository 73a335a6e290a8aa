"""Mean photon number per pulse, free of the detectors' dead time.

The estimator is live gating: only those pulses count before which neither detector clicked for M
pulses, M longer than the detectors take to recover. On such a pulse both detectors are live, so

    <n> eta = (n_A + n_B + C0 (r + 1/r)/2) / N_L ,        r = eta_A/eta_B ,

with the live pulses N_L, clicks n_A, n_B and coincidences C0 on them. The last term counts the
pairs of photons that met on one threshold detector. Nothing is assumed about how a detector
recovers; what is assumed is that a live pulse is as bright as any other. Under blinking it is not
(after a click the source is on), and the source's on-fraction has to come in: see `analyse`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import TagRun
from qdchar.tags import PulseStatistics

from .detection.blinking import blinking_table, on_fraction, on_state_probability
from .detection.live_gating import LiveCounts, live_counts
from .detection.pulsed_run import PulsedRun, open_run
from .detection.reception import Reception, efficiency_from_plane
from .statistics.intervals import K_95, widen
from .statistics.jackknife import Table, jackknife, long_blocks

_MAX_UNCORRECTED_BIAS = 0.1
"""Largest bias that is not corrected, as a part of the standard uncertainty."""


def analyse(
    run: TagRun,
    *,
    detector_efficiency: Estimate,
    dark_count_rate: Estimate | None = None,
    g2: Estimate | None = None,
    name: str = "collection_efficiency",
    plane: str = "fibre",
    reception: Reception | None = None,
    tagger_clock: Estimate | None = None,
) -> Result:
    """Find the mean photon number per pulse at a plane of the optical path.

    Parameters
    ----------
    run
        Time tags with the pulse clock.
    detector_efficiency
        From its certificate, at this wavelength; of both detectors alike.
    dark_count_rate
        Total of both detectors [Hz]; subtracted if given.
    g2
        Second-order correlation at the same plane, raw and time-averaged; if given, the photon
        number distribution is reported.
    name, plane
        What to call the mean photon number, and where it holds.
    reception
        What lies between the plane and the clicks; nothing, and the certificate's polarisation and
        click rate, if not given.
    tagger_clock
        Error of the time tagger's clock by certificate; if not given, the clock rate is in units
        of that clock.

    Returns
    -------
    Result
        ``clock_rate`` [Hz], ``<name>``, ``blinking_amplitude``, and with `g2` also ``p1`` and
        ``p2``. The mean photon number is uncorrected for multi-photon events ("<n>"), and its
        statistical uncertainty the larger of counting and block jackknife.

    Raises
    ------
    InconclusiveError
        If a detector is silent, the clock is lost, or no pulse is live.

    Notes
    -----
    Under blinking the live pulses are mostly those of the dark source. Where this would move the
    result by more than a tenth of its statistical uncertainty, each arm's click probability is
    computed with the on-fraction q = 1/(1 + b) from the far side peaks instead,

        R = q p/(1 + m p)   =>   <n> eta_arm = q p = q R/(q - m R) ,

    m being the dead pulses after a click. This takes the source for an ideal telegraph. Such a
    source would move the live-gated rate by a known factor; how far it misses that is taken for
    the doubt about the model.

    p2 = g2 <n>^2/2 is an upper bound on the probability of two or more photons, and
    p1 = <n> - 2 p2.
    """
    pulsed = open_run(run)
    counts = live_counts(pulsed)
    live = _live_gated(_live_table(counts.statistics))
    detected, budget, method = _detected(counts, live, pulsed.label)

    to_click = detector_efficiency
    if reception is not None:
        rates_Hz = _click_rates(counts.statistics, pulsed.clock.frequency_hz)
        to_click = efficiency_from_plane(detector_efficiency, reception, rates_Hz, pulsed.label)
    efficiency = to_click.value
    inputs = [(to_click, -1.0 / efficiency)]
    if dark_count_rate is not None:
        # half of the dark counts fall on each detector, and one on a click is none
        per_hz = (1.0 - 0.5 * live) / pulsed.clock.frequency_hz
        detected -= dark_count_rate.value * per_hz
        inputs.append((dark_count_rate, -per_hz / detected))
        method += ", dark counts subtracted"
    mean = Estimate(
        name=name,
        value=detected / efficiency,
        method=method,
        plane=plane,
        budget=(
            *(c.times(1.0 / efficiency) for c in budget),
            *propagate((e, detected / efficiency * relative) for e, relative in inputs),
        ),
    )
    estimates = [
        _clock_rate(pulsed, tagger_clock),
        mean,
        counts.blinking_amplitude(pulsed.label),
        *(photon_numbers(mean, g2) if g2 is not None else ()),
    ]
    return Result(tuple(estimates), (_fit(counts, live, name),))


def photon_numbers(mean: Estimate, g2: Estimate) -> tuple[Estimate, Estimate]:
    """Return p1 and p2 of a source with mean photon number <n> and second-order correlation g2.

    Parameters
    ----------
    mean, g2
        At the same plane. g2 raw and time-averaged as <n> is: with the on-state g2 the two-photon
        probability would come out too small by the on-fraction.

    Notes
    -----
    p2 = g2 <n>^2/2, p1 = <n> - 2 p2, truncated after two photons; p2 bounds the probability of two
    or more from above.
    """
    n, g = mean.value, g2.value
    common = f"from {mean.name} and {g2.name}"
    p2 = Estimate(
        name="p2",
        value=g * n**2 / 2,
        method=common,
        plane=mean.plane,
        budget=propagate([(mean, g * n), (g2, n**2 / 2)]),
    )
    p1 = Estimate(
        name="p1",
        value=n - g * n**2,
        method=common,
        plane=mean.plane,
        budget=propagate([(mean, 1.0 - 2.0 * g * n), (g2, -(n**2))]),
    )
    if g2.interval_68 is None or g2.interval_95 is None:
        return p1, p2
    return p1, replace(
        p2,
        interval_68=_scaled(p2.value, g2, g2.interval_68, n**2 / 2, 1.0, g * n * mean.u),
        interval_95=_scaled(p2.value, g2, g2.interval_95, n**2 / 2, K_95, g * n * mean.u),
    )


def _scaled(
    value: float, g2: Estimate, interval: tuple[float, float], factor: float, k: float, u: float
) -> tuple[float, float]:
    low, high = ((end - g2.value) * factor for end in interval)
    return widen(value, (value + low, value + high), k, u)


def _detected(counts: LiveCounts, live: float, label: str) -> tuple[float, list[Contribution], str]:
    """Return photons detected per pulse, their statistical budget, and how they were found."""
    s, blinking = counts.statistics, counts.blinking
    u_counting = _counting(s)
    u_live = max(u_counting, jackknife(_live_gated, _live_table(s)))
    n_a, n_b, c0 = (float(n.sum()) for n in (s.n_a, s.n_b, s.c0))
    together = c0 * _same_detector(n_a, n_b) / (n_a + n_b)
    two = f"; two photons on one detector: {100 * together:+.2g} %"
    if not (
        blinking.significant
        and abs(counts.live_gating_bias) * live > _MAX_UNCORRECTED_BIAS * u_live
    ):
        method = f"live gating, veto of {s.veto_pulses} pulses{two}"
        if blinking.significant:
            method += (
                f"; blinking (b = {blinking.amplitude:.2g}) moves it by less than a tenth of u"
            )
        return live, [Contribution(f"photon counting, {label}", u_live)], method

    table = _telegraph_table(counts)
    value = _telegraph(counts, table)
    u_blocks = jackknife(lambda t: _telegraph(counts, t), table)
    # an ideal telegraph makes the live-gated rate differ by just this much
    doubt = live / (1.0 + counts.live_gating_bias) - value
    method = (
        f"pulsed dead-time formula with on-fraction {blinking.on_fraction:.3f} from the far side "
        f"peaks (live gating takes {100 * counts.live_gating_bias:+.0f} % under blinking){two}"
    )
    return (
        value,
        [
            Contribution(f"photon counting, {label}", max(u_counting, u_blocks)),
            Contribution(f"telegraph model, {label}", doubt / math.sqrt(3.0), "B"),
        ],
        method,
    )


def _click_rates(s: PulseStatistics, clock_Hz: float) -> tuple[float, float]:
    """Clicks of A and of B per second."""
    pulses = float(s.n_pulses.sum())
    return float(s.s_a.sum()) / pulses * clock_Hz, float(s.s_b.sum()) / pulses * clock_Hz


def _live_table(s: PulseStatistics) -> Table:
    return np.column_stack([s.n_a, s.n_b, s.c0, s.n_live]).astype(np.float64)


def _live_gated(table: Table) -> float:
    """<n> eta of live pulses, averaged over time: a stretch counts by its length, live or not."""
    n_a, n_b, c0, n_live = long_blocks(table).T
    return float(np.mean((n_a + n_b + c0 * _same_detector(n_a.sum(), n_b.sum())) / n_live))


def _same_detector(n_a: float, n_b: float) -> float:
    """Pairs of photons on one detector for each pair on two, (r + 1/r)/2."""
    if n_a == 0.0 or n_b == 0.0:
        return 0.0
    return 0.5 * (n_a / n_b + n_b / n_a)


def _counting(s: PulseStatistics) -> float:
    """Binomial uncertainty of the clicks per live pulse."""
    n_live = float(s.n_live.sum())
    clicks, both = float((s.n_a + s.n_b).sum()) / n_live, float(s.c0.sum()) / n_live
    return math.sqrt((clicks + 2.0 * both - clicks**2) / n_live)


def _telegraph_table(counts: LiveCounts) -> Table:
    s = counts.statistics
    live = np.column_stack([s.n_a, s.n_b, s.c0])
    return np.hstack([live, blinking_table(s, int(counts.blinking.lags[0]))])


def _telegraph(counts: LiveCounts, table: Table) -> float:
    """<n> eta of a blinking source, from ungated rates and the far side peaks."""
    n_a, n_b, c0, pulses, s_a, s_b = (float(x) for x in table[:, :6].sum(axis=0))
    q = on_fraction(counts.blinking.of(table[:, 3:]))
    detected = sum(
        q * on_state_probability(s / pulses, r.dead_pulses, q)
        for s, r in ((s_a, counts.recovery_a), (s_b, counts.recovery_b))
    )
    return detected * (1.0 + c0 * _same_detector(n_a, n_b) / (n_a + n_b))


def _clock_rate(pulsed: PulsedRun, tagger_clock: Estimate | None) -> Estimate:
    clock = pulsed.clock
    counted = Estimate(
        name="clock_rate",
        value=clock.frequency_hz,
        method="regression on the clock channel; in units of the time tagger's own clock",
        plane="laser",
        budget=(
            Contribution(
                f"clock regression, {pulsed.label}",
                clock.frequency_hz * clock.u_period_ps / clock.period_ps,
            ),
        ),
    )
    if tagger_clock is None:
        return counted
    longer = 1.0 + tagger_clock.value
    value = counted.value / longer
    return replace(
        counted,
        value=value,
        method="regression on the clock channel, less the error of the time tagger's clock",
        budget=propagate([(counted, 1.0 / longer), (tagger_clock, -value / longer)]),
    )


def _fit(counts: LiveCounts, live: float, name: str) -> Fit:
    s = counts.statistics
    pairs = s.c0 * _same_detector(float(s.n_a.sum()), float(s.n_b.sum()))
    rate = (s.n_a + s.n_b + pairs) / s.n_live
    u = _counting(s) * np.sqrt(s.n_live.sum() / s.n_live)
    time_s = np.asarray((np.arange(len(rate)) + 0.5) * s.block_s, dtype=np.float64)
    pulls = (rate - live) / u
    return Fit(
        model="constant brightness",
        names=("photons_detected_per_pulse",),
        values=np.array([live]),
        covariance=np.array([[_counting(s) ** 2]]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=len(rate) - 1,
        curves=(
            Curve(
                title="Brightness over time",
                x_label="time t (s)",
                y_label="photons detected per live pulse",
                x=time_s,
                y=rate,
                u_y=u,
                model=np.full(len(rate), live),
                residuals=pulls,
                x_line=time_s[[0, -1]],
                y_line=np.full(2, live),
                line_label="mean",
                quantities=(name,),
            ),
        ),
    )
