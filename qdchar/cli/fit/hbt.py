"""``qdchar fit hbt``: g2(0) under pulsed excitation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._options import PATH, DELAY_s, DURATION_s, as_json
from ._options import channels_option, figure_option, histogram_options
from ._print import show

if TYPE_CHECKING:
    from qdchar.tags.formats.delay_histogram import CurveChoice


@click.command()
@click.argument("file", type=PATH)
@click.option("--delay", "delay_s", type=DELAY_s, help="Electronic delay of the zero peak [s].")
@click.option("--period", "period_s", type=DURATION_s, help="Pulse period [s].")
@channels_option
@click.option("--window", "window_s", type=DURATION_s, help="Half width of a peak's window [s].")
@click.option(
    "--range", "range_s", type=DURATION_s, help="Delays to each side of the zero peak [s]."
)
@histogram_options
@figure_option
@as_json
def hbt(
    file: Path,
    delay_s: float | None,
    period_s: float | None,
    channels: tuple[int, int] | None,
    window_s: float | None,
    range_s: float | None,
    choice: CurveChoice,
    figure: Path | None,
    json_line: bool,
) -> int:
    """g2(0) from time tags (PTU, quTAG, HDF5) or a histogram.

    Delay and period are measured unless given, and reported.
    """
    from qdchar.analysis import hbt as analysis

    result = analysis.analyse_file(
        file,
        delay_s=delay_s,
        period_s=period_s,
        channels=channels,
        window_s=window_s,
        range_s=range_s,
        choice=choice,
    )
    return show(result, figure, json_line)
