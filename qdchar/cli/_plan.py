"""What ``--dry-run`` prints: ranges, dwells and expected lab time of each step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from qdchar.lab.expected import ExpectedStep


def print_plan(steps: Sequence[ExpectedStep], left_out: Mapping[str, str], json_line: bool) -> None:
    """Print to standard output."""
    total_s = sum(step.lab_s for step in steps)
    for k, step in enumerate(steps, start=1):
        click.echo(f"step {k} of {len(steps)}: {step.title}, about {step.lab_s:.2g} s")
        for move in step.moves:
            how = "sweep from" if move.how == "sweep" else "within its limits,"
            click.echo(f"    {move.role}: {how} {move.low:.4g} to {move.high:.4g} {move.unit}")
        if step.times_s:
            times = ", ".join(f"{name} = {value:.4g}" for name, value in step.times_s.items())
            click.echo(f"    {times}")
    for name, reason in left_out.items():
        click.echo(f"{name}: left out: {reason}")
    click.echo(f"expected lab time: {total_s:.0f} s; nothing was opened or moved")
    if json_line:
        line = {
            "lab_s": total_s,
            "steps": [
                {
                    "measurement": step.name,
                    "title": step.title,
                    "lab_s": step.lab_s,
                    "moves": [
                        {"role": m.role, "how": m.how, "low": m.low, "high": m.high, "unit": m.unit}
                        for m in step.moves
                    ],
                    "times_s": dict(step.times_s),
                }
                for step in steps
            ],
            "left_out": dict(left_out),
        }
        click.echo(json.dumps(line))
