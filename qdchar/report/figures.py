"""Figures: every scan with its fit and residuals, and the key rate over loss."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qdchar.fit import Curve
from qdchar.keyrate import KeyRate
from qdchar.notation import prefixed
from qdchar.quantities import quantity
from qdchar.record import SourceRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA, FIT, SOFT = "#1f4e79", "#d1495b", "#9aa5b1"
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "savefig.dpi": 130,
}
_MANY = 150
"""From so many points on, error bars would hide the data."""


def draw_curve(curve: Curve) -> Figure:
    """Draw data with their fit, and the residuals below in units of their uncertainty."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.6), layout="constrained")
        above, below = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [3.2, 1.0], "hspace": 0.04}
        )
        many = len(curve.x) > _MANY
        above.errorbar(
            curve.x,
            curve.y,
            None if many else curve.u_y,
            fmt=".",
            ms=2.5 if many else 4.0,
            lw=0.8,
            color=DATA,
            label="data",
        )
        above.plot(curve.x_line, curve.y_line, color=FIT, lw=1.2, label="fit", zorder=3)
        above.set(title=curve.title, ylabel=curve.y_label)
        if curve.log_y and np.any(curve.y > 0):
            above.set_yscale("log")
            above.set_ylim(bottom=0.5 * float(curve.y[curve.y > 0].min()))
        above.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncol=2)
        below.axhspan(-2.0, 2.0, color=SOFT, alpha=0.25, lw=0)
        below.plot(curve.x, curve.residuals, ".", ms=2.5, color=DATA)
        span = max(4.0, 1.1 * float(np.max(np.abs(curve.residuals), initial=0.0)))
        below.set(xlabel=curve.x_label, ylabel="residual / u", ylim=(-span, span))
    return figure


def draw_key_rate(points: Sequence[KeyRate], here: KeyRate) -> Figure:
    """Draw the rate over channel loss with its band, the comparators, and the link's point."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    loss = np.array([p.loss_dB for p in points])
    rate = np.array([p.rate_per_pulse for p in points])
    u = np.array([p.rate_per_pulse_u for p in points])
    keyed = rate > 0
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        floor = 0.3 * float(rate[keyed].min()) if keyed.any() else 1e-9
        axes.fill_between(
            loss[keyed],
            np.maximum(rate - 2 * u, floor)[keyed],
            (rate + 2 * u)[keyed],
            color=FIT,
            alpha=0.2,
            lw=0,
            label="95 % band",
        )
        axes.plot(loss[keyed], rate[keyed], color=FIT, label="this source")
        for k, comparison in enumerate(here.comparators):
            other = np.array([p.comparator(comparison.name).rate_per_pulse for p in points])
            shown = other > 0
            axes.plot(
                loss[shown],
                other[shown],
                color=SOFT if k else "black",
                ls=("--", ":", "-.")[k % 3],
                label=comparison.name,
            )
        if here.rate_per_pulse > 0:
            axes.errorbar(
                here.loss_dB,
                here.rate_per_pulse,
                2 * here.rate_per_pulse_u,
                fmt="*",
                ms=12,
                color=FIT,
                label="this link",
            )
        axes.set(
            yscale="log",
            ylim=(floor, 1.0),
            xlabel="channel loss (dB)",
            ylabel="secret bits per pulse",
            title=f"Key rate: {here.protocol}, accounting {here.accounting}, "
            f"block {here.block:g} {here.block_kind}",
        )
        axes.legend()
    return figure


def draw_history(records: Sequence[SourceRecord], names: Sequence[str]) -> Figure:
    """Draw quantities of one source over the times of its records."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.7 * len(names)), layout="constrained")
        rows = figure.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
        for axes, name in zip(rows, names, strict=True):
            held = [r for r in records if name in r.quantities]
            estimates = [r.estimate(name) for r in held]
            scale, unit = prefixed(estimates[0].value if held else 1.0, quantity(name).unit)
            axes.errorbar(
                [r.created for r in held],
                [e.value / scale for e in estimates],
                [e.u / scale for e in estimates],
                fmt="o-",
                ms=4,
                lw=0.8,
                color=DATA,
            )
            axes.set_ylabel(f"{quantity(name).symbol} ({unit or '1'})")
        figure.autofmt_xdate()
    return figure


def embedded(figure: Figure) -> str:
    """Return a figure as the ``src`` of an image that needs no file beside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
