"""``qdchar fit lifetime``: the lifetime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.errors import UsageError

from .._options import PATH, DURATION_s, Within, as_json
from ._options import CHANNEL, figure_option, histogram_options
from ._print import show

if TYPE_CHECKING:
    from qdchar.tags.formats.delay_histogram import CurveChoice

_LEAST_U = 1e-6
"""Relative; a smaller one is lost in the rounding of the fit."""


@click.command()
@click.argument("file", type=PATH)
@click.option("--response", type=PATH, help="Measured instrument response, in the same form.")
@click.option(
    "--response-u",
    "response_u_rel",
    type=Within(min=0, max=0.5),
    default=0.02,
    show_default=True,
    help="Relative u of the response's width.",
)
@click.option(
    "--channel",
    type=CHANNEL,
    help="Detector channel; the one with most clicks if not given.",
)
@click.option("--sync-channel", type=CHANNEL, help="Channel of the pulse clock.")
@click.option("--sync-divider", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--period", "period_s", type=DURATION_s, help="Pulse period [s].")
@click.option(
    "--response-column",
    help="Column or curve of the response, in the response's file or in FILE itself.",
)
@histogram_options
@figure_option
@as_json
def lifetime(
    file: Path,
    response: Path | None,
    response_u_rel: float,
    channel: int | None,
    sync_channel: int | None,
    sync_divider: int,
    period_s: float | None,
    response_column: str | None,
    choice: CurveChoice,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Lifetime from time tags (PTU, quTAG, HDF5) or a decay histogram."""
    from qdchar.analysis import lifetime as analysis

    if 0.0 < response_u_rel < _LEAST_U:
        raise UsageError(f"--response-u {response_u_rel:g}: give 0, or at least {_LEAST_U:g}")
    result = analysis.analyse_file(
        file,
        response=response,
        response_u_rel=response_u_rel,
        channel=channel,
        sync_channel=sync_channel,
        sync_divider=sync_divider,
        period_s=period_s,
        choice=choice,
        response_column=response_column,
    )
    return show(result, figure, json_line)
