"""``qdchar info FILE``: prints a summary of a file of time tags."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ._options import as_json


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def info(file: Path, json_line: bool) -> int:
    """Print a summary of FILE (PicoQuant PTU, quTAG, Photon-HDF5): channels, rates, faults.

    All records are read and checked. Channel numbers are those in the file: the first input of a
    PicoQuant instrument, labelled 1 on its panel, has number 0.
    """
    from qdchar.tags import open_tags
    from qdchar.tags.summary import channel_name, summarise

    s = summarise(open_tags(file))
    for label, value in (
        ("file", str(file)),
        ("format", s.format),
        ("instrument", s.instrument),
        ("created", s.created),
        ("comment", s.comment),
        ("duration", f"{s.duration_s:.6f} s"),
        ("resolution", f"{s.resolution_ps:g} ps"),
        ("sync period", "" if s.sync_period_ps is None else f"{s.sync_period_ps / 1000:.6f} ns"),
        ("clicks", f"{s.total:,}"),
    ):
        if value:
            click.echo(f"{label:<12}{value}")
    for channel, clicks in s.clicks.items():
        rate = f"{clicks / s.duration_s:,.1f} /s" if s.duration_s > 0 else ""
        click.echo(f"{'channel':<9}{channel_name(channel):>4}{clicks:>15,}{rate:>18}")
    for warning in s.warnings:
        click.echo(f"warning     {warning}")
    if json_line:
        line = {
            "exit_code": 0,
            "format": s.format,
            "instrument": s.instrument,
            "created": s.created,
            "duration_s": s.duration_s,
            "resolution_ps": s.resolution_ps,
            "sync_period_ps": s.sync_period_ps,
            "clicks": s.clicks,
            "warnings": s.warnings,
        }
        click.echo(json.dumps(line))
    return 0
