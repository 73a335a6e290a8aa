"""What strangers and clients that stall can do to a tag server, and a server to its client."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress

import h5py
import numpy as np
import pytest

from qdchar.drivers import tag_server
from qdchar.drivers._line import MAX_REPLY_BYTES
from qdchar.drivers.tag_server import TagServer
from qdchar.drivers.tag_stream import (
    MAX_TAGS,
    TagStream,
    decode_header,
    encode_block,
    encode_error,
)
from qdchar.drivers.twin.emulators.tag_stream import _Tagger
from qdchar.errors import InstrumentError, RecordError, UsageError
from qdchar.roles import TagBlock
from qdchar.tags import open_tags

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "192.0.2.7", "tagger.lab"])
def test_beyond_loopback_a_token_is_needed(lab, host):
    with pytest.raises(UsageError, match="token"):
        TagServer(_Tagger(lab), host=host)


@pytest.mark.parametrize("token", ["short", "0123456789 abcdef", "0123456789abcdeµ"])
def test_a_weak_token_is_refused(lab, token):
    with pytest.raises(UsageError, match="16"):
        TagServer(_Tagger(lab), token=token)


@pytest.mark.parametrize("given", ["", "0123456789abcdeF", TOKEN[:-1], TOKEN + "0"])
def test_only_who_has_the_token_is_answered(lab, given):
    with TagServer(_Tagger(lab), token=TOKEN) as server:
        with TagStream(server.address, token=TOKEN) as device:
            assert device.channel_a == 1
        stranger = TagStream(server.address, token=given)
        with pytest.raises(InstrumentError, match="token") as error:
            stranger.open()
        stranger.close()
        assert TOKEN not in str(error.value)


def test_a_client_that_does_not_read_loses_the_stream(lab, monkeypatch):
    monkeypatch.setattr(tag_server, "STALL_S", 0.3)
    lab.tags_per_block = 200_000
    with TagServer(_Tagger(lab)) as server, socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect((server.host, server.port))
        stalled.sendall(b"stream 1000\n")
        time.sleep(0.1)
        with TagStream(server.address) as device:
            assert sum(len(b.times_ps) for b in device.stream(0.1)) > 0


def test_a_request_without_an_end_is_hung_up_on(lab):
    with (
        TagServer(_Tagger(lab)) as server,
        socket.create_connection((server.host, server.port), timeout=10) as client,
        suppress(ConnectionResetError),
    ):
        client.sendall(b"x" * 70_000)
        assert client.recv(100) == b""


def _block(start_ps: int, stop_ps: int) -> TagBlock:
    return TagBlock(np.array([start_ps]), np.zeros(1, np.uint8), start_ps, stop_ps, overflow=False)


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ([(0, 100), (100, 300)], "got '300 ps' instead of no more than asked for"),
        ([(0, 100), (100, 100)], "a block that covers no time"),
    ],
)
def test_a_stream_that_would_never_end_is_refused_at_its_first_such_block(
    conversation, blocks, says
):
    sent = b""
    for sequence, (start_ps, stop_ps) in enumerate(blocks):
        block = _block(start_ps, stop_ps) if stop_ps > start_ps else _empty(start_ps)
        sent += b"".join(bytes(part) for part in encode_block(block, sequence))
    channels = b'OK {"a": 1, "b": 2, "sync": 0, "sync_divider": 64, "resolution_ps": 42.0}\n'
    said = [(b"channels\n", channels)] * 2
    instrument = conversation([*said, (b"stream 2e-10\n", b'OK {"sequence": 0}\n' + sent)])
    with TagStream(instrument.address, timeout_s=2.0) as device:
        stream = device.stream(2e-10)
        assert next(stream).stop_ps == 100
        with pytest.raises(InstrumentError, match=says):
            next(stream)


def _empty(at_ps: int) -> TagBlock:
    return TagBlock(np.zeros(0, np.int64), np.zeros(0, np.uint8), at_ps, at_ps, overflow=False)


def test_a_header_that_claims_gigabytes_is_refused_before_they_are_asked_for():
    (head, *_) = encode_block(_block(0, 100), 0)
    tags = MAX_TAGS + 1
    claims = bytearray(head)
    claims[32:40] = struct.pack("<II", tags, 9 * tags)
    with pytest.raises(InstrumentError, match="instead of a block header"):
        decode_header(claims)
    text = bytearray(encode_error(0, 0, "no tags"))
    text[36:40] = struct.pack("<I", 1 << 30)
    with pytest.raises(InstrumentError, match="instead of a block header"):
        decode_header(text)


def test_a_reply_without_an_end_is_refused(conversation):
    instrument = conversation([(b"channels\n", b"OK " + b"x" * (MAX_REPLY_BYTES + 100_000))])
    with pytest.raises(InstrumentError, match=r"got \d+ bytes without an end"):
        TagStream(instrument.address, timeout_s=10.0).open()


def test_a_chunk_that_unpacks_to_gigabytes_is_refused(tmp_path):
    file = tmp_path / "bomb.h5"
    with h5py.File(file, "w") as bomb:
        data = bomb.create_group("photon_data")
        shape = {"shape": (1 << 28,), "chunks": (1 << 28,), "compression": "gzip"}
        times = data.create_dataset("timestamps", dtype="i8", **shape)
        data.create_dataset("detectors", dtype="u1", **shape)
        data["timestamps_specs/timestamps_unit"] = 1e-12
        times.id.write_direct_chunk((0,), b"\x78\x9c\x03\x00\x00\x00\x00\x01")
    assert file.stat().st_size < 100_000
    with pytest.raises(RecordError, match="unpacks to 2147483648 bytes"):
        open_tags(file)
