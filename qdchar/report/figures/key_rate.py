"""Figure of the key rate over the channel's loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qdchar.estimate import Estimate
from qdchar.keyrate import KeyRate
from qdchar.notation import concise, text

from .style import BAND, DATA, FIT, INCH_MM, ONE_COLUMN, SOFT, styled
from .units import without_exponent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RATE_MM, _BAND_MM = 60.0, 28.0
_DECADES = 7.0
"""Decades below the highest rate that are drawn at most; the link's own rate is always seen."""
_BAND_QUANTILE = 0.75
"""Part of the losses with a key at which the whole relative band is seen."""
_STAR: dict[str, Any] = dict(fmt="*", ms=8.0, mec="black", mew=0.4, color=DATA, zorder=4.0)
_COHERENT = {
    "wcp-ideal": "ideal",
    "wcp-infinite-decoy": "infinitely many decoys",
    "wcp-vacuum-weak-three-state": "three states, vacuum + weak decoy",
    "wcp-vacuum-weak-bb84": "BB84, vacuum + weak decoy",
    "wcp-one-decoy-three-state": "three states, one decoy",
    "wcp-one-decoy-bb84": "BB84, one decoy",
}
"""Words for the comparators in the legend, after "coherent light"."""


def draw_key_rate(
    points: Sequence[KeyRate], here: KeyRate, reach: Estimate | None = None
) -> Figure:
    """Draw the rate over channel loss with its band, the comparators, and the link's point.

    Parameters
    ----------
    points
        Rates over the channel's loss, in its order, with the comparators of `here`.
    here
        That of the link.
    reach
        Largest loss with a key [dB], see `qdchar.keyrate.crossing.maximum_loss`. Without it, the
        last of the points with a key is marked.

    Notes
    -----
    Drawn is coherent light with the same protocol; all comparators where that one is not among
    them. The band is 4 standard uncertainties wide. Over the decades of the rate it is thin; the
    lower part of the figure shows it relative to the rate.
    """
    from matplotlib.figure import Figure

    rows = [_RATE_MM, _BAND_MM]
    with styled():
        figure = Figure(figsize=(ONE_COLUMN, sum(rows) / INCH_MM), layout="constrained")
        panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=rows)
        above, below = panels[:, 0]
        _draw_rates(above, points, here)
        _draw_reach(above, points, reach)
        _draw_band(below, points, here)
        below.set_xlabel("channel loss (dB)")
        above.set_title(_title(here), linespacing=1.35)
        figure.align_ylabels()
    return figure


def shown_comparators(here: KeyRate) -> tuple[str, ...]:
    """Return the names of the comparators that are drawn."""
    names = tuple(c.name for c in here.comparators)
    return (here.comparator_name,) if here.comparator_name in names else names


def rates(points: Sequence[KeyRate]) -> tuple[NDArray[np.float64], ...]:
    """Return loss [dB], rate and its standard uncertainty of all points."""
    rows = [(p.loss_dB, p.rate_per_pulse, p.rate_per_pulse_u) for p in points]
    loss, rate, u = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return loss, rate, u


def coherent_light(name: str) -> str:
    """Name a comparator in words."""
    return f"coherent light, {_COHERENT.get(name, name.replace('-', ' '))}"


def _title(here: KeyRate) -> str:
    block = "endless block"
    if here.block_kind != "asymptotic":
        power = int(np.floor(np.log10(here.block)))
        mantissa = here.block / 10.0**power
        factor = "" if abs(mantissa - 1.0) < 1e-9 else rf"{mantissa:.3g}\times"
        block = rf"block of ${factor}10^{{{power}}}$ {here.block_kind}"
    protocol = here.protocol.replace("-", " ").replace("bb84", "BB84")
    lines = [f"Key rate: {protocol}, {block}"]
    if here.rate_per_pulse > 0:
        rate = without_exponent(concise(here.rate_per_pulse, here.rate_per_pulse_u))
        lines.append(f"{rate} bit per pulse at {here.loss_dB:.4g} dB")
    else:
        lines.append(f"no key at {here.loss_dB:.4g} dB")
    return "\n".join(lines)


def _draw_rates(axes: Axes, points: Sequence[KeyRate], here: KeyRate) -> None:
    loss, rate, u = rates(points)
    keyed = rate > 0
    highest = float(rate.max(initial=0.0))
    floor = 1e-9
    if keyed.any():
        floor = max(0.3 * float(rate[keyed].min()), highest * 10.0**-_DECADES)
    if here.rate_per_pulse > 0:
        floor = min(floor, 0.3 * here.rate_per_pulse)
    low, high = np.maximum(rate - 2.0 * u, 0.1 * floor), rate + 2.0 * u
    axes.fill_between(
        loss[keyed], low[keyed], high[keyed], color=FIT, alpha=BAND, lw=0, label="95 % band"
    )
    axes.plot(loss[keyed], rate[keyed], color=FIT, lw=1.3, label="this source", zorder=3)
    top = highest
    for k, name in enumerate(shown_comparators(here)):
        other = np.array([p.comparator(name).rate_per_pulse for p in points])
        top = max(top, float(other.max(initial=0.0)))
        axes.plot(
            loss[other > 0],
            other[other > 0],
            color=SOFT if k else "black",
            lw=1.0,
            ls=("--", ":", "-.")[k % 3],
            label=coherent_light(name),
        )
    if here.rate_per_pulse > 0:
        u_here = 2.0 * here.rate_per_pulse_u
        axes.errorbar(here.loss_dB, here.rate_per_pulse, u_here, label="this link", **_STAR)
    axes.set(yscale="log", ylim=(floor, 3.0 * (top or 1.0)), ylabel="secret bits per pulse")
    axes.legend(loc="lower left", borderpad=0.2, labelspacing=0.25)


def _draw_reach(axes: Axes, points: Sequence[KeyRate], reach: Estimate | None) -> None:
    loss, rate, _ = rates(points)
    if reach is not None:
        at, words = reach.value, f"key up to {text(reach)}"
        axes.axvspan(at - 2.0 * reach.u, at + 2.0 * reach.u, color=SOFT, alpha=BAND, lw=0)
    elif np.count_nonzero(rate > 0) > 0 and not rate[-1] > 0:
        at = float(loss[rate > 0].max())
        words = f"key up to {at:.4g} dB"
    else:
        return
    axes.axvline(at, color=SOFT, ls=":", lw=0.9, zorder=1)
    axes.annotate(
        words,
        (at, 1.0),
        (-3.0, -3.0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7.0,
        color="#444444",
    )


def _draw_band(axes: Axes, points: Sequence[KeyRate], here: KeyRate) -> None:
    loss, rate, u = rates(points)
    keyed = rate > 0
    band = 200.0 * u[keyed] / rate[keyed]
    axes.axhline(0.0, color=FIT, lw=1.0)
    axes.fill_between(loss[keyed], -band, band, color=FIT, alpha=BAND, lw=0)
    if here.rate_per_pulse > 0:
        own = 200.0 * here.rate_per_pulse_u / here.rate_per_pulse
        axes.errorbar(here.loss_dB, 0.0, own, **_STAR)
    # towards the reach the band grows without limit
    largest = float(np.quantile(band, _BAND_QUANTILE)) if len(band) else 1.0
    axes.set(
        ylim=(-1.2 * largest or -1.0, 1.2 * largest or 1.0), ylabel="95 % band\nof the rate (%)"
    )
