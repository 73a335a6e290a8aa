"""What is displayed must not decide on what is done."""

from __future__ import annotations

import os
import sys
import time

import pytest

from qdchar.lab.display import Display


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
