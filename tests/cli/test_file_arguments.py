"""Whatever is given where a verb takes a file, it ends at once, with a message that names it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from qdchar.cli import VERBS, run
from qdchar.cli.fit import NAMES

LINES = {
    "check": ["--station", "FILE"],
    "safe": ["--station", "FILE"],
    "measure": ["dark", "--station", "FILE", "--out", "runs"],
    "calibrate": ["--station", "FILE", "--out", "runs"],
    "calibrate (recipe)": ["--recipe", "FILE", "--out", "runs"],
    "calibrate (link)": ["--link", "FILE", "--out", "runs"],
    "keyrate": ["FILE"],
    "keyrate (link)": ["--link", "FILE"],
    "keyrate (counts)": ["--counts", "FILE", "--p2-limit", "1e-4"],
    "figures (record)": ["fig1", "--out", "pages", "--record", "FILE"],
    "figures (link)": ["fig1", "--out", "pages", "--link", "FILE"],
    "report": ["FILE"],
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


def _odd(what: str) -> str:
    if what == "folder":
        Path("odd").mkdir()
    elif what == "fifo":
        os.mkfifo("odd")
    return "/dev/zero" if what == "device" else "odd"


def test_every_verb_that_takes_a_file_is_in_the_table() -> None:
    assert {name.split(" ")[0] for name in LINES} == set(VERBS) - {"twin"}  # it writes one only


@pytest.mark.parametrize("what", ["folder", "fifo", "device", "missing"])
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
    assert odd in (out if verb == "reprocess" else err)
