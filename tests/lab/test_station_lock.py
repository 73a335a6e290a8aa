"""Two runs never use the same instruments; a killed one does not keep the next from them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qdchar.errors import InstrumentError
from qdchar.lab.station_lock import StationLock

_HOLD = """
import sys
from pathlib import Path
from qdchar.lab.station_lock import StationLock
lock = StationLock("lab 2", ["tcp://anc:7230"], Path(sys.argv[1]))
lock.acquire()
lock.note("runs/QD7")
print("held", flush=True)
sys.stdin.read()
"""


def test_another_process_is_refused_and_told_who_holds_the_station(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        ours = StationLock("lab 1", ["tcp://opm:5025", "tcp://anc:7230"], tmp_path)
        says = rf"tcp://anc:7230 is in use by process {holder.pid}, station lab 2 \(runs/QD7\)"
        with pytest.raises(InstrumentError, match=says):
            ours.acquire()
        # what it had taken before it was refused is free again
        others = StationLock("lab 3", ["tcp://opm:5025"], tmp_path)
        others.acquire()
        others.release()
        holder.kill()
        holder.wait()
        ours.acquire()
        ours.release()


def test_one_process_excludes_itself_until_it_releases(tmp_path: Path) -> None:
    first = StationLock("lab", ["tcp://anc:7230", "tcp://anc:7230"], tmp_path)
    first.acquire()
    first.acquire()
    second = StationLock("lab", ["tcp://anc:7230"], tmp_path)
    with pytest.raises(InstrumentError, match="in use"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_other_instruments_are_free(tmp_path: Path) -> None:
    locks = [StationLock("lab", [f"tcp://anc:{port}"], tmp_path) for port in (7230, 7231)]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()


def test_without_a_folder_for_locks_nothing_is_started(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InstrumentError, match=r"cannot be reserved for this run.*TMPDIR"):
        StationLock("lab", ["tcp://anc:7230"], tmp_path / "file").acquire()
