"""What an analysis hands on: estimates, and the fits behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Estimate


@dataclass(frozen=True)
class Curve:
    """Data with their fit, ready to draw.

    Attributes
    ----------
    title, x_label, y_label
        Labels with units.
    x, y, u_y
        Data and their standard uncertainties, shape (n,).
    model
        The fitted function at `x`, shape (n,).
    residuals
        Standardised (deviance or pull) residuals, shape (n,).
    x_line, y_line
        The fitted function on a fine grid, shape (m,).
    log_y
        Whether the ordinate is better drawn logarithmically.
    """

    title: str
    x_label: str
    y_label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    u_y: NDArray[np.float64]
    model: NDArray[np.float64]
    residuals: NDArray[np.float64]
    x_line: NDArray[np.float64]
    y_line: NDArray[np.float64]
    log_y: bool = False


@dataclass(frozen=True)
class Fit:
    """One fit: model, parameters with covariance, goodness, the curve to draw.

    Attributes
    ----------
    model
        Name of the model.
    names, values, covariance
        Varied parameters, shapes (p,), (p,) and (p, p), SI units.
    statistic
        What was minimised: "chi2" or "Poisson deviance".
    minimum, dof
        Its value at the minimum, and the degrees of freedom.
    curves
        One for each data set of the fit.
    """

    model: str
    names: tuple[str, ...]
    values: NDArray[np.float64]
    covariance: NDArray[np.float64]
    statistic: str
    minimum: float
    dof: int
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Result:
    """Outcome of one analysis.

    Attributes
    ----------
    estimates
        The figures, by the names of the record's vocabulary.
    fits
        The fits that they rest on; empty for pure counting.
    problems
        Reasons not to trust the figures, in plain words; empty if there is none. They travel to
        the verdict (exit code 11).
    """

    estimates: tuple[Estimate, ...]
    fits: tuple[Fit, ...] = ()
    problems: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Estimate:
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        raise KeyError(f"{name} is not among {', '.join(e.name for e in self.estimates)}")
