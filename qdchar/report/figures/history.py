"""Figure of quantities over the times of their records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qdchar.notation import prefixed
from qdchar.quantities import quantity
from qdchar.record import SourceRecord

from .style import DATA, INCH_MM, TWO_COLUMNS, plain_numbers, styled
from .units import math_symbol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_MM = 38.0


def draw_history(records: Sequence[SourceRecord], names: Sequence[str]) -> Figure:
    """Draw quantities of one source over the times of its records."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    with styled():
        size = TWO_COLUMNS, _ROW_MM * len(names) / INCH_MM
        figure = Figure(figsize=size, layout="constrained")
        rows = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(rows, names, strict=True):
            held = [r for r in records if name in r.quantities]
            estimates = [r.estimate(name) for r in held]
            largest = max((abs(e.value) for e in estimates), default=1.0)
            scale, unit = prefixed(largest, quantity(name).unit)
            axes.errorbar(
                [r.created for r in held],
                [e.value / scale for e in estimates],
                [e.u / scale for e in estimates],
                fmt="o-",
                ms=3.5,
                lw=0.8,
                elinewidth=0.8,
                color=DATA,
            )
            symbol = math_symbol(quantity(name).symbol)
            axes.set_ylabel(f"{symbol} ({unit})" if unit else symbol)
            axes.set_title(quantity(name).words)
            plain_numbers(axes)
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        rows[-1].xaxis.set_major_locator(locator)
        formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        rows[-1].xaxis.set_major_formatter(formatter)
        figure.align_ylabels()
    return figure
