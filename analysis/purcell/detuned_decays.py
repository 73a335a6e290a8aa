"""Decays of one dot at several detunings of its cavity, separated from leaked laser light.

Far from the cavity's resonance the dot is faint and slow, and leaked laser light is no longer
negligible: at a twentieth of the brightness a share of 1 % has become one of 16 %. Laser light is
prompt. A decay histogram separates it from the dot if the decay is slow against the response. If
the decay is fast, a prompt share, a shorter lifetime and an earlier start have the same effect. But
the start is the same in all runs: it is fitted to the slow decays and used for the fast ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, Uncertain, budgets_of_fit, merge, propagate
from qdchar.fit import Fit
from qdchar.raw_data import TagRun

from ..detection.decay_histogram import fold
from ..detection.live_gating import LiveCounts, live_counts, two_photon_shares
from ..detection.pulsed_run import PulsedRun, open_run
from ..lifetime.reconvolution import (
    convolved,
    decay_starts,
    describe,
    mean_and_variance,
    misfit_budget,
    quiet_level,
    require_counts,
    width_of_whole,
)
from ..models.decay import Array, decayed, widened, widening
from ..statistics.likelihood import FitParameter, FitResult, Values, deviance_residuals, minimise

_MIN_SLOW_DECAY = 10.0
"""Least decay time [rms widths of the response] with which start and prompt share separate."""
_PROMPT_BINS = 0.05
"""Decay time of prompt light [bins], so short that `decayed` only shifts the response."""
_PROMPT_STARTS = (0.02, 0.05, 0.2)
"""Prompt shares with which a fit is started."""
_MIN_PROMPT = -0.02
"""Lower bound of the prompt share: below 0, so that noise about 0 is not biased."""


@dataclass(frozen=True)
class DetunedDecay:
    """Lifetime and prompt share of one run.

    Attributes
    ----------
    lifetime
        1/e decay time of the dot, mean of both detectors [s].
    prompt_share
        Share of prompt light in all light that follows the pulses.
    """

    lifetime: Estimate
    prompt_share: Uncertain


@dataclass(frozen=True)
class DetunedDecays:
    """One entry for each run, their fits, and problems."""

    decays: tuple[DetunedDecay, ...]
    fits: tuple[Fit, ...]
    problems: tuple[str, ...]


def detuned_decays(
    runs: Sequence[TagRun], response: TagRun, response_width: Estimate | None = None
) -> DetunedDecays:
    """Fit the decay of each run with one instrument response and one start for all.

    Parameters
    ----------
    runs
        Time tags of the source, n of them, at least one of a slow decay.
    response
        Time tags of the laser through the same path and detectors.
    response_width
        Width of the response to the emission over that to the laser; None takes them to be alike.

    Raises
    ------
    InconclusiveError
        If a detector is silent, a fit fails, or all decays are as fast as the response.

    Notes
    -----
    Model of each histogram: ``counts (IRF * exp) + prompt IRF + background``, all shifted by the
    start t0. The start is free in the slow runs (slower than half of the slowest, and than ten rms
    widths of the response); its weighted mean is a constraint of the other fits. The counting noise
    of the response is one error source for all runs, propagated bin by bin.

    A detector that is dead after a click registers the first of two photons of a pulse, see
    `qdchar.analysis.lifetime.analyse`. Where one of the two is a laser photon, it is part of the
    prompt share s; this is a part 1 - (1 - s)^2 over g2(0) of the coincidences. The others are
    treated as there.
    """
    pulsed_laser = open_run(response)
    laser = fold(pulsed_laser)
    # One window for all runs, so that their starts are comparable.
    a_ps, b_ps = pulsed_laser.offset_a_ps, pulsed_laser.offset_b_ps
    pulsed = [replace(open_run(run), offset_a_ps=a_ps, offset_b_ps=b_ps) for run in runs]
    folded = [fold(p) for p in pulsed]
    step_s = 1e-12 * pulsed_laser.tags.resolution_ps
    parts = [
        _one_detector(
            name,
            pulsed,
            decays,
            shape,
            laser.bin_s,
            response.file.name,
            None
            if response_width is None
            else width_of_whole(response_width, shape, laser.bin_s, step_s),
        )
        for name, decays, shape in (
            ("A", [h.a for h in folded], laser.a),
            ("B", [h.b for h in folded], laser.b),
        )
    ]
    decays = []
    for i, p in enumerate(pulsed):
        of_run = [part[i] for part in parts]
        weights = np.array([1.0 / d.lifetime.u**2 for d in of_run])
        weights /= weights.sum()
        counts = np.array([d.counts for d in of_run]) / sum(d.counts for d in of_run)
        prompt = _mean([d.prompt for d in of_run], counts)
        live = live_counts(p)
        pairs = weights @ two_photon_shares(live.statistics) * _both_of_the_dot(live, prompt.value)
        pair_correction = 0.25 * float(pairs)
        lifetime = _mean([d.lifetime for d in of_run], weights)
        u_pairs = lifetime.value * pair_correction / math.sqrt(3.0)
        corrected = Estimate(
            name="lifetime",
            value=lifetime.value * (1.0 + pair_correction),
            method="reconvolution with the measured response and a prompt share, both detectors",
            plane="fibre",
            budget=merge(
                [
                    *propagate([(lifetime, 1.0 + pair_correction)]),
                    # Whether the first of two photons is prompt is the same in all runs.
                    Contribution("first of two photons", u_pairs, "B"),
                ]
            ),
        )
        decays.append(DetunedDecay(corrected, prompt))
    return DetunedDecays(
        tuple(decays),
        tuple(d.fit for part in parts for d in part),
        tuple(problem for part in parts for d in part for problem in d.problems),
    )


def _both_of_the_dot(live: LiveCounts, prompt: float) -> float:
    """Return the share of the coincidences with both photons from the dot."""
    s = live.statistics
    c0, n_a, n_b, n_live = (float(n.sum()) for n in (s.c0, s.n_a, s.n_b, s.n_live))
    with_laser = n_a * n_b / n_live * (1.0 - (1.0 - prompt) ** 2)
    # With few coincidences the difference can be negative by chance.
    return max(1.0 - with_laser / c0, 0.0) if c0 > 0 else 0.0


@dataclass(frozen=True)
class _Decay:
    """One run on one detector."""

    lifetime: Uncertain
    prompt: Uncertain
    counts: float
    fit: Fit
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Fitted:
    """A fit with the gradients of lifetime, prompt share and start."""

    solution: FitResult
    gradients: Mapping[str, Mapping[str, float]]

    @classmethod
    def of(cls, solution: FitResult) -> _Fitted:
        counts, prompt = solution["counts"], solution["prompt"]
        total = counts + prompt
        share = {"prompt": counts / total**2, "counts": -prompt / total**2}
        return cls(
            solution, {"lifetime": {"lifetime": 1.0}, "prompt": share, "start": {"shift": 1}}
        )

    @property
    def share(self) -> float:
        """Prompt share."""
        return self.solution["prompt"] / (self.solution["counts"] + self.solution["prompt"])

    def own(self) -> dict[str, tuple[Contribution, ...]]:
        """Budget of each quantity from the decay's counting noise."""
        s = self.solution
        per_residual = s.jacobian @ s.covariance
        budgets = budgets_of_fit(f"{s.label}, decay", s.names, per_residual.T @ per_residual)
        return {
            name: merge(
                c.times(slope) for parameter, slope in gradient.items() for c in budgets[parameter]
            )
            for name, gradient in self.gradients.items()
        }

    def per_start(self, name: str) -> float:
        """Return the change of a quantity with the constrained start; 0 where it was free."""
        s = self.solution
        if "shift" not in s.constraints:
            return 0.0
        moved = s.covariance[:, s.names.index("shift")] / s.constraints["shift"].u ** 2
        return float(self._vector(name) @ moved)

    def per_response(self, name: str, response: Array, bin_s: float) -> Array:
        """Return the change of a quantity with a count in each bin of the response.

        To first order the solution changes by -C J^T W dm with a change dm of the model, W = 1/m.
        A count in a bin of the response changes the model by the kernel that begins there.
        """
        s = self.solution
        v = s.as_dict()
        shape = response / response.sum()
        expected = np.maximum(_model(shape, bin_s, v), 1e-12)
        columns = []
        for parameter in s.names:
            step = 0.01 * s.u(parameter)
            up, down = (
                _model(shape, bin_s, {**v, parameter: v[parameter] + d}) for d in (step, -step)
            )
            columns.append((up - down) / (2.0 * step))
        answer = -(self._vector(name) @ s.covariance @ np.stack(columns)) / expected
        kernel = _pulsed(np.eye(1, len(response))[0], bin_s, v)
        spectrum = np.fft.rfft(answer) * np.conj(np.fft.rfft(kernel))
        change = np.fft.irfft(spectrum, len(response)) / response.sum()
        return np.asarray(change - float(change @ response) / response.sum(), dtype=np.float64)

    def _vector(self, name: str) -> Array:
        gradient = self.gradients[name]
        return np.array([gradient.get(n, 0.0) for n in self.solution.names])


