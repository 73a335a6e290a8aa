"""Figures as files: in a page, and as SVG, PDF and PNG with the table of their points."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from qdchar.estimate import Estimate
from qdchar.fit import Curve
from qdchar.keyrate import KeyRate, predict, source_and_link
from qdchar.keyrate.crossing import maximum_loss
from qdchar.lab.outcome import Outcome
from qdchar.lab.run import Step

from .curves import draw_curve, has_residuals, scales
from .key_rate import coherent_light, draw_key_rate, shown_comparators
from .style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf", "png")
_LOSSES_DB = np.linspace(0.0, 30.0, 61)
_PAGE_DPI = 200
_MOST_VECTORS = 150
"""Markers and error bars from which on pixels are smaller than vectors."""


def embedded(figure: Figure) -> str:
    """Return a figure as the ``src`` of an image that needs no file beside the page.

    Vectors, or pixels where vectors would make the page large.
    """
    buffer = io.BytesIO()
    with styled():
        _fix_layout(figure)
        if _vectors(figure) > _MOST_VECTORS:
            kind = "png"
            figure.savefig(buffer, format="png", dpi=_PAGE_DPI)
        else:
            kind = "svg+xml"
            figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _fix_layout(figure: Figure) -> None:
    """Lay the figure out once and for all: otherwise each format does it twice."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _vectors(figure: Figure) -> int:
    """Count markers and error bars, and corners of steps, which take less, for an eighth."""
    number = 0
    for axes in figure.axes:
        lines = [line for line in axes.lines if line.get_marker() not in (None, "None", "")]
        number += sum(np.size(line.get_xdata()) for line in lines)
        number += sum(len(c.get_paths()) for c in axes.collections)
        number += sum(np.size(p.get_path().vertices) // 16 for p in axes.patches)
    return number


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG, PDF and PNG with 300 dots per inch."""
    files = [folder / f"{name}.{kind}" for kind in FORMATS]
    with styled():
        _fix_layout(figure)
        for file in files:
            dateless = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
            figure.savefig(file, metadata=dateless[file.suffix[1:]])
    return files


def write_step_figures(step: Step, folder: Path) -> list[Path]:
    """Write the figures of one step, each with the table of its points.

    Parameters
    ----------
    folder
        Exists; files are named by the measurement, and numbered if it has several figures.
    """
    curves = [curve for fit in step.result.fits for curve in fit.curves]
    written: list[Path] = []
    for k, curve in enumerate(curves, start=1):
        name = step.name if len(curves) == 1 else f"{step.name}_{k}"
        written += save_figure(draw_curve(curve, step.result.estimates), folder, name)
        written.append(_write_csv(folder / f"{name}.csv", curve_table(curve)))
    return written


def write_outcome_figure(outcome: Outcome, folder: Path) -> list[Path]:
    """Write the figure of a calibration's key rate over the channel's loss, with its table."""
    source, link = source_and_link(outcome.record, outcome.link)
    recipe = outcome.recipe
    points = predict(
        source,
        link,
        loss_dB=_LOSSES_DB,
        protocol=recipe.protocol,
        accounting=recipe.accounting,
    )
    reach = maximum_loss(source, link, protocol=recipe.protocol, accounting=recipe.accounting)
    return write_key_rate_figure(points, outcome.rate, folder, reach)


def write_key_rate_figure(
    points: Sequence[KeyRate], here: KeyRate, folder: Path, reach: Estimate | None = None
) -> list[Path]:
    """Write the figure of the key rate with the table of its points."""
    files = save_figure(draw_key_rate(points, here, reach), folder, "key_rate")
    return [*files, _write_csv(folder / "key_rate.csv", key_rate_table(points, here))]


Row = tuple[str | float, ...]


def curve_table(curve: Curve) -> Iterator[Row]:
    """Yield the header and the rows of all that the figure of a curve shows.

    The first column says what a row belongs to: the data, the line of the fit, residuals that are
    not at the data, a further series, or a mark. Numbers are in the units of the axes.
    """
    x, y = scales(curve)
    unit = f" ({y.unit})" if y.unit else ""
    yield "series", x.title, y.title, f"standard uncertainty{unit}", f"fit{unit}", "residual (u)"
    n, empty = len(curve.x), ""
    blank: Sequence[float | str] = [empty] * n
    beside = has_residuals(curve) and curve.x_residuals is None
    (model, residuals) = _columns(y(curve.model), curve.residuals)
    for row in zip(
        *_columns(x(curve.x), y(curve.y), y(curve.u_y)),
        model or blank,
        residuals if beside else blank,
        strict=True,
    ):
        yield curve.data_label, *row
    for at, value in zip(*_columns(x(curve.x_line), y(curve.y_line)), strict=True):
        yield curve.line_label, at, empty, empty, value, empty
    if has_residuals(curve) and not beside:
        for at, r in zip(*_columns(x(curve.residuals_at), curve.residuals), strict=True):
            yield "residuals", at, empty, empty, empty, r
    for series in curve.others:
        u_y = np.zeros(0) if series.u_y is None else y(series.u_y)
        for k, (at, value) in enumerate(zip(*_columns(x(series.x), y(series.y)), strict=True)):
            yield series.label, at, value, float(u_y[k]) if len(u_y) else empty, empty, empty
    for mark in curve.marks:
        yield f"mark: {mark.label}", float(x(mark.x)), empty, empty, empty, empty


def key_rate_table(points: Sequence[KeyRate], here: KeyRate) -> Iterator[Row]:
    """Yield the header and the rows of all that the figure of the key rate shows."""
    yield (
        "series",
        "channel loss (dB)",
        "secret bits per pulse",
        "standard uncertainty",
        "95 % band, lower end",
        "95 % band, upper end",
    )
    for name, drawn in (("this source", points), ("this link", (here,))):
        for p in drawn:
            rate, u = p.rate_per_pulse, p.rate_per_pulse_u
            yield name, p.loss_dB, rate, u, max(rate - 2.0 * u, 0.0), rate + 2.0 * u
    for name in shown_comparators(here):
        for p in points:
            yield coherent_light(name), p.loss_dB, p.comparator(name).rate_per_pulse, "", "", ""


def _columns(*values: ArrayLike) -> list[list[float]]:
    return [np.asarray(v, dtype=np.float64).tolist() for v in values]


def _write_csv(file: Path, rows: Iterator[Row]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return file
