"""Hanbury Brown and Twiss: g2(0) of a pulsed source from time tags or a histogram.

A run of a calibration, with its pulse clock, is analysed by live gating (`g2_live_gated`). A file
from elsewhere is analysed by peak areas (`g2_peak_areas`), a histogram by a comb of peaks
(`g2_comb_fit`). Arrays of time tags are analysed by peak areas (`from_arrays`).
"""

from .from_arrays import analyse
from .g2_live_gated import analyse_file

__all__ = ["analyse", "analyse_file"]
