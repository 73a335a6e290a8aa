"""Whatever is given where a verb takes a file, it ends at once, with a message that names it."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from qdchar.cli import VERBS, run
from qdchar.cli.fit import NAMES
from qdchar.cli.fit._print import show
from qdchar.errors import UsageError
from qdchar.fit import Curve, Fit, Result
from tests.lab.changed_files import sound_files

LINES = {
    "check": ["--station", "FILE"],
    "safe": ["--station", "FILE"],
    "measure": ["dark", "--station", "FILE", "--out", "runs"],
    "calibrate": ["--station", "FILE", "--out", "runs"],
    "calibrate (recipe)": ["--recipe", "FILE", "--out", "runs"],
    "calibrate (link)": ["--link", "FILE", "--out", "runs"],
    "calibrate (resume)": ["--resume", "FILE"],
    "calibrate (take over)": ["--take-over", "FILE", "--out", "runs"],
    "keyrate": ["FILE"],
    "keyrate (link)": ["--link", "FILE"],
    "keyrate (counts)": ["--counts", "FILE", "--p2-limit", "1e-4"],
    "keyrate (pass)": ["--pass", "FILE"],
    "exchange": ["FILE", "--out", "runs"],
    "exchange (link)": ["--link", "FILE", "--out", "runs"],
    "figures (record)": ["fig1", "--out", "pages", "--record", "FILE"],
    "figures (link)": ["fig1", "--out", "pages", "--link", "FILE"],
    "report": ["FILE"],
    "verify": ["FILE"],
    "budget": ["FILE"],
    "compare": ["FILE", "FILE"],
    "history": ["FILE"],
    "info": ["FILE"],
    "convert": ["FILE", "out.h5"],
    "reprocess": ["FILE", "--executor", "serial"],
    **{f"fit {name}": [name, "FILE"] for name in NAMES if name != "etalon"},
    "fit etalon": ["etalon", "FILE", "--fsr", "1e11", "1e9"],
}
"""Command lines by verb; FILE is what is tried."""


@pytest.fixture(autouse=True)
def _ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End a test that hangs, in a folder of its own."""

    def hangs(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


OUTPUTS = {
    "measure": ["dark", "--station", "lab.toml", "--out", "FILE"],
    "calibrate": ["--station", "lab.toml", "--out", "FILE"],
    "exchange": ["--out", "FILE"],
    "figures": ["fig1", "--out", "FILE"],
    "fit": ["saturation", "scan.csv", "--figure", "FILE"],
    "history (figure)": ["runs", "--figure", "FILE"],
    "history (table)": ["runs", "--csv", "FILE"],
    "convert": ["tags.h5", "FILE"],
    "reprocess": ["tags.h5", "--analysis", "info", "--executor", "serial", "--out", "FILE"],
    "twin": ["--until-stdin-closes", "--station", "FILE"],
}
"""Command lines that write; FILE is what they are to write."""


def _odd(what: str) -> str:
    if what == "folder":
        Path("odd").mkdir()
    elif what == "fifo":
        os.mkfifo("odd")
    elif what == "below a file":
        Path("file").write_text("not empty")
    return {
        "device": "/dev/zero",
        "missing folder": "missing/odd",
        "unwritable": "/proc/odd",
        "below a file": "file/odd",
        "long name": "odd" * 100,
    }.get(what, "odd")


def test_every_verb_that_takes_a_file_is_in_the_table() -> None:
    written_only = {"twin", "init", "docs"}
    assert {name.split(" ")[0] for name in LINES} == set(VERBS) - written_only


@pytest.mark.parametrize("what", ["folder", "fifo", "device", "missing", "long name"])
@pytest.mark.parametrize("verb", LINES)
def test_what_is_no_file_is_refused(
    verb: str, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = _odd(what)
    arguments = [odd if word == "FILE" else word for word in LINES[verb]]
    code = run([verb.split(" ")[0], *arguments, "--json"])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    if verb == "history" and what == "folder":
        assert code in (0, 30)
        return
    assert code in (2, 30), err
    assert json.loads(out.splitlines()[-1])["exit_code"] == code
    assert odd in (out if verb in ("reprocess", "verify") else err)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    sound = sound_files(folder)
    names = {"lab.toml": "station", "scan.csv": "scan", "tags.h5": "hdf5"}
    run_folder = folder / "runs" / "one"
    run_folder.mkdir(parents=True)
    sound["record"].rename(run_folder / "record.json")
    return {"runs": run_folder.parent, **{name: sound[kind] for name, kind in names.items()}}


@pytest.mark.parametrize(
    "what", ["folder", "fifo", "device", "missing folder", "unwritable", "below a file"]
)
@pytest.mark.parametrize("verb", OUTPUTS)
def test_what_cannot_be_written_is_refused(
    verb: str, what: str, inputs: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    makes_folders = verb in ("measure", "calibrate", "exchange", "figures")
    if makes_folders and what in ("folder", "missing folder"):
        pytest.skip("there it makes the folder in which it writes")
    odd = _odd(what)
    given = {**{name: str(file) for name, file in inputs.items()}, "FILE": odd}
    code = run([verb.split(" ")[0], *(given.get(word, word) for word in OUTPUTS[verb]), "--json"])
    out, err = capfd.readouterr()
    assert "Traceback" not in err
    assert code in (2, 23), err
    assert json.loads(out.splitlines()[-1])["exit_code"] == code
    assert odd in err


@pytest.mark.parametrize("verb", ["exchange", "figures"])
def test_a_disk_without_room_for_a_folder_ends_with_23(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", full)
    assert run([verb, *(word.replace("FILE", "new") for word in OUTPUTS[verb])]) == 23
    assert "--out new: cannot be written: No space left" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["convert", "reprocess"])
def test_a_file_that_is_there_is_kept(
    verb: str, inputs: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    Path("result.h5").write_text("an earlier result")
    given = {"tags.h5": str(inputs["tags.h5"]), "FILE": "result.h5"}
    assert run([verb, *(given.get(word, word) for word in OUTPUTS[verb])]) == 2
    assert "result.h5: exists already" in capfd.readouterr().err
    assert Path("result.h5").read_text() == "an earlier result"


def test_one_figure_among_several_that_is_a_fifo_does_not_block() -> None:
    os.mkfifo("fit_2.png")
    line = np.array([0.0, 1.0, 2.0])
    curve = Curve("scan", "x (V)", "clicks", line, line, 1 + line, line, 0 * line, line, line)
    fit = Fit("line", ("a",), line[1:2], np.eye(1), "chi2", 2.0, 2, (curve, curve))
    with pytest.raises(UsageError, match=r"--figure fit_2\.png: cannot be written: it is a FIFO"):
        show(Result(estimates=(), fits=(fit,)), Path("fit.png"), json_line=False)
    assert Path("fit_1.png").stat().st_size > 1000
