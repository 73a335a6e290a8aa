"""The key-rate figures of the paper below; a star marks the user's own source.

References
----------
Y. Zhang et al., Phys. Rev. Lett. 134, 210801 (2025), https://doi.org/10.1103/PhysRevLett.134.210801.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qdchar.link import Link

from .. import ideal
from ..advantage import advantage_map, maximum_g2, minimum_mean
from ..comparators import COMPARATORS
from ..decoy.attenuated_source_finite import best_attenuator_key
from ..link_parameters import LinkParameters
from ..predict import predict
from ..source import SourceFigures
from .values import MEASURED, OTHERS, PAPER, SOURCES

Floats = NDArray[np.float64]

_STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 15,
    "color": "tab:red",
    "markeredgecolor": "black",
}
_MAP_POINTS = 48
_LOSSES_DB = (0.0, 5.0, 10.0, 14.6)
_COHERENT_LIGHT = {
    "wcp-infinite-decoy": ("coherent light, infinite decoy", "--", "0.6"),
    "wcp-vacuum-weak-bb84": ("coherent light, BB84, 2 decoys", "-.", "0.35"),
    "wcp-vacuum-weak-three-state": ("coherent light, 3 states, 2 decoys", "-", "black"),
}


def figure_1(source: SourceFigures, link: Link) -> Figure:
    """Ideal case: key rate against loss, and where a source equals coherent light (g2 against <n>).

    Parameters
    ----------
    source
        The user's source, which the star marks.
    link
        Not used: the ideal rates depend on the photon statistics only.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    loss = np.linspace(0, 40, 201)
    eta = 10 ** (-loss / 10)
    n, g2 = source.mean_photon_number.value, source.g2_zero.value
    left.semilogy(loss, ideal.coherent_rate(eta), "k-", label="coherent light, η/e")
    left.semilogy(loss, ideal.single_photon_rate(1.0, 0.0, eta), "k:", label="one photon per pulse")
    own = ideal.single_photon_rate(n, g2, eta)
    label = f"⟨n⟩ = {n:.3g}, g²(0) = {g2:.3g}"
    left.semilogy(loss, own, color="tab:red", label=label)
    bare = ideal.single_photon_rate(n, g2, eta, attenuate=False)
    left.semilogy(loss, bare, color="tab:red", ls="--", label="the same, not attenuated")
    left.set(xlabel="loss (dB)", ylabel="secret bits per pulse", ylim=(1e-6, 2))
    left.legend(fontsize=8)
    mean = np.linspace(1 / np.e + 1e-4, 1, 400)
    for loss_dB in (0.0, 10.0, 20.0, 30.0):
        edge = ideal.maximum_g2(mean, 10 ** (-loss_dB / 10))
        right.semilogy(mean, edge, label=f"{loss_dB:g} dB")
    _sources(right, source)
    right.set(xlabel="mean photon number ⟨n⟩", ylabel="g²(0)", xlim=(0, 1), ylim=(1e-4, 1))
    right.legend(
        title="higher key rate\nthan coherent light\nbelow the line",
        fontsize=7,
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
    )
    return figure


