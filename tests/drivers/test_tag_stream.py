"""The tagger's protocol: blocks, what is lost or damaged, sharing, giving up."""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdchar.drivers import tag_server, tag_stream
from qdchar.drivers.tag_stream import TagStream
from qdchar.drivers.twin.emulators import TaggerEmulator
from qdchar.errors import InstrumentError, UsageError
from qdchar.roles import TagBlock

CHANNELS = {"a": 1, "b": 2, "sync": 0, "sync_divider": 64, "resolution_ps": 42.0}


def block_of(times, start, stop, *, overflow=False) -> TagBlock:
    times = np.asarray(times, dtype=np.int64)
    channels = (np.arange(len(times)) % 3).astype(np.uint8)
    return TagBlock(times, channels, start, stop, overflow)


def encoded(block: TagBlock, sequence: int) -> bytes:
    return b"".join(bytes(part) for part in tag_stream.encode_block(block, sequence))


# the blocks


def test_a_block_as_it_is_documented():
    """Packed by hand after the table in the module's docstring."""
    fields = struct.pack("<4sBBHQqqII", b"QDTB", 1, 1, 1, 7, 1000, 2000, 2, 18)
    payload = struct.pack("<qqBB", 1000, 1999, 0, 1)
    by_hand = fields + struct.pack("<I", zlib.crc32(fields + payload)) + payload
    assert len(by_hand) == 44 + 18
    assert encoded(block_of([1000, 1999], 1000, 2000, overflow=True), 7) == by_hand


@settings(max_examples=50, deadline=None)
@given(
    times=st.lists(st.integers(min_value=0, max_value=2**62), max_size=50),
    sequence=st.integers(min_value=0, max_value=2**63),
    overflow=st.booleans(),
)
def test_a_block_comes_back_as_it_went(times, sequence, overflow):
    block = block_of(sorted(times), 0, 2**62 + 1, overflow=overflow)
    raw = bytearray(encoded(block, sequence))
    header_bytes, payload = raw[: tag_stream.HEADER_BYTES], raw[tag_stream.HEADER_BYTES :]
    header = tag_stream.decode_header(header_bytes)
    back = tag_stream.decode_payload(header_bytes, header, payload)
    assert isinstance(back, TagBlock)
    assert header.sequence == sequence
    assert (back.start_ps, back.stop_ps, back.overflow) == (0, 2**62 + 1, overflow)
    np.testing.assert_array_equal(back.times_ps, block.times_ps)
    np.testing.assert_array_equal(back.channels, block.channels)
    assert back.times_ps.dtype == np.int64
    assert back.channels.dtype == np.uint8


@pytest.mark.parametrize("at", [0, 4, 5, 6, 8, 16, 24, 32, 36, 40, 44, 60, -1])
def test_no_flipped_bit_goes_unnoticed(at):
    raw = bytearray(encoded(block_of([1000, 1500, 1999], 1000, 2000), 7))
    raw[at] ^= 0x04
    header_bytes, payload = raw[: tag_stream.HEADER_BYTES], raw[tag_stream.HEADER_BYTES :]
    with pytest.raises(InstrumentError, match="tag stream"):
        tag_stream.decode_payload(header_bytes, tag_stream.decode_header(header_bytes), payload)


@pytest.mark.parametrize("times", [[1500, 1400], [999, 1500], [1500, 2000]])
def test_unsorted_or_strayed_tags_are_an_error(times):
    raw = bytearray(encoded(block_of(times, 1000, 2000), 0))
    header_bytes, payload = raw[: tag_stream.HEADER_BYTES], raw[tag_stream.HEADER_BYTES :]
    with pytest.raises(InstrumentError, match="not sorted, or outside"):
        tag_stream.decode_payload(header_bytes, tag_stream.decode_header(header_bytes), payload)


def test_unequal_arrays_are_not_sent():
    block = TagBlock(np.zeros(3, np.int64), np.zeros(2, np.uint8), 0, 10)
    with pytest.raises(InstrumentError, match="they need one length"):
        tag_stream.encode_block(block, 0)


def test_strided_arrays_are_sent_in_order():
    times = np.arange(20, dtype=np.int64)[::2]
    block = TagBlock(times, np.arange(20, dtype=np.uint8)[::2], 0, 20)
    raw = bytearray(encoded(block, 0))
    header = tag_stream.decode_header(raw[: tag_stream.HEADER_BYTES])
    back = tag_stream.decode_payload(raw[:44], header, raw[44:])
    assert isinstance(back, TagBlock)
    np.testing.assert_array_equal(back.times_ps, times)
    np.testing.assert_array_equal(back.channels, block.channels)


