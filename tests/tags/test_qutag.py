"""quTAG files written here byte by byte, and the summary of a file of tags."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qdchar.cli import run as qdchar
from qdchar.errors import RecordError
from qdchar.tags import open_tags
from qdchar.tags.counting.correlation import CorrelationHistogram
from qdchar.tags.summary import summarise

MAGIC = bytes.fromhex("87b391fa22dd2800")
TAGS = [(5_000_003, 2), (5_000_777, 7), (9_123_457, 2), (1_000_000_000_001, 3)]
"""Arrival time [ps] and channel."""


def write(file: Path, tags: list[tuple[int, int]], more: bytes = b"") -> Path:
    records = np.array(tags, dtype=[("time_ps", "<i8"), ("channel", "<u2")])
    file.write_bytes(MAGIC.ljust(40, b"\0") + records.tobytes() + more)
    return file


def test_times_and_channels_come_as_they_were_written(tmp_path: Path) -> None:
    source = open_tags(write(tmp_path / "x.qutag", TAGS))
    found = [x for c in source.chunks() for x in zip(c.times_ps, c.channels, strict=True)]
    assert found == TAGS
    assert (source.start_ps, source.stop_ps) == (5_000_003, 1_000_000_000_002)
    assert source.duration_s == pytest.approx(0.999994999999, rel=1e-12)


def test_info_counts_every_channel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "x.qutag", TAGS)
    assert summarise(open_tags(file)).clicks == {2: 2, 3: 1, 7: 1}
    assert qdchar(["info", str(file), "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["clicks"] == {"2": 2, "3": 1, "7": 1}


def test_a_cut_record_is_left_out_and_said(tmp_path: Path) -> None:
    source = open_tags(write(tmp_path / "x.qutag", TAGS, more=b"\1\2\3"))
    assert sum(len(c) for c in source.chunks()) == 4
    assert "cut off" in source.warnings[0]


def test_a_channel_beyond_255_is_damage(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="byte 50 has time 7 ps and channel 256"):
        list(open_tags(write(tmp_path / "x.qutag", [(5, 1), (7, 256)])).chunks())


def test_the_centres_of_bins_are_half_a_bin_after_their_edges() -> None:
    histogram = CorrelationHistogram(-30, 20, np.array([1, 2, 3]), 1, 2, 9, 9, 1.0)
    assert histogram.edges_ps.tolist() == [-30, -10, 10, 30]
    assert histogram.centres_ps.tolist() == [-20.0, 0.0, 20.0]
