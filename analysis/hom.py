"""Two-photon interference of consecutive photons, and their indistinguishability.

Behind an interferometer that is unbalanced by one pulse period, a photon through the long arm
meets its successor through the short one. Splitter 1 sends photons into the arms, splitter 2 to the
detectors; the light of the long arm is turned by 90 degrees for orthogonal arms, for which splitter
2 has another reflectance R2o. Per pulse, photons leave by different outputs with

    C_par  = n^2 {R1 T1 [R2^2 + T2^2 - 2 R2 T2 (1 - eps)^2 M] + g2 (R1^2 + T1^2) R2 T2} ,
    C_orth = n^2 {R1 T1 [R2 R2o + T2 T2o] + g2 (T1^2 R2 T2 + R1^2 R2o T2o)} ,

where M is the overlap of two photons with parallel polarisation of the arms. The term with g2 is
from two photons of one pulse, which take the same arm and do not interfere. V = 1 - C_par/C_orth is
measured, M follows. With equal splitters for both polarisations,

    M = V (1 + g2) (R^2 + T^2)/(2 R T)/(1 - eps)^2 .

The formula of Santori et al., Nature 419, 594 (2002), has 1 + 2 g2. It is for excitation by pairs
of pulses, where two photons of one pulse also contribute in the time slots on either side. Here
every pulse period holds a pulse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, Uncertain, merge, propagate
from qdchar.fit import Curve, Fit, Result, Series
from qdchar.raw_data import TagRun
from qdchar.tags import PulseStatistics
from qdchar.tags.source import count_in_one_pass

from .detection.coincidences import (
    DelayHistogram,
    coincidence_curve,
    delay_counter,
    fine_delay_counter,
)
from .detection.cross_talk import Talk, cross_talk_of
from .detection.detector_recovery import detector_recoveries, veto_pulses
from .detection.pulsed_run import open_run
from .models.interferometer import (
    Interferometer,
    orthogonal_coincidences,
    parallel_coincidences,
    with_second_order,
)
from .statistics.intervals import (
    K_95,
    LEVEL_68,
    LEVEL_95,
    Interval,
    jeffreys,
    possible_part,
    scaled_interval,
    widen,
)
from .statistics.jackknife import Table, jackknife

Array = NDArray[np.float64]

FORMULA = "from 1 - V = C_par/C_orth, splitters as certified, one pulse per period"
_BLOCKS = 50
"""Time blocks of a run for the jackknife."""
_LAGS = 12
"""Largest delay of the peak areas [pulses]."""
_LARGEST_SHOWN_LAG = 4
"""Largest delay of the peak areas that are drawn [pulses]; those farther away are the reference."""
_SHOWN_LAGS = np.arange(-_LARGEST_SHOWN_LAG, _LARGEST_SHOWN_LAG + 1, dtype=np.float64)


def analyse(
    runs: Sequence[TagRun],
    *,
    g2: Estimate,
    interferometer: Interferometer,
    dark_count_rate: Estimate | None = None,
    blinking: Estimate | None = None,
) -> Result:
    """Find the visibility of two-photon interference, raw and corrected.

    Parameters
    ----------
    runs
        Time tags behind the interferometer; ``arms`` in their settings is ``parallel`` or
        ``orthogonal``.
    g2
        At the interferometer's input, raw and time-averaged.
    interferometer
        Its splitters, and the overlap of its modes.
    dark_count_rate
        Total of both detectors [Hz]; coincidences with dark counts are subtracted if given.
    blinking
        Amplitude b. Consecutive photons come from a source that is on, so g2/(1 + b) is used.

    Returns
    -------
    Result
        ``visibility``: V as measured, only dark counts removed; ``indistinguishability``: M by the
        formula above.

    Raises
    ------
    InconclusiveError
        If a setting is missing, a detector silent or the clock lost.

    Notes
    -----
    Only live pulses are counted, before which neither detector clicked for longer than its dead
    time. Interference decides which detector clicks, not whether one clicks. So both settings have
    the same live pulses, and dead time and blinking cancel in C_par/C_orth. Pulses with any click,
    n_A + n_B - C, do not depend on interference either; their square normalises the brightness.

    Two corrections are small. Before a live pulse no photon of the short arm gave a click, so a
    photon in the long arm is more frequent by 1/(1 - T1 q), with q clicks per pulse, but two
    photons of the pulse itself in the short arm are not: V is reduced by
    g2 q T1^2 R2 T2/(R1 (R2^2 + T2^2)), about 1e-4.
    A threshold detector gives one click for several photons, so that C is not the mean of n_A n_B:
    see `_three_photons`.

    A click of one detector that makes the other one click is a coincidence without photons. Such
    pairs come at delays beyond the light. They are counted with parallel arms, where the light
    makes few pairs, and the same share of the clicks is taken off both settings.

    The multi-photon part may be as indistinguishable as the rest, or not interfere at all
    ("separable noise": M is then greater by 1/(1 - g2), Ollivier et al., PRL 126, 063602). Its
    origin is not known here: the middle is reported, with a rectangular distribution between both.
    """
    counts, delays, talks = _counted(runs)
    by_arms = {
        arms: [s for s, r in zip(counts, runs, strict=True) if r.about.settings.get("arms") == arms]
        for arms in ("parallel", "orthogonal")
    }
    for arms, counted in by_arms.items():
        if not counted:
            raise InconclusiveError(
                f"two-photon interference: no run with {arms} arms; both settings are needed"
            )
    label = ", ".join(r.file.name for r in runs)
    dark = 0.0
    if dark_count_rate is not None:
        dark = dark_count_rate.value / by_arms["parallel"][0].clock.frequency_hz
    tables = {arms: _table(counted) for arms, counted in by_arms.items()}
    parallel, orthogonal = tables["parallel"], tables["orthogonal"]
    coincidences, by_dark = _coincidences(parallel, dark)
    others, _ = _coincidences(orthogonal, dark)
    if others <= 0:
        raise InconclusiveError(
            f"{label}: no coincidences with orthogonal arms; record longer, or check the light"
        )
    unit = _normalised(parallel, 1.0) / _normalised(orthogonal, others)
    visibility = _visibility(
        unit, coincidences, by_dark, others, parallel, orthogonal, dark, dark_count_rate, label
    )
    talk = [
        (found, s)
        for found, s, r in zip(talks, counts, runs, strict=True)
        if r.about.settings.get("arms") == "parallel"
    ]
    share = _cross_talk_share(talk, label)
    of_parallel, of_orthogonal = (float(t[:, 1:3].sum()) for t in (parallel, orthogonal))
    per_share = unit * of_parallel - unit * coincidences * of_orthogonal / others
    problems = tuple(words for found, s in talk for words in _cross_talk_problems(found, s))
    visibility = _reduced(visibility, -per_share * share.value, propagate([(share, per_share)]))
    gated = all(s.veto_pulses > 0 for counted in by_arms.values() for s in counted)
    inputs = [g2, interferometer.first, interferometer.second]
    inputs += [] if blinking is None else [blinking]

    def excesses(values: Sequence[float]) -> tuple[float, float, float]:
        """Return the excess from pairs on live pulses, that from three photons, and its u."""
        found, first, second, *b = values
        pairs = found / (1.0 + sum(b))
        rarer = 0.0
        if gated:
            rarer = _rarer_pairs(orthogonal, pairs, first, second) * visibility.value
        return rarer, *_three_photons(orthogonal, pairs, second, visibility.value - rarer)

    rarer, three, u_three = excesses([e.value for e in inputs])
    found = _reduced(
        visibility,
        rarer + three,
        (
            # The model of this correction is accurate to about half of it.
            Contribution(f"pairs on live pulses, {label}", 0.5 * rarer, "B"),
            Contribution(f"three photons on two detectors, {label}", u_three, "B"),
            *with_second_order(lambda x: -sum(excesses(x)[:2]), inputs),
        ),
    )
    alike = _indistinguishability(found, g2, interferometer, blinking)
    pairs = {
        arms: [d for d, r in zip(delays, runs, strict=True) if r.about.settings.get("arms") == arms]
        for arms in by_arms
    }
    return Result((found, alike), (_fit(by_arms, pairs, found),), problems)


def _counted(
    runs: Sequence[TagRun],
) -> tuple[list[PulseStatistics], list[DelayHistogram], list[Talk]]:
    """Count all runs with one veto, on which the on-time of a blinking source depends."""
    opened = [open_run(r) for r in runs]
    gate = max(veto_pulses(p.count(veto_pulses=0, n_blocks=_BLOCKS)) for p in opened)
    counts, delays, talks = [], [], []
    for pulsed in opened:
        counter = pulsed.counter(veto_pulses=gate, n_blocks=_BLOCKS, n_max=_LAGS)
        drawn, peaks = fine_delay_counter(pulsed), delay_counter(pulsed)
        count_in_one_pass(pulsed.tags, counter, drawn, peaks)
        counts.append(counter.statistics())
        delays.append(DelayHistogram.of(drawn, pulsed))
        recovery = max(r.recovery_pulses for r in detector_recoveries(counts[-1]))
        talks.append(cross_talk_of(counts[-1], peaks, recovery))
    return counts, delays, talks


def _cross_talk_share(found: Sequence[tuple[Talk, PulseStatistics]], label: str) -> Uncertain:
    """Return by how many clicks of the other detector a click is followed, none of them light's.

    Where the light leaves no delay free, as with a lifetime of a whole period, nothing is known of
    it and nothing taken off.
    """
    pairs = [t.pairs for t, _ in found if t.pairs is not None]
    clicks = sum(int(s.s_a.sum() + s.s_b.sum()) for t, s in found if t.pairs is not None)
    if not clicks:
        return Uncertain(0.0)
    low, high = jeffreys(sum(p.seen for p in pairs), LEVEL_68)
    u_shape = sum(p.u_shape * p.side for p in pairs)
    return Uncertain(
        sum(p.pairs for p in pairs) / clicks,
        (
            Contribution(
                f"pairs at the delays of cross-talk, {label}", 0.5 * (high - low) / clicks
            ),
            Contribution(f"shape of the zero peak, {label}", u_shape / clicks, "B"),
        ),
    )


def _cross_talk_problems(talk: Talk, s: PulseStatistics) -> tuple[str, ...]:
    added = 0.0 if talk.pairs is None else talk.pairs.pairs
    return talk.problems(added, float(s.peak_areas[:, _LAGS].sum()) - added)


def _table(counted: Sequence[PulseStatistics]) -> Table:
    """Live pulses, clicks of A and B, and coincidences by time block, shape (k, 4)."""
    total = np.zeros((_BLOCKS, 4))
    for s in counted:
        total += np.column_stack([s.n_live, s.n_a, s.n_b, s.c0])
    return total


def _coincidences(table: Table, dark: float) -> tuple[float, float]:
    """Return coincidences of photons, and those with a dark count (half of them on each)."""
    _, a, b, both = table.sum(axis=0)
    by_dark = 0.5 * dark * (a + b)
    return float(both - by_dark), float(by_dark)


def _normalised(table: Table, coincidences: float) -> float:
    """Coincidences per live pulse over the square of the chance of any click."""
    live, a, b, both = table.sum(axis=0)
    return float(coincidences * live / (a + b - both) ** 2)


def _ratio(table: Table, dark: float) -> float:
    """C_par/C_orth of a table with both, shape (k, 8)."""
    parallel, orthogonal = table[:, :4], table[:, 4:]
    return _normalised(parallel, _coincidences(parallel, dark)[0]) / _normalised(
        orthogonal, _coincidences(orthogonal, dark)[0]
    )


def _visibility(
    unit: float,
    coincidences: float,
    by_dark: float,
    others: float,
    parallel: Table,
    orthogonal: Table,
    dark: float,
    dark_count_rate: Estimate | None,
    label: str,
) -> Estimate:
    """V = 1 - unit * coincidences, with Jeffreys' interval for these or the jackknife."""
    ratio = unit * coincidences
    count = round(coincidences + by_dark)
    u_counting = {
        level: [unit * end for end in jeffreys(count, level, by_dark)]
        for level in (LEVEL_68, LEVEL_95)
    }
    low, high = u_counting[LEVEL_68]
    u_poisson = 0.5 * (high - low)
    u_blocks = jackknife(lambda t: _ratio(t, dark), np.hstack([parallel, orthogonal]))
    clicks = [float(t[:, 1:3].sum()) for t in (parallel, orthogonal)]
    u_reference = ratio * math.sqrt(1.0 / others + sum(4.0 / c for c in clicks))
    larger = max(1.0, u_blocks / math.hypot(u_poisson, u_reference))
    budget = [
        Contribution(f"coincidences, parallel arms, {label}", larger * u_poisson),
        Contribution(f"coincidences, orthogonal arms, {label}", larger * u_reference),
    ]
    if dark_count_rate is not None and dark_count_rate.value > 0:
        # the reference loses coincidences with dark counts, too
        of_others = 0.5 * dark * float(orthogonal[:, 1:3].sum()) / others
        slope = (unit * by_dark - ratio * of_others) / dark_count_rate.value
        budget += propagate([(dark_count_rate, slope)])
    u_others = math.sqrt(sum(c.u**2 for c in budget[1:]))

    def interval(level: float, k: float) -> Interval:
        ends = u_counting[level]
        low, high = widen(ratio, scaled_interval(ratio, (ends[0], ends[1]), larger), k, u_others)
        return possible_part((1.0 - high, 1.0 - low), greatest=1.0)

    return Estimate(
        name="visibility",
        value=1.0 - ratio,
        method=(
            f"live gating; {count} coincidences with parallel arms, {round(others)} with "
            "orthogonal ones"
        ),
        plane="transmitter output, delay of one pulse period",
        budget=tuple(budget),
        interval_68=interval(LEVEL_68, 1.0),
        interval_95=interval(LEVEL_95, K_95),
    )


