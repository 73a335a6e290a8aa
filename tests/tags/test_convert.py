from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import ptufile
import pytest
from click.testing import CliRunner

from qdchar.cli.convert import convert
from qdchar.cli.info import info
from qdchar.errors import RecordError
from qdchar.tags import SYNC_CHANNEL, TagArrays, TagMetadata, TagSource, open_tags
from qdchar.tags.convert import write_hdf5
from qdchar.tags.formats.ptu import PtuFile
from qdchar.tags.formats.ptu_writer import write_ptu

HBT = "200213_HH400_T3_80MHz_HBT.ptu"


def everything(source: TagSource) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(source.chunks(1_000))
    return (
        np.concatenate([c.times_ps for c in chunks]),
        np.concatenate([c.channels for c in chunks]),
    )


def sparse_stream(sync: bool) -> TagArrays:
    """Gaps from nothing to seconds, so that one overflow record must count many overflows."""
    rng = np.random.default_rng(6)
    gaps = np.where(
        rng.random(20_000) < 0.01,
        rng.integers(0, 2 * 10**12, 20_000),
        rng.integers(0, 10**6, 20_000),
    )
    numbers = [0, 1, 17, 62] + ([SYNC_CHANNEL] if sync else [])
    return TagArrays(
        7 * 10**15 + np.cumsum(gaps), rng.choice(numbers, 20_000), start_ps=7 * 10**15 - 10**9,
        resolution_ps=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["HydraHarp2", "Generic", "TimeHarp 260P"])
def test_t2_reads_back_exactly_here_and_in_ptufile(tmp_path: Path, kind: str) -> None:
    source = sparse_stream(sync=True)
    path = tmp_path / "t2.ptu"
    count = write_ptu(path, source, mode="T2", kind=kind)
    times, channels = everything(source)
    back = open_tags(path)
    np.testing.assert_array_equal(everything(back)[0], times - source.start_ps)
    np.testing.assert_array_equal(everything(back)[1], channels)
    assert back.duration_s == pytest.approx(source.duration_s, abs=34e-6)
    assert back.warnings == ()
    with ptufile.PtuFile(path) as theirs:
        assert theirs.number_records == count
        assert theirs.global_resolution == pytest.approx(1e-12)
        records = theirs.decode_records()
    photons = records[records["channel"] >= 0]
    np.testing.assert_array_equal(photons["time"].astype(np.int64), times - source.start_ps)
    np.testing.assert_array_equal(
        photons["channel"], np.where(channels == SYNC_CHANNEL, 0, channels)
    )


def test_t3_of_a_t3_file_reads_back_exactly(hbt_data: Path, tmp_path: Path) -> None:
    original = open_tags(hbt_data / HBT)
    path = tmp_path / "t3.ptu"
    write_ptu(path, original, mode="T3", kind="Generic")
    back = open_tags(path)
    for one, other in zip(everything(back), everything(original), strict=True):
        np.testing.assert_array_equal(one, other)
    with ptufile.PtuFile(hbt_data / HBT) as a, ptufile.PtuFile(path) as b:
        first, second = (f.decode_records() for f in (a, b))
    keep = ["time", "dtime", "channel"]
    np.testing.assert_array_equal(
        first[first["channel"] >= 0][keep], second[second["channel"] >= 0][keep]
    )


def test_t3_keeps_whole_steps_after_the_sync(tmp_path: Path) -> None:
    source = sparse_stream(sync=False)
    path = tmp_path / "t3.ptu"
    write_ptu(path, source, mode="T3", sync_period_ps=99_999.9, unit_ps=5)
    lost = everything(source)[0] - source.start_ps - everything(open_tags(path))[0]
    assert lost.min() >= 0
    assert lost.max() < 5


def test_decay_from_records_equals_folding_and_ptufile(hbt_data: Path) -> None:
    source = open_tags(hbt_data / HBT)
    assert isinstance(source, PtuFile)
    for channel in (0, 1):
        decay = source.decay(channel)
        assert decay.bin_ps == 16.0
        assert decay.counts.sum() == source.counts.clicks[channel]
        with ptufile.PtuFile(hbt_data / HBT) as theirs:
            expected = theirs.decode_histogram(dtime=len(decay.counts))[channel]
        np.testing.assert_array_equal(decay.counts, expected)
    bad = open_tags(hbt_data / "200204_HH400_T3_320MHz_HBT_bad_header.ptu")
    assert isinstance(bad, PtuFile)
    with pytest.raises(RecordError, match="than the sync period"):
        bad.decay(0)


def test_what_a_ptu_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ptu"
    with pytest.raises(RecordError, match="channel 63 does not fit"):
        write_ptu(path, TagArrays([0], [63]))
    path.unlink()
    with pytest.raises(RecordError, match="give the sync period"):
        write_ptu(path, TagArrays([0], [0]), mode="T3")
    with pytest.raises(RecordError, match="take a larger step"):
        write_ptu(path, TagArrays([0], [0]), mode="T3", sync_period_ps=1e6, unit_ps=1)
    with pytest.raises(RecordError, match="cannot write PicoHarp T2"):
        write_ptu(path, TagArrays([0], [0]), kind="PicoHarp")
    write_ptu(path, TagArrays([0], [0]))
    with pytest.raises(RecordError, match="exists already"):
        write_ptu(path, TagArrays([0], [0]))


def test_hdf5_keeps_what_the_file_said(hbt_data: Path, tmp_path: Path) -> None:
    original = open_tags(hbt_data / HBT)
    back = open_tags(write_hdf5(tmp_path / "run.h5", original))
    for one, other in zip(everything(back), everything(original), strict=True):
        np.testing.assert_array_equal(one, other)
    assert back.duration_s == original.duration_s
    assert back.resolution_ps == 16.0
    assert back.metadata.sync_period_ps == original.metadata.sync_period_ps
    assert back.metadata.attributes["HWSync_Divider"] == 8
    assert back.metadata.attributes["converted_from"] == "PicoQuant HydraHarp2 T3"


def test_convert_and_info_on_the_command_line(tmp_path: Path) -> None:
    times = np.arange(1, 1001) * 10**9
    source = TagArrays(
        times, times // 10**9 % 2, start_ps=0, stop_ps=10**12 + 10**9,
        metadata=TagMetadata(comment="made up"),
    )  # fmt: skip
    first = tmp_path / "a.h5"
    write_hdf5(first, source)
    done = CliRunner().invoke(convert, [str(first), str(tmp_path / "b.ptu"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output.splitlines()[-1])["clicks"] == 1_000
    shown = CliRunner().invoke(info, [str(tmp_path / "b.ptu"), "--json"])
    assert shown.exit_code == 0, shown.output
    assert "HydraHarp2 T2" in shown.output
    line = json.loads(shown.output.splitlines()[-1])
    assert line["clicks"] == {"0": 500, "1": 500}
    assert line["duration_s"] == pytest.approx(1.001, abs=34e-6)
    refused = CliRunner().invoke(convert, [str(first), str(tmp_path / "b.csv")])
    assert refused.exit_code != 0
