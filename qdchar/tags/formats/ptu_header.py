"""Headers of PicoQuant's unified file format (PTU).

A header is a row of 48-byte tags: 32 bytes of name, int32 index, int32 type, 8 bytes of value or
of length of what follows. Everything is checked against the size of the file before it is read,
because a damaged length must not make us reserve the memory it claims.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from qdchar.errors import RecordError

MAGIC: Final = b"PQTTTR\0\0"
TAG: Final = struct.Struct("<32siI8s")  # name, index, type, value

EMPTY8: Final = 0xFFFF0008
BOOL8: Final = 0x00000008
INT8: Final = 0x10000008
BITSET64: Final = 0x11000008
COLOR8: Final = 0x12000008
FLOAT8: Final = 0x20000008
TDATETIME: Final = 0x21000008
FLOAT8_ARRAY: Final = 0x2001FFFF
ANSI_STRING: Final = 0x4001FFFF
WIDE_STRING: Final = 0x4002FFFF
BINARY_BLOB: Final = 0xFFFFFFFF

_LONGEST_HEADER: Final = 1 << 24

Value = str | int | float | bool


@dataclass(frozen=True)
class RecordType:
    """How the 32 bits of a record are to be read.

    Attributes
    ----------
    name
        As PicoQuant calls it, e.g. ``HydraHarp2 T3``.
    code
        The header's ``TTResultFormat_TTTRRecType``.
    is_t3
        Whether records hold a sync count and a time after it, instead of one time.
    picoharp
        Whether the layout is the PicoHarp 300's: channel in the upper four bits.
    wrap
        What one overflow adds to the time (T2) or to the sync count (T3).
    counted
        Whether an overflow record says how many overflows it stands for.
    """

    name: str
    code: int
    is_t3: bool
    picoharp: bool
    wrap: int
    counted: bool


RECORD_TYPES: Final = {
    kind.code: kind
    for kind in (
        RecordType("PicoHarp T2", 0x00010203, False, True, 210_698_240, False),
        RecordType("PicoHarp T3", 0x00010303, True, True, 65_536, False),
        RecordType("HydraHarp T2", 0x00010204, False, False, 33_552_000, False),
        RecordType("HydraHarp T3", 0x00010304, True, False, 1024, False),
        RecordType("HydraHarp2 T2", 0x01010204, False, False, 1 << 25, True),
        RecordType("HydraHarp2 T3", 0x01010304, True, False, 1024, True),
        RecordType("TimeHarp 260N T2", 0x00010205, False, False, 1 << 25, True),
        RecordType("TimeHarp 260N T3", 0x00010305, True, False, 1024, True),
        RecordType("TimeHarp 260P T2", 0x00010206, False, False, 1 << 25, True),
        RecordType("TimeHarp 260P T3", 0x00010306, True, False, 1024, True),
        RecordType("Generic T2", 0x00010207, False, False, 1 << 25, True),
        RecordType("Generic T3", 0x00010307, True, False, 1024, True),
    )
}


@dataclass(frozen=True)
class PtuHeader:
    """What a PTU header says, checked.

    Attributes
    ----------
    kind
        Layout of the records.
    offset
        Byte at which the records begin.
    claimed_records
        Number of records by the header; 0 if it was never filled in.
    global_ps
        T2: unit of the time tags. T3: the sync period [ps].
    dtime_ps
        T3: unit of the time after the sync; T2: 0 [ps].
    acquired_s
        How long the run took by the header [s]; None if it does not say.
    tags
        All tags, the last of each name and index; ``NAME`` or ``NAME[index]``.
    """

    kind: RecordType
    offset: int
    claimed_records: int
    global_ps: float
    dtime_ps: float
    acquired_s: float | None
    tags: dict[str, Value]


def read_header(path: Path) -> PtuHeader:
    """Read and check the header of a PTU file.

    Raises
    ------
    RecordError
        With the byte offset, if the file is not PTU, the header is damaged or cut off, or its
        fields contradict one another.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        if file.read(8) != MAGIC:
            raise RecordError(f"{path} does not begin like a PTU file ({MAGIC!r})")
        file.read(8)
        tags = _read_tags(path, file, min(size, _LONGEST_HEADER))
        return _interpret(path, tags, file.tell())


