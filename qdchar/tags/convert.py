"""Copy the tags of any source into our own store."""

from __future__ import annotations

import os
from pathlib import Path

from .formats.photon_hdf5_writer import TagWriter
from .source import TagSource


def write_hdf5(path: str | os.PathLike[str], source: TagSource) -> Path:
    """Write all tags of a source, with what it says about them, into a Photon-HDF5 file.

    Raises
    ------
    RecordError
        If the file exists, or the source is damaged; what was read until then is kept.
    """
    about = source.metadata
    with TagWriter(
        path,
        resolution_ps=source.resolution_ps,
        start_ps=source.start_ps,
        instrument=about.instrument,
        comment=about.comment,
        created=about.created,
        sync_period_ps=about.sync_period_ps,
        attributes={**about.attributes, "converted_from": about.format},
    ) as writer:
        for chunk in source.chunks():
            writer.append(chunk.times_ps, chunk.channels)
        writer.cover(source.stop_ps)
    return Path(path)
