"""Files that a verb writes where the operator says: refused before the work, not after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qdchar.errors import RunFolderError, UsageError
from qdchar.files import cannot_be_written, refuse_irregular


def refuse_output(option: str, path: Path | None, *, new: bool = False) -> None:
    """Refuse a place that cannot be written: a FIFO would block, a device keeps nothing.

    Parameters
    ----------
    option
        How it was given, for messages.
    path
        The file to be written; None passes.
    new
        Whether it must not exist yet.

    Raises
    ------
    UsageError
        If it is no file, its folder does not exist, or it exists and must not.
    RunFolderError
        If permission is missing.
    """
    if path is None:
        return
    try:
        refuse_irregular(path, UsageError)
        exists, folder = path.exists(), path.parent.is_dir()
    except (OSError, ValueError) as error:  # no permission to look; a NUL in the name
        raise _cannot(option, path, error) from None
    except UsageError as error:
        text = str(error).replace("cannot be read", "cannot be written")
        raise UsageError(f"{option} {text}") from None
    if not folder:
        raise UsageError(f"{option} {path}: the folder {path.parent} does not exist; make it first")
    if exists and new:
        raise UsageError(f"{option} {path}: exists already; give a file that does not exist yet")
    if not os.access(path if exists else path.parent, os.W_OK):
        raise RunFolderError(f"{option} {path}: cannot be written: permission is missing")


def make_output_folder(option: str, path: Path) -> None:
    """Make a folder for output where it does not exist, and refuse one that cannot be written.

    Raises
    ------
    UsageError
        If it is a file, or its name is not possible.
    RunFolderError
        If permission is missing, or the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _cannot(option, path, error) from error
    if not os.access(path, os.W_OK):
        raise RunFolderError(f"{option} {path}: cannot be written: permission is missing")


@contextmanager
def writing_output(option: str, path: Path) -> Iterator[None]:
    """Check a file as `refuse_output` does, and name it in what keeps it from being written."""
    refuse_output(option, path)
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a format that is not known
        raise _cannot(option, path, error) from error


def _cannot(option: str, path: Path, error: OSError | ValueError) -> UsageError | RunFolderError:
    reason = getattr(error, "strerror", None) or error
    full = isinstance(error, OSError) and cannot_be_written(error)
    return (RunFolderError if full else UsageError)(f"{option} {path}: cannot be written: {reason}")
