"""Lifetime by reconvolution: from the runs of a calibration, or from a file."""

from .from_runs import analyse, analyse_file

__all__ = ["analyse", "analyse_file"]
