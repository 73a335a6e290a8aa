"""The key-rate figures of the paper below; a large star marks the user's own source.

Widths are those of a journal's column, 86 mm, and of two columns, 178 mm.

References
----------
Y. Zhang et al., Phys. Rev. Lett. 134, 210801 (2025), https://doi.org/10.1103/PhysRevLett.134.210801.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from matplotlib import rc_context
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
from .values import MEASURED, OTHERS, SOURCES, MeasuredRate

Floats = NDArray[np.float64]

# of a figure in millimetres
Width = Literal[178, 86]
_INCH = 25.4

STYLE: dict[Any, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    # letters as letters, which journals ask for
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}
OWN = "this source"
_OWN: dict[str, Any] = {
    "marker": "*",
    "markersize": 13,
    "color": "tab:red",
    "markeredgecolor": "black",
    "markeredgewidth": 0.7,
    "ls": "",
    "zorder": 6,
}
_KNOWN: dict[str, Any] = {
    "color": "0.75",
    "markeredgecolor": "black",
    "markeredgewidth": 0.7,
    "ls": "",
    "zorder": 5,
}
_MAP_POINTS = 48
_COHERENT_LIGHT = {
    "wcp-infinite-decoy": ("coherent light, infinite decoy", "--", "0.6"),
    "wcp-vacuum-weak-bb84": ("coherent light, BB84, 2 decoys", "-.", "0.35"),
    "wcp-vacuum-weak-three-state": ("coherent light, 3 states, 2 decoys", "-", "black"),
}


def figure_1(source: SourceFigures, link: Link, width: Width = 178) -> Figure:
    """Ideal case: key rate against loss, and where a source equals coherent light (g2 against <n>).

    Dashed are the bounds: eta/e of coherent light and eta of one photon per pulse, the smallest
    <n>, 1/e, and the largest g2 at each loss, e eta / (2 (1 + eta^2)).

    Parameters
    ----------
    source
        The user's source, which the star marks.
    link
        Not used: the ideal rates depend on the photon statistics only.
    width
        Of the figure [mm].
    """
    with rc_context(STYLE):
        figure, (left, right) = _panels(width, 2, 3.0)
        loss = np.linspace(0, 40, 2001)
        eta = 10 ** (-loss / 10)
        n, g2 = source.mean_photon_number.value, source.g2_zero.value
        left.semilogy(loss, eta, "--", color="0.55", label="bound of one photon per pulse, η")
        coherent = ideal.coherent_rate(eta)
        left.semilogy(loss, coherent, "k--", label="bound of coherent light, η/e")
        own = ideal.single_photon_rate(n, g2, eta)
        left.semilogy(
            loss, _positive(own), color="tab:red", label=f"⟨n⟩ = {n:.3g}, g²(0) = {g2:.3g}"
        )
        bare = ideal.single_photon_rate(n, g2, eta, attenuate=False)
        left.semilogy(
            loss, _positive(bare), color="tab:red", ls=":", label="the same, not attenuated"
        )
        left.set(xlabel="loss (dB)", ylabel="secret bits per pulse", xlim=(0, 40), ylim=(1e-7, 2))
        left.legend(loc="lower left")
        mean = np.linspace(1 / np.e + 1e-4, 1, 400)
        right.axvline(1 / np.e, color="black", ls="--", lw=0.9)
        right.annotate("1/e", (1 / np.e, 1.5e-4), (-3, 0), textcoords="offset points", ha="right")
        colours = ("#08306b", "#2171b5", "#4292c6", "#6baed6")
        for loss_dB, colour in zip((0.0, 10.0, 20.0, 30.0), colours, strict=True):
            _boundary(right, mean, loss_dB, colour)
        right.text(
            *(0.97, 0.03, "more key than from\ncoherent light: right\nof and below a line"),
            transform=right.transAxes,
            ha="right",
        )
        _sources(right, source)
        right.set(xlabel="mean photon number ⟨n⟩", ylabel="g²(0)", xlim=(0, 1), ylim=(1e-4, 1))
        _legend(figure, right, 4 if width == 178 else 2)
        _letters(left, right)
    return figure


def _boundary(axes: Axes, mean: Floats, loss_dB: float, colour: str) -> None:
    """Draw where a source equals ideal coherent light at one loss, and the bound of g2."""
    eta = 10 ** (-loss_dB / 10)
    axes.semilogy(mean, ideal.maximum_g2(mean, eta), color=colour)
    bound = np.e * eta / (2 * (1 + eta**2))
    axes.axhline(bound, color=colour, ls="--", lw=0.9)
    axes.annotate(
        f"{loss_dB:g} dB",
        (0.06, bound),
        (0, -2),
        textcoords="offset points",
        va="top",
        color=colour,
    )


def figure_3(source: SourceFigures, link: Link, width: Width = 178) -> Figure:
    """Key rate and advantage against loss, with the rates measured in this and other papers.

    Stars are measurements in the field, circles those in a laboratory; open ones do not give the
    channel's loss and stand at 0 dB.
    """
    with rc_context(STYLE):
        height = 5.6 if width == 178 else 6.6
        figure = Figure(figsize=(width / _INCH, height), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
        loss = np.linspace(0, 40, 161)
        points = predict(source, link, loss_dB=loss, comparators=tuple(_COHERENT_LIGHT))
        rate = np.array([p.rate_per_pulse for p in points])
        u = np.array([p.rate_per_pulse_u for p in points])
        n, g2 = source.mean_photon_number.value, source.g2_zero.value
        clock = source.clock_rate.value
        decoy = best_attenuator_key(n, g2, LinkParameters.from_link(link, loss, clock))[0].rate
        low = np.where(rate > 2 * u, rate - 2 * u, 1e-12)
        top.fill_between(loss, low, rate + 2 * u, where=rate > 0, color="tab:red", alpha=0.2, lw=0)
        top.semilogy(loss, _positive(rate), color="tab:red", label=f"{OWN} (band: ±2u)")
        top.semilogy(loss, _positive(decoy), color="tab:blue", label=f"{OWN}, decoy attenuator")
        for name, (label, style, colour) in _COHERENT_LIGHT.items():
            light = np.array([p.comparator(name).rate_per_pulse for p in points])
            top.semilogy(loss, _positive(light), ls=style, color=colour, label=label)
            gain = 10 * np.log10(_positive(rate) / _positive(light))
            bottom.plot(loss, gain, ls=style, color=colour)
        _measured(top)
        (here,) = predict(source, link, comparators=())
        if here.rate_per_pulse > 0:
            # hollow, so that what was measured there stays visible
            hollow = {"markersize": 15, "markerfacecolor": "none", "markeredgecolor": "tab:red"}
            star = {**_OWN, **hollow, "markeredgewidth": 1.4}
            top.plot(here.loss_dB, here.rate_per_pulse, label=f"{OWN} on this link", **star)
        top.set(ylabel="secret bits per pulse", xlim=(-1, 40), ylim=(1e-9, 0.3))
        _legend(figure, top, 3 if width == 178 else 1)
        first = points[0]
        power = int(np.floor(np.log10(first.block)))
        size = f"{first.block / 10.0**power:.3g} × 10$^{{{power}}}$"
        top.set_title(
            f"{first.protocol}, accounting {first.accounting},"
            f"{' ' if width == 178 else chr(10)}{size} pulses {first.block_kind}"
        )
        bottom.axhline(0, color="0.8", zorder=0)
        bottom.set(xlabel="channel loss (dB)", ylabel="advantage (dB)", ylim=(-10, 8))
        _letters(top, bottom)
    return figure


_COLOURS = ("tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:pink", "tab:cyan")


def _measured(axes: Axes) -> None:
    """Draw every measured rate: one colour a publication, a star for the field."""
    publications = list(dict.fromkeys(m.source for m in (*MEASURED, *OTHERS)))
    for publication, colour in zip(publications, _COLOURS, strict=True):
        labelled = set()
        for m in (*MEASURED, *OTHERS):
            if m.source != publication:
                continue
            label = _label(m)
            axes.plot(
                m.loss_dB,
                m.rate_per_pulse,
                "*" if m.where == "field" else "o",
                markersize=9 if m.where == "field" else 5,
                color=colour,
                markerfacecolor=colour if m.loss_given else "white",
                markeredgecolor="black" if m.loss_given else colour,
                markeredgewidth=0.6 if m.loss_given else 1.2,
                ls="",
                zorder=5,
                label=None if label in labelled else label,
            )
            labelled.add(label)


def _label(m: MeasuredRate) -> str:
    """Write author, year and place of a measurement."""
    author, year = m.source.split(",")[0], m.source.rsplit("(", 1)[1].rstrip(")")
    return f"{author} {year}, {m.where}" if m.loss_given else f"{author} {year}, loss not given"


def figure_4a(source: SourceFigures, link: Link, width: Width = 178) -> Figure:
    """Advantage over three-state coherent light with a finite key, as a map of g2 against <n>."""
    finite = (
        link
        if link.block_kind != "asymptotic"
        else link.model_copy(update={"block_kind": "received"})
    )
    return _advantage_figure(source, finite, "wcp-vacuum-weak-three-state", width)


def figure_4b(source: SourceFigures, link: Link, width: Width = 178) -> Figure:
    """Asymptotic advantage over coherent light with infinite decoy states, g2 against <n>."""
    asymptotic = link.model_copy(update={"block_kind": "asymptotic"})
    return _advantage_figure(source, asymptotic, "wcp-infinite-decoy", width)


FIGURES: dict[str, Callable[[SourceFigures, Link, Width], Figure]] = {
    "fig1": figure_1,
    "fig3": figure_3,
    "fig4a": figure_4a,
    "fig4b": figure_4b,
}


def _advantage_figure(source: SourceFigures, link: Link, comparator: str, width: Width) -> Figure:
    """Draw maps at no loss and at the link's; shading and line of a panel are at the same loss."""
    with rc_context(STYLE):
        losses = sorted({0.0, link.channel_loss.value})
        figure, panels = _panels(width, len(losses), 3.3)
        light: Any = {"comparator": comparator, "clock_rate_hz": source.clock_rate.value}
        n, g2 = np.logspace(-2, 0, _MAP_POINTS), np.logspace(-4, -0.2, _MAP_POINTS)
        for axes, loss_dB in zip(panels, losses, strict=True):
            advantage = advantage_map(n, g2, link, loss_dB=loss_dB, **light)
            shown = np.ma.masked_invalid(np.maximum(advantage.advantage_dB, -99.0))
            mesh = axes.pcolormesh(
                n, g2, shown, cmap="RdBu", vmin=-8, vmax=8, shading="gouraud", rasterized=True
            )
            (start,) = minimum_mean(g2[:1], link, loss_dB=loss_dB, **light)
            if np.isfinite(start):
                # points close together at the smallest <n>, where the line is steep
                fine = start * (1 / start) ** (np.linspace(0, 1, 50) ** 3)
                edge = maximum_g2(fine, link, loss_dB=loss_dB, **light)
                axes.plot(fine, edge, "k", label="same key rate as coherent light")
            _sources(axes, source)
            axes.set(
                xscale="log",
                yscale="log",
                xlabel="mean photon number ⟨n⟩",
                ylabel="g²(0)",
                xlim=(n[0], 1),
                ylim=(g2[0], g2[-1]),
            )
            axes.set_title(f"{loss_dB:g} dB loss")
        bar = figure.colorbar(mesh, ax=panels, extend="both")
        bar.set_label("advantage (dB)")
        first, *others = COMPARATORS[comparator].description.split(";")[0].split(", ")
        middle = (len(others) + 1) // 2
        title = f"{', '.join([first, *others[:middle]])},\n{', '.join(others[middle:])}"
        _legend(figure, panels[0], 3 if width == 178 else 1, title=title)
    return figure


