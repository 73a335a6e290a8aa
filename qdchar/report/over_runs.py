"""Pages on several runs: the history of a source, and the comparison of two records."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from qdchar.files import PathLike, write_text
from qdchar.history import limits_text
from qdchar.html_tables import html_list, html_table
from qdchar.notation import concise, number_text, text
from qdchar.quantities import quantity
from qdchar.record import SourceRecord
from qdchar.trends import FLAGGED, Trend

from .comparison import Change
from .figures import draw_history, embedded
from .page import style

_BANNER = '<p class="banner">SIMULATED LAB: these are not measurements of a real source.</p>'


def write_history_page(
    file: PathLike,
    records: Sequence[SourceRecord],
    trends: Sequence[Trend],
    skipped: Sequence[str] = (),
) -> Path:
    """Write the history of a source as one HTML file that needs nothing beside it.

    Parameters
    ----------
    file
        The page.
    records
        Oldest first.
    trends
        Of the quantities to be shown, from `qdchar.trends.trends`.
    skipped
        Runs that cannot be read, and why.

    Returns
    -------
    Path
        The page.
    """
    drawn = [t.name for t in trends if any(t.name in r.quantities for r in records)]
    image = f'<img alt="quantities over time" src="{embedded(draw_history(records, drawn))}">'
    body = (
        "<h2>Trends</h2>"
        + f"<p>Flagged below p = {FLAGGED:g}: one of 1000 steady quantities is, by chance. Errors "
        "that all runs share, such as those of certificates, are left out.</p>"
        + _wide(html_table(TREND_HEAD, map(trend_row, trends)))
        + (image if drawn else "")
        + "<h2>Runs</h2>"
        + _wide(html_table(RUN_HEAD, _runs(records)))
        + html_list("Runs that cannot be read", skipped)
    )
    return _write(file, "History of a source", body, any(r.simulated for r in records))


def write_comparison_page(
    file: PathLike,
    first: SourceRecord,
    second: SourceRecord,
    changes: Sequence[Change],
    renewed: Sequence[str] = (),
) -> Path:
    """Write the comparison of two records as one HTML file that needs nothing beside it.

    Parameters
    ----------
    file
        The page.
    first, second
        The records.
    changes, renewed
        From `compare_records` and `renewed_certificates`.

    Returns
    -------
    Path
        The page.
    """
    rows = [
        (
            c.first.quantity.words,
            text(c.first),
            text(c.second),
            "exact" if c.pull is None else f"{c.pull:+.1f}",
            p_text(c.p),
            "CHANGED" if c.p is not None and c.p < FLAGGED else "",
        )
        for c in changes
    ]
    head = ("quantity", "first", "second", "change / u", "p", "")
    body = (
        _wide(html_table(("", *RUN_HEAD), _named_runs(first, second)))
        + "<h2>Quantities</h2>"
        + f"<p>{RENEWED_NONE if not renewed else renewed_text(renewed)}</p>"
        + _wide(html_table(head, rows))
    )
    return _write(file, "Two records compared", body, first.simulated or second.simulated)


RUN_HEAD = ("time (UTC)", "source", "verdict", "limits", "against")
TREND_HEAD = ("quantity", "runs", "scatter p", "drift per day", "p", "step", "p", "at", "flags")
RENEWED_NONE = "Errors of certificates, which both records share, cancel."


def renewed_text(renewed: Sequence[str]) -> str:
    """Say which certificates do not cancel."""
    return (
        f"Errors of certificates, which both records share, cancel, but not those of "
        f"{', '.join(renewed)}: these certificates are not the same in both."
    )


def trend_row(trend: Trend) -> tuple[str, ...]:
    """Return a trend as text, in the order of `TREND_HEAD`."""
    return (
        words_of(trend.name),
        str(trend.runs),
        p_text(trend.scatter_p),
        _with_u(trend.drift, trend.drift_u, trend.unit),
        p_text(trend.drift_p),
        _with_u(trend.step, trend.step_u, trend.unit),
        p_text(trend.step_p),
        "" if trend.step_at is None else f"{trend.step_at:%Y-%m-%d %H:%M}",
        ", ".join(trend.flags),
    )


def words_of(name: str) -> str:
    """Return what a person reads for a quantity, or for the key rate."""
    return quantity(name).words


def p_text(p: float | None) -> str:
    """Write a probability; empty if there is none."""
    return "" if p is None else f"{p:.2g}"


def _with_u(value: float | None, u: float | None, unit: str) -> str:
    if value is None or u is None:
        return ""
    from qdchar.notation import prefixed

    scale, prefixed_unit = prefixed(max(abs(value), u), unit)
    return f"{concise(value / scale, u / scale)} {prefixed_unit}".rstrip()


def _runs(records: Sequence[SourceRecord]) -> list[tuple[str, ...]]:
    return [
        (
            f"{r.created:%Y-%m-%d %H:%M}",
            r.source,
            _verdict(r),
            limits_text(r),
            "; ".join(map(str, r.objections)),
        )
        for r in records
    ]


def _named_runs(first: SourceRecord, second: SourceRecord) -> list[tuple[str, ...]]:
    names = ("first", "second")
    return [(name, *row) for name, row in zip(names, _runs((first, second)), strict=True)]


def _verdict(record: SourceRecord) -> str:
    verdict = record.verdict
    if verdict is None:
        return "not judged"
    if verdict.rate is None:
        return f"{verdict.decision}, no key rate"
    rate = verdict.rate
    number = concise(rate.rate_per_pulse, rate.rate_per_pulse_u)
    loss = number_text(rate.loss_dB, "dB")
    return f"{verdict.decision}, {number} bit per pulse at {loss}"


def _wide(table: str) -> str:
    return f'<div class="box">{table}</div>'


def _write(file: PathLike, title: str, body: str, simulated: bool) -> Path:
    page = Path(file)
    write_text(
        page,
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style()}</style></head><body>"
        f"{_BANNER if simulated else ''}<h1>{escape(title)}</h1>{body}</body></html>\n",
    )
    return page
