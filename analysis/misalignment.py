"""Misalignment: how often a photon meets the wrong detector of its basis.

Each state is recorded twice: turned to detector A, where clicks of B are wrong, and with the
analyser turned to the orthogonal state, where the detectors have changed places. With wrong
clicks w and right clicks r on live pulses, efficiency ratio e = eta_B/eta_A,

    p = W/(W + R) ,    W = w_1/e + w_2 ,    R = r_1 + r_2/e .

An error of e increases one term of W and of R and decreases the other: it cancels to first order,
as does a change of brightness between the two recordings. Both detectors are counted on the same
live pulses, before which neither clicked, so dead time and blinking cancel in their ratio.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, propagate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import TagRun
from qdchar.roles import ORTHOGONAL
from qdchar.tags import open_tags

from .detection.detector_recovery import veto_pulses
from .detection.pulsed_run import PulsedRun, clock_of, phase_histogram, window_start_ps
from .statistics.intervals import LEVEL_68, LEVEL_95, Interval, jeffreys_ratio, possible_part
from .statistics.jackknife import Table, jackknife

_BLOCKS = 40
"""Time blocks of a recording for the jackknife."""
_LIKELY = 0.01
"""Probability of the chi2 below which a difference of the orientations is none of chance."""
_MIN_P_VALUE = 1e-4
"""Probability of the chi2 below which the two orientations disagree."""
_MAX_DISAGREEMENT = 0.1
"""Largest relative difference between the misalignments of the two orientations."""
_CIRCULAR = ("R", "L")
_STEP = 0.01
"""Relative change of dark counts or efficiency for the derivatives with respect to them."""
_MIN_BRIGHTNESS_NOISE = 0.01
"""Least relative change of the brightness between two recordings that is expected."""


@dataclass(frozen=True)
class _Recording:
    """Counts on live pulses by time block, shape (k,), and the dark counts among them."""

    right: Table
    wrong: Table
    live: float
    both: float
    dark: float
    on_b: bool
    """Whether right clicks are those of B."""
    faster_Hz: float
    """Click rate of the right detector above that of the wrong one."""


@dataclass(frozen=True)
class _State:
    """One state's misalignment with its intervals."""

    name: str
    value: float
    u: float
    wrong: float
    right: float
    dark: float
    difference: float
    """Logarithm of the efficiency ratio of this state over that of all.

    Half of the relative difference between the misalignments of the two orientations.
    """
    u_difference: float

    @property
    def source(self) -> str:
        return f"wrong clicks, state {self.name}"