def _rarer_pairs(table: Table, pairs: float, first: float, second: float) -> float:
    """Return the relative excess of V on live pulses, where pairs of one pulse are rarer."""
    live, a, b, both = table.sum(axis=0)
    in_short_arm = (1.0 - first) ** 2 / first
    splitting = second * (1.0 - second) / (second**2 + (1.0 - second) ** 2)
    return float(pairs * (a + b - both) / live * in_short_arm * splitting)


def _three_photons(
    table: Table, pairs: float, second: float, visibility: float
) -> tuple[float, float]:
    """Return the excess of V from three photons on two threshold detectors, and its u.

    Where two photons of one arm meet one photon of the other and leave by both outputs, n_A n_B is
    2, but C counts 1. This is g2 q/2 times as frequent as one photon meeting one. With orthogonal
    arms they leave by both outputs with probability 1 - R2 T2. With parallel arms and
    indistinguishable photons two bunch: a third photon joins them if it is indistinguishable, too
    (both outputs with 1/4); otherwise it takes either output (1/2). Which holds is not known.
    """
    live, a, b, both = table.sum(axis=0)
    r, t = second, 1.0 - second
    often = 0.5 * pairs * (a + b - both) / live / (r**2 + t**2)
    alike = visibility * (r**2 + t**2) / (2.0 * r * t)
    lost_orthogonal = 1.0 - r * t
    lost_parallel = lost_orthogonal - alike * (lost_orthogonal - 0.375)
    excess = often * (lost_parallel - lost_orthogonal * (1.0 - visibility))
    return float(excess), float(often * alike * 0.125 / math.sqrt(3.0))