# a tagger that says what it is told to


def reply(said: dict[str, object], state: str = "OK") -> bytes:
    return f"{state} {json.dumps(said)}\n".encode()


READY = (b"channels\n", reply(CHANNELS))
BLOCKS = [block_of(np.arange(k * 100, k * 100 + 100, 10), k * 100, (k + 1) * 100) for k in range(4)]
END = tag_stream.encode_end(4, 400)
DURATION_S = 400e-12
ASKED = f"stream {DURATION_S!r}\n".encode()


def streamed(*parts: bytes) -> list[tuple[bytes, bytes]]:
    return [READY, READY, (ASKED, reply({"sequence": 0}) + b"".join(parts))]


def tagger(instrument, **kwargs) -> TagStream:
    return TagStream(instrument.address, **{"timeout_s": 2.0, **kwargs})


@pytest.mark.parametrize("cut", [0, 1, 43, 44, 45])
def test_a_stream_however_the_network_cuts_it(conversation, cut):
    parts = [encoded(block, k) for k, block in enumerate(BLOCKS)]
    instrument = conversation([*streamed(*parts, END), READY], cut=cut)
    with tagger(instrument) as device:
        got = list(device.stream(DURATION_S))
        assert [b.start_ps for b in got] == [0, 100, 200, 300]
        np.testing.assert_array_equal(
            np.concatenate([b.times_ps for b in got]), np.arange(0, 400, 10)
        )
        device._read_channels()  # the connection speaks text again


@pytest.mark.parametrize(
    ("sent", "match"),
    [
        ([0, 2, 3], "got block 2 of the stream instead of block 1"),
        ([0, 1, 1, 2, 3], "got block 1 of the stream instead of block 2"),
        ([1, 2, 3], "got block 1 of the stream instead of block 0"),
        ([0, 1, 2], r"got block 4 of the stream instead of block 3"),
    ],
)
def test_lost_and_repeated_blocks_are_an_error(conversation, sent, match):
    instrument = conversation(streamed(*(encoded(BLOCKS[k], k) for k in sent), END))
    with tagger(instrument) as device, pytest.raises(InstrumentError, match=match):
        list(device.stream(DURATION_S))


def test_a_gap_in_time_is_an_error(conversation):
    parts = [encoded(BLOCKS[0], 0), encoded(BLOCKS[2], 1)]
    instrument = conversation(streamed(*parts))
    with (
        tagger(instrument) as device,
        pytest.raises(
            InstrumentError,
            match=r"from 200 to 300 ps of the stream instead of one that starts at 100 ps",
        ),
    ):
        list(device.stream(DURATION_S))


def test_a_stream_that_ends_early_is_an_error(conversation):
    parts = [encoded(BLOCKS[0], 0), tag_stream.encode_end(1, 100)]
    instrument = conversation(streamed(*parts))
    with tagger(instrument) as device, pytest.raises(InstrumentError, match="got '100 ps'"):
        list(device.stream(DURATION_S))


def test_a_stream_that_breaks_off_is_an_error(conversation):
    said = streamed(encoded(BLOCKS[0], 0), encoded(BLOCKS[1], 1)[:50])
    instrument = conversation([*said, (b"", None)])
    with tagger(instrument) as device:
        stream = device.stream(DURATION_S)
        next(stream)
        with pytest.raises(InstrumentError, match=r"closed by the instrument.*'stream"):
            next(stream)


def test_a_damaged_block_is_an_error(conversation):
    damaged = bytearray(encoded(BLOCKS[0], 0))
    damaged[50] ^= 1
    instrument = conversation(streamed(bytes(damaged)))
    with tagger(instrument) as device, pytest.raises(InstrumentError, match="checksum is wrong"):
        list(device.stream(DURATION_S))


def test_a_failing_tagger_is_told_in_its_words(conversation):
    parts = [encoded(BLOCKS[0], 0), tag_stream.encode_error(1, 100, "USB cable pulled")]
    instrument = conversation(streamed(*parts))
    with tagger(instrument) as device, pytest.raises(InstrumentError, match="USB cable pulled"):
        list(device.stream(DURATION_S))


