"""``qdchar fit hbt``: g2(0) under pulsed excitation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.errors import UsageError

from .._options import PATH, DELAY_s, DURATION_s, Within, as_json
from ._from_run import by_hand, inputs_from_run, note, recording
from ._options import channels_option, figure_option, histogram_options
from ._print import show

if TYPE_CHECKING:
    from qdchar.estimate import Uncertain
    from qdchar.fit import Result
    from qdchar.lab.run_inputs import RunInputs
    from qdchar.tags.formats.delay_histogram import CurveChoice


@click.command()
@click.argument("file", type=PATH)
@click.option("--delay", "delay_s", type=DELAY_s, help="Electronic delay of the zero peak [s].")
@click.option("--period", "period_s", type=DURATION_s, help="Pulse period [s].")
@channels_option
@click.option("--window", "window_s", type=DURATION_s, help="Half width of a peak's window [s].")
@click.option(
    "--range", "range_s", type=DURATION_s, help="Delays to each side of the zero peak [s]."
)
@click.option(
    "--background",
    "background",
    type=(Within(min=0), Within(min=0)),
    help="Clicks that the source does not make, on either detector [Hz]; adds g2_zero_corrected.",
)
@click.option(
    "--background-u",
    "background_u",
    type=(Within(min=0), Within(min=0)),
    help="Standard uncertainties of these rates [Hz]; 0 0 if they are exact.",
)
@histogram_options
@figure_option
@as_json
def hbt(
    file: Path,
    delay_s: float | None,
    period_s: float | None,
    channels: tuple[int, int] | None,
    window_s: float | None,
    range_s: float | None,
    background: tuple[float, float] | None,
    background_u: tuple[float, float] | None,
    choice: CurveChoice,
    figure: Path | None,
    json_line: bool,
) -> int:
    """g2(0) from time tags (PTU, quTAG, HDF5) or a histogram.

    Delay and period are measured unless given, and reported. A recording of a run is analysed as
    the run did, with its dark counts, unless channels, period, window or range are given.
    """
    from qdchar.analysis import hbt as analysis
    from qdchar.estimate import Contribution, Uncertain

    if (background is None) != (background_u is None):
        raise UsageError(
            "--background and --background-u go together: two rates and their standard "
            "uncertainties, 0 0 if they are exact"
        )
    rates = None
    if background is not None and background_u is not None:
        rate_a, rate_b = (
            Uncertain(value, (Contribution(f"background rate {name}", u, "B"),) if u else ())
            for name, value, u in zip("AB", background, background_u, strict=True)
        )
        rates = rate_a, rate_b
    inputs = inputs_from_run(file, {})
    by_areas = by_hand("period_s", "channels", "window_s", "range_s", "column", "curve", "unit")
    if inputs is not None and not by_areas and (result := _of_run(file, inputs, delay_s, rates)):
        return show(result, figure, json_line, inputs)
    result = analysis.analyse_file(
        file,
        delay_s=delay_s,
        period_s=period_s,
        channels=channels,
        window_s=window_s,
        range_s=range_s,
        background_rates=rates,
        choice=choice,
    )
    return show(result, figure, json_line)


def _of_run(
    file: Path,
    inputs: RunInputs,
    delay_s: float | None,
    rates: tuple[Uncertain, Uncertain] | None,
) -> Result | None:
    """Analyse a recording as the run did; None where it is no recording of qdchar."""
    from qdchar.lab.measurements import hbt as measurement
    from qdchar.lab.measurements.off_resonance import correction_again

    run = recording(file)
    if run is None:
        return None
    behind = run.about.path == "after"
    recorded = file.name, run.duration_s
    correction = correction_again(inputs, recorded, behind_etalon=behind)
    if correction is None:
        note("no correction to the cavity's resonance, because no re-locks were kept for this file")
    name, plane = measurement.AFTER if behind else measurement.BEFORE
    return measurement.analyse(inputs, run, name, plane, correction, delay_s, rates)
