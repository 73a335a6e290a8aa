"""Errors for the person at the bench: what was asked, what came back, what to try.

Each class carries the exit code with which the command line ends, so that a program that runs
the calibration can act on it without reading the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self


def described(error: BaseException) -> str:
    """Return the kind of an error and its text, whatever a lab's own driver raised.

    Examples
    --------
    >>> described(ValueError("no such axis"))
    'ValueError: no such axis'
    """
    try:
        text = str(error)
    except BaseException:  # its own __str__ fails
        text = "(without a text)"
    return f"{type(error).__name__}: {text}"


class QdcharError(Exception):
    """Anything that qdchar itself reports; its text is complete without a traceback."""

    exit_code: ClassVar[int] = 1

    def after(self, words: str, reasons: Sequence[str]) -> Self:
        """Return this error with what was seen before it, which may be its cause."""
        return type(self)(f"{self}\n{words}: {'; '.join(reasons)}" if reasons else str(self))


class UsageError(QdcharError):
    """A station, recipe, link file or option is not valid; nothing was touched."""

    exit_code = 2


class InconclusiveError(QdcharError):
    """Too few counts or a poor fit: the data do not determine what was asked."""

    exit_code = 11


class LockLostError(InconclusiveError):
    """A peak lock found no peak, or could not stay on it."""


class InstrumentError(QdcharError):
    """An instrument cannot be reached, or its answer is not what the protocol allows."""

    exit_code = 20


class RefusedError(QdcharError):
    """What was asked is beyond a limit; nothing was moved."""

    exit_code = 21


class MakeSafeError(QdcharError):
    """An instrument could not be brought to its safe state: somebody must look at it now."""

    exit_code = 22


class RunFolderError(QdcharError):
    """The run folder cannot be written: the disk is full, or permission is missing.

    The station was left as its policy for errors says; what was written until then is readable.
    """

    exit_code = 23


class RecordError(QdcharError):
    """A source record or a data file is stale, damaged or invalid."""

    exit_code = 30
