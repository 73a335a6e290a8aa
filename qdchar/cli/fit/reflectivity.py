"""``qdchar fit reflectivity``: a cavity's quality factor."""

from __future__ import annotations

from pathlib import Path

import click

from .._options import PATH, Finite, Within, as_json
from ._options import figure_option, given_uncertain
from ._print import show


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--wavelength",
    "wavelength_m",
    type=Within(min=1e-9, max=1.0),
    help="At one pixel, in vacuum [m].",
)
@click.option("--at-pixel", type=Finite(), help="Which pixel that is.")
@click.option(
    "--dispersion",
    type=(float, float),
    help="Wavelength per pixel, and its u [m]; may be negative.",
)
@figure_option
@as_json
def reflectivity(
    file: Path,
    wavelength_m: float | None,
    at_pixel: float | None,
    dispersion: tuple[float, float] | None,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Quality factor of a cavity from the dip in its reflectivity.

    Two columns: pixel and counts, with the axis as options; or wavelength_nm and counts, so named
    in the first line.
    """
    from qdchar.analysis import reflectivity as analysis

    result = analysis.analyse_file(
        file,
        dispersion=(
            None
            if dispersion is None
            else given_uncertain("--dispersion", "dispersion", dispersion)
        ),
        wavelength_m=wavelength_m,
        at_point=at_pixel,
    )
    return show(result, figure, json_line)
