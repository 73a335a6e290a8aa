"""What is on the disk when a recording is killed, and when the disk is full."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from qdchar.errors import RecordError, RunFolderError
from qdchar.tags import TagWriter, open_tags
from qdchar.tags.formats.photon_hdf5 import StoredTags
from qdchar.tags.formats.photon_hdf5_tail import tail_of

ROOT = Path(__file__).parents[2]

# Tag k is at 1000 k + 7 (k % 13) ps on channel k % 5: whoever reads can tell which tags he has.
TAGS = """
import sys, time
import numpy as np
from qdchar.tags import TagWriter

def tags(first, count):
    k = np.arange(first, first + count)
    return k * 1000 + 7 * (k % 13), (k % 5).astype(np.uint8)
"""
AT_10_MHZ = (
    TAGS
    + """
began, n, size = time.monotonic(), 0, 50_000
writer = TagWriter(sys.argv[1], resolution_ps=1.0)
while True:
    writer.append(*tags(n, size))
    n += size
    print(n, time.monotonic(), flush=True)
    time.sleep(max(began + n / 1e7 - time.monotonic(), 0.0))
"""
)


def _check(times: np.ndarray, channels: np.ndarray) -> None:
    k = np.arange(len(times))
    np.testing.assert_array_equal(times, k * 1000 + 7 * (k % 13))
    np.testing.assert_array_equal(channels, k % 5)


def _all(path: Path, size: int = 300_000) -> tuple[np.ndarray, np.ndarray]:
    chunks = list(StoredTags(path).chunks(size))
    return (
        np.concatenate([c.times_ps for c in chunks]),
        np.concatenate([c.channels for c in chunks]),
    )


@pytest.mark.parametrize("alive_s", np.random.default_rng(15).uniform(0.02, 2.0, 5))
def test_a_kill_costs_no_tag_that_is_older_than_a_quarter_of_a_second(
    tmp_path: Path, alive_s: float
) -> None:
    path, log = tmp_path / "run.h5", tmp_path / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", AT_10_MHZ, str(path)], stdout=stream, cwd=ROOT
        )
    while not log.stat().st_size:
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(alive_s)
    process.kill()
    killed = time.monotonic()  # the same clock in all processes
    process.wait()
    lines = [line.split() for line in log.read_text().splitlines(keepends=True) if "\n" in line]
    due = max((int(n) for n, at in lines if float(at) < killed - 0.25), default=0)
    times, channels = _all(path)
    assert len(times) >= due
    _check(times, channels)
    stored = StoredTags(path)
    assert len(stored) == len(times)
    assert stored.stop_ps == times[-1] + 1
    assert stored.channels == (0, 1, 2, 3, 4)


def test_a_tail_that_belongs_to_another_file_is_left_out(tmp_path: Path) -> None:
    one, other = tmp_path / "one.h5", tmp_path / "other.h5"
    for path in (one, other):
        with TagWriter(path, resolution_ps=1.0) as writer:
            writer.append(np.arange(1000) * 10, np.zeros(1000, np.uint8))
    writer = TagWriter(tmp_path / "third.h5", resolution_ps=1.0)
    writer.append(np.arange(500) * 10, np.zeros(500, np.uint8))
    tail_of(one).write_bytes(tail_of(writer.path).read_bytes())
    assert len(StoredTags(one)) == 1000
    assert len(StoredTags(writer.path)) == 500  # while it is being written
    writer.close()
    assert not tail_of(writer.path).exists()


FULL = (
    TAGS
    + """
import resource
from qdchar.errors import RunFolderError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
n, size = 0, int(sys.argv[3])
try:
    with TagWriter(sys.argv[1], resolution_ps=1.0) as writer:
        while n < 20_000_000:
            writer.append(*tags(n, size))
            n += size
except RunFolderError as error:
    print(n)
    assert "run.h5" in str(error)
    sys.exit(error.exit_code)
"""
)


@pytest.mark.parametrize(
    ("limit", "size"), [(30_000_000, 100_000), (9_000_000, 701), (70_000_000, 3_000_000)]
)
def test_a_file_that_may_not_grow_ends_with_an_error_and_is_readable(
    tmp_path: Path, limit: int, size: int
) -> None:
    """The limit of the operating system on a file's size, in a process of its own: HDF5 itself
    ends the process where a disk is full."""
    pytest.importorskip("resource")
    path = tmp_path / "run.h5"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path), str(limit), str(size)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 23, done.stderr
    times, channels = _all(path)
    assert len(times) >= int(done.stdout)
    _check(times, channels)


def test_a_full_disk_before_the_first_tag_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RunFolderError, match=r"run.h5: cannot be written: No space left"):
        TagWriter(tmp_path / "run.h5", resolution_ps=1.0)
    assert not list(tmp_path.iterdir())


def test_a_closed_file_holds_no_room_that_was_reserved(tmp_path: Path) -> None:
    with TagWriter(tmp_path / "run.h5", resolution_ps=1.0) as writer:
        writer.append(np.arange(10), np.zeros(10, np.uint8))
    assert (tmp_path / "run.h5").stat().st_size < 100_000
    assert [f.name for f in tmp_path.iterdir()] == ["run.h5"]


def test_a_file_that_claims_more_tags_than_it_holds_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:
        data = file.create_group("photon_data")
        data["timestamps_specs/timestamps_unit"] = 1e-12
        for name, kind in (("timestamps", np.int64), ("detectors", np.uint8)):
            data.create_dataset(name, (10**15,), kind, chunks=(1 << 16,))
    with pytest.raises(RecordError, match="claims 1000000000000000 tags, but the file has room"):
        open_tags(path)
