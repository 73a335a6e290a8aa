"""A run: one folder of plain files that holds all data and results of one calibration.

::

    2026-11-23T051207Z_QD7_calibrate_ab12cd/
      run.jsonl        start / descriptor / event / stop lines (the bluesky document vocabulary)
      record.json      the source record, with the verdict and the key rate behind it
      raw/             scans (CSV), tags (HDF5), or the vendor's file untouched
      results/         estimates and fitted curves of each step, for the report
      request.json     what was asked for, for `calibrate --resume`
      station.toml  snapshot_before.json  snapshot_after.json  environment.txt  report.html
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import platform
import re
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from qdchar.errors import RecordError, RunFolderError, UsageError
from qdchar.estimate import Contribution, Estimate
from qdchar.files import (
    PathLike,
    cannot_be_written,
    read_json,
    read_text,
    sha256_of,
    to_disk,
    write_text,
    writing,
)
from qdchar.fit import Curve, Fit, Mark, Result, Series
from qdchar.record import RawFile, current_source, explain

from .station_lock import lock_file

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Step:
    """One step of a run as it is kept in ``results/``.

    Attributes
    ----------
    name, title
        Of the measurement.
    raw
        Its raw files, from the run folder.
    measured
        When it was complete, UTC; None in runs of older versions.
    taken_from
        Name of the run folder that it was taken from; empty if it was measured in this run.
    inputs
        What its analysis was given that no raw file holds, such as how well the cavity was locked.
    """

    name: str
    title: str
    result: Result
    raw: tuple[str, ...]
    measured: datetime | None = None
    taken_from: str = ""
    inputs: tuple[Estimate, ...] = ()


def folder_name(*words: str) -> str:
    """Name a new folder by the time now, some words, and letters that tell two of them apart."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    return "_".join((stamp, *words, secrets.token_hex(3)))


