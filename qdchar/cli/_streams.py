"""Standard output and error that never raise: measuring and making safe do not depend on telling.

A terminal may be closed, a reader such as ``head -1`` may leave, a disk behind a redirection may
be full. What cannot be told is dropped, and the work goes on.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
import time
from typing import IO, Any

_READER_LEFT = (errno.EPIPE, errno.EBADF, errno.EIO)
"""Errors of a stream that nobody reads any more: a left pipe, a closed one, a dead terminal."""
_PATIENCE_S = 1.0


class _DroppingFile(io.RawIOBase):
    """A file for writing that drops everything from its first error on.

    With `patience_s`, it also drops what a stalled reader does not take within that time, e.g. a
    terminal that was stopped by Ctrl-S.
    """

    def __init__(self, descriptor: int, patience_s: float | None) -> None:
        super().__init__()
        self._descriptor, self._patience_s = descriptor, patience_s
        self._stalled = False
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return self.error is None and os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        while self.error is None and self._is_taken():
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                time.sleep(0.01)
            except OSError as error:
                self.error = error
        return size

    def _is_taken(self) -> bool:
        if self._patience_s is None or sys.platform == "win32":
            return True
        wait_ms = 0 if self._stalled else 1e3 * self._patience_s
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        self._stalled = not poll.poll(wait_ms)
        return not self._stalled


def never_raise_on_output() -> None:
    """Replace standard output and error by streams whose errors are dropped.

    A descriptor that was closed before the start is opened on the null device, because the next
    file that is opened would take its number and receive what is meant for the terminal.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = _dropping(1, sys.stdout)
    sys.stderr = _dropping(2, sys.stderr)


def _dropping(descriptor: int, before: IO[str] | None) -> io.TextIOWrapper:
    # What goes to standard error is told while instruments are in use, results come afterwards.
    raw = _DroppingFile(descriptor, _PATIENCE_S if descriptor == 2 else None)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(before, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=descriptor == 2 or raw.isatty(),
    )


def output_lost() -> OSError | None:
    """Flush standard output, and say why a part of it could not be written.

    A reader who left is no error.
    """
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    error = raw.error if isinstance(raw, _DroppingFile) else None
    return None if error is None or error.errno in _READER_LEFT else error
