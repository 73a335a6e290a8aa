"""``qdchar fit hbt-cw``: g2(0) under continuous excitation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._options import PATH, DELAY_s, DURATION_s, Within, as_json
from ._options import channels_option, figure_option, given_uncertain, histogram_options
from ._print import show

if TYPE_CHECKING:
    from qdchar.tags.formats.delay_histogram import CurveChoice


@click.command("hbt-cw")
@click.argument("file", type=PATH)
@click.option(
    "--response-fwhm",
    type=(Within(min=0), Within(min=0)),
    multiple=True,
    help="FWHM of a detector's response, tagger included, and its u [s]; twice if A and B differ.",
)
@click.option("--delay", "delay_s", type=DELAY_s, help="Electronic delay of the dip [s].")
@channels_option
@click.option("--bin", "bin_s", type=DURATION_s, help="Bin width for time tags [s].")
@click.option("--range", "range_s", type=DURATION_s, help="Largest delay for time tags [s].")
@histogram_options
@figure_option
@as_json
def hbt_cw(
    file: Path,
    response_fwhm: tuple[tuple[float, float], ...],
    delay_s: float | None,
    channels: tuple[int, int] | None,
    bin_s: float | None,
    range_s: float | None,
    choice: CurveChoice,
    figure: Path | None,
    json_line: bool,
) -> int:
    """g2(0) under continuous excitation, from time tags or a histogram of all pairs.

    Without the response the dip is taken as it is.
    """
    from qdchar.analysis import hbt_cw as analysis

    result = analysis.analyse_file(
        file,
        response_fwhm=[
            given_uncertain("--response-fwhm", f"response_fwhm {k}", value_and_u)
            for k, value_and_u in enumerate(response_fwhm)
        ],
        delay_s=delay_s,
        channels=channels,
        bin_s=bin_s,
        range_s=range_s,
        choice=choice,
    )
    return show(result, figure, json_line)
