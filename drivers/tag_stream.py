r"""Time tags over TCP: one tagger shared by several programs.

`qdchar.drivers.tag_server.TagServer` serves any object that fits `qdchar.roles.TimeTagger`, for
example a vendor's tagger in a thin wrapper. `TagStream` is its client and fits the same role. Any
number of clients may connect; one at a time owns the stream, the others can still count.

Requests and replies
--------------------
A request is one line of ASCII ended by LF; so is its reply: ``OK`` and a JSON object, or ``ERROR``
and ``{"code": ..., "text": ...}``.

===================  ===========================================================================
``identify``         ``{"protocol": 1, "vendor", "model", "serial", "firmware", "simulated"}``
``channels``         ``{"a", "b", "sync", "sync_divider", "resolution_ps"}``
``count DWELL_S``    ``{"clicks": [a, b], "dwell_s"}`` after the dwell. While another client
                     streams, the clicks of its stream are counted, from the second block after
                     the request on
``stream TIME_S``    ``{"sequence": 0}``, and then the binary blocks below on the same connection,
                     up to a block of the kind ``end`` or ``error``; after it, requests again
``owner``            ``{"client": "host:port" or ""}``: who owns the stream
``token TOKEN``      ``{}``; the first request, where the server demands one
===================  ===========================================================================

Codes: ``usage`` (the request is not understood), ``busy`` (another client owns the stream),
``overflow`` (tags were lost during a count), ``tagger`` (the tagger failed), ``token`` (it is
wrong, and the connection is closed). A client ends a stream early by closing its connection; one
that reads nothing for 10 s is hung up on.

Blocks
------
Little-endian. A header of 44 bytes, then `length` bytes of payload:

========  ======  ======================================================================
offset    type    field
========  ======  ======================================================================
0         4s      magic ``QDTB``
4         u8      version, 1
5         u8      kind: 1 tags, 2 end, 3 error
6         u16     flags: bit 0 overflow (tags were lost in this interval)
8         u64     sequence number, from 0, without a gap, over all kinds
16        i64     start of the time interval that the block covers [ps]
24        i64     its stop [ps]; equal to the start of the next block
32        u32     number of tags n (0 unless the kind is 1)
36        u32     length of the payload: 9 n for tags, otherwise that of the text
40        u32     CRC-32 of the header's first 40 bytes and the payload
========  ======  ======================================================================

The payload of a block of tags is n times (i64 [ps] since the start of the stream, sorted) and then
n channels (u8). An empty block means that there were no tags in its interval. An ``end``
block covers no time and lies at the end of the stream; an ``error`` block contains text.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qdchar.errors import InstrumentError, UsageError
from qdchar.roles import Counts, Identity, Reading, TagBlock

from ._arguments import positive
from ._instrument import LineInstrument
from ._line import Line

PROTOCOL = 1
MAGIC = b"QDTB"
TAGS, END, ERROR = 1, 2, 3
OVERFLOW = 1
MAX_TAGS = 1 << 25
"""Largest number of tags in a block, 300 MB: a header with more is damaged."""

_FIELDS = struct.Struct("<4sBBHQqqII")
_CRC = struct.Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size


@dataclass(frozen=True)
class Header:
    """The fields before the payload of a block."""

    kind: int
    flags: int
    sequence: int
    start_ps: int
    stop_ps: int
    tags: int
    length: int
    crc: int


def encode_block(block: TagBlock, sequence: int) -> list[memoryview | bytes]:
    """Encode a block of tags: the header and the memory of the arrays, to be sent in this order."""
    times = np.ascontiguousarray(block.times_ps, dtype="<i8")
    channels = np.ascontiguousarray(block.channels, dtype=np.uint8)
    if times.shape != channels.shape or times.ndim != 1 or len(times) > MAX_TAGS:
        raise InstrumentError(
            f"block {sequence} of the tag stream: times of shape {times.shape} and channels of "
            f"shape {channels.shape}; they need one length, at most {MAX_TAGS} tags. "
            "Check the tagger that is served"
        )
    payload = [times.data.cast("B"), channels.data] if len(times) else []
    flags = OVERFLOW if block.overflow else 0
    return [
        _header(TAGS, flags, sequence, block.start_ps, block.stop_ps, len(times), payload),
        *payload,
    ]


def encode_end(sequence: int, stop_ps: int) -> bytes:
    """Encode the block that ends a stream."""
    return _header(END, 0, sequence, stop_ps, stop_ps, 0, [])


def encode_error(sequence: int, stop_ps: int, text: str) -> bytes:
    """Encode the block that ends a failed stream."""
    payload = text.encode()
    return _header(ERROR, 0, sequence, stop_ps, stop_ps, 0, [memoryview(payload)]) + payload


def _header(
    kind: int,
    flags: int,
    sequence: int,
    start_ps: int,
    stop_ps: int,
    tags: int,
    payload: list[memoryview],
) -> bytes:
    length = sum(part.nbytes for part in payload)
    fields = _FIELDS.pack(MAGIC, PROTOCOL, kind, flags, sequence, start_ps, stop_ps, tags, length)
    crc = zlib.crc32(fields)
    for part in payload:
        crc = zlib.crc32(part, crc)
    return fields + _CRC.pack(crc)


def decode_header(raw: bytes | bytearray) -> Header:
    """Decode a header. Raises InstrumentError if the bytes are no header."""
    magic, version, *fields = _FIELDS.unpack_from(raw)
    header = Header(*fields, *_CRC.unpack_from(raw, _FIELDS.size))
    sound = header.length == 9 * header.tags if header.kind == TAGS else header.length <= 1 << 16
    if magic != MAGIC or version != PROTOCOL or header.tags > MAX_TAGS or not sound:
        raise InstrumentError(
            f"tag stream: got {bytes(raw)!r} instead of a block header of version {PROTOCOL}. "
            "Check that server and client are of the same version of qdchar"
        )
    return header


def decode_payload(raw: bytearray, header: Header, payload: bytearray) -> TagBlock | str:
    """Decode a payload: a block of tags, or the text of an end or error block.

    Raises
    ------
    InstrumentError
        If the checksum or the order of the times is wrong, or a time is outside of the interval.
    """
    if zlib.crc32(payload, zlib.crc32(raw[: _FIELDS.size])) != header.crc:
        raise InstrumentError(
            f"tag stream, block {header.sequence}: the checksum is wrong, so the block was "
            "damaged on its way. Start the stream again"
        )
    if header.kind != TAGS:
        return payload.decode(errors="replace")
    times = np.frombuffer(payload, dtype="<i8", count=header.tags)
    channels = np.frombuffer(payload, dtype=np.uint8, offset=8 * header.tags)
    if len(times) and (
        times[0] < header.start_ps
        or times[-1] >= header.stop_ps
        or bool(np.any(times[1:] < times[:-1]))
    ):
        raise InstrumentError(
            f"tag stream, block {header.sequence}: its tags are not sorted, or outside of its "
            f"interval from {header.start_ps} to {header.stop_ps} ps. Check the tagger"
        )
    return TagBlock(
        times_ps=times.astype(np.int64, copy=False),
        channels=channels,
        start_ps=header.start_ps,
        stop_ps=header.stop_ps,
        overflow=bool(header.flags & OVERFLOW),
    )


class TagStream(LineInstrument):
    """A time tagger that a `TagServer` serves, in this program or another one.

    Parameters
    ----------
    address
        ``tcp://host:port``.
    timeout_s
        How long a reply, or the next block of a stream, may take beyond its dwell time [s].
    token
        Of a server that demands one; ``"env:NAME"`` in a station file takes it from the
        environment.
    """

    def __init__(self, address: str, *, timeout_s: float = 10.0, token: str = "") -> None:
        if not isinstance(token, str) or not token.isascii() or len(token.split()) > 1:
            raise UsageError("token: ASCII characters without a space are needed")
        self._token = token
        self._line = Line(
            address,
            name="time tagger",
            timeout_s=positive("timeout_s", timeout_s),
            on_connect=self._send_token if token else None,
        )
        self._channels: Mapping[str, Any] = {}
        self._streaming = False

    def open(self) -> None:
        """Connect and read the channel numbers. Raises InstrumentError."""
        super().open()
        self._read_channels()

    def close(self) -> None:
        """Disconnect; a stream that is not finished ends."""
        self._streaming = False
        super().close()

    def identify(self) -> Identity:
        """Ask the tagger who it is."""
        answer = self._ask("identify")
        if answer.get("protocol") != PROTOCOL:
            raise self._line.unexpected("identify", answer, f"protocol {PROTOCOL}")
        return Identity(
            vendor=str(answer.get("vendor", "")),
            model=str(answer.get("model", "")),
            serial=str(answer.get("serial", "")),
            firmware=str(answer.get("firmware", "")),
            address=self._line.address,
            simulated=answer.get("simulated") is True,
        )

    def snapshot(self) -> Mapping[str, Reading]:
        """Read the channels, and which client owns the stream."""
        owner = str(self._ask("owner").get("client", ""))
        return {**self._read_channels(), "stream_owner": owner}

    @property
    def channel_a(self) -> int:
        """Channel of detector A."""
        return int(self._channel("a"))

    @property
    def channel_b(self) -> int:
        """Channel of detector B."""
        return int(self._channel("b"))

    @property
    def channel_sync(self) -> int:
        """Channel of the divided pulse clock."""
        return int(self._channel("sync"))

    @property
    def sync_divider(self) -> int:
        """Pulses per tag on the clock channel."""
        return int(self._channel("sync_divider"))

    @property
    def resolution_ps(self) -> float:
        """Step of the time-to-digital converter [ps]."""
        return float(self._channel("resolution_ps"))

    def count(self, dwell_s: float) -> Counts:
        """Count clicks for a dwell [s]. Raises InstrumentError, UsageError for a dwell of 0."""
        asked = f"count {_time('dwell_s', dwell_s)!r}"
        answer = self._ask(asked, timeout_s=self._line.timeout_s + dwell_s)
        match answer:
            case {"clicks": [int(a), int(b)], "dwell_s": int(dwell) | float(dwell)} if (
                min(a, b) >= 0 and math.isfinite(dwell) and dwell > 0
            ):
                return Counts(clicks=(a, b), dwell_s=float(dwell))
        raise self._line.unexpected(asked, answer, "two counts and a dwell time")

    def stream(self, duration_s: float) -> Iterator[TagBlock]:
        """Yield the tags of the next duration [s] in blocks that cover it without a gap.

        If the caller stops before the end, or sends another request meanwhile, the stream ends and
        its connection is closed; the next request opens a new one. To count during a stream, use a
        second `TagStream`.

        Raises
        ------
        InstrumentError
            If another client owns the stream, the tagger fails, or a block is missing or damaged.
        """
        asked = f"stream {_time('duration_s', duration_s)!r}"
        self._read_channels()  # a query, because only a query reconnects
        self._parsed(asked, self._line.command(asked, self._line.read_line))
        connects, ended = self._line.connects, False
        self._streaming = True
        try:
            sequence, covered_ps = 0, 0
            while True:
                if not self._streaming or self._line.connects != connects:
                    raise InstrumentError(
                        f"{self._line.label}: the stream ended early, because another request was "
                        "sent on its connection. Use a second TagStream to count during a stream"
                    )
                header, block = self._next_block()
                self._check_order(header, sequence, covered_ps)
                if not isinstance(block, TagBlock):
                    break
                sequence, covered_ps = sequence + 1, header.stop_ps
                if covered_ps > duration_s * 1e12 + 1:
                    raise self._line.unexpected(asked, f"{covered_ps} ps", "no more than asked for")
                if header.stop_ps == header.start_ps:
                    raise self._line.unexpected(asked, "a block that covers no time", "tags")
                yield block
            if header.kind == ERROR:
                raise InstrumentError(
                    f"{self._line.label}: asked {asked!r}, the tagger failed: {block}"
                )
            if abs(covered_ps - duration_s * 1e12) > 1:
                raise self._line.unexpected(asked, f"{covered_ps} ps", f"{duration_s:g} s of tags")
            ended = True
        finally:
            if self._line.connects == connects:
                self._streaming = False
                if not ended:
                    self._line.drop()

    def _next_block(self) -> tuple[Header, TagBlock | str]:
        self._line.set_deadline(self._line.timeout_s)
        raw = self._line.read_exactly(HEADER_BYTES)
        header = decode_header(raw)
        return header, decode_payload(raw, header, self._line.read_exactly(header.length))

    def _check_order(self, header: Header, sequence: int, covered_ps: int) -> None:
        if header.sequence != sequence:
            raise InstrumentError(
                f"{self._line.label}: got block {header.sequence} of the stream instead of block "
                f"{sequence}: blocks are missing. Start the stream again"
            )
        if header.start_ps != covered_ps or header.stop_ps < header.start_ps:
            raise InstrumentError(
                f"{self._line.label}: got a block from {header.start_ps} to {header.stop_ps} ps of "
                f"the stream instead of one that starts at {covered_ps} ps: a time interval is "
                "missing. Start the stream again"
            )

    def _read_channels(self) -> Mapping[str, Reading]:
        answer = self._ask("channels")
        match answer:
            case {
                "a": int(),
                "b": int(),
                "sync": int(),
                "sync_divider": int(divider),
                "resolution_ps": int(step) | float(step),
            } if divider >= 1 and 0 < step < math.inf:
                self._channels = answer
                return answer
        raise self._line.unexpected("channels", answer, "channels, divider and resolution")

    def _channel(self, key: str) -> Any:
        if not self._channels:
            raise InstrumentError(
                f"{self._line.label}: its channels are not known, because it is not open. Call "
                "open() first, or use it in a `with`"
            )
        return self._channels[key]

    def _send_token(self, line: Line) -> None:
        line.send(f"token {self._token}", shown="the token")
        self._parsed("the token", line.read_line())

    def _ask(self, text: str, *, timeout_s: float | None = None) -> dict[str, Any]:
        if self._streaming:
            self._streaming = False
            self._line.drop()
        return self._parsed(text, self._line.query(text, self._line.read_line, timeout_s=timeout_s))

    def _parsed(self, asked: str, reply: str) -> dict[str, Any]:
        state, _, text = reply.partition(" ")
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if state not in ("OK", "ERROR") or not isinstance(answer, dict):
            raise self._line.unexpected(asked, reply, "OK or ERROR and a JSON object")
        if state == "ERROR":
            raise InstrumentError(
                f"{self._line.label}: {asked!r} was answered with "
                f"{answer.get('code', 'an error')}: {answer.get('text', 'no reason given')}"
            )
        return answer


def _time(key: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{key} = {value!r}: a time above 0 s is needed")
    return float(value)
