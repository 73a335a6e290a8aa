"""A global maximiser that works on many independent problems at once.

Each problem is a point of a curve or a map. All trial settings of all points go through one call
of the objective, so the cost is that of numpy on long arrays and not of Python per point: a
quasi-random sample finds the basin, Nelder and Mead's simplices climb from its best members, and
Newton's method with numerical derivatives goes the rest, where simplices become slow.
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
        Simplices a point, begun at the best samples.
    steps
        Moves of each simplex.
    again
        Moves of a second, smaller simplex: for objectives whose optimum lies on a kink, where
        Newton's method stops.
    newton_steps
        Steps of Newton's method from the best corner.
    chunk
        Points that go through the objective together; the size that keeps arrays in cache.
    """

    samples: int = 192
    starts: int = 2
    steps: int = 40
    again: int = 0
    newton_steps: int = 3
    chunk: int = 256


# Distance of the scores behind a numerical derivative, in units of the settings (logarithms and
# logits), and the shares of a Newton step that are tried.
_NEWTON_STEP = 2e-3
_SHARES = np.array([1.0, 0.5, 0.2, 0.05])

# Two settings and many points: 0.9999 of the optimum over the plane of sources, in half the time.
LIGHT_EFFORT = Effort(samples=96, starts=1, steps=30, newton_steps=2)


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
        Score of trial settings; finite everywhere in the box.
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
        start = np.concatenate(
            [np.broadcast_to(begin, (len(rows), *begin.shape)), trials[order]], axis=1
        )
        reached = _climb(objective, rows, start, lower, upper, 0.1, effort.steps)
        if effort.again:
            start = reached[:, None, :]
            reached = _climb(objective, rows, start, lower, upper, 0.02, effort.again)
        for _ in range(effort.newton_steps):
            reached = _newton_step(objective, rows, reached, lower, upper)
        best[rows] = reached
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


def _climb(
    objective: Objective,
    rows: Rows,
    start: Floats,
    lower: Floats,
    upper: Floats,
    spread: float,
    steps: int,
) -> Floats:
    """Climb by simplices from `start`, shape (points, starts, dimensions); best of each point."""
    points, starts, d = start.shape

    def score(x: Floats, which: Rows) -> Floats:
        """Score of settings of shape (points, starts, k, d), as (points, starts, k)."""
        count, _, k, _ = x.shape
        return objective(x.reshape(count, starts * k, d), which).reshape(count, starts, k)

    # each corner steps towards the far side of the box, so that no simplex starts flat
    towards = np.where(start > (lower + upper) / 2, -spread, spread) * (upper - lower)
    corners = np.concatenate(
        [start[:, :, None, :], start[:, :, None, :] + towards[:, :, None, :] * np.eye(d)], axis=2
    )
    value = score(corners, rows)
    moves = np.array([1.0, 2.0, 0.5, -0.5])[:, None]  # reflect, expand, contract outside, inside
    for _ in range(steps):
        order = np.argsort(-value, axis=2)
        value = np.take_along_axis(value, order, axis=2)
        corners = np.take_along_axis(corners, order[..., None], axis=2)
        centre = corners[:, :, :-1].mean(axis=2)
        away = centre - corners[:, :, -1]
        trial = _fold(centre[:, :, None, :] + moves * away[:, :, None, :], lower, upper)
        result = score(trial, rows)
        reflected = result[..., 0]
        chosen = np.where(
            reflected > value[..., 0],
            np.where(result[..., 1] > reflected, 1, 0),
            np.where(reflected > value[..., -2], 0, np.where(reflected > value[..., -1], 2, 3)),
        )[..., None]
        new = np.take_along_axis(result, chosen, axis=2)[..., 0]
        better = new > value[..., -1]
        moved = np.take_along_axis(trial, chosen[..., None], axis=2)[:, :, 0]
        corners[:, :, -1] = np.where(better[..., None], moved, corners[:, :, -1])
        value[..., -1] = np.where(better, new, value[..., -1])
        stuck = np.flatnonzero(~better.all(axis=1))
        if len(stuck):
            shrunk = (corners[stuck] + corners[stuck][:, :, :1]) / 2
            fresh = score(shrunk, rows[stuck])
            fresh[..., 0] = value[stuck][..., 0]
            keep = better[stuck][..., None]
            corners[stuck] = np.where(keep[..., None], corners[stuck], shrunk)
            value[stuck] = np.where(keep, value[stuck], fresh)
    flat = corners.reshape(points, -1, d)
    winner = value.reshape(points, -1).argmax(axis=1)
    return np.asarray(flat[np.arange(points), winner])


def _newton_step(
    objective: Objective, rows: Rows, x: Floats, lower: Floats, upper: Floats
) -> Floats:
    """Go towards the top of a parabola through the scores about `x`, shape (points, dimensions).

    Of some steps along this way the best counts, or none. Directions in which the score curves
    upwards are followed uphill, so that a kink or an edge of the box does no harm.
    """
    points, d = x.shape
    unit = np.eye(d) * np.where(upper > lower, _NEWTON_STEP, 0.0)
    first, second = np.triu_indices(d, 1)
    offsets = np.concatenate([np.zeros((1, d)), unit, -unit, unit[first] + unit[second]])
    value = objective(_fold(x[:, None, :] + offsets, lower, upper), rows)
    here, up, down = value[:, 0], value[:, 1 : d + 1], value[:, d + 1 : 2 * d + 1]
    gradient = (up - down) / 2
    curvature = np.zeros((points, d, d))
    curvature[:, np.arange(d), np.arange(d)] = up - 2 * here[:, None] + down
    mixed = value[:, 2 * d + 1 :] - up[:, first] - up[:, second] + here[:, None]
    curvature[:, first, second] = curvature[:, second, first] = mixed
    bend, axes = np.linalg.eigh(curvature)
    along = np.einsum("pij,pi->pj", axes, gradient)
    flat = np.abs(bend) <= 1e-12 * np.abs(here)[:, None]
    way = np.where(flat, 0.0, along / np.where(flat, 1.0, np.abs(bend))).clip(-250, 250)
    step = np.einsum("pij,pj->pi", axes, way) * _NEWTON_STEP
    trial = _fold(x[:, None, :] + _SHARES[:, None] * step[:, None, :], lower, upper)
    result = objective(trial, rows)
    best = result.argmax(axis=1)
    at = np.arange(points)
    better = result[at, best] > here
    return np.asarray(np.where(better[:, None], trial[at, best], x))


def _fold(x: Floats, lower: Floats, upper: Floats) -> Floats:
    """Mirror what is outside the box back into it.

    Clipping would lay a simplex flat on a face, from which it never rises again.
    """
    x = np.where(x > upper, 2 * upper - x, x)
    x = np.where(x < lower, 2 * lower - x, x)
    return np.asarray(np.clip(x, lower, upper))
