"""What a notebook shows of estimates, results, records and key rates: small HTML tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from .notation import concise, interval_text, text

if TYPE_CHECKING:
    from .estimate import Estimate
    from .fit import Result
    from .keyrate import KeyRate
    from .record import SourceRecord
    from .verdict import Verdict


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as HTML; every cell is escaped.

    Parameters
    ----------
    head
        The column names; none for a table without a header.
    rows
        The cells, line by line.
    """
    header = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    thead = f"<thead><tr>{header}</tr></thead>" if head else ""
    return f"<table>{thead}<tbody>{body}</tbody></table>"


def html_list(title: str, lines: Iterable[str]) -> str:
    """Return lines under a title as HTML; nothing where there are none."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<p><b>{escape(title)}</b></p><ul>{items}</ul>" if items else ""


def estimates_html(estimates: Iterable[Estimate]) -> str:
    """Return a table of estimates: words, symbol, value, interval, plane and method."""
    return html_table(
        ("quantity", "symbol", "value", "95 % interval", "plane", "method"),
        (
            (
                e.quantity.words,
                e.quantity.symbol,
                text(e),
                "" if e.interval_95 is None else interval_text(e, e.interval_95),
                e.plane,
                e.method,
            )
            for e in estimates
        ),
    )


def estimate_html(estimate: Estimate) -> str:
    """Return an estimate with its uncertainty budget, the largest contribution first."""
    variance = estimate.u**2
    lines = sorted(estimate.budget, key=lambda c: -abs(c.u))
    shares = (
        (c.source, c.kind, f"{100.0 * c.u**2 / variance:.1f} %") for c in lines if variance > 0
    )
    budget = html_table(("error source", "type", "share of the variance"), shares)
    title = "<details><summary>uncertainty budget</summary>"
    return estimates_html([estimate]) + (f"{title}{budget}</details>" if lines else "")


def result_html(result: Result) -> str:
    """Return what an analysis found: its problems, its quantities, and the fits behind them."""
    fits = [
        f"{f.model}: {f.statistic} {f.minimum:.1f}, {f.dof} degrees of freedom" for f in result.fits
    ]
    return (
        html_list("Problems", result.problems)
        + estimates_html(result.estimates)
        + html_list("Fits", fits)
    )


def verdict_html(verdict: Verdict | None) -> str:
    """Return a verdict with its reasons."""
    if verdict is None:
        return "<p><b>not judged</b></p>"
    return html_list(verdict.decision, verdict.reasons) or f"<p><b>{verdict.decision}</b></p>"


def record_html(record: SourceRecord) -> str:
    """Return a source record: where and when, verdict, what speaks against it, quantities."""
    simulated = "; SIMULATED LAB" if record.simulated else ""
    return (
        f"<p>{escape(record.source)} at {escape(record.station)}, "
        f"{record.created:%Y-%m-%d %H:%M} UTC{simulated}</p>"
        + verdict_html(record.verdict)
        + html_list("Against using this record", map(str, record.objections))
        + html_list("Problems", record.problems)
        + estimates_html(map(record.estimate, record.quantities))
    )


def key_rate_html(rate: KeyRate) -> str:
    """Return a predicted key rate: the numbers, the comparators, and what it assumes."""
    rows = [
        ("secret bits per pulse", concise(rate.rate_per_pulse, rate.rate_per_pulse_u)),
        ("secret key rate", f"{concise(rate.rate_bps / 1e3, rate.rate_bps_u / 1e3)} kbit/s"),
        ("channel loss", f"{rate.loss_dB:g} dB"),
        ("protocol", f"{rate.protocol}, accounting {rate.accounting}"),
        ("block", f"{rate.block:g} {rate.block_kind}"),
        ("p_z, pre-attenuation", f"{rate.p_z:.4f}, {rate.attenuation:.4f}"),
        ("QBER, phase error", f"{100 * rate.qber:.3g} %, {100 * rate.phase_error:.3g} %"),
    ]
    for c in rate.comparators:
        lead = "no key" if c.advantage_dB is None else f"{c.advantage_dB:+.2f} dB"
        rows.append((f"against {c.name}", f"{c.rate_per_pulse:.3g} bit per pulse, {lead}"))
    return html_table((), rows) + html_list("Assumptions", rate.assumptions)