def analyse(
    runs: Sequence[TagRun],
    *,
    dark_count_rate: Estimate | None = None,
    linearity: Estimate | None = None,
    plate_retardance: Estimate | None = None,
) -> Result:
    """Find the misalignment of a transmitter with its receiver's analyser.

    Parameters
    ----------
    runs
        Two for each state, as `qdchar.protocols.misalignment` records them: ``prepared`` and
        ``analysed`` (the state that was turned to detector A) stand in their settings.
    dark_count_rate
        Total of both detectors [Hz]; subtracted if given, half from each.
    linearity
        Relative change of a detector's efficiency per click rate [s]: the right detector, which is
        the faster in either orientation, counts another share of its photons than the wrong one.
    plate_retardance
        Retardance of the analyser's quarter- and half-wave plate less a quarter and half of a wave
        [rad]; None takes them to be exact.

    Returns
    -------
    Result
        ``misalignment``: mean over the states, and ``misalignment_worst``: that of the worst one,
        both (wrong - dark)/(total - dark) with intervals.

    Raises
    ------
    InconclusiveError
        If a state was not recorded both ways, the clock is lost, or nothing clicked.

    Notes
    -----
    Two photons on the right detector give one click; their share follows from the pairs that reach
    both detectors. The uncertainty is the larger of Jeffreys' interval for the wrong clicks and a
    block jackknife.

    Plates whose retardance is off by d, at the angles that are usual (quarter-wave plate along H or
    at 45 degrees, half-wave plate behind it at multiples of 22.5 degrees), turn the analyser away
    from the state that was asked for: on the Poincare sphere not for H, by d for V, by d/sqrt(2)
    for D and A, by d (1 +- 1/sqrt(2)) for R and L. An angle x adds (1 - cos x)/2, about x^2/4, so
    that the mean of both orientations is too high by d^2/8 for H, V, D and A and by 3 d^2/8 for R
    and L. The expected value of it is subtracted, and its standard deviation is in the budget.

    Where the two orientations of the states differ by more than chance, the excess of the
    difference is an uncertainty of the mean: one of them may be right and the other wrong. Above
    10 % it is a problem.

    The result includes the extinction of the analyser's beam splitter, as a key does. The worst
    state is selected by its value: where the states differ by less than their errors, it is biased
    upwards.
    """
    pairs = _paired(runs)
    starts = _window_starts(pairs)
    dark_Hz = 0.0 if dark_count_rate is None else dark_count_rate.value
    recordings = {
        state: (_count(direct, starts, dark_Hz, False), _count(swapped, starts, dark_Hz, True))
        for state, (direct, swapped) in pairs.items()
    }
    both_ways = list(recordings.values())
    ratio = _efficiency_ratio(both_ways)
    lost, u_lost = _pairs_on_the_right(both_ways)
    faster_Hz = float(np.mean([r.faster_Hz for pair in both_ways for r in pair]))

    def states_with(darks: float, more: float) -> list[_State]:
        """Return the states with dark counts by a factor, and a change with the rate by `more`."""
        moved = {
            name: (replace(a, dark=darks * a.dark), replace(b, dark=darks * b.dark))
            for name, (a, b) in recordings.items()
        }
        unlike = _efficiency_ratio(list(moved.values()))
        found = [_state(name, pair, unlike, lost) for name, pair in moved.items()]
        if linearity is not None:
            found = [_at_equal_rates(s, linearity.value * faster_Hz + more) for s in found]
        if plate_retardance is not None:
            found = [_without_plates(s, plate_retardance) for s in found]
        return found

    def slopes(above: list[_State], below: list[_State]) -> list[float]:
        return [(a.value - b.value) / (2.0 * _STEP) for a, b in zip(above, below, strict=True)]

    states = states_with(1.0, 0.0)
    per_dark = slopes(states_with(1.0 + _STEP, 0.0), states_with(1.0 - _STEP, 0.0))
    per_change = slopes(states_with(1.0, _STEP), states_with(1.0, -_STEP))
    apart = _excess_difference(states)

    def shared(which: Sequence[int]) -> list[Contribution]:
        """Return what the states of one mean have in common."""
        inputs = []
        if linearity is not None:
            inputs.append((linearity, float(np.mean([per_change[k] for k in which])) * faster_Hz))
        if plate_retardance is not None:
            by_plates = [_by_plates(states[k].name) * (1.0 - 2.0 * states[k].value) for k in which]
            d, u = plate_retardance.value, plate_retardance.u
            # standard deviation of d^2 over that of d
            of_square = math.copysign(math.sqrt(4.0 * d**2 + 2.0 * u**2), d)
            inputs.append((plate_retardance, -float(np.mean(by_plates)) * of_square))
        if dark_count_rate is not None and dark_Hz > 0:
            inputs.append((dark_count_rate, float(np.mean([per_dark[k] for k in which])) / dark_Hz))
        mean_p = float(np.mean([states[k].value for k in which]))
        own = [Contribution("pairs of photons on one detector", mean_p * u_lost, "B")]
        if apart > 0.0:
            own.append(Contribution("orientations of the analyser", mean_p * apart, "B"))
        return [*propagate(inputs), *own]

    value = float(np.mean([s.value for s in states]))
    method = (
        f"{len(states)} states, each with both orientations of the analyser; efficiency ratio "
        f"B/A {ratio:.4f} cancels; live gating"
    )
    n = len(states)
    mean = _estimate(
        "misalignment",
        f"mean of the states {', '.join(pairs)}; {method}",
        value,
        [Contribution(s.source, s.u / n) for s in states],
        shared(range(n)),
        states,
    )
    highest_k = max(range(n), key=lambda k: states[k].value)
    worst = states[highest_k]
    highest = _estimate(
        "misalignment_worst",
        f"state {worst.name} of {', '.join(pairs)}; {method}",
        worst.value,
        [Contribution(worst.source, worst.u)],
        shared([highest_k]),
        [worst],
    )
    return Result(
        (mean, highest), (_fit(states, value),), _problems(states, *_turned(both_ways, ratio))
    )


