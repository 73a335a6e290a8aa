"""Record time tags: write the tagger's stream to disk while it arrives."""

from __future__ import annotations

from pathlib import Path

from qdchar.errors import InstrumentError
from qdchar.raw_data import About, Progress, TagRun, silent
from qdchar.roles import TimeTagger
from qdchar.tags.formats.photon_hdf5 import TagWriter


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
    )


def run_about(protocol: str, path: str, tagger: TimeTagger, duration_s: float) -> About:
    """Describe a recording: the protocol, where the light came from, and how long it took."""
    return About(
        protocol=protocol,
        path=path,
        simulated=tagger.identify().simulated,
        settings={"duration_s": duration_s},
    )
