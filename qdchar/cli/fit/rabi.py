"""``qdchar fit rabi``: pi power and damping."""

from __future__ import annotations

from pathlib import Path

import click

from .._options import PATH, as_json
from ._from_run import by_hand, settings_of_scan
from ._options import PowerScanOptions, figure_option, power_scan_options
from ._print import show


@click.command()
@click.argument("file", type=PATH)
@power_scan_options
@figure_option
@as_json
def rabi(
    file: Path,
    power_scan: PowerScanOptions,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Pi power and damping from a CSV file with power_W, clicks_a, clicks_b, dwell_s.

    What is not given is taken from the run folder in which the file lies, if it lies in one.
    """
    from qdchar.analysis import rabi as analysis
    from qdchar.raw_data import read_scan

    inputs = power_scan.inputs(file)
    if inputs is None:
        return show(analysis.analyse_file(file, **power_scan.arguments()), figure, json_line)
    from qdchar.lab.measurements import rabi as measurement
    from qdchar.protocols.rabi import RabiSettings

    scan = read_scan(file, "power_W")
    settings = settings_of_scan(scan, RabiSettings)
    if by_hand("noise"):
        settings = settings.model_copy(update={"reading_u_rel": power_scan.noise, "readings": 1})
    return show(measurement.analyse(inputs, scan, settings), figure, json_line, inputs)
