"""``qdchar fit NAME FILE``: one analysis on a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from qdchar.errors import InconclusiveError, RecordError

from ._options import as_json

if TYPE_CHECKING:
    from qdchar.estimate import Estimate, Uncertain
    from qdchar.fit import Result

_PATH = click.Path(path_type=Path)
_figure = click.option("--figure", type=_PATH, help="Draw data, fit and residuals to this file.")
_clock = click.option(
    "--clock",
    "clock_Hz",
    type=click.FloatRange(min=0, min_open=True),
    default=76.13e6,
    show_default=True,
    help="Pulse rate [Hz].",
)
_dead_pulses = click.option(
    "--lost-pulses",
    "dead_pulses",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="Pulses that a detector loses after a click (over the on-fraction of a blinking source).",
)
_gain = click.option(
    "--gain", type=(float, float), default=(1.0, 0.0), help="Power meter's gain and its u."
)
_noise = click.option(
    "--noise", type=float, default=0.005, show_default=True, help="Of one power reading."
)
_dark = click.option(
    "--dark", type=float, default=0.0, show_default=True, help="Dark count rate [Hz]."
)


@click.group()
def fit() -> None:
    """Analyse one file: its figures with uncertainties, and a drawing."""


@fit.command()
@click.argument("file", type=_PATH)
@click.option("--delay", "delay_s", type=float, help="Electronic delay of the zero peak [s].")
@click.option("--period", "period_s", type=float, help="Pulse period [s].")
@click.option("--channels", type=(int, int), help="Channels of the two detectors.")
@click.option("--window", "window_s", type=float, help="Half width of a peak's window [s].")
@_figure
@as_json
def hbt(
    file: Path,
    delay_s: float | None,
    period_s: float | None,
    channels: tuple[int, int] | None,
    window_s: float | None,
    figure: Path | None,
    json_line: bool,
) -> int:
    """g2(0) from time tags (PTU, quTAG, HDF5) or a histogram.

    Delay and period are measured unless given, and reported.
    """
    from qdchar.analysis import hbt as analysis

    result = analysis.analyse_file(
        file, delay_s=delay_s, period_s=period_s, channels=channels, window_s=window_s
    )
    return _show(result, figure, json_line)


@fit.command("hbt-cw")
@click.argument("file", type=_PATH)
@click.option(
    "--response-fwhm",
    type=(click.FloatRange(min=0), click.FloatRange(min=0)),
    multiple=True,
    help="FWHM of a detector's response, tagger included, and its u [s]; twice if A and B differ.",
)
@click.option("--delay", "delay_s", type=float, help="Electronic delay of the dip [s].")
@click.option("--channels", type=(int, int), help="Channels of the two detectors.")
@click.option("--bin", "bin_s", type=float, help="Bin width for time tags [s].")
@click.option("--range", "range_s", type=float, help="Largest delay for time tags [s].")
@_figure
@as_json
def hbt_cw(
    file: Path,
    response_fwhm: tuple[tuple[float, float], ...],
    delay_s: float | None,
    channels: tuple[int, int] | None,
    bin_s: float | None,
    range_s: float | None,
    figure: Path | None,
    json_line: bool,
) -> int:
    """g2(0) under continuous excitation, from time tags or a histogram of all pairs.

    Without the response the dip is taken as it is.
    """
    from qdchar.analysis import hbt_cw as analysis

    result = analysis.analyse_file(
        file,
        response_fwhm=[
            _uncertain(f"response_fwhm {k}", *given) for k, given in enumerate(response_fwhm)
        ],
        delay_s=delay_s,
        channels=channels,
        bin_s=bin_s,
        range_s=range_s,
    )
    return _show(result, figure, json_line)


@fit.command()
@click.argument("file", type=_PATH)
@click.option("--response", type=_PATH, help="Measured instrument response, in the same form.")
@click.option(
    "--response-u",
    "response_u_rel",
    type=click.FloatRange(min=0, max=0.5),
    default=0.02,
    show_default=True,
    help="Relative u of the response's width.",
)
@click.option(
    "--channel", type=int, help="Detector channel; the one with most clicks if not given."
)
@click.option("--sync-channel", type=int, help="Channel of the pulse clock.")
@click.option("--sync-divider", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--period", "period_s", type=float, help="Pulse period [s].")
@_figure
@as_json
def lifetime(
    file: Path,
    response: Path | None,
    response_u_rel: float,
    channel: int | None,
    sync_channel: int | None,
    sync_divider: int,
    period_s: float | None,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Lifetime from time tags (PTU, quTAG, HDF5) or a decay histogram."""
    from qdchar.analysis import lifetime as analysis

    result = analysis.analyse_file(
        file,
        response=response,
        response_u_rel=response_u_rel,
        channel=channel,
        sync_channel=sync_channel,
        sync_divider=sync_divider,
        period_s=period_s,
    )
    return _show(result, figure, json_line)


