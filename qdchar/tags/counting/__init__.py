"""Counting photons: correlation, folded histograms, live-gated pulse statistics.

Every function takes a whole source; every class behind it takes the same tags chunk by chunk,
from a file or from a running tagger, and gives bit-identical counts for any chunking.
"""

from ..timing.clock import PulseClock, sync_clock
from .correlation import CorrelationHistogram, Correlator, clean_widths, cross_correlation
from .folding import FoldedHistogram, Folder, GapCounter, LiveFolder, folded_histogram
from .pulse_statistics import GAP_PULSES, PulseCounter, PulseStatistics, pulse_statistics

__all__ = [
    "GAP_PULSES",
    "CorrelationHistogram",
    "Correlator",
    "FoldedHistogram",
    "Folder",
    "GapCounter",
    "LiveFolder",
    "PulseClock",
    "PulseCounter",
    "PulseStatistics",
    "clean_widths",
    "cross_correlation",
    "folded_histogram",
    "pulse_statistics",
    "sync_clock",
]
