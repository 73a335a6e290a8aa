"""Whether a run folder is as the calibration left it: record, verdict, key rate, raw files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdchar.errors import RecordError
from qdchar.files import PathLike, is_folder, is_there, read_json, sha256_of
from qdchar.history import SINGLE
from qdchar.keyrate import KeyRate
from qdchar.record import SourceRecord, load_record
from qdchar.record_checks import Objection
from qdchar.verdict import PredictedRate

_RESTS_ON = ("record.json", "link.json", "recipe.json", "keyrate.json")


@dataclass(frozen=True)
class Checked:
    """What was checked, and every fault.

    Attributes
    ----------
    record
        None if it cannot be read.
    raw_files
        How many raw files the record lists; None if only the record was at hand.
    """

    record: SourceRecord | None
    faults: tuple[Objection, ...]
    raw_files: int | None


def verify(path: PathLike) -> Checked:
    """Check a run folder, or a record alone if no run is around it.

    Stale, inconclusive or NO-GO is no fault: the folder is as it was left.

    Raises
    ------
    RecordError
        If there is nothing at this path.
    """
    path = Path(path)
    if not is_there(path):
        raise RecordError(f"{path}: there is no such file or folder")
    folder = path if is_folder(path) else path.parent
    alone = not is_folder(path) and not (path.name == "record.json" and (folder / "raw").is_dir())
    try:
        record = load_record(path, accept=True)
    except RecordError as error:
        changed = () if alone else tuple(changed_files(folder))
        return Checked(None, (Objection("record.json", str(error)), *changed), None)
    if alone:
        return Checked(record, record.faults, None)
    return Checked(record, (*record.faults, *run_faults(folder, record)), len(record.raw))


def run_faults(folder: Path, record: SourceRecord) -> Iterator[Objection]:
    """Return what in a run folder, the record itself aside, is not as the calibration left it."""
    yield from changed_files(folder)
    yield from _other_rate(folder, record)
    yield from _changed_raw(folder, record)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that a verdict rests on, by name."""
    files = {name: folder / name for name in _RESTS_ON}
    return {name: sha256_of(file) for name, file in files.items() if file.is_file()}


def read_key_rate(folder: Path) -> KeyRate:
    """Read ``keyrate.json``. Raises RecordError if it is damaged."""
    file = folder / "keyrate.json"
    document = read_json(file)
    try:
        return KeyRate.from_document(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{file}: damaged: {error!r}") from None


def changed_files(folder: Path) -> Iterator[Objection]:
    """Return which of the files that the verdict rests on have changed since it was made."""
    if is_there(folder / SINGLE):
        return  # nobody has judged a single measurement
    file = folder / "verdict.json"
    try:
        kept = _hashes_kept(read_json(file))
    except RecordError as error:
        yield Objection("verdict.json", str(error))
        return
    now = hashes(folder)
    for name in _RESTS_ON:
        if name not in now:
            yield Objection(name, "is missing")
        elif kept.get(name) != now[name]:
            yield Objection(name, "changed after the calibration")


def _hashes_kept(document: Any) -> dict[str, Any]:
    kept = document.get("sha256") if isinstance(document, dict) else None
    if not isinstance(kept, dict):
        raise RecordError("holds no hashes (sha256) of the files that the verdict rests on")
    return kept


def _other_rate(folder: Path, record: SourceRecord) -> Iterator[Objection]:
    verdict = record.verdict
    if verdict is None or verdict.rate is None or not (folder / "keyrate.json").is_file():
        return
    try:
        rate = PredictedRate.of(read_key_rate(folder))
    except RecordError as error:
        yield Objection("keyrate.json", str(error))
        return
    if rate != verdict.rate:
        yield Objection(
            "keyrate.json",
            f"holds {rate.rate_per_pulse!r} bit per pulse, verdict.rate of the record "
            f"{verdict.rate.rate_per_pulse!r}: they are not the same prediction",
        )


def _changed_raw(folder: Path, record: SourceRecord) -> Iterator[Objection]:
    listed = {raw.file: raw.sha256 for raw in record.raw}
    for name, sha256 in listed.items():
        file = folder / name
        if not file.is_file():
            yield Objection(name, "is missing")
            continue
        try:
            now = sha256_of(file)
        except OSError as error:
            yield Objection(name, f"cannot be read: {error.strerror}")
            continue
        if now != sha256:
            yield Objection(name, "changed: its SHA-256 is not that of the record")
    for file in sorted((folder / "raw").rglob("*")):
        name = file.relative_to(folder).as_posix()
        if not file.is_dir() and name not in listed:
            yield Objection(name, "is not in the record: it was added later")
