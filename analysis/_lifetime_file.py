"""Lifetime from a file of somebody else's: T3 tags, with or without a response file."""

from __future__ import annotations

from pathlib import Path

from qdchar.fit import Result


def analyse_file(path: Path, *, response: Path | None = None) -> Result:
    raise NotImplementedError