def figure_3(source: SourceFigures, link: Link) -> Figure:
    """Key rate and advantage against loss, with the rates measured in this and other papers."""
    figure = Figure(figsize=(7, 7), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    loss = np.linspace(0, 40, 81)
    points = predict(source, link, loss_dB=loss, comparators=tuple(_COHERENT_LIGHT))
    rate = np.array([p.rate_per_pulse for p in points])
    u = np.array([p.rate_per_pulse_u for p in points])
    n, g2 = source.mean_photon_number.value, source.g2_zero.value
    clock = source.clock_rate.value
    decoy = best_attenuator_key(n, g2, LinkParameters.from_link(link, loss, clock))[0].rate
    top.semilogy(loss, _positive(rate), color="tab:red", label="this source")
    top.fill_between(
        loss, _positive(rate - 2 * u), _positive(rate + 2 * u), color="tab:red", alpha=0.25, lw=0
    )
    top.semilogy(
        loss, _positive(decoy), color="tab:blue", label="this source, with decoy attenuator"
    )
    for name, (label, style, colour) in _COHERENT_LIGHT.items():
        light = np.array([p.comparator(name).rate_per_pulse for p in points])
        top.semilogy(loss, _positive(light), ls=style, color=colour, label=label)
        gain = 10 * np.log10(_positive(rate) / _positive(light))
        bottom.plot(loss, gain, ls=style, color=colour)
    for where, marker in (("laboratory", "o"), ("field", "s")):
        at = [m for m in MEASURED if m.where == where]
        top.plot(
            [m.loss_dB for m in at],
            [m.rate_per_pulse for m in at],
            marker,
            color="tab:orange",
            markeredgecolor="black",
            label=f"measured, {where} ({PAPER.split(',')[0]})",
        )
    for other, marker in zip(OTHERS, "^v", strict=True):
        label = f"measured, {other.source.split(',')[0]}"
        top.plot(other.loss_dB, other.rate_per_pulse, marker, color="0.5", label=label)
    (here,) = predict(source, link, comparators=())
    if here.rate_per_pulse > 0:
        top.plot(here.loss_dB, here.rate_per_pulse, ls="", label="this source here", **_STAR)
    top.set(ylabel="secret bits per pulse", ylim=(1e-8, 0.3))
    top.legend(fontsize=7, loc="lower left")
    first = points[0]
    top.set_title(
        f"{first.protocol}, accounting {first.accounting}, {first.block:.0e} pulses "
        f"{first.block_kind}",
        fontsize=9,
    )
    bottom.axhline(0, color="0.8", zorder=0)
    bottom.set(xlabel="channel loss (dB)", ylabel="advantage (dB)", ylim=(-10, 8))
    return figure


def figure_4a(source: SourceFigures, link: Link) -> Figure:
    """Advantage over three-state coherent light with a finite key, as a map of g2 against <n>."""
    finite = (
        link
        if link.block_kind != "asymptotic"
        else link.model_copy(update={"block_kind": "received"})
    )
    return _advantage_figure(source, finite, "wcp-vacuum-weak-three-state")


def figure_4b(source: SourceFigures, link: Link) -> Figure:
    """Asymptotic advantage over coherent light with infinite decoy states, g2 against <n>."""
    asymptotic = link.model_copy(update={"block_kind": "asymptotic"})
    return _advantage_figure(source, asymptotic, "wcp-infinite-decoy")


FIGURES: dict[str, Callable[[SourceFigures, Link], Figure]] = {
    "fig1": figure_1,
    "fig3": figure_3,
    "fig4a": figure_4a,
    "fig4b": figure_4b,
}


def _advantage_figure(source: SourceFigures, link: Link, comparator: str) -> Figure:
    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.subplots()
    light: Any = {"comparator": comparator, "clock_rate_hz": source.clock_rate.value}
    n, g2 = np.logspace(-2, 0, _MAP_POINTS), np.logspace(-4, -0.2, _MAP_POINTS)
    advantage = advantage_map(n, g2, link, loss_dB=0.0, **light)
    shown = np.ma.masked_invalid(advantage.advantage_dB)
    mesh = axes.pcolormesh(n, g2, shown, cmap="RdBu", vmin=-8, vmax=8, shading="gouraud")
    figure.colorbar(mesh, label="advantage at 0 dB loss (dB)")
    for loss_dB, style in zip(_LOSSES_DB, ("-", "--", "-.", ":"), strict=False):
        (start,) = minimum_mean(g2[:1], link, loss_dB=loss_dB, **light)
        if np.isinf(start):
            continue
        # points close together at the smallest <n>, where the line is steep
        fine = start * (1 / start) ** (np.linspace(0, 1, 50) ** 3)
        edge = maximum_g2(fine, link, loss_dB=loss_dB, **light)
        axes.plot(fine, edge, "k", ls=style, label=f"{loss_dB:g} dB")
    _sources(axes, source)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="mean photon number ⟨n⟩",
        ylabel="g²(0)",
        xlim=(n[0], 1),
        ylim=(g2[0], g2[-1]),
    )
    axes.set_title(COMPARATORS[comparator].description.split(";")[0], fontsize=8)
    axes.legend(
        title="higher key rate\nthan that of coherent\nlight below the line",
        fontsize=7,
        loc="lower left",
    )
    return figure


def _sources(axes: Axes, source: SourceFigures) -> None:
    """Draw the published sources and the user's own source."""
    for known, marker in zip(SOURCES, "oDv", strict=True):
        label = f"{known.source.split(',')[0]}, {known.where}"
        axes.plot(known.n, known.g2, marker, color="0.5", markeredgecolor="k", label=label)
    n, g2 = source.mean_photon_number, source.g2_zero
    axes.errorbar(n.value, g2.value, g2.u, n.u, color="tab:red")
    axes.plot(n.value, g2.value, ls="", label="this source", **_STAR)


def _positive(rate: Floats) -> Floats:
    """Replace values that a logarithmic axis cannot show (0 or less) by NaN."""
    return np.where(rate > 0, rate, np.nan)
