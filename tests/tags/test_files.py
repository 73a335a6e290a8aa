from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import ptufile
import pytest
from ptufile._ptufile import decode_t2_records, decode_t3_records
from ptufile.ptufile import T2_RECORD_DTYPE, T3_RECORD_DTYPE

from qdchar.errors import RecordError
from qdchar.tags import SYNC_CHANNEL, TagArrays, open_tags
from qdchar.tags.formats import ptu_records as rec
from qdchar.tags.formats.ptu import PtuFile
from qdchar.tags.formats.ptu_header import RECORD_TYPES, RecordType
from qdchar.tags.formats.qutag import QutagFile
from qdchar.tags.source import TagChunk, TimeOrder, in_time_order

HBT = "200213_HH400_T3_80MHz_HBT.ptu"
BAD = "200204_HH400_T3_320MHz_HBT_bad_header.ptu"
QUTAG = "19_qutag_80MHz_HBT_sync_filtered.qutag"


def random_records(kind: RecordType, n: int, rng: np.random.Generator) -> np.ndarray:
    """Every sort of valid record of this type, overflows and markers often."""
    raw = rng.integers(0, 1 << 32, n, dtype=np.uint32)
    if kind.picoharp:
        channel = rng.choice([1, 2, 3, 4, 15] + ([0] if not kind.is_t3 else []), n)
        raw = (raw & 0x0FFFFFFF) | (channel.astype(np.uint32) << 28)
        if kind.is_t3:  # a marker has four bits
            raw = np.where(channel == 15, raw & 0xF00FFFFF, raw)
        return raw.astype(np.uint32)
    special = rng.random(n) < 0.3
    inner = rng.choice([63, 1, 2, 15] + ([0] if not kind.is_t3 else []), n)
    raw = np.where(
        special, (raw & 0x01FFFFFF) | (inner.astype(np.uint32) << 25) | (1 << 31), raw & 0x7FFFFFFF
    )
    few = raw & ~np.uint32(0x3F0)  # few overflows at once, also none (which stands for one)
    return np.where(special & (inner == 63), few & (0xFE000000 | 0x3FF), raw).astype(np.uint32)


@pytest.mark.parametrize("kind", RECORD_TYPES.values(), ids=lambda k: k.name)
def test_decoding_equals_ptufile_record_by_record(kind: RecordType) -> None:
    raw = random_records(kind, 100_000, np.random.default_rng(kind.code))
    theirs = np.zeros(len(raw), T3_RECORD_DTYPE if kind.is_t3 else T2_RECORD_DTYPE)
    (decode_t3_records if kind.is_t3 else decode_t2_records)(theirs, raw, kind.code)
    photons = theirs[theirs["channel"] >= 0]
    period = 1000 if kind.is_t3 else 1
    reader = SimpleNamespace(
        header=SimpleNamespace(kind=kind, global_ps=float(period), dtime_ps=7.0 * kind.is_t3)
    )
    times, channels = np.empty(len(raw), np.int64), np.empty(len(raw), np.uint8)
    state = np.zeros(rec.STATE_SIZE, np.int64)
    got_times, got_channels = [], []
    for part in np.array_split(raw, 7):  # the overflow count must survive the cuts
        count = PtuFile._decode(reader, part.copy(), times, channels, state)  # type: ignore[arg-type]
        assert count >= 0
        got_times.append(times[:count].copy())
        got_channels.append(channels[:count].copy())
    dtime = photons["dtime"].astype(np.int64) if kind.is_t3 else 0
    np.testing.assert_array_equal(
        np.concatenate(got_times), photons["time"].astype(np.int64) * period + 7 * dtime
    )
    # ptufile gives the T2 sync of the HydraHarp family the number of the first input
    ours = np.concatenate(got_channels)
    np.testing.assert_array_equal(np.where(ours == SYNC_CHANNEL, 0, ours), photons["channel"])
    assert state[rec.MARKERS] == np.count_nonzero(theirs["marker"])
    assert state[rec.CLICKS] == len(photons)


