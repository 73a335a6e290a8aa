from __future__ import annotations

from pathlib import Path

from qdchar.fit import Result


def analyse_file(path: Path, *, delay_s: float | None = None) -> Result:
    raise NotImplementedError
