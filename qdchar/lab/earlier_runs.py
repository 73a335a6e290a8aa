"""Quantities that earlier runs of a station found, for a measurement that is made alone."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from qdchar.errors import RecordError
from qdchar.estimate import Estimate

from .run import read_steps
from .station_file import StationFile


def known_quantities(
    runs: Path, station: StationFile, valid_for: timedelta
) -> dict[str, tuple[Estimate, str]]:
    """Return what the runs of a station found within the time for which a record is valid.

    Parameters
    ----------
    runs
        Folder of run folders.
    station
        A run belongs to it if the station file kept in its folder names the same station and
        source.

    Returns
    -------
    dict of str to (Estimate, str)
        Name of the quantity to its newest estimate and the name of the run folder. Results of a
        step with problems are not used.
    """
    found: dict[str, tuple[Estimate, str]] = {}
    for folder in _newest_first(runs, station, datetime.now(UTC) - valid_for):
        try:
            steps = read_steps(folder)
        except RecordError:
            continue  # it ended before its first result
        for step in reversed(steps):
            if not step.result.problems:
                for estimate in step.result.estimates:
                    found.setdefault(estimate.name, (estimate, folder.name))
    return found


def _newest_first(runs: Path, station: StationFile, oldest: datetime) -> Iterator[Path]:
    started = []
    for log in runs.glob("*/run.jsonl"):
        try:
            text = (log.parent / "station.toml").read_text(encoding="utf-8")
            theirs = tomllib.loads(text)
            with log.open(encoding="utf-8") as lines:
                time = datetime.fromtimestamp(json.loads(next(lines))["doc"]["time"], UTC)
        except (OSError, ValueError, KeyError, TypeError, StopIteration):
            continue  # not a run of any station
        same = (theirs.get("name"), theirs.get("source")) == (station.name, station.source)
        if same and time >= oldest:
            started.append((time, log.parent))
    yield from (folder for _, folder in sorted(started, reverse=True))
