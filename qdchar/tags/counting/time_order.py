"""The order in time that every count relies on."""

from __future__ import annotations

from typing import Final

from qdchar.errors import RecordError

from ..source import TagChunk
from . import numba_loops as compiled

EARLY: Final = -(1 << 62)
"""Before any time that a tag may have [ps]."""


def check_order(chunk: TagChunk, after_ps: int) -> int:
    """Refuse a chunk that is not sorted or begins before `after_ps`; give its last time [ps].

    Raises
    ------
    RecordError
        If time goes back, for instance because two streams were mixed.
    """
    times, _ = chunk.native()
    if not compiled.is_sorted(times, after_ps):
        raise RecordError(
            f"tags go back in time within or before the chunk from {int(times[0])} ps (after "
            f"{after_ps} ps): counting needs one stream in time order"
        )
    return int(times[-1])