def _one_detector(
    detector: str,
    pulsed: Sequence[PulsedRun],
    decays: Sequence[Array],
    response: Array,
    bin_s: float,
    response_label: str,
    response_width: Estimate | None,
) -> list[_Decay]:
    labels = [f"lifetime {detector}, {p.label}" for p in pulsed]
    clocks = [Contribution(f"clock phase, {p.label}", 1e-12 * p.clock.u_t0_ps) for p in pulsed]
    require_counts(f"lifetime {detector}, {response_label}", response, "instrument response")
    for label, decay in zip(labels, decays, strict=True):
        require_counts(label, decay, "decay")
    recorded = response
    if response_width is not None:
        response = widened(recorded, response_width.value)
    width = math.sqrt(mean_and_variance(response - quiet_level(response), bin_s)[1])
    about = np.array([decay_starts(decay, response, bin_s)["lifetime"].start for decay in decays])
    slow = about > max(_MIN_SLOW_DECAY * width, 0.5 * float(about.max()))
    if not slow.any():
        raise InconclusiveError(
            f"lifetime on detector {detector}: all decays are faster than {_MIN_SLOW_DECAY:g} rms "
            f"widths of the response ({width * 1e12:.0f} ps), where leaked laser light cannot be "
            "separated from the dot's; detune the cavity further"
        )
    fits = {
        i: _Fitted.of(_fit(labels[i], decays[i], response, bin_s))
        for i in range(len(decays))
        if slow[i]
    }
    weights = {i: 1.0 / (f.solution.u("shift") ** 2 + clocks[i].u ** 2) for i, f in fits.items()}
    weights = {i: w / sum(weights.values()) for i, w in weights.items()}
    start = Uncertain(
        sum(w * fits[i].solution["shift"] for i, w in weights.items()),
        merge(c.times(w) for i, w in weights.items() for c in (*fits[i].own()["start"], clocks[i])),
    )
    start_of_response = sum(
        w * fits[i].per_response("start", response, bin_s) for i, w in weights.items()
    )
    spread = float(np.sum(np.square(start_of_response) * response))
    starts = [replace(start, budget=merge([*start.budget, clock])) for clock in clocks]
    for i in range(len(decays)):
        if not slow[i]:
            constraint = replace(
                starts[i],
                budget=merge([*starts[i].budget, Contribution("response", math.sqrt(spread), "B")]),
            )
            fits[i] = _Fitted.of(_fit(labels[i], decays[i], response, bin_s, constraint))
    names = [(i, name) for i in range(len(decays)) for name in ("lifetime", "prompt")]
    moved = np.stack(
        [
            fits[i].per_response(name, response, bin_s)
            + fits[i].per_start(name) * start_of_response
            for i, name in names
        ]
    )
    noise = (moved * response) @ moved.T
    keys = [f"{name} {i}" for i, name in names]
    shared = dict(budgets_of_fit(f"response {detector}, {response_label}", keys, noise))
    if response_width is not None:
        per_width = moved @ widening(recorded, response_width.value)
        for key, slope in zip(keys, map(float, per_width), strict=True):
            shared[key] = (*shared[key], *propagate([(response_width, slope)]))
    return [
        _finish(detector, fits[i], i, decays[i], response, bin_s, starts[i], shared)
        for i in range(len(decays))
    ]


