"""Write time tags as PicoQuant PTU event files, T2 or T3, that other programs read."""

from __future__ import annotations

import math
import os
import struct
import uuid
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import numpy as np

from qdchar import __version__
from qdchar.errors import RecordError

from ..source import TagChunk, TagSource
from . import ptu_header as head
from . import ptu_records as rec

_EPOCH: Final = datetime(1899, 12, 30)
_MOST_DTIMES: Final = 1 << 15
_MOST_OVERFLOWS_T2: Final = 127
"""More in one record are allowed, but ptufile multiplies them by 2**25 in 32 bits."""


def write_ptu(
    path: str | os.PathLike[str],
    source: TagSource,
    *,
    mode: Literal["T2", "T3"] = "T2",
    kind: str = "HydraHarp2",
    unit_ps: int | None = None,
    sync_period_ps: float | None = None,
    comment: str = "",
) -> int:
    """Write all tags of a source into a PTU file.

    Parameters
    ----------
    path
        File to make; must not exist.
    source
        Time tags; channels 0 to 62, and in T2 :data:`SYNC_CHANNEL`. Time counts from the beginning
        of the time covered, for records cannot hold an absolute one.
    mode
        "T2" stores times, "T3" the sync count and the time after the sync.
    kind
        Layout: "HydraHarp2" or "Generic" (MultiHarp, PicoHarp 330) or "TimeHarp 260P".
    unit_ps
        T2: unit of the times [ps], 1 by default, so that nothing is lost. T3: step of the time
        after the sync [ps]; by default the tagger's step or, if the period then has more than
        32 768 steps, the least multiple that fits.
    sync_period_ps
        T3: the sync period [ps]; by default that of the source, if it comes from a T3 file.
    comment
        For the header.

    Returns
    -------
    int
        Number of records written.

    Raises
    ------
    RecordError
        If a channel does not fit, T3 has no period, or the file exists.

    Notes
    -----
    What was written in T2 with a unit of 1 ps, or in T3 from a T3 file, reads back exactly.
    The time covered ends at the last overflow: within 34 us of the source's in T2.
    """
    layout = next(
        (k for k in head.RECORD_TYPES.values() if k.name == f"{kind} {mode}" and k.counted), None
    )
    if layout is None:
        raise RecordError(
            f"cannot write {kind} {mode}; known are HydraHarp2, Generic and TimeHarp 260P, "
            "T2 and T3"
        )
    period = sync_period_ps if sync_period_ps is not None else source.metadata.sync_period_ps
    if mode == "T3":
        if period is None:
            raise RecordError("T3 counts sync pulses: give the sync period")
        unit = unit_ps or max(round(source.resolution_ps), 1)
        if unit_ps is None:
            unit *= math.ceil(period / unit / _MOST_DTIMES)
        if period / unit > _MOST_DTIMES:
            raise RecordError(
                f"a sync period of {period:g} ps holds more than 32768 steps of {unit} ps: "
                "take a larger step"
            )
        whole, rest = math.floor(period), period - math.floor(period)
        global_ps = period
    else:
        unit = unit_ps or 1
        whole, rest, global_ps = unit, 0.0, float(unit)

    most = layout.wrap - 1 if layout.is_t3 else _MOST_OVERFLOWS_T2
    stop_ps = source.stop_ps - source.start_ps
    target = Path(path)
    try:
        file = target.open("xb")
    except FileExistsError as error:
        raise RecordError(f"{target} exists already: choose another name") from error
    with file:
        file.write(head.MAGIC + b"1.0.00\0\0")
        count_at = 0
        for name, code, value in _fields(layout, global_ps, unit, stop_ps, source, comment):
            if name == "TTResult_NumberOfRecords":
                count_at = file.tell() + 40
            file.write(_field(name, code, value))
        state = np.zeros(1, np.int64)
        count = 0
        for chunk in _counted_from_zero(source):
            # one overflow record a click, and more only where a gap outlasts what one can count
            gaps = int(chunk.times_ps[-1] / (global_ps * layout.wrap * most))
            raw = np.empty(2 * len(chunk) + gaps + 1, np.uint32)
            n = rec.encode(
                chunk.times_ps, chunk.channels, layout.is_t3, layout.wrap, whole, rest, unit,
                most, raw, state,
            )  # fmt: skip
            if n < 0:
                wrong = int(chunk.channels[-1 - n])
                raise RecordError(
                    f"channel {wrong} does not fit into a {layout.name} record (0 to 62"
                    f"{'' if layout.is_t3 else ', and 64 for the sync'})"
                )
            file.write(raw[:n].tobytes())
            count += n
        # Overflows to the end of the run, so that the reader knows how long it took.
        wraps = math.floor((stop_ps - 1) / global_ps) // layout.wrap - int(state[0])
        if wraps > 0:
            steps = [most] * (wraps // most) + ([wraps % most] if wraps % most else [])
            ends = np.array([(1 << 31) | (63 << 25) | step for step in steps], np.uint32)
            file.write(ends.tobytes())
            count += len(ends)
        file.seek(count_at)
        file.write(struct.pack("<q", count))
    return count


def _counted_from_zero(source: TagSource) -> Iterable[TagChunk]:
    for chunk in source.chunks():
        yield TagChunk(
            chunk.times_ps - source.start_ps, np.require(chunk.channels, None, ["C", "W"])
        )


def _fields(
    layout: head.RecordType,
    global_ps: float,
    unit: int,
    stop_ps: int,
    source: TagSource,
    comment: str,
) -> list[tuple[str, int, head.Value | datetime]]:
    milliseconds = round(stop_ps * 1e-9)
    inputs = max((c for c in source.channels if c < rec.SYNC), default=0) + 1
    rate = round(1e12 / global_ps) if layout.is_t3 else 0
    hardware = {"HydraHarp2": "HydraHarp 400", "Generic": "MultiHarp 150"}
    family = layout.name.rsplit(" ", 1)[0]
    resolution = (unit if layout.is_t3 else source.resolution_ps) * 1e-12
    return [
        ("File_GUID", head.ANSI_STRING, f"{{{str(uuid.uuid4()).upper()}}}"),
        ("CreatorSW_Name", head.ANSI_STRING, "qdchar"),
        ("CreatorSW_Version", head.ANSI_STRING, __version__),
        ("File_CreatingTime", head.TDATETIME, datetime.now()),
        ("File_Comment", head.ANSI_STRING, comment or source.metadata.comment),
        ("Measurement_Mode", head.INT8, 3 if layout.is_t3 else 2),
        ("Measurement_SubMode", head.INT8, 0),
        ("TTResult_StopReason", head.INT8, 0),
        ("TTResultFormat_TTTRRecType", head.INT8, layout.code),
        ("TTResultFormat_BitsPerRecord", head.INT8, 32),
        ("MeasDesc_BinningFactor", head.INT8, unit),
        ("MeasDesc_Offset", head.INT8, 0),
        ("MeasDesc_AcquisitionTime", head.INT8, milliseconds),
        ("HW_Type", head.ANSI_STRING, hardware.get(family, family)),
        ("HW_BaseResolution", head.FLOAT8, 1e-12),
        ("HW_InpChannels", head.INT8, inputs),
        ("HWSync_Divider", head.INT8, 1),
        ("MeasDesc_Resolution", head.FLOAT8, resolution),
        ("MeasDesc_GlobalResolution", head.FLOAT8, global_ps * 1e-12),
        ("TTResult_SyncRate", head.INT8, rate),
        ("TTResult_StopAfter", head.INT8, milliseconds),
        ("TTResult_NumberOfRecords", head.INT8, 0),
        ("Header_End", head.EMPTY8, 0),
    ]


def _field(name: str, code: int, value: head.Value | datetime) -> bytes:
    tag = name.encode("ascii")
    if isinstance(value, datetime):
        days = (value - _EPOCH).total_seconds() / 86_400
        return head.TAG.pack(tag, -1, code, struct.pack("<d", days))
    if isinstance(value, str):
        text = value.encode("windows-1252", errors="replace")
        text += bytes(8 - len(text) % 8)  # ends with a zero, on a multiple of eight
        return head.TAG.pack(tag, -1, code, struct.pack("<q", len(text))) + text
    kind = "<d" if isinstance(value, float) else "<q"
    return head.TAG.pack(tag, -1, code, struct.pack(kind, value))