def _reduced(
    visibility: Estimate, excess: float, contributions: Sequence[Contribution]
) -> Estimate:
    """Return the visibility less an excess, which has its own contributions."""
    value = visibility.value - excess
    u = math.sqrt(sum(c.u**2 for c in contributions))

    def moved(interval: Interval | None, k: float) -> Interval | None:
        if interval is None:
            return None
        low, high = interval
        return possible_part(widen(value, (low - excess, high - excess), k, u), greatest=1.0)

    return replace(
        visibility,
        value=value,
        budget=merge([*visibility.budget, *contributions]),
        interval_68=moved(visibility.interval_68, 1.0),
        interval_95=moved(visibility.interval_95, K_95),
    )


def _indistinguishability(
    visibility: Estimate,
    g2: Estimate,
    interferometer: Interferometer,
    blinking: Estimate | None,
) -> Estimate:
    inputs = [
        visibility,
        g2,
        interferometer.first,
        interferometer.second,
        interferometer.orthogonal,
        interferometer.overlap,
    ]
    if blinking is not None:
        inputs.append(blinking)

    def parts(values: Sequence[float]) -> tuple[float, float]:
        """Return M if pairs do not change it, and g2 while the source is on."""
        v, measured, first, second, orthogonal, overlap, *b = values
        pairs = measured / (1.0 + sum(b))
        missing = parallel_coincidences(first, second, pairs, 0.0)
        missing -= (1.0 - v) * orthogonal_coincidences(first, second, orthogonal, pairs)
        most = first * (1.0 - first) * 2.0 * second * (1.0 - second) * overlap**2
        return missing / most, pairs

    def middle(values: Sequence[float]) -> float:
        alike, pairs = parts(values)
        return alike * (1.0 + 0.5 * pairs)

    at = [e.value for e in inputs]
    value, (alike, pairs) = middle(at), parts(at)
    budget = (
        *with_second_order(middle, inputs),
        Contribution("origin of the multi-photon part", 0.5 * alike * pairs / math.sqrt(3.0), "B"),
    )
    u = math.sqrt(sum(c.u**2 for c in budget))
    near_bound = value + K_95 * u > 1.0
    r1, r2, r2o, o = at[2:6]
    return Estimate(
        name="indistinguishability",
        value=value,
        method=(
            f"{FORMULA}; g2 {pairs:.4g}, R1 {r1:.3f}, R2 {r2:.3f} and {r2o:.3f}, 1 - eps {o:.4f}; "
            "multi-photon part between indistinguishable and not interfering (Ollivier, PRL 126, "
            "063602)"
        ),
        plane=visibility.plane,
        budget=budget,
        interval_68=possible_part((value - u, value + u), greatest=1.0) if near_bound else None,
        interval_95=(
            possible_part((value - K_95 * u, value + K_95 * u), greatest=1.0)
            if near_bound
            else None
        ),
    )


