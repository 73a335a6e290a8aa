"""``qdchar reprocess FILES...``: one analysis over an archive."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from qdchar.errors import InconclusiveError, RecordError

from ._options import as_json
from ._outputs import refuse_output, writing_output


def fit_file(analysis: str, file: Path) -> dict[str, Any]:
    """Make one analysis of one file; imported by the workers."""
    from ._quantities import quantities

    try:
        result = import_module(f"qdchar.analysis.{analysis}").analyse_file(file)
    except InconclusiveError as error:
        return {"quantities": {}, "problems": [str(error)]}
    return {"quantities": quantities(result), "problems": list(result.problems)}


def count_clicks(file: Path) -> dict[str, Any]:
    """Count the clicks of one file; imported by the workers."""
    from qdchar.tags import open_tags
    from qdchar.tags.summary import summarise

    summary = summarise(open_tags(file))
    return {
        "clicks": {str(channel): clicks for channel, clicks in summary.clicks.items()},
        "duration_s": summary.duration_s,
        "problems": [],
        "warnings": list(summary.warnings),
    }


ANALYSES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "hbt": partial(fit_file, "hbt"),
    "lifetime": partial(fit_file, "lifetime"),
    "info": count_clicks,
}


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--analysis", type=click.Choice(list(ANALYSES)), default="hbt", show_default=True)
@click.option(
    "--executor",
    default="processes",
    show_default=True,
    help="serial, processes, or dask://HOST:PORT of a running scheduler.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Write each file's result here as it comes, one line of JSON a file.",
)
@as_json
def reprocess(
    files: tuple[Path, ...], analysis: str, executor: str, out: Path | None, json_line: bool
) -> int:
    """Run one analysis over all FILES; a file that fails is named, and the rest finished.

    Ends with exit code 30 if any file failed, else with 11 if any result has problems.
    """
    from qdchar.tags.archive import map_files, open_executor

    done: list[dict[str, Any]] = []
    sink = None
    if out is not None:
        refuse_output("--out", out, new=True)
        with writing_output("--out", out):
            sink = out.open("x")
    try:
        with open_executor(executor) as pool:
            for number, result in enumerate(map_files(ANALYSES[analysis], files, pool), start=1):
                line = {"file": str(result.file), **(result.value or {})}
                if result.error:
                    line["error"] = result.error
                done.append(line)
                if sink is not None:
                    sink.write(json.dumps(line) + "\n")
                    sink.flush()
                what = f"FAILED: {result.error}" if result.error else _short(line)
                click.echo(f"[{number}/{len(files)}] {result.file}: {what}")
    finally:
        if sink is not None:
            sink.close()
    failed = sum("error" in line for line in done)
    with_problems = sum(bool(line.get("problems")) for line in done)
    click.echo(
        f"{len(done) - failed} of {len(files)} files analysed, {with_problems} of them with "
        f"problems, {failed} failed"
    )
    code = InconclusiveError.exit_code if with_problems else 0
    if failed:
        code = RecordError.exit_code
    if json_line:
        done.sort(key=lambda line: str(line["file"]))
        counts = {"exit_code": code, "failed": failed, "with_problems": with_problems}
        click.echo(json.dumps({**counts, "files": done}))
    return code


def _short(line: dict[str, Any]) -> str:
    if "clicks" in line:
        return f"{sum(line['clicks'].values()):,} clicks in {line['duration_s']:.3f} s"
    from qdchar.notation import text
    from qdchar.record import RecordedQuantity

    estimates = (RecordedQuantity(**q).estimate(name) for name, q in line["quantities"].items())
    found = [f"{e.quantity.words} {text(e)}" for e in estimates]
    return ", ".join([*found, *(f"PROBLEM: {problem}" for problem in line["problems"])])
