"""The look of every figure: size, fonts, colours."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCH_MM = 25.4
ONE_COLUMN = 86.0 / INCH_MM
"""Width of a figure over one column of a journal [inch]."""
TWO_COLUMNS = 178.0 / INCH_MM
"""Width of a figure over both columns [inch]."""

DATA, FIT, SOFT = "#0072b2", "#d55e00", "#8a949e"
FURTHER = ("#009e73", "#cc79a7", "#000000")
"""Colours of Okabe and Ito, which colour-blind readers tell apart; the lines and markers differ as
well, so that a figure can be read in grey."""
DASHES = ("--", ":", "-.")
MARKERS = ("s", "^", "D")
BAND = 0.28
"""Opacity of a band of uncertainty."""

STYLE: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 8.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0.2,
    "legend.columnspacing": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "errorbar.capsize": 0.0,
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.02,
    "savefig.dpi": 300,
    "svg.hashsalt": "qdchar",
    "pdf.fonttype": 42,
}
"""Fonts are 7 to 8 points at the width of one column; a PDF holds them as TrueType."""


def styled() -> AbstractContextManager[None]:
    """Return the context in which figures are made."""
    from matplotlib import rc_context

    return rc_context(STYLE)


def plain_numbers(axes: Axes) -> None:
    """Write numbers on linear axes in full: no powers of ten or offsets beside an axis."""
    from matplotlib.ticker import ScalarFormatter

    for axis in (axes.xaxis, axes.yaxis):
        formatter = axis.get_major_formatter()
        if isinstance(formatter, ScalarFormatter):
            formatter.set_useOffset(False)
            formatter.set_scientific(False)
