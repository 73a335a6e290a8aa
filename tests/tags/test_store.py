from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from qdchar.errors import RecordError
from qdchar.tags import TagWriter, open_tags
from qdchar.tags.formats.photon_hdf5 import StoredTags


def stream(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.integers(0, 10**6, n)) + 10**16, rng.integers(0, 3, n).astype(np.uint8)


def read(path: Path, size: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    parts = list(open_tags(path).chunks(size))
    return (
        np.concatenate([p.times_ps for p in parts]),
        np.concatenate([p.channels for p in parts]),
    )


def test_tags_come_back_exactly_with_their_span_and_metadata(tmp_path: Path) -> None:
    times, channels = stream(200_000)
    path = tmp_path / "run.h5"
    with TagWriter(
        path, resolution_ps=42.0, start_ps=10**16 - 5, instrument="twin", comment="HBT",
        sync_period_ps=13135.4, attributes={"arm": "fibre", "power_W": 1e-6, "shots": 3},
    ) as writer:  # fmt: skip
        for i in range(0, len(times), 7_777):
            writer.append(times[i : i + 7_777], channels[i : i + 7_777])
        writer.append(times[:0], channels[:0], covered_until_ps=int(times[-1]) + 10**9)
    back = open_tags(path)
    np.testing.assert_array_equal(read(path)[0], times)
    np.testing.assert_array_equal(read(path)[1], channels)
    assert (back.start_ps, back.stop_ps) == (10**16 - 5, int(times[-1]) + 10**9)
    assert back.duration_s == pytest.approx(
        (int(times[-1]) + 10**9 - 10**16 + 5) * 1e-12, rel=1e-15
    )
    assert back.channels == (0, 1, 2)
    assert back.resolution_ps == 42.0
    assert back.metadata.instrument == "twin"
    assert back.metadata.sync_period_ps == 13135.4
    assert back.metadata.attributes == {"arm": "fibre", "power_W": 1e-6, "shots": 3}
    assert back.warnings == ()


def test_layout_is_photon_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with TagWriter(path, resolution_ps=1.0) as writer:
        writer.append(np.array([1, 2]), np.array([0, 1]))
    with h5py.File(path) as file:
        assert file.attrs["format_name"] == "Photon-HDF5"
        assert file["photon_data/timestamps"][:].tolist() == [1, 2]
        assert file["photon_data/timestamps"].dtype == np.int64
        assert file["photon_data/detectors"].dtype == np.uint8
        assert file["photon_data/timestamps_specs/timestamps_unit"][()] == 1e-12
        assert file["acquisition_duration"][()] == pytest.approx(3e-12)


def test_a_file_of_another_program_in_its_own_unit(tmp_path: Path) -> None:
    path = tmp_path / "other.hdf5"
    with h5py.File(path, "w") as file:
        file["photon_data/timestamps"] = np.array([0, 80, 10**12], np.int64)
        file["photon_data/detectors"] = np.array([0, 1, 0], np.uint8)
        file["photon_data/timestamps_specs/timestamps_unit"] = 12.5e-9
    times, _ = read(path)
    assert times.tolist() == [0, 10**6, 12_500 * 10**12]
    assert open_tags(path).resolution_ps == pytest.approx(12_500)


def test_writing_refuses_what_would_not_be_a_stream(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with TagWriter(path, resolution_ps=1.0) as writer:
        writer.append(np.array([10, 20]), np.array([0, 1]))
        with pytest.raises(RecordError, match="not in time order"):
            writer.append(np.array([19]), np.array([0]))
        with pytest.raises(RecordError, match="not in time order"):
            writer.append(np.array([30, 25]), np.array([0, 0]))
        with pytest.raises(RecordError, match="one channel for each time"):
            writer.append(np.array([30, 31]), np.array([0]))
        with pytest.raises(RecordError, match="covered until 15"):
            writer.append(np.array([30]), np.array([0]), covered_until_ps=15)
    with pytest.raises(RecordError, match="exists already"):
        TagWriter(path, resolution_ps=1.0)


KILLED = """
import sys, time
import numpy as np
from qdchar.tags import TagWriter
writer = TagWriter(sys.argv[1], resolution_ps=1.0)
block = 0
while True:
    times = np.arange(block * 30_000, (block + 1) * 30_000) * 10
    writer.append(times, (times // 10 % 5).astype(np.uint8))
    writer.flush()
    block += 1
    print(block, flush=True)
"""


def test_a_kill_loses_nothing_that_was_flushed(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True, cwd=root
    )
    assert process.stdout is not None
    blocks = 0
    live = None
    while blocks < 20:
        blocks = int(process.stdout.readline())
        if blocks == 10:
            live = sum(len(c) for c in StoredTags(path).chunks())  # while it is being written
    time.sleep(0.003)  # somewhere within a later block
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    blocks = int(rest[-1]) if rest else blocks
    assert live is not None
    assert live >= 10 * 30_000
    times, channels = read(path)
    assert len(times) >= blocks * 30_000
    np.testing.assert_array_equal(times, np.arange(len(times)) * 10)
    np.testing.assert_array_equal(channels, np.arange(len(times)) % 5)
    assert open_tags(path).stop_ps > times[-1]


def test_what_is_not_photon_hdf5_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.h5"
    h5py.File(empty, "w").close()
    with pytest.raises(RecordError, match="not Photon-HDF5"):
        open_tags(empty)
    text = tmp_path / "text.h5"
    text.write_bytes(b"\x89HDF\r\n\x1a\nnot at all")
    with pytest.raises(RecordError, match="cannot be read as HDF5"):
        open_tags(text)
    unsorted = tmp_path / "unsorted.h5"
    with h5py.File(unsorted, "w") as file:
        file["photon_data/timestamps"] = np.array([5, 3], np.int64)
        file["photon_data/detectors"] = np.array([0, 1], np.uint8)
        file["photon_data/timestamps_specs/timestamps_unit"] = 1e-12
    with pytest.raises(RecordError, match="not in time order"):
        read(unsorted)
