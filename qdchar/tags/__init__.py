"""Photon time tags: files, kernels, clock.

Conventions, fixed here once for everything that counts photons
----------------------------------------------------------------
Time
    int64 picoseconds, never floating point: seconds as float64 lose the picosecond after two hours.
Channel numbers
    Those of the file's records: the first input of a PicoQuant instrument is channel 0 (its front
    panel, trattoria, readPTU and snAPI call it 1), a quTAG's channels keep the numbers in the file.
    The sync input of a PicoQuant T2 file is :data:`SYNC_CHANNEL`, which no record can carry.
Delay
    ``delay = t_B - t_A``, of all pairs (start-multi-stop), both signs. Bins are half-open,
    ``[left, left + width)``; the bin of a negative delay is found by floor; a tie counts once.
Order
    Tags leave a source sorted in time. A file that is not is sorted on the fly and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .arrays import from_arrays
    from .counting.correlation import CorrelationHistogram, cross_correlation
    from .counting.folding import FoldedHistogram, folded_histogram
    from .counting.pulse_statistics import PulseStatistics, pulse_statistics
    from .files import open_tags
    from .formats.photon_hdf5_writer import TagWriter
    from .source import SYNC_CHANNEL, TagArrays, TagChunk, TagMetadata, TagSource
    from .timing.clock import PulseClock, sync_clock
    from .timing.clock_recovery import RecoveredClock, recover_clock
    from .timing.delay import DelayMeasurement, measure_delay_and_period

_HOME = {
    "SYNC_CHANNEL": "source",
    "CorrelationHistogram": "counting.correlation",
    "DelayMeasurement": "timing.delay",
    "FoldedHistogram": "counting.folding",
    "PulseClock": "timing.clock",
    "PulseStatistics": "counting.pulse_statistics",
    "RecoveredClock": "timing.clock_recovery",
    "TagArrays": "source",
    "TagChunk": "source",
    "TagMetadata": "source",
    "TagSource": "source",
    "TagWriter": "formats.photon_hdf5_writer",
    "cross_correlation": "counting.correlation",
    "folded_histogram": "counting.folding",
    "from_arrays": "arrays",
    "measure_delay_and_period": "timing.delay",
    "open_tags": "files",
    "pulse_statistics": "counting.pulse_statistics",
    "recover_clock": "timing.clock_recovery",
    "sync_clock": "timing.clock",
}

__all__ = [
    "SYNC_CHANNEL",
    "CorrelationHistogram",
    "DelayMeasurement",
    "FoldedHistogram",
    "PulseClock",
    "PulseStatistics",
    "RecoveredClock",
    "TagArrays",
    "TagChunk",
    "TagMetadata",
    "TagSource",
    "TagWriter",
    "cross_correlation",
    "folded_histogram",
    "from_arrays",
    "measure_delay_and_period",
    "open_tags",
    "pulse_statistics",
    "recover_clock",
    "sync_clock",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
