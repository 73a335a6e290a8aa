"""One run at a time on a station: a lock for each instrument, which ends with its process.

The locks are by address, so that two station files that name the same piezo controller exclude
each other. A time tagger is left out: its server may serve several programs. They are locks of the
operating system on files in a folder of the user, so that a killed process leaves none behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from qdchar.errors import InstrumentError


class StationLock:
    """Exclusive use of some addresses, from `acquire` to `release`.

    Parameters
    ----------
    station
        Name of the station, for messages.
    addresses
        Of its instruments; the same one twice counts once.
    folder
        Where the lock files are; by default what the environment variable ``QDCHAR_LOCKS`` says,
        or else a folder of the user in the system's folder for temporary files.
    """

    def __init__(self, station: str, addresses: Iterable[str], folder: Path | None = None) -> None:
        self._station = station
        self._addresses = sorted(set(addresses))
        self._folder = _default_folder() if folder is None else folder
        self._held: list[IO[str]] = []

    def acquire(self) -> None:
        """Take the lock; without effect where it is held already.

        Raises
        ------
        InstrumentError
            If another process, or another station of this one, holds an address; says who.
        """
        if self._held:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for address in self._addresses:
                self._take(address)
        except BaseException as error:
            self.release()
            if isinstance(error, OSError):
                raise InstrumentError(
                    f"station {self._station}: cannot be reserved for this run: {error}. Another "
                    "run could move the same instruments; make the folder writable, or set TMPDIR"
                ) from error
            raise
        self.note("")

    def _take(self, address: str) -> None:
        digest = hashlib.sha256(address.encode()).hexdigest()[:24]
        # Opened for appending: the text of the one who holds it must stay until the lock is ours.
        stream = (self._folder / f"{digest}.lock").open("a+", encoding="utf-8")
        self._held.append(stream)
        if not lock_file(stream):
            raise InstrumentError(
                f"station {self._station}: {address} is in use by {_holder(stream)}. Wait until "
                "that run has ended, or end it with Ctrl-C"
            )

    def note(self, run: str) -> None:
        """Write down which run holds the lock, for those who are refused."""
        text = json.dumps(
            {
                "pid": os.getpid(),
                "station": self._station,
                "run": run,
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        for stream in self._held:
            with suppress(OSError):  # the lock holds without its note
                stream.truncate(0)
                stream.write(text)
                stream.flush()

    def release(self) -> None:
        """Give the lock up; idempotent."""
        while self._held:
            with suppress(OSError):
                self._held.pop().close()


def _default_folder() -> Path:
    if "QDCHAR_LOCKS" in os.environ:
        return Path(os.environ["QDCHAR_LOCKS"])
    user = os.getuid() if sys.platform != "win32" else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir()) / f"qdchar-{user}"


def _holder(stream: IO[str]) -> str:
    """Say who holds a lock, from what he noted."""
    try:
        stream.seek(0)
        found = json.loads(stream.read(10_000))
        run = f" ({found['run']})" if found["run"] else ""
        return f"process {found['pid']}, station {found['station']}{run}, since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


if sys.platform == "win32":
    import msvcrt

    def lock_file(stream: IO[Any]) -> bool:
        """Take the lock on an open file, until it is closed; False if another one has it."""
        stream.seek(1 << 20)  # a byte beyond the text, which others must be able to read
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def lock_file(stream: IO[Any]) -> bool:
        """Take the lock on an open file, until it is closed; False if another one has it."""
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
