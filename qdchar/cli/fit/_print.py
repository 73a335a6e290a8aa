"""The result of an analysis on the terminal, as a drawing and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qdchar.errors import InconclusiveError

from .._outputs import writing_output
from .._print import print_estimates
from ._from_run import inputs_json, say_inputs

if TYPE_CHECKING:
    from qdchar.fit import Result
    from qdchar.lab.run_inputs import RunInputs


def show(
    result: Result, figure: Path | None, json_line: bool, inputs: RunInputs | None = None
) -> int:
    """Print a result and where its inputs are from, draw it if asked to; return the exit code."""
    import numpy as np

    from qdchar.fit import runs_p_value

    from .._quantities import quantities

    say_inputs(inputs)
    print_estimates(result.estimates)
    for f in result.fits:
        click.echo(f"fit: {f.model}, {f.statistic} {f.minimum:.1f}, {f.dof} degrees of freedom")
        for curve in f.curves:
            p = runs_p_value(curve.residuals[np.argsort(curve.residuals_at, kind="stable")])
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
            "inputs": inputs_json(inputs),
        }
        click.echo(json.dumps(line))
    return code


def _draw(result: Result, file: Path) -> None:
    """Draw every curve of a result: one file, or one each with a number behind the name."""
    from qdchar.report.figures import draw_curve

    curves = [curve for f in result.fits for curve in f.curves]
    for k, curve in enumerate(curves, start=1):
        target = file if len(curves) == 1 else file.with_stem(f"{file.stem}_{k}")
        with writing_output("--figure", target):
            draw_curve(curve, result.estimates).savefig(target)
        click.echo(f"figure: {target}")
