"""``qdchar fit cavity``: the cavity's resonance."""

from __future__ import annotations

from pathlib import Path

import click

from .._options import PATH, Within, as_json
from ._from_run import by_hand, inputs_from_run, note, plain
from ._options import clock_option, dead_pulses_by_hand, dead_pulses_option, figure_option
from ._print import show

_TUNING = ("cavity_survey.csv", "cavity_fine.csv")
"""The scans of a run's cavity tuning."""


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
    """Cavity resonance from a CSV file with voltage_V, clicks_a, clicks_b, dwell_s.

    A scan of a run's cavity tuning is analysed together with the tuning's other scan, and what is
    not given is taken from the run folder.
    """
    from qdchar.analysis import cavity as analysis
    from qdchar.raw_data import read_scan

    inputs = inputs_from_run(
        file,
        {"clock_rate": plain("clock_rate", clock_Hz) if by_hand("clock_Hz") else None},
        dead_pulses_by_hand(dead_pulses),
    )
    if inputs is not None and file.name in _TUNING:
        from qdchar.lab.measurements import cavity as measurement

        survey, fine = (read_scan(inputs.beside(file, name), "voltage_V") for name in _TUNING)
        note(f"{' and '.join(_TUNING)} of {file.parent}, analysed together")
        wanted_m = wavelength_m if by_hand("wavelength_m") else None
        return show(measurement.analyse(inputs, survey, fine, wanted_m), figure, json_line, inputs)
    if inputs is not None:
        wavelength_m = wavelength_m if by_hand("wavelength_m") else inputs.wavelength_m
        clock_Hz, dead_pulses = inputs.clock_rate_Hz(), inputs.dead_pulses()
    result = analysis.analyse_file(
        file, wavelength_m=wavelength_m, clock_rate_Hz=clock_Hz, dead_pulses=dead_pulses
    )
    return show(result, figure, json_line, inputs)
