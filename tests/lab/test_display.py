"""What is displayed must not decide on what is done."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from qdchar.lab.display import Display, Level
from qdchar.lab.expected import ExpectedStep


def test_a_terminal_that_is_closed_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    master, slave = os.openpty()
    terminal = os.fdopen(slave, "w", encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", terminal)
    display = Display()
    with display.step("cavity tuning") as progress:
        progress(1.0, 2.0, "31.2 V")
        os.close(master)
        progress(2.0, 2.0, "31.3 V")
        display.say("bringing cavity_fine to safety ...")
        time.sleep(0.3)  # the bar is drawn from a thread of its own, ten times per second
    with pytest.raises(OSError, match="Input/output error"):
        terminal.flush()  # otherwise this test has closed nothing
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), terminal.fileno())
    terminal.close()


def test_each_step_shows_its_number_and_the_lab_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]  # plain lines come every 5 s at most
    monkeypatch.setattr("qdchar.lab.display.time.monotonic", lambda: now[0])
    display = Display()
    steps = [("dark counts", 20.0), ("cavity tuning", 80.0), ("dead time", 1.0), ("gate", 4.0)]
    display.expect(ExpectedStep("", title, (), {}, lab_s) for title, lab_s in steps)
    with display.step("dark counts"):
        now[0] += 10.0
    with display.step("cavity tuning") as progress:
        now[0] += 10.0
        progress(3.0, 4.0, "31.2 V")
        with display.step("dead time"):  # made within the tuning
            now[0] += 30.0
        progress(4.0, 4.0, "31.3 V")
    with display.step("cavity tuning"):  # once more, which the plan did not foresee
        pass
    with display.step("something else") as progress:
        now[0] += 10.0
        progress(1.0, 2.0, "halfway")
    lines = [line for line in capsys.readouterr().err.splitlines() if "done" not in line]
    ends = [re.findall(r", until about \d\d:\d\d", line) for line in lines]
    assert [len(found) for found in ends] == [0, 1, 1, 1, 1, 1, 0, 0]  # known once a step is done
    lines = [re.sub(r", until about \d\d:\d\d", "", line) for line in lines]
    assert lines == [
        "step 1 of 4: dark counts ... 105 s of lab time left",
        "step 2 of 4: cavity tuning ... 85 s of lab time left",
        "   75 %  31.2 V; 75 s of lab time left",
        "step 3 of 4: dead time ... 5 s of lab time left",
        "  100 %  31.3 V; 44 s of lab time left",
        "step 2 of 4: cavity tuning ... 84 s of lab time left",
        "something else ...",
        "   50 %  halfway",
    ]


def test_a_terminal_shows_number_and_time_left_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    master, slave = os.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        display = Display()
        display.expect([ExpectedStep("", "dark counts", (), {}, 20.0)])
        with display.step("dark counts") as progress:
            progress(1.0, 4.0, "40 Hz")
    seen = ""
    with suppress(OSError):  # its end, once all is read
        while part := os.read(master, 65536):
            seen += part.decode()
    os.close(master)
    assert "step 1 of 1: dark counts" in seen
    assert "40 Hz; 20 s of lab time left" in seen


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("quiet", ["PROBLEM: few counts"]),
        (
            "normal",
            ["step 1 of 1: dark counts", "43 Hz", "PROBLEM: few counts", "dark counts: done"],
        ),
        (
            "verbose",
            [
                "1 steps",
                "step 1 of 1",
                "settings",
                "43 Hz",
                "PROBLEM: few counts",
                "dark counts: done",
            ],
        ),
    ],
)
def test_the_log_holds_all_whatever_is_shown(
    level: Level, shown: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    display = Display(level)
    with display.logging(tmp_path):
        display.expect([ExpectedStep("", "dark counts", (), {}, 20.0)])
        with display.step("dark counts"):
            display.detail("settings")
            display.say("43 Hz")
            display.warn("PROBLEM: few counts")
    display.say("after the run")
    seen = [line for line in capsys.readouterr().err.splitlines() if line != "after the run"]
    assert len(seen) == len(shown)
    assert all(part in line for part, line in zip(shown, seen, strict=True))
    log = (tmp_path / "run.log").read_text(encoding="utf-8").splitlines()
    assert [line.partition("Z ")[2][:8] for line in log] == [
        *("1 steps ", "step 1 o", "settings", "43 Hz", "PROBLEM:", "dark cou"),
    ]
