"""``qdchar fit etalon``: the linewidth."""

from __future__ import annotations

from pathlib import Path

import click

from qdchar.certificates import ASSUMED

from .._options import PATH, as_json
from ._options import clock_option, dark_option, dead_pulses_option, figure_option, given
from ._print import show


@click.command()
@click.argument("file", type=PATH)
@click.option("--narrow", type=PATH, help="Scan of the narrow laser (CSV).")
@click.option(
    "--mode",
    type=(float, float),
    help="Etalon's width for the narrow laser over that for the source, and its u; otherwise "
    f"{ASSUMED['etalon_mode'].value:g} {ASSUMED['etalon_mode'].u:g}.",
)
@click.option("--kappa", type=(float, float), help="Etalon's width and its u [Hz], instead.")
@click.option(
    "--fsr", type=(float, float), required=True, help="Free spectral range and its u [Hz]."
)
@clock_option
@dead_pulses_option
@click.option(
    "--dead-time", type=(float, float), default=(0.0, 0.0), help="Dead time and its u [s]."
)
@dark_option
@figure_option
@as_json
def etalon(
    file: Path,
    narrow: Path | None,
    mode: tuple[float, float] | None,
    kappa: tuple[float, float] | None,
    fsr: tuple[float, float],
    clock_Hz: float,
    dead_pulses: float,
    dead_time: tuple[float, float],
    dark: float,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Linewidth from CSV scans with voltage_V, clicks_a, clicks_b, dwell_s."""
    from qdchar.analysis import etalon as analysis

    if mode is None and narrow is not None:
        mode = ASSUMED["etalon_mode"].value, ASSUMED["etalon_mode"].u
    result = analysis.analyse_file(
        file,
        narrow=narrow,
        mode=None if mode is None else given("--mode", "etalon_mode", mode),
        kappa=None if kappa is None else given("--kappa", "etalon_fwhm", kappa),
        fsr=given("--fsr", "etalon_fsr", fsr),
        clock_rate_Hz=clock_Hz,
        dead_pulses=dead_pulses,
        dead_time=given("--dead-time", "dead_time", dead_time),
        dark_count_rate_Hz=dark,
    )
    return show(result, figure, json_line)