@pytest.mark.parametrize(
    "said",
    [
        b"ERROR\n",
        b"OK\n",
        b"OK 5\n",
        b"fine\n",
        reply({**CHANNELS, "sync_divider": 0}),
        reply({**CHANNELS, "a": "1"}),
        reply({"a": 1}),
        b'OK {"a": 1, "b": 2, "sync": 0, "sync_divider": 64, "resolution_ps": NaN}\n',
    ],
)
def test_garbled_channels_are_an_error(conversation, said):
    instrument = conversation([(b"channels\n", said)])
    device = tagger(instrument)
    with pytest.raises(InstrumentError, match="asked 'channels', got"):
        device.open()
    device.close()


@pytest.mark.parametrize(
    "said",
    [
        {"clicks": [1], "dwell_s": 1.0},
        {"clicks": [1, -1], "dwell_s": 1.0},
        {"clicks": [1, 2.5], "dwell_s": 1.0},
        {"clicks": [1, 2], "dwell_s": 0.0},
        {"clicks": [1, 2]},
    ],
)
def test_garbled_counts_are_an_error(conversation, said):
    instrument = conversation([READY, (b"count 1.0\n", reply(said))])
    with tagger(instrument) as device, pytest.raises(InstrumentError, match=r"asked 'count 1\.0'"):
        device.count(1.0)


def test_another_protocol_version_is_an_error(conversation):
    instrument = conversation([READY, (b"identify\n", reply({"protocol": 2}))])
    with tagger(instrument) as device, pytest.raises(InstrumentError, match="protocol 1"):
        device.identify()


# through the server


@pytest.fixture
def served(lab):
    with TaggerEmulator(lab) as emulator:
        yield emulator


def test_reads_the_channels(served):
    with tagger(served) as device:
        assert (device.channel_a, device.channel_b, device.channel_sync) == (1, 2, 0)
        assert (device.sync_divider, device.resolution_ps) == (64, 42.0)
    with pytest.raises(InstrumentError, match="not open"):
        _ = tagger(served).channel_a


def test_counts(lab, served):
    with tagger(served) as device:
        counts = device.count(2.0)
        assert (counts.clicks, counts.dwell_s) == ((2000, 1000), 2.0)
        assert lab.time_s >= 2.0


@pytest.mark.parametrize("time_s", [0.0, -1.0, math.nan, math.inf])
def test_a_time_that_is_none_is_refused(served, time_s):
    with tagger(served) as device:
        with pytest.raises(UsageError, match="dwell_s = "):
            device.count(time_s)
        with pytest.raises(UsageError, match="duration_s = "):
            list(device.stream(time_s))


def test_streams_the_whole_time_without_a_gap(lab, served):
    with tagger(served) as device:
        blocks = list(device.stream(0.105))
    assert [b.start_ps for b in blocks] == [0, *(b.stop_ps for b in blocks[:-1])]
    assert blocks[-1].stop_ps == 105_000_000_000
    expected = list(lab.stream(0.105))
    for block, original in zip(blocks, expected, strict=True):
        np.testing.assert_array_equal(block.times_ps, original.times_ps)
        np.testing.assert_array_equal(block.channels, original.channels)


def test_overflow_is_passed_on(lab, served):
    lab.overflow_in = {1, 3}
    with tagger(served) as device:
        assert [b.overflow for b in device.stream(0.1)] == [False, True, False, True, False]


def test_empty_blocks_are_passed_on(lab, served):
    lab.tags_per_block = 0
    with tagger(served) as device:
        blocks = list(device.stream(0.06))
    assert [len(b.times_ps) for b in blocks] == [0, 0, 0]
    assert blocks[-1].stop_ps == 60_000_000_000


def test_a_vendors_failure_reaches_the_client_and_the_server_lives(lab, served):
    lab.fail_at = 2
    with tagger(served) as device:
        stream = device.stream(0.1)
        assert [next(stream).start_ps for _ in range(2)] == [0, 20_000_000_000]
        with pytest.raises(InstrumentError, match="RuntimeError: USB cable pulled"):
            next(stream)
        lab.fail_at = None
        assert len(list(device.stream(0.1))) == 5


