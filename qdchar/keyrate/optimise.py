"""A global maximiser that works on many independent problems at once.

Each problem is a point of a curve or a map. All trial settings of all points go through one call
of the objective, so the cost is that of numpy on long arrays and not of Python per point: a
quasi-random sample finds the basins, and Newton's method with numerical derivatives climbs from its
best members, in all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Rows = NDArray[np.intp]

# (trial settings of shape (points, trials, dimensions), which points) -> score (points, trials)
Objective = Callable[[Floats, Rows], Floats]


@dataclass(frozen=True)
class Effort:
    """How hard to search.

    Attributes
    ----------
    samples
        Quasi-random trial settings a point.
    starts
        Best samples from which to climb, a point.
    steps
        Newton's steps from each start.
    last_steps
        Further steps from the best place that was reached.
    chunk
        Points that go through the objective together; the size that keeps arrays in cache.
    """

    samples: int = 192
    starts: int = 3
    steps: int = 5
    last_steps: int = 8
    chunk: int = 256


# Distance of the scores behind a numerical derivative, in units of the settings (logarithms and
# logits), on the way and at last, and the shares of a Newton step that are tried.
_DISTANCE, _LAST_DISTANCE = 2e-3, 2e-4
_SHARES = np.array([3.0, 1.0, 0.5, 0.2, 0.05])

# Two settings: within 1e-7 of the optimum over the plane of sources, in half the time.
LIGHT_EFFORT = Effort(samples=96, starts=1, steps=4, last_steps=3)


def maximise(
    objective: Objective,
    points: int,
    lower: Floats,
    upper: Floats,
    effort: Effort,
    known: Floats | None = None,
) -> Floats:
    """Maximise `points` objectives over one box.

    Parameters
    ----------
    objective
        Score of trial settings; finite everywhere in the box, and smooth about its maximum.
    points
        Number of independent problems.
    lower, upper
        The box, shape (dimensions,). A dimension of no width is held.
    effort
        How hard to search.
    known
        Settings from which to climb besides the best of the sample, shape (any, dimensions): one
        near each optimum that is known to exist.

    Returns
    -------
    ndarray
        Best settings, shape (points, dimensions).
    """
    dimensions = len(lower)
    trials = lower + (upper - lower) * _quasi_random_points(effort.samples, dimensions)
    begin = np.empty((0, dimensions)) if known is None else known
    best = np.empty((points, dimensions))
    for first in range(0, points, effort.chunk):
        rows = np.arange(first, min(first + effort.chunk, points))
        score = objective(np.broadcast_to(trials, (len(rows), *trials.shape)), rows)
        order = np.argsort(-score, axis=1)[:, : effort.starts]
        reached = np.concatenate(
            [np.broadcast_to(begin, (len(rows), *begin.shape)), trials[order]], axis=1
        )
        for _ in range(effort.steps):
            reached, score = _newton_step(objective, rows, reached, lower, upper, _DISTANCE)
        reached = reached[np.arange(len(rows)), score.argmax(axis=1)][:, None]
        for _ in range(effort.last_steps):
            reached, _ = _newton_step(objective, rows, reached, lower, upper, _LAST_DISTANCE)
        best[rows] = reached[:, 0]
    return best


def _quasi_random_points(count: int, dimensions: int) -> Floats:
    """Points of the unit box, shape (count, dimensions): the additive recurrence of the root of
    x^(d+1) = x + 1, which generalises the golden ratio.
    """  # noqa: D205
    root = 2.0
    for _ in range(30):
        root = (1 + root) ** (1 / (dimensions + 1))
    step = root ** -np.arange(1.0, dimensions + 1)
    return np.asarray((0.5 + np.arange(1, count + 1)[:, None] * step) % 1.0)


def _newton_step(
    objective: Objective, rows: Rows, x: Floats, lower: Floats, upper: Floats, distance: float
) -> tuple[Floats, Floats]:
    """Go towards the top of a parabola through the scores about each place `x`.

    Of some steps along this way the best counts, or none. Directions in which the score curves
    upwards are followed uphill.

    Parameters
    ----------
    x
        Shape (points, starts, dimensions).
    distance
        Of the scores behind the derivatives.

    Returns
    -------
    x, score
        The new places, and their scores, shape (points, starts).
    """
    points, starts, d = x.shape

    def score(trial: Floats) -> Floats:
        """Scores of settings of shape (points, starts, trials, dimensions)."""
        trials = trial.shape[2]
        flat = trial.reshape(points, starts * trials, d)
        return objective(flat, rows).reshape(points, starts, trials)

    span = np.where(upper > lower, distance, 0.0)
    unit = np.eye(d) * span
    first, second = np.triu_indices(d, 1)
    offsets = np.concatenate([np.zeros((1, d)), unit, -unit, unit[first] + unit[second]])
    centre = _inside(x, lower + span, upper - span)
    value = score(centre[:, :, None, :] + offsets)
    here, up, down = value[..., :1], value[..., 1 : d + 1], value[..., d + 1 : 2 * d + 1]
    gradient = (up - down) / 2
    curvature = np.zeros((points, starts, d, d))
    curvature[..., np.arange(d), np.arange(d)] = up - 2 * here + down
    mixed = value[..., 2 * d + 1 :] - up[..., first] - up[..., second] + here
    curvature[..., first, second] = curvature[..., second, first] = mixed
    # settings that an edge of the box keeps from rising stay on it while the others move
    low, high = (
        (centre <= lower + span) & (gradient <= 0),
        (centre >= upper - span) & (gradient >= 0),
    )
    free = ~(low | high)
    base = np.where(low, lower, np.where(high, upper, centre))
    gradient *= free
    curvature *= free[..., None, :] & free[..., :, None]
    bend, axes = np.linalg.eigh(curvature)
    along = np.einsum("pcij,pci->pcj", axes, gradient)
    flat = np.abs(bend) <= 1e-12 * np.abs(here)
    way = np.where(flat, 0.0, along / np.where(flat, 1.0, np.abs(bend))).clip(-250, 250)
    step = np.einsum("pcij,pcj->pci", axes, way) * distance
    trial = _inside(base[:, :, None, :] + _SHARES[:, None] * step[:, :, None, :], lower, upper)
    trial = np.concatenate([x[:, :, None, :], trial], axis=2)
    result = score(trial)
    best = (*np.ogrid[:points, :starts], result.argmax(axis=2))
    return trial[best], result[best]


def _inside(x: Floats, lower: Floats, upper: Floats) -> Floats:
    return np.asarray(np.minimum(np.maximum(x, lower), upper))