def test_real_hydraharp_file(hbt_data: Path) -> None:
    source = open_tags(hbt_data / HBT)
    assert isinstance(source, PtuFile)
    assert source.header.kind.name == "HydraHarp2 T3"
    assert source.metadata.sync_period_ps == pytest.approx(12_495.520355952392, abs=1e-9)
    assert source.resolution_ps == 16.0
    assert source.channels == (0, 1)
    assert source.counts.clicks[[0, 1]].tolist() == [160_953, 235_373]
    assert source.duration_s == pytest.approx(5.0, abs=1e-3)
    assert source.warnings == ()
    with ptufile.PtuFile(hbt_data / HBT) as reference:
        theirs = reference.decode_records()
    photons = theirs[theirs["channel"] >= 0]
    times = np.concatenate([c.times_ps for c in source.chunks(10_000)])
    channels = np.concatenate([c.channels for c in source.chunks(10_000)])
    exact = photons["time"] * np.longdouble(12_495.520355952392) + 16 * photons["dtime"].astype(
        np.longdouble
    )
    assert np.abs(times - exact).max() <= 1.0  # up to the next whole picosecond
    np.testing.assert_array_equal(channels, photons["channel"])


def test_file_with_inconsistent_header_is_refused_in_plain_words(hbt_data: Path) -> None:
    with pytest.raises(
        RecordError, match=r"later after the sync \(up to 524\.\d ns\) than the sync period"
    ):
        for _ in open_tags(hbt_data / BAD).chunks():
            pass


def test_real_qutag_file(hbt_data: Path) -> None:
    source = open_tags(hbt_data / QUTAG)
    assert isinstance(source, QutagFile)
    chunks = list(source.chunks(5_000))
    times = np.concatenate([c.times_ps for c in chunks])
    channels = np.concatenate([c.channels for c in chunks])
    assert source.late_tags == 173
    assert source.warnings == ("173 tags were out of order, by at most 85.918 ns; sorted",)
    assert np.all(np.diff(times) >= 0)
    raw = np.fromfile(hbt_data / QUTAG, [("t", "<i8"), ("c", "<u2")], offset=40)
    order = np.argsort(raw["t"], kind="stable")
    np.testing.assert_array_equal(times, raw["t"][order])
    np.testing.assert_array_equal(channels, raw["c"][order])
    assert source.channels == (1, 2, 5)


def test_truncated_ptu_is_read_with_a_counted_warning(hbt_data: Path, tmp_path: Path) -> None:
    whole = (hbt_data / HBT).read_bytes()
    cut = tmp_path / "cut.ptu"
    cut.write_bytes(whole[:1_000_002])
    source = open_tags(cut)
    n = sum(len(c) for c in source.chunks())
    assert 0 < n < 396_326
    early, last = source.warnings
    assert "of 561879 claimed" in early
    assert "byte 1000000" in last


def test_header_that_claims_no_records_is_read_to_the_end(hbt_data: Path, tmp_path: Path) -> None:
    whole = bytearray((hbt_data / HBT).read_bytes())
    at = whole.index(b"TTResult_NumberOfRecords") + 40
    whole[at : at + 8] = bytes(8)
    unclosed = tmp_path / "unclosed.ptu"
    unclosed.write_bytes(whole)
    source = open_tags(unclosed)
    assert sum(len(c) for c in source.chunks()) == 396_326
    assert "claims 0 records" in source.warnings[0]