@fit.command()
@click.argument("file", type=_PATH)
@_clock
@_dead_pulses
@_gain
@_noise
@_dark
@_figure
@as_json
def rabi(
    file: Path,
    clock_Hz: float,
    dead_pulses: float,
    gain: tuple[float, float],
    noise: float,
    dark: float,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Pi power and damping from a CSV file with power_W, clicks_a, clicks_b, dwell_s."""
    from qdchar.analysis import rabi as analysis

    result = analysis.analyse_file(
        file,
        clock_rate_Hz=clock_Hz,
        dead_pulses=dead_pulses,
        power_gain=_given("power_meter_gain", *gain),
        reading_u_rel=noise,
        dark_count_rate_Hz=dark,
    )
    return _show(result, figure, json_line)


@fit.command()
@click.argument("file", type=_PATH)
@click.option("--narrow", type=_PATH, help="Scan of the narrow laser (CSV).")
@click.option("--kappa", type=(float, float), help="Etalon's width and its u [Hz], instead.")
@click.option(
    "--fsr", type=(float, float), required=True, help="Free spectral range and its u [Hz]."
)
@_clock
@_dead_pulses
@click.option(
    "--dead-time", type=(float, float), default=(0.0, 0.0), help="Dead time and its u [s]."
)
@_dark
@_figure
@as_json
def etalon(
    file: Path,
    narrow: Path | None,
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

    result = analysis.analyse_file(
        file,
        narrow=narrow,
        kappa=None if kappa is None else _given("etalon_fwhm", *kappa),
        fsr=_given("etalon_fsr", *fsr),
        clock_rate_Hz=clock_Hz,
        dead_pulses=dead_pulses,
        dead_time=_given("dead_time", *dead_time),
        dark_count_rate_Hz=dark,
    )
    return _show(result, figure, json_line)


@fit.command()
@click.argument("file", type=_PATH)
@click.option("--wavelength", "wavelength_m", type=float, default=884.5e-9, show_default=True)
@_clock
@_dead_pulses
@_figure
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
    return _show(result, figure, json_line)


@fit.command()
@click.argument("file", type=_PATH)
@click.option("--wavelength", "wavelength_m", type=float, help="At one pixel, in vacuum [m].")
@click.option("--at-pixel", type=float, help="Which pixel that is.")
@click.option(
    "--dispersion",
    type=(float, float),
    help="Wavelength per pixel, and its u [m]; may be negative.",
)
@_figure
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
        dispersion=None if dispersion is None else _uncertain("dispersion", *dispersion),
        wavelength_m=wavelength_m,
        at_point=at_pixel,
    )
    return _show(result, figure, json_line)


@fit.command()
@click.argument("file", type=_PATH)
@click.option(
    "--pumping",
    type=click.Choice(["pulsed", "continuous"]),
    default="pulsed",
    show_default=True,
    help="1 - exp(-P/P_sat), or P/(P + P_sat).",
)
@_clock
@_dead_pulses
@_gain
@_noise
@_dark
@_figure
@as_json
def saturation(
    file: Path,
    pumping: Literal["pulsed", "continuous"],
    clock_Hz: float,
    dead_pulses: float,
    gain: tuple[float, float],
    noise: float,
    dark: float,
    figure: Path | None,
    json_line: bool,
) -> int:
    """Saturation power under non-resonant pumping, from a CSV file as for `rabi`."""
    from qdchar.analysis import saturation as analysis

    result = analysis.analyse_file(
        file,
        clock_rate_Hz=clock_Hz,
        dead_pulses=dead_pulses,
        power_gain=_given("power_meter_gain", *gain),
        reading_u_rel=noise,
        dark_count_rate_Hz=dark,
        pumping=pumping,
    )
    return _show(result, figure, json_line)


def _uncertain(name: str, value: float, u: float) -> Uncertain:
    from qdchar.estimate import Contribution, Uncertain

    return Uncertain(value, (Contribution(f"calibration {name}", u, "B"),) if u else ())


def _given(name: str, value: float, u: float) -> Estimate:
    from qdchar.estimate import Estimate

    budget = _uncertain(name, value, u).budget
    return Estimate(name=name, value=value, method="given on the command line", budget=budget)


def _show(result: Result, figure: Path | None, json_line: bool) -> int:
    import numpy as np

    from qdchar.fit import runs_p_value
    from qdchar.notation import text

    from ._quantities import quantities

    for e in result.estimates:
        interval = ""
        if e.interval_95 is not None:
            interval = f"   95 %: [{e.interval_95[0]:.4g}, {e.interval_95[1]:.4g}]"
        click.echo(f"{e.name:<28} {text(e):<24}{interval}")
        click.echo(f"    {e.definition}; {e.method}")
    for f in result.fits:
        click.echo(f"fit: {f.model}, {f.statistic} {f.minimum:.1f}, {f.dof} degrees of freedom")
        for curve in f.curves:
            p = runs_p_value(curve.residuals[np.argsort(curve.x, kind="stable")])
            if p < 1.0:  # 1 is also the answer to too few residuals
                click.echo(f"    {curve.title}: runs test of the residuals p = {p:.2g}")
    for problem in result.problems:
        click.echo(f"PROBLEM: {problem}")
    if figure is not None:
        _draw(result, figure)
    code = InconclusiveError.exit_code if result.problems else 0
    if json_line:
        line = {
            "exit_code": code,
            "problems": result.problems,
            "quantities": quantities(result),
        }
        click.echo(json.dumps(line))
    return code


def _draw(result: Result, file: Path) -> None:
    """Draw every curve of a result: one file, or one each with a number behind the name."""
    from qdchar.report.figures import draw_curve

    curves = [curve for f in result.fits for curve in f.curves]
    for k, curve in enumerate(curves, start=1):
        target = file if len(curves) == 1 else file.with_stem(f"{file.stem}_{k}")
        try:
            draw_curve(curve).savefig(target)
        except (OSError, ValueError) as error:
            raise RecordError(f"{target}: cannot be drawn: {error}") from None
        click.echo(f"figure: {target}")
