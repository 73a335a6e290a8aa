"""What strangers and clients that stall can do to a tag server, and a server to its client."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import h5py
import pytest

from qdchar.drivers import tag_server
from qdchar.drivers.tag_server import TagServer
from qdchar.drivers.tag_stream import TagStream
from qdchar.drivers.twin.emulators.tag_stream import _Tagger
from qdchar.errors import InstrumentError, RecordError, UsageError
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
