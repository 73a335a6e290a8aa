"""Progress of a measurement for the operator: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, cast

from qdchar.raw_data import Progress, silent

if TYPE_CHECKING:
    from rich.console import Console

    from .expected import ExpectedStep

_PLAIN_EVERY_S = 5.0
_KNOWN_PACE_S = 3.0
"""Lab time of the steps that are done from which on their pace tells when a run will end [s]."""


Level: TypeAlias = Literal["quiet", "normal", "verbose"]
LOG = "run.log"
"""File of a run folder with all messages, whatever was displayed of them."""


class Display:
    """Progress and messages on standard error, so that standard output holds results only.

    Parameters
    ----------
    level
        "quiet": problems only. "normal": steps, their progress and what was found, too.
        "verbose": settings, raw files and times, too.
    """

    def __init__(self, level: Level = "normal") -> None:
        self.level = level
        self._log: IO[str] | None = None
        self._began = time.monotonic()
        self.on_measurement: Callable[[str], None] | None = None
        """Told the name of each measurement when it begins, if set."""
        from rich.console import Console

        self._lab_s: Mapping[str, float] = {}  # of each step that is expected, by title
        self._done: set[str] = set()
        self._console: Console = Console(file=cast(IO[str], _StandardError()), highlight=False)

    def expect(self, steps: Iterable[ExpectedStep]) -> None:
        """Be told which steps will come, so that each shows its number and the time left."""
        self._lab_s = {step.title: step.lab_s for step in steps}
        self._done.clear()
        self._began = time.monotonic()
        total_s = sum(self._lab_s.values())
        self.detail(f"{len(self._lab_s)} steps are expected to take {total_s:.0f} s of lab time")

    @contextmanager
    def logging(self, folder: Path) -> Iterator[None]:
        """Write all messages with their times to `LOG` in a run folder, too.

        A log that cannot be written changes nothing else: raw data and results come first.
        """
        with ExitStack() as stack:
            with suppress(OSError):
                self._log = stack.enter_context((folder / LOG).open("a", encoding="utf-8"))
            try:
                yield
            finally:
                self._log = None

    def say(self, text: str) -> None:
        """Print a line, unless quiet."""
        self._tell(text, shown=self.level != "quiet")

    def warn(self, text: str) -> None:
        """Print a line that is shown at every level, such as a problem."""
        self._tell(text, shown=True)

    def detail(self, text: str) -> None:
        """Print a line if verbose."""
        self._tell(text, shown=self.level == "verbose")

    def _tell(self, text: str, *, shown: bool) -> None:
        """Log and print a line; a terminal that was closed meanwhile changes nothing else."""
        if self._log is not None:
            with suppress(OSError):
                self._log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ} {text}\n")
                self._log.flush()
        if shown:
            self._print(text)

    def _print(self, text: str) -> None:
        with suppress(Exception, SystemExit):  # rich exits where a pipe is broken
            self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str, measurement: str = "") -> Iterator[Progress]:
        """Show one step while it runs; yields what the protocol reports to."""
        if self.on_measurement is not None:
            self.on_measurement(measurement)
        began = time.monotonic()
        line = f"{self._numbered(title)} ...{self._left(title)}"
        if self.level == "quiet":
            self.say(line)
            yield silent
        elif self._console.is_terminal:
            self._tell(line, shown=False)
            with self._bar(title, began) as progress:
                yield progress
        else:
            self.say(line)
            yield _PlainProgress(self, title, began)
        self._done.add(title)
        self.say(f"{title}: done in {time.monotonic() - began:.1f} s")

    def _numbered(self, title: str) -> str:
        """Put "step n of N" before a title, if it is one of the steps that are expected."""
        if title not in self._lab_s:
            return title
        return f"step {list(self._lab_s).index(title) + 1} of {len(self._lab_s)}: {title}"

    def _left(self, title: str, elapsed_s: float = 0.0) -> str:
        """Return the expected lab time that is left in a step and after it, in words.

        A step that is made within another one comes later in the plan, and only that one's end is
        then still to come.
        """
        if title not in self._lab_s:
            return ""
        titles = list(self._lab_s)
        later = [t for t in titles[titles.index(title) + 1 :] if t not in self._done]
        left_s = max(0.0, self._lab_s[title] - elapsed_s) + sum(self._lab_s[t] for t in later)
        return f" {left_s:.0f} s of lab time left{self._ends(left_s)}"

    def _ends(self, left_s: float) -> str:
        """Say at what time of day it will end, at the pace of the steps that are done."""
        done_s = sum(self._lab_s[title] for title in self._done if title in self._lab_s)
        if done_s < _KNOWN_PACE_S:
            return ""
        pace = (time.monotonic() - self._began) / done_s
        return f", until about {datetime.now() + timedelta(seconds=pace * left_s):%H:%M}"

    @contextmanager
    def _bar(self, title: str, began: float) -> Iterator[Progress]:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description:<42}"),
            BarColumn(bar_width=28),
            TimeElapsedColumn(),
            TextColumn("{task.fields[seen]}"),
        )
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(self._numbered(title), total=None, seen=self._left(title))

            def progress(done: float, total: float, text: str) -> None:
                left = self._left(title, time.monotonic() - began)
                bar.update(task, completed=done, total=total, seen=f"{text}{left and ';' + left}")

            yield progress


class _StandardError:
    """Standard error, to which nothing is written once it has been closed.

    An error in a message must not keep an instrument from being made safe. rich itself ends the
    program by SystemExit when it writes to a closed pipe.
    """

    def __init__(self) -> None:
        self._stream = sys.stderr  # rich puts a proxy in its place while it draws a bar

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _PlainProgress:
    def __init__(self, display: Display, title: str, began: float) -> None:
        self._display, self._title, self._began = display, title, began
        self._last = began

    def __call__(self, done: float, total: float, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            left = self._display._left(self._title, now - self._began)
            self._display._print(f"  {100.0 * done / total:3.0f} %  {text}{left and ';' + left}")
