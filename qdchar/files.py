"""Files as people hand them in, and files that cannot be written.

A text file is read in one piece: a regular file (a FIFO would block, a device would not end),
within a limit of size, in UTF-8; tables of numbers in UTF-16 and Latin-1 too. What is wrong is
said with the place in the file.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

from .errors import QdcharError, RecordError, RunFolderError, UsageError

T = TypeVar("T")
PathLike: TypeAlias = str | os.PathLike[str]
"""A path as people give it: text, or a `pathlib.Path`."""
MAX_TEXT_BYTES = 1 << 24
"""16 MiB: a thousand times a station file, ten times a record."""
MAX_TABLE_BYTES = 1 << 28
"""256 MiB: a scan of some million points."""

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Bytes that are no character of a text in Latin-1."""
_LONGEST_SHOWN = 120
_MOST_PARTS = 30
# Possessive (++), so that a text of one long word takes no more time than any other.
_LONG_KEY = re.compile(rf"(?<![\w'\"-])(?:[\w'\"-]++[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}")
# Non-blocking: opening a FIFO would otherwise wait for somebody who writes.
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

_NOT_WRITABLE = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM")
    if hasattr(errno, name)
)


def cannot_be_written(error: OSError) -> bool:
    """Tell whether an error says that a disk is full or that permission is missing."""
    return error.errno in _NOT_WRITABLE


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what keeps a file of a run from being written into a RunFolderError that names it."""
    try:
        yield
    except OSError as error:
        # of HDF5 and of something else; or raw data that must never be overwritten
        if error.errno is None or isinstance(error, FileExistsError):
            raise
        raise RunFolderError(
            f"{path}: cannot be written: {error.strerror}. Free some space or choose another "
            "folder with --out; what was written before is readable"
        ) from error


def reserve_space(descriptor: int, size: int) -> None:
    """Make a file of a run at least so long, with room on the disk for all of it.

    For libraries that do not survive a full disk: HDF5 ends the process. What they write within
    the size then has its place.

    Raises
    ------
    OSError
        If there is no room, or the size is beyond a limit.
    """
    present = os.fstat(descriptor).st_size
    if size > present and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, present, size - present)
        except OSError as error:
            if cannot_be_written(error):
                raise
            # a file system that reserves nothing: the library's own error has to do


def to_disk(stream: IO[Any]) -> None:
    """Have what was written to a stream on the disk, whatever happens to the machine."""
    stream.flush()
    os.fsync(stream.fileno())


def names_to_disk(folder: Path) -> None:
    """Have the names of a folder's files on the disk; Windows does so by itself."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a small text file in one piece: whoever reads it sees the old text or the new one.

    That holds through a power cut, too: the text is on the disk before the file gets its name.

    Raises
    ------
    RunFolderError
        If it cannot be written; a file that was there before is unchanged.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            with partial.open("w", encoding="utf-8") as stream:
                stream.write(text)
                to_disk(stream)
            partial.replace(path)
            names_to_disk(path.parent)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def is_there(path: Path) -> bool:
    """Tell whether there is a file or folder, whatever somebody gave for a path.

    `Path.exists` raises where a name is too long, and where a folder on the way may not be read;
    whoever opens the path then says what is wrong.
    """
    return os.path.exists(path)


def is_folder(path: Path) -> bool:
    """Tell whether there is a folder, whatever somebody gave for a path."""
    return os.path.isdir(path)


def refuse_irregular(path: Path, error: type[QdcharError] = RecordError) -> None:
    """Refuse a folder, FIFO, socket or device in place of a file; a missing file passes.

    For readers that open the file themselves: a FIFO would block them, a device would not end.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # the reader says what is wrong
        return
    if not stat.S_ISREG(mode):
        raise error(f"{path}: cannot be read: it is {_kind(mode)}, not a file")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_text(
    path: Path,
    error: type[QdcharError] = UsageError,
    max_bytes: int = MAX_TEXT_BYTES,
    *,
    table: bool = False,
) -> str:
    """Read a text file that somebody handed in.

    Parameters
    ----------
    error
        Class of what is raised.
    max_bytes
        Largest size accepted [bytes].
    table
        Whether it holds columns of numbers. Spreadsheets and older programs write these in UTF-16
        (with a byte-order mark) or Latin-1 as well. Numbers are the same in Latin-1 and its
        relatives, and so is the micro sign of a unit.

    Raises
    ------
    QdcharError
        Of class `error`: not a regular file, too large, or not UTF-8; names the line and offset.
    """
    try:
        descriptor = os.open(path, _READ_ONLY)
    except (OSError, ValueError) as fault:  # ValueError: a NUL in the name
        reason = getattr(fault, "strerror", None) or fault
        raise error(f"{path}: cannot be read: {reason}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise error(f"{path}: cannot be read: it is {_kind(status.st_mode)}, not a file")
    with open(descriptor, "rb") as stream:
        try:
            data = stream.read(max_bytes + 1)
        except OSError as fault:
            raise error(f"{path}: cannot be read: {fault.strerror}") from None
    if len(data) > max_bytes:
        raise error(
            f"{path}: has {max(status.st_size, len(data))} bytes, at most {max_bytes} are "
            "expected. Is it the right file?"
        )
    try:
        if table and data.startswith(_UTF_16):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        if table and not _BINARY.search(data):
            return data.decode("latin-1")
        line = data.count(b"\n", 0, fault.start) + 1
        raise error(
            f"{path}, line {line} (byte {fault.start}): {data[fault.start : fault.start + 4]!r} is "
            "not UTF-8. Save the file with the encoding UTF-8"
        ) from None


def shown(value: object) -> str:
    """Show a value that somebody gave, in a message: shortened, whatever it is.

    Examples
    --------
    >>> shown("884 nm")
    "'884 nm'"
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python shows no integer of thousands of digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file that somebody wrote. Raises UsageError with the line."""
    text = read_text(path)
    if key := _LONG_KEY.search(text):  # the parser's time grows with the square of a key's parts
        line = text.count("\n", 0, key.start()) + 1
        raise UsageError(
            f"{path}, line {line}: {shown(key[0])} has more than {_MOST_PARTS} parts between dots, "
            "which no key of qdchar has"
        )
    return _parsed(path, text, tomllib.loads, "TOML", UsageError)


def read_toml_or_json(path: Path) -> dict[str, Any]:
    """Read a file that somebody wrote, or that a run folder holds as JSON. Raises UsageError."""
    if path.suffix.lower() != ".json":
        return read_toml(path)
    table = _parsed(path, read_text(path), _json, "JSON", UsageError)
    if not isinstance(table, dict):
        raise UsageError(f"{path}: holds no table of keys and values")
    return table


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises RecordError with the line, or a key that an object has twice."""
    return _parsed(path, read_text(path, RecordError), _json, "JSON", RecordError)


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_each_key_once)


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse what readers would understand differently: some take the first, some the last."""
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return table


def _parsed(
    path: Path, text: str, parse: Callable[[str], T], kind: str, error: type[QdcharError]
) -> T:
    try:
        return parse(text)
    except RecursionError:
        raise error(f"{path}: not valid {kind}: brackets are nested too deeply") from None
    except ValueError as fault:  # also what Python says of an integer of thousands of digits
        raise error(f"{path}: not valid {kind}: {fault}") from None
