"""The measurements that a station knows: those of qdchar, and a lab's own."""

from __future__ import annotations

from pathlib import Path

from qdchar.errors import UsageError

from .dotted_path import load_object
from .measurement import Measurement, Registry, measurements_by_name
from .measurements.registry import MEASUREMENTS
from .station import Station


def measurements_of(station: Station) -> Registry:
    """Return the measurements that a station knows: those of qdchar, then the lab's own.

    Raises
    ------
    UsageError
        If an entry of ``[measurements]`` is not a `Measurement` of that name.
    """
    own = []
    for name, path in station.file.measurements.items():
        where = f"{station.origin}: measurements.{name}"
        found = load_object(path, Path(station.origin).absolute().parent, where)
        if not isinstance(found, Measurement):
            raise UsageError(f"{where}: {path!r} is a {type(found).__name__}, not a Measurement")
        if found.name != name:
            raise UsageError(f"{where}: {path!r} has the name {found.name!r}; give it that key")
        own.append(found)
    return measurements_by_name((*MEASUREMENTS.values(), *own))
