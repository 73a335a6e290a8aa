"""Drivers and measurements by dotted path; a lab's own are files beside its station file."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from qdchar.errors import UsageError


def load_object(path: str, folder: Path, where: str) -> Any:
    """Import ``"package.module:Name"``; a module may be a file in `folder`.

    Parameters
    ----------
    where
        Key of the station file, for the error.

    Raises
    ------
    UsageError
        If the path is not of that form, or cannot be imported, whatever the module raises.
    """
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise UsageError(f"{where}: {path!r} must read 'package.module:Name'")
    file = (folder / Path(*module.split("."))).with_suffix(".py")
    if file.exists() and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        loaded = importlib.import_module(module)
        if file.exists() and Path(loaded.__file__ or "") != file:
            raise UsageError(
                f"{where}: {path!r} imports {loaded.__file__} and not {file}; give the file "
                "another name"
            )
        return getattr(loaded, name)
    except UsageError:
        raise
    except Exception as error:  # a lab's module may raise anything
        raise UsageError(f"{where}: {path!r}: {type(error).__name__}: {error}") from None