def _paired(runs: Sequence[TagRun]) -> Mapping[str, tuple[TagRun, TagRun]]:
    """Sort runs by state: turned to A, and the orthogonal one turned to A."""
    known = {
        (str(r.about.settings.get("prepared")), str(r.about.settings.get("analysed"))): r
        for r in runs
    }
    states = list(dict.fromkeys(prepared for prepared, _ in known))
    if not states:
        raise InconclusiveError("misalignment: no state was recorded")
    for state in states:
        for analysed in (state, ORTHOGONAL.get(state, state)):
            if (state, analysed) not in known:
                raise InconclusiveError(
                    f"misalignment: state {state} was not recorded with {analysed} turned to "
                    "detector A; both orientations are needed, so that the detectors' efficiencies "
                    "cancel"
                )
    return {s: (known[s, s], known[s, ORTHOGONAL[s]]) for s in states}


def _window_starts(pairs: Mapping[str, tuple[TagRun, TagRun]]) -> tuple[float, float]:
    """Where the pulse windows of A and B begin: each from a run in which it has the light."""
    direct, swapped = next(iter(pairs.values()))
    start = []
    for run, name in ((direct, "A"), (swapped, "B")):
        tags = open_tags(run.file)
        clock = clock_of(run, tags)
        start.append(window_start_ps(phase_histogram(run, tags, clock, name), clock))
    return start[0], start[1]


def _count(run: TagRun, starts: tuple[float, float], dark_Hz: float, swapped: bool) -> _Recording:
    tags = open_tags(run.file)
    pulsed = PulsedRun(run, tags, clock_of(run, tags), *starts)
    gate = veto_pulses(pulsed.count(veto_pulses=0, n_blocks=_BLOCKS))
    s = pulsed.count(veto_pulses=gate, n_blocks=_BLOCKS)
    a, b = s.n_a.astype(np.float64), s.n_b.astype(np.float64)
    return _Recording(
        right=b if swapped else a,
        wrong=a if swapped else b,
        live=float(s.n_live.sum()),
        both=float(s.c0.sum()),
        dark=0.5 * dark_Hz / s.clock.frequency_hz * float(s.n_live.sum()),
        on_b=swapped,
        faster_Hz=(-1.0 if swapped else 1.0)
        * float(s.s_a.sum() - s.s_b.sum())
        / float(s.n_pulses.sum())
        * s.clock.frequency_hz,
    )


def _efficiency_ratio(pairs: Sequence[tuple[_Recording, _Recording]]) -> float:
    """Return eta_B over eta_A, from the ratio of wrong to right clicks in both orientations.

    These ratios depend neither on the brightness nor on the number of live pulses.
    """
    for on_b in (False, True):
        if not sum(float(r.right.sum()) for pair in pairs for r in pair if r.on_b == on_b):
            raise InconclusiveError(
                f"misalignment: detector {'B' if on_b else 'A'} has no clicks on live pulses when "
                "the light is turned to it; is its output connected? Is the source tuned?"
            )
    each = [_log_ratio(pair) for pair in pairs]
    weights = [1.0 / u**2 for _, u in each]
    total = sum(w * value for w, (value, _) in zip(weights, each, strict=True))
    return math.exp(total / sum(weights))


def _log_ratio(pair: tuple[_Recording, _Recording]) -> tuple[float, float]:
    """Logarithm of eta_B over eta_A from one state, and its standard error."""
    (r_1, w_1), (r_2, w_2) = (
        (float(r.right.sum()) + 0.5, max(float(r.wrong.sum()) - r.dark, 0.0) + 0.5) for r in pair
    )
    value = 0.5 * math.log(w_1 / r_1 * r_2 / w_2)
    return value, 0.5 * math.sqrt(1.0 / r_1 + 1.0 / w_1 + 1.0 / r_2 + 1.0 / w_2)


