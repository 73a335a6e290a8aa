from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from qdchar.cli.reprocess import count_clicks, reprocess
from qdchar.errors import UsageError
from qdchar.tags import TagArrays
from qdchar.tags.archive import map_files, open_executor
from qdchar.tags.formats.ptu_writer import write_ptu


def archive(folder: Path, n: int) -> list[Path]:
    """Small files, one of them damaged."""
    files = []
    for number in range(n):
        rng = np.random.default_rng(number)
        times = np.cumsum(rng.integers(1, 10**7, 200 + number))
        path = folder / f"{number:03}.ptu"
        write_ptu(path, TagArrays(times, rng.integers(0, 2, len(times)), start_ps=0))
        files.append(path)
    files[n // 2].write_bytes(files[n // 2].read_bytes()[:500])
    return files


def test_one_damaged_file_is_named_and_the_rest_finished(tmp_path: Path) -> None:
    files = archive(tmp_path, 7)
    serial = list(map_files(count_clicks, files))
    assert [r.file for r in serial] == files
    failed = [r for r in serial if r.error]
    assert [r.file for r in failed] == [files[3]]
    assert "cut off" in failed[0].error
    with open_executor("processes") as pool:
        parallel = sorted(map_files(count_clicks, files, pool), key=lambda r: r.file)
    assert parallel == serial
    for number, result in enumerate(serial):
        if number != 3:
            assert result.value is not None
            assert sum(result.value["clicks"].values()) == 200 + number


def test_on_the_command_line(tmp_path: Path) -> None:
    files = [str(f) for f in archive(tmp_path, 3)]
    out = tmp_path / "results.jsonl"
    options = ["--analysis", "info", "--executor", "serial", "--out", str(out), "--json"]
    done = CliRunner().invoke(reprocess, [*files, *options], standalone_mode=False)
    assert done.return_value == 30
    assert "2 of 3 files analysed, 0 of them with problems, 1 failed" in done.output
    lines = json.loads(done.output.splitlines()[-1])["files"]
    assert ["error" in line for line in lines] == [False, True, False]
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines


def test_results_with_problems_are_counted_and_end_with_11(tmp_path: Path) -> None:
    """The tags are random: there is no comb of peaks, and no g2."""
    files = archive(tmp_path, 3)
    files.pop(1)
    options = ["--executor", "serial", "--json"]
    done = CliRunner().invoke(reprocess, [*map(str, files), *options], standalone_mode=False)
    assert done.return_value == 11
    line = json.loads(done.output.splitlines()[-1])
    assert (line["exit_code"], line["failed"], line["with_problems"]) == (11, 0, 2)
    assert done.output.count("PROBLEM: ") == 2


def test_executors_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="is unknown"), open_executor("mpi"):
        pass


def test_dask_gives_what_serial_gives(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="extra `cluster` is not installed")
    files = archive(tmp_path, 200)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        name = cluster.scheduler_address.replace("tcp://", "dask://")
        with open_executor(name) as pool:
            parallel = sorted(map_files(count_clicks, files, pool), key=lambda r: r.file)
    assert parallel == list(map_files(count_clicks, files))
    assert sum(bool(r.error) for r in parallel) == 1
