"""Estimates on standard output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from qdchar.estimate import Estimate


def print_estimates(estimates: Iterable[Estimate]) -> None:
    """Print each with its uncertainty, its 95 % interval if it has one, its name and its method."""
    from qdchar.notation import interval_text, text

    for e in estimates:
        interval = "" if e.interval_95 is None else f"   95 %: {interval_text(e, e.interval_95)}"
        click.echo(f"{e.quantity.words} = {text(e)}{interval}")
        click.echo(f"    {e.name}: {e.definition}; {e.method}")
