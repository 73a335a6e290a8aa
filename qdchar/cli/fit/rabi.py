"""``qdchar fit rabi``: pi power and damping."""

from __future__ import annotations

from pathlib import Path

import click

from .._options import PATH, as_json
from ._options import figure_option, power_scan_options
from ._print import show


@click.command()
@click.argument("file", type=PATH)
@power_scan_options
@figure_option
@as_json
def rabi(
    file: Path,
    power_scan: dict[str, object],
    figure: Path | None,
    json_line: bool,
) -> int:
    """Pi power and damping from a CSV file with power_W, clicks_a, clicks_b, dwell_s."""
    from qdchar.analysis import rabi as analysis

    result = analysis.analyse_file(file, **power_scan)
    return show(result, figure, json_line)
