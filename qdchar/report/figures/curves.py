"""Figures of measurements: data with their fit, and the residuals below."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Estimate
from qdchar.fit import Curve, Series

from .style import (
    BAND,
    DASHES,
    DATA,
    FIT,
    FURTHER,
    INCH_MM,
    MARKERS,
    SOFT,
    plain_numbers,
    styled,
)
from .units import Scale, written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_WIDTH_MM = 86.0
_LEFT_MM, _RIGHT_MM, _BELOW_MM, _TURNED_MM = 17.5, 3.0, 9.0, 11.0
"""Margins beside the axes, for the abscissa's label, and for names at its ticks if turned."""
_DATA_MM, _RESIDUALS_MM, _GAP_MM, _ENLARGED_MM = 37.0, 10.0, 2.5, 21.0
"""Heights of the axes for data, residuals (with the gap above them) and an enlarged part."""
_LINE_MM, _ABOVE_LINES_MM = 3.85, 2.0
"""Height of a line above the axes, and of what is around the lines."""
_LINE_CHARACTERS, _TITLE_CHARACTERS, _UPRIGHT_CHARACTERS = 52, 50, 40
"""Characters that fit above the axes, in smaller and larger letters, and under the abscissa."""
_CHARACTER_MM = 1.55
"""Width of a character of an axis label."""
_MANY, _VERY_MANY = 60, 250
"""From so many points on, smaller markers; and no error bars, which would hide the data."""


def draw_curve(curve: Curve, estimates: Iterable[Estimate] = ()) -> Figure:
    """Draw data with their fit, and the residuals below in units of their uncertainty.

    Parameters
    ----------
    curve
        What is drawn.
    estimates
        Those that the curve names are written above the plot.

    Returns
    -------
    Figure
        86 mm wide, one column of a journal.
    """
    from matplotlib.figure import Figure

    heading = _heading(curve, tuple(estimates))
    above_mm = _LINE_MM * len(heading) + _ABOVE_LINES_MM
    below_mm = _BELOW_MM + (_TURNED_MM if _is_turned(curve) else 0.0)
    heights_mm = [above_mm, _DATA_MM, below_mm]
    if has_residuals(curve):
        heights_mm[2:2] = [_GAP_MM, _RESIDUALS_MM]
    if curve.enlarged is not None:
        heights_mm += [_ENLARGED_MM, _BELOW_MM]
    with styled():
        size = _WIDTH_MM / INCH_MM, sum(heights_mm) / INCH_MM
        figure = Figure(figsize=size)
        panels = _panels(figure, heights_mm)
        above = panels.pop(0)
        _draw(above, curve, curve.shown, _DATA_MM)
        _write_heading(above, curve, heading)
        if has_residuals(curve):
            below = panels.pop(0)
            _draw_residuals(below, curve)
            below.sharex(above)
            above.tick_params(labelbottom=False)
            above.set_xlabel("")
        if curve.enlarged is not None:
            _draw(panels[0], curve, curve.enlarged, _ENLARGED_MM)
    return figure


def _panels(figure: Figure, heights_mm: Sequence[float]) -> list[Axes]:
    """Return axes for every second height, from the top, with margins of the others.

    The margins are those of every figure, so that axes under one another are in line.
    """
    across = (_LEFT_MM / _WIDTH_MM, 1.0 - (_LEFT_MM + _RIGHT_MM) / _WIDTH_MM)
    tall = sum(heights_mm)
    panels = []
    for k in range(1, len(heights_mm), 2):
        begin = (tall - sum(heights_mm[: k + 1])) / tall
        panels.append(figure.add_axes((across[0], begin, across[1], heights_mm[k] / tall)))
    for axes in panels:
        axes.yaxis.set_label_coords(-(_LEFT_MM - 6.7) / (_WIDTH_MM * across[1]), 0.5)
    return panels


def plot(curve: Curve, axes: Axes | None = None, estimates: Iterable[Estimate] = ()) -> Axes:
    """Draw data with their fit into axes, for a figure of one's own.

    Parameters
    ----------
    curve
        What is drawn, such as ``result.fits[0].curves[0]``.
    axes
        Where; by default a new figure of matplotlib's pyplot, in the style of the report.
    estimates
        Those that the curve names are written above the plot.

    Returns
    -------
    Axes
        With data and fit, without residuals.
    """
    if axes is None:
        from matplotlib import pyplot

        with styled():
            size = _WIDTH_MM / INCH_MM, 1.6 * _DATA_MM / INCH_MM
            _, axes = pyplot.subplots(figsize=size, layout="constrained")
            return plot(curve, axes, estimates)
    _draw(axes, curve, curve.shown, _DATA_MM)
    _write_heading(axes, curve, _heading(curve, tuple(estimates)))
    return axes


