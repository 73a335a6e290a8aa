"""Estimates as ``--json`` shows them."""

from __future__ import annotations

from typing import Any

from qdchar.fit import Result
from qdchar.record import RecordedQuantity


def quantities(result: Result) -> dict[str, Any]:
    """Name to value, u, unit and all else that a record holds of it."""
    return {e.name: RecordedQuantity.of(e).model_dump() for e in result.estimates}
