"""What an analysis hands on: estimates, and the fits behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qdchar.estimate import Estimate

if TYPE_CHECKING:
    import pandas as pd


def runs_p_value(residuals: ArrayLike) -> float:
    """Return the probability of so few runs of one sign, if the residuals are independent.

    Where a curve does not follow its data, neighbouring residuals have the same sign; chi-square
    alone may not show it. The number of runs is taken as normal [1]; for fewer than 10
    residuals of either sign, where it is not, the answer is 1.

    Parameters
    ----------
    residuals
        In the order of the abscissa, shape (n,).

    References
    ----------
    .. [1] A. Wald, J. Wolfowitz, Ann. Math. Stat. 11, 147 (1940), doi:10.1214/aoms/1177731909

    Examples
    --------
    >>> runs_p_value(20 * [1.0] + 20 * [-1.0]) < 1e-6
    True
    >>> round(runs_p_value(20 * [1.0, -1.0]), 3)
    1.0
    """
    above = np.asarray(residuals, dtype=np.float64) > 0
    a, b = float(np.count_nonzero(above)), float(np.count_nonzero(~above))
    if min(a, b) < 10:
        return 1.0
    runs = 1 + np.count_nonzero(np.diff(above))
    mean = 1.0 + 2.0 * a * b / (a + b)
    variance = (mean - 1.0) * (mean - 2.0) / (a + b - 1.0)
    return 0.5 * math.erfc((mean - float(runs)) / math.sqrt(2.0 * variance))


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
    """What one analysis found.

    Attributes
    ----------
    estimates
        The quantities that were found.
    fits
        The fits that they rest on; empty for pure counting.
    problems
        Reasons why the estimates cannot be trusted, in plain words; empty if there is none. With
        any, the verdict is inconclusive (exit code 11).
    """

    estimates: tuple[Estimate, ...]
    fits: tuple[Fit, ...] = ()
    problems: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the quantities as a table, one row each, with the columns of `estimates_table`."""
        from .tables import estimates_table

        return estimates_table(self.estimates)

    def _repr_html_(self) -> str:
        from .html_tables import result_html

        return result_html(self)

    def __getitem__(self, name: str) -> Estimate:
        for estimate in self.estimates:
            if estimate.name == name:
                return estimate
        raise KeyError(f"{name} is not among {', '.join(e.name for e in self.estimates)}")
