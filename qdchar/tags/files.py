"""Open any file of time tags by what is in it, whatever it is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ..errors import RecordError
from ..files import refuse_irregular
from .source import TagSource

_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"


def open_tags(path: str | os.PathLike[str]) -> TagSource:
    """Open a file of time tags.

    Parameters
    ----------
    path
        PicoQuant PTU, qutools quTAG binary, or Photon-HDF5 (our own store).

    Raises
    ------
    RecordError
        If the file is missing, empty, of no known format, or damaged. Damage within the records
        shows when they are read.

    Examples
    --------
    >>> source = open_tags("hbt.ptu")  # doctest: +SKIP
    >>> sum(len(chunk) for chunk in source.chunks())  # doctest: +SKIP
    396326
    """
    file = Path(path)
    refuse_irregular(file)
    try:
        with file.open("rb") as stream:
            beginning = stream.read(8)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise RecordError(f"{file} cannot be opened: {reason}") from error
    from .formats import ptu_header, qutag

    if beginning == ptu_header.MAGIC:
        from .formats.ptu import PtuFile

        return PtuFile(file)
    if beginning == _HDF5_MAGIC:
        from .formats.photon_hdf5 import StoredTags

        return StoredTags(file)
    if beginning == qutag.MAGIC or file.suffix.lower() == ".qutag":
        return qutag.QutagFile(file)
    what = "is empty" if not beginning else f"begins with {beginning!r}"
    raise RecordError(
        f"{file} {what}: neither PicoQuant PTU nor quTAG nor HDF5. PicoQuant's older .pt2, "
        ".pt3, .ht3 and other vendors' files: convert them to PTU or Photon-HDF5 first"
    )