def has_residuals(curve: Curve) -> bool:
    """Whether residuals say something: data and line are independent of each other."""
    return bool(np.any(curve.residuals))


def scales(curve: Curve) -> tuple[Scale, Scale]:
    """Return abscissa and ordinate of the figure of a curve."""
    x = Scale.of(curve.x_label, [curve.x if curve.shown is None else np.array(curve.shown)])
    seen = [np.ones(1)] if curve.log_y else [curve.y, *(s.y for s in curve.others)]
    return x, Scale.of(curve.y_label, seen)


def bin_edges(centres: Array) -> Array:
    """Return the edges of bins from their centres, shape (n + 1,)."""
    middle = 0.5 * (centres[1:] + centres[:-1])
    first, last = 2.0 * centres[0] - middle[0], 2.0 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def _is_turned(curve: Curve) -> bool:
    """Whether the names at the ticks are so long that they are turned."""
    return sum(map(len, curve.tick_labels)) > _UPRIGHT_CHARACTERS


def _draw(axes: Axes, curve: Curve, shown: tuple[float, float] | None, height_mm: float) -> None:
    x, y = scales(curve)
    is_shown = _inside(curve.x, shown)
    if curve.kind == "histogram":
        edges = bin_edges(x(curve.x))
        axes.stairs(y(curve.y), edges, baseline=None, color=DATA, lw=0.7, label=curve.data_label)
    else:
        n = int(np.count_nonzero(is_shown))
        axes.errorbar(
            x(curve.x),
            y(curve.y),
            None if n > _VERY_MANY else y(curve.u_y),
            fmt="o",
            ms=3.0 if n <= _MANY else 2.0 if n <= _VERY_MANY else 1.2,
            elinewidth=0.6,
            color=DATA,
            label=curve.data_label,
        )
    # a line that is known at the points alone is none between them
    alone = curve.kind == "points" and np.array_equal(curve.x_line, curve.x) and len(curve.x) > 2
    lines = [s for s in curve.others if s.style != "points"]
    for k, line in enumerate(lines):
        _draw_line(axes, line, x, y, k, alone)
    for k, points in enumerate(s for s in curve.others if s.style == "points"):
        _draw_points(axes, points, x, y, k)
    if len(curve.x_line):
        axes.plot(
            x(curve.x_line),
            y(curve.y_line),
            color=FIT,
            lw=1.1,
            drawstyle="steps-mid" if alone else "default",
            label=curve.line_label,
            zorder=3,
        )
    axes.set(
        xlabel=x.label, ylabel="\n".join(textwrap.wrap(y.label, round(height_mm / _CHARACTER_MM)))
    )
    if curve.tick_labels:
        axes.set_xticks(x(curve.x), curve.tick_labels)
        if _is_turned(curve):
            for tick in axes.get_xticklabels():
                tick.set(rotation=25.0, ha="right", rotation_mode="anchor")
    _set_limits(axes, curve, shown, x, y)
    plain_numbers(axes)
    for mark in curve.marks:
        if _inside(np.array([mark.x]), shown)[0]:
            _draw_mark(axes, float(x(mark.x)), mark.label, curve)


def _draw_line(axes: Axes, series: Series, x: Scale, y: Scale, k: int, alone: bool) -> None:
    colour, at, values = FURTHER[k % len(FURTHER)], x(series.x), y(series.y)
    if series.style == "steps":
        axes.stairs(
            values, bin_edges(at), baseline=None, color=colour, lw=0.7, ls="--", label=series.label
        )
    else:
        axes.plot(
            at,
            values,
            color=colour,
            ls=DASHES[k % len(DASHES)],
            drawstyle="steps-mid" if alone else "default",
            label=series.label,
        )


def _draw_points(axes: Axes, series: Series, x: Scale, y: Scale, k: int) -> None:
    axes.errorbar(
        x(series.x),
        y(series.y),
        None if series.u_y is None else y(series.u_y),
        fmt=MARKERS[k % len(MARKERS)],
        mfc="white",
        mew=0.7,
        elinewidth=0.6,
        color=FURTHER[k % len(FURTHER)],
        label=series.label,
    )


