"""What an analysis hands on: estimates, and the fits behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

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
class Series:
    """Further data or a further line in the plot of a `Curve`.

    Attributes
    ----------
    label
        What it is, in words.
    x, y
        In the units of the curve's axes, shape (n,).
    style
        How it is drawn; ``"steps"`` for the counts of a histogram, one for each bin.
    u_y
        Standard uncertainties of points, shape (n,), where they have any.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    style: Literal["points", "line", "steps"] = "line"
    u_y: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Mark:
    """A position on the abscissa of a `Curve`, in the unit of its axis, and what is there."""

    x: float
    label: str


@dataclass(frozen=True)
class Curve:
    """Data with their fit, ready to draw.

    Attributes
    ----------
    title, x_label, y_label
        In words; the unit of the numbers stands in brackets at the end of a label. A figure
        chooses a prefix: a curve in W is drawn in nW.
    x, y, u_y
        Data and their standard uncertainties, shape (n,).
    model
        The fitted function at `x`, shape (n,).
    residuals
        Standardised (deviance or pull) residuals, shape (n,), or (k,) with `x_residuals`; empty
        where data and line are not independent of each other.
    x_line, y_line
        The fitted function on a fine grid, shape (m,).
    log_y
        Whether the ordinate is better drawn logarithmically.
    kind
        ``"histogram"``: `x` are the centres of bins, `y` the counts in them, drawn as steps.
    data_label, line_label
        What the data and the line are.
    quantities
        Names of the estimates that the plot shows.
    marks, others
        Positions on the abscissa, and further data or lines, in the same plot.
    tick_labels
        Names of the points at `x`, where these are numbered only; shape (n,).
    x_residuals
        Where the residuals lie, shape (k,), if not at `x`: those of a histogram are of groups of
        bins with enough counts.
    shown, enlarged
        Range of the abscissa that is drawn, and that of a second plot that is enlarged.
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
    kind: Literal["points", "histogram"] = "points"
    data_label: str = "data"
    line_label: str = "fit"
    quantities: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    others: tuple[Series, ...] = ()
    tick_labels: tuple[str, ...] = ()
    x_residuals: NDArray[np.float64] | None = None
    shown: tuple[float, float] | None = None
    enlarged: tuple[float, float] | None = None

    @property
    def residuals_at(self) -> NDArray[np.float64]:
        """Abscissae of the residuals, shape (k,)."""
        if self.x_residuals is not None:
            return self.x_residuals
        return self.x[: len(self.residuals)]


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
