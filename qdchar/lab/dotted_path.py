"""Imports a driver or measurement by its dotted path, e.g. ``package.module:Name``.

A lab's own modules are files in the folder of its station file.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from qdchar.errors import UsageError
from qdchar.interrupt import INTERRUPTS


def load_object(path: str, folder: Path, where: str) -> Any:
    """Import the object `path`; its module is installed, or is a file in `folder`.

    Parameters
    ----------
    path
        ``package.module:Name``.
    folder
        The folder of the station file.
    where
        Key in the station file that contains the path; the error message names it.

    Raises
    ------
    UsageError
        If `path` does not have that form, or the import fails with any exception.
    """
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise UsageError(f"{where}: {path!r} must have the form 'package.module:Name'")
    file = (folder / Path(*module.split("."))).with_suffix(".py")
    if file.exists() and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        loaded = importlib.import_module(module)
        if file.exists() and Path(loaded.__file__ or "") != file:
            raise UsageError(
                f"{where}: {path!r} imports {loaded.__file__} instead of {file}; rename {file.name}"
            )
        return getattr(loaded, name)
    except (*INTERRUPTS, UsageError):
        raise
    except BaseException as error:  # a lab's module may raise anything
        raise UsageError(f"{where}: {path!r}: {type(error).__name__}: {error}") from None