def _sources(axes: Axes, source: SourceFigures) -> None:
    """Draw the published sources and the user's own source."""
    own = source.mean_photon_number.value, source.g2_zero.value
    for known, marker in zip(SOURCES, "oDv", strict=True):
        if (known.n, known.g2) == own:
            continue  # the star would hide it
        label = f"{known.source.split(',')[0]}, {known.where}"
        axes.plot(known.n, known.g2, marker, markersize=5, label=label, **_KNOWN)
    n, g2 = source.mean_photon_number, source.g2_zero
    axes.errorbar(n.value, g2.value, g2.u, n.u, color="black", lw=0.8, zorder=4)
    axes.plot(n.value, g2.value, label=OWN, **_OWN)


def _panels(width: Width, count: int, height: float) -> tuple[Figure, list[Axes]]:
    """Panels beside one another over two columns, below one another in one."""
    beside = width == 178
    size = (width / _INCH, height if beside else count * 0.85 * height)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(*((1, count) if beside else (count, 1)), squeeze=False)
    return figure, list(axes.ravel())


def _legend(figure: Figure, axes: Axes, columns: int, title: str | None = None) -> None:
    """Put the legend below the panels, where it hides no data."""
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=columns,
        title=title,
        title_fontsize=7,
    )


def _letters(*panels: Axes) -> None:
    """Mark the panels (a), (b), ..., outside of the data."""
    for axes, letter in zip(panels, "abcd", strict=False):
        axes.annotate(
            f"({letter})", (0, 1), (0, 4), "axes fraction", "offset points", fontweight="bold"
        )


def _positive(rate: Floats) -> Floats:
    """Replace values that a logarithmic axis cannot show (0 or less) by NaN."""
    return np.where(rate > 0, rate, np.nan)
