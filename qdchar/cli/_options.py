"""Options that several verbs share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from qdchar.errors import UsageError

F = TypeVar("F", bound=Callable[..., object])

PATH = click.Path(path_type=Path)


class Finite(click.types.FloatParamType):
    """A number; nan and inf, which click takes for numbers, are refused."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class Within(click.FloatRange, Finite):
    """A number within bounds; nan, which is beyond no bound, is refused."""


DELAY_s = Within(min=-1.0, max=1.0)
"""A delay between detectors [s]: longer ones leave the 64 bits in which picoseconds are counted."""
DURATION_s = Within(min=1e-13, max=1.0)
"""A period, a window or a range of delays [s], for the same reason."""

station_option = click.option(
    "--station",
    "station_file",
    type=PATH,
    help="The lab's instruments (TOML); the simulated lab where not given.",
)
recipe_option = click.option(
    "--recipe",
    "recipe_name",
    metavar="NAME|FILE",
    help="Settings of the measurements and limits of the verdict: quick, pre-qkd, full, or one's "
    "own (TOML). What full does where not given.",
)
fault_option = click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[@MEASUREMENT[+50%]]",
    help="Break the simulated lab: from its start, from the start of a measurement, or within its "
    "first recording of tags. May be repeated; `list` prints all faults.",
)
ideal_option = click.option(
    "--ideal",
    is_flag=True,
    help="A simulated lab without healthy imperfections, as losses of the light path; `--set "
    "imperfections.NAME=X` changes one.",
)
dry_run_option = click.option(
    "--dry-run",
    is_flag=True,
    help="Print every range, every dwell and the expected lab time; open and move nothing.",
)
accounting_option = click.option(
    "--accounting",
    type=click.Choice(["alice", "joint"]),
    help="Which multi-photon pulses are given up, default alice: all that Alice prepares in a "
    "basis; joint: those that Bob also detects in it.",
)


def level_options(command: F) -> F:
    """Add ``--quiet`` and ``--verbose``; the command gets them as `level`."""

    @functools.wraps(command)
    def with_level(*, quiet: bool, verbose: bool, **others: object) -> object:
        if quiet and verbose:
            raise UsageError("--quiet and --verbose exclude each other; give one of them")
        level = "quiet" if quiet else "verbose" if verbose else "normal"
        return command(level=level, **others)

    decorated = click.option(
        "--verbose", "-v", is_flag=True, help="Show settings, raw files and times, too."
    )(with_level)
    decorated = click.option(
        "--quiet", "-q", is_flag=True, help="Show problems only; run.log of the run holds all."
    )(decorated)
    return cast(F, decorated)


as_json = click.option(
    "--json", "json_line", is_flag=True, help="End with the result as one line of JSON."
)
