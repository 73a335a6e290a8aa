"""``qdchar fit saturation``: the saturation power."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from .._options import PATH, as_json
from ._options import figure_option, power_scan_options
from ._print import show


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--pumping",
    type=click.Choice(["pulsed", "continuous"]),
    default="pulsed",
    show_default=True,
    help="1 - exp(-P/P_sat), or P/(P + P_sat).",
)
@power_scan_options
@figure_option
@as_json
def saturation(
    file: Path,
    pumping: Literal["pulsed", "continuous"],
    power_scan: dict[str, object],
    figure: Path | None,
    json_line: bool,
) -> int:
    """Saturation power under non-resonant pumping, from a CSV file as for `rabi`."""
    from qdchar.analysis import saturation as analysis

    result = analysis.analyse_file(file, pumping=pumping, **power_scan)
    return show(result, figure, json_line)
