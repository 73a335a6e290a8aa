"""The page of a calibration that runs: it follows the run folder, and the run does not need it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from qdchar.estimate import Contribution, Estimate
from qdchar.fit import Result
from qdchar.lab.display import LOG
from qdchar.lab.run import Run, Step
from qdchar.report.live import LivePage, Now, has_ended, live_page, read_now

STARTED = "2026-01-05T09:00:00.000000Z"
LOG_LINES = f"""{STARTED} step 1 of 3: dark counts ... 50 s of lab time left
{STARTED} dark counts: done in 2.0 s
{STARTED} step 3 of 3: brightness ... 30 s of lab time left
{STARTED} step 2 of 3: pi pulse ... 20 s of lab time left, until about 09:12
"""
SCAN = """# qdchar scan 1
# {"protocol": "rabi", "started": "", "path": "before", "simulated": true, "settings": {}}
power_W,clicks_a,clicks_b,dwell_s
1e-9,120,130,0.01
2e-9,220,210,0.01
3e-9,310,330,0.01
"""


def keep(run: Run) -> None:
    dark = Estimate(
        name="dark_count_rate", value=41.0, method="m", budget=(Contribution("d", 1.3),)
    )
    run.keep_step(Step("dark", "dark counts", Result((dark,), (), ()), ()))
    run.keep_text(LOG, LOG_LINES)
    (run.raw / "rabi.csv").write_text(SCAN)


def test_the_log_tells_the_step_that_runs(tmp_path: Path) -> None:
    assert read_now(tmp_path) == Now()
    file = tmp_path / LOG
    file.write_text(LOG_LINES)
    now = read_now(tmp_path)
    left = "20 s of lab time left, until about 09:12"
    assert (now.step, now.steps, now.title, now.left) == (2, 3, "pi pulse", left)
    # the step that needed it goes on
    file.write_text(f"{LOG_LINES}{STARTED} pi pulse: done in 9.1 s\n")
    assert (read_now(tmp_path).step, read_now(tmp_path).title) == (3, "brightness")


def test_the_page_of_a_running_calibration_shows_the_step_its_plot_and_what_is_complete(
    tmp_path: Path,
) -> None:
    with Run.create(tmp_path, "QD7", "calibrate") as run:
        keep(run)
        page = LivePage(run.folder).write().read_text()
        assert not has_ended(run.folder)
    assert has_ended(run.folder)
    assert '<meta http-equiv="refresh"' in page
    assert "Step 2 of 3: <b>pi pulse</b>" in page
    assert "20 s of lab time left" in page
    assert 'alt="scan that is being measured"' in page
    assert "41.0(13) Hz" in page


def test_a_process_of_its_own_writes_the_page_and_leaves_it_to_the_report(tmp_path: Path) -> None:
    with Run.create(tmp_path, "QD7", "calibrate") as run:
        keep(run)
        page = run.folder / "report.html"
        with live_page(run.folder):
            end = time.monotonic() + 60.0
            while not page.exists() and time.monotonic() < end:
                time.sleep(0.1)
            assert "RUNNING" in page.read_text()
        page.write_text("the report")
        time.sleep(0.2)
    assert page.read_text() == "the report"


def test_a_run_goes_on_without_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(os.strerror(12))

    monkeypatch.setattr("subprocess.Popen", refuse)
    with live_page(tmp_path):
        (tmp_path / "went_on").touch()
    assert (tmp_path / "went_on").exists()
