"""Errors for the person at the bench: what was asked, what came back, what to try.

Each class carries the exit code with which the command line ends, so that a program that runs
the calibration can act on it without reading the text.
"""

from __future__ import annotations

from typing import ClassVar


class QdcharError(Exception):
    """Anything that qdchar itself reports; its text is complete without a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(QdcharError):
    """A station, recipe, link file or option is not valid; nothing was touched."""

    exit_code = 2


class InconclusiveError(QdcharError):
    """Too few counts or a poor fit: the data do not say what was asked."""

    exit_code = 11


class InstrumentError(QdcharError):
    """An instrument cannot be reached, or answered something that it should not."""

    exit_code = 20


class RefusedError(QdcharError):
    """A limit stands in the way; nothing was moved."""

    exit_code = 21


class MakeSafeError(QdcharError):
    """The station could not be brought to safety: somebody has to look at it now."""

    exit_code = 22


class RecordError(QdcharError):
    """A source record or a data file is stale, damaged or invalid."""

    exit_code = 30
