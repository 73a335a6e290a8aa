"""Every way out of a measurement leaves piezo and shutter as the station's policy says.

`ways_out` says how; all cells of the table are tried by ``python validation/ways_out.py``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .ways_out import POLICIES, WAYS, WayOut, finished, leave, simulated_station, start, wrong_with


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Station file of a simulated lab that runs for all tests here."""
    with simulated_station(tmp_path_factory.mktemp("lab")) as station:
        yield station


# where something else ends the same way, acting is what can fail
_CELLS = [(way, policy) for way in WAYS for policy in POLICIES if policy != "hold" or not way.like]


@pytest.mark.parametrize(("way", "policy"), _CELLS, ids=[f"{w.name}-{p}" for w, p in _CELLS])
def test_piezo_and_shutter_are_left_as_the_policy_says(
    lab: str, tmp_path: Path, way: WayOut, policy: str
) -> None:
    left = leave(lab, tmp_path, way, policy)
    assert wrong_with(left, way, policy) == []
    if way.largest_file:
        (survey,) = tmp_path.glob("*/raw/cavity_survey.csv")
        assert len(survey.read_text().splitlines()) > 300


def test_a_program_started_by_nohup_stays_when_the_terminal_goes(lab: str, tmp_path: Path) -> None:
    file, out, err = tmp_path / "station.toml", tmp_path / "out.txt", tmp_path / "err.txt"
    file.write_text(lab)
    arguments = ["measure", "dark", "--json", "--station", str(file), "--out", str(tmp_path)]
    process = start(arguments, out, err, hangup=signal.SIG_IGN)
    while not (err.exists() and err.stat().st_size) and process.is_alive():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGHUP)
    assert finished(process) == 0, err.read_text()
