"""Record time tags: write the tagger's stream to disk while it arrives."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qdchar.errors import InstrumentError
from qdchar.raw_data import About, Progress, TagRun, silent
from qdchar.roles import TagBlock, TimeTagger
from qdchar.tags.formats.photon_hdf5_writer import TagWriter

_SLICES, _SHORTEST_s = 400, 50e-6
"""Slices of time in which the clicks of a recording are counted, to see whether they change: short
enough to tell light that is off for a millisecond from light that is fainter."""


def record(
    tagger: TimeTagger,
    file: Path,
    duration_s: float,
    about: About,
    progress: Progress = silent,
) -> TagRun:
    """Write the tags of the next `duration_s` seconds to an HDF5 file, block by block.

    Raises
    ------
    InstrumentError
        If the tagger lost tags, because rates and correlations would be wrong. The tags from
        before the loss are on disk.
    """
    tags = 0
    slices = _Slices((tagger.channel_a, tagger.channel_b), duration_s)
    wiring: dict[str, str | int | float | bool] = {
        "channel_a": tagger.channel_a,
        "channel_b": tagger.channel_b,
        "channel_sync": tagger.channel_sync,
        "sync_divider": tagger.sync_divider,
        "protocol": about.protocol,
        "light_path": about.path,
        "simulated": about.simulated,
    }
    with TagWriter(
        file, resolution_ps=tagger.resolution_ps, created=about.started, attributes=wiring
    ) as writer:
        for block in tagger.stream(duration_s):
            if block.overflow:
                raise InstrumentError(
                    f"tagger: {duration_s:g} s of tags were asked for, but its buffer overflowed "
                    f"and tags were lost after {block.start_ps * 1e-12:.3f} s. Lower the count "
                    f"rate or record for a shorter time; the tags from before are in {file}"
                )
            writer.append(block.times_ps, block.channels, covered_until_ps=block.stop_ps)
            slices.add(block)
            tags += len(block.times_ps)
            progress(block.stop_ps * 1e-12, duration_s, f"{1e-6 * tags:.1f} M tags")
    return TagRun(
        about=about,
        file=file,
        channel_a=tagger.channel_a,
        channel_b=tagger.channel_b,
        channel_sync=tagger.channel_sync,
        sync_divider=tagger.sync_divider,
        duration_s=duration_s,
        clicks=slices.clicks,
        slice_s=slices.slice_s,
    )


class _Slices:
    """Clicks of both detectors in slices of a recording, counted block by block."""

    def __init__(self, channels: tuple[int, int], duration_s: float) -> None:
        self._channels = channels
        self._n = max(1, min(_SLICES, int(duration_s / _SHORTEST_s)))
        self._length_ps = 1e12 * duration_s / self._n
        self.clicks = np.zeros((self._n, 2), dtype=np.int64)
        self.slice_s = np.full(self._n, duration_s / self._n)

    def add(self, block: TagBlock) -> None:
        for column, channel in enumerate(self._channels):
            times = block.times_ps[block.channels == channel]
            at = np.minimum((times / self._length_ps).astype(np.int64), self._n - 1)
            self.clicks[:, column] += np.bincount(at, minlength=self._n)


def run_about(protocol: str, path: str, tagger: TimeTagger, duration_s: float) -> About:
    """Describe a recording: the protocol, where the light came from, and how long it took."""
    return About(
        protocol=protocol,
        path=path,
        simulated=tagger.identify().simulated,
        settings={"duration_s": duration_s},
    )
