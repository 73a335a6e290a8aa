"""The summary that a calibration prints: Table 1, the key rate, the verdict."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from qdchar.lab.outcome import Outcome
from qdchar.notation import concise
from qdchar.report.table1 import provenance, table

_COLUMNS = 80
"""Of the table: those of a terminal as it opens. Sentences are wrapped by the terminal."""

_COLOURS = {"GO": "bold green", "NO-GO": "bold red", "INCONCLUSIVE": "bold yellow"}


def print_summary(outcome: Outcome) -> None:
    """Print to standard output."""
    console = Console(highlight=False, width=_COLUMNS, soft_wrap=True)
    console.print()
    if outcome.record.simulated:
        console.print("[bold magenta]SIMULATED LAB[/]: these are not quantities of a real source.")
    for line in provenance(outcome.record):
        console.print(line, markup=False)
    console.print(table_1(outcome), soft_wrap=False)
    rate = outcome.rate
    console.print(
        f"\nkey rate at {rate.loss_dB:g} dB: "
        f"[bold]{concise(rate.rate_per_pulse, rate.rate_per_pulse_u)}[/] bit per pulse, "
        f"{concise(rate.rate_bps / 1e3, rate.rate_bps_u / 1e3)} kbit/s"
    )
    console.print(
        f"  {rate.protocol}, accounting {rate.accounting}, block {rate.block:g} {rate.block_kind}"
    )
    console.print(f"  p_z {rate.p_z:.3f}, pre-attenuation {rate.attenuation:.3f}")
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


def table_1(outcome: Outcome) -> Table:
    """Return Table 1, which fits into 80 columns; how each value was found is in the report."""
    page = Table(
        title="Table 1 (Zhang et al., PRL 134, 210801)",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in ("quantity", "here", "paper", "U (k=2)", "origin"):
        page.add_column(heading, overflow="fold", no_wrap=heading != "origin")
    group = ""
    for row in table(outcome.record, outcome.link):
        if row.group != group:
            group = row.group
            page.add_row(f"[bold]{group}[/]")
        page.add_row(f"  {row.words}", row.value, row.paper, row.expanded, row.origin)
    return page