def patched(whole: bytes, name: bytes, value: bytes) -> bytes:
    at = whole.index(name) + 40
    return whole[:at] + value + whole[at + 8 :]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (b"MeasDesc_GlobalResolution", np.float64(25e-9).tobytes(), "contradicts its sync period"),
        (b"MeasDesc_GlobalResolution", np.float64(np.nan).tobytes(), "no valid MeasDesc_GlobalRes"),
        (b"MeasDesc_Resolution", np.float64(1.6e-5).tobytes(), "does not fit the sync period"),
        (b"TTResultFormat_TTTRRecType", np.int64(0x00010207).tobytes(), "measurement mode T3 but"),
        (
            b"TTResultFormat_TTTRRecType",
            np.int64(0x99).tobytes(),
            "record type 0x00000099 is unknown",
        ),
        (b"File_Comment", np.int64(1 << 50).tobytes(), "claims 1125899906842624 bytes"),
        (b"File_Comment", np.int64(-1).tobytes(), "claims -1 bytes"),
    ],
)
def test_contradictions_in_the_header_are_refused(
    hbt_data: Path, tmp_path: Path, name: bytes, value: bytes, message: str
) -> None:
    path = tmp_path / "patched.ptu"
    path.write_bytes(patched((hbt_data / HBT).read_bytes(), name, value))
    with pytest.raises(RecordError, match=message):
        open_tags(path)


def test_run_time_that_contradicts_the_header_is_refused(hbt_data: Path, tmp_path: Path) -> None:
    path = tmp_path / "patched.ptu"
    path.write_bytes(
        patched((hbt_data / HBT).read_bytes(), b"TTResult_StopAfter", np.int64(60_000).tobytes())
    )
    with pytest.raises(RecordError, match=r"took 60 s, but its records end at 4\.99"):
        list(open_tags(path).chunks())


def test_damaged_record_is_named_by_its_byte(hbt_data: Path, tmp_path: Path) -> None:
    whole = bytearray((hbt_data / HBT).read_bytes())
    whole[4392 + 4 * 1000 : 4392 + 4 * 1001] = np.uint32(0x80000000 | (40 << 25)).tobytes()
    path = tmp_path / "damaged.ptu"
    path.write_bytes(whole)
    with pytest.raises(RecordError, match="record 1000 at byte 8392"):
        list(open_tags(path).chunks())


def test_unknown_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be opened: No such file"):
        open_tags(tmp_path / "missing.ptu")
    for content, message in ((b"", "is empty"), (b"hello, world", "neither PicoQuant PTU")):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(RecordError, match=message):
            open_tags(path)
    path = tmp_path / "short.qutag"
    path.write_bytes(b"abc")
    with pytest.raises(RecordError, match="3 bytes"):
        open_tags(path)


def test_reordering_across_chunks() -> None:
    rng = np.random.default_rng(4)
    true = np.cumsum(rng.integers(0, 50, 5_000))
    arrival = np.argsort(true + rng.integers(0, 2_000, len(true)), kind="stable")
    channels = rng.integers(0, 4, len(true)).astype(np.uint8)
    late = true[arrival]
    found = TimeOrder(2_000)
    parts = [
        TagChunk(late[i : i + 61], channels[arrival][i : i + 61]) for i in range(0, len(late), 61)
    ]
    out = list(in_time_order(parts, found))
    np.testing.assert_array_equal(np.concatenate([c.times_ps for c in out]), true)
    assert found.late_tags == np.count_nonzero(np.diff(late) < 0)
    assert found.largest_step_back_ps == -np.diff(late).min()
    with pytest.raises(RecordError, match="out of order"):
        list(in_time_order(parts, TimeOrder(100)))


def test_arrays_are_checked() -> None:
    with pytest.raises(RecordError, match="tag 2 lies before tag 1"):
        TagArrays([0, 5, 3], [0, 0, 0])
    with pytest.raises(RecordError, match="outside the time covered"):
        TagArrays([0, 5], [0, 0], stop_ps=5)


def test_one_record_may_count_any_number_of_overflows() -> None:
    # ptufile multiplies in 32 bits and is wrong from 128 overflows in a T2 record, 4.3 ms of dark
    raw = np.array([(1 << 31) | (63 << 25) | 1_000_000, 7], np.uint32)
    times, channels = np.empty(2, np.int64), np.empty(2, np.uint8)
    state = np.zeros(rec.STATE_SIZE, np.int64)
    assert rec.decode_t2(raw, 1 << 25, True, 1, 1 << 60, times, channels, state) == 1
    assert times[0] == 1_000_000 * 2**25 + 7