def _draw_mark(axes: Axes, x: float, label: str, curve: Curve) -> None:
    """Mark a position, and write what is there beside it, where nothing is drawn."""
    axes.axvline(x, color=SOFT, ls=":", lw=0.9, zorder=1)
    by_x, by_y = scales(curve)
    seen = np.column_stack(
        [
            by_x(np.concatenate([curve.x, curve.x_line])),
            by_y(np.concatenate([curve.y, curve.y_line])),
        ]
    )
    to_axes = axes.transData + axes.transAxes.inverted()
    across, up = to_axes.transform(seen).T
    at = float(to_axes.transform((x, 0.0))[0])
    wide = 0.03 + 0.02 * len(label)
    places = [(side, height) for height in (0.04, 0.9, 0.5, 0.7, 0.3) for side in (1, -1)]

    def covered(place: tuple[int, float]) -> int:
        side, height = place
        begin, end = sorted((at, at + side * wide))
        if not (begin >= 0.0 and end <= 1.0):
            return len(seen)
        inside = (across > begin) & (across < end) & (np.abs(up - height - 0.03) < 0.06)
        return int(np.count_nonzero(inside))

    side, height = min(places, key=covered)
    axes.annotate(
        label,
        (x, height),
        (3.0 * side, 0.0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        fontsize=7.0,
        color="#444444",
    )


def _draw_residuals(axes: Axes, curve: Curve) -> None:
    x, _ = scales(curve)
    axes.axhspan(-2.0, 2.0, color=SOFT, alpha=BAND, lw=0)
    axes.axhline(0.0, color=SOFT, lw=0.6)
    size = 2.0 if len(curve.residuals) <= _VERY_MANY else 1.2
    axes.plot(x(curve.residuals_at), curve.residuals, "o", ms=size, color=DATA)
    shown = curve.residuals[_inside(curve.residuals_at, curve.shown)]
    span = max(4.0, 1.15 * float(np.max(np.abs(shown), initial=0.0)))
    axes.set(xlabel=x.label, ylabel="residual\n/ u", ylim=(-span, span))
    axes.locator_params(axis="y", nbins=4, symmetric=True)
    plain_numbers(axes)


def _heading(curve: Curve, estimates: Sequence[Estimate]) -> list[str]:
    """Return title and estimates in lines, the last one with room for the legend."""
    by_name = {e.name: e for e in estimates}
    notes = [written(by_name[name]) for name in curve.quantities if name in by_name]
    lines = textwrap.wrap(curve.title, _TITLE_CHARACTERS) + _joined(notes)
    labels = {curve.data_label, curve.line_label, *(s.label for s in curve.others)}
    room = _LINE_CHARACTERS - sum(len(label) + 6 for label in labels)
    return lines if notes and len(_plain(lines[-1])) <= room else [*lines, ""]


def _write_heading(axes: Axes, curve: Curve, lines: Sequence[str]) -> None:
    """Write the heading above the axes, and the legend at the right of its last line."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: labels[k] != curve.data_label)
    order = [k for k in order if labels.index(labels[k]) == k]  # like lines are named once
    at = -(_LEFT_MM - 2.0) / (_WIDTH_MM - _LEFT_MM - _RIGHT_MM)
    axes.set_title("\n".join(lines), x=at, pad=3.0, linespacing=1.35)
    axes.legend(
        [handles[k] for k in order],
        [labels[k] for k in order],
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncol=len(order),
        borderpad=0.0,
    )


def _joined(notes: Sequence[str]) -> list[str]:
    """Join notes to lines that are short enough."""
    lines = list(notes[:1])
    for note in notes[1:]:
        longer = f"{lines[-1]},  {note}"
        if len(_plain(longer)) <= _LINE_CHARACTERS:
            lines[-1] = longer
        else:
            lines.append(note)
    return lines


def _plain(text: str) -> str:
    """Leave about as many characters as a formula takes room."""
    for word in (r"\mathrm", r"\times", r"\pi", r"\langle", r"\rangle"):
        text = text.replace(word, "x" if word != r"\mathrm" else "")
    return "".join(c for c in text if c not in "${}\\^_")


def _set_limits(
    axes: Axes, curve: Curve, shown: tuple[float, float] | None, x: Scale, y: Scale
) -> None:
    """Show the range of the abscissa, and of the ordinate what is in it."""
    if shown is not None:
        axes.set_xlim(*x(shown))
    counted = curve.y[_inside(curve.x, shown)]
    lines = [(curve.x_line, curve.y_line), *((s.x, s.y) for s in curve.others)]
    seen = [counted, *(values[_inside(at, shown)] for at, values in lines)]
    highest = max((float(v.max()) for v in seen if len(v)), default=1.0)
    if curve.log_y and highest > 0.0:
        axes.set_yscale("log")
        positive = counted[counted > 0.0]
        lowest = 0.5 * float(positive.min()) if len(positive) else 0.1 * highest
        axes.set_ylim(float(y(lowest)), float(y(2.0 * highest)))
    elif curve.kind == "histogram":
        axes.set_ylim(0.0, float(y(1.08 * highest)) or 1.0)


def _inside(at: Array, shown: tuple[float, float] | None) -> NDArray[np.bool_]:
    if shown is None:
        return np.ones(len(at), dtype=np.bool_)
    return np.asarray((at >= shown[0]) & (at <= shown[1]))