def _turned(pairs: Sequence[tuple[_Recording, _Recording]], ratio: float) -> tuple[float, float]:
    """Return by how much right clicks per live pulse differ from the efficiency ratio, and its u.

    They differ if the misalignment of the two orientations differs in every state. A change of
    brightness is random and has no preferred direction.
    """
    change = np.array(
        [
            math.log((b.right.sum() + 0.5) / b.live) - math.log((a.right.sum() + 0.5) / a.live)
            for a, b in pairs
        ]
    )
    u_each = max(float(change.std(ddof=1)) if len(change) > 1 else 0.0, _MIN_BRIGHTNESS_NOISE)
    _, u_ratio = zip(*(_log_ratio(pair) for pair in pairs), strict=True)
    u = math.hypot(u_each / math.sqrt(len(change)), 1.0 / math.sqrt(sum(x**-2 for x in u_ratio)))
    return float(change.mean() - math.log(ratio)), u


def _pairs_on_the_right(pairs: Sequence[tuple[_Recording, _Recording]]) -> tuple[float, float]:
    """Return the share of right clicks with two photons, and its standard error.

    A pair reaches both detectors with probability 2 p (1 - p), only the right one with (1 - p)^2.
    """
    recordings = [r for pair in pairs for r in pair]
    both = sum(r.both for r in recordings)
    right = sum(float(r.right.sum()) for r in recordings)
    wrong = sum(float(r.wrong.sum()) for r in recordings)
    per_pair = right / (2.0 * max(wrong, 1.0)) / right
    return both * per_pair, math.sqrt(both + 1.0) * per_pair


def _photons(recording: _Recording, ratio: float, lost: float) -> Table:
    """Wrong and right photons by time block, in units of A's efficiency, shape (k, 2)."""
    to_right, to_wrong = (ratio, 1.0) if recording.on_b else (1.0, ratio)
    dark = recording.dark / len(recording.right)
    return np.column_stack(
        [
            (recording.wrong - dark) / to_wrong,
            (recording.right - dark) * (1.0 + lost) / to_right,
        ]
    )


def _share(table: Table) -> float:
    wrong, right = table.sum(axis=0)
    return float(wrong / (wrong + right))


def _state(name: str, pair: tuple[_Recording, _Recording], ratio: float, lost: float) -> _State:
    tables = [_photons(r, ratio, lost) for r in pair]
    total = tables[0] + tables[1]
    wrong = sum(float(r.wrong.sum()) for r in pair)
    right = sum(float(r.right.sum()) for r in pair)
    if right + wrong <= 0 or total.sum() <= 0:
        raise InconclusiveError(f"misalignment: nothing clicked with state {name} sent")
    value = _share(total)
    low, high = _odds_interval(wrong, right, LEVEL_68)
    # The interval is for counts: scale it with the efficiencies, as the value.
    scale = (1.0 - value) ** 2 * (right / float(total[:, 1].sum()))
    u_counting = 0.5 * (high - low) * scale
    u = max(u_counting, jackknife(_share, total))
    of_state, u_difference = _log_ratio(pair)
    return _State(
        name=name,
        value=value,
        u=u,
        wrong=wrong,
        right=right,
        dark=sum(r.dark for r in pair),
        difference=of_state - math.log(ratio),
        u_difference=u_difference,
    )


def _at_equal_rates(state: _State, more: float) -> _State:
    """Correct for a right detector that counts relatively more of its photons by `more`."""
    factor = 1.0 + more
    odds = state.value / (1.0 - state.value) * factor
    value = odds / (1.0 + odds)
    return replace(
        state, value=value, u=state.u * factor * ((1.0 - value) / (1.0 - state.value)) ** 2
    )


def _by_plates(state: str) -> float:
    """Return what plates of another retardance add, mean of both orientations, per rad^2."""
    return 3.0 / 8.0 if state in _CIRCULAR else 1.0 / 8.0


