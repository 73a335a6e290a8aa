"""What a calibration was asked for, kept in its run folder so that it can be resumed."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from qdchar import __version__
from qdchar.errors import RecordError, UsageError
from qdchar.files import is_folder, read_text, shown
from qdchar.link import Link

from .measurement import Registry
from .recipe import Recipe
from .run import read_kept
from .simulated_station import simulated_station_text

FILE = "request.json"


class Request(BaseModel):
    """What a calibration was asked for.

    Attributes
    ----------
    station
        Path of the station file; None for the simulated lab.
    seed, settings, faults
        Of the simulated lab.
    take_over
        Path of the earlier run whose quantities are taken over; None for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    qdchar_version: str = __version__
    station: str | None = None
    seed: int = 1
    settings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    take_over: str | None = None

    def files(self, recipe: Recipe, link: Link, registry: Registry) -> dict[str, str]:
        """Return the files that a run folder holds from its beginning, text by name."""
        files = {
            FILE: self.model_dump_json(indent=1) + "\n",
            "recipe.json": recipe.complete(registry).model_dump_json(indent=1) + "\n",
            "link.json": link.model_dump_json(indent=1) + "\n",
        }
        if self.station is not None:
            files["station.toml"] = read_text(Path(self.station))
        else:
            files["station.toml"] = simulated_station_text(self.seed, self.settings)
        return files


def read_request(folder: Path) -> Request:
    """Read what the calibration in a folder was asked for.

    Raises
    ------
    RecordError
        If the folder is not a run, or the file is damaged.
    UsageError
        If it is the run of another command, or of another version.
    """
    if not is_folder(folder):
        raise RecordError(f"{folder}: not a run folder: there is no such folder")
    if not (folder / FILE).exists():
        if (folder / "run.jsonl").exists():
            raise UsageError(
                f"{folder}: holds no {FILE}: it is not a calibration, or one of an older version; "
                "start a new calibration"
            )
        raise RecordError(f"{folder}: not a run folder: it holds neither {FILE} nor run.jsonl")
    request = read_kept(Request, folder / FILE)
    if request.qdchar_version != __version__:
        raise UsageError(
            f"{folder}: was begun by qdchar {request.qdchar_version}, this is {__version__}, and "
            "their results may differ; start a new calibration"
        )
    return request


def refuse_other(what: str, folder: Path, then: Any, now: Any) -> None:
    """Refuse a recipe, link or station that is not that of the run.

    Raises
    ------
    UsageError
        Names every key that differs.
    """
    changes = list(_differences(then, now))
    if changes:
        raise UsageError(
            f"{folder}: the {what} is not that of this run, so that it cannot go on: "
            f"{'; '.join(changes)}. Give the same {what}, or start a new calibration"
        )


def refuse_other_station(folder: Path, station_file: Path) -> None:
    """Refuse a station file that says something else than the copy in the run folder."""
    then = read_text(folder / "station.toml", RecordError)
    now = read_text(station_file)
    try:
        refuse_other("station file", folder, tomllib.loads(then), tomllib.loads(now))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{station_file}: not valid TOML: {error}") from None


def _differences(then: Any, now: Any, where: str = "") -> Iterator[str]:
    """Name the keys at which two tables differ."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            path = f"{where}.{key}" if where else str(key)
            if key not in now:
                yield f"{path} is missing now"
            elif key not in then:
                yield f"{path} is new"
            else:
                yield from _differences(then[key], now[key], path)
    elif then != now:
        yield f"{where} was {shown(then)} and is {shown(now)} now"