class Run:
    """A run folder that is being written, in a `with`; call `finish` when all went well.

    Parameters
    ----------
    folder
        It exists; `create` makes a new one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times_resumed = 0
        self._attempt = ""
        self._log: IO[str] | None = None
        self._start = ""
        self._events = 0
        self._resumes = ""
        self._status = ("fail", "ended without a verdict")

    @classmethod
    def create(
        cls, parent: Path, source: str, verb: str, files: Mapping[str, str] | None = None
    ) -> Run:
        """Make a new folder under `parent`, named by time, source and verb.

        Parameters
        ----------
        files
            Texts by file name. The folder appears with all of them in it: a run that is killed at
            its very beginning can still be resumed.
        """
        label = re.sub(r"[^A-Za-z0-9.-]+", "-", source).strip("-") or "source"
        folder = parent / folder_name(label, verb)
        new = parent / f".{folder.name}.partial"
        try:
            (new / "raw").mkdir(parents=True)
            (new / "results").mkdir()
            for name, text in (files or {}).items():
                write_text(new / name, text)
            new.rename(folder)
        except OSError as error:
            kind = RunFolderError if cannot_be_written(error) else UsageError
            raise kind(
                f"run folder {folder} cannot be made: {error.strerror}; give another --out"
            ) from None
        return cls(folder)

    @classmethod
    def reopen(cls, folder: Path) -> Run:
        """Go on in the folder of a run that has ended early.

        Raw data go to a folder of their own, ``raw/resumed_1`` at the first time.
        """
        run = cls(folder)
        earlier = [f.name.rpartition("_")[2] for f in (folder / "raw").glob("resumed_*")]
        run.times_resumed = 1 + max((int(n) for n in earlier if n.isdecimal()), default=0)
        run._attempt = f"resumed_{run.times_resumed}"
        numbers = [f.name.partition("_")[0] for f in (folder / "results").glob("*.json*")]
        run._events = max((int(n) for n in numbers if n.isdecimal()), default=0)
        starts = [doc["uid"] for name, doc in read_log(folder) if name == "start"]
        run._resumes = starts[-1] if starts else ""
        return run

    def __enter__(self) -> Self:
        file = self.folder / "run.jsonl"
        with writing(self.folder):
            self._log = file.open("a", encoding="utf-8")
        if not lock_file(self._log):
            self._log.close()
            raise UsageError(
                f"{self.folder}: another process writes this run now; wait until it has ended"
            )
        self._start = str(uuid.uuid4())
        start = {"uid": self._start, "time": time.time(), "folder": self.folder.name}
        if self.times_resumed:
            _cut_broken_line(file)
            with writing(self.raw):
                self.raw.mkdir(parents=True)
            start |= {"resumes": self._resumes, "times_resumed": self.times_resumed}
        self._write("start", start)
        self.keep_text("environment.txt", _environment())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, _trace: object) -> None:
        if kind is not None:
            status = "abort" if not issubclass(kind, Exception) else "fail"
            self._status = (status, f"{kind.__name__}: {error}")
        # Where the disk is full, the error that is under way already says more than the log would.
        with suppress(RunFolderError) if kind is not None else nullcontext(), self._closing():
            self._write_stop()

    @contextmanager
    def _closing(self) -> Iterator[None]:
        """Close the log; a line that did not fit is tried once more on closing, and may fail."""
        try:
            yield
        finally:
            if self._log is not None:
                with writing(Path(self._log.name)):
                    self._log.close()

    def _write_stop(self) -> None:
        exit_status, reason = self._status
        self._write(
            "stop",
            {
                "uid": str(uuid.uuid4()),
                "run_start": self._start,
                "time": time.time(),
                "exit_status": exit_status,
                "reason": reason,
                "num_events": {"step": self._events},
            },
        )

    @property
    def raw(self) -> Path:
        """Folder in which raw data are written now."""
        return self.folder / "raw" / self._attempt

    @contextmanager
    def another_attempt(self, name: str) -> Iterator[None]:
        """Write raw data to a folder of their own: those of the first attempt stay as they are."""
        before = self._attempt
        self._attempt = f"{before}/{name}" if before else name
        self.raw.mkdir(exist_ok=True)
        try:
            yield
        finally:
            self._attempt = before

    def finish(self, reason: str) -> None:
        """Mark the run as complete, with its verdict as the reason."""
        self._status = ("success", reason)

    def keep_text(self, name: str, text: str) -> None:
        """Write a plain file beside the log."""
        write_text(self.folder / name, text)

    def keep_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write a JSON file beside the log."""
        self.keep_text(name, json.dumps(data, indent=1, default=str) + "\n")

    def keep_step(self, step: Step) -> None:
        """Write a step's estimates and curves to ``results/`` and add it to the log."""
        self._events += 1
        order = f"{self._events:02d}"
        data = {
            "name": step.name,
            "title": step.title,
            "raw": step.raw,
            "measured": None if step.measured is None else step.measured.isoformat(),
            "taken_from": step.taken_from,
            "inputs": _plain(step.inputs),
            **_plain(step.result),
        }
        self.keep_json(f"results/{order}_{step.name}.json", data)
        descriptor = str(uuid.uuid4())
        keys = {
            e.name: {"dtype": "number", "shape": [], "source": step.name, "units": e.unit}
            for e in step.result.estimates
        }
        now = time.time()
        self._write(
            "descriptor",
            {
                "uid": descriptor,
                "run_start": self._start,
                "name": step.name,
                "time": now,
                "data_keys": keys,
            },
        )
        values = {e.name: e.value for e in step.result.estimates}
        self._write(
            "event",
            {
                "uid": str(uuid.uuid4()),
                "descriptor": descriptor,
                "seq_num": 1,
                "time": now,
                "data": values,
                "timestamps": dict.fromkeys(values, now),
            },
        )

    def _write(self, name: str, document: Mapping[str, Any]) -> None:
        if self._log is None:
            raise ValueError(f"{self.folder}: the run is not open")
        with writing(Path(self._log.name)):
            self._log.write(json.dumps({"name": name, "doc": document}) + "\n")
            to_disk(self._log)

    def raw_files(self) -> tuple[RawFile, ...]:
        """Hash everything in ``raw/``."""
        found = []
        for file in sorted((self.folder / "raw").rglob("*")):
            if file.is_file():
                name = file.relative_to(self.folder).as_posix()
                found.append(RawFile(file=name, sha256=sha256_of(file)))
        return tuple(found)


