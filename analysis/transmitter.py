"""Transmitter throughput: photons per pulse after it over those before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate, Uncertain, covariance, propagate
from qdchar.fit import Curve, Fit, Result, Series
from qdchar.raw_data import TagRun

from . import brightness
from .detection.reception import Reception
from .detuning import on_resonance

_LIKELY = 0.01
"""Probability of the scatter of alternations below which more of it is expected than the budget."""
_MIN_P_VALUE = 1e-4
"""Probability of the scatter of alternations below which it is a problem."""


def analyse(
    before: Sequence[TagRun],
    after: Sequence[TagRun],
    *,
    detector_efficiency: Estimate,
    dark_count_rate: Estimate | None = None,
    receptions: tuple[Reception, Reception] | None = None,
    detuning_correction: Estimate | None = None,
) -> Result:
    """Find the transmitter efficiency and the mean photon number at its output.

    Parameters
    ----------
    before
        Runs in the source's fibre, in order of time, that bracket those after the transmitter.
    after
        Runs through the transmitter, with the same detectors.
    detector_efficiency, dark_count_rate
        As in `qdchar.analysis.brightness.analyse`.
    receptions
        What lies between the fibre and the clicks before the transmitter, and between its output
        and the clicks after it; see `qdchar.analysis.brightness.analyse`.
    detuning_correction
        Relative excess of the etalon's transmission over that on the cavity's resonance, see
        `qdchar.analysis.detuning`. Both results are then those on resonance.

    Returns
    -------
    Result
        ``transmitter_efficiency``, in which the detectors' certificate cancels (the losses of the
        light path and the polarisation at the detectors do not), and ``mean_photon_number`` at the
        transmitter's output.

    Raises
    ------
    InconclusiveError
        If there is no run on either side, or one of them is too dark.

    Notes
    -----
    A linear drift cancels in the mean of runs that bracket symmetrically. Whether the drift was
    linear is not known: the change between the first and the last run before the transmitter, as
    far as it exceeds their noise, enters as a rectangular distribution.

    Where each of several runs after the transmitter stands between two before it, their ratios are
    compared. Switching that repeats worse than certified and a line that jumps make them scatter
    by more than the budget of one ratio says. Below a probability of 1 % the standard deviation of
    the mean that the excess makes is a line of the budget, below 1e-4 it is a problem, too.
    """
    if not before or not after:
        raise InconclusiveError(
            "transmitter: its throughput needs runs before and after the transmitter"
        )

    of_before, of_after = (None, None) if receptions is None else receptions

    def photons(
        runs: Sequence[TagRun], name: str, plane: str, reception: Reception | None
    ) -> list[Result]:
        return [
            brightness.analyse(
                run,
                detector_efficiency=detector_efficiency,
                dark_count_rate=dark_count_rate,
                reception=reception,
                name=name,
                plane=plane,
            )
            for run in runs
        ]

    results_in = photons(before, "collection_efficiency", "fibre", of_before)
    results_out = photons(after, "mean_photon_number", "transmitter output", of_after)
    entering = [r["collection_efficiency"] for r in results_in]
    leaving = [r["mean_photon_number"] for r in results_out]
    n_in = float(np.mean([e.value for e in entering]))
    n_out = float(np.mean([e.value for e in leaving]))
    drift = _drift(entering)
    label = " to ".join(dict.fromkeys((before[0].file.name, before[-1].file.name)))
    source = f"drift between runs, {label}"
    u_drift = n_out / n_in * drift / n_in / math.sqrt(12.0)

    scatter_u, scatter_problems = _scatter(entering, leaving)
    scattered = (Contribution(f"scatter of alternations, {label}", scatter_u),) if scatter_u else ()

    efficiency = Estimate(
        name="transmitter_efficiency",
        value=n_out / n_in,
        method=(
            f"ratio of {len(leaving)} run(s) after to {len(entering)} before, the detectors' "
            f"certificate cancels; drift {100 * drift / n_in:.2g} %"
        ),
        plane="fibre to transmitter output",
        budget=(
            *propagate(
                [(e, -n_out / n_in**2 / len(entering)) for e in entering]
                + [(e, 1.0 / n_in / len(leaving)) for e in leaving]
            ),
            Contribution(source, u_drift),
            *scattered,
        ),
    )
    mean = Estimate(
        name="mean_photon_number",
        value=n_out,
        method=leaving[0].method,
        plane=leaving[0].plane,
        budget=(
            *propagate([(e, 1.0 / len(leaving)) for e in leaving]),
            *(c.times(n_in) for c in scattered),
        ),
    )
    problems = tuple(p for r in (*results_in, *results_out) for p in r.problems)
    problems += scatter_problems
    # brightness over time in one figure each would be many
    fits = tuple(replace(fit, curves=()) for r in (*results_in, *results_out) for fit in r.fits)
    fits += (_photons(entering, leaving),)
    estimates = (efficiency, mean)
    if detuning_correction is not None:
        estimates = (
            on_resonance(efficiency, detuning_correction),
            on_resonance(mean, detuning_correction),
        )
    return Result(estimates, fits, problems)


def _photons(entering: Sequence[Estimate], leaving: Sequence[Estimate]) -> Fit:
    """Draw the photon number of each run, before and after the transmitter in turns."""
    alternating = len(entering) == len(leaving) + 1
    first, second = (1.0, 2.0) if alternating else (1.0, len(entering) + 1.0)
    step = 2.0 if alternating else 1.0
    at_in = np.asarray(first + step * np.arange(len(entering)), dtype=np.float64)
    at_out = np.asarray(second + step * np.arange(len(leaving)), dtype=np.float64)
    n_in, n_out = (np.array([e.value for e in runs]) for runs in (entering, leaving))
    u_in, u_out = (np.array([_own_u(e) for e in runs]) for runs in (entering, leaving))
    ends = np.array([0.5, len(entering) + len(leaving) + 0.5])
    mean = float(n_out.mean())
    return Fit(
        model="mean of the runs",
        names=("mean_photon_number",),
        values=np.array([mean]),
        covariance=np.array([[float(np.sum(u_out**2)) / len(u_out) ** 2]]),
        statistic="chi2",
        minimum=0.0,
        dof=0,
        curves=(
            Curve(
                title="Photons before and after the transmitter",
                x_label="number of the run",
                y_label="mean photon number",
                x=at_out,
                y=n_out,
                u_y=u_out,
                model=np.full(len(n_out), mean),
                residuals=np.zeros(0),
                x_line=ends,
                y_line=np.full(2, mean),
                data_label="after",
                line_label="mean",
                others=(
                    Series("before", at_in, n_in, "points", u_in),
                    Series("mean", ends, np.full(2, float(n_in.mean()))),
                ),
                quantities=("transmitter_efficiency", "mean_photon_number"),
            ),
        ),
    )


def _own_u(run: Estimate) -> float:
    """Return what was observed of a run's uncertainty: certificates are shared by all runs."""
    return math.sqrt(sum(c.u**2 for c in run.budget if c.kind == "A"))