def test_a_stream_given_up_frees_the_tagger(lab, served):
    with tagger(served) as device:
        for _ in range(5):
            stream = device.stream(1000.0)
            next(stream)
            stream.close()
            assert device.count(0.1).clicks == (100, 50)
            assert len(list(device.stream(0.04))) == 2
        deadline = time.monotonic() + 5.0
        while device.snapshot()["stream_owner"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert device.snapshot()["stream_owner"] == ""
    assert lab.streams_closed == 10


def test_a_stream_left_hanging_is_given_up_by_the_next_request(served):
    with tagger(served) as device:
        stream = device.stream(1000.0)
        next(stream)
        assert device.count(0.1).clicks == (100, 50)
        with pytest.raises(InstrumentError, match="the stream ended early"):
            next(stream)
        assert device.count(0.1).clicks == (100, 50)


def test_one_owner_at_a_time_and_others_still_count(lab, served, monkeypatch):
    monkeypatch.setattr(tag_server, "OWNER_WAIT_S", 0.05)
    lab.tags_per_block = 999  # 333 on each channel in 20 ms
    with tagger(served) as owner, tagger(served) as other:
        stream = owner.stream(1000.0)
        first = next(stream)
        assert first.start_ps == 0
        with pytest.raises(InstrumentError, match=r"busy: 127\.0\.0\.1:\d+ owns the stream"):
            next(other.stream(0.1))
        assert other.snapshot()["stream_owner"] != ""

        counted = []
        counter = threading.Thread(target=lambda: counted.append(other.count(0.05)))
        counter.start()
        for _ in stream:
            if counted:
                break
        counter.join(timeout=5.0)
        stream.close()
        # 2.5 blocks of 20 ms: in the last one the tags are evenly spread
        assert counted[0].dwell_s == pytest.approx(0.05)
        assert counted[0].clicks == (pytest.approx(2.5 * 333, abs=1),) * 2
        assert lab.time_s < 0.05  # it did not take the tagger's time away from the stream


def test_a_count_in_a_stretch_with_lost_tags_is_an_error(lab, served):
    lab.overflow_in = set(range(1000))
    with tagger(served) as owner, tagger(served) as other:
        stream = owner.stream(1000.0)
        next(stream)
        failures = []

        def count() -> None:
            try:
                other.count(0.05)
            except InstrumentError as error:
                failures.append(str(error))

        counter = threading.Thread(target=count)
        counter.start()
        for _ in stream:
            if failures:
                break
        counter.join(timeout=5.0)
        stream.close()
        assert "overflow: tags were lost" in failures[0]


def test_a_count_that_outlives_the_stream_is_finished_without_it(lab, served):
    lab.tags_per_block = 999
    lab.go_on.clear()
    with tagger(served) as owner, tagger(served) as other:
        stream = owner.stream(0.1)
        reader = threading.Thread(target=lambda: list(stream))
        reader.start()
        while not other.snapshot()["stream_owner"]:
            time.sleep(0.001)
        counted = []
        counter = threading.Thread(target=lambda: counted.append(other.count(50.0)))
        counter.start()
        while not served._taps:
            time.sleep(0.001)
        lab.go_on.set()
        reader.join(timeout=5.0)
        counter.join(timeout=5.0)
        # of the five blocks the first was under way, and the second may have been buffered
        assert counted[0].dwell_s == pytest.approx(50.0)
        rest_s = 50.0 - 3 * 0.02
        assert counted[0].clicks == (
            3 * 333 + round(1000 * rest_s),
            3 * 333 + round(500 * rest_s),
        )


def test_the_server_answers_nonsense_with_an_error(served):
    with socket.create_connection((served.host, served.port)) as client:
        stream = client.makefile("rwb")
        for asked in [
            "",
            "fly",
            "count",
            "count x",
            "count -1",
            "count 1 2",
            "stream",
            "identify 1",
        ]:
            stream.write(f"{asked}\n".encode())
            stream.flush()
            state, _, text = stream.readline().decode().partition(" ")
            assert state == "ERROR"
            assert json.loads(text)["code"] == "usage"
        stream.close()


def test_the_server_is_frugal_with_a_client_that_hangs_up_in_a_stream(lab, served):
    """It stops asking the tagger for tags that nobody reads."""
    with tagger(served) as device:
        next(device.stream(1000.0))
    deadline = time.monotonic() + 5.0
    while not lab.streams_closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lab.streams_closed == 1
    assert lab.blocks_made < 5000


def test_carries_many_tags_without_touching_each(lab, served):
    lab.tags_per_block = 200_000
    with tagger(served) as device:
        started = time.perf_counter()
        total = sum(len(block.times_ps) for block in device.stream(1.0))
        elapsed = time.perf_counter() - started
    assert total == 10_000_000
    print(f"{total / elapsed / 1e6:.0f} M tags/s")
