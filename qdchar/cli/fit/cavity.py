"""``qdchar fit cavity``: the cavity's resonance."""

from __future__ import annotations

from pathlib import Path

import click

from .._options import PATH, Within, as_json
from ._options import clock_option, dead_pulses_option, figure_option
from ._print import show


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--wavelength",
    "wavelength_m",
    type=Within(min=1e-9, max=1.0),
    default=884.5e-9,
    show_default=True,
)
@clock_option
@dead_pulses_option
@figure_option
@as_json
def cavity(
    file: Path,
    wavelength_m: float,
    clock_Hz: float,
    dead_pulses: float,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Cavity resonance from a CSV file with voltage_V, clicks_a, clicks_b, dwell_s."""
    from qdchar.analysis import cavity as analysis

    result = analysis.analyse_file(
        file, wavelength_m=wavelength_m, clock_rate_Hz=clock_Hz, dead_pulses=dead_pulses
    )
    return show(result, figure, json_line)