def _read_tags(path: Path, file: BinaryIO, limit: int) -> dict[str, Value]:
    tags: dict[str, Value] = {}
    while True:
        offset = file.tell()
        raw = file.read(TAG.size)
        if len(raw) < TAG.size or offset > limit:
            raise RecordError(
                f"{path}: the header is cut off at byte {offset}, before its Header_End: "
                "the file was not closed or not copied whole"
            )
        name_bytes, index, code, value = TAG.unpack(raw)
        name = name_bytes.rstrip(b"\0").decode("ascii", errors="replace")
        if name == "Header_End":
            return tags
        entry = name if index < 0 else f"{name}[{index}]"
        if code in (FLOAT8_ARRAY, ANSI_STRING, WIDE_STRING, BINARY_BLOB):
            (length,) = struct.unpack("<q", value)
            if not 0 <= length <= limit - file.tell():
                raise RecordError(
                    f"{path}: header tag {name!r} at byte {offset} claims {length} bytes, more "
                    "than the file has: the header is damaged"
                )
            content = file.read(length)
            if code == ANSI_STRING:
                tags[entry] = content.rstrip(b"\0").decode("windows-1252", errors="replace")
            elif code == WIDE_STRING:
                tags[entry] = content.decode("utf-16-le", errors="replace").rstrip("\0")
        elif code == FLOAT8:
            (tags[entry],) = struct.unpack("<d", value)
        elif code == TDATETIME:
            (days,) = struct.unpack("<d", value)
            if math.isfinite(days) and 0 <= days < 200_000:
                tags[entry] = (datetime(1899, 12, 30) + timedelta(days=days)).isoformat()
        elif code == BOOL8:
            tags[entry] = value != bytes(8)
        elif code in (INT8, BITSET64, COLOR8):
            (tags[entry],) = struct.unpack("<q", value)
        elif code != EMPTY8:
            raise RecordError(
                f"{path}: header tag {name!r} at byte {offset} has the unknown type {code:#010x}: "
                "the header is damaged"
            )


def _number(path: Path, tags: dict[str, Value], name: str) -> float:
    value = tags.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise RecordError(f"{path}: the header has no valid {name} (found {value!r})")
    return float(value)


def _snapped(value: float) -> float:
    """Undo the rounding of a decimal number of seconds turned into picoseconds."""
    if not math.isfinite(value):
        return value
    return float(round(value)) if abs(value - round(value)) <= 1e-12 * value else value


def _interpret(path: Path, tags: dict[str, Value], offset: int) -> PtuHeader:
    code = int(_number(path, tags, "TTResultFormat_TTTRRecType"))
    kind = RECORD_TYPES.get(code)
    if kind is None:
        known = ", ".join(f"{k.name} ({k.code:#010x})" for k in RECORD_TYPES.values())
        raise RecordError(
            f"{path}: record type {code:#010x} is unknown; the known types are {known}"
        )
    bits = tags.get("TTResultFormat_BitsPerRecord", 32)
    if bits not in (0, 32):
        raise RecordError(f"{path}: {bits} bits a record; all known types have 32")
    mode = tags.get("Measurement_Mode", 3 if kind.is_t3 else 2)
    if mode != (3 if kind.is_t3 else 2):
        raise RecordError(
            f"{path}: the header says measurement mode T{mode} but record type {kind.name}: one "
            "of the two is wrong, and with it every time"
        )
    global_ps = _snapped(_number(path, tags, "MeasDesc_GlobalResolution") * 1e12)
    largest = 1e12 if kind.is_t3 else 1e6
    if not 1.0 <= global_ps <= largest or (not kind.is_t3 and global_ps != round(global_ps)):
        raise RecordError(
            f"{path}: a global resolution of {global_ps:g} ps is impossible for {kind.name} "
            f"(1 to {largest:g} ps{'' if kind.is_t3 else ', whole'})"
        )
    dtime_ps = 0.0
    if kind.is_t3:
        dtime_ps = _snapped(_number(path, tags, "MeasDesc_Resolution") * 1e12)
        if not 1.0 <= dtime_ps <= global_ps or dtime_ps != round(dtime_ps):
            raise RecordError(
                f"{path}: a T3 resolution of {dtime_ps:g} ps does not fit the sync period of "
                f"{global_ps:g} ps, or is no whole number of picoseconds"
            )
        rate = tags.get("TTResult_SyncRate", 0)
        if (
            isinstance(rate, int | float)
            and rate > 0
            and abs(rate * global_ps * 1e-12 - 1.0) > 0.01
        ):
            raise RecordError(
                f"{path}: the header's sync rate of {rate:g} /s contradicts its sync period "
                f"(global resolution) of {global_ps:g} ps: one of the two is wrong"
            )
    claimed = tags.get("TTResult_NumberOfRecords", 0)
    stopped_ms = tags.get("TTResult_StopAfter")
    return PtuHeader(
        kind=kind,
        offset=offset,
        claimed_records=max(int(claimed), 0) if isinstance(claimed, int | float) else 0,
        global_ps=global_ps,
        dtime_ps=dtime_ps,
        acquired_s=stopped_ms * 1e-3
        if isinstance(stopped_ms, int | float) and 0 < stopped_ms < 1e12
        else None,
        tags=tags,
    )
