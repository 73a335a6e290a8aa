"""What a run rests on, for its page: instruments, certificates, raw files, versions."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdchar.errors import RecordError
from qdchar.files import is_there, read_json, read_text
from qdchar.notation import concise, prefixed
from qdchar.quantities import is_known, quantity

from . import wording


@dataclass(frozen=True)
class InstrumentOnPage:
    """One instrument: its role, what it said it is, and how it was left."""

    role: str
    identity: str
    left: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CertificateOnPage:
    """One certificate of the station file, as text; `paper` is what the file says of it."""

    words: str
    value: str
    paper: str


@dataclass(frozen=True)
class RawOnPage:
    """Raw files of one kind: how many there are, how large they are, and their names."""

    file: str
    size: str


@dataclass(frozen=True)
class Provenance:
    """What a run rests on."""

    instruments: tuple[InstrumentOnPage, ...]
    certificates: tuple[CertificateOnPage, ...]
    raw: tuple[RawOnPage, ...]
    total: str
    python: str
    packages: tuple[str, ...]


def provenance_of(folder: Path) -> Provenance:
    """Read what a run folder keeps of its station, whatever of it is missing.

    Passwords and addresses of the station file are not shown.
    """
    raw = [f for f in sorted((folder / "raw").rglob("*")) if f.is_file()]
    sizes = [f.stat().st_size for f in raw]
    lines = _text(folder / "environment.txt").splitlines()
    return Provenance(
        instruments=tuple(_instruments(folder)),
        certificates=tuple(_certificates(folder)),
        raw=tuple(
            RawOnPage(f.relative_to(folder).as_posix(), _size(n))
            for f, n in zip(raw, sizes, strict=True)
        ),
        total=_size(sum(sizes)),
        python=lines[0] if lines else "",
        packages=tuple(lines[1:]),
    )


def _instruments(folder: Path) -> list[InstrumentOnPage]:
    identities = _json(folder / "instruments.json")
    left = _json(folder / "snapshot_after.json") or _json(folder / "snapshot_before.json")
    return [
        InstrumentOnPage(
            role.replace("_", " "),
            str(identities.get(role, "not asked for its name")),
            tuple((key.replace("_", " "), _written(v)) for key, v in _items(left.get(role))),
        )
        for role in dict.fromkeys((*identities, *left))
    ]


def _items(of_role: Any) -> list[tuple[str, Any]]:
    return list(of_role.items()) if isinstance(of_role, Mapping) else []


def _written(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _certificates(folder: Path) -> list[CertificateOnPage]:
    try:
        station = tomllib.loads(_text(folder / "station.toml"))
    except tomllib.TOMLDecodeError:
        return []
    found = []
    for name, data in _items(station.get("calibrations")):
        if not isinstance(data, Mapping):
            continue
        value, u, unit = (data.get(key) for key in ("value", "u", "unit"))
        if not isinstance(value, int | float) or not isinstance(u, int | float):
            continue
        scale, shown = prefixed(max(abs(value), u), str(unit))
        written = wording.powers(f"{concise(value / scale, u / scale)} {shown}".rstrip())
        words = quantity(name).words if is_known(name) else name.replace("_", " ")
        paper = str(data.get("certificate") or "no certificate is named")
        found.append(CertificateOnPage(wording.words(words), written, paper))
    return found


def _json(file: Path) -> Mapping[str, Any]:
    try:
        data = read_json(file)
    except RecordError:
        return {}
    return data if isinstance(data, Mapping) else {}


def _text(file: Path) -> str:
    if not is_there(file):
        return ""
    try:
        return read_text(file, RecordError)
    except RecordError:
        return ""


def _size(count: int) -> str:
    """Write a number of bytes.

    Examples
    --------
    >>> _size(512), _size(7_380_183)
    ('512 B', '7.4 MB')
    """
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
