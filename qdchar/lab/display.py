"""Progress of a measurement for the operator: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, cast

from qdchar.raw_data import Progress

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_EVERY_S = 5.0


class Display:
    """Progress and messages on standard error, so that standard output holds results only."""

    def __init__(self) -> None:
        self.on_measurement: Callable[[str], None] | None = None
        """Told the name of each measurement when it begins, if set."""
        from rich.console import Console

        self._console: Console = Console(file=cast(IO[str], _StandardError()), highlight=False)

    def say(self, text: str) -> None:
        """Print a line; a terminal that was closed meanwhile changes nothing else."""
        with suppress(Exception, SystemExit):  # rich exits where a pipe is broken
            self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str, measurement: str = "") -> Iterator[Progress]:
        """Show one step while it runs; yields what the protocol reports to."""
        if self.on_measurement is not None:
            self.on_measurement(measurement)
        began = time.monotonic()
        if self._console.is_terminal:
            with self._bar(title) as progress:
                yield progress
        else:
            self.say(f"{title} ...")
            yield _PlainProgress(self)
        self.say(f"{title}: done in {time.monotonic() - began:.1f} s")

    @contextmanager
    def _bar(self, title: str) -> Iterator[Progress]:
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description:<26}"),
            BarColumn(bar_width=28),
            TimeElapsedColumn(),
            TextColumn("{task.fields[seen]}"),
        )
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(title, total=None, seen="")

            def progress(done: float, total: float, text: str) -> None:
                bar.update(task, completed=done, total=total, seen=text)

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
    def __init__(self, display: Display) -> None:
        self._display = display
        self._last = time.monotonic()

    def __call__(self, done: float, total: float, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= _PLAIN_EVERY_S:
            self._last = now
            self._display.say(f"  {100.0 * done / total:3.0f} %  {text}")