def _finish(
    detector: str,
    fitted: _Fitted,
    i: int,
    decay: Array,
    response: Array,
    bin_s: float,
    start: Uncertain,
    shared: Mapping[str, tuple[Contribution, ...]],
) -> _Decay:
    s = fitted.solution
    v = s.as_dict()
    shape = response / response.sum()
    kernel = _pulsed(np.eye(1, len(decay))[0], bin_s, v)
    fit, problems = describe(
        f"Decay on detector {detector}, {s.label.rpartition(' ')[2]}",
        "exponential and prompt light",
        "behind the measured response",
        s,
        decay,
        _model(shape, bin_s, v),
        convolved(response, kernel**2) / response.sum() ** 2,
        bin_s,
        response,
    )
    own = fitted.own()

    def with_budget(name: str, value: float) -> Uncertain:
        budget = merge(
            [
                *own[name],
                *propagate([(start, fitted.per_start(name))]),
                *shared[f"{name} {i}"],
            ]
        )
        u = math.sqrt(sum(c.u**2 for c in budget))
        budget += misfit_budget(s.label, fit, u, problems)
        return Uncertain(value, budget)

    return _Decay(
        with_budget("lifetime", s["lifetime"]),
        with_budget("prompt", fitted.share),
        s["counts"] + s["prompt"],
        fit,
        problems,
    )