def _without_plates(state: _State, retardance: Estimate) -> _State:
    """Subtract what is expected of plates whose retardance is another."""
    squared = retardance.value**2 + retardance.u**2
    added = _by_plates(state.name) * (1.0 - 2.0 * state.value) * squared
    return replace(state, value=state.value - added)


def _excess_difference(states: Sequence[_State]) -> float:
    """Return half of the relative difference of the orientations beyond chance; 0 without any."""
    chi2, dof = sum((s.difference / s.u_difference) ** 2 for s in states), len(states) - 1
    if dof == 0 or stats.chi2.sf(chi2, dof) > _LIKELY:
        return 0.0
    return math.sqrt((1.0 - dof / chi2) * float(np.mean([s.difference**2 for s in states])))


def _odds_interval(wrong: float, right: float, level: float) -> Interval:
    return jeffreys_ratio(round(wrong), round(right), level)


def _estimate(
    name: str,
    method: str,
    value: float,
    own: list[Contribution],
    shared: list[Contribution],
    states: Sequence[_State],
) -> Estimate:
    budget = (*own, *shared)
    u = math.sqrt(sum(c.u**2 for c in budget))
    wrong, right = sum(s.wrong for s in states), sum(s.right for s in states)
    counted = _probability(*_odds_interval(wrong, right, LEVEL_68))
    u_counted = 0.5 * (counted[1] - counted[0])
    centre = wrong / (wrong + right)

    def interval(level: float) -> Interval:
        """Scale the interval of the counts to the uncertainty of the budget, about the value."""
        low, high = _probability(*_odds_interval(wrong, right, level))
        larger = u / u_counted
        scaled = value + larger * (low - centre), value + larger * (high - centre)
        return possible_part(scaled, least=0.0)

    return Estimate(
        name=name,
        value=value,
        method=method,
        plane="transmitter output to receiver's detectors",
        budget=budget,
        interval_68=interval(LEVEL_68),
        interval_95=interval(LEVEL_95),
    )


def _probability(low: float, high: float) -> Interval:
    return low / (1.0 + low), high / (1.0 + high)


def _problems(states: Sequence[_State], turned: float, u_turned: float) -> tuple[str, ...]:
    problems = [
        f"photons in state {s.name} reach the wrong detector with probability {s.value:.3f}: are "
        "the modulator's voltages or the wave plates' angles of two states, or the channels of the "
        "detectors, exchanged?"
        for s in states
        if s.value > 0.5
    ]
    differences = [(s.difference, s.u_difference) for s in states] + [(turned, u_turned)]
    chi2 = sum((d / u) ** 2 for d, u in differences)
    apart = 2.0 * max(abs(d) for d, _ in differences)
    if stats.chi2.sf(chi2, len(states)) < _MIN_P_VALUE and apart > _MAX_DISAGREEMENT:
        worst = max(states, key=lambda s: abs(s.difference))
        problems.append(
            f"the misalignments of the two orientations of the analyser differ by {apart:.0%} "
            f"(chi2 {chi2:.0f} for {len(states)} states, most for {worst.name}): is an angle of "
            "the wave plates off, or does the polarisation drift?"
        )
    return tuple(problems)


def _fit(states: Sequence[_State], mean: float) -> Fit:
    x = np.arange(1.0, len(states) + 1.0)
    y, u = (np.array([getattr(s, name) for s in states]) for name in ("value", "u"))
    return Fit(
        model="mean over states",
        names=("misalignment",),
        values=np.array([mean]),
        covariance=np.array([[float(np.sum(u**2)) / len(states) ** 2]]),
        statistic="chi2",
        minimum=0.0,
        dof=0,  # states may differ, so that their scatter is no misfit
        curves=(
            Curve(
                title="Misalignment by state",
                x_label="state that is sent and analysed",
                y_label="wrong clicks (%)",
                x=x,
                y=100.0 * y,
                u_y=100.0 * u,
                model=np.full(len(x), 100.0 * mean),
                residuals=np.zeros(0),
                x_line=np.array([0.5, len(x) + 0.5]),
                y_line=np.full(2, 100.0 * mean),
                line_label="mean",
                quantities=("misalignment", "misalignment_worst"),
                tick_labels=tuple(s.name for s in states),
            ),
        ),
    )
