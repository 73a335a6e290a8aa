"""The page of a calibration that runs: made by a process of its own that reads the run folder only.

``python -m qdchar.report.live RUN`` rewrites ``report.html`` after each step, and every few seconds
within a step, until the run has ended. It opens no instrument and writes nothing but the page; if
it is ended or fails, the calibration does not notice.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qdchar.errors import QdcharError
from qdchar.files import is_there, read_text, write_text
from qdchar.lab.display import LOG
from qdchar.lab.run import Step, read_log, read_step
from qdchar.raw_data import read_scan

from .cards import Card, cards
from .page import template
from .provenance import provenance_of
from .unfinished import read_unfinished_run, write_unfinished_report

EVERY_S = 3.0
"""Time between two pages at least, and after which the page loads itself again [s]."""

_STOPPING_S = 10.0
_STEP = re.compile(r"^(\S+Z) step (\d+) of (\d+): (.*?) \.\.\.(.*)$")
_DONE = re.compile(r"^\S+Z (.*): done in [\d.]+ s$")
_AXES = {"power_W": (1e9, "pump power (nW)"), "voltage_V": (1.0, "voltage (V)")}


@dataclass(frozen=True)
class Now:
    """What a run does now, as its log says.

    Attributes
    ----------
    step, steps
        Number of the step, and how many there are; 0 before the first one.
    title
        What is being measured.
    left
        Time that is left, in words.
    since
        When it began, as in the log.
    """

    step: int = 0
    steps: int = 0
    title: str = "starting"
    left: str = ""
    since: str = ""


def read_now(folder: Path) -> Now:
    """Read from the log of a run what it does now."""
    found: list[Now] = []
    for line in _lines(folder / LOG):
        if begun := _STEP.match(line):
            since, step, steps, title, left = begun.groups()
            found.append(Now(int(step), int(steps), title, left.strip(), since))
        elif (done := _DONE.match(line)) and found:
            # a step that another one needed ends before that one goes on
            open_now = [now for now in found if now.title != done[1]]
            found = open_now or [
                Now(found[-1].step, found[-1].steps, "between two steps", found[-1].left, "")
            ]
    return found[-1] if found else Now()


def _lines(file: Path) -> list[str]:
    if not is_there(file):
        return []
    try:
        return read_text(file, QdcharError).splitlines()
    except QdcharError:
        return []


@contextmanager
def live_page(folder: Path) -> Iterator[None]:
    """Keep the page of a run up to date while it runs, by a process of its own.

    If that process cannot be started, the run goes on without. Where the run ends with an error,
    the process writes the last page itself and ends.
    """
    process: subprocess.Popen[bytes] | None = None
    with suppress(OSError):
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the calibration
        )
    yield
    if process is not None:  # it must not write over the report
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOPPING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class LivePage:
    """Writes the page of one run; the cards of complete steps are drawn once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cards: dict[str, Card] = {}

    def write(self) -> Path:
        """Write ``report.html`` as the run stands now."""
        now = read_now(self.folder)
        for file in sorted((self.folder / "results").glob("*.json")):
            if file.name not in self._cards:
                with suppress(QdcharError):
                    step: Step = read_step(file)
                    (self._cards[file.name],) = cards([step])
        page = template("live.html.j2").render(
            simulated=is_there(self.folder / "simulated_lab.json"),
            folder=self.folder.name,
            now=now,
            every_s=f"{EVERY_S:.0f}",
            running=self._running_plot(now),
            recording=self._recording(now),
            cards=tuple(reversed(self._cards.values())),
            provenance=provenance_of(self.folder),
        )
        file = self.folder / "report.html"
        write_text(file, page)
        return file

    def _newest(self, now: Now, kind: str) -> Path | None:
        """Return the newest raw file since the step began."""
        began = _seconds(now.since)
        files = [(f.stat().st_mtime, f) for f in (self.folder / "raw").rglob(f"*.{kind}")]
        new = [item for item in files if began is not None and item[0] >= began]
        return max(new)[1] if new else None

    def _recording(self, now: Now) -> str:
        """Say how much of a recording of time tags is on disk."""
        file = self._newest(now, "h5")
        return (
            "" if file is None else f"{file.name}: {file.stat().st_size / 1e6:.1f} MB of time tags"
        )

    def _running_plot(self, now: Now) -> str:
        """Draw the scan that is being measured; empty if there is none."""
        from .figures import embedded

        file = self._newest(now, "csv")
        if file is None:
            return ""
        try:
            scan = read_scan(file)
        except QdcharError:
            return ""  # its first points are not there yet
        return embedded(_figure(file.stem, scan)) if len(scan.x) > 1 else ""


def _seconds(stamp: str) -> float | None:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp() if stamp else None


def _figure(name: str, scan: Any) -> Any:
    from matplotlib.figure import Figure

    scale, label = _AXES.get(scan.x_name, (1.0, scan.x_name.replace("_", " ")))
    rate = 1e-6 * scan.clicks.sum(axis=1) / scan.dwell_s
    order = np.argsort(scan.x, kind="stable")
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(scale * scan.x[order], rate[order], ".-", ms=4, lw=0.6, color="#1f4e79")
    axes.set(xlabel=label, ylabel="clicks of both detectors (Mcps)")
    axes.set_title(f"{name.replace('_', ' ')}: {len(rate)} points so far", loc="left", fontsize=10)
    return figure


def has_ended(folder: Path) -> bool:
    """Whether the log of a run has its last line."""
    log = read_log(folder)
    return bool(log) and log[-1][0] == "stop"


def follow(folder: Path, parent: int) -> None:
    """Rewrite the page until the run has ended, or the process that makes it is gone."""
    page, drawn = LivePage(folder), ""
    while True:
        running = os.getppid() == parent and not has_ended(folder)
        if not running:
            break
        state = _state(folder)
        if state != drawn:
            with suppress(Exception):  # the next page may come out; the calibration goes on anyway
                page.write()
            drawn = state
        time.sleep(EVERY_S)
    if not is_there(folder / "verdict.json"):
        write_unfinished_report(read_unfinished_run(folder))


def _state(folder: Path) -> str:
    """Return what changes whenever the page has to."""
    files = [folder / LOG, *(folder / "results").glob("*.json"), *(folder / "raw").rglob("*.*")]
    sizes = []
    for file in files:
        with suppress(OSError):
            sizes.append(f"{file.name} {file.stat().st_size}")
    return "\n".join(sizes)


if __name__ == "__main__":
    with suppress(OSError, AttributeError):
        os.nice(10)  # the acquisition comes first
    follow(Path(sys.argv[1]), int(sys.argv[2]))