def _pulsed(histogram: Array, bin_s: float, v: Values) -> Array:
    """Return the light that follows the pulses, for a response histogram of sum 1."""
    dot = decayed(histogram, bin_s, v["lifetime"], v["shift"])
    laser = decayed(histogram, bin_s, _PROMPT_BINS * bin_s, v["shift"])
    return np.asarray(v["counts"] * dot + v["prompt"] * laser, dtype=np.float64)


def _model(shape: Array, bin_s: float, v: Values) -> Array:
    # Where the background of the response is subtracted, no bin may become negative.
    return np.maximum(_pulsed(shape, bin_s, v) + v["background"], 0.0)


def _fit(
    label: str, decay: Array, response: Array, bin_s: float, shift: Uncertain | None = None
) -> FitResult:
    shape = response / response.sum()

    def residuals(v: Values) -> Array:
        return deviance_residuals(decay, _model(shape, bin_s, v))

    moments = decay_starts(decay, response, bin_s)
    if shift is not None:
        free = _with_prompt(moments, 0.0) | {"shift": FitParameter(shift.value, shift.u)}
        return minimise(label, free, residuals, {"shift": shift})
    # An early start with a negative prompt share is another minimum: use several start values.
    tries, failure = [], None
    for share in _PROMPT_STARTS:
        try:
            tries.append(minimise(label, _with_prompt(moments, share), residuals))
        except InconclusiveError as error:
            failure = error
    if not tries and failure is not None:
        raise failure
    return min(tries, key=lambda t: t.minimum)


def _with_prompt(moments: Mapping[str, FitParameter], share: float) -> dict[str, FitParameter]:
    """Divide the light between dot and laser without a change of the histogram's moments."""
    free = dict(moments)
    t1, shift, counts = free["lifetime"], free["shift"], free["counts"]
    stretched = t1.start / math.sqrt(1.0 - share**2)
    free["lifetime"] = FitParameter(stretched, t1.scale, t1.low, t1.high)
    earlier = (1.0 - share) * stretched - t1.start
    free["shift"] = FitParameter(shift.start - earlier, shift.scale)
    free["counts"] = FitParameter((1.0 - share) * counts.start, counts.scale, counts.low)
    least = _MIN_PROMPT * counts.start
    free["prompt"] = FitParameter(share * counts.start, 0.01 * counts.start, least)
    return free


def _mean(estimates: Sequence[Uncertain], weights: Array) -> Uncertain:
    """Return the weighted mean."""
    pairs = list(zip(estimates, map(float, weights), strict=True))
    return Uncertain(sum(w * e.value for e, w in pairs), propagate(pairs))
