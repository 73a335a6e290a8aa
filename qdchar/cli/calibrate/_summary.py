"""The summary that a calibration prints: Table 1, the key rate, the verdict."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from qdchar.lab.outcome import Outcome
from qdchar.notation import concise
from qdchar.report.table1 import provenance, table

_WIDE = 190
"""Columns where the output goes to a file or a pipe: nothing is folded."""

_COLOURS = {"GO": "bold green", "NO-GO": "bold red", "INCONCLUSIVE": "bold yellow"}


def print_summary(outcome: Outcome) -> None:
    """Print to standard output."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    console.print()
    if outcome.record.simulated:
        console.print("[bold magenta]SIMULATED LAB[/]: these are not quantities of a real source.")
    for line in provenance(outcome.record):
        console.print(line, markup=False)
    page = Table(
        title="Table 1 (Zhang et al., PRL 134, 210801)", title_justify="left", show_edge=False
    )
    for heading in ("", "quantity", "here", "paper", "U (k=2)", "", "method"):
        page.add_column(heading, overflow="fold", no_wrap=heading not in ("method",))
    group = ""
    for row in table(outcome.record, outcome.link):
        page.add_row(
            row.group if row.group != group else "",
            row.words,
            row.value,
            row.paper,
            row.expanded,
            row.origin,
            row.method,
        )
        group = row.group
    console.print(page)
    rate = outcome.rate
    console.print(
        f"\nkey rate at {rate.loss_dB:g} dB: "
        f"[bold]{concise(rate.rate_per_pulse, rate.rate_per_pulse_u)}[/] bit per pulse, "
        f"{concise(rate.rate_bps / 1e3, rate.rate_bps_u / 1e3)} kbit/s "
        f"({rate.protocol}, accounting {rate.accounting}, block {rate.block:g} {rate.block_kind}; "
        f"p_z {rate.p_z:.3f}, pre-attenuation {rate.attenuation:.3f})"
    )
    for sentence in outcome.assumptions:
        console.print(f"  {sentence}", markup=False)
    for c in rate.comparators:
        gap = "no key" if c.advantage_dB is None else f"{c.advantage_dB:+.2f} dB"
        console.print(f"  against {c.name}: {c.rate_per_pulse:.3g} bit per pulse, {gap}")
    decision = outcome.verdict.decision
    console.print(f"\n[{_COLOURS[decision]}]{decision}[/]")
    for reason in outcome.verdict.reasons:
        console.print(f"  {reason}", markup=False)
    console.print(f"  a GO demands {'; '.join(outcome.verdict.demanded)}", markup=False)
