"""``qdchar fit saturation``: the saturation power."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from .._options import PATH, as_json
from ._from_run import by_hand, settings_of_scan
from ._options import PowerScanOptions, figure_option, power_scan_options
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
    power_scan: PowerScanOptions,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Saturation power under non-resonant pumping, from a CSV file as for `rabi`.

    What is not given is taken from the run folder in which the file lies, if it lies in one.
    """
    from qdchar.analysis import saturation as analysis
    from qdchar.raw_data import read_scan

    inputs = power_scan.inputs(file)
    if inputs is None:
        arguments = power_scan.arguments()
        result = analysis.analyse_file(file, pumping=pumping, **arguments)
        return show(result, figure, json_line)
    from qdchar.lab.measurements import saturation as measurement
    from qdchar.protocols.saturation import SaturationSettings

    scan = read_scan(file, "power_W")
    settings = settings_of_scan(scan, SaturationSettings)
    if by_hand("noise"):
        settings = settings.model_copy(update={"reading_u_rel": power_scan.noise, "readings": 1})
    if by_hand("pumping"):
        settings = settings.model_copy(update={"pumping": pumping})
    return show(measurement.analyse(inputs, scan, settings), figure, json_line, inputs)