def _cut_broken_line(log: Path) -> None:
    """Remove the end of a log whose last line was not written to its end."""
    with writing(log), log.open("r+b") as stream:
        whole = stream.read().rfind(b"\n") + 1
        stream.truncate(whole)
        to_disk(stream)


def read_log(folder: PathLike) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Read the log of a run: name and content of each document, without a line that is broken."""
    folder = Path(folder)
    try:
        lines = read_text(folder / "run.jsonl", RecordError).splitlines()
    except RecordError:
        return ()  # it was killed before its first line
    documents = []
    for line in lines:
        try:
            entry = json.loads(line)
            documents.append((str(entry["name"]), dict(entry["doc"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return tuple(documents)


def read_kept(kind: type[M], file: Path) -> M:
    """Read what a run kept of a model, such as its recipe.

    Raises
    ------
    RecordError
        If the file cannot be read or is damaged; names the field.
    """
    data = read_json(file)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise RecordError(f"{file}: {explain(error)}") from None


def read_step(file: PathLike) -> Step:
    """Read back one step. Raises RecordError if the file is damaged."""
    file = Path(file)
    try:
        data = read_json(file)
        measured = data.get("measured")
        return Step(
            data["name"],
            data["title"],
            _result(data),
            tuple(data["raw"]),
            None if measured is None else datetime.fromisoformat(measured).astimezone(UTC),
            str(data.get("taken_from", "")),
            tuple(_estimate(e) for e in data.get("inputs", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(f"{file}: damaged: {error!r}") from None


def read_steps(folder: PathLike) -> tuple[Step, ...]:
    """Read back what a run kept of its steps.

    Parameters
    ----------
    folder
        The run folder.

    Raises
    ------
    RecordError
        If the folder is not a run, or a file in it is damaged.
    """
    folder = Path(folder)
    files = sorted((folder / "results").glob("*.json"))
    if not files:
        raise RecordError(f"{folder}: not a run folder: it holds no results/*.json")
    return tuple(map(read_step, files))


def _plain(value: Any) -> Any:
    """Turn dataclasses and arrays into dictionaries and lists, for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _result(data: Mapping[str, Any]) -> Result:
    return Result(
        estimates=tuple(_estimate(e) for e in data["estimates"]),
        fits=tuple(_fit(f) for f in data["fits"]),
        problems=tuple(data["problems"]),
    )


def _estimate(data: Mapping[str, Any]) -> Estimate:
    fields: dict[str, Any] = dict(data)
    for derived in ("unit", "definition"):  # kept by older runs
        fields.pop(derived, None)
    fields["budget"] = tuple(
        Contribution(current_source(c["source"]), c["u"], c["kind"], c.get("sensitivity"))
        for c in data["budget"]
    )
    for name in ("interval_68", "interval_95"):
        fields[name] = None if data[name] is None else tuple(data[name])
    return Estimate(**fields)


def _fit(data: Mapping[str, Any]) -> Fit:
    fields: dict[str, Any] = dict(data)
    fields["names"] = tuple(data["names"])
    fields["values"] = np.array(data["values"])
    fields["covariance"] = np.array(data["covariance"])
    fields["curves"] = tuple(_curve(c) for c in data["curves"])
    return Fit(**fields)


def _curve(data: Mapping[str, Any]) -> Curve:
    fields: dict[str, Any] = dict(data)
    for name in ("quantities", "tick_labels", "shown", "enlarged"):
        if fields.get(name) is not None:
            fields[name] = tuple(fields[name])
    fields["marks"] = tuple(Mark(**m) for m in fields.get("marks", ()))
    fields["others"] = tuple(Series(**_arrays(s)) for s in fields.get("others", ()))
    return Curve(**_arrays(fields))


def _arrays(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: np.array(v, dtype=float) if isinstance(v, list) else v for k, v in data.items()}


@functools.cache
def _environment() -> str:
    lines = [f"python {platform.python_version()} on {platform.platform()}"]
    lines += sorted(
        f"{d.metadata['Name']}=={d.version}" for d in importlib.metadata.distributions()
    )
    return "\n".join(lines) + "\n"
