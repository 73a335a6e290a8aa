"""``qdchar fit etalon``: the linewidth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.certificates import ASSUMED
from qdchar.errors import UsageError

from .._options import PATH, as_json
from ._from_run import by_hand, inputs_from_run, note, plain
from ._options import (
    clock_option,
    dark_option,
    dead_pulses_by_hand,
    dead_pulses_option,
    figure_option,
    given,
)
from ._print import show

if TYPE_CHECKING:
    from qdchar.estimate import Estimate
    from qdchar.fit import Result
    from qdchar.lab.run_inputs import RunInputs


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
    "--fsr",
    type=(float, float),
    help="Free spectral range and its u [Hz]; needed for a file that is in no run folder.",
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
    fsr: tuple[float, float] | None,
    clock_Hz: float,
    dead_pulses: float,
    dead_time: tuple[float, float],
    dark: float,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Linewidth from CSV scans with voltage_V, clicks_a, clicks_b, dwell_s.

    What is not given is taken from the run folder in which the file lies, if it lies in one: the
    scan of the narrow laser, too.
    """
    from qdchar.analysis import etalon as analysis

    options = {
        "etalon_mode": None if mode is None else given("--mode", "etalon_mode", mode),
        "etalon_fsr": None if fsr is None else given("--fsr", "etalon_fsr", fsr),
        "dead_time": given("--dead-time", "dead_time", dead_time) if by_hand("dead_time") else None,
        "dark_count_rate": plain("dark_count_rate", dark) if by_hand("dark") else None,
        "clock_rate": plain("clock_rate", clock_Hz) if by_hand("clock_Hz") else None,
    }
    width = None if kappa is None else given("--kappa", "etalon_fwhm", kappa)
    inputs = inputs_from_run(file, options, dead_pulses_by_hand(dead_pulses))
    if inputs is not None:
        return show(_of_run(file, inputs, narrow, width), figure, json_line, inputs)
    if fsr is None:
        raise UsageError(
            f"--fsr is needed: {file} lies in no run folder, from whose station file it could be "
            "taken"
        )
    if mode is None and narrow is not None:
        mode = ASSUMED["etalon_mode"].value, ASSUMED["etalon_mode"].u
    result = analysis.analyse_file(
        file,
        narrow=narrow,
        mode=None if mode is None else given("--mode", "etalon_mode", mode),
        kappa=width,
        fsr=given("--fsr", "etalon_fsr", fsr),
        clock_rate_Hz=clock_Hz,
        dead_pulses=dead_pulses,
        dead_time=given("--dead-time", "dead_time", dead_time),
        dark_count_rate_Hz=dark,
    )
    return show(result, figure, json_line)


def _of_run(file: Path, inputs: RunInputs, narrow: Path | None, kappa: Estimate | None) -> Result:
    """Analyse a scan as the run did, apart from what was given by hand."""
    from qdchar.lab.measurements import etalon as measurement
    from qdchar.lab.measurements.off_resonance import correction_again
    from qdchar.raw_data import read_scan

    if narrow is None and kappa is None:
        narrow = inputs.beside(file, "etalon_narrow.csv")
        note(f"scan of the narrow laser {narrow}")
    source = read_scan(file, "voltage_V")
    laser = None if narrow is None else read_scan(narrow, "voltage_V")
    correction = correction_again(inputs, measurement.scanned(source))
    return measurement.analyse(inputs, laser, source, correction, kappa)