def _drift(runs: Sequence[Estimate]) -> float:
    """Return the change from the first run to the last, as far as it exceeds their noise."""
    first, last = runs[0], runs[-1]
    noise = sum(c.u**2 for c in propagate([(first, -1.0), (last, 1.0)]))
    return math.sqrt(max((last.value - first.value) ** 2 - noise, 0.0))


def _scatter(
    entering: Sequence[Estimate], leaving: Sequence[Estimate]
) -> tuple[float, tuple[str, ...]]:
    """Compare the ratios of several alternations with what their budgets say of their scatter.

    Returns the standard uncertainty of the mean ratio from what is beyond, and problems.
    """
    n = len(leaving)
    if n < 2 or len(entering) != n + 1:
        return 0.0, ()
    about = [0.5 * (a.value + b.value) for a, b in pairwise(entering)]
    ratios = [
        Uncertain(
            after.value / mean,
            propagate(
                [
                    (after, 1.0 / mean),
                    (first, -0.5 * after.value / mean**2),
                    (last, -0.5 * after.value / mean**2),
                ]
            ),
        )
        for after, mean, (first, last) in zip(leaving, about, pairwise(entering), strict=True)
    ]
    # differences: what all ratios share cancels
    steps = [
        Uncertain(b.value - a.value, propagate([(b, 1.0), (a, -1.0)])) for a, b in pairwise(ratios)
    ]
    change = np.array([step.value for step in steps])
    chi2 = float(change @ np.linalg.solve(covariance(steps), change))
    p_value = stats.chi2.sf(chi2, n - 1)
    if p_value >= _LIKELY:
        return 0.0, ()
    deviation = float(np.std([r.value for r in ratios], ddof=1))
    u = deviation * math.sqrt((1.0 - (n - 1) / chi2) / n)
    if p_value >= _MIN_P_VALUE:
        return u, ()
    spread = deviation / float(np.mean([r.value for r in ratios]))
    return u, (
        f"the throughput scatters by {100.0 * spread:.2g} % from one alternation to the next "
        f"(chi2 {chi2:.0f} for {n - 1} degrees of freedom): does the light path repeat worse than "
        "light_path_repeatability says, does the emission line jump, or does the etalon drift?",
    )
