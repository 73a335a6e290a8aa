"""The picture of a key exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .figures import DATA, FIT, SOFT, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qdchar.lab.exchange import Exchange


def draw_exchange(exchange: Exchange) -> Figure:
    """Draw the three lengths, error rates, where the sifted bits went, and the gated pulse."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 5.2), layout="constrained")
        axes = figure.subplots(2, 2)
        _draw_lengths(axes[0, 0], exchange)
        _draw_error_rates(axes[0, 1], exchange)
        _draw_sifted(axes[1, 0], exchange)
        _draw_gate(axes[1, 1], exchange)
    return figure


def _draw_lengths(axes: Axes, exchange: Exchange) -> None:
    predicted, made = exchange.predicted, exchange.made
    lengths = np.array(
        [predicted.key_length, made.from_counts.key_length, len(made.alice)], dtype=np.float64
    )
    low, high = (edge / 1e3 for edge in predicted.interval)
    axes.axhspan(low, high, color=SOFT, alpha=0.3, lw=0, label="95 % band of the prediction")
    axes.plot([0, 1, 2], lengths / 1e3, "o", color=DATA)
    top = max(high, float(lengths.max()) / 1e3)
    for place, length in enumerate(lengths):
        axes.annotate(
            f"{length / 1e3:.1f}",
            (place, length / 1e3),
            (0, 7),
            textcoords="offset points",
            ha="center",
        )
    axes.set(
        xlim=(-0.5, 2.5),
        ylim=(0, 1.3 * top),
        ylabel="secret key (kbit)",
        title="Length of the key",
    )
    axes.set_xticks([0, 1, 2], ["predicted", "from counts", "made"])
    axes.legend(loc="lower left")


def _draw_error_rates(axes: Axes, exchange: Exchange) -> None:
    both = (exchange.made.key_errors, exchange.made.test_errors)
    for place, found in enumerate(both):
        low, high = found.interval
        axes.errorbar(
            place,
            100 * found.rate,
            [[100 * (found.rate - low)], [100 * (high - found.rate)]],
            fmt="o",
            color=DATA,
            capsize=3,
        )
    sent = 100 * exchange.plan.link.misalignment.value
    axes.axhline(sent, color=SOFT, ls="--", label=f"misalignment {sent:.2f} %")
    axes.set(
        xlim=(-0.5, 1.5),
        ylabel="errors (%), 95 % interval",
        title="QBER in both bases",
    )
    axes.set_ylim(0, 1.4 * max(sent, *(100 * found.interval[1] for found in both)))
    axes.set_xticks([0, 1], ["key basis Z", "test basis X"])
    axes.legend(loc="lower left")


def _draw_sifted(axes: Axes, exchange: Exchange) -> None:
    made = exchange.made
    sifted = made.key_errors.detections
    tagged = sifted - made.final.secure_detections
    rest = sifted - tagged - len(made.alice) - made.leaked_bits
    parts = (
        ("key", len(made.alice), FIT),
        ("error correction", made.leaked_bits, DATA),
        ("multi-photon pulses", tagged, "black"),
        ("phase errors, finite size", rest, SOFT),
    )
    left = 0.0
    for name, bits, color in parts:
        if bits <= 0:  # nothing of it; without a key, correction can disclose more than is left
            continue
        axes.barh(0, bits / 1e3, left=left / 1e3, color=color, label=f"{name}: {bits / 1e3:.1f}")
        left += bits
    axes.set(
        xlabel="bits of the sifted key (thousands)",
        title="Where the sifted bits went",
        ylim=(-0.5, 2.2),
    )
    axes.set_yticks([])
    axes.legend(loc="upper left")


def _draw_gate(axes: Axes, exchange: Exchange) -> None:
    found = exchange.made.detections
    half = 0.5e-3 * found.period_ps
    edges = np.linspace(-half, half, len(found.folded) + 1)
    axes.stairs(found.folded, edges, color=DATA)
    low, high = (1e-3 * edge for edge in found.gate_ps)
    axes.axvspan(low, high, color=FIT, alpha=0.15, lw=0, label=f"gate {high - low:.2f} ns")
    axes.set(
        yscale="log",
        ylim=(0.5, None),
        xlabel="time from the pulse (ns)",
        ylabel="clicks",
        title="Pulse found in the tags",
    )
    axes.legend()
