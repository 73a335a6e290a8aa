"""``qdchar fit lifetime``: the lifetime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.errors import UsageError

from .._options import PATH, DURATION_s, Within, as_json
from ._from_run import by_hand, inputs_from_run, note, recording
from ._options import CHANNEL, figure_option, given, histogram_options
from ._print import show

if TYPE_CHECKING:
    from qdchar.fit import Result
    from qdchar.lab.run_inputs import RunInputs
    from qdchar.tags.formats.delay_histogram import CurveChoice

_LEAST_U = 1e-6
"""Relative; a smaller one is lost in the rounding of the fit."""


@click.command()
@click.argument("file", type=PATH)
@click.option("--response", type=PATH, help="Measured instrument response, in the same form.")
@click.option(
    "--response-u",
    "response_u_rel",
    type=Within(min=0, max=0.5),
    default=0.02,
    show_default=True,
    help="Relative u of the response's width.",
)
@click.option(
    "--channel",
    type=CHANNEL,
    help="Detector channel; the one with most clicks if not given.",
)
@click.option("--sync-channel", type=CHANNEL, help="Channel of the pulse clock.")
@click.option("--sync-divider", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--period", "period_s", type=DURATION_s, help="Pulse period [s].")
@click.option(
    "--response-column",
    help="Column or curve of the response, in the response's file or in FILE itself.",
)
@histogram_options
@figure_option
@as_json
def lifetime(
    file: Path,
    response: Path | None,
    response_u_rel: float,
    channel: int | None,
    sync_channel: int | None,
    sync_divider: int,
    period_s: float | None,
    response_column: str | None,
    choice: CurveChoice,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Lifetime from time tags (PTU, quTAG, HDF5) or a decay histogram.

    A recording of a run is analysed as the run did, with the run's recording of the laser, unless
    channel, clock or period are given.
    """
    from qdchar.analysis import lifetime as analysis

    if 0.0 < response_u_rel < _LEAST_U:
        raise UsageError(f"--response-u {response_u_rel:g}: give 0, or at least {_LEAST_U:g}")
    width = given("--response-u", "response_width", (1.0, response_u_rel))
    inputs = inputs_from_run(file, {"response_width": width if by_hand("response_u_rel") else None})
    by_channel = by_hand("channel", "sync_channel", "sync_divider", "period_s", "response_column")
    if inputs is not None and not by_channel:
        result_of_run = _of_run(file, inputs, response)
        if result_of_run is not None:
            return show(result_of_run, figure, json_line, inputs)
    result = analysis.analyse_file(
        file,
        response=response,
        response_u_rel=response_u_rel,
        channel=channel,
        sync_channel=sync_channel,
        sync_divider=sync_divider,
        period_s=period_s,
        choice=choice,
        response_column=response_column,
    )
    return show(result, figure, json_line)


def _of_run(file: Path, inputs: RunInputs, response: Path | None) -> Result | None:
    """Analyse a recording as the run did; None where there is no laser beside it."""
    from qdchar.lab.measurements import lifetime as measurement
    from qdchar.lab.measurements.off_resonance import correction_again

    if response is None and not file.name.startswith("lifetime_emission"):
        return None
    if response is None:
        response = inputs.beside(file, file.name.replace("emission", "response"))
        note(f"response of the detectors {response}")
    emission, laser = recording(file), recording(response)
    if emission is None or laser is None:
        return None
    correction = correction_again(inputs, (file.name, emission.duration_s))
    if correction is None:
        note("no correction to the cavity's resonance, because no re-locks were kept for this file")
    return measurement.analyse(inputs, emission, laser, correction)
