"""Dark count rate of the detectors, from a long run with the light blocked."""

from __future__ import annotations

import numpy as np
from scipy import stats

from qdchar.errors import InconclusiveError
from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Curve, Fit, Result
from qdchar.raw_data import Scan

from .statistics.intervals import LEVEL_68, LEVEL_95, garwood


def analyse(scan: Scan) -> Result:
    """Find the dark count rate of both detectors together.

    Parameters
    ----------
    scan
        Clicks with the light blocked, any number of dwells.

    Returns
    -------
    Result
        ``dark_count_rate`` [Hz] with Garwood's exact Poisson intervals. It includes any
        light that still reaches the detectors (blackbody radiation in the fibre, room light).

    Raises
    ------
    InconclusiveError
        If the counting time is zero.

    Notes
    -----
    Dark counts are Poissonian. Where the dwells scatter significantly more (probability below
    0.001), there is stray light or a faulty detector: the uncertainty is increased by the square
    root of the dispersion, and a problem is reported.

    Examples
    --------
    >>> from pathlib import Path
    >>> from qdchar.raw_data import About, Scan
    >>> clicks = np.array([[20, 22], [24, 21]])
    >>> scan = Scan(About("dark"), "time_s", np.arange(2.0), clicks, np.ones(2), Path("dark.csv"))
    >>> print(analyse(scan)["dark_count_rate"])
    dark_count_rate = 43.5 +- 4.9 Hz
    """
    time_s = float(scan.dwell_s.sum())
    if time_s <= 0.0:
        raise InconclusiveError(f"{scan.file}: the counting time is zero")
    counts = scan.clicks.sum(axis=1).astype(np.float64)
    total = int(counts.sum())
    expected = total * scan.dwell_s / time_s

    birge_ratio, problems = 1.0, []
    dispersion = _dispersion(counts, expected)
    if dispersion is not None:
        birge_ratio = float(np.sqrt(dispersion))
        problems.append(
            f"dark counts scatter {dispersion:.1f} times more than Poisson statistics allow: look "
            "for stray light or a detector that is warming up"
        )
    low, high = garwood(total, LEVEL_68)
    low_95, high_95 = garwood(total, LEVEL_95)
    rate = total / time_s
    per_count = birge_ratio / time_s
    estimate = Estimate(
        name="dark_count_rate",
        value=rate,
        method=f"{total} counts in {time_s:.4g} s, Garwood interval",
        plane="detectors",
        budget=(Contribution(f"dark counts, {scan.file.name}", 0.5 * (high - low) * per_count),),
        interval_68=(rate - (total - low) * per_count, rate + (high - total) * per_count),
        interval_95=(
            max(rate - (total - low_95) * per_count, 0.0),
            rate + (high_95 - total) * per_count,
        ),
    )
    return Result((estimate,), (_fit(scan, counts, rate, time_s),), tuple(problems))


def _dispersion(counts: np.ndarray, expected: np.ndarray) -> float | None:
    """Return variance over mean of the dwells where it is significantly above 1."""
    freedom = len(counts) - 1
    if freedom < 1 or expected.sum() < 20 * len(counts):  # chi-square needs counts in each dwell
        return None
    chi2 = float(np.sum((counts - expected) ** 2 / expected))
    return chi2 / freedom if stats.chi2.sf(chi2, freedom) < 1e-3 else None


def _fit(scan: Scan, counts: np.ndarray, rate: float, time_s: float) -> Fit:
    observed = counts / scan.dwell_s
    u = np.sqrt(np.maximum(rate, 1.0 / time_s) / scan.dwell_s)
    pulls = (observed - rate) / u
    ends = np.array([scan.x.min(), scan.x.max()])
    curve = Curve(
        title="Dark counts",
        x_label="time t (s)",
        y_label="count rate of both detectors (1/s)",
        x=scan.x,
        y=observed,
        u_y=u,
        model=np.full(len(scan), rate),
        residuals=pulls,
        x_line=ends,
        y_line=np.full(2, rate),
        line_label="mean",
        quantities=("dark_count_rate",),
    )
    return Fit(
        model="constant rate",
        names=("rate",),
        values=np.array([rate]),
        covariance=np.array([[max(rate, 1.0 / time_s) / time_s]]),
        statistic="chi2",
        minimum=float(np.sum(pulls**2)),
        dof=len(scan) - 1,
        curves=(curve,),
    )