def _fit(
    by_arms: Mapping[str, list[PulseStatistics]],
    delays: Mapping[str, list[DelayHistogram]],
    visibility: Estimate,
) -> Fit:
    """Draw the pairs of both settings, and the peak areas over those far from zero."""
    pairs = {arms: np.sum([d.pairs for d in found], axis=0) for arms, found in delays.items()}
    names = {arms: f"{arms} polarisation" for arms in by_arms}
    parallel, orthogonal = (_areas(by_arms[arms]) for arms in ("parallel", "orthogonal"))
    expected = [_pattern(0.5 * (1.0 - visibility.value)), _pattern(0.5)]
    areas = Curve(
        title="Coincidence peak areas over those of far peaks",
        x_label="delay (pulses)",
        y_label="normalised peak area",
        x=_SHOWN_LAGS,
        y=parallel[0],
        u_y=parallel[1],
        model=expected[0],
        residuals=np.zeros(0),  # the lines are for like splitters without dead time
        x_line=_SHOWN_LAGS,
        y_line=expected[0],
        data_label="parallel",
        line_label="ideal",
        others=(
            Series("orthogonal", _SHOWN_LAGS, orthogonal[0], "points", orthogonal[1]),
            Series("ideal", _SHOWN_LAGS, expected[1]),
        ),
        quantities=("indistinguishability",),
    )
    histogram = coincidence_curve(
        "Two-photon interference of consecutive photons",
        replace(delays["parallel"][0], pairs=pairs["parallel"]),
        label=names["parallel"],
        others=((names["orthogonal"], pairs["orthogonal"]),),
        quantities=("visibility",),
    )
    return Fit(
        model="ratio of coincidences",
        names=("visibility",),
        values=np.array([visibility.value]),
        covariance=np.array([[visibility.u**2]]),
        statistic="chi2",
        minimum=0.0,
        dof=0,
        curves=(histogram, areas),
    )


def _areas(counted: Sequence[PulseStatistics]) -> tuple[Array, Array]:
    """Return areas over those of far peaks, and their uncertainties, at the delays shown."""
    areas = np.sum([s.peak_areas.sum(axis=0) for s in counted], axis=0)
    shown = np.abs(np.arange(-_LAGS, _LAGS + 1)) <= _LARGEST_SHOWN_LAG
    far = float(areas[~shown].mean())
    return areas[shown] / far, np.sqrt(areas[shown] + 0.5) / far


def _pattern(centre: float) -> Array:
    """Return the areas behind like splitters without dead time, by the one at zero."""
    return np.select([_SHOWN_LAGS == 0.0, np.abs(_SHOWN_LAGS) == 1.0], [centre, 0.75], 1.0)
