"""How often an analysis reads a tag file: counted where the tags come out of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pulsed_light import Light, record

from qdchar.analysis import brightness, dead_time, hbt, lifetime
from qdchar.estimate import Contribution, Estimate
from qdchar.raw_data import TagRun
from qdchar.tags.formats.photon_hdf5 import StoredTags
from qdchar.tags.formats.photon_hdf5_writer import TagWriter
from qdchar.tags.source import CHUNK_TAGS, TagChunk

LIGHT = Light(mean_photons=0.4)
LASER = replace(LIGHT, lifetime_ps=0.0)


class Reading:
    """Tags given out and openings of each file."""

    def __init__(self) -> None:
        self.tags: Counter[str] = Counter()
        self.openings: Counter[str] = Counter()
        self.lengths: dict[str, int] = {}

    def passes(self) -> float:
        """All files together, each tag counted as often as it was given out."""
        return sum(self.tags[name] / length for name, length in self.lengths.items())


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    seen = Reading()
    open_file, chunks, channels = StoredTags.__init__, StoredTags.chunks, StoredTags.channels

    def counted_open(self: StoredTags, path: Path) -> None:
        open_file(self, path)
        seen.openings[Path(path).name] += 1
        seen.lengths[Path(path).name] = len(self)

    def counted_chunks(self: StoredTags, size: int = CHUNK_TAGS) -> Iterator[TagChunk]:
        for chunk in chunks(self, size):
            seen.tags[self.path.name] += len(chunk)
            yield chunk

    def counted_channels(self: StoredTags) -> tuple[int, ...]:
        seen.tags[self.path.name] += len(self)  # reads the channel of every tag
        return channels.fget(self)  # type: ignore[attr-defined,no-any-return]

    monkeypatch.setattr(StoredTags, "__init__", counted_open)
    monkeypatch.setattr(StoredTags, "chunks", counted_chunks)
    monkeypatch.setattr(StoredTags, "channels", property(counted_channels))
    return seen


def brightness_of(run: TagRun) -> None:
    efficiency = Estimate(
        value=0.712,
        name="detector_efficiency",
        method="given",
        budget=(Contribution("certificate", 0.01),),
    )
    brightness.analyse(run, detector_efficiency=efficiency)


@pytest.mark.parametrize(
    ("analyse", "most"),
    [
        (hbt.analyse, 4),
        (lambda run: hbt.analyse(run, delay_s=5e-9), 4),
        (brightness_of, 4),
        (dead_time.analyse, 4),
    ],
)
@pytest.mark.parametrize("on_fraction", [1.0, 0.6])
def test_passes_over_a_run(
    tmp_path: Path,
    reading: Reading,
    analyse: Callable[[TagRun], object],
    most: int,
    on_fraction: float,
) -> None:
    light = replace(LIGHT, on_fraction=on_fraction)
    run = record(tmp_path, "run", np.random.default_rng(1), 400_000, light)
    analyse(run)
    assert 1 <= reading.passes() <= most
    assert reading.openings == {"run.h5": 1}


def wired(tmp_path: Path, name: str, light: Light) -> Path:
    """Record a run whose file names its channels."""
    run = record(tmp_path, f"bare_{name}", np.random.default_rng(2), 400_000, light)
    tags = list(StoredTags(run.file).chunks())
    wiring = {"channel_a": 1, "channel_b": 2, "channel_sync": 7, "sync_divider": 1000}
    with TagWriter(tmp_path / f"{name}.h5", resolution_ps=1.0, attributes=wiring) as writer:
        for chunk in tags:
            writer.append(chunk.times_ps, chunk.channels)
    return tmp_path / f"{name}.h5"


# A dead time just above two periods: late photons of the third pulse are seen, early ones missed.
@pytest.mark.parametrize("dead_ps", [0.0, 26_300.0, 30_000.0, 60_000.0])
def test_passes_over_the_two_runs_of_a_lifetime(
    tmp_path: Path, reading: Reading, dead_ps: float
) -> None:
    rng = np.random.default_rng(3)
    emission = record(tmp_path, "emission", rng, 400_000, replace(LIGHT, dead_ps=dead_ps))
    response = record(tmp_path, "response", rng, 400_000, replace(LASER, dead_ps=dead_ps))
    lifetime.analyse(emission, response)
    assert reading.passes() <= 7
    assert reading.openings == {"emission.h5": 1, "response.h5": 1}


def test_passes_over_files(tmp_path: Path, reading: Reading) -> None:
    decay, response = wired(tmp_path, "decay", LIGHT), wired(tmp_path, "response", LASER)
    bare = tmp_path / "bare_decay.h5"
    for analyse, most in (
        (lambda: hbt.analyse_file(decay), 4),
        (lambda: hbt.analyse_file(bare, channels=(1, 2), period_s=13.135426e-9), 4),
        (lambda: lifetime.analyse_file(decay, response=response), 7),
        (lambda: lifetime.analyse_file(decay), 4),
        (lambda: lifetime.analyse_file(decay, response=response, channel=1), 7),
    ):
        reading.tags.clear()
        reading.lengths.clear()
        analyse()
        assert 1 <= reading.passes() <= most
