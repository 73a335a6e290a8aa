"""Estimates as ``--json`` shows them."""

from __future__ import annotations

from typing import Any

from qdchar.fit import Result
from qdchar.record import Figure


def quantities(result: Result) -> dict[str, Any]:
    """Name to value, u, unit and all else that a figure holds."""
    return {e.name: Figure.of(e).model_dump() for e in result.estimates}
